"""What a tile reads of a store is what the array holds, however the store is chunked in time."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tamrf_xr.scale.reading import Stored
from tamrf_xr.tiles import Window

ARRAY = np.random.default_rng(0).integers(0, 9999, (13, 2, 9, 12), np.int16)
WINDOW = Window(slice(2, 7), slice(3, 11))


@pytest.fixture(params=[1, 4, 13, None])
def stored(request, tmp_path):
    data = xr.Dataset({"a": (("time", "band", "y", "x"), ARRAY)})
    if request.param is None:
        return Stored(data["a"].variable)
    encoding = {"a": {"chunks": (request.param, 2, 4, 4)}}
    data.to_zarr(tmp_path / "a.zarr", encoding=encoding, zarr_format=2)
    return Stored(xr.open_dataset(tmp_path / "a.zarr", engine="zarr", chunks=None)["a"].variable)


@pytest.mark.parametrize(
    "times", [[], [5], [0, 12], [1, 2, 7, 11], [7, 3, 3, 10], list(range(13)), slice(3, 9)]
)
def test_a_list_of_times_reads_what_the_array_holds(stored, times):
    found = stored.read(times, WINDOW)
    np.testing.assert_array_equal(found, ARRAY[times][..., WINDOW.y, WINDOW.x])


def test_chunks_between_those_asked_for_are_not_read(tmp_path):
    data = xr.Dataset({"a": (("time", "y", "x"), ARRAY[:, 0])})
    data.to_zarr(tmp_path / "a.zarr", encoding={"a": {"chunks": (4, 9, 12)}}, zarr_format=2)
    (tmp_path / "a.zarr" / "a" / "1.0.0").write_bytes(b"what no codec reads")
    source = Stored(xr.open_dataset(tmp_path / "a.zarr", engine="zarr", chunks=None)["a"].variable)
    np.testing.assert_array_equal(source.read([2, 9], WINDOW), ARRAY[[2, 9], 0, 2:7, 3:11])
    with pytest.raises(Exception, match=r".+"):
        source.read([2, 5, 9], WINDOW)
