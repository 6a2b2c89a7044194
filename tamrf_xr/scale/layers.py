"""What a product holds beside bands, or instead of them; all of it made in the tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tamrf_xr.dates import DatePlan
from tamrf_xr.errors import OptionError
from tamrf_xr.fuser import DEVIATIONS, Crop, FuserSpec, Pixels, Series
from tamrf_xr.indices import Index
from tamrf_xr.model.form import Form
from tamrf_xr.scale.observed import describe
from tamrf_xr.sensors import SENSORS, THERMAL

Values = npt.NDArray[np.generic]

Fused = Mapping[str, npt.NDArray[np.generic]]
"""Per sensor what a fuser gives, ``(query, band, y, x)``; per ``group/variable`` what is made of
it or of what was observed."""

PERIODS = {"month": (1,), "dekad": (1, 11, 21)}
"""Days of a month on which periods begin."""

_EXTREMES = {"min": 0.0, "median": 0.5, "max": 1.0}


@dataclass(frozen=True, slots=True)
class Layers:
    """What is asked beside bands."""

    provenance: bool = False
    """Where each pixel comes from: `tamrf_xr.scale.observed`."""

    uncertainty: bool = False
    """Standard deviations of the errors of the bands that are kept."""

    indices: tuple[tuple[str, tuple[Index, ...]], ...] = ()
    """Per sensor, spectral indices."""

    bands: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    """Per sensor, the bands that are kept; None for all that are made."""

    statistics: tuple[tuple[str, float], ...] = ()
    """Names of quantiles over the query dates of a period, 0..1, which take the place of dates."""

    period: str = "month"
    """One of `PERIODS`."""

    latent: Form | None = None
    """Tokens in place of images, and how they are kept: see `tamrf_xr.scale.tokens`."""

    @property
    def margin(self) -> int:
        """Return fine pixels beyond the scene, on each side, that are made too."""
        return self.latent.margin if self.latent else 0

    def kept(self, spec: FuserSpec) -> dict[str, tuple[str, ...]]:
        """Return the bands of each sensor that a product holds; none for some."""
        kept = spec.bands if self.bands is None else dict(self.bands)
        return {sensor: kept.get(sensor, ()) for sensor in spec.bands}

    def words(self) -> dict[str, str]:
        """Say what decides the numbers, for the identity of a job; nothing where nothing is asked.

        Jobs of before are gone on with.
        """
        words = {"provenance": "yes"} if self.provenance else {}
        words |= {"uncertainty": "yes"} if self.uncertainty else {}
        for sensor, indices in self.indices:
            words |= {f"{one.name} of {sensor}": str(one) for one in indices}
        for sensor, bands in self.bands or ():
            words[f"kept of {sensor}"] = " ".join(bands)
        words |= {"latent": str(self.latent)} if self.latent else {}
        if self.statistics:
            words["statistics"] = f"{' '.join(name for name, _ in self.statistics)} a {self.period}"
        return words

    def times(self, queries: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Return the times of a product: query dates, or the first days of their periods."""
        return _starts(queries, self.period).unique().sort_values() if self.statistics else queries

    @property
    def bytes_per_query(self) -> float:
        """What a tile needs for them, per query date and fine pixel."""
        indices = sum(len(indices) for _, indices in self.indices)
        return 40.0 * self.provenance + 20.0 * min(indices, 1) + 4.0 * indices


@dataclass(frozen=True, slots=True)
class Made:
    """What layers are made of, the same for all tiles."""

    layers: Layers
    """What is asked."""

    spec: FuserSpec
    """The method."""

    queries: pd.DatetimeIndex
    """Query dates."""

    def of(
        self, fused: Mapping[str, Pixels], series: Mapping[str, Series], dates: DatePlan, crop: Crop
    ) -> dict[str, Values]:
        """Return the bands that are kept and the layers of a tile: see `Fused`."""
        layers, spec = self.layers, self.spec
        made: dict[str, Values] = {}
        for sensor, indices in layers.indices:
            bands = dict(zip(spec.bands[sensor], np.moveaxis(fused[sensor], 1, 0), strict=True))
            made |= {f"{sensor}/{index.name}": index.compute(bands) for index in indices}
        kept = layers.kept(spec)
        for sensor, names in kept.items():
            held = [spec.bands[sensor].index(name) for name in names]
            if held:
                whole = len(held) == len(spec.bands[sensor])
                made[sensor] = fused[sensor] if whole else fused[sensor][:, held]
                if layers.uncertainty:
                    deviations = fused[DEVIATIONS.format(sensor=sensor)][:, held]
                    made |= {
                        f"{name}_std": values
                        for name, values in _by_variable({sensor: deviations}, kept).items()
                    }
        if layers.statistics:
            made = self._reduced(made, kept)
        if layers.provenance:
            made |= describe(series, dates.episodes, crop, made=fused)
        return made

    def _reduced(
        self, made: Mapping[str, Values], kept: Mapping[str, tuple[str, ...]]
    ) -> dict[str, Values]:
        """Reduce over the dates of each period."""
        starts = _starts(self.queries, self.layers.period)
        members = [np.flatnonzero(starts == one) for one in self.layers.times(self.queries)]
        found: dict[str, Values] = {}
        for name, values in _by_variable(made, kept).items():
            parts = [np.sort(values[chosen], axis=0) for chosen in members]
            for statistic, share in self.layers.statistics:
                reduced = np.stack([quantile(part, share) for part in parts])
                found[f"{name}_{statistic}"] = reduced
        return found


