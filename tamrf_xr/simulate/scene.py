"""Put a scene together: the ground, its sky, both sensors; and its truth."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from tamrf_xr.cube import Grid, build_cube, build_group, groups_of
from tamrf_xr.dates import parse_dates
from tamrf_xr.errors import DateError, OptionError
from tamrf_xr.machine import usable_cores
from tamrf_xr.replaceable import check_store
from tamrf_xr.sensors import FINE_GSD, SENSORS, SENTINEL2
from tamrf_xr.simulate.atmosphere import Sky, draw_sky, through
from tamrf_xr.simulate.changes import Extent, Frame, extent, truth_of
from tamrf_xr.simulate.config import SceneConfig
from tamrf_xr.simulate.departures import add_patches, of_parcels
from tamrf_xr.simulate.fields import Field, stream
from tamrf_xr.simulate.ground import Ground, draw_ground
from tamrf_xr.simulate.masks import any_of, detect, most_of, spoiled
from tamrf_xr.simulate.orbits import Pass, nadir, passes
from tamrf_xr.simulate.sensing import degrade, draw_shift, observe
from tamrf_xr.store import save_cube

MARGIN = 12
"""10 m pixels simulated round the scene, so that blur and shift find something there."""

MULTIPLE = 6
"""Pixels of 20 m and of 30 m must fill what is simulated."""

MOST_THREADS = 4
"""Acquisitions taken at once, at most: each needs some 0.6 GB for a megapixel."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Simulation:
    """A simulated scene."""

    config: SceneConfig
    """What it was made from."""

    cube: xr.DataTree
    """The series as a user would have them: clouds in the images, `valid` not quite right."""

    clear: Mapping[str, xr.DataArray]
    """Per sensor, (time, y, x): True where there truly is neither cloud, shadow nor gap."""

    ground: Ground
    """What is simulated, with its margin."""

    @property
    def changes(self) -> xr.Dataset:
        """Sudden changes: what, where, and from which day on.

        ``share`` (event, y, x) is the part of each 10 m pixel that an event changed, 0..1, with
        ``event_kind`` and ``event_date`` beside it. ``date`` and ``kind`` (y, x) are of the first
        event that changed half of the pixel or more: the first day that shows it, NaT where there
        is none; and its number in ``kind.attrs["flag_meanings"]``, 0 where there is none.
        """
        told = truth_of(self.ground.scars, _frame(self.config), self.config.year)
        space = self.cube[SENTINEL2.name].to_dataset()
        return told.assign_coords({name: space[name] for name in ("y", "x", "spatial_ref")})

    def truth(self, dates: Any) -> xr.DataTree:
        """Return every band of both sensors at 10 m, without clouds, blur or noise.

        Parameters
        ----------
        dates
            As `tamrf_xr.fuse` takes them; within the series, in any order.

        Returns
        -------
        xarray.DataTree
            A cube like those of `tamrf_xr.fuse`, in memory; no NaN.

        Raises
        ------
        DateError
            If a date cannot be read, or lies outside the series.
        """
        asked = parse_dates(dates)
        _check_years(asked, self.config)
        days = (asked - pd.Timestamp(self.config.year, 1, 1)) / pd.Timedelta(days=1)
        grid = _grid(self.config, FINE_GSD)
        groups = {}
        for sensor in SENSORS:
            images = np.stack([_crop(self.ground.image(sensor, day), grid) for day in days])
            groups[sensor] = _group(sensor, images, times=asked, grid=grid, attrs=_TRUE)
        return build_cube(groups, title="Truth of a simulated scene", history=_history(self.config))

    def unclouded(self) -> xr.DataTree:
        """Return the series as its sensors would have seen it through no sky, without any error.

        Returns
        -------
        xarray.DataTree
            Groups, times and grids of `cube`, in memory. No NaN; `valid` is where the acquisition
            truly was clear.
        """
        start = pd.Timestamp(self.config.year, 1, 1)
        groups = {}
        for sensor, group in groups_of(self.cube).items():
            times = pd.DatetimeIndex(group["time"].values)
            grid = _grid(self.config, SENSORS[sensor].gsd)
            images = np.stack(
                [
                    _crop(degrade(self.ground.image(sensor, day), sensor), grid)
                    for day in (times - start) / pd.Timedelta(days=1)
                ]
            )
            valid = self.clear[sensor].values
            groups[sensor] = _group(
                sensor, images, times=times, grid=grid, valid=valid, attrs=_SIMULATED
            )
        title = "Simulated scene as seen through no sky"
        return build_cube(groups, title=title, history=_history(self.config))

    def shifts(self) -> dict[str, xr.Dataset]:
        """Return how far each acquisition lies off, per sensor.

        Returns
        -------
        dict
            Datasets of ``dx`` (eastwards) and ``dy`` (northwards) in metres, along ``time``.
        """
        start = pd.Timestamp(self.config.year, 1, 1)
        found = {}
        for sensor, group in groups_of(self.cube).items():
            times = pd.DatetimeIndex(group["time"].values)
            days = ((times - start) // pd.Timedelta(days=1)).tolist()
            drawn = [draw_shift(_draws(self.config, sensor, d), sensor, self.config) for d in days]
            down, right = FINE_GSD * np.array(drawn).T
            coords, about = {"time": group["time"]}, {"units": "m"}
            arrays = {"dx": ("time", right, about), "dy": ("time", -down, about)}
            found[sensor] = xr.Dataset(arrays, coords)
        return found


_TRUE = {"processing_level": "fused", "method": "simulated truth"}


def simulate(config: SceneConfig) -> Simulation:
    """Simulate a year of Landsat and Sentinel-2 over farmland, woods, water and towns.

    The same configuration gives the same bytes. Acquisitions are drawn each on their own, so
    none depends on which others there are.

    Parameters
    ----------
    config
        The scene.

    Returns
    -------
    Simulation
        The cube, which pixels are truly clear, and the truth at any date.

    Examples
    --------
    >>> scene = simulate(
    ...     SceneConfig(size_px=30, sentinel2_revisit_days=90, landsat_revisit_days=90)
    ... )
    >>> dict(scene.cube["landsat"].sizes)["x"]
    10
    >>> scene.truth("2022-07-14")["landsat"]["surface_temperature"].shape
    (1, 30, 30)
    """
    ground = draw_ground(
        config.seed,
        _frame(config).count,
        years=config.years,
        latitude=config.latitude,
        biome=config.biome,
        scars=_extents(config),
    )
    groups, clear = {}, {}
    for sensor in SENSORS:
        groups[sensor], clear[sensor] = _acquire(config, ground, sensor)
    cube = build_cube(
        groups, title="Simulated Landsat and Sentinel-2 scene", history=_history(config)
    )
    return Simulation(config, cube, clear, ground)


def write_scene(
    config: SceneConfig,
    out_zarr: str | os.PathLike[str],
    truth_zarr: str | os.PathLike[str] | None = None,
    *,
    truth_dates: Any = None,
    unclouded_zarr: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> None:
    """Simulate a scene and write it.

    Parameters
    ----------
    config
        The scene.
    out_zarr
        Store of the clouded series.
    truth_zarr
        Store of the truth, if wanted.
    truth_dates
        Dates of the truth; by default every 15 days of the series.
    unclouded_zarr
        Store of `Simulation.unclouded`, if wanted; written before the clouded series.
    overwrite
        Replace stores that exist.

    Raises
    ------
    OutputExistsError
        If a store exists and `overwrite` is False. Nothing is written then.
    DateError
        If a date of the truth cannot be read, or lies outside the series.
    """
    stores = [check_store(out_zarr, "store", overwrite=overwrite)]
    for path, what in ((truth_zarr, "truth"), (unclouded_zarr, "unclouded series")):
        if path is not None:
            own = check_store(path, f"store of the {what}", overwrite=overwrite, inputs=stores)
            stores.append(own)
    first, last = config.year, config.year + config.years - 1
    dates = parse_dates(f"{first}-01-01/{last}-12-31/15D" if truth_dates is None else truth_dates)
    _check_years(dates, config)
    scene = simulate(config)
    if unclouded_zarr is not None:
        save_cube(scene.unclouded(), unclouded_zarr, overwrite=overwrite)
    save_cube(scene.cube, out_zarr, overwrite=overwrite)
    if truth_zarr is not None:
        save_cube(scene.truth(dates), truth_zarr, overwrite=overwrite)


def _frame(config: SceneConfig) -> Frame:
    count = -(-(config.size_px + 2 * MARGIN) // MULTIPLE) * MULTIPLE
    return Frame(count, MARGIN, config.size_px)


def _extents(config: SceneConfig) -> tuple[Extent, ...]:
    drawn = (extent(config.seed, n, one, _frame(config)) for n, one in enumerate(config.events))
    return tuple(one for one in drawn if one is not None)


def _check_years(dates: pd.DatetimeIndex, config: SceneConfig) -> None:
    last = config.year + config.years - 1
    outside = dates[(dates.year < config.year) | (dates.year > last)]
    if len(outside):
        span = f"{config.year}" + (f" to {last}" if config.years > 1 else "")
        raise DateError(
            f"truth asked at {outside[0]:%Y-%m-%d}: the scene is of {span}; "
            "ask for dates of that time, or simulate another"
        )


def _acquire(config: SceneConfig, ground: Ground, sensor: str) -> tuple[xr.Dataset, xr.DataArray]:
    """Take the whole series of one sensor."""
    found = passes(config, sensor)
    if not found:
        raise OptionError(
            f"no acquisition of {sensor} is left in the series: the revisit is too long for "
            f"{config.days} days, or lost_dates ({config.lost_dates}) too high; change them"
        )
    grid = _grid(config, SENSORS[sensor].gsd)
    images = np.empty((len(found), len(SENSORS[sensor].all_bands), *grid.shape), np.float32)
    valid = np.empty((len(found), *grid.shape), bool)
    clear = np.empty_like(valid)

    def take(place: int) -> None:
        images[place], valid[place], clear[place] = _take(config, ground, sensor, found[place])

    # Each date draws from streams of its own: threads change no byte.
    with ThreadPoolExecutor(max_workers=min(usable_cores(), MOST_THREADS)) as pool:
        deque(pool.map(take, range(len(found))), maxlen=0)
    days = [one.day for one in found]
    times = pd.Timestamp(config.year, 1, 1) + pd.to_timedelta(days, unit="D")
    group = _group(sensor, images, times=times, grid=grid, valid=valid, attrs=_SIMULATED)
    return group, group["valid"].copy(data=clear).assign_attrs(long_name="truly clear")


_SIMULATED = {"source": "simulated"}


def _take(config: SceneConfig, ground: Ground, sensor: str, one: Pass) -> tuple[Field, Mask, Mask]:
    """Return one acquisition: the image, `valid` and what is truly clear, cropped."""
    row, grid = SENSORS[sensor], _grid(config, SENSORS[sensor].gsd)
    rng = _draws(config, sensor, one.day)
    sky = draw_sky(config, sensor, one.day, ground.land.shape)
    view = nadir(sensor)
    if config.view_effect:
        view = replace(one.view, zenith=config.view_effect * one.view.zenith)
    gains = of_parcels(config, ground.land, sensor, one.day)
    lit = ground.image(sensor, one.day, view=view, gains=gains)
    add_patches(lit, config, sensor, one.day)
    seen = through(sky, lit, sensor)
    image = observe(seen, sensor, config, rng=rng)
    gap = any_of(_draw_gap(rng, sky, config.partial_swath), row.ratio)
    bad = any_of(spoiled(sky, row.ratio), row.ratio)
    said = bad
    if config.mask_errors:
        said = most_of(detect(rng, sky, errors=config.mask_errors), row.ratio)
    image[:, gap] = np.nan
    return _crop(image, grid), _crop(~(said | gap), grid), _crop(~(bad | gap), grid)


def _draws(config: SceneConfig, sensor: str, day: int) -> np.random.Generator:
    """Return the source of randomness of one acquisition."""
    return stream(config.seed, "acquisition " + sensor, day)


def _draw_gap(rng: np.random.Generator, sky: Sky, odds: float) -> Mask:
    """Draw what the swath does not reach: mostly nothing, else all beyond a line."""
    shape = sky.opacity.shape
    # Drawn always, so that the odds of gaps change nothing else.
    chance, place = rng.random(2)
    if chance >= odds:
        return np.zeros(shape, bool)
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(x + 0.21 * y > (0.1 + place) * shape[1])


def _crop(values: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Cut the margin off."""
    start = round(MARGIN * FINE_GSD / grid.gsd)
    return values[..., start : start + grid.shape[0], start : start + grid.shape[1]]


def _grid(config: SceneConfig, gsd: float) -> Grid:
    count = round(config.size_px * FINE_GSD / gsd)
    transform = Affine(gsd, 0, config.left, 0, -gsd, config.top)
    return Grid(CRS(32631), transform, (count, count))


def _group(sensor: str, images: Field, **options: Any) -> xr.Dataset:
    count = len(SENSORS[sensor].bands)
    thermal = images[:, count] if SENSORS[sensor].thermal else None
    return build_group(sensor, images[:, :count], surface_temperature=thermal, **options)


def _history(config: SceneConfig) -> str:
    return f"simulated by tamrf_xr.simulate, seed {config.seed}: {config}"
