"""TAMRF-SITS behind the fuser protocol: bands, nodata, halos between stages, precision."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tamrf_xr.errors import MemoryBudgetError, MethodError, ModelError, OptionError
from tamrf_xr.fuser import DEVIATIONS, Cost, Crop, Episode, FuserSpec, Pixels, Series
from tamrf_xr.methods.continuing import Beyond, continued, lacking, moved
from tamrf_xr.methods.deviations import half_widths
from tamrf_xr.methods.registry import Bands, Request
from tamrf_xr.methods.standardising import KELVIN, STREAMS, filled, spectra_of, standardise
from tamrf_xr.methods.weights import check_unchanged
from tamrf_xr.model.device import resolve_device
from tamrf_xr.model.footprint import needs
from tamrf_xr.paths import local_path
from tamrf_xr.sensors import LANDSAT, SENSORS, THERMAL

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from tamrf_xr.model.engine import Engine
    from tamrf_xr.model.network import Tamrf
    from tamrf_xr.model.precision import Precision

_log = logging.getLogger(__name__)

MAKES: Bands = {
    name: tuple(band.name for band in SENSORS[name].all_bands) for name in ("sentinel2", "landsat")
}
GPU_TILES = 4
"""Tiles in hand for a GPU: it fuses one in the time in which a core reads a third of one."""

DATES_AT_ONCE = 4
"""Dates brought in together on a CPU, which encodes them one by one; a GPU takes what fits it."""

MOST_PIXELS, FEWEST_PIXELS = 16384, 1024
"""Pixels of a block on a GPU, and the least to which `TamrfFuser.relieve` goes."""

PRECISIONS = ("auto", "float32", "tf32", "bfloat16")
OPTIONS = {"border": "auto", "missing": "auto", "gaps": "auto"}
"""``border``: beyond the scene the network sees the mean of each band (``"zeros"``, as published)
or the scene mirrored (``"mirror"``). ``missing``: of a band that was not seen where others were, it
sees the mean (``"mean"``, as published) or what these others make likely (``"regression"``).
``gaps``: of a pixel of which a date has no band, it sees the mean of each (``"mean"``, as
published) or does without that date (``"skip"``), as in cubes whose clouds were cut out.
``"auto"`` is as published for published weights, and the latter for those trained here."""

CHOICES = {
    "border": ("zeros", "mirror"), "missing": ("mean", "regression"), "gaps": ("mean", "skip"),
}  # fmt: skip
"""Of each option: as published, and of weights trained here."""

TELLS_ERRORS = True
"""With weights that have a head for it."""


def plan(request: Request) -> FuserSpec:
    """Return the recipe: every band of both sensors, whichever of them the cube has."""
    if request.precision not in PRECISIONS:
        raise OptionError(
            f"precision must be one of {', '.join(PRECISIONS)}, got {request.precision!r}"
        )
    device = resolve_device(request.device, here=False)
    precision = _precision(request.precision, device)
    weights, digest, model = resolve(request.model)
    ours = _trained_here(weights)
    border, missing, gaps = (_chosen(name, request.options, ours=ours) for name in CHOICES)
    absent = _absent(request.given, missing)
    makes = request.wanted(MAKES)
    return FuserSpec(
        method="tamrf",
        factory="tamrf_xr.methods.tamrf:TamrfFuser",
        makes=tuple(makes.items()),
        halo=halo_of(model, makes),
        options=(
            ("weights", weights),
            ("digest", digest),
            ("device", request.device),
            ("precision", precision),
            ("border", border),
            *([("missing", missing)] if missing == "regression" else []),
            *([("gaps", gaps)] if gaps == "skip" else []),
            *([("uncertainty", True)] if request.uncertainty else []),
        ),
        cost=_cost(model, uncertainty=request.uncertainty),
        at_once=2 if device.type == "cpu" else GPU_TILES,
        computing=1,  # the others read
        packed=True,
        half_widths=half_widths(model.errors, channels_of(makes)) if request.uncertainty else (),
        prepare="tamrf_xr.model.device:use_cores",
        uses="every acquisition in its window, clouds as they are: the network has no mask",
        provenance=(
            ("weights", weights if isinstance(weights, str) else "in memory"),
            ("weights_sha256", digest),
            ("precision", precision),
            ("border", border),
            ("missing", missing),
            *([("gaps", gaps)] if gaps == "skip" else []),
            *([("bands_not_given", absent)] if absent else []),
        ),
    )


def _precision(asked: str, device: torch.device) -> str:
    """Return what every worker computes in: decided here, so that a product is of one precision."""
    from tamrf_xr.model.precision import fastest

    computed = fastest(device, asked)
    if asked not in {computed, "auto"}:
        _log.warning("%s asked, computed in %s: faster on this %s", asked, computed, device.type)
    return computed


def _trained_here(weights: str | bytes) -> bool:
    from tamrf_xr.model.checkpoint import trained_here

    data = weights if isinstance(weights, bytes) else Path(weights).read_bytes()
    ours = isinstance(weights, bytes) or weights.endswith(".safetensors")
    return ours and trained_here(data)


def _chosen(name: str, options: Mapping[str, Any], *, ours: bool) -> str:
    asked, choices = options.get(name, "auto"), CHOICES[name]
    if asked not in ("auto", *choices):
        raise OptionError(f"{name} must be one of auto, {', '.join(choices)}, got {asked!r}")
    return choices[ours] if asked == "auto" else str(asked)


def _absent(given: Mapping[str, tuple[str, ...]], missing: str) -> str:
    """Tell which bands a cube lacks.

    Raises
    ------
    MethodError
        If they are not to be regressed.
    """
    found = []
    for name, bands in given.items():
        absent = tuple(band for band in MAKES[name] if band not in bands)
        if absent and missing == "mean":
            several = len(absent) > 1
            raise MethodError(
                f"method 'tamrf' with these weights needs every band of /{name}, and "
                f"{', '.join(absent)} {'are' if several else 'is'} missing (found "
                f"{', '.join(bands)}); add {'them' if several else 'it'}, drop /{name}, let "
                f"{'them' if several else 'it'} be regressed on the others (method option "
                "missing='regression'), or use method='linear', which takes any bands"
            )
        if absent:
            _log.warning("/%s lacks %s: regressed on %s", name, " ".join(absent), " ".join(bands))
            found.append(f"{name}: {' '.join(absent)}")
    return "; ".join(found)


def resolve(source: Any) -> tuple[str | bytes, str, Tamrf]:
    """Return what a worker loads (a path, or bytes of a model in memory), its hash, the model.

    Raises
    ------
    ModelError
        If `source` is neither a path, a network, ``"default"`` nor ``"published"``, or cannot be
        read.
    """
    from tamrf_xr.model.checkpoint import content_hash, load_model, model_bytes
    from tamrf_xr.model.named import named_weights
    from tamrf_xr.model.network import Tamrf

    if isinstance(source, Tamrf):
        data = model_bytes(source)
        return data, content_hash(data), _checked(source)
    if not isinstance(source, str | os.PathLike):
        raise ModelError(
            "model must be a path, a loaded model, 'default' or 'published', got "
            f"{type(source).__name__}"
        )
    path = named_weights(source) or local_path(source, "model")
    model = _checked(load_model(path))
    return str(path.resolve()), content_hash(path), model


def _checked(model: Tamrf) -> Tamrf:
    bands = model.config.hr_bands, model.config.lr_bands
    expected = len(MAKES["sentinel2"]), len(MAKES["landsat"])
    if bands != expected:
        raise ModelError(
            f"the network is for {bands[0]} Sentinel-2 and {bands[1]} Landsat bands; "
            f"expected {expected[0]} and {expected[1]}"
        )
    return model


def _cost(model: Tamrf, *, uncertainty: bool) -> Cost:
    from tamrf_xr.model.levels import parts_of

    config = model.config
    need = needs(config, drawn=bool(parts_of(model)))
    # Deviations are held three times: as made, in order, and as they leave the device.
    more = 12.0 * config.bands if uncertainty else 0.0
    per_date = {"sentinel2": need.hr_date, "landsat": need.lr_date}
    return Cost(fixed=need.fixed, per_date=per_date, per_query=need.query + more)


class TamrfFuser:
    """The network at work on tiles."""

    def __init__(
        self,
        makes: Bands,
        *,
        weights: str | bytes,
        digest: str,
        device: str,
        precision: Precision,
        uncertainty: bool = False,
        **sees: str,
    ) -> None:
        """Load the weights and check that they are those that were planned with.

        `sees`: of `CHOICES`, each as published where it is not given.
        """
        if unknown := sees.keys() - CHOICES.keys():
            raise TypeError(f"unexpected option {min(unknown)!r}; there are {', '.join(CHOICES)}")
        sees = {name: published for name, (published, _) in CHOICES.items()} | sees
        self._makes, self._uncertain = makes, uncertainty
        shared, self._model = _engine(weights, digest, (device, precision))
        self._engine = copy(shared)  # `relieve` changes how it works, not how others do
        config = self._model.config
        self._margin = reach_of(self._model, makes)
        self._margin_mirrored = reach_of(self._model, MAKES)  # whatever is asked, the same
        self._mirrored, self._skips = sees["border"] == "mirror", sees["gaps"] == "skip"
        self._spectra = {
            name: spectra_of(self._model, name) if sees["missing"] == "regression" else None
            for name in STREAMS
        }
        self._halo = config.halos(self._margin)
        self._most_mirrored = config.halos(self._margin_mirrored)

    def __call__(
        self, series: Mapping[str, Series], episodes: Sequence[Episode], crop: Crop
    ) -> dict[str, Pixels]:
        """Encode every acquisition once, then answer episode by episode; see `Fuser`."""
        features = {
            name: self._encode(name, seen, crop)
            for name, seen in series.items()
            if len(seen.pixels)
        }
        core = self._core(crop, next(iter(features)))
        bands = self._answers(episodes, features, core)
        return self._split(self._engine.download(bands).numpy())

    def relieve(self, error: Exception) -> bool:
        """Work in blocks of half the pixels after a GPU ran out of memory; say if that is so.

        Raises
        ------
        MemoryBudgetError
            If the blocks are as small as makes sense.
        """
        import torch

        if not isinstance(error, torch.OutOfMemoryError):
            return False
        pixels = self._engine.pixels or MOST_PIXELS
        if pixels <= FEWEST_PIXELS:
            raise MemoryBudgetError(
                f"the device ran out of memory with blocks of {pixels} pixels; "
                "pass a smaller tile, or ask for fewer query dates at once"
            ) from error
        self._engine.pixels = pixels // 2
        torch.cuda.empty_cache()
        return True

    def _encode(self, sensor: str, seen: Series, crop: Crop) -> Tensor:
        """Return features (date, y, x, channel) of the core and its margin.

        Of the mirror of the scene, they are what the decoder's convolutions see. A few dates at a
        time: their halos are dropped before the next are encoded.
        """
        import torch

        from tamrf_xr.model.attend import mark
        from tamrf_xr.model.levels import joined

        engine = self._engine
        encode = engine.encode_hr if STREAMS[sensor] == "hr" else engine.encode_lr
        beyond = self._beyond(sensor, seen.pixels.shape[2:], crop)
        ratio, size = SENSORS[sensor].ratio, seen.pixels.shape[2:]
        rows, cols = (
            moved(self._seen(wanted, ratio * pixels), before * ratio)
            for wanted, pixels, (before, _) in zip(
                crop.within(sensor, margin=self._margin), size, beyond, strict=True
            )
        )
        row = crop.corner(sensor)[0] // SENSORS[sensor].ratio - beyond[0][0]
        at_once = engine.dates_at_once(STREAMS[sensor], *seen.pixels.shape[-2:]) or DATES_AT_ONCE
        parts = []
        for first in range(0, len(seen.pixels), at_once):
            pixels = continued(engine.upload(seen.pixels[first : first + at_once]), beyond)
            images, missing = standardise(
                self._model, sensor, pixels, seen.packing, bands=seen.bands
            )
            spectra = self._spectra[sensor]
            images = filled(images, missing, spectra)
            unseen = missing if spectra is None else _unseen(sensor, missing)
            values = engine.measured(STREAMS[sensor], images, unseen)
            values = None if values is None else values[:, rows, cols]
            part = joined(encode(images, row=row)[:, rows, cols].clone(), values)
            if self._skips:
                mark(part, _fine(missing.all(dim=1), ratio)[:, rows, cols])
            parts.append(part)
        return torch.cat(parts)

    def _beyond(self, sensor: str, size: tuple[int, ...], crop: Crop) -> Beyond:
        """Return the pixels of the halo that a sensor's array lacks and that are mirrored."""
        if not self._mirrored:
            return (0, 0), (0, 0)
        name, ratio = STREAMS[sensor], SENSORS[sensor].ratio
        beyond = lacking(crop.within(sensor), size, halo=self._halo[name], ratio=ratio)
        most = self._most_mirrored[name]
        (top, bottom), (left, right) = beyond
        return (min(top, most), min(bottom, most)), (min(left, most), min(right, most))

    def _seen(self, wanted: slice, size: int) -> slice:
        """Cut fine pixels to those of the image, and the mirrored ones that the decoder sees."""
        most = self._margin_mirrored if self._mirrored else 0
        return slice(max(wanted.start, -most), min(wanted.stop, size + most))

    def _answers(
        self,
        episodes: Sequence[Episode],
        features: Mapping[str, Tensor],
        core: tuple[slice, slice],
    ) -> Tensor:
        """Return (query, band, y, x) in physical units, queries in order, on the device.

        All that is done to values is done there: nothing waits for it between episodes.
        """
        import torch

        channels = [c for own in channels_of(self._makes).values() for c in own]
        kelvins = [
            place for place, c in enumerate(channels) if c == _channel(LANDSAT.name, THERMAL)
        ]
        if self._uncertain:
            kelvins += [len(channels) + place for place in kelvins]
            channels += [self._model.config.bands + channel for channel in channels]
        asked = [query for episode in episodes for query in episode.queries]
        height, width = (s.stop - s.start for s in core)
        out = torch.empty((len(asked), len(channels), height, width), device=self._engine.device)
        places = {query: place for place, query in enumerate(sorted(asked))}
        for episode in episodes:
            bands = self._reconstructed(episode, features, channels)
            at = torch.tensor([places[query] for query in episode.queries], device=out.device)
            out.index_copy_(0, at, bands[:, :, core[0], core[1]])
        for place in kelvins:
            out[:, place] /= KELVIN
        return out

    def _reconstructed(
        self, episode: Episode, features: Mapping[str, Tensor], channels: list[int]
    ) -> Tensor:
        given = {
            STREAMS[name]: (maps[list(episode.seen[name])], list(episode.days[name]))
            for name, maps in features.items()
        }
        return self._engine.reconstruct(given, list(episode.query_days), channels=channels)

    def _core(self, crop: Crop, sensor: str) -> tuple[slice, slice]:
        """Return where the core lies inside features, whose margin ends where the image does."""
        rows, cols = crop.within(sensor)
        beyond = self._margin_mirrored if self._mirrored else 0
        top, left = (min(s.start + beyond, self._margin) for s in (rows, cols))
        return slice(top, top + rows.stop - rows.start), slice(left, left + cols.stop - cols.start)

    def _split(self, bands: Pixels) -> dict[str, Pixels]:
        names = list(self._makes)
        names += [DEVIATIONS.format(sensor=name) for name in names] if self._uncertain else []
        counts = 2 * [len(bands) for bands in self._makes.values()]
        ends = np.cumsum(counts[: len(names)])
        return dict(zip(names, np.split(bands, ends[:-1], axis=1), strict=True))


