"""The memory estimate against the memory measured, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.footprint import Work, block_pixels, peak_bytes

_MEASURE = """
import sys, threading, torch, psutil
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.network import Tamrf
size, hr, lr, queries = map(int, sys.argv[1:])
torch.set_num_threads(1)
model = Tamrf().eval()
engine = Engine(model)
def run(size, hr, lr, queries):
    a, b = torch.zeros(lr, 8, size // 3, size // 3), torch.zeros(hr, 10, size, size)
    days = [torch.linspace(0, 300, n) for n in (lr, hr, queries)]
    return engine.predict(a, days[0], b, days[1], query_days=days[2])
run(12, 1, 1, 1)
process, peak, stop = psutil.Process(), [0], threading.Event()
def watch():
    while not stop.wait(0.002):
        peak[0] = max(peak[0], process.memory_info().rss)
before = process.memory_info().rss
watcher = threading.Thread(target=watch)
watcher.start()
run(size, hr, lr, queries)
stop.set()
watcher.join()
print(peak[0] - before)
"""


@pytest.mark.parametrize(("size", "hr", "lr", "queries"), [(150, 3, 2, 2), (96, 1, 2, 24)])
def test_estimate_is_within_a_factor_of_what_is_measured(
    size: int, hr: int, lr: int, queries: int
) -> None:
    arguments = [str(n) for n in (size, hr, lr, queries)]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *arguments], capture_output=True, text=True, check=True
    )
    work = Work(height=size, width=size, hr_dates=hr, lr_dates=lr, queries=queries)
    estimate = peak_bytes(NetworkConfig(), work)
    assert int(done.stdout) / 1.5 < estimate < 1.5 * int(done.stdout)


def test_memory_grows_with_everything() -> None:
    base = {"height": 300, "width": 300, "hr_dates": 10, "lr_dates": 10, "queries": 10}
    least = peak_bytes(NetworkConfig(), Work(**base))
    for name in base:
        assert peak_bytes(NetworkConfig(), Work(**base | {name: 4 * base[name]})) > least
    assert peak_bytes(NetworkConfig(), Work(**base, itemsize=2)) < least


def test_importing_the_estimate_loads_no_torch() -> None:
    code = "import sys, tamrf_xr.model.footprint; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_blocks_are_small_on_cpu_and_bounded_on_gpu() -> None:
    assert block_pixels(32, gpu=False) * 32 <= 8192
    assert block_pixels(32, gpu=True) <= 16384
    assert block_pixels(100_000, gpu=False) >= 1
