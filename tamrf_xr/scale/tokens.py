"""A latent cube: what a network made of a whole cube, kept, and the job of decoding it.

A latent is a tree of one group, ``/latent``: ``tokens`` (acquisition, channel, y, x) of both
sensors on the 10 m grid, with some pixels beyond the scene where the network sees that mirrored.
Beside them lies all that planning query dates takes, so that they are planned as for the cube.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from tamrf_xr.dates import DatePlan, plan_dates
from tamrf_xr.days import ONE_DAY
from tamrf_xr.errors import CubeError, DateError, LatentError
from tamrf_xr.fuser import Episode
from tamrf_xr.grid import Grid
from tamrf_xr.iso8601 import Length, read_length
from tamrf_xr.model.form import NOTHING as NOTHING
from tamrf_xr.model.form import Form
from tamrf_xr.scale.prepared import Job, Timing
from tamrf_xr.scale.reading import TOKENS
from tamrf_xr.schema import grid_of
from tamrf_xr.sensors import SENSORS
from tamrf_xr.spatial_ref import with_spatial_ref
from tamrf_xr.storable import described

GROUP = "latent"
VERSION_NAME, VERSION = "tamrf_latent_version", "1"
DIMS = ("acquisition", "channel", "y", "x")

ORDER = ("landsat", "sentinel2")
"""Order of the sensors among acquisitions: that of the network's tokens."""

Times = Mapping[str, pd.DatetimeIndex]


