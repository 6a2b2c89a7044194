"""The training loop: steps and validations, the same however a run is cut in pieces.

Samples are drawn from (seed, sample number) alone, dropout from (seed, number of the first sample
that is computed at once): where a run is stopped and resumed changes no draw. A batch is a sum over
patch pairs, in stacks of `run.stack` that are computed at once; see `tamrf_xr.training.stack`.
Nothing within a step waits for the device; its losses are read once, at its end.

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
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, cast

import torch
import xarray as xr
from torch import Tensor, distributed, nn

from tamrf_xr.errors import OptionError
from tamrf_xr.model.levels import HEADS
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.precision import Precision, check_card, fastest, products
from tamrf_xr.training.compiling import compile_parts
from tamrf_xr.training.config import FINE_M, DataConfig, OptimConfig, TrainConfig
from tamrf_xr.training.data import Patches, Sample, read_ahead
from tamrf_xr.training.losses import loss_tools, spare_border, training_loss
from tamrf_xr.training.sites import sites_of
from tamrf_xr.training.stack import predict, standardised

VALIDATION_SEED = 42
MOST_ROWS = 65_535
"""Pixels at once: a grid of CUDA has no more blocks along its last axis."""

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
    kinds
        Per cube, which of the weights of `data.mix` is that of its kind.
    """

    def __init__(
        self,
        config: TrainConfig,
        cubes: Sequence[xr.DataTree],
        model: Tamrf,
        world: World,
        *,
        kinds: Sequence[int] = (),
    ) -> None:
        self.config, self.model, self.world = config, model, world
        self.step = 0
        optim, run = config.optim, config.run
        if optim.batch % world.size:
            raise OptionError(
                f"optim.batch is {optim.batch}, to be shared by {world.size} processes; set it "
                f"to a multiple of {world.size}"
            )
        for name in ("errors", *HEADS):
            setattr(model, name, None)  # of weights that will be others
        set_dropout(model, optim.dropout)
        self.precision = _precision(model.hr_mean.device, run.precision)
        self.tools = loss_tools(model, config.loss)
        device = model.hr_mean.device
        self.stack = run.stack or automatic_stack(config, device)
        self.fused = device.type == "cuda"
        self.optimizer = torch.optim.Adam(model.parameters(), lr=optim.lr, fused=self.fused)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self.average = copy.deepcopy(model).eval() if optim.average else None
        if run.compile:
            compile_parts(model)
        train, kept = sites_of(cubes, config.data)
        draw = partial(Patches, cubes, data=config.data, strategies=config.masking.strategies)
        count = optim.steps * optim.batch
        self.patches = draw(sites=train, seed=run.seed, count=count, kinds=kinds)
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
        data = self.config.data
        samples = read_ahead(self.patches, numbers, threads=data.threads, processes=data.processes)
        with contextlib.closing(samples):
            while self.step < optim.steps:
                yield self._step([next(samples) for _ in share])

    def _step(self, samples: Sequence[Sample]) -> Partials:
        optim = self.config.optim
        self.model.train()
        # Zeros, not None: a sensor that no sample gave means the same to one process and to many.
        self.optimizer.zero_grad(set_to_none=False)
        told = []
        for stack in stacks(samples, self.stack):
            # Dropout takes no generator of its own.
            torch.manual_seed((self.config.run.seed << 32) + stack[0].number)  # noqa: TID251
            with products(self.precision):
                total, partials = self.loss(self.model, *stack)
                (total.sum() / optim.batch).backward()
            told.append(partials)
        self.world.add_gradients(self.model)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), optim.clip)
        rate = learning_rate(self.step, optim)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._update(torch.isfinite(norm))
        self.step += 1
        *sums, length = read([*told, {"norm": norm.detach()}])
        return self.world.add(_means(sums, optim.batch)) | {
            "gradient_norm": length["norm"][0],
            "lr": rate,
        }

    def _update(self, finite: Tensor) -> None:
        """Change the weights if gradients are finite, which is the same in every process.

        What is not would stay in Adam. On a CPU the flag is there to be looked at; a GPU looks at
        it itself, so that nobody waits for it.
        """
        if self.fused:
            self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        elif not finite:
            return
        self.optimizer.step()
        self._move_average(finite)

    def _move_average(self, finite: Tensor) -> None:
        """Move the average towards the weights; early on, faster."""
        if self.average is None:
            return
        decay = min(self.config.optim.average, (1 + self.step) / (10 + self.step))
        share = finite * (1 - decay) if self.fused else 1 - decay
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.model.parameters(), strict=True):
                slow.lerp_(fast, share)

    def loss(self, model: Tamrf, *samples: Sample) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of each of some samples, computed at once, and what it is made of."""
        loss = self.config.loss
        seen = standardised(samples, self.model, margin=loss.margin)
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
        samples = read_ahead(self.validation, numbers, threads=self.config.data.threads)
        told = []
        while stack := tuple(islice(samples, self.stack)):
            with products(self.precision):
                told.append(self.loss(model, *stack)[1])
        return world.add(_means(read(told), len(self.validation)))

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
        kept = state["optimizer"]
        groups = [group | {"fused": self.fused} for group in kept["param_groups"]]
        self.optimizer.load_state_dict({**kept, "param_groups": groups})  # of another device, too
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def automatic_stack(config: TrainConfig, device: torch.device) -> int:
    """Return how many samples are computed at once where none is asked for.

    On a GPU as many as have no more dates times pixels than one of the paper's, and no more pixels
    than kernels of attention take rows. It hangs on the configuration alone, not on what memory is
    free, so that a run that goes on computes the same. On a CPU one.
    """
    if device.type == "cpu":
        return 1
    pixels, paper = (config.data.patch_m // FINE_M) ** 2, DataConfig()
    most = (paper.patch_m // FINE_M) ** 2 * paper.dates
    return max(1, min(most // (pixels * config.data.dates), MOST_ROWS // pixels))


def stacks(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    """Cut samples, in order, into stacks of at most `size`."""
    return (samples[first : first + size] for first in range(0, len(samples), size))


def read(told: Sequence[Mapping[str, Tensor]]) -> list[dict[str, list[float]]]:
    """Read losses from their device, all at once; each has one number a sample."""
    flat = [value.float().flatten() for partials in told for value in partials.values()]
    numbers = iter(torch.cat(flat).tolist())
    return [
        {name: list(islice(numbers, value.numel())) for name, value in partials.items()}
        for partials in told
    ]


def _means(told: Sequence[Mapping[str, Sequence[float]]], count: int) -> dict[str, float]:
    """Return the sum of each loss over all samples, divided by `count`."""
    sums: defaultdict[str, float] = defaultdict(float)
    for partials in told:
        for name, values in partials.items():
            for value in values:
                sums[name] += value / count
    return dict(sums)


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
