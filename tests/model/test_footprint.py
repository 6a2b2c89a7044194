"""The memory estimate against the memory measured, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

from tamrf_xr.methods.registry import Request, plan_method
from tamrf_xr.methods.tamrf import resolve
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.footprint import block_pixels, needs
from tamrf_xr.sensors import SENSORS

_MEASURE = """
import json, os, sys, threading, torch, psutil
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.network import Tamrf
def measured(size, hr, lr, queries, threads):
    torch.set_num_threads(threads)
    engine = Engine(Tamrf().eval())
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
    return peak[0] - before
for work in json.loads(sys.argv[1]):
    if not os.fork():  # each in a process of its own, in which nothing was computed before
        print(measured(*work), flush=True)
        os._exit(0)
    os.wait()
"""


def measured(*works: tuple[int, ...]) -> list[int]:
    """Bytes that pieces of work (size, hr, lr, queries, threads) take."""
    command = [sys.executable, "-c", _MEASURE, json.dumps(works)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.splitlines()]


def estimated(size: int, hr: int, lr: int, queries: int) -> float:
    need = needs(NetworkConfig())
    dated = hr * need.hr_date + lr * need.lr_date + queries * need.query
    return need.fixed + size**2 * dated


def test_tiles_need_no_more_than_is_told_and_dates_add_what_is_told() -> None:
    few, many, asked = (150, 3, 2, 2), (150, 8, 6, 4), (96, 1, 2, 24)
    four = (150, 4, 4, 2)
    *used, side_by_side = measured(*((*work, 1) for work in (few, many, asked)), (*four, 4))
    found = dict(zip((few, many, asked), used, strict=True))
    for work, taken in found.items():
        assert 0.1 * estimated(*work) < taken < estimated(*work)
    assert side_by_side < estimated(*four)  # four dates are encoded side by side
    told = estimated(*many) - estimated(*few)
    assert told / 1.5 < found[many] - found[few] < 1.5 * told


def test_the_planner_reckons_with_it() -> None:
    given = {name: tuple(b.name for b in sensor.all_bands) for name, sensor in SENSORS.items()}
    config = resolve("default")[2].config
    cost, need = plan_method("tamrf", Request(given)).cost, needs(config, drawn=True)
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
