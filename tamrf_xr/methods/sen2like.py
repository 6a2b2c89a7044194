"""Sen2Like fusion: a bilinear Landsat image, plus the detail of the last Sentinel-2 images.

Plan, per query date that is a Landsat date, for the six bands that both sensors have:
1. Take the two latest Sentinel-2 images at or before that day.
2. Extrapolate them linearly to that day.
3. Add their detail, what a coarser image would not show, to the Landsat image.
A date on which Landsat did not observe has no product in Sen2Like: it comes out NaN.

Three variants. ``"evaluated"`` is what the published comparison of TAMRF-SITS computed: images
that are masked by half or more are passed over, detail is the image minus a 3 x 3 Gaussian, and a
pixel is NaN unless it is valid in all three images. ``"paper"`` follows the algorithm's own
description: detail is the image minus its mean over Landsat pixels brought back bilinearly, and a
pixel valid in one date only takes that date. ``"composite"`` is that software's shipped default:
the latest valid pixel of the two, without extrapolation.

"Masked by half" is told per tile, halo included, so that a scene of several tiles may take other
images in each; ``max_masked=1`` passes over none, and then any tiling gives the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from tamrf_xr.errors import OptionError
from tamrf_xr.fuser import Cost, Crop, FuserSpec, Mask, Pixels, Scene, Series
from tamrf_xr.methods.daily import DailyFuser, Seen
from tamrf_xr.methods.pairing import (
    COARSE,
    COMMON,
    FINE,
    RATIO,
    aligned,
    bilinear,
    bilinear_known,
    check_variant,
    common_bands,
    on_fine,
)
from tamrf_xr.methods.registry import Bands, Request
from tamrf_xr.psf import highpass

OPTIONS = {"variant": "evaluated", "mtf": 0.4, "max_masked": 0.5}
"""``variant``: ``"evaluated"``, ``"paper"`` or ``"composite"``. Of the first alone: ``mtf``, of
the Gaussian that parts detail from the rest, above 0 and at most 1; ``max_masked``, the fraction
of an image at which it is passed over, 0 to 1."""

VARIANTS = ("evaluated", "paper", "composite")
HALO = {"evaluated": 1, "paper": 2 * RATIO, "composite": 2 * RATIO}
"""Fine pixels around a tile: a 3 x 3 kernel, or whole Landsat pixels with a neighbour each."""


def plan(request: Request) -> FuserSpec:
    """Return the recipe: Sentinel-2's bands that Landsat has too."""
    variant = check_variant("sen2like", request, VARIANTS)
    mtf, max_masked = (_fraction(name, request.options[name]) for name in ("mtf", "max_masked"))
    makes = request.wanted({FINE: tuple(common_bands("sen2like", request))})
    return FuserSpec(
        method="sen2like",
        factory="tamrf_xr.methods.sen2like:Sen2Like",
        makes=tuple(makes.items()),
        halo=((FINE, HALO[variant]), (COARSE, 1)),
        options=(("variant", variant), ("mtf", mtf), ("max_masked", max_masked)),
        cost=Cost(
            # Pixels read, and a handful of images at a time.
            fixed=1e7,
            per_date={name: 6.0 * len(bands) for name, bands in request.given.items()},
            per_query=8.0 * len(makes[FINE]),
        ),
        provenance=(("variant", variant),),
    )


def _fraction(name: str, value: float) -> float:
    if not 0 < value <= 1:
        raise OptionError(f"{name} is {value}: expected a number above 0 and at most 1")
    return float(value)


class Sen2Like(DailyFuser):
    """Landsat with the detail of Sentinel-2.

    References
    ----------
    Saunier et al., "Sen2Like: Paving the Way towards Harmonization and Fusion of Optical Data",
    Remote Sensing 2022, 14(16), 3855, 10.3390/rs14163855.
    """

    def __init__(self, makes: Bands, *, variant: str, mtf: float, max_masked: float) -> None:
        """Take the bands to make, and the options."""
        super().__init__(makes)
        self._variant, self._mtf, self._max_masked = variant, mtf, max_masked

    def answer(self, seen: Seen, day: float) -> Scene | None:
        """Add the detail of the latest pair to the image of the day."""
        landsat, pair = seen.on(COARSE, day), self._latest(seen, day)
        if landsat is None or pair is None:
            return None
        coarse = bilinear(landsat.select([COMMON[band] for band in self.bands]).pixels)
        plain = seen.core(COARSE, Scene(coarse, on_fine(landsat.valid), self.bands))
        return replace(plain, pixels=plain.pixels + self._detail(pair, seen.crop))

    def _latest(self, seen: Seen, day: float) -> Pair | None:
        """Return the two latest images at or before a day, if there are two."""
        fine, days = seen.series[FINE], seen.days[FINE]
        usable = days <= day
        if self._variant == "evaluated" and self._max_masked < 1:
            usable &= (~fine.valid).mean(axis=(1, 2)) < self._max_masked
        latest = np.flatnonzero(usable)[-2:]
        if len(latest) < 2:
            return None
        span = float(days[latest[1]] - days[latest[0]])
        ahead = (day - days[latest[1]]) / span if span > 0 else 0.0
        return Pair(fine.at(latest.tolist()).select(self.bands), float(ahead))

    def _detail(self, pair: Pair, crop: Crop) -> Pixels:
        """Return the detail of the core (band, y, x), NaN where there is none."""
        if self._variant == "evaluated":
            detail, valid = extrapolate(pair, mtf=self._mtf)
            detail = np.where(valid, detail, np.nan)
            return detail[(..., *crop.within(FINE))]
        whole, core = aligned(pair.images, crop)
        ahead = 0.0 if self._variant == "composite" else pair.ahead
        return degraded_detail(Pair(whole, ahead), self._variant)[(..., *core)]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images in the order of time, and how far beyond them to look."""

    images: Series
    """Two dates, the bands to make."""

    ahead: float
    """Days from the later image to the day asked, in units of the days between the two."""


def extrapolate(pair: Pair, *, mtf: float) -> tuple[Pixels, Mask]:
    """Extrapolate two images linearly, and keep what a Gaussian of that MTF takes away.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        Detail (band, y, x), as the pixels are, clouds included; and where both images are valid
        (y, x).
    """
    first, last = pair.images.pixels
    predicted = last + np.float32(pair.ahead) * (last - first)
    return highpass(predicted, mtf), cast("Mask", pair.images.valid.all(axis=0))


def degraded_detail(pair: Pair, variant: str) -> Pixels:
    """Return the difference between images and the same degraded to Landsat's grid and back.

    Parameters
    ----------
    pair
        The images, of whole Landsat pixels.
    variant
        ``"paper"`` extrapolates where both images are valid; ``"composite"`` takes the later
        valid one.

    Returns
    -------
    numpy.ndarray
        ``(band, y, x)``; NaN where neither image is valid.
    """
    seen = pair.images.valid
    images = np.where(seen[:, None], pair.images.pixels, np.nan)
    first, last = images - bilinear_known(_block_means(images))
    both = last + np.float32(pair.ahead) * (last - first)
    chosen = last if variant == "composite" else np.where(seen.all(axis=0), both, last)
    return cast("Pixels", np.where(seen[1], chosen, first))


def _block_means(images: Pixels) -> Pixels:
    """Average the known fine pixels of every coarse one; NaN where there is none."""
    *rest, height, width = images.shape
    blocks = images.reshape(*rest, height // RATIO, RATIO, width // RATIO, RATIO)
    known = np.isfinite(blocks)
    count = known.sum(axis=(-3, -1))
    total = np.where(known, blocks, 0).sum(axis=(-3, -1))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
