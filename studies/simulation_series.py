"""Numbers of a time series, real or simulated: levels, seasons, changes, cover, spectra."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

QUANTILES = (5, 25, 50, 75, 95)
LAGS = (0.5, 3.5, 7.5, 12.5, 20, 35, 60, 100, 150)
"""Edges of classes of days between two dates."""

WINDOW = 48
"""Pixels along the edge of the windows whose spectra are taken: what the smallest scene has."""

EDGES = np.geomspace(2.0 / WINDOW, 0.5, 9)
"""Of classes of spatial frequency, in cycles a pixel."""

CLEAR = 0.05
"""Dates whose cover is below it count as clear."""


@dataclass(frozen=True)
class Series:
    """A time series, real or simulated."""

    days: np.ndarray
    """Since 1970."""

    bands: dict[str, np.ndarray]
    """By common name: (time, y, x), NaN where not clear."""

    cover: np.ndarray | None = None
    """Of each date, also of those that are not clear at all."""

    @property
    def ndvi(self) -> np.ndarray:
        red, nir = self.bands["red"], self.bands["nir"]
        return (nir - red) / (nir + red)


def describe(series: list[Series]) -> dict[str, Any]:
    """Put numbers to series of one kind: what of them each has."""
    names = dict.fromkeys(name for one in series for name in one.bands)
    out: dict[str, Any] = {
        "reflectance": {
            name: _quantiles([one.bands[name] for one in series if name in one.bands])
            for name in names
        }
    }
    if any(one.cover is not None for one in series):
        cover = np.concatenate([one.cover for one in series if one.cover is not None])
        out["cover"] = {
            "mean": round(float(cover.mean()), 3),
            "below 0.1": round(float((cover < 0.1).mean()), 3),
            "above 0.9": round(float((cover > 0.9).mean()), 3),
        }
    if {"red", "nir"} <= names.keys():
        out["ndvi"] = _quantiles([one.ndvi for one in series])
        out["ndvi by month"] = _by_month(series)
        out["ndvi amplitude"] = _quantiles([amplitude(one.ndvi) for one in series])
    for name in ("red", "nir"):
        if name in names:
            out[f"slope of the spatial spectrum, {name}"] = _slopes(series, name)
            out[f"change with days between dates, {name}"] = changes(series, name)
    return out


def _quantiles(parts: list[np.ndarray]) -> list[float] | None:
    values = np.concatenate([part[np.isfinite(part)].ravel() for part in parts])
    if not values.size:
        return None
    return [round(float(v), 4) for v in np.percentile(values, QUANTILES)]


def _by_month(series: list[Series]) -> dict[int, list[float]]:
    by_month: dict[int, list[np.ndarray]] = {}
    for one in series:
        months = one.days.astype("M8[D]").astype("M8[M]").astype(int) % 12 + 1
        for month, image in zip(months.tolist(), one.ndvi, strict=True):
            by_month.setdefault(month, []).append(image)
    quantiles = {month: _quantiles(by_month[month]) for month in sorted(by_month)}
    return {month: row for month, row in quantiles.items() if row}


def amplitude(values: np.ndarray) -> np.ndarray:
    """Return the range of each pixel from 5 to 95 % of its dates, where it has eight."""
    flat = values.reshape(len(values), -1)
    flat = flat[:, np.isfinite(flat).sum(axis=0) >= min(8, len(values))]
    if not flat.size:
        return np.empty(0)
    low, high = np.nanpercentile(flat, [5, 95], axis=0)
    return high - low


def changes(series: list[Series], name: str) -> dict[str, float]:
    """Return the root mean square change between clear dates, relative to the mean, by lag."""
    sums = np.zeros((2, len(LAGS) - 1))
    level = np.nanmean(np.concatenate([np.ravel(one.bands[name]) for one in series]))
    for one in series:
        clear = np.isfinite(one.bands[name]).mean(axis=(1, 2)) > 1 - CLEAR
        days, images = one.days[clear], one.bands[name][clear]
        for i, day in enumerate(days):
            lags = np.digitize(days[i + 1 :] - day, LAGS) - 1
            for lag, image in zip(lags, images[i + 1 :], strict=True):
                if 0 <= lag < sums.shape[1]:
                    sums[:, lag] += np.nanmean((image - images[i]) ** 2), 1
    names = [f"{low:g}-{high:g}" for low, high in pairwise(LAGS)]
    return {
        name: round(float(np.sqrt(total / count) / level), 3)
        for name, total, count in zip(names, *sums, strict=True)
        if count
    }


def spectrum(image: np.ndarray) -> np.ndarray:
    """Return the power of an image by class of frequency, mean over at most nine windows."""
    height, width = (size - WINDOW for size in image.shape)
    corners = [
        (y, x)
        for y in np.linspace(0, height, 1 + min(2, height // WINDOW)).astype(int)
        for x in np.linspace(0, width, 1 + min(2, width // WINDOW)).astype(int)
    ]
    parts = [image[y : y + WINDOW, x : x + WINDOW] for y, x in corners if min(height, width) >= 0]
    # Pixels that a mask takes away even on clear dates do not count against a window.
    powers = [_power(part) for part in parts if np.isfinite(part).mean() > 1 - CLEAR]
    return np.mean(powers, axis=0) if powers else np.full(len(EDGES) - 1, np.nan)


def _power(part: np.ndarray) -> np.ndarray:
    taper = np.outer(np.hanning(WINDOW), np.hanning(WINDOW))
    centred = np.nan_to_num(part - np.nanmean(part))
    power = np.abs(np.fft.fft2(centred * taper)) ** 2 / (taper**2).sum()
    along = np.fft.fftfreq(WINDOW)
    place = np.digitize(np.hypot(along[:, None], along).ravel(), EDGES)
    return np.array([power.ravel()[place == i].mean() for i in range(1, len(EDGES))])


def spectra(series: list[Series], name: str) -> np.ndarray:
    """Return the spectrum of every clear date: (dates, classes of frequency)."""
    images = [image for one in series for image in one.bands.get(name, ())]
    powers = [spectrum(image) for image in images if np.isfinite(image).mean() > 1 - CLEAR]
    rows = [row for row in powers if np.isfinite(row).all()]
    return np.array(rows).reshape(-1, len(EDGES) - 1)


def _slopes(series: list[Series], name: str) -> list[float] | None:
    rows = spectra(series, name)
    middle = np.log(np.sqrt(EDGES[1:] * EDGES[:-1]))
    fitted = [np.polyfit(middle, np.log(row), 1)[0] for row in rows]
    return [round(float(v), 2) for v in np.percentile(fitted, QUANTILES)] if fitted else None
