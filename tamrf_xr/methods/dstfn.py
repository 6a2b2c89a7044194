"""DSTFN: a Landsat image of the day, and the Sentinel-2 image of the closest other day, fused.

Plan, per query date on which Landsat observed (on others there is nothing to fuse: NaN):
1. The Sentinel-2 image of the closest other day is taken, the earlier of two; of the day itself
   never, as in the published evaluation.
2. One network sharpens its 20 m bands.
3. Another takes its six bands at 10 m, Landsat's six at 30 m and the panchromatic one at 15 m.
A pixel that is not valid in either image, or without panchromatic data, comes out NaN.

A tile boundary shows: attention over channels looks at the mean and the maximum of all that a tile
reads. Pass a large `tile` where that matters. Any one tiling gives the same values every time.

Weights do not ship with the package. The authors publish ``model_100.pth``, a pickled module: its
tensors are read, its code never runs. That file was not at hand, and the code that wrote it was
found only inside software under GPL-3, from which nothing is taken. So the networks follow the
paper, and parameters are taken in the order stored, by their shapes alone: sizes are read off
them, and a file whose arrays do not fit is refused with a list of them. It is tested with made-up
weights; whether the published file fits is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tamrf_xr.errors import ModelError
from tamrf_xr.fuser import Days, Pixels, Scene
from tamrf_xr.methods.daily import Seen
from tamrf_xr.methods.dsen2 import smooth
from tamrf_xr.methods.pairing import (
    COARSE,
    COMMON,
    FINE,
    RATIO,
    known_in_cells,
    on_fine,
    over_coarse,
)
from tamrf_xr.methods.pixelwise import CUBIC_REACH
from tamrf_xr.methods.weights import Brought, BroughtFuser, load

if TYPE_CHECKING:
    from torch import Tensor

OPTIONS = {"weights": None}
"""``weights``: path of ``model_100.pth``, or of a state dict in the same order."""

BANDS = tuple(COMMON)
AT_10M, AT_20M = BANDS[:-3], BANDS[-3:]
SHOWN = 12


class Fusion(BroughtFuser):
    """Landsat of a day with the detail of Sentinel-2 of another."""

    of = Brought(
        "dstfn",
        "the page of the paper, 10.1016/j.jag.2022.102738 (model_100.pth)",
        needs={FINE: BANDS, COARSE: tuple(COMMON.values())},
        makes={FINE: BANDS},
        panchromatic=True,
    )

    @staticmethod
    def read(tensors: Mapping[str, Tensor], *, where: str) -> Any:
        """Build both networks in one, of the sizes that the shapes tell."""
        import torch

        from tamrf_xr.methods.networks.dstfn import Dstfn, sizes_of

        listed = ", ".join(f"{name} {tuple(t.shape)}" for name, t in list(tensors.items())[:SHOWN])
        refused = f"of {len(tensors)} arrays it begins with {listed}"
        try:
            sizes = sizes_of([tuple(tensor.shape) for tensor in tensors.values()])
        except ValueError as error:
            raise ModelError(
                f"{where} does not fit DSTFN as it is built here: {error}; {refused}"
            ) from error
        with torch.device("meta"):
            names = list(Dstfn(sizes).state_dict())
        named = dict(zip(names, tensors.values(), strict=True))
        try:
            return load(lambda: Dstfn(sizes), named, where=where)
        except ModelError as error:
            raise ModelError(f"{error}; {refused}") from error

    @staticmethod
    def measure(networks: Sequence[Any]) -> tuple[dict[str, int], float]:
        """Three streams joined, and the features that a block stacks up, twice, and convolving.

        4.9 kB were measured where this says 5.1.
        """
        sizes = networks[0].sizes
        fine, before = sizes.reach
        # In Landsat pixels: its own stream and bicubic interpolation come first.
        coarse = before + CUBIC_REACH - (-fine // RATIO)
        # Two pixels more, so that Sentinel-2 covers the Landsat pixels read whatever the tile.
        halo = {FINE: coarse * RATIO + RATIO - 1, COARSE: coarse}
        return halo, 8.0 * (6 * sizes.width + 2 * sizes.layers * sizes.growth)

    def given(self, seen: Seen) -> Seen:
        """Cut Sentinel-2 to what Landsat covers."""
        fine = over_coarse(seen.series, seen.crop)
        return replace(seen, series={**seen.series, FINE: fine})

    def answer(self, seen: Seen, day: float) -> Scene | None:
        """Fuse the images of the day and of the closest other."""
        landsat, other = seen.on(COARSE, day), closest_other(seen.days[FINE], day)
        if landsat is None or other is None:
            return None
        return seen.core(COARSE, self._fuse(seen.series[FINE].scene(other), landsat))

    def _fuse(self, fine: Scene, landsat: Scene) -> Scene:
        """Return six bands over the Landsat image."""
        import torch

        coarse, sharp = landsat.select(tuple(COMMON.values())), self.sharp(landsat)
        bands = fine.select(AT_10M).pixels, smooth(fine.select(AT_20M).pixels)
        image = Scene(np.concatenate(bands), fine.valid, BANDS)
        inputs = (self.tensor(part)[None] for part in (image.pixels, coarse.pixels, sharp[None]))
        with torch.inference_mode():
            fused: Pixels = self.networks[0](*inputs)[0].cpu().numpy()
        return Scene(fused, image.known & on_fine(coarse.known & known_in_cells(sharp)), BANDS)


plan = Fusion.plan


def closest_other(days: Days, day: float) -> int | None:
    """Return the position of the closest day that is another one, the earlier of two.

    Examples
    --------
    >>> closest_other(np.array([1.0, 5.0, 9.0]), 5.0), closest_other(np.array([5.0]), 5.0)
    (0, None)
    """
    others = np.flatnonzero(days != day)
    if not len(others):
        return None
    return int(others[np.argmin(np.abs(days[others] - day))])
