"""How a sensor would see a prediction: its blur and its grid, differentiable; the twin of `psf`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tamrf_xr import psf
from tamrf_xr.model.network import Tamrf, crop
from tamrf_xr.sensors import LANDSAT
from tamrf_xr.training.data import Patch


@dataclass(frozen=True, slots=True)
class SensorBands:
    """What the losses know of the bands of one sensor."""

    mean: Tensor
    """(B,): what was subtracted to standardise, in the unit of the band."""

    std: Tensor
    """(B,): what it was divided by."""

    profiles: Tensor
    """(B, 2k + 1): the point spread function along one axis, on the 10 m grid; each sums to 1."""

    resolution: tuple[float, ...]
    """Native resolution of each band, metres."""

    positions: Mapping[float, Tensor]
    """Indices of the bands of each native resolution, where they are needed: a list of them would
    be brought to the device each time, which waits for it."""

    ratio: int
    """Pixels of 10 m across one pixel of the sensor's grid."""

    @property
    def reflectances(self) -> int:
        """How many bands, from the first, are reflectances: the thermal one, coarser, is last."""
        return sum(gsd <= LANDSAT.gsd for gsd in self.resolution)

    def at(self, bands: Tensor, resolution: float) -> Tensor:
        """Return those of the bands (T, B, Y, X) that have one native resolution, in metres."""
        return bands[:, self.positions[resolution]]


def sensor_bands(model: Tamrf, sensor: Literal["hr", "lr"]) -> SensorBands:
    """Read the bands of one sensor off the buffers of a network; tensors stay on its device."""
    values = {name: model.get_buffer(f"{sensor}_{name}") for name in ("mean", "std")}
    mtfs, gsds = (model.get_buffer(f"{sensor}_{n}").tolist() for n in ("mtf", "resolution"))
    reach = psf.half_width(gsds)
    kernels = [psf.kernel(m, g, reach=reach).sum(axis=0) for m, g in zip(mtfs, gsds, strict=True)]
    profiles = torch.from_numpy(np.stack(kernels)).to(values["mean"])
    ratio = model.config.ratio if sensor == "lr" else 1
    device, found = profiles.device, torch.tensor(gsds)
    positions = {gsd: (found == gsd).nonzero()[:, 0].to(device) for gsd in set(gsds)}
    return SensorBands(
        **values, profiles=profiles, resolution=tuple(gsds), positions=positions, ratio=ratio
    )


def as_seen(predicted: Tensor, bands: SensorBands) -> Tensor:
    """Blur predictions by the sensor's PSF and bring them to its grid.

    Parameters
    ----------
    predicted
        (T, B, Y, X), on the 10 m grid.
    bands
        Of the sensor; reflect padding at the borders, as in `tamrf_xr.psf.blur`.

    Returns
    -------
    Tensor
        (T, B, Y / ratio, X / ratio), float32: bicubic, without antialiasing.
    """
    count, reach = len(bands.profiles), bands.profiles.shape[1] // 2
    with full_precision(predicted):
        padded = functional.pad(predicted.float(), (reach,) * 4, mode="reflect")
        rows = functional.conv2d(padded, bands.profiles[:, None, :, None], groups=count)
        blurred = functional.conv2d(rows, bands.profiles[:, None, None, :], groups=count)
    if bands.ratio == 1:
        return blurred
    size = [side // bands.ratio for side in blurred.shape[-2:]]
    return functional.interpolate(blurred, size=size, mode="bicubic", align_corners=False)


def cropped(patch: Patch, margin: int) -> Patch:
    """Leave out `margin` pixels of its own grid on every side of a patch."""
    return replace(patch, pixels=crop(patch.pixels, margin), valid=crop(patch.valid, margin))


def full_precision(tensor: Tensor) -> torch.autocast:
    """Switch autocast off on the device of a tensor, for sums that 8 bits do not carry."""
    return torch.autocast(tensor.device.type, enabled=False)
