"""Fixtures of the tests of the network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from networks import ORACLES, SMALL, Oracle, shared

from tamrf_xr.model.checkpoint import load_model
from tamrf_xr.model.network import Tamrf


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute with one thread: with more, waiting for a busy core costs minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", params=ORACLES)
def oracle(request: pytest.FixtureRequest) -> Oracle:
    if request.param == "extended":
        folder = shared("oracle/extended")
        names = ("reference_checkpoint.ckpt", "config.yaml", "oracle_forward.npz")
    else:
        folder = SMALL if request.param == "small" else shared(f"oracle/{request.param}")
        names = ("checkpoint.ckpt", "config_composed.yaml", "forward.npz")
    checkpoint, config, values = (folder / name for name in names)
    with np.load(values) as arrays:
        loaded = dict(arrays)
    return Oracle(load_model(checkpoint, config), loaded, request.param == "extended")


@pytest.fixture(scope="session")
def small() -> Tamrf:
    """The reduced published network."""
    return load_model(SMALL / "checkpoint.ckpt", SMALL / "config_composed.yaml")