def _by_variable(
    made: Mapping[str, Values], kept: Mapping[str, tuple[str, ...]]
) -> dict[str, Values]:
    found: dict[str, Values] = {}
    for name, values in made.items():
        bands = kept.get(name)
        if bands is None:
            found[name] = values
            continue
        thermal = THERMAL in bands
        if optical := len(bands) - thermal:
            found[f"{name}/reflectance"] = values[:, :optical]
        if thermal:
            found[f"{name}/surface_temperature"] = values[:, -1]
    return found


def quantile(ordered: Values, share: float) -> Values:
    """Return a quantile along time, linear between ranks, of the values that there are.

    Parameters
    ----------
    ordered
        ``(time, ...)``, sorted along time, NaN last.
    share
        0..1.

    Returns
    -------
    numpy.ndarray
        ``(...)`` float32; NaN where there is no value. What `numpy.nanquantile` gives.

    Examples
    --------
    >>> quantile(np.array([[1.0], [2.0], [np.nan]], np.float32), 0.5)
    array([1.5], dtype=float32)
    """
    count = np.isfinite(ordered).sum(axis=0)
    rank = share * np.maximum(count - 1, 0)
    low = np.floor(rank).astype(np.intp)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    below, above = (
        np.take_along_axis(ordered, place[None], axis=0)[0].astype(np.float64)
        for place in (low, high)
    )
    found: Values = (below + (rank - low) * (above - below)).astype(np.float32)
    return found


def _starts(queries: pd.DatetimeIndex, period: str) -> pd.DatetimeIndex:
    """Return the first day of the period of each date.

    Examples
    --------
    >>> _starts(pd.DatetimeIndex(["2022-01-31T10:00", "2022-02-11"]), "dekad").strftime("%m-%d")
    Index(['01-21', '02-11'], dtype='str')
    """
    begins = np.array(PERIODS[period])
    first = begins[np.searchsorted(begins, queries.day, side="right") - 1]
    months = queries.to_numpy().astype("M8[M]").astype("M8[D]")
    return pd.DatetimeIndex(months + (first - 1).astype("m8[D]"))


def read_statistics(names: Sequence[str], period: str) -> tuple[tuple[str, float], ...]:
    """Read names of statistics: ``median``, ``min``, ``max``, ``p10``.

    Raises
    ------
    OptionError
        If one is unknown or named twice, or the period is.
    """
    if period not in tuple(PERIODS):
        raise OptionError(f"period is {period!r:.40}; the periods are {', '.join(PERIODS)}")
    if len(set(names)) < len(names):
        raise OptionError(f"statistics name one twice: {', '.join(names)[:80]}")
    return tuple((name, _share(name)) for name in names)


def _share(name: str) -> float:
    if name in _EXTREMES:
        return _EXTREMES[name]
    digits = name[1:]
    if name[:1] == "p" and digits.isascii() and digits.isdigit() and 1 <= int(digits) <= 99:
        return int(digits) / 100
    raise OptionError(
        f"unknown statistic {name!r:.40}; there are {', '.join(_EXTREMES)} and p1 to p99"
    )


def variables_of(layers: Layers, spec: FuserSpec) -> list[tuple[str, str, str]]:
    """List what a product holds: group, variable, and the kind of its values (`product.STORED`)."""
    found: list[tuple[str, str, str]] = []
    for sensor, bands in layers.kept(spec).items():
        thermal = SENSORS[sensor].thermal
        has_thermal = thermal is not None and thermal.name in bands
        if len(bands) > has_thermal:
            found.append((sensor, "reflectance", "reflectance"))
        if has_thermal:
            found.append((sensor, "surface_temperature", "surface_temperature"))
        if layers.uncertainty:
            found += [(s, f"{name}_std", f"{name}_std") for s, name, _ in found if s == sensor]
        for name, indices in layers.indices:
            found += [(sensor, index.name, "index") for index in indices if name == sensor]
    if not layers.statistics:
        return found
    return [
        (group, f"{variable}_{statistic}", kind)
        for group, variable, kind in found
        for statistic, _ in layers.statistics
    ]