@dataclass(frozen=True, slots=True)
class Acquisitions:
    """Days of a whole cube, one a token, in the order of the network."""

    sensors: tuple[str, ...]
    """Of each."""

    times: pd.DatetimeIndex
    """Midnight of each."""

    origin: pd.Timestamp
    """Day 0."""

    @property
    def days(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Days since the origin."""
        return np.asarray((self.times - self.origin) / pd.Timedelta(days=1), np.float64)


def acquisitions_of(times: Times, timing: Timing) -> Acquisitions:
    """Return the tokens of a cube whose acquisitions see each other.

    Parameters
    ----------
    times
        Acquisition times per sensor.
    timing
        Origin, window and what a day is.

    Raises
    ------
    DateError
        If acquisitions span more than the window, so that each query date would see others.
    """
    length = None if timing.window is None else read_length(timing.window, "window")
    every = pd.DatetimeIndex(np.concatenate([index.values for index in times.values()]))
    plan = plan_dates(times, every[:1], origin=timing.origin, window=None, same_day=timing.same_day)
    (episode,) = plan.episodes
    start = pd.Timestamp(episode.origin, unit="D")
    sensors = [name for name in ORDER for _ in episode.days.get(name, ())]
    days = [day for name in ORDER for day in episode.days.get(name, ())]
    midnights = start + pd.to_timedelta(days, unit="D")
    if length is not None and midnights.max() - midnights.min() > length:
        raise DateError(_one_window(midnights, timing))
    return Acquisitions(tuple(sensors), midnights, start)


def _one_window(days: pd.DatetimeIndex, timing: Timing) -> str:
    return (
        "a latent cube holds acquisitions that all see each other, and these span "
        f"{(days.max() - days.min()).days} days, {days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}, "
        f"more than the window of {timing.window}: fuse would make each date from a window of its "
        "own. Select the times of one year of each group and encode a latent a year, or pass "
        "window=None, as fuse takes it"
    )


def build_latent(job: Job, form: Form, tokens: Any) -> xr.DataTree:
    """Put tokens together as a latent cube.

    Parameters
    ----------
    job
        What it is made of.
    form
        How tokens are kept.
    tokens
        (acquisition, channel, y, x), on the fine grid and `Form.margin` beyond it.

    Returns
    -------
    xarray.DataTree
        The latent.
    """
    sequence = acquisitions_of(job.times, job.timing)
    made = _frame(job, form, sequence).assign(
        {
            TOKENS: xr.DataArray(
                tokens, dims=DIMS, attrs={"long_name": "tokens after attention among acquisitions"}
            )
        }
    )
    made[TOKENS].encoding = {"grid_mapping": "spatial_ref"}
    history = f"{job.cube.attrs.get('history', '')}\nencoded by tamrf_xr".strip()
    title = f"{job.cube.attrs.get('title', '')}, latent".strip(", ")
    about = {"Conventions": "CF-1.11", VERSION_NAME: VERSION, "title": title, "history": history}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=about), f"/{GROUP}": made})


def _frame(job: Job, form: Form, sequence: Acquisitions) -> xr.Dataset:
    """Return all of a latent but its tokens."""
    grid, timing = job.fine, job.timing
    pairs = [(name, time) for name, index in job.times.items() for time in index]
    about = {"long_name": "what the acquisitions of one day are counted as"}
    frame = xr.Dataset(
        coords={
            "time": ("acquisition", sequence.times.as_unit("ns"), about),
            "sensor": ("acquisition", np.array(sequence.sensors, object)),
            "day": ("acquisition", sequence.days, {"long_name": "days since the origin"}),
            "acquired": ("image", pd.DatetimeIndex([t for _, t in pairs]).as_unit("ns")),
            "acquired_by": ("image", np.array([name for name, _ in pairs], object)),
            "scale": ("channel", np.array(form.scale, np.float32)),
            "offset": ("channel", np.array(form.offset, np.float32)),
            **grid.coords(),
        },
        attrs={
            "processing_level": GROUP,
            "method": job.spec.method,
            **dict(job.spec.provenance),
            "numbers": form.kind,
            "margin": form.margin,
            "shape": [len(sequence.times), len(form.channels), *grid.shape],
            "origin": f"{sequence.origin:%Y-%m-%d}",
            "window": "none" if timing.window is None else _words(timing.window, "window"),
            "same_day": _words(timing.same_day, "same_day"),
            "comment": "tokens are scale * number + offset; numbers of bfloat16 are its bits",
        },
    )
    located: xr.Dataset = frame.rio.write_crs(grid.crs).rio.write_transform(grid.transform)
    return described(located, grid.crs)


def _words(length: Length, what: str) -> str:
    return f"{read_length(length, what) / ONE_DAY!r}D"


@dataclass(frozen=True, slots=True)
class Latent:
    """A latent cube that was read."""

    tree: xr.DataTree
    """What was given."""

    group: xr.Dataset
    """Its ``/latent``."""

    form: Form
    """How tokens are kept."""

    timing: Timing
    """How days are counted."""

    acquired: Times
    """Per sensor, times of the acquisitions it was made of."""

    @property
    def attrs(self) -> Mapping[str, Any]:
        """What it says of itself."""
        return self.group.attrs

    @property
    def grid(self) -> Grid:
        """Of its tokens."""
        return grid_of(self.group)


def read_latent(tree: Any) -> Latent:
    """Read what a latent says of itself; no token is read.

    Raises
    ------
    LatentError
        If it is none, of another version, or was cut.
    """
    _check_is_latent(tree)
    root, group = tree.to_dataset(), tree[GROUP].to_dataset(inherit=False)
    try:
        about = group.attrs
        scale, offset = (tuple(map(float, group[name].values)) for name in ("scale", "offset"))
        form = Form(str(about["numbers"]), scale, offset, int(about["margin"]))
        window = None if about["window"] == "none" else str(about["window"])
        timing = Timing(str(about["origin"]), window, str(about["same_day"]))
        times, by = pd.DatetimeIndex(group["acquired"].values), group["acquired_by"].values
        acquired = {name: times[by == name] for name in SENSORS if (by == name).any()}
        found, shape = group[TOKENS], tuple(map(int, about["shape"]))
    except (KeyError, ValueError, TypeError) as error:
        raise LatentError(
            f"/{GROUP} lacks or contradicts what a latent cube says of itself ({error!r:.120}); "
            "open what tamrf_xr.encode_job wrote as it is"
        ) from error
    _check_whole(found, shape, form)
    placed = with_spatial_ref(group, root)
    try:
        grid_of(placed)
    except CubeError as error:
        raise LatentError(f"/{GROUP}: {error}") from error
    return Latent(tree, placed, form, timing, acquired)


def _check_is_latent(tree: Any) -> None:
    wanted = (
        "expected a latent cube: make one of a cube with cube.tamrf.encode() or "
        "tamrf_xr.encode_job, open it with tamrf_xr.open_latent"
    )
    if not isinstance(tree, xr.DataTree):
        raise LatentError(f"not a latent cube: a {type(tree).__name__}; {wanted}")
    found = tree.attrs.get(VERSION_NAME)
    if found is None or GROUP not in tree.children:
        groups = ", ".join(f"/{name}" for name in tree.children) or "no group"
        raise LatentError(f"not a latent cube: found {groups}, no {VERSION_NAME}; {wanted}")
    if str(found) != VERSION:
        raise LatentError(
            f"a latent cube of version {found!r:.20}, and this package reads {VERSION}: decode it "
            "with the tamrf_xr that made it, or encode anew"
        )


_DTYPES = {"int8": "int8", "bfloat16": "int16", "float32": "float32"}


def _check_whole(found: xr.DataArray, shape: tuple[int, ...], form: Form) -> None:
    if found.dims != DIMS or found.shape != shape:
        sizes = dict(zip(DIMS, shape, strict=False))
        raise LatentError(
            f"the tokens are {dict(found.sizes)} and were encoded as {sizes}: a part of a latent "
            "answers otherwise than the whole, which its acquisitions and border enter. Decode the "
            "whole, lazily, and select from what that gives: only the tiles selected are made"
        )
    if str(found.dtype) != _DTYPES.get(form.kind):
        raise LatentError(
            f"tokens kept as {form.kind} are {_DTYPES.get(form.kind, 'unknown')}, found "
            f"{found.dtype}; open the store with tamrf_xr.open_latent, which converts nothing"
        )


@dataclass(frozen=True, slots=True, eq=False)
class DecodeJob(Job):
    """A job whose input is a latent: planned on the acquisitions that it was made of."""

    acquired: Times = field(default_factory=dict)
    """Per sensor, their times."""

    form: Form = field(default_factory=lambda: Form("float32", (), ()))
    """How tokens are kept."""

    @property
    def fine(self) -> Grid:
        """Grid of the product: that of the latent without what lies beyond the scene."""
        return self.grids[GROUP].grown(-self.form.margin)

    @property
    def border(self) -> int:
        """Return how far the product stays within the latent, as negative pixels."""
        return -self.form.margin

    @property
    def ratios(self) -> dict[str, int]:
        """Tokens are fine."""
        return {GROUP: 1}

    @property
    def times(self) -> dict[str, pd.DatetimeIndex]:
        """Acquisition times of each sensor."""
        return dict(self.acquired)

    def plan(self) -> DatePlan:
        """Plan query dates as for the cube, and read every token for them."""
        timing = self.timing
        plan = plan_dates(
            self.acquired, self.queries, origin=timing.origin, window=timing.window,
            same_day=timing.same_day,
        )  # fmt: skip
        count = self.groups[GROUP].sizes["acquisition"]
        (asked,) = plan.episodes
        days = {name: asked.days.get(name, ()) for name in ORDER}
        episode = Episode(
            {GROUP: tuple(range(count))}, days, asked.queries, asked.query_days, asked.origin
        )
        return DatePlan({GROUP: tuple((at,) for at in range(count))}, (episode,))
