"""Drive every door with bad values: ``python -m tests.fuzz.options [--every N] [--only WORD]``.

Each case runs in a process of its own and a folder of its own. Right is an error of ours, or
argparse's, within seconds, without a traceback, and nothing left in the folder. What is wrong is
one of: ``hang``, ``traceback``, ``foreign`` (an error that is not ours), ``accepted``, ``left``
(files of a case that failed), ``inputs`` (an input was changed).
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.doors import Case, every_case, write_inputs

PATIENCE = 20.0
"""Seconds that a case may take on a busy machine."""

MODULES = (
    "tamrf_xr.cli", "tamrf_xr.train", "tamrf_xr.fusion", "tamrf_xr.methods.tamrf",
    "tamrf_xr.model.checkpoint", "tamrf_xr.evaluation.protocol", "tamrf_xr.scale.clusters",
    "tamrf_xr.training.adapt", "tamrf_xr.ingest.ls2s2", "tamrf_xr.ingest.stac",
    "tamrf_xr.simulate", "tamrf_xr.export.quicklook", "tamrf_xr.export.catalog",
    "tamrf_xr.view.app", "tests.scenes",
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """How a case ended."""

    case: Case
    wrong: str
    """Empty, or what is wrong."""
    told: str
    seconds: float


def judge(case: Case, base: Path, *, patience: float = PATIENCE) -> Verdict:
    """Run a case and tell how it ended."""
    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    said = place.with_name(place.name + ".log")
    before, start = _state(base), time.monotonic()
    child = os.fork()
    if not child:
        _run(case, base, place, said)
    code = _code_of(child, start + patience)
    hung = code is None
    text = said.read_text(errors="replace") if said.exists() else ""
    left = sorted(path.name for path in place.iterdir() if not path.name.endswith(".yaml"))
    shutil.rmtree(place)
    said.unlink(missing_ok=True)
    wrong = "hang" if hung else _wrong(code, text, left, case)
    if not wrong and _state(base) != before:
        wrong = "inputs"
    return Verdict(case, wrong, f"{text.strip()[-1500:]}\nleft: {left}", time.monotonic() - start)


def _code_of(child: int, deadline: float) -> int | None:
    """Return the exit code of a child; None if it had to be killed."""
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _wrong(code: int | None, text: str, left: Sequence[str], case: Case) -> str:
    if "Traceback" in text or "unexpected " in text:
        return "foreign" if code == 3 else "traceback"
    if code == 0:
        return "" if case.may_pass else "accepted"
    if code not in (1, 2):
        return f"exit {code}"
    return "left" if left and not case.may_leave else ""


def _run(case: Case, base: Path, place: Path, said: Path) -> None:
    """Run in a child: exit 0 accepted, 1 refused, 2 wrong usage, 3 an error that is not ours."""
    os.setpgrp()
    os.chdir(place)
    out = os.open(said, os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os._exit(_ended(case, base))


def _ended(case: Case, base: Path) -> int:
    from tamrf_xr.errors import TamrfError

    code: object = 0
    try:
        found = case.call(base)
        code = found if isinstance(found, int) and not isinstance(found, bool) else 0
    except SystemExit as stop:
        code = stop.code
    except TamrfError as error:
        print(f"{type(error).__name__}: {error}")
        code = 1
    except BaseException:  # noqa: BLE001  (whatever escapes is what is looked for)
        traceback.print_exc()
        code = 3
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 4


def _state(base: Path) -> list[tuple[str, int, int]]:
    found = ((path, path.stat()) for path in sorted(base.rglob("*")))
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found if path.is_file()]


def run(cases: Sequence[Case], *, processes: int = 2) -> Iterator[Verdict]:
    """Judge cases, a few at once."""
    base = Path(tempfile.mkdtemp(prefix="fuzz-inputs-"))
    try:
        writer = multiprocessing.get_context("fork").Process(target=write_inputs, args=(base,))
        writer.start()
        writer.join()
        for name in MODULES:
            __import__(name)
        with ThreadPoolExecutor(processes) as pool:
            yield from pool.map(lambda case: judge(case, base), cases)
    finally:
        shutil.rmtree(base)


def main(words: Sequence[str] | None = None) -> int:
    """Run all or some, print what is wrong and the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.options", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="one case in so many")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(words)
    cases = [case for case in every_case() if options.only in case.name][:: options.every]
    counts: Counter[str] = Counter()
    slowest = 0.0
    for verdict in run(cases, processes=options.processes):
        counts[verdict.wrong or "right"] += 1
        slowest = max(slowest, verdict.seconds)
        if verdict.wrong:
            print(f"--- {verdict.wrong} ({verdict.seconds:.1f} s): {verdict.case.name}")
            print(verdict.told, flush=True)
    figures = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    print(f"{len(cases)} bad values tried: {figures}; the slowest took {slowest:.1f} s")
    return int(len(cases) != counts["right"])


if __name__ == "__main__":
    sys.exit(main())
