"""Images, and blocks of pixels, side by side on a CPU: arrays stay in the cache of a core."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

import torch

Thing = TypeVar("Thing")

_MOST: Final = 8
"""Threads beyond which Python, which starts operations one at a time, holds them up."""


def side_by_side(call: Callable[[int], None], count: int, *, at_once: int = _MOST) -> None:
    """Call with 0, 1, ... `count` - 1, several at the same time.

    PyTorch's own threads share every operation, so each reads from the cache of another core what
    that one wrote. Here what is computed has a core, or a few, from its first operation to its
    last.

    Parameters
    ----------
    call
        Computes without gradients.
    count
        How often to call.
    at_once
        Most calls at the same time; no more than PyTorch has threads here, or eight.
    """
    threads = torch.get_num_threads()
    workers = max(min(at_once, count, threads, _MOST), 1)
    if workers == 1:
        for index in range(count):
            call(index)
        return
    started = threading.Barrier(workers + 1)

    def start() -> None:
        torch.get_num_threads()  # or a thread takes the number of all at its first operation
        torch.set_num_threads(threads // workers)  # of this thread, and of those yet to start
        started.wait()

    def without_gradients(index: int) -> None:
        with torch.inference_mode():
            call(index)

    with ThreadPoolExecutor(workers, "tamrf", start) as pool:
        try:
            calls = [pool.submit(without_gradients, index) for index in range(count)]
            started.wait()
            torch.set_num_threads(threads)  # of those yet to start, as before
            for done in calls:
                done.result()
        except BaseException:
            started.abort()  # where a thread could not be started, the others wait for it
            pool.shutdown(wait=False, cancel_futures=True)
            torch.set_num_threads(threads)
            raise


@contextmanager
def lent(free: list[Thing], make: Callable[[], Thing]) -> Iterator[Thing]:
    """Lend one of what is free, or another that is made: as many are made as threads want one."""
    try:
        thing = free.pop()
    except IndexError:
        thing = make()
    try:
        yield thing
    finally:
        free.append(thing)


def over_blocks(
    call: Callable[[slice, slice], None], blocks: Iterable[tuple[slice, slice]], place: torch.device
) -> None:
    """Call with each block (rows, columns): side by side on a CPU, one after the other on a GPU."""
    every = list(blocks)
    if place.type == "cpu":
        side_by_side(lambda index: call(*every[index]), len(every))
        return
    for block in every:
        call(*block)
