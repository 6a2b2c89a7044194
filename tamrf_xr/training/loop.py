"""The training loop: steps and validations, the same however a run is cut in pieces.

Everything drawn depends on (seed, sample number) alone: where a run is stopped and resumed, and
over how many processes a batch is shared, changes no draw. A batch is a sum over patch pairs, one
after the other: series of any length go together without padding or masks.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

from tamrf_xr.errors import OptionError
from tamrf_xr.model.network import Tamrf
from tamrf_xr.replacing import fresh_file
from tamrf_xr.training.batches import targets_of, views_of
from tamrf_xr.training.config import OptimConfig, TrainConfig
from tamrf_xr.training.losses import loss_tools, spare_border, training_loss
from tamrf_xr.training.patches import Patches, Sample, places_of, read_ahead
from tamrf_xr.training.processes import World

logger = logging.getLogger(__name__)

VALIDATION_SEED = 42
Partials = dict[str, float]


def learning_rate(step: int, optim: OptimConfig) -> float:
    """Return the rate of a step: linear warm-up, then cosines that restart, each twice as long.

    Examples
    --------
    >>> optim = OptimConfig(lr=1.0, warmup=10, period=100, floor=0.0)
    >>> [round(learning_rate(step, optim), 2) for step in (0, 10, 60, 109, 110, 210)]
    [0.33, 1.0, 0.5, 0.0, 1.0, 0.5]
    """
    if step < optim.warmup:
        return optim.lr * (1 / 3 + 2 / 3 * step / optim.warmup)
    done, length = step - optim.warmup, optim.period or max(optim.steps - optim.warmup, 1)
    while optim.period and done >= length:
        done, length = done - length, 2 * length
    wave = (1 + math.cos(math.pi * min(done / length, 1.0))) / 2
    return optim.floor + (optim.lr - optim.floor) * wave


class Trainer:
    """A network in training.

    Parameters
    ----------
    config
        The run.
    cubes
        What it is trained on, as `tamrf_xr.open_cube` gives them.
    model
        The network, on its device; changed in place.
    world
        The processes that share the batches.
    """

    def __init__(
        self, config: TrainConfig, cubes: Sequence[xr.DataTree], model: Tamrf, world: World
    ) -> None:
        self.config, self.model, self.world = config, model, world
        self.step = 0
        optim, run = config.optim, config.run
        if optim.batch % world.size:
            raise OptionError(
                f"optim.batch is {optim.batch}, to be shared by {world.size} processes; set it "
                f"to a multiple of {world.size}"
            )
        set_dropout(model, optim.dropout)
        self.tools = loss_tools(model, config.loss)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=optim.lr)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self.average = copy.deepcopy(model).eval() if optim.average else None
        train, kept = places_of(cubes, config.data)
        strategies = config.masking.strategies
        self.patches = Patches(
            cubes,
            train,
            config.data,
            strategies=strategies,
            seed=run.seed,
            count=optim.steps * optim.batch,
        )
        self.validation = Patches(
            cubes,
            kept,
            config.data,
            strategies=strategies,
            seed=VALIDATION_SEED,
            count=run.validation_samples,
        )

    @property
    def best_model(self) -> Tamrf:
        """The network to validate and keep: the moving average, where there is one."""
        return self.average or self.model

    def steps(self) -> Iterator[Partials]:
        """Train from the step reached to the last; give the losses of each step."""
        optim, world = self.config.optim, self.world
        share = range(world.rank, optim.batch, world.size)
        numbers = (
            step * optim.batch + place for step in range(self.step, optim.steps) for place in share
        )
        samples = read_ahead(self.patches, numbers, threads=self.config.data.threads)
        with contextlib.closing(samples):
            while self.step < optim.steps:
                yield self._step([next(samples) for _ in share])

    def _step(self, samples: Sequence[Sample]) -> Partials:
        optim = self.config.optim
        self.model.train()
        # Zeros, not None: a sensor that no sample gave means the same to one process and to many.
        self.optimizer.zero_grad(set_to_none=False)
        sums: defaultdict[str, float] = defaultdict(float)
        for sample in samples:
            # Dropout takes no generator of its own.
            torch.manual_seed((self.config.run.seed << 32) + sample.number)  # noqa: TID251
            total, partials = self.loss(self.model, sample)
            (total / optim.batch).backward()
            for name, value in partials.items():
                sums[name] += float(value) / optim.batch
        self.world.add_gradients(self.model)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), optim.clip)
        rate = learning_rate(self.step, optim)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if torch.isfinite(norm):  # the same in every process; what is not would stay in Adam
            self.optimizer.step()
            self._follow()
        self.step += 1
        return self.world.add(sums) | {"gradient_norm": float(norm), "lr": rate}

    def _follow(self) -> None:
        """Move the average towards the weights; early on, faster."""
        if self.average is None:
            return
        decay = min(self.config.optim.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.model.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)

    def loss(self, model: Tamrf, sample: Sample) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of one sample, and what it is made of."""
        loss = self.config.loss
        spare = spare_border(loss, self.tools)
        targets = targets_of(sample, self.model)
        with self._autocast():
            views, lr_at_hr, encoded = views_of(model, targets, spare=spare)
            return training_loss(
                views["hr"],
                views["lr"],
                replace(loss, margin=loss.margin - spare),
                tools=self.tools,
                lr_at_hr=lr_at_hr,
                encoded=encoded if loss.decorrelation_weight else None,
            )

    def _autocast(self) -> AbstractContextManager[Any]:
        device, precision = self.model.hr_mean.device.type, self.config.run.precision
        if precision == "float32" or (precision == "auto" and device == "cpu"):
            return contextlib.nullcontext()
        return torch.autocast(device, torch.bfloat16)

    @torch.no_grad()
    def validate(self) -> Partials:
        """Return the mean losses over the validation samples, the same each time."""
        model, world = self.best_model.eval(), self.world
        numbers = range(world.rank, len(self.validation), world.size)
        sums: defaultdict[str, float] = defaultdict(float)
        for sample in read_ahead(self.validation, numbers, threads=self.config.data.threads):
            for name, value in self.loss(model, sample)[1].items():
                sums[name] += float(value) / len(self.validation)
        return world.add(sums)

    def state(self) -> dict[str, Any]:
        """Return what a run needs to go on as if it had never stopped."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def set_dropout(model: nn.Module, rate: float) -> None:
    """Set the dropout of every part of a network."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = rate


class Log:
    """Lines of JSON, and TensorBoard where it is asked for."""

    def __init__(self, folder: Path, *, reached: int, tensorboard: bool) -> None:
        """Open the log of a run that goes on from a step: what a killed one told later is cut."""
        path = folder / "log.jsonl"
        if path.exists():
            with fresh_file(path) as partial:
                partial.write_text("".join(_told_until(reached, path)))
        self._file = path.open("a")
        self._board = _board(folder) if tensorboard else None

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Add a line: ``"train"`` or ``"validation"``."""
        line = {"kind": kind, "step": step, "time": round(time.time(), 3), **values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _told_until(reached: int, path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines(keepends=True):
        with contextlib.suppress(json.JSONDecodeError):  # half a line
            if reached and json.loads(line)["step"] <= reached:
                yield line


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise OptionError(
            "run.tensorboard needs TensorBoard: pip install 'tamrf-xr[train]', or set it to false"
        ) from error
    return SummaryWriter(str(folder))
