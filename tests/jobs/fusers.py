"""Blurs that leave traces in a folder, and misbehave where a file there tells them to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tamrf_xr.fuser import FuserSpec
from tests.numpy_fusers import Blur, blur_spec


def traced(folder: Path, **changes) -> FuserSpec:
    """A blur that tells in `folder` what it does; see `Traced`."""
    options = (("folder", str(folder)),)
    return blur_spec(**{"factory": "tests.jobs.fusers:Traced", "options": options} | changes)


class Traced(Blur):
    """Appends to ``built`` and ``calls``; obeys ``kill``, ``hang``, ``wait``, ``slow`` and more."""

    def __init__(self, makes, folder):
        super().__init__(makes)
        self.folder = Path(folder)
        self.blocks = 4
        self.note("built")

    def note(self, what):
        with (self.folder / what).open("a") as file:
            file.write(f"{os.getpid()}\n")

    def __call__(self, *args):
        self.note("calls")
        if self.told("kill"):
            (self.folder / "kill").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.told("slow"):
            time.sleep(0.1)
        if self.told("hang") and len(traces(self.folder, "calls")) > 3:
            self.note("hanging")
            time.sleep(600)
        if self.told("wait"):
            self.note("waiting")
            while self.told("wait"):
                time.sleep(0.02)
        if self.told("greedy") and self.blocks > 1:
            raise MemoryError("out of memory on a made-up GPU")
        return super().__call__(*args)

    def told(self, what):
        return (self.folder / what).exists()

    def relieve(self, error):
        if not isinstance(error, MemoryError) or self.told("stubborn"):
            return False
        self.blocks //= 2
        return True


def traces(folder: Path, what: str) -> list[str]:
    """The process of each note."""
    path = folder / what
    return path.read_text().split() if path.exists() else []


def note_cores(count):
    """What a method would tell its library."""
    with Path(os.environ["TAMRF_TEST_CORES"]).open("a") as file:
        file.write(f"{os.getpid()} {count}\n")


def plan(request):
    """As a method of the registry: what it leaves and obeys lies in a folder named by `model`."""
    return traced(Path(request.model))


def take_input_away(scene: Path, folder: Path, monkeypatch: Any) -> Callable[[], None]:
    """Move the input elsewhere once four tiles were fused; return what brings it back."""
    note, away = Traced.note, scene.with_name("away.zarr")

    def noted(self: Traced, what: str) -> None:
        note(self, what)
        if what == "calls" and len(traces(folder, "calls")) == 4:
            scene.rename(away)

    def bring_back() -> None:
        away.rename(scene)
        monkeypatch.setattr(Traced, "note", note)

    monkeypatch.setattr(Traced, "note", noted)
    return bring_back
