"""A STAC API for each test, on files that are written once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tamrf_xr.ingest import stac_read
from tamrf_xr.ingest.stac_catalogs import CATALOGS, Catalog
from tests.stac.ramp_catalog import LAYOUTS, add_ramp
from tests.stac.server import Api, serving


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture
def api(files) -> Iterator[Api]:
    with serving(Api(files)) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """Waits between tries are counted, not waited for; those of urllib3 are half a second."""
    monkeypatch.setattr(stac_read, "_FIRST_WAIT", 0.0)
    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda _: None)
    assert time.sleep


def row(api: Api, name: str = "earth-search") -> Catalog:
    """Return the row of a catalogue, at the address of the test's own."""
    return replace(CATALOGS[name], url=api.url, signer="")


def both(api: Api, *, dates: Sequence[int] = range(4)) -> list[dict[str, Any]]:
    """Put both sensors, as Earth Search shows them, into the API."""
    return [
        item
        for name in ("earth-search-c1", "earth-search-landsat")
        for item in add_ramp(api, LAYOUTS[name], dates=dates)
    ]
