"""Run the tiles of a job on threads: one is read and one written while another computes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

from tamrf_xr.fuser import FuserSpec
from tamrf_xr.scale.worker import Outcome, TileWork, run_tile

GRACE = 3.0
"""Seconds that a stopped job waits for tiles that are being written."""


def crew_size(spec: FuserSpec, cores: int) -> int:
    """Return how many threads keep a process busy: one computes, others read, as many write."""
    return spec.at_once + max(spec.at_once - 1, 1) if spec.at_once else cores


class OnThreads:
    """Runs tiles on threads of this process."""

    def __init__(self, count: int) -> None:
        """Take the number of threads."""
        self._count = count

    def __call__(self, work: TileWork, tiles: Sequence[tuple[int, int]]) -> Iterator[Outcome]:
        """Give the outcome of each tile as it comes; closing the iterator stops the job."""
        stop, feed, turn = threading.Event(), iter(tiles), threading.Lock()
        outcomes: SimpleQueue[Outcome] = SimpleQueue()

        def labour() -> None:
            while not stop.is_set():
                with turn:
                    index = next(feed, None)
                if index is None:
                    return
                outcomes.put(run_tile(work, index, stopping=stop.is_set))

        # Daemons: a tile that computes for minutes must not keep an interrupted process alive.
        crew = [
            threading.Thread(target=labour, daemon=True, name=f"tamrf-tile-{number}")
            for number in range(min(self._count, len(tiles)))
        ]
        try:
            for thread in crew:
                thread.start()
            for _ in tiles:
                yield outcomes.get()
        finally:
            stop.set()
            deadline = time.monotonic() + GRACE
            for thread in crew:
                thread.join(max(0.0, deadline - time.monotonic()))