def _unseen(sensor: str, missing: Tensor) -> Tensor:
    """Return where bands were not seen, of where they are missing, (T, B, y, x).

    Reflectance that is regressed on reflectance beside it is as good as seen; a temperature is not.
    """
    if not SENSORS[sensor].thermal:
        return missing.all(dim=1, keepdim=True).expand_as(missing)
    unseen = missing[:, :-1].all(dim=1, keepdim=True).expand_as(missing).clone()
    unseen[:, -1] = missing[:, -1]
    return unseen


def _fine(coarse: Tensor, ratio: int) -> Tensor:
    """Repeat pixels (..., y, x) of a sensor on the grid of 10 m."""
    return coarse.repeat_interleave(ratio, dim=-2).repeat_interleave(ratio, dim=-1)


def reach_of(model: Tamrf, makes: Bands) -> int:
    """Return the pixels of 10 m around one of which bands are made, of attended maps."""
    from tamrf_xr.model.levels import decoder_reach, parts_of

    bands = {name: own for name, own in makes.items() if name in MAKES}  # a latent has none
    channels = [c for own in channels_of(bands).values() for c in own]
    return decoder_reach(model.config, parts_of(model), channels)


def halo_of(model: Tamrf, makes: Bands) -> tuple[tuple[str, int], ...]:
    """Return the pixels of each sensor that a tile needs around it, for the bands made."""
    halos = model.config.halos(reach_of(model, makes))
    return tuple((name, halos[STREAMS[name]]) for name in ("sentinel2", "landsat"))


def channels_of(makes: Bands) -> dict[str, list[int]]:
    """Return per sensor the output channels of the network that are its bands."""
    return {name: [_channel(name, band) for band in bands] for name, bands in makes.items()}


def _channel(sensor: str, band: str) -> int:
    first = 0 if sensor == LANDSAT.name else len(MAKES[LANDSAT.name])
    return first + MAKES[sensor].index(band)


@lru_cache(maxsize=8)
def _engine(
    weights: str | bytes, digest: str, placing: tuple[str, Precision]
) -> tuple[Engine, Tamrf]:
    """Load weights and put them on a device: once per process, device and content, of the last."""
    from tamrf_xr.model.checkpoint import load_model, model_from_bytes
    from tamrf_xr.model.engine import Engine

    if isinstance(weights, bytes):
        model = model_from_bytes(weights)
    else:
        check_unchanged((weights,), digest)
        model = load_model(weights)
    return Engine(model, device=resolve_device(placing[0]), precision=placing[1]), model
