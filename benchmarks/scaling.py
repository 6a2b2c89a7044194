"""What a tile costs against its query dates and its acquisitions, and the machine's own peak.

``python -m benchmarks.scaling`` takes a few minutes on two cores; keep the machine quiet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from benchmarks.harness import Row, finish, parse
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.network import Tamrf

QUERIES = (12, 24, 48, 96)
DATES = ((10, 6), (20, 12), (40, 24), (60, 45))
USUAL = (20, 12)
YEAR = (60, 45)
"""Of a place with overlapping orbits; with 24 query dates, what `docs/scaling.md` reckons with."""
TINY = NetworkConfig(latent=16, growth=8, positional=16, sensor_token=4, num_layers=1)


def main(arguments: list[str] | None = None) -> Row:
    """Measure, print, keep."""
    options = parse(__doc__, arguments, size=(165, 30), threads=(2, 2))
    torch.set_num_threads(options.threads)
    size = options.size
    config = TINY if options.tiny else NetworkConfig()
    engine = Engine(Tamrf(config, generator=torch.Generator().manual_seed(1)).eval())
    figures = {
        "size_px": size,
        "threads": options.threads,
        "peak_gflops": {
            str(kind): peak(kind, edge=64 if options.tiny else 2048)
            for kind in (torch.float32, torch.bfloat16)
        },
        "queries": [_run(engine, size, USUAL, count) for count in QUERIES],
        "dates": [_run(engine, size, dates, 12) for dates in DATES],
        "year": [_run(engine, size, YEAR, 24)],
    }
    _show(figures)
    return finish("scaling-cpu", figures, options)


def peak(kind: torch.dtype, *, edge: int) -> dict[str, float]:
    """Measure GFLOP/s of what the network is made of, at sizes that suit the machine best."""
    with torch.inference_mode():
        left, right = (torch.randn(edge, edge).to(kind) for _ in range(2))
        images = torch.randn(4, 64, edge // 12, edge // 12).to(
            kind, memory_format=torch.channels_last
        )
        weights = torch.randn(64, 64, 3, 3).to(kind, memory_format=torch.channels_last)
        product = 2 * edge**3 / _fastest(lambda: left @ right)
        work = 2 * images[:, 0].numel() * weights.numel()
        convolved = work / _fastest(lambda: functional.conv2d(images, weights, padding=1))
    return {"matrix product": product / 1e9, "convolution": convolved / 1e9}


def _fastest(call: Callable[[], Any], *, runs: int = 7) -> float:
    call()
    return min(_seconds(call) for _ in range(runs))


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _run(engine: Engine, size: int, dates: tuple[int, int], queries: int) -> Row:
    """Time encoding apart from what each query date adds."""
    hr_dates, lr_dates = dates
    draw = torch.Generator().manual_seed(2)
    hr = torch.randn(hr_dates, 10, size, size, generator=draw)
    lr = torch.randn(lr_dates, 8, size // 3, size // 3, generator=draw)
    days = [torch.linspace(0, 364, count).round().tolist() for count in (*dates, queries)]
    maps: dict[str, Any] = {}

    def encode() -> None:
        maps.update(hr=(engine.encode_hr(hr), days[0]), lr=(engine.encode_lr(lr), days[1]))

    encoding = _seconds(encode)
    answering = _seconds(lambda: engine.reconstruct(maps, days[2]))
    km2 = (size * 10) ** 2 / 1e6
    total = encoding + answering
    return {
        "hr_dates": hr_dates,
        "lr_dates": lr_dates,
        "queries": queries,
        "encode_s": encoding,
        "answer_s": answering,
        "s_per_km2": total / km2,
        "s_per_km2_query": total / km2 / queries,
    }


def _show(figures: Row) -> None:
    for kind, row in figures["peak_gflops"].items():
        print(kind, ", ".join(f"{name} {value:.0f} GFLOP/s" for name, value in row.items()))
    for row in figures["queries"] + figures["dates"] + figures["year"]:
        print(
            f"{row['hr_dates']:3} + {row['lr_dates']:2} dates, {row['queries']:3} queries: "
            f"encode {row['encode_s']:6.2f} s, answer {row['answer_s']:6.2f} s, "
            f"{row['s_per_km2']:.2f} s/km2, {row['s_per_km2_query']:.3f} s/km2 and query date"
        )


if __name__ == "__main__":
    main()
