"""The offset of Sentinel-2 L2A: whether it is in the pixels, acquisition by acquisition.

Since processing baseline 04.00 (25 January 2022) L2A numbers are 1000 higher than reflectance
x 10000; Collection 1 carries that for all years. Some catalogues take it out again, and some state
it all the same. So statements are weighed, and pixels have a say: where the offset is in, hardly a
number lies below 850. Where that leaves it open, the caller is asked.

References
----------
ESA, Sentinel-2 Products Specification Document 14.9 (``BOA_ADD_OFFSET``); stactools-sentinel2
0.8.0 (``offset_for_pb``); Element84/earth-search, issues 66 and 71 (a flag that is wrong).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.boa_statements import Floats, Statements

BOA_OFFSET = -0.1
"""Reflectance to add to scaled numbers that hold the offset."""

OFFSET_SINCE = pd.Timestamp("2022-01-25")
"""First day of processing baseline 04.00."""

DARK = 0.085
"""Scaled numbers below this are dark: impossible, but for a few, where the offset is in."""

DARK_SHARE = 0.05
"""Share of dark numbers that tells: any vegetation, water or shadow without the offset has it."""

NEGATIVE = -0.015
"""Reflectance that hardly any pixel lies below."""


_WAYS = (
    "pass offset=0 if the numbers hold no offset (the catalogue took it out), offset=-0.1 if they "
    "do, or one value an acquisition"
)


@dataclass(frozen=True, slots=True)
class Pixels:
    """What numbers look like, per acquisition."""

    dark: Floats
    """Share of numbers below `DARK` in the darkest band, NaN where none was looked at."""

    negative: Floats
    """Share of all bands below `NEGATIVE`, likewise."""


@dataclass(frozen=True, slots=True)
class Offsets:
    """The decision."""

    values: npt.NDArray[np.float32]
    """Reflectance to add, per acquisition."""

    why: str
    """What it rests on."""


def pixels_of(
    pieces: Iterable[tuple[Floats, npt.NDArray[np.int64]]], count: int, *, below: float = DARK
) -> Pixels:
    """Count dark and negative numbers, per acquisition.

    Parameters
    ----------
    pieces
        Per array: scaled numbers without any offset ``(n, band, m)``, NaN where there is no data;
        and the acquisition of each of the n.
    count
        Acquisitions of the series.
    below
        What is dark.
    """
    seen, negative, darkest = np.zeros(count), np.zeros(count), np.full(count, np.nan)
    for values, times in pieces:
        for band in np.moveaxis(values, 1, 0):
            there = np.bincount(times, np.isfinite(band).sum(axis=1), count)
            dark = np.bincount(times, (band < below).sum(axis=1), count)
            seen += there
            negative += np.bincount(times, (band < NEGATIVE).sum(axis=1), count)
            darkest = np.fmax(darkest, _share(dark, there))
    return Pixels(darkest, _share(negative, seen))


def _share(part: Any, whole: Any) -> Floats:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def decide(said: Statements, pixels: Pixels, *, harmonized: bool | None) -> Offsets:
    """Decide which acquisitions hold the offset.

    Parameters
    ----------
    said
        Statements.
    pixels
        What the numbers look like.
    harmonized
        The caller's word: True if the offset has been removed, False if not, None if not said.

    Returns
    -------
    Offsets
        Per acquisition -0.1 or 0.

    Raises
    ------
    CubeError
        If statements contradict each other or the pixels, or nothing tells.
    """
    count = len(said.times)
    if harmonized is True:
        return Offsets(np.zeros(count, np.float32), "harmonized=True")
    strong, why = _strong(said, harmonized=harmonized)
    groups = _groups(said)
    dark = np.array([_pooled(pixels.dark, groups == group) for group in groups])
    dark = _one_by_one(said, pixels, dark)
    _check_statements(said)
    _check_pixels(said, strong, dark)
    inside = np.where(np.isnan(strong), np.where(dark >= DARK_SHARE, 0.0, np.nan), strong)
    if np.isnan(inside).any():
        raise CubeError(_open(said, np.isnan(inside), harmonized))
    if np.isnan(strong).any():
        why = "pixels" if np.isnan(strong).all() else f"{why}, pixels"
    return Offsets(np.where(inside == 1, BOA_OFFSET, 0.0).astype(np.float32), why)


def _strong(said: Statements, *, harmonized: bool | None) -> tuple[Floats, str]:
    """Return 1 where a statement puts the offset in, 0 where it takes it out, else NaN."""
    since = np.asarray(said.times >= OFFSET_SINCE)
    # One baseline in the attributes of a series that was put together is its first image's.
    known = ~np.isnan(said.baseline) & ~((said.baseline < 4) & since)
    held = np.where(known, (said.baseline >= 4).astype(float), np.nan)
    why = "processing baseline"
    if "c1" in re.split("[^a-z0-9]", said.collection):
        held, why = np.where(np.isnan(held), 1.0, held), f"collection {said.collection}"
    elif "harmonized" in said.collection:
        held, why = np.zeros(len(held)), f"collection {said.collection}"
    if harmonized is False:
        held = np.where(np.isnan(held) & since, 1.0, held)
        why = "harmonized=False" if np.isnan(said.baseline).all() else why
    if _is_offset(said.stated):
        held, why = np.where(np.isnan(held), 1.0, held), "stated by the data"
    if (said.removed == 0).any():
        held = np.where(np.isnan(held) & (said.removed == 0) & since, 1.0, held)
    if (said.removed == 1).any():
        held, why = np.where(said.removed == 1, 0.0, held), "earthsearch:boa_offset_applied"
    return held, why


def _groups(said: Statements) -> npt.NDArray[np.int64]:
    """Return numbers of groups of which the same is said: their pixels are judged together."""
    since = np.asarray(said.times >= OFFSET_SINCE)
    keys = np.stack([np.nan_to_num(said.baseline, nan=-1), np.nan_to_num(said.removed, nan=-1)])
    _, number = np.unique(np.vstack([keys, since]), axis=1, return_inverse=True)
    return np.asarray(number, np.int64).ravel()


def _pooled(share: Floats, where: npt.NDArray[np.bool_]) -> float:
    looked = share[where & ~np.isnan(share)]
    return float(looked.mean()) if looked.size else np.nan


def _one_by_one(said: Statements, pixels: Pixels, pooled: Floats) -> Floats:
    """Judge each image by its own pixels where its catalogue says that the offset is in.

    Earth Search says so of many that have it no longer, among others that have.
    """
    own = (said.removed == 0) & np.asarray(said.times >= OFFSET_SINCE) & ~np.isnan(pixels.dark)
    return np.where(own, np.fmax(pixels.dark, pooled), pooled)


def _check_statements(said: Statements) -> None:
    """Refuse a file that states the offset where the catalogue says that it took it out."""
    # Earth Search leaves it in raster:bands of pixels that have it no longer: no contradiction.
    if _is_offset(said.stated) and (said.removed == 1).any():
        raise CubeError(
            f"the data state an offset of {said.stated:g}, earthsearch:boa_offset_applied says "
            f"that it has been taken out: which is right? {_WAYS}"
        )


def _is_offset(value: float | None) -> bool:
    return value is not None and bool(np.isclose(value, BOA_OFFSET, atol=1e-3))


def _check_pixels(said: Statements, strong: Floats, dark: Floats) -> None:
    is_dark = dark >= DARK_SHARE
    odd = (strong == 1) & is_dark
    if _is_offset(said.stated):
        odd |= (said.baseline < 4) & ~is_dark
    if _is_offset(said.catalogued):
        odd |= is_dark & ~(strong == 0)
    if odd.any():
        at = int(np.flatnonzero(odd)[0])
        raise CubeError(
            f"the offset of baseline 04.00 is said to be in the numbers ({_told(said, at)}), but "
            f"{dark[at]:.0%} of them lie below {DARK:g}, where reflectance would be below "
            f"{NEGATIVE:g}: {_WAYS}"
        )


def _told(said: Statements, at: int) -> str:
    words = []
    if not np.isnan(said.baseline[at]):
        words.append(f"baseline {said.baseline[at]:05.2f}")
    if said.stated is not None:
        words.append(f"offset {said.stated:g} in the data")
    if said.catalogued is not None:
        words.append(f"offset {said.catalogued:g} in raster:bands")
    if said.collection:
        words.append(f"collection {said.collection}")
    return ", ".join(words) or f"acquired on {said.times[at]:%Y-%m-%d}"


def _open(said: Statements, missing: npt.NDArray[np.bool_], harmonized: object) -> str:
    first = said.times[missing].min()
    word = "pass harmonized=True if it has been removed, harmonized=False if not; or "
    if harmonized is False:  # all of them are of before: it may never have been there
        word = "harmonized=False does not tell before 2022-01-25: "
    return (
        f"{missing.sum()} of {len(missing)} acquisitions (the first on {first:%Y-%m-%d}) carry no "
        "processing baseline, and their pixels are too bright, or were not looked at, to tell "
        "whether they hold the offset of baseline 04.00 (Collection 1 holds it for all years): "
        f"{word}{_WAYS}; or "
        "give a coordinate 's2:processing_baseline' along time"
    )


def question_floats(said: Statements, pixels: Pixels) -> None:
    """Refuse reflectance that may have had the offset subtracted twice.

    Raises
    ------
    CubeError
        If the catalogue took the offset out of pixels that state one, or too many are negative.
    """
    ways = (
        "pass offset=0 to take them as they are, offset=0.1 to add it back, offset=-0.1 to "
        "subtract it, or one value an acquisition"
    )
    negative = np.nanmean(pixels.negative) if np.isfinite(pixels.negative).any() else 0.0
    if negative >= DARK_SHARE:
        raise CubeError(
            f"{negative:.0%} of the reflectance lies below {NEGATIVE:g}: the offset of baseline "
            f"04.00 seems to be subtracted from numbers that do not hold it; {ways}"
        )
    _question_bright(said, pixels, ways)
    stated = said.catalogued if said.stated is None else said.stated
    if stated is None or not _is_offset(stated):
        return
    if (said.removed == 1).any():
        raise CubeError(
            f"reflectance that states an offset of {stated:g}, which has been taken out of the "
            "pixels already (earthsearch:boa_offset_applied): it may have been subtracted twice "
            f"(stackstac does with its default rescale=True); {ways}"
        )
    known = ~np.isnan(said.baseline) | (said.removed == 0)
    dark = np.nanmean(pixels.dark) if np.isfinite(pixels.dark).any() else 0.0
    if not known.all() and dark < DARK_SHARE:
        raise CubeError(
            f"reflectance that states an offset of {stated:g}, without a word whether the "
            "catalogue had taken it out before (Earth Search does): it may have been subtracted "
            f"twice; {ways}"
        )


def _question_bright(said: Statements, pixels: Pixels, ways: str) -> None:
    """Refuse bright reflectance of a baseline with the offset, which may be in still."""
    strong, why = _strong(replace(said, stated=None), harmonized=None)
    groups = _groups(said)
    dark = np.array([_pooled(pixels.dark, groups == group) for group in groups])
    odd = (strong == 1) & (dark < DARK_SHARE)
    if odd.any():
        at = int(np.flatnonzero(odd)[0])
        raise CubeError(
            f"reflectance of numbers that held the offset of baseline 04.00 ({why}: "
            f"{_told(said, at)}), of which {dark[at]:.0%} lies below {DARK:g} on "
            f"{said.times[at]:%Y-%m-%d}: it may be in still; {ways}"
        )
