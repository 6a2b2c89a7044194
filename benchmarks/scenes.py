"""Stores of any size for benchmarks: noise, or nothing at all but the layout."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import pandas as pd
import xarray as xr
from affine import Affine
from pyproj import CRS

from tamrf_xr.cube import Grid, build_cube, build_group, groups_of

BLOCK = 360


def noise_cube(shape: tuple[int, int], *, hr: int, lr: int) -> xr.DataTree:
    """Make a lazy cube of uniform noise: `shape` 10 m pixels, `hr` and `lr` dates in a year."""
    coarse = (shape[0] // 3, shape[1] // 3)
    return build_cube(
        {
            "sentinel2": build_group(
                "sentinel2", _noise(hr, 10, *shape), times=_year(hr), grid=_grid(shape, 10.0)
            ),
            "landsat": build_group(
                "landsat",
                _noise(lr, 7, *coarse),
                times=_year(lr),
                grid=_grid(coarse, 30.0),
                surface_temperature=280 + 30 * _noise(lr, *coarse),
            ),
        }
    )


def cloudless_cube(shape: tuple[int, int], *, hr: int, lr: int) -> xr.DataTree:
    """Make a `noise_cube` with masks that call every pixel valid, as training asks for."""
    groups = groups_of(noise_cube(shape, hr=hr, lr=lr))
    return build_cube(
        {
            name: group.assign(valid=xr.ones_like(group["reflectance"][:, 0], bool))
            for name, group in groups.items()
        }
    )


def _noise(*shape: int) -> da.Array:
    chunks = (-1,) * (len(shape) - 2) + (BLOCK, BLOCK)
    return da.random.default_rng(0).random(shape, dtype="f4", chunks=chunks) * 0.5


def _year(count: int) -> pd.DatetimeIndex:
    return pd.date_range("2022-01-03", "2022-12-28", periods=count).floor("D")


def _grid(shape: tuple[int, int], gsd: float) -> Grid:
    return Grid(CRS(32631), Affine(gsd, 0, 500_000, 0, -gsd, 5_000_010), shape)


def random_model(folder: Path) -> Path:
    """Write the default network with random weights: as much work as with any others."""
    import torch

    from tamrf_xr.model.checkpoint import save_model
    from tamrf_xr.model.config import NetworkConfig
    from tamrf_xr.model.network import Tamrf

    path = folder / "random.safetensors"
    save_model(Tamrf(NetworkConfig(), generator=torch.Generator().manual_seed(1)).eval(), path)
    return path
