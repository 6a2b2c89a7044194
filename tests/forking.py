"""``python -m MODULE WORDS`` in a process of its own, without its seconds of imports.

A server imports once what all of them import and nothing else: it has run none of their code, and
no test. Each module is then ``__main__`` of a fork of it, with streams and a folder of its own.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

MODULES = (
    "tamrf_xr.cli", "tamrf_xr.fusion", "tamrf_xr.methods.tamrf", "tamrf_xr.simulate",
    "tamrf_xr.training.run", "tamrf_xr.evaluation.protocol", "tamrf_xr.scale.job",
    "torch", "xarray", "dask.array", "zarr", "rioxarray", "scipy.ndimage", "matplotlib.figure",
)  # fmt: skip


class Server:
    """Forks on demand, one run at a time; leaves with whoever started it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forking"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(
        self, module: str, *words: object, cwd: Path = ROOT
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` of ``python -m module words``, with what it said captured."""
        command = [module, *map(str, words)]
        with tempfile.TemporaryDirectory() as folder:
            said = [str(Path(folder) / name) for name in ("out", "err")]
            order = {"command": command, "cwd": str(cwd), "said": said, "env": dict(os.environ)}
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            out, err = (Path(path).read_text(errors="replace") for path in said)
        return subprocess.CompletedProcess(command, code, out, err)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _serve() -> None:
    for name in MODULES:
        __import__(name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become(**json.loads(line))
            return  # and end as any interpreter does
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(command: Sequence[str], cwd: str, said: Sequence[str], env: dict[str, str]) -> None:
    """Be ``python -m command``: in that folder, which is first of the path."""
    streams = [os.open(os.devnull, os.O_RDONLY)]
    streams += [os.open(path, os.O_WRONLY | os.O_CREAT) for path in said]
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[0] = cwd
    sys.argv = list(command)
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve()
