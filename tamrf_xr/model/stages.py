"""The stages of the fast path: general ones, and kernels where they are found to agree."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import Final, Protocol, cast

import torch
from torch import Tensor

from tamrf_xr.errors import ModelError
from tamrf_xr.model import footprint
from tamrf_xr.model.attend import PixelModel
from tamrf_xr.model.config import OPTICAL
from tamrf_xr.model.convolve import FastDecoder, FastEncoder, GeneralEncoder, Placement
from tamrf_xr.model.encoders import DateEncoder
from tamrf_xr.model.network import SpatialEncoder, Tamrf
from tamrf_xr.model.precision import Precision, products
from tamrf_xr.model.waves import WinogradEncoder

_log = logging.getLogger(__name__)

SWITCH: Final = "TAMRF_XR_KERNELS"
"""Environment variable: ``1`` takes kernels wherever they run and agree. No card has run them yet:
until one has, they are not taken unasked."""

BOUNDS: Final = {"float32": 1e-4, "tf32": 1e-2, "bfloat16": 5e-2}
"""Largest difference of a stage on kernels from the general one, over the largest value: a few
times what rounding gives; an index that is wrong gives ten times as much and more."""


class Encode(Protocol):
    """An encoder of one sensor."""

    def __call__(self, x: Tensor, row: int = 0) -> Tensor:
        """Encode standardised (T, C, h, w) into features (T, ratio h, ratio w, L).

        Its first row is `row` of the scene: rows that are computed in groups are grouped alike in
        every tile, so that all round alike.
        """
        ...

    def images_at_once(self, height: int, width: int) -> int:
        """Return how many images (h, w) go through together."""
        ...


class Decode(Protocol):
    """The decoder's convolutions."""

    def __call__(self, attended: Tensor, out: Tensor, channels: Tensor | None) -> None:
        """Decode (Q, H, W, D) into `out` (Q, C, H, W), or its channels of these indices."""
        ...


@dataclass(frozen=True, slots=True)
class Stages:
    """What an `Engine` goes through."""

    encoders: dict[str, Encode]
    """Per stream of the network."""

    pixels: PixelModel
    """Transformer and attention."""

    decoder: Decode
    """Attended maps to bands."""

    kernels: tuple[str, ...] = ()
    """Those that run on kernels: of ``encoders``, ``pixels`` and ``decoder``."""


def placed(device: torch.device, dtype: torch.dtype, rows: int | None) -> Placement:
    """Return how to compute on a device, in strips of `rows` or what suits it."""
    if device.type == "cpu":
        return Placement(device, dtype, rows or footprint.CPU_ROWS, 1)
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
    return Placement(device, dtype, rows or footprint.ALL_ROWS, footprint.GPU_BATCH, memory)


def build(
    model: Tamrf, placement: Placement, precision: Precision, *, kernels: bool | None
) -> Stages:
    """Return the stages of a network, on kernels where that is wanted and right.

    Parameters
    ----------
    model
        The network.
    placement
        Device and type.
    precision
        What is computed in.
    kernels
        False for none; True where they must be, or it is an error. None as the environment variable
        `SWITCH` says: each stage that fails, or differs by more than `BOUNDS`, is told in the log
        once and left to the general path.

    Raises
    ------
    ModelError
        If kernels must be and cannot.
    """
    general = _general(model, placement)
    if not _wanted(kernels):
        return general
    if missing := _missing(placement):
        _refuse(missing, demanded=bool(kernels))
        return general
    with torch.inference_mode(), products(precision):
        return _agreeing(model, general, _Trial(placement, precision), demanded=bool(kernels))


def _general(model: Tamrf, placement: Placement) -> Stages:
    std, mean = scaling(model)
    return Stages(
        {name: _encoder(one, placement) for name, one in encoders_of(model).items()},
        PixelModel(model, placement, head_multiple=1 if placement.device.type == "cpu" else 8),
        FastDecoder((model.out1, model.out2), std, mean, placement),
    )


def _encoder(encoder: SpatialEncoder | DateEncoder, placement: Placement) -> Encode:
    if isinstance(encoder, DateEncoder):
        return GeneralEncoder(encoder, placement)
    exact = placement.device.type == "cpu" and placement.dtype == torch.float32
    return (WinogradEncoder if exact else FastEncoder)(encoder, placement)


def encoders_of(model: Tamrf) -> dict[str, SpatialEncoder | DateEncoder]:
    """Return what encodes the dates of each stream of a network."""
    return {
        name: cast("SpatialEncoder | DateEncoder", model.get_submodule(f"{name}_encoder"))
        for name in model.config.streams
    }


def scaling(model: Tamrf) -> tuple[Tensor, Tensor]:
    """Return deviation and mean of all output channels, (C,) each."""
    std, mean = (
        torch.cat([model.get_buffer(f"{sensor}_{kind}") for sensor in OPTICAL])
        for kind in ("std", "mean")
    )
    return std, mean


def _wanted(kernels: bool | None) -> bool:  # noqa: FBT001
    said = os.environ.get(SWITCH, "")
    if said not in {"", "0", "1"}:
        raise ModelError(f"{SWITCH} must be 0 or 1, or not set, got {said!r}")
    return said == "1" if kernels is None else kernels


