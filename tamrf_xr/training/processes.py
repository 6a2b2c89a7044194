"""The processes of a run, as torchrun starts them: who takes which samples, and sums over all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import distributed, nn


@dataclass(frozen=True, slots=True)
class World:
    """One process among those of a run."""

    rank: int = 0
    """Its number."""

    size: int = 1
    """How many there are."""

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


@contextlib.contextmanager
def world(device: torch.device) -> Iterator[World]:
    """Join the processes that torchrun started; alone without it."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield World()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # NCCL gathers objects on the current device
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
