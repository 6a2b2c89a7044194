"""Sentinel-2 from EOPF Zarr: stores that the test writes, in the layout that sources tell."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
import zarr

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.cube import grid_of
from tamrf_xr.errors import IngestError, SourceNotFoundError
from tamrf_xr.ingest.eopf import GROUPS, from_eopf
from tamrf_xr.resample import resample_planes

LEFT, TOP, EDGE = 499980, 5000040, 72
DATES = ("2025-06-08T10:50:41.024Z", "2025-06-03T10:50:31.000Z")
CLOUD, PLANT = 9, 4


def write(path, date, *, seed, where="top", version=2, crs="proj:code"):
    """Write one product; return its numbers, 0 in one corner."""
    draw = np.random.default_rng(seed)
    numbers, groups = {}, {}
    for band, group in GROUPS.items():
        size = EDGE if "r10m" in group else EDGE // 2
        values = draw.integers(1500, 4000, (size, size)).astype(np.uint16)
        values[: size // 12, : size // 12] = 0
        numbers[band] = values
        about = {"scale_factor": 0.0001, "add_offset": -0.1 if seed else 0.0}
        about = about | {"fill_value": 0} if where == "nested" else about | {"_FillValue": 0}
        attrs = {"_eopf_attrs": about} if where == "nested" else about
        groups.setdefault(f"/{group}", {})[band.lower()] = (("y", "x"), values, attrs)
    scl = np.full((EDGE // 2,) * 2, PLANT, np.uint8)
    scl[10:14, 20:25] = CLOUD
    scl[:3, :3] = 0
    groups["/conditions/mask/l2a_classification/r20m"] = {"scl": (("y", "x"), scl)}
    properties = {"datetime": date}
    other = {}
    if crs == "other":
        other = {"horizontal_CRS_code": "EPSG:32631"}
    else:
        properties[crs] = 32631 if crs == "proj:epsg" else "EPSG:32631"
    about = {"stac_discovery": {"properties": properties}, "other_metadata": other}
    tree = {name: _placed(layers) for name, layers in groups.items()}
    xr.DataTree.from_dict({"/": xr.Dataset(attrs=about), **tree}).to_zarr(path, zarr_format=version)
    return numbers, scl


def _placed(layers):
    size = next(iter(layers.values()))[1].shape[0]
    gsd = 10 * EDGE // size
    centres = (np.arange(size) * gsd + gsd // 2).astype(np.int64)
    made = xr.Dataset(layers, coords={"y": TOP - centres, "x": LEFT + centres})
    for variable in made.data_vars.values():
        if "_FillValue" in variable.attrs:
            variable.encoding["_FillValue"] = variable.attrs.pop("_FillValue")
    return made


@pytest.mark.parametrize(
    ("where", "version", "crs"),
    [("top", 2, "proj:code"), ("nested", 2, "proj:epsg"), ("nested", 3, "other")],
)
def test_numbers_are_what_scale_and_offset_of_each_product_say(where, version, crs, tmp_path):
    paths, truth = [], []
    for seed, date in enumerate(DATES):
        paths.append(tmp_path / f"{seed}.zarr")
        how = {"seed": seed, "where": where, "version": version, "crs": crs}
        truth.append(write(paths[-1], date, **how))
    cube = from_eopf(paths)
    group = cube["sentinel2"].to_dataset()
    assert all(dask.is_dask_collection(array.data) for array in group.data_vars.values())
    assert list(group["time"].dt.day.values) == [3, 8]  # the later one was given first
    assert group["time"].values[0] == np.datetime64("2025-06-03T10:50:31")
    grid = grid_of(group)
    assert grid.crs.to_epsg() == 32631
    assert (grid.transform.c, grid.transform.f, grid.shape) == (LEFT, TOP, (EDGE, EDGE))
    for position, seed in enumerate((1, 0)):
        numbers, scl = truth[seed]
        for band, stored in numbers.items():
            right = np.where(stored == 0, np.nan, stored * 1e-4 - 0.1 * seed).astype(np.float32)
            if len(stored) < EDGE:
                coarse = type(grid)(
                    grid.crs, grid.transform * grid.transform.scale(2), stored.shape
                )
                right = resample_planes(right[None], source=coarse, target=grid, how="cubic")[0]
            made = group["reflectance"].sel(band=band)[position].values
            np.testing.assert_allclose(made, right, atol=2e-6)
        valid = group["valid"][position].values
        assert not valid[:6, :6].any()
        assert (valid[np.kron(scl == CLOUD, np.ones((2, 2), bool))] == 0).all()
        assert valid[40:, 40:].all()


def test_the_command_saves_the_cube_that_is_opened(tmp_path, capsys):
    write(tmp_path / "p.zarr", DATES[0], seed=1)
    out = tmp_path / "out.zarr"
    assert main(["ingest", "eopf", str(tmp_path / "p.zarr"), str(out), "--quiet"]) == 0
    stored, opened = tamrf_xr.open_cube(out), from_eopf(str(tmp_path / "p.zarr"))
    for name in ("reflectance", "valid"):
        one, other = stored["sentinel2"][name].values, opened["sentinel2"][name].values
        np.testing.assert_allclose(one.astype(float), other.astype(float), atol=0.5001e-4)


def test_what_is_no_product_is_told_by_name_and_way_out(tmp_path):
    path = tmp_path / "p.zarr"
    with pytest.raises(SourceNotFoundError, match="found nothing there"):
        from_eopf(path)
    write(path, DATES[0], seed=1)
    write(tmp_path / "q.zarr", DATES[0], seed=1)
    with pytest.raises(IngestError, match=r"p.zarr and .*q.zarr are both of 2025-06-08"):
        from_eopf([path, tmp_path / "q.zarr"])
    root = zarr.open_group(path, mode="r+")
    attrs = root["measurements/reflectance/r10m/b02"].attrs
    scale = attrs.pop("scale_factor")
    with pytest.raises(
        IngestError, match=r"p.zarr: .*r10m/b02 is uint16 without scale_factor.*as_"
    ):
        from_eopf(path)
    attrs["scale_factor"] = scale
    about = dict(root.attrs["stac_discovery"])
    root.attrs["stac_discovery"] = {"properties": {"datetime": "soon", "proj:code": "EPSG:32631"}}
    with pytest.raises(IngestError, match="'soon' where its date should be"):
        from_eopf(path)
    root.attrs["stac_discovery"] = {"properties": {"datetime": DATES[0]}}
    with pytest.raises(IngestError, match="None where its CRS should be"):
        from_eopf(path)
    root.attrs["stac_discovery"] = about
    del root["measurements/reflectance/r20m/b8a"]
    with pytest.raises(IngestError, match=r"no measurements/reflectance/r20m/b8a; expected a Sent"):
        from_eopf(path)
