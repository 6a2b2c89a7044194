"""Pixels as the network sees them: standardised, and what was not seen filled in.

A network is trained on all bands of a sensor. Where some of them are missing, they are regressed on
those that are there: the conditional mean of a normal distribution of all bands, whose mean and
covariance are of simulated acquisitions, clouds and all (``python -m studies.spectra``). What is
missing in every band is the mean of the band: zero once standardised, which is also how the
network sees what lies beyond the border of the image. Clouds go in as they are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tamrf_xr.fuser import Packing
from tamrf_xr.model.device import upload
from tamrf_xr.sensors import SENSORS, THERMAL

if TYPE_CHECKING:
    from torch import Tensor

    from tamrf_xr.model.network import Tamrf

Array = npt.NDArray[np.floating[Any]]

STREAMS = {"landsat": "lr", "sentinel2": "hr"}
"""Name inside the network of each sensor, in the order of the network's outputs."""

KELVIN = 1e-3
"""The network's unit of temperature is 1000 kelvin."""

MOMENTS = "weights/spectra.json"
"""Per sensor, mean and covariance of its bands, in the units of the network."""

NOISE = 1e-4
"""Variance, in standardised units, that is added to each band which others are regressed on."""


@dataclass(frozen=True)
class Spectra:
    """What the standardised bands of a sensor are like together."""

    mean: Array
    """(band,)."""

    covariance: Array
    """(band, band)."""

    def regression(self, there: Sequence[int], lacking: Sequence[int]) -> tuple[Array, Array]:
        """Return the constant (lacking,) and slopes (there, lacking) of bands on others."""
        seen = self.covariance[np.ix_(there, there)] + NOISE * np.eye(len(there))
        slopes: Array = np.linalg.solve(seen, self.covariance[np.ix_(there, lacking)])
        constant: Array = self.mean[list(lacking)] - self.mean[list(there)] @ slopes
        return constant, slopes


def spectra_of(model: Tamrf, sensor: str) -> Spectra:
    """Return the spectra of a sensor in the standardised units of a network."""
    found = _moments()[sensor]
    mean, std = (
        model.get_buffer(f"{STREAMS[sensor]}_{kind}").double().cpu().numpy()
        for kind in ("mean", "std")
    )
    covariance = np.array(found["covariance"]) / std / std[:, None]
    return Spectra((np.array(found["mean"]) - mean) / std, covariance)


@cache
def _moments() -> dict[str, dict[str, list[float]]]:
    text = files("tamrf_xr").joinpath(MOMENTS).read_text(encoding="utf-8")
    found: dict[str, dict[str, list[float]]] = json.loads(text)
    return found


def standardise(
    model: Tamrf,
    sensor: str,
    pixels: Tensor,
    packing: Packing | None,
    *,
    bands: Sequence[str] | None = None,
) -> tuple[Tensor, Tensor]:
    """Bring pixels to the units of the network, on the device where they are.

    Parameters
    ----------
    model
        Its buffers are the mean and deviation of each band.
    sensor
        Name of the group.
    pixels
        (date, band, y, x): physical values, NaN or infinite where there is no data, or integers.
    packing
        How integers stand for physical values.
    bands
        Names of the bands of `pixels`; None for all of the sensor.

    Returns
    -------
    images, missing : Tensor
        (date, band, y, x), all bands of the sensor: standardised, and where there is no data
        (there, images have no meaning).
    """
    import torch

    every = [band.name for band in SENSORS[sensor].all_bands]
    own = every if bands is None else list(bands)
    at = [every.index(band) for band in own]
    mean, std = (
        model.get_buffer(f"{STREAMS[sensor]}_{kind}").to(pixels.device)[at, None, None]
        for kind in ("mean", "std")
    )
    unit = _a_band_each([KELVIN if band == THERMAL else 1.0 for band in own], mean)
    if packing is None:
        missing, physical = ~pixels.isfinite(), pixels
    else:
        missing = pixels == packing.fill
        physical = pixels * _a_band_each(packing.scale, mean)
    images = (physical * unit).sub_(mean).div_(std)
    if len(own) == len(every):
        return images, missing
    shape = len(images), len(every), *images.shape[2:]
    there = upload(torch.tensor(at), images.device)
    return (
        images.new_zeros(shape).index_copy_(1, there, images),
        missing.new_ones(shape).index_copy_(1, there, missing),
    )


def filled(images: Tensor, missing: Tensor, spectra: Spectra | None) -> Tensor:
    """Put what the network sees where nothing was seen, in place.

    Parameters
    ----------
    images, missing
        (date, band, y, x), of `standardise`.
    spectra
        Of the sensor: what some bands lack is regressed on the others. None: it is the mean.

    Returns
    -------
    Tensor
        `images`. What a pixel becomes depends on that pixel alone.
    """
    import torch

    images.masked_fill_(missing, 0.0)
    partly = missing.any(dim=1) & ~missing.all(dim=1)
    if spectra is None or not partly.any():
        return images
    bits = _a_band_each([2**band for band in range(images.shape[1])], images).to(torch.int32)
    codes = (missing * bits).sum(dim=1)
    for code in codes[partly].unique().tolist():
        _regress(images, codes == code, code, spectra)
    return images


def _regress(images: Tensor, where: Tensor, code: int, spectra: Spectra) -> None:
    """Fill in the bands whose bit is set in `code`, at some pixels (date, y, x)."""
    bands = range(images.shape[1])
    lacking = [band for band in bands if code >> band & 1]
    there = [band for band in bands if band not in lacking]
    constant, slopes = spectra.regression(there, lacking)
    seen = [images[:, band][where] for band in there]
    for j, band in enumerate(lacking):
        value = seen[0].new_full(seen[0].shape, float(constant[j]))
        for i, one in enumerate(seen):
            value.add_(one, alpha=float(slopes[i, j]))
        images[:, band][where] = value


def _a_band_each(values: Sequence[float], like: Tensor) -> Tensor:
    import torch

    return upload(torch.tensor(values, dtype=like.dtype), like.device)[:, None, None]