def _missing(placement: Placement) -> str:
    """Say what kernels lack here, or nothing."""
    if find_spec("triton") is None:
        return "Triton is not installed: it comes with PyTorch for CUDA (pip install triton)"
    from tamrf_xr.model.kernels.product import interpreted

    if placement.device.type != "cuda" and not interpreted():
        return (
            f"they are for CUDA, and this is {placement.device.type} "
            "(TRITON_INTERPRET=1 before Python starts interprets them, for tests)"
        )
    return ""


def _refuse(why: str, *, demanded: bool) -> None:
    if demanded:
        raise ModelError(f"no kernels: {why}; pass kernels=None to do without")
    _tell(f"kernels are left out, the general path is taken: {why}")


@cache
def _tell(message: str) -> None:
    _log.warning(message)


def _agreeing(model: Tamrf, general: Stages, trial: _Trial, *, demanded: bool) -> Stages:
    """Replace each stage by the one on kernels, if that gives the same on random input."""
    stages = general
    dense = isinstance(model.hr_encoder, SpatialEncoder)  # of other encoders there are no kernels
    for name in ("encoders", "pixels", "decoder")[0 if dense else 1 :]:
        try:
            fused = trial.fused(name, model, stages)
            off = trial.difference(name, model, (fused, general))
        except Exception as error:  # noqa: BLE001  (whatever a compiler or a card may say)
            _refuse(f"{name}: {type(error).__name__}: {error}", demanded=demanded)
            continue
        if not off <= (bound := BOUNDS[trial.precision]):  # NaN neither
            why = f"{name} differ by {off:.1e} of the largest value, at most {bound:.0e} is allowed"
            _refuse(f"{why} in {trial.precision}", demanded=demanded)
            continue
        _log.debug("%s on kernels differ by %.1e in %s", name, off, trial.precision)
        stages = replace(fused, kernels=(*stages.kernels, name))
    return stages


def dense_encoders(model: Tamrf) -> dict[str, SpatialEncoder]:
    """Return the encoders of each stream of a network whose encoder is ``"esrgan"``."""
    return cast("dict[str, SpatialEncoder]", encoders_of(model))


@dataclass(frozen=True, slots=True)
class _Trial:
    """Stages on kernels beside general ones, on random input of a few blocks and odd sizes."""

    placement: Placement
    precision: Precision

    def fused(self, name: str, model: Tamrf, stages: Stages) -> Stages:
        """Return stages of which one is on kernels."""
        from tamrf_xr.model import fused

        place, rounding = self.placement, "tf32" if self.precision == "tf32" else "ieee"
        if name == "encoders":
            encoders: dict[str, Encode] = {
                stream: fused.FusedEncoder(encoder, place, rounding)
                for stream, encoder in dense_encoders(model).items()
            }
            return replace(stages, encoders=encoders)
        if name == "pixels":
            remade = stages.pixels.with_endings(lambda end: fused.fused_ending(end, rounding))
            return replace(stages, pixels=remade)
        convs = model.out1, model.out2
        decoder = fused.FusedDecoder(convs, scaling(model), place, rounding)
        return replace(stages, decoder=decoder)

    def difference(self, name: str, model: Tamrf, both: tuple[Stages, Stages]) -> float:
        """Return the largest difference of a stage, over the largest value."""
        run = {"encoders": self._encoders, "pixels": self._pixels, "decoder": self._decoder}[name]
        found, expected = (run(model, stages) for stages in both)
        return float((found - expected).abs().max() / expected.abs().max())

    def _encoders(self, model: Tamrf, stages: Stages) -> Tensor:
        bands = {name: getattr(model.config, f"{name}_bands") for name in model.config.streams}
        y, x = self._size
        maps = (
            stages.encoders[sensor](self._draw(2, count, y, x)) for sensor, count in bands.items()
        )
        return torch.cat([part.float().flatten() for part in maps])

    def _pixels(self, model: Tamrf, stages: Stages) -> Tensor:
        days = torch.arange(3.0)
        asked = stages.pixels.ask(dict.fromkeys(model.config.streams, days), days)
        pixels = self._size[0] * self._size[1]
        tokens = self._draw(pixels, 3 * len(model.config.streams), model.config.width).to(
            self.placement.dtype
        )
        return stages.pixels.answer(stages.pixels.transform(tokens, asked), asked).float()

    def _decoder(self, model: Tamrf, stages: Stages) -> Tensor:
        y, x = self._size
        attended = self._draw(2, y, x, model.config.width).to(self.placement.dtype)
        std, mean = (part.to(attended.device)[:, None, None] for part in scaling(model))
        out = torch.empty((2, len(std), y, x), device=attended.device)
        stages.decoder(attended, out, None)
        return (out - mean) / std  # as the network sees them: each band counts

    @property
    def _size(self) -> tuple[int, int]:
        return (5, 7) if self.placement.device.type == "cpu" else (37, 45)  # interpreted, or not

    def _draw(self, *shape: int) -> Tensor:
        draw = torch.Generator().manual_seed(0)
        return torch.randn(shape, generator=draw).to(self.placement.device)
