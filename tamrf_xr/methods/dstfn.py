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

from collections.abc import Mapping
from typing import Any

import numpy as np

from tamrf_xr.errors import ModelError
from tamrf_xr.fuser import Cost, Crop, Days, EpisodeFuser, FuserSpec, Pixels, Series
from tamrf_xr.methods.dsen2 import smooth
from tamrf_xr.methods.pairing import (
    COARSE,
    COMMON,
    FINE,
    RATIO,
    check_needs,
    check_panchromatic,
    in_cells,
    on_day,
    on_fine,
    over_coarse,
    panchromatic_of,
)
from tamrf_xr.methods.registry import Bands, Request
from tamrf_xr.methods.weights import (
    Source,
    check_precision,
    check_unchanged,
    digest_of,
    find_device,
    load,
    read_tensors,
)

OPTIONS = {"weights": None}
"""``weights``: path of ``model_100.pth``, or of a state dict in the same order."""

SOURCE = Source("dstfn", "the page of the paper, 10.1016/j.jag.2022.102738 (model_100.pth)")
AT_20M = 3
"""Of the common bands of Sentinel-2, so many are taken at 20 m: the last."""

SHOWN = 12
CUBIC_REACH = 2


def plan(request: Request) -> FuserSpec:
    """Return the recipe: the six bands of Sentinel-2 that Landsat has too.

    Raises
    ------
    MethodError
        If a sensor, one of the bands or the panchromatic one is missing.
    ModelError, SourceNotFoundError
        If there are no weights, or they are of another network.
    OptionError
        If something else than float32 is asked.
    """
    check_needs("dstfn", request, {FINE: tuple(COMMON), COARSE: tuple(COMMON.values())})
    check_panchromatic("dstfn", request)
    check_precision("dstfn", request.precision)
    path = SOURCE.path(request.options["weights"])
    _, sizes = read_network(path)
    makes = request.wanted({FINE: tuple(COMMON)})
    fine, before = sizes.reach
    # In Landsat pixels: its own stream and bicubic interpolation come first.
    coarse = before + CUBIC_REACH - (-fine // RATIO)
    digest = digest_of(path)
    return FuserSpec(
        method="dstfn",
        factory="tamrf_xr.methods.dstfn:Fusion",
        makes=tuple(makes.items()),
        # Two pixels more, so that Sentinel-2 covers the Landsat pixels read whatever the tile.
        halo=((FINE, coarse * RATIO + RATIO - 1), (COARSE, coarse)),
        options=(
            ("weights", path),
            ("digest", digest),
            ("device", request.device),
            ("fine", tuple(request.given[FINE].index(band) for band in COMMON)),
            ("coarse", tuple(request.given[COARSE].index(band) for band in COMMON.values())),
            ("kept", tuple(tuple(COMMON).index(band) for band in makes[FINE])),
        ),
        cost=Cost(
            # Three streams joined, and the features that a block stacks up, twice, and what
            # convolving them takes; 4.9 kB were measured where this says 5.1.
            fixed=1e8,
            per_date={name: 4.0 * len(bands) for name, bands in request.given.items()},
            per_query=4.0 * len(makes[FINE]),
            per_pixel=8.0 * (6 * sizes.width + 2 * sizes.layers * sizes.growth),
        ),
        at_once=2,
        computing=1,  # the other reads
        panchromatic=True,
        prepare="tamrf_xr.methods.tamrf:use_cores",
        provenance=(("weights", path), ("weights_sha256", digest)),
    )


def read_network(path: str) -> tuple[Any, Any]:
    """Return both networks in one and their `Sizes`, read off the shapes in a file.

    Raises
    ------
    ModelError
        If the shapes do not fit.
    """
    import torch

    from tamrf_xr.methods.networks.dstfn import Dstfn, sizes_of

    tensors = read_tensors(path)
    listed = ", ".join(f"{name} {tuple(t.shape)}" for name, t in list(tensors.items())[:SHOWN])
    refused = f"of {len(tensors)} arrays it begins with {listed}"
    try:
        sizes = sizes_of([tuple(tensor.shape) for tensor in tensors.values()])
    except ValueError as error:
        raise ModelError(
            f"{path} does not fit DSTFN as it is built here: {error}; {refused}"
        ) from error
    with torch.device("meta"):
        names = list(Dstfn(sizes).state_dict())
    found = dict(zip(names, tensors.values(), strict=True))
    try:
        return load(lambda: Dstfn(sizes), found, where=path), sizes
    except ModelError as error:
        raise ModelError(f"{error}; {refused}") from error


class Fusion(EpisodeFuser):
    """Landsat of a day with the detail of Sentinel-2 of another."""

    def __init__(
        self,
        makes: Bands,
        *,
        weights: str,
        digest: str,
        device: str,
        fine: tuple[int, ...],
        coarse: tuple[int, ...],
        kept: tuple[int, ...],
    ) -> None:
        """Load the networks; take where bands lie in both arrays and which to keep."""
        del makes
        check_unchanged((weights,), digest)
        self._device = find_device(device)
        self._network = read_network(weights)[0].to(self._device)
        self._fine, self._coarse, self._kept = list(fine), list(coarse), list(kept)

    def predict(
        self, series: Mapping[str, Series], days: Mapping[str, Days], query_days: Days, crop: Crop
    ) -> dict[str, Pixels]:
        """Answer query by query."""
        size = (crop.y.stop - crop.y.start, crop.x.stop - crop.x.start)
        out = np.full((len(query_days), len(self._kept), *size), np.nan, np.float32)
        sharp = panchromatic_of("dstfn", series[COARSE])
        fine = over_coarse(series, crop, self._fine)
        rows, cols = crop.within(COARSE)
        for position, day in enumerate(query_days):
            index, other = on_day(days[COARSE], day), closest_other(days[FINE], day)
            if index is not None and other is not None:
                pair = fine.at([other]), series[COARSE].at([index])
                made = self._fuse(*pair, sharp[index])
                out[position] = made[self._kept, rows, cols]
        return {FINE: out}

    def _fuse(self, fine: Series, coarse: Series, sharp: Pixels) -> Pixels:
        """Return six bands (band, y, x) over the coarse image."""
        import torch

        image = np.concatenate([fine.pixels[0, :-AT_20M], smooth(fine.pixels[0, -AT_20M:])])
        landsat = coarse.pixels[0, self._coarse]
        known = fine.valid[0] & np.isfinite(image).all(axis=0)
        cells = coarse.valid[0] & np.isfinite(landsat).all(axis=0)
        known &= on_fine(cells & np.isfinite(in_cells(sharp)).all(axis=(1, 3)))
        inputs = (
            torch.from_numpy(np.nan_to_num(part, nan=0.0))[None].to(self._device)
            for part in (image, landsat, sharp[None])
        )
        with torch.inference_mode():
            made: Pixels = self._network(*inputs)[0].cpu().numpy()
        return np.where(known, made, np.float32(np.nan))


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
