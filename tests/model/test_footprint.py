"""The memory estimate against the memory measured, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from tamrf_xr.methods.registry import Request, plan_method
from tamrf_xr.methods.tamrf import resolve
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.footprint import block_pixels, needs
from tamrf_xr.sensors import SENSORS

_MEASURE = """
import sys, threading, torch, psutil
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.network import Tamrf
*work, threads = map(int, sys.argv[1:])
torch.set_num_threads(threads)
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
run(*work)
stop.set()
watcher.join()
print(peak[0] - before)
"""


def measured(size: int, hr: int, lr: int, queries: int, *, threads: int = 1) -> int:
    arguments = [str(n) for n in (size, hr, lr, queries, threads)]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *arguments], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def estimated(size: int, hr: int, lr: int, queries: int) -> float:
    need = needs(NetworkConfig())
    dated = hr * need.hr_date + lr * need.lr_date + queries * need.query
    return need.fixed + size**2 * dated


def test_tiles_need_no_more_than_is_told_and_dates_add_what_is_told() -> None:
    few, many, asked = (150, 3, 2, 2), (150, 8, 6, 4), (96, 1, 2, 24)
    found = {work: measured(*work) for work in (few, many, asked)}
    for work, used in found.items():
        assert 0.1 * estimated(*work) < used < estimated(*work)
    assert measured(*many, threads=4) < estimated(*many)  # four dates are encoded side by side
    told = estimated(*many) - estimated(*few)
    assert told / 1.5 < found[many] - found[few] < 1.5 * told


def test_the_planner_reckons_with_it() -> None:
    given = {name: tuple(b.name for b in sensor.all_bands) for name, sensor in SENSORS.items()}
    cost, need = plan_method("tamrf", Request(given)).cost, needs(resolve("default")[2].config)
    assert cost.fixed == need.fixed
    assert cost.per_date == {"sentinel2": need.hr_date, "landsat": need.lr_date}
    assert cost.per_query == need.query


def test_importing_the_estimate_loads_no_torch() -> None:
    code = "import sys, tamrf_xr.model.footprint; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_blocks_are_small_on_cpu_and_bounded_on_gpu() -> None:
    assert block_pixels(32, gpu=False) * 32 <= 8192
    assert block_pixels(32, gpu=True) <= 16384
    assert block_pixels(100_000, gpu=False) >= 1
