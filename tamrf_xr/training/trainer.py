"""The training loop: steps and validations, the same however a run is cut in pieces.

Everything drawn depends on (seed, sample number) alone: where a run is stopped and resumed, and
over how many processes a batch is shared, changes no draw. A batch is a sum over patch pairs, one
after the other: series of any length go together without padding or masks.

Inside, sensors have the network's names, ``"lr"`` and ``"hr"``.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
import xarray as xr
from torch import Tensor, distributed, nn

from tamrf_xr.errors import OptionError
from tamrf_xr.methods.tamrf import STREAMS, standardise
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.precision import Precision, check_card, fastest, products
from tamrf_xr.training.config import OptimConfig, TrainConfig
from tamrf_xr.training.data import Patch, Patches, Sample, read_ahead, sites_of
from tamrf_xr.training.losses import Predicted, loss_tools, spare_border, training_loss

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


@dataclass(frozen=True, slots=True)
class World:
    """One process among those of a run, as torchrun starts them."""

    rank: int = 0
    """Its number."""

    size: int = 1
    """How many there are."""

    @classmethod
    @contextlib.contextmanager
    def joined(cls, device: torch.device) -> Iterator[World]:
        """Join the processes that torchrun started; alone without it."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            yield cls()
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)  # NCCL gathers objects on the current device
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield cls(distributed.get_rank(), distributed.get_world_size())
        finally:
            distributed.destroy_process_group()

    def add_gradients(self, model: nn.Module) -> None:
        """Sum gradients over the processes, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def add(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sum named values over the processes; a name that one lacks counts as 0 there."""
        if self.size == 1:
            return dict(values)
        everyone: list[dict[str, float]] = [{} for _ in range(self.size)]
        distributed.all_gather_object(everyone, dict(values))
        names = sorted({name for own in everyone for name in own})
        return {name: sum(own.get(name, 0.0) for own in everyone) for name in names}

    def agree(self, *, flag: bool) -> bool:
        """Tell whether the flag is up in any process."""
        return self.add({"flag": float(flag)})["flag"] > 0

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            distributed.barrier()


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
        self.precision = _precision(model.hr_mean.device, run.precision)
        self.tools = loss_tools(model, config.loss)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=optim.lr)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self.average = copy.deepcopy(model).eval() if optim.average else None
        train, kept = sites_of(cubes, config.data)
        draw = partial(Patches, cubes, data=config.data, strategies=config.masking.strategies)
        self.patches = draw(sites=train, seed=run.seed, count=optim.steps * optim.batch)
        self.validation = draw(sites=kept, seed=VALIDATION_SEED, count=run.validation_samples)

    @property
    def best_model(self) -> Tamrf:
        """The network to validate and keep: the moving average, where there is one."""
        return self.average or self.model

    def steps(self) -> Iterator[Partials]:
        """Train from the step reached to the last; give the losses of each step."""
        optim, world = self.config.optim, self.world
        share = range(world.rank, optim.batch, world.size)
        numbers = (step * optim.batch + i for step in range(self.step, optim.steps) for i in share)
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
            with products(self.precision):
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
            self._move_average()
        self.step += 1
        return self.world.add(sums) | {"gradient_norm": float(norm), "lr": rate}

    def _move_average(self) -> None:
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
        seen = standardised(sample, self.model)
        with self._autocast():
            predicted = predict(model, seen, spare=spare_border(loss, self.tools))
            return training_loss(predicted, seen, loss, tools=self.tools)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision != "bfloat16":
            return contextlib.nullcontext()
        return torch.autocast(self.model.hr_mean.device.type, torch.bfloat16)

    @torch.no_grad()
    def validate(self) -> Partials:
        """Return the mean losses over the validation samples, the same each time."""
        model, world = self.best_model.eval(), self.world
        numbers = range(world.rank, len(self.validation), world.size)
        sums: defaultdict[str, float] = defaultdict(float)
        for sample in read_ahead(self.validation, numbers, threads=self.config.data.threads):
            with products(self.precision):
                partials = self.loss(model, sample)[1]
            for name, value in partials.items():
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


def _precision(device: torch.device, asked: str) -> Precision:
    """Return what a run computes in: what is named, and nothing faster."""
    if asked == "bfloat16":
        check_card(device)
    return cast("Precision", fastest(device, "auto") if asked == "auto" else asked)


def set_dropout(model: nn.Module, rate: float) -> None:
    """Set the dropout of every part of a network."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = rate


def standardised(sample: Sample, model: Tamrf) -> dict[str, Patch]:
    """Bring a sample to the device of a model, integers as integers, and standardise it there.

    A sensor that the cube lacks has no date.
    """
    seen = {STREAMS[name]: _standardised(name, own, model) for name, own in sample.patches.items()}
    config = model.config
    if "lr" not in seen:
        seen["lr"] = _nothing(config.lr_bands, seen["hr"], 1 / config.ratio)
    if "hr" not in seen:
        seen["hr"] = _nothing(config.hr_bands, seen["lr"], config.ratio)
    return seen


def _standardised(sensor: str, patch: Patch, model: Tamrf) -> Patch:
    device = model.hr_mean.device
    pixels, missing = standardise(model, sensor, patch.pixels.to(device), patch.packing)
    return replace(
        patch,
        pixels=pixels.masked_fill_(missing, torch.nan),
        valid=patch.valid.to(device) & ~missing.any(dim=1),
        packing=None,
    )


def _nothing(bands: int, other: Patch, scale: float) -> Patch:
    """Return no date of a sensor, on a grid `scale` times as fine as that of the other."""
    size = [round(side * scale) for side in other.valid.shape[-2:]]
    return Patch(
        other.pixels.new_empty(0, bands, *size),
        other.valid.new_empty(0, *size),
        other.days[:0],
        other.given[:0],
    )


def predict(model: Tamrf, seen: Mapping[str, Patch], *, spare: int = 0) -> Predicted:
    """Let a network, in training or not, predict every date of a sample from those given.

    Parameters
    ----------
    model
        The network.
    seen
        From `standardised`.
    spare
        From `losses.spare_border`: so many pixels of 10 m on every side are seen by the encoders,
        and not predicted.
    """
    encoded = model.encode(*_given(seen["lr"]), *_given(seen["hr"]), margin=spare)
    days = torch.cat([patch.days for patch in seen.values()]).unique()  # either sensor's, once
    bands = model.decode(encoded, days.to(encoded.device)[None])[0]
    at_lr, at_hr = (torch.searchsorted(days, seen[name].days) for name in ("lr", "hr"))
    first = model.config.lr_bands
    return Predicted(
        hr=bands[at_hr, first:],
        lr=bands[at_lr, :first],
        lr_at_hr=bands[at_hr, :first],
        encoded=encoded,
        spared=spare,
    )


def _given(patch: Patch) -> tuple[Tensor | None, Tensor | None]:
    """Return pixels (1, T, B, y, x) and days (1, T) of the dates given; None for none."""
    if not patch.given.any():
        return None, None
    given = patch.at(patch.given.nonzero()[:, 0])
    pixels = given.pixels.nan_to_num(0.0)
    return pixels[None], given.days.to(pixels.device)[None]
