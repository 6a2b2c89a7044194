"""Deep Harmonization: a Landsat image becomes a Sentinel-2 image of the same moment.

Plan, per query date on which Landsat observed (on others there is nothing to harmonise: NaN):
1. Six bands of surface reflectance and the panchromatic one (top of the atmosphere) are brought
   to 10 m bicubically.
2. Each U-Net gives the six Sentinel-2 bands; what comes out is their mean.
A pixel that is not valid, or without panchromatic data, comes out NaN.

Networks halve their grid up to five times; here they do so at the same places of the scene
whatever the tile, and the far borders of the scene are repeated up to whole steps. (The authors'
code resizes instead, so that a row of blocks at the border differs.) What counts round a pixel is
wide, 117 Landsat pixels with six levels: large tiles cost least, and tiles that are planned for
3 GiB are too small for four networks. Pass ``tile=360``, which takes 5.4 GB, or more.

Weights do not ship with the package. The authors publish four networks, two of five levels and two
of six; the published evaluation of TAMRF-SITS loaded one of them twice. The real weights were not
at hand here: parameters are named as in the authors' code, and tested with made-up ones.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tamrf_xr.errors import ModelError
from tamrf_xr.fuser import Cost, Crop, Days, EpisodeFuser, FuserSpec, Pixels, Series
from tamrf_xr.methods.networks.steps import on_steps
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
from tamrf_xr.paths import local_path
from tamrf_xr.psf import upsample

OPTIONS = {"weights": None}
"""``weights``: files of the networks to average, a list or separated as paths are in ``PATH``; or
a folder, of which every ``.safetensors``, ``.bin``, ``.pt`` and ``.pth`` is taken."""

SOURCE = Source(
    "deepharmo",
    "https://huggingface.co/venkatesh-thiru: s2l8h-UNet-5depth-upsample, -5depth-shuffle, "
    "-6depth-upsample, -6depth-shuffle (MIT)",
)
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
SHARPER = 1.5
"""Panchromatic pixels are so many of ours across."""

CUBIC_REACH = 2


def plan(request: Request) -> FuserSpec:
    """Return the recipe: the six bands of Sentinel-2 that Landsat has too.

    Raises
    ------
    MethodError
        If Landsat, one of its bands or the panchromatic one is missing.
    ModelError, SourceNotFoundError
        If there are no weights, or they are of another network.
    OptionError
        If something else than float32 is asked.
    """
    check_needs("deepharmo", request, {COARSE: tuple(COMMON.values())})
    check_panchromatic("deepharmo", request)
    check_precision("deepharmo", request.precision)
    paths = _files(request.options["weights"])
    shapes = [read_network(path)[1] for path in paths]
    makes = request.wanted({FINE: tuple(COMMON)})
    step = max(shape.step for shape in shapes)
    reach = max(shape.reach for shape in shapes) + step - 1
    width = max(shape.width for shape in shapes)
    digest = digest_of(*paths)
    return FuserSpec(
        method="deepharmo",
        factory="tamrf_xr.methods.deepharmo:Harmonizer",
        makes=tuple(makes.items()),
        halo=((COARSE, -(-reach // RATIO) + CUBIC_REACH),),
        options=(
            ("weights", paths),
            ("digest", digest),
            ("device", request.device),
            ("bands", tuple(request.given[COARSE].index(band) for band in COMMON.values())),
            ("kept", tuple(tuple(COMMON).index(band) for band in makes[FINE])),
            ("step", step),
        ),
        cost=Cost(
            # On the first level: what was skipped, what came up, both joined, both convolved;
            # with a width of 64, 2.8 to 3.2 kB were measured. And the weights.
            fixed=1e8 + sum(Path(path).stat().st_size for path in paths),
            per_date={name: 4.0 * len(bands) for name, bands in request.given.items()},
            per_query=4.0 * len(makes[FINE]),
            per_pixel=4.0 * width * 13,
        ),
        at_once=2,
        computing=1,  # the other reads
        panchromatic=True,
        prepare="tamrf_xr.methods.tamrf:use_cores",
        provenance=(("weights", os.pathsep.join(paths)), ("weights_sha256", digest)),
    )


def _files(asked: Any) -> tuple[str, ...]:
    """Return the paths of all networks to average."""
    if isinstance(asked, str):
        asked = re.split(rf"{os.pathsep}(?!//)", asked)  # `file://` is no separator
    named = list(asked) if isinstance(asked, Sequence) else [asked]
    if len(named) == 1 and isinstance(named[0], str | os.PathLike) and str(named[0]):
        named = [local_path(named[0], "weights")]
    if len(named) == 1 and isinstance(named[0], Path) and named[0].is_dir():
        inside = sorted(named[0].rglob("*"))
        named = [path for path in inside if path.suffix in SUFFIXES] or [None]
    paths = tuple(SOURCE.path(name) for name in named)
    if len({digest_of(path) for path in paths}) < len(paths):
        raise ModelError(
            f"the same weights are given twice among {', '.join(paths)}: the mean would count "
            "them double; name each network once"
        )
    return paths


def read_network(path: str) -> tuple[Any, Any]:
    """Return a network and its `Shape`, read off the file.

    Raises
    ------
    ModelError
        If it is another network.
    """
    from tamrf_xr.methods.networks.deepharmo import UNet, shape_of

    tensors = read_tensors(path)
    try:
        shape = shape_of(tensors)
    except KeyError as error:
        raise ModelError(f"{path} lacks {error}: it is of another network") from error
    return load(lambda: UNet(shape), tensors, where=path), shape


class Harmonizer(EpisodeFuser):
    """A mean of networks over one Landsat image."""

    def __init__(
        self,
        makes: Bands,
        *,
        weights: tuple[str, ...],
        digest: str,
        device: str,
        bands: tuple[int, ...],
        kept: tuple[int, ...],
        step: int,
    ) -> None:
        """Load the networks; take where bands lie, which to keep, and the step of the grid."""
        del makes
        check_unchanged(weights, digest)
        self._device = find_device(device)
        self._networks = [read_network(path)[0].to(self._device) for path in weights]
        self._bands, self._kept, self._step = list(bands), list(kept), step

    def predict(
        self, series: Mapping[str, Series], days: Mapping[str, Days], query_days: Days, crop: Crop
    ) -> dict[str, Pixels]:
        """Answer query by query."""
        size = (crop.y.stop - crop.y.start, crop.x.stop - crop.x.start)
        out = np.full((len(query_days), len(self._kept), *size), np.nan, np.float32)
        sharp = panchromatic_of("deepharmo", series[COARSE])
        rows, cols = crop.within(COARSE)
        for position, day in enumerate(query_days):
            index = on_day(days[COARSE], day)
            if index is not None and on_fine(series[COARSE].valid[index])[rows, cols].any():
                seen = series[COARSE].at([index])
                known = seen.valid[0] & np.isfinite(seen.pixels[0, self._bands]).all(axis=0)
                known &= np.isfinite(in_cells(sharp[index])).all(axis=(1, 3))
                made = self._harmonize(_stack(seen.pixels[0, self._bands], sharp[index]), crop)
                made = np.where(on_fine(known), made, np.float32(np.nan))
                out[position] = made[self._kept, rows, cols]
        return {FINE: out}

    def _harmonize(self, stack: Pixels, crop: Crop) -> Pixels:
        """Return the six bands on the grid of `stack` (7, y, x)."""
        import torch

        y, x = crop.offset[COARSE]
        corner = (crop.origin[0] + y, crop.origin[1] + x)
        image, place = on_steps(stack, corner, self._step)
        with torch.inference_mode():
            tensor = torch.from_numpy(image)[None].to(self._device)
            made = torch.stack([network(tensor)[0] for network in self._networks]).mean(dim=0)
        out = np.full((made.shape[0], *stack.shape[1:]), np.nan, np.float32)
        height, width = (s.stop - s.start for s in place)
        out[:, place[0], place[1]] = made[:, :height, :width].cpu().numpy()
        return out


def _stack(bands: Pixels, sharp: Pixels) -> Pixels:
    """Return seven bands at 10 m; what is no data is 0."""
    fine = upsample(np.nan_to_num(bands, nan=0.0), RATIO)
    finest = upsample(np.nan_to_num(sharp, nan=0.0), SHARPER)
    return np.concatenate([fine, finest[None]])
