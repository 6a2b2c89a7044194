"""The published values of the methods that pair both sensors, read as this package reads cubes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tamrf_xr.fuser import Episode, Series
from tamrf_xr.methods.pairing import COMMON
from tamrf_xr.methods.registry import Request, plan_method
from tests.fuser_tests import whole_of
from tests.oracle import shared

TOLERANCE = 1e-5
"""Ours is float32 as theirs: rounding is under 1e-6."""

FILES = {
    "misc": "oracle/misc/baselines.npz",
    "extended": "oracle/extended/oracle_baselines.npz",
}
PREFIX = {
    "misc": "in_lr in_hr in_lr_doy in_hr_doy in_lr_mask in_hr_mask",
    "extended": "lr_data hr_data lr_doy hr_doy lr_mask hr_mask",
}
COMMON_IN_MISC = {"lr": [1, 2, 3, 4, 5, 6], "hr": [0, 1, 2, 7, 8, 9]}
GIVEN = {"sentinel2": tuple(COMMON), "landsat": tuple(COMMON.values())}


@dataclass(frozen=True)
class Published:
    """One file."""

    stored: dict
    series: dict[str, Series]
    days: dict[str, np.ndarray]

    def run(self, method, asked, **options):
        """What ours makes of the inputs, (date, band, y, x)."""
        spec = plan_method(method, Request(GIVEN, options=options))
        return spec.fuser()(self.series, [self.episode(asked)], whole_of(self.series))["sentinel2"]

    def episode(self, asked):
        return Episode(
            {n: tuple(range(len(d))) for n, d in self.days.items()},
            {n: tuple(map(float, d)) for n, d in self.days.items()},
            tuple(range(len(asked))),
            tuple(map(float, asked)),
        )

    def coarse_valid(self, asked):
        """Where Landsat is valid on the days asked, on the fine grid."""
        index = [int(np.flatnonzero(self.days["landsat"] == day)[0]) for day in asked]
        return self.series["landsat"].valid[index].repeat(3, axis=1).repeat(3, axis=2)


def published(name) -> Published:
    stored = dict(np.load(shared(FILES[name])))
    lr, hr, lr_days, hr_days, lr_mask, hr_mask = (stored[key] for key in PREFIX[name].split())
    if name == "misc":
        lr, hr = lr[:, :, COMMON_IN_MISC["lr"]], hr[:, :, COMMON_IN_MISC["hr"]]
    series = {
        "sentinel2": _series("sentinel2", hr[0], hr_mask[0]),
        "landsat": _series("landsat", lr[0], lr_mask[0]),
    }
    days = {"sentinel2": hr_days.ravel(), "landsat": lr_days.ravel()}
    return Published(stored, series, days)


def all_valid(seen) -> Series:
    """The series as if there were no clouds."""
    return replace(seen, valid=np.ones_like(seen.valid))


def _series(sensor, images, mask) -> Series:
    return Series(images.astype(np.float32) / np.float32(1e4), ~mask, GIVEN[sensor])
