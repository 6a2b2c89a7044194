"""`tamrf-xr doctor`: what this machine gives, and whether it computes right."""

from __future__ import annotations

from typing import Any

from tamrf_xr.cli.options import command, shared


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        doctor,
        about="tell versions, processors, memory, and whether this machine computes right",
        examples="  tamrf-xr doctor                   # some seconds\n"
        "  tamrf-xr doctor --device cuda:1",
    )
    shared(parser, "--device")


def doctor(*, device: str, progress: bool) -> int:
    """Print what was found."""
    from tamrf_xr.doctor import examine

    found = examine(device)
    print(found)
    return 1 if found.faults else 0
