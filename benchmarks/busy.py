"""Seconds of an engine's stages on the device's own clock."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from unittest import mock

import torch

from tamrf_xr.model.engine import Engine

STAGES = ("encode_lr", "encode_hr", "_attend_rows", "decode")
"""Methods of `Engine` that compute, and do not call one another."""


class Busy:
    """Stages between events on the stream: nothing waits for them until `seconds` is asked.

    On a CPU, which computes while it is called, its clock does.
    """

    def __init__(self, device: str) -> None:
        self._cuda = torch.device(device).type == "cuda"
        self._marks: defaultdict[str, list[tuple[Any, Any]]] = defaultdict(list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Time the stages of all engines of this process within."""
        watched: dict[str, Any] = {
            name: self._timed(name, getattr(Engine, name)) for name in STAGES
        }
        with mock.patch.multiple(Engine, **watched):
            yield

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage so far."""
        if self._cuda:
            torch.cuda.synchronize()
            return {
                name: sum(start.elapsed_time(stop) for start, stop in marks) / 1e3
                for name, marks in self._marks.items()
            }
        return {name: sum(b - a for a, b in marks) for name, marks in self._marks.items()}

    def _timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self._mark()
            out = call(*args, **kwargs)
            self._marks[name].append((start, self._mark()))
            return out

        return timed

    def _mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
