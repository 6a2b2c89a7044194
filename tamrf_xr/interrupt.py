"""Stop on a signal within seconds, whatever hangs: a read of a dead server holds no process.

The signal raises `KeyboardInterrupt` in the main thread, which lets go and tidies up. A thread that
was there before waits beside it: where that takes longer than `PATIENCE`, or the interpreter then
waits for threads that hang, it ends the process. A second signal ends it at once.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from types import FrameType
from typing import Any

PATIENCE, FAREWELL = 6.0, 2.0
"""Seconds to stop in, and to leave in once all is tidy."""

INTERRUPTED = 130
_CAME, _TIDY = b"s", b"t"
_LAST: list[Callable[[], Any]] = []
_SIGNALS: list[int] = []


def before_end(call: Callable[[], Any]) -> None:
    """Have something called before a process is ended that does not stop by itself."""
    _LAST.append(call)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Stop on SIGINT and SIGTERM for the length of a context, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _watcher()
    _SIGNALS.clear()
    before = {sign: signal.signal(sign, _stop) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
        if _SIGNALS:
            os.write(_watcher(), _TIDY)


def _stop(number: int, _frame: FrameType | None) -> None:
    _SIGNALS.append(number)
    if len(_SIGNALS) > 1:
        _end()
    # Neither locks nor threads are made here: the signal may have come in the midst of that.
    os.write(_watcher(), _CAME)
    raise KeyboardInterrupt


@cache
def _watcher() -> int:
    """Start the thread that waits for what does not stop; return what to tell it by."""
    heard, told = os.pipe()
    threading.Thread(target=_watch, args=(heard,), daemon=True, name="tamrf-end").start()
    return told


def _watch(heard: int) -> None:
    patience: float | None = None
    while select.select([heard], [], [], patience)[0]:
        patience = PATIENCE if os.read(heard, 1) == _CAME else FAREWELL
    _end()


def _end() -> None:
    for call in _LAST:
        with contextlib.suppress(Exception):
            call()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(INTERRUPTED)
