"""Inference with a network of the default weights' sizes: this checkout, and another one, in turns.

``python -m benchmarks.engine [--against CHECKOUT]`` (about 5 minutes with another, on two cores)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import TURNS, Row, compared, finish, parse, show
from tamrf_xr.model.checkpoint import load_model
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.network import Tamrf

SETTLED = (
    "latent", "growth", "num_blocks", "positional", "sensor_token", "num_heads", "decoder_heads",
    "num_layers", "feedforward", "decoder_feedforward",
)  # fmt: skip
"""Sizes of the network that every checkout knows."""


def main(arguments: list[str] | None = None) -> Row:
    """Measure, print, keep."""
    sizes = {
        "size": (330, 30),  # pixels of a side, multiple of 3
        "hr_dates": (20, 2),
        "lr_dates": (12, 1),
        "queries": (12, 1),
        "threads": (2, 1),
    }
    options = parse(__doc__, arguments, **sizes)
    config = load_model("default").config
    network = {name: getattr(config, name) for name in SETTLED}
    work = {name: getattr(options, name) for name in sizes}
    turns = 1 if options.tiny else TURNS
    rows = compared(stages, network, work, against=options.against, turns=turns)
    show(rows)
    return finish("engine-cpu", {"work": work, "seconds": rows}, options)


def stages(network: dict[str, Any], work: dict[str, int]) -> Row:
    """Time each stage once, after a date of each sensor that counts for nothing."""
    was = torch.get_num_threads()
    torch.set_num_threads(work["threads"])
    draw = torch.Generator().manual_seed(1)
    engine = Engine(Tamrf(NetworkConfig(**network), generator=draw).eval())
    size, hr_dates, lr_dates = work["size"], work["hr_dates"], work["lr_dates"]
    hr = torch.randn(hr_dates, 10, size, size, generator=draw)
    lr = torch.randn(lr_dates, 8, size // 3, size // 3, generator=draw)
    engine.encode_hr(hr[:1]), engine.encode_lr(lr[:1])
    row: Row = {}

    def timed(name: str, call: Callable[[], Tensor]) -> Tensor:
        start = time.perf_counter()
        made = call()
        row[name] = time.perf_counter() - start
        return made

    features = {
        "hr": (timed("hr encoder", lambda: engine.encode_hr(hr)), torch.linspace(0, 364, hr_dates)),
        "lr": (timed("lr encoder", lambda: engine.encode_lr(lr)), torch.linspace(0, 364, lr_dates)),
    }
    asked = torch.linspace(0, 364, work["queries"])
    timed("attend and decode", lambda: engine.reconstruct(features, asked))
    torch.set_num_threads(was)
    return row | {"all": sum(row.values())}


if __name__ == "__main__":
    main()
