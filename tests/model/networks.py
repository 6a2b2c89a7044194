"""Networks, oracle values and random series for the tests of the network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.network import Tamrf

_ROOT = Path(__file__).resolve().parents[2]
SMALL = _ROOT / "tests" / "data" / "oracle_small"
ORACLES = ("small", "full", "extended")
_KEYS = {"lr_only": "lronly", "hr_only": "hronly", "both": "both"}


@dataclass(frozen=True)
class Oracle:
    """One set of published values: a network, standardised inputs (with batch), outputs."""

    model: Tamrf
    values: dict[str, np.ndarray]
    extended: bool

    def series(self, case: str) -> tuple[Tensor | None, ...]:
        names = {"lr": ("lr_data", "lr_doy"), "hr": ("hr_data", "hr_doy")}
        found: list[Tensor | None] = []
        for sensor in ("lr", "hr"):
            if case not in {"both", f"{sensor}_only"}:
                found += [None, None]
                continue
            pixels, days = names[sensor] if self.extended else (f"in_{sensor}", f"in_{sensor}_doy")
            x = torch.from_numpy(self.values[pixels].astype(np.float32) / 10000)
            found += [self.model.standardise(x, sensor), self.days(days)]
        return tuple(found)

    def days(self, name: str) -> Tensor:
        return torch.from_numpy(np.atleast_2d(self.values[name]))

    def queries(self, sensor: str) -> Tensor:
        return self.days(f"q_{sensor}" if self.extended else "query_doy")

    def expected(self, case: str, sensor: str) -> np.ndarray:
        return self.values[f"{_KEYS[case]}_{sensor}" if self.extended else f"{case}_out_{sensor}"]


def shared(relative: str) -> Path:
    """Return a path in the shared folder (`TAMRF_SHARED`, or `shared/` beside the checkout)."""
    path = Path(os.environ.get("TAMRF_SHARED", _ROOT.parent / "shared")) / relative
    if not path.exists():
        pytest.skip(f"oracle file {path} is absent; set TAMRF_SHARED to the shared folder")
    return path


def network(config: NetworkConfig, seed: int = 0) -> Tamrf:
    """Return a random network whose norms, scales and biases are not trivial either."""
    draw = torch.Generator().manual_seed(seed)
    model = Tamrf(config, generator=draw).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=draw)
    return model


def series(
    config: NetworkConfig, dates: tuple[int, int], size: tuple[int, int], seed: int = 1
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return lr, lr_days, hr, hr_days without batch: (T, C, h, w), (T,)."""
    draw = torch.Generator().manual_seed(seed)
    h, w = size
    lr = torch.randn(dates[0], config.lr_bands, h, w, generator=draw)
    hr = torch.randn(dates[1], config.hr_bands, config.ratio * h, config.ratio * w, generator=draw)
    lr_days, hr_days = (torch.randint(0, 365, (n,), generator=draw).float() for n in dates)
    return lr, lr_days, hr, hr_days


configs = st.builds(
    NetworkConfig,
    hr_bands=st.integers(1, 4),
    lr_bands=st.integers(1, 3),
    latent=st.sampled_from([4, 6]),
    growth=st.integers(1, 4),
    num_blocks=st.integers(0, 3),
    lr_num_blocks=st.none() | st.integers(0, 2),
    positional=st.sampled_from([4, 6]),
    sensor_token=st.sampled_from([0, 2]),
    num_heads=st.sampled_from([1, 2]),
    decoder_heads=st.sampled_from([1, 2]),
    num_layers=st.integers(0, 2),
    feedforward=st.integers(1, 8),
    decoder_feedforward=st.integers(1, 8),
    ratio=st.integers(1, 4),
)
