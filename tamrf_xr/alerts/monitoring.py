"""The map of alerts: where departures persist, since when, how far they go."""

from __future__ import annotations

import math
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.alerts.asked import LATENCY
from tamrf_xr.alerts.runs import NONE, find_runs
from tamrf_xr.alerts.scoring import scores
from tamrf_xr.errors import OptionError

Array = NDArray[Any]

THRESHOLD = 2.5
PERSISTENCE = 3
MOST_PERSISTENCE = 1000


def alerts(
    cube: xr.DataTree,
    since: Any = None,
    until: Any = None,
    *,
    bands: Any = None,
    threshold: float = THRESHOLD,
    persistence: int = PERSISTENCE,
    latency: Any = LATENCY,
    **options: Any,
) -> xr.Dataset:
    """Tell where the land departs from what its past predicts, and since when, lazily.

    Each acquisition is predicted from those that are older than it by `latency` or more, brought
    to the blur and the pixels of its sensor, and compared where the mask says usable: the score is
    the root mean square over bands of the difference over the deviation that the network tells of
    its errors. Scores beyond `threshold` in `persistence` usable acquisitions in a row, of
    whichever sensor, are an alert.

    Parameters
    ----------
    cube
        A cube with masks (``valid``).
    since, until
        Acquisitions of these days and between are compared. By default from 90 days and `latency`
        after the first one, to the last.
    bands
        Bands compared: names, or a mapping of sensor to names; by default red, NIR and both SWIR,
        of those that the cube holds.
    threshold
        Deviations.
    persistence
        Acquisitions.
    latency
        How old the newest acquisition is that a prediction sees: a day or more. A longer one keeps
        a change out of predictions for longer, and makes them worse; see docs/alerts.md.
    **options
        ``model``, ``device``, ``precision``, ``tile``, ``window``, ``origin``, ``method_options``:
        as of `tamrf_xr.fuse`; weights must tell their errors.

    Returns
    -------
    xarray.Dataset
        On the 10 m grid, dask. Of the first run of exceedances that persists, else of one that
        goes on at the end: ``first_exceedance`` and ``confirmed`` (days, NaT where there is none),
        ``persistence`` (number of acquisitions), ``magnitude`` (mean score, NaN where there is no
        run); ``observations``, usable acquisitions compared. What comes later changes none of what
        is confirmed.

    Raises
    ------
    CubeError
        If the cube is a product, has no masks, or lacks a band asked.
    DateError
        If no acquisition lies in the span, or one has no past.
    ModelError, MethodError
        If the weights do not tell their errors; if there is no such band.
    OptionError
        If an option has no meaning.

    References
    ----------
    Verbesselt, Zeileis & Herold, "Near real-time disturbance detection using satellite image time
    series", Remote Sensing of Environment, 2012; Zhu & Woodcock, "Continuous change detection and
    classification of land cover", Remote Sensing of Environment, 2014 (persistence).
    """
    _check(threshold, persistence)
    told = scores(cube, since, until, bands=bands, latency=latency, **options)
    about = {
        "threshold": float(threshold),
        "persistence": int(persistence),
        "latency": str(latency),
        "monitored": f"{told['time'].values[0]:.10}/{told['time'].values[-1]:.10}",
        "acquisitions": told.sizes["time"],
        "bands": told.attrs["bands"],
    }
    return alerts_of(told, threshold=threshold, persistence=persistence).assign_attrs(about)


def alerts_of(told: xr.Dataset, *, threshold: float, persistence: int) -> xr.Dataset:
    """Return the map of alerts of scores, as of `tamrf_xr.alerts.scores`, lazy or not.

    Parameters
    ----------
    told
        The scores.
    threshold, persistence
        As of `alerts`.

    Raises
    ------
    OptionError
        If one has no meaning.
    """
    _check(threshold, persistence)
    days = told["time"].values.astype("M8[D]").astype(float)
    found = da.blockwise(
        _found, "kyx", da.asarray(told["score"].data), "tyx", new_axes={"k": len(_ABOUT)},
        concatenate=True, dtype=np.float64, meta=np.empty((0, 0, 0)),
        days=days, threshold=threshold, persistence=persistence,
    )  # fmt: skip
    maps = {
        name: (("y", "x"), found[place].map_blocks(_typed, kind=kind, dtype=kind), about | _PLACED)
        for place, (name, (kind, about)) in enumerate(_ABOUT.items())
    }
    space = {name: told[name] for name in ("y", "x", "spatial_ref")}
    return xr.Dataset(maps, coords=space, attrs={"title": "Alerts"})


_PLACED = {"grid_mapping": "spatial_ref"}
_DATE, _COUNT = np.dtype("M8[ns]"), np.dtype("i4")
_ABOUT: dict[str, tuple[np.dtype[Any], dict[str, str]]] = {
    "first_exceedance": (_DATE, {"long_name": "first day of the run of exceedances"}),
    "confirmed": (_DATE, {"long_name": "day on which the run had persisted"}),
    "persistence": (_COUNT, {"long_name": "usable acquisitions of the run", "units": "1"}),
    "magnitude": (np.dtype("f4"), {"long_name": "mean score of the run", "units": "1"}),
    "observations": (_COUNT, {"long_name": "usable acquisitions compared", "units": "1"}),
}


def _found(told: Array, *, days: Array, threshold: float, persistence: int) -> Array:
    """Return the maps of `_ABOUT` in float64, dates as days since 1970, NaN where there is none."""
    runs = find_runs(told, threshold=threshold, persistence=persistence)
    first, confirmed = (
        np.where(place == NONE, np.nan, days[place]) for place in (runs.first, runs.confirmed)
    )
    return np.stack(
        [first, confirmed, runs.count, runs.magnitude, np.isfinite(told).sum(axis=0)]
    ).astype(np.float64)


def _typed(values: Array, *, kind: np.dtype[Any]) -> Array:
    if kind != _DATE:
        return values.astype(kind)
    known = np.isfinite(values)
    dates = np.where(known, values, 0).astype(np.int64).astype("M8[D]").astype(kind)
    dates[~known] = np.datetime64("NaT")
    return dates


def _check(threshold: Any, persistence: Any) -> None:
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not number or not 0 < threshold < math.inf:
        raise OptionError(
            f"threshold is {threshold!r:.40}: expected a number of deviations above 0"
        )
    whole = isinstance(persistence, int) and not isinstance(persistence, bool)
    if not whole or not 1 <= persistence <= MOST_PERSISTENCE:
        raise OptionError(
            f"persistence is {persistence!r:.40}: expected a number of acquisitions from 1 to "
            f"{MOST_PERSISTENCE}"
        )
