"""U-TILISE: gaps of Sentinel-2 filled from the frames before and after, four bands.

Plan, per query date:
1. The series is one frame per acquisition; a date without one is one more frame, masked whole.
2. Frames are seen ten at a time, every five: the date is answered by the ten in whose middle it
   lies best. (Each date alone: what else is asked does not count.)
3. B02 B03 B04 B08, 0..1, masked pixels 1, with the days of the year, go through the network.
A pixel that none of the ten frames shows comes out NaN; a date of an acquisition comes out as the
network sees it, clear pixels too.

The authors move a window that would begin with a cloudy frame, and mask a frame whole when nine
tenths of it are masked: both would depend on the tile, and neither is done here. They joined
windows where two agree best over the image, which would too.

Weights do not ship with the package: ``utilise_earthnet2021.pth`` is the authors'. They were
trained on Sentinel-2 of Level 1C (top of the atmosphere) at 20 m, and see surface reflectance at
10 m here: expect less than the paper tells. The real weights were not at hand: parameters are
named as in the authors' code, and tested with made-up ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.errors import ModelError
from tamrf_xr.fuser import Crop, Days, Episode, Mask, Pixels, Scene, Series
from tamrf_xr.methods.daily import Seen, on_day
from tamrf_xr.methods.networks.steps import through_steps
from tamrf_xr.methods.pairing import FINE
from tamrf_xr.methods.weights import Brought, BroughtFuser, load

if TYPE_CHECKING:
    from torch import Tensor

OPTIONS = {"weights": None}
"""``weights``: path of ``utilise_earthnet2021.pth``."""

BANDS = ("B02", "B03", "B04", "B08")
FRAMES, STRIDE = 10, 5
MASKED = 1.0
"""Value of a masked pixel at the input."""

SMALLEST = 16
"""Pixels down and across of an image that can be mirrored at its borders on every level."""


@dataclass(frozen=True, slots=True)
class Frames:
    """What the network sees."""

    images: Pixels
    """``(time, band, y, x)``, masked pixels `MASKED`."""

    days: Days
    """Days since 1970."""

    answer: int
    """Position of the frame that was asked."""

    known: Mask
    """``(y, x)``: whether any frame shows the pixel."""


class GapFiller(BroughtFuser):
    """Frames imputed from the frames around them."""

    of = Brought(
        "utilise",
        "https://share.phys.ethz.ch/~pf/stuckercdata/u-tilise/checkpoints "
        "(utilise_earthnet2021.pth; code https://github.com/prs-eth/U-TILISE, MIT)",
        needs={FINE: BANDS},
        makes={FINE: BANDS},
    )

    @staticmethod
    def read(tensors: Mapping[str, Tensor], *, where: str) -> Any:
        """Build the network, of the widths that its tensors tell."""
        from tamrf_xr.methods.networks.utilise import Utilise, widths_of

        try:
            widths = widths_of(tensors)
        except (KeyError, IndexError) as error:
            raise ModelError(f"{where} lacks {error}: it is of another network") from error
        if widths.bands != len(BANDS):
            raise ModelError(
                f"{where} is a network for {widths.bands} bands, expected {len(BANDS)} "
                f"({' '.join(BANDS)}): take utilise_earthnet2021.pth"
            )
        return load(lambda: Utilise(widths), tensors, where=where)

    @staticmethod
    def measure(networks: Sequence[Any]) -> tuple[dict[str, int], float]:
        """On the finest level: features of ten frames, and what convolving them takes.

        With a width of 64, 10.5 to 11.5 kB were measured.
        """
        widths = networks[0].widths
        return {FINE: widths.reach + widths.step - 1}, 4.0 * widths.encoder[0] * FRAMES * 4.7

    def _predict(
        self, series: Mapping[str, Series], episode: Episode, crop: Crop
    ) -> dict[str, Pixels]:
        """Count days from 1970: the network knows the season."""
        days = {n: tuple(day + episode.origin for day in d) for n, d in episode.days.items()}
        asked = tuple(day + episode.origin for day in episode.query_days)
        return super()._predict(series, replace(episode, days=days, query_days=asked), crop)

    def given(self, seen: Seen) -> Seen:
        """Take the four bands, of every acquisition."""
        return replace(seen, series={FINE: seen.series[FINE].select(BANDS)})

    def answer(self, seen: Seen, day: float) -> Scene | None:
        """Impute the frame of the day."""
        if not len(seen.days[FINE]):
            return None
        frames = frames_around(seen.series[FINE], seen.days[FINE], day)
        return seen.core(FINE, Scene(self._impute(frames, seen.crop), frames.known, BANDS))

    def _impute(self, frames: Frames, crop: Crop) -> Pixels:
        """Return one frame (band, y, x)."""
        import torch

        network = self.networks[0]

        def imputed(images: Pixels) -> Pixels:
            days = self.tensor(day_of_year(frames.days))
            with torch.inference_mode():
                frame: Pixels = network(self.tensor(images), days, frames.answer).cpu().numpy()
            return frame

        how = {"mode": "reflect", "smallest": SMALLEST}
        return through_steps(imputed, frames.images, crop.corner(FINE), network.widths.step, **how)


plan = GapFiller.plan


def frames_around(seen: Series, days: Days, day: float) -> Frames:
    """Choose the frames that answer a date.

    Parameters
    ----------
    seen
        The four bands.
    days
        ``(time,)``, increasing.
    day
        The date asked.
    """
    images = np.where(seen.valid[:, None] & np.isfinite(seen.pixels), seen.pixels, np.nan)
    answer = on_day(days, day)
    if answer is None:
        answer = int(np.searchsorted(days, day))
        images = np.insert(images, answer, np.nan, axis=0)
        days = np.insert(days, answer, day)
    start = best_window(len(days), answer)
    inside = slice(start, start + FRAMES)
    known = np.asarray(np.isfinite(images[inside]).all(axis=1))
    # A pixel that lacks one band is masked in all, as clouds are.
    clear = np.where(known[:, None], np.clip(images[inside], 0, 1), MASKED)
    shown = np.asarray(known.any(axis=0))
    return Frames(clear.astype(np.float32), days[inside], answer - start, shown)


def best_window(count: int, answer: int) -> int:
    """Return the first of ten frames in whose middle a frame lies best, the earlier of two.

    Examples
    --------
    >>> [best_window(23, answer) for answer in (0, 7, 8, 22)], best_window(6, 5)
    ([0, 0, 5, 13], 0)
    """
    last = max(count - FRAMES, 0)
    starts: list[int] = sorted({*range(0, last, STRIDE), last})
    centred = [abs(answer - start - (FRAMES - 1) / 2) for start in starts]
    return starts[centred.index(min(centred))]


def day_of_year(days: Days) -> NDArray[np.float32]:
    """Return the days since 1 January of days since 1970.

    Examples
    --------
    >>> day_of_year(np.array([0.0, 364.0, 365.0])).tolist()
    [0.0, 364.0, 0.0]
    """
    dates = days.astype("datetime64[D]")
    january = dates.astype("datetime64[Y]").astype("datetime64[D]")
    return np.asarray((dates - january).astype(np.float32))
