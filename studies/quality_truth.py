"""Errors against the truth of simulated scenes: gaps, clouds, and detail at 10 m."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.cube import groups_of
from tamrf_xr.evaluation import Scoring, SplitSettings
from tamrf_xr.evaluation.acquisitions import predicted
from tamrf_xr.evaluation.compensate import degrade
from tamrf_xr.evaluation.running import Plan, Prediction, hold_out, predictions
from tamrf_xr.evaluation.tasks import Run, find_task
from tamrf_xr.fuser import Scene
from tamrf_xr.metrics import crop, frequency_restoration
from tamrf_xr.psf import blur, downsample, upsample
from tamrf_xr.sensors import SENSORS, THERMAL
from tamrf_xr.simulate import Simulation

MARGIN = 12
"""10 m pixels left out on every side."""

FINE_GSD = 10

Float64 = NDArray[np.float64]
Task = find_task("gap-filling")


@dataclass
class Sums:
    """What is added up over dates and scenes for one method and sensor."""

    squares: dict[str, Float64] = field(default_factory=dict)
    """Squared errors per kind of pixels, per band."""

    counts: dict[str, int] = field(default_factory=dict)
    """Pixels, likewise."""

    restored: list[Float64] = field(default_factory=list)
    """FRR of the bands taken at 20 m and 30 m, on each date left out."""

    bicubic: list[Float64] = field(default_factory=list)
    """The same of the truth as the sensor samples it, free of clouds, upsampled."""

    def add(self, kind: str, error: Float64, chosen: NDArray[np.bool_]) -> None:
        """Add the errors of the chosen pixels."""
        self.squares[kind] = self.squares.get(kind, 0) + (error[:, chosen] ** 2).sum(-1)
        self.counts[kind] = self.counts.get(kind, 0) + int(chosen.sum())

    def rmse(self, kind: str) -> Float64:
        """Return RMSE per band."""
        return np.sqrt(self.squares[kind] / max(self.counts[kind], 1))


def against_truth(
    scenes: Mapping[str, Callable[[], Simulation]], methods: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Compare methods with the truth under GAPS of 30 days.

    Parameters
    ----------
    scenes
        Per name, what simulates the scene.
    methods
        Per method, options of `tamrf_xr.fuse`.

    Returns
    -------
    dict
        Per method and sensor, as JSON takes it.
    """
    sums = {(method, sensor): Sums() for method in methods for sensor in SENSORS}
    for make in scenes.values():
        scene = make()
        for method, options in methods.items():
            plan = Plan(Task, SplitSettings(), Scoring(), options)
            held = hold_out(scene.cube, Run(method, "GAPS"), plan)
            for prediction, _ in predictions(held):
                _add(sums[method, prediction.sensor], prediction, scene)
    return {
        method: {sensor: _told(sums[method, sensor], sums, sensor) for sensor in SENSORS}
        for method in methods
    }


def _add(into: Sums, prediction: Prediction, scene: Simulation) -> None:
    truth = predicted(groups_of(scene.truth([prediction.day]))[prediction.sensor], 0)
    truth = truth.select(prediction.made.bands)
    ratio = SENSORS[prediction.sensor].ratio
    error = crop(
        _seen(prediction.made, prediction.sensor) - _seen(truth, prediction.sensor), MARGIN // ratio
    )
    clear = crop(_truly_clear(scene, prediction), MARGIN // ratio)
    if prediction.day not in prediction.given[prediction.sensor]:
        into.add("left out", error, np.ones_like(clear))
        _add_detail(into, prediction, truth)
    else:
        into.add("given, clear", error, clear)
        into.add("given, under clouds", error, ~clear)


def _seen(scene: Scene, sensor: str) -> Float64:
    """Bring an image at 10 m to the grid and the blur of its sensor."""
    seen = degrade(scene.pixels, sensor, scene.bands, ratio=SENSORS[sensor].ratio)
    return cast("Float64", seen)


def _truly_clear(scene: Simulation, prediction: Prediction) -> NDArray[np.bool_]:
    clear: xr.DataArray = scene.clear[prediction.sensor]
    days = pd.DatetimeIndex(clear["time"].values).floor("D")
    return np.asarray(clear.values[days == prediction.day].all(0))


def _add_detail(into: Sums, prediction: Prediction, truth: Scene) -> None:
    table = {band.name: band for band in SENSORS[prediction.sensor].all_bands}
    coarse = tuple(name for name in truth.bands if name != THERMAL and table[name].gsd > FINE_GSD)
    fine, wanted = (scene.select(coarse).pixels for scene in (prediction.made, truth))
    ratio = round(table[coarse[0]].gsd / FINE_GSD)  # 20 m or 30 m, one a sensor
    rows = [table[name] for name in coarse]
    blurred = blur(wanted, [row.mtf for row in rows], [row.gsd for row in rows])
    sampled = upsample(downsample(blurred, ratio), ratio)
    fine, wanted, sampled = (crop(image, MARGIN) for image in (fine, wanted, sampled))
    into.restored.append(frequency_restoration(fine, wanted))
    into.bicubic.append(frequency_restoration(sampled, wanted))


def _told(sums: Sums, every: Mapping[tuple[str, str], Sums], sensor: str) -> dict[str, Any]:
    bands = slice(0, len(SENSORS[sensor].bands))
    naive = every["naive", sensor]
    row: dict[str, Any] = {
        f"rmse, {kind}": round(float(sums.rmse(kind)[bands].mean()), 5) for kind in sums.counts
    }
    row["rmse to naive, left out"] = round(
        float((sums.rmse("left out") / naive.rmse("left out"))[bands].mean()), 4
    )
    clear, clouded = sums.rmse("given, clear"), sums.rmse("given, under clouds")
    row["rmse under clouds to clear"] = round(float((clouded / clear)[bands].mean()), 4)
    row["frr of coarse bands (dB)"] = round(float(np.mean(sums.restored)), 3)
    row["frr of bicubic (dB)"] = round(float(np.mean(sums.bicubic)), 3)
    if SENSORS[sensor].thermal:
        row["rmse of LST, left out (K)"] = round(float(sums.rmse("left out")[-1]), 3)
    return row
