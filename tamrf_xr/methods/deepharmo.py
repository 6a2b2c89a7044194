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
from typing import TYPE_CHECKING, Any

import numpy as np

from tamrf_xr.errors import ModelError
from tamrf_xr.fuser import Crop, Pixels, Scene
from tamrf_xr.methods.daily import Seen
from tamrf_xr.methods.networks.steps import through_steps
from tamrf_xr.methods.pairing import COARSE, COMMON, FINE, RATIO, known_in_cells, on_fine
from tamrf_xr.methods.pixelwise import CUBIC_REACH
from tamrf_xr.methods.weights import Brought, BroughtFuser, digest_of, load
from tamrf_xr.paths import local_path
from tamrf_xr.psf import upsample

if TYPE_CHECKING:
    from torch import Tensor

OPTIONS = {"weights": None}
"""``weights``: files of the networks to average, a list or separated as paths are in ``PATH``; or
a folder, of which every ``.safetensors``, ``.bin``, ``.pt`` and ``.pth`` is taken."""

BANDS = tuple(COMMON)
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
SHARPER = 1.5
"""Panchromatic pixels are so many of ours across."""


class Harmonizer(BroughtFuser):
    """A mean of networks over one Landsat image."""

    of = Brought(
        "deepharmo",
        "https://huggingface.co/venkatesh-thiru: s2l8h-UNet-5depth-upsample, -5depth-shuffle, "
        "-6depth-upsample, -6depth-shuffle (MIT)",
        needs={COARSE: tuple(COMMON.values())},
        makes={FINE: BANDS},
        panchromatic=True,
    )

    @staticmethod
    def read(tensors: Mapping[str, Tensor], *, where: str) -> Any:
        """Build a network of the shape that its tensors tell."""
        from tamrf_xr.methods.networks.deepharmo import UNet, shape_of

        try:
            shape = shape_of(tensors)
        except KeyError as error:
            raise ModelError(f"{where} lacks {error}: it is of another network") from error
        return load(lambda: UNet(shape), tensors, where=where)

    @classmethod
    def files(cls, asked: Any) -> tuple[str, ...]:
        """Return the paths of all networks to average."""
        if isinstance(asked, str):
            asked = re.split(rf"{os.pathsep}(?!//)", asked)  # `file://` is no separator
        named = list(asked) if isinstance(asked, Sequence) else [asked]
        if len(named) == 1 and isinstance(named[0], str | os.PathLike) and str(named[0]):
            named = [local_path(named[0], "weights")]
        if len(named) == 1 and isinstance(named[0], Path) and named[0].is_dir():
            inside = sorted(named[0].rglob("*"))
            named = [path for path in inside if path.suffix in SUFFIXES] or [None]
        paths = tuple(cls.of.path(name) for name in named)
        if len({digest_of(path) for path in paths}) < len(paths):
            raise ModelError(
                f"the same weights are given twice among {', '.join(paths)}: the mean would count "
                "them double; name each network once"
            )
        return paths

    @staticmethod
    def measure(networks: Sequence[Any]) -> tuple[dict[str, int], float]:
        """On the first level: what was skipped, what came up, both joined, both convolved.

        With a width of 64, 2.8 to 3.2 kB were measured.
        """
        shapes = [network.shape for network in networks]
        reach = max(shape.reach for shape in shapes) + _step(networks) - 1
        return {COARSE: -(-reach // RATIO) + CUBIC_REACH}, 52.0 * max(s.width for s in shapes)

    def answer(self, seen: Seen, day: float) -> Scene | None:
        """Harmonise the image of the day."""
        landsat = seen.on(COARSE, day)
        if landsat is None:
            return None
        image, sharp = landsat.select(tuple(COMMON.values())), self.sharp(landsat)
        whole = Scene(image.pixels, on_fine(image.valid), BANDS)
        if not seen.core(COARSE, whole).valid.any():
            return None
        bands = self._harmonize(_stack(image.pixels, sharp), seen.crop)
        usable = on_fine(image.known & known_in_cells(sharp))
        return seen.core(COARSE, Scene(bands, usable, BANDS))

    def _harmonize(self, stack: Pixels, crop: Crop) -> Pixels:
        """Return the six bands on the grid of `stack` (7, y, x)."""
        return through_steps(self._mean, stack, crop.corner(COARSE), _step(self.networks))

    def _mean(self, image: Pixels) -> Pixels:
        import torch

        tensor = self.tensor(image)[None]
        with torch.inference_mode():
            answers = torch.stack([network(tensor)[0] for network in self.networks]).mean(dim=0)
        mean: Pixels = answers.cpu().numpy()
        return mean


plan = Harmonizer.plan


def _step(networks: Sequence[Any]) -> int:
    return max(int(network.shape.step) for network in networks)


def _stack(bands: Pixels, sharp: Pixels) -> Pixels:
    """Return seven bands at 10 m; what is no data is 0."""
    fine = upsample(np.nan_to_num(bands, nan=0.0), RATIO)
    finest = upsample(np.nan_to_num(sharp, nan=0.0), SHARPER)
    return np.concatenate([fine, finest[None]])
