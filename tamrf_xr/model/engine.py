"""The fast path: encode once, attend and decode as many dates as asked, exactly the network.

Shapes: T dates of one sensor, N of all, Q query dates, C bands, L latent, D token width,
h w low-resolution grid, H W high-resolution grid, P pixels of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, TypeVar, cast

import numpy.typing as npt
import torch
from torch import Tensor

from tamrf_xr.errors import ModelError
from tamrf_xr.model import footprint
from tamrf_xr.model.attend import Task, check_maps, unmark
from tamrf_xr.model.levels import (
    Drawing,
    Known,
    Moments,
    Part,
    decoder_reach,
    joined,
    measured,
    told_of,
)
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.precision import DTYPES, Precision, check_card, products
from tamrf_xr.model.stages import build, placed
from tamrf_xr.model.standards import check_stream
from tamrf_xr.model.strips import by_strips
from tamrf_xr.model.threads import over_blocks
from tamrf_xr.model.uncertainty import telling

Stage = TypeVar("Stage", bound=Callable[..., Tensor])

Days = Tensor | Sequence[float]
"""Days from one origin, (T,)."""

Features = Mapping[str, tuple[Tensor, Days]]
"""Per stream (``"lr"``, ``"hr"``, ``"sar"``): features (T, H, W, L) and the days of their dates."""


def _computing(stage: Stage) -> Stage:
    """Let a stage compute without gradients, in the precision of its engine."""

    @wraps(stage)
    def exactly(self: Engine, *args: Any, **kwargs: Any) -> Tensor:
        with torch.inference_mode(), products(self.precision):
            return stage(self, *args, **kwargs)

    return cast("Stage", exactly)


class Engine:
    """Inference with a `Tamrf`, in stages between which a caller may crop.

    Zero padding applies at the edges of the arrays given, as in the network: a caller that cuts
    tiles passes halos (`NetworkConfig.hr_halo`, `NetworkConfig.lr_halo`) and crops what the cut
    edges spoilt: `NetworkConfig.encoder_reach` pixels after `encode_hr`, `lr_halo` less the
    decoder's margin after `encode_lr`, `tamrf_xr.model.levels.decoder_reach` pixels after
    `decode`. Features are channels last, so
    cropping is slicing: ``features[:, y0:y1, x0:x1]``; nothing is copied.

    Parameters
    ----------
    model
        The network; its weights are copied, so later changes of it are not seen.
    device
        Where to compute.
    precision
        What is computed in, whatever is faster (`tamrf_xr.model.precision.fastest` tells that)
        and whatever the process allows: float32 is float32, on CUDA too.
    pixels
        Pixels of a block of the transformer; None for what suits the device.
    rows
        Rows of a strip of the convolutions; None for what suits the device.
    kernels
        Compute with the kernels of `tamrf_xr.model.kernels` where they agree with the general
        path, which is tried here; see `tamrf_xr.model.stages.build`.

    Raises
    ------
    ModelError
        If `precision` is unknown, or beyond the card, or `kernels` are demanded and cannot be.
    """

    def __init__(
        self,
        model: Tamrf,
        *,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
        pixels: int | None = None,
        rows: int | None = None,
        kernels: bool | None = None,
    ) -> None:
        device = torch.device(device)
        self.config = model.config
        if precision not in DTYPES:
            raise ModelError(f"precision must be one of {', '.join(DTYPES)}, got {precision!r}")
        if precision == "bfloat16":
            check_card(device)
        self.device, self.precision, self.dtype = device, precision, DTYPES[precision]
        self._copies = _stream(device)
        self.pixels = pixels
        self.placement = placed(device, self.dtype, rows)
        self.stages = build(model, self.placement, precision, kernels=kernels)
        self._encoders, self._pixels = self.stages.encoders, self.stages.pixels
        decoder = telling(self.stages.decoder, model, device)
        self.drawing = Drawing(decoder, model, device, self.placement.batch)
        self.attended = self.config.width + told_of(self.drawing.parts)
        self._most = self.config.bands * (1 if model.errors is None else 2)

    def dates_at_once(self, sensor: str, height: int, width: int) -> int:
        """Return how many dates of a stream a GPU encodes together; 0 on a CPU."""
        if not self.placement.memory:
            return 0
        return self._encoders[sensor].images_at_once(height, width)

    def upload(self, images: npt.NDArray[Any]) -> Tensor:
        """Bring an array to the device, beside what the device is computing.

        Parameters
        ----------
        images
            Any shape and type: integers travel as integers.

        Returns
        -------
        Tensor
            On a CPU, the same memory.
        """
        tensor = torch.from_numpy(images)
        if self._copies is None:
            return tensor.to(self.device)
        with torch.cuda.stream(self._copies):
            there = tensor.pin_memory().to(self.device, non_blocking=True)
        now = torch.cuda.current_stream(self.device)
        now.wait_stream(self._copies)
        there.record_stream(now)
        return there

    def download(self, bands: Tensor) -> Tensor:
        """Bring a tensor to the CPU, through memory that the device writes directly.

        Parameters
        ----------
        bands
            Any tensor of the device.

        Returns
        -------
        Tensor
            Contiguous, on the CPU.
        """
        pinned = self.device.type == "cuda"
        here = torch.empty(bands.shape, dtype=bands.dtype, pin_memory=pinned)
        return here.copy_(bands)

    @_computing
    def encode_hr(self, x: Tensor, *, row: int = 0) -> Tensor:
        """Encode the high-resolution sensor.

        Parameters
        ----------
        x
            Standardised float32 (T, C, H, W).
        row
            Which row of the scene its first one is: tiles that tell it round alike.

        Returns
        -------
        Tensor
            Features (T, H, W, L), contiguous, on the engine's device and in its type.

        Raises
        ------
        ModelError
            If `x` does not have the sensor's bands.
        """
        return self._encode("hr", x, self.config.hr_bands, row)

    @_computing
    def encode_lr(self, x: Tensor, *, row: int = 0) -> Tensor:
        """Encode the low-resolution sensor onto the high-resolution grid.

        Parameters
        ----------
        x
            Standardised float32 (T, C, h, w).
        row
            As of `encode_hr`, in rows of the sensor.

        Returns
        -------
        Tensor
            Features (T, ratio h, ratio w, L), contiguous, on the engine's device and in its type.

        Raises
        ------
        ModelError
            If `x` does not have the sensor's bands.
        """
        return self._encode("lr", x, self.config.lr_bands, row)

    @_computing
    def encode_sar(self, x: Tensor, *, row: int = 0) -> Tensor:
        """Encode radar at the high resolution; as `encode_hr`, of a network with that stream."""
        return self._encode("sar", x, self.config.sar_bands, row)

    @_computing
    def attend(self, features: Features, query_days: Days) -> Tensor:
        """Let the dates of each pixel attend to each other, and the queries to them.

        Parameters
        ----------
        features
            Features of each sensor, followed by what `measured` gives, any crop of them, and the
            days of their dates; a sensor may be absent or have zero dates. A date is not attended
            to where `tamrf_xr.model.attend.mark` says that it did not see a pixel.
        query_days
            Days asked for, (Q,).

        Returns
        -------
        Tensor
            Attended (Q, H, W, D), contiguous, on the engine's device and in its type; of weights
            with heads of `tamrf_xr.model.levels`, what they tell more.

        Raises
        ------
        ModelError
            If there is no date at all, or shapes do not go together.
        """
        task = self._task(features, query_days)
        H, W = next(iter(task.maps.values())).shape[1:3]
        out = self._empty(task.queries, H, W, self.attended)
        self._attend_rows(task, 0, out)
        self._tell_rows(task, 0, out)
        return out

    @_computing
    def decode(self, attended: Tensor, *, channels: Sequence[int] | None = None) -> Tensor:
        """Turn attended maps into bands.

        Parameters
        ----------
        attended
            Of `attend`, or any crop of it in y and x.
        channels
            Output channels wanted, in this order; None for all bands (of LR, then of HR). From
            `NetworkConfig.bands` on: the standard deviations of their errors, likewise.

        Returns
        -------
        Tensor
            float32 (Q, channels, H, W): reflectance 0..1, LST in kelvin / 1000.

        Raises
        ------
        ModelError
            If a channel does not exist; those of errors do where the weights tell them.
        """
        index = self.channels(channels)
        count = self.config.bands if index is None else len(index)
        Q, H, W, _ = attended.shape
        out = torch.empty((Q, count, H, W), device=self.device)
        self.drawing(attended, out, index)
        return out

    @_computing
    def reconstruct(
        self, features: Features, query_days: Days, *, channels: Sequence[int] | None = None
    ) -> Tensor:
        """Attend and decode by strips of rows: what `attend` then `decode` give, in less memory.

        Parameters
        ----------
        features, query_days
            As for `attend`.
        channels
            As for `decode`.

        Returns
        -------
        Tensor
            As of `decode`, (Q, channels, H, W).

        Raises
        ------
        ModelError
            As `attend` and `decode`.
        """
        task = self._task(features, query_days)
        rows, width = next(iter(task.maps.values())).shape[1:3]
        attend, tell = partial(self._attend_rows, task), partial(self._tell_rows, task)
        return by_strips(self, attend, tell, (task.queries, rows, width), channels=channels)

    def predict(
        self,
        lr: Tensor | None,
        lr_days: Days | None,
        hr: Tensor | None,
        hr_days: Days | None,
        *,
        query_days: Days,
        sar: Tensor | None = None,
        sar_days: Days | None = None,
    ) -> Tensor:
        """Encode, attend and decode.

        Parameters
        ----------
        lr, hr
            Standardised float32 (T, C, h, w) and (T, C, H, W); None or T = 0 for none. Not a
            number where nothing was seen, as of `Tamrf.forward`.
        lr_days, hr_days
            Days of their dates, (T,).
        query_days
            Days asked for, (Q,).
        sar, sar_days
            As `hr` and `hr_days`, of a network with that stream.

        Returns
        -------
        Tensor
            float32 (Q, bands, H, W): LR bands, then HR bands; reflectance, LST in kelvin / 1000.

        Raises
        ------
        ModelError
            If there is no date at all, or shapes do not go together.
        """
        features: dict[str, tuple[Tensor, Days]] = {}
        if lr is not None and lr_days is not None:
            features["lr"] = self._predicted_from("lr", lr), lr_days
        if hr is not None and hr_days is not None:
            features["hr"] = self._predicted_from("hr", hr), hr_days
        if sar is not None and sar_days is not None:
            features["sar"] = self.encode_sar(sar), sar_days
        return self.reconstruct(features, query_days)

    def _predicted_from(self, sensor: str, x: Tensor) -> Tensor:
        seen = x.nan_to_num()
        encode = self.encode_lr if sensor == "lr" else self.encode_hr
        return joined(encode(seen), self.measured(sensor, seen, x.isnan()))

    def measured(self, sensor: str, x: Tensor, unseen: Tensor | None = None) -> Tensor | None:
        """Return what features of a stream are followed by, (T, H, W, C): pixels as measured.

        Parameters
        ----------
        sensor
            Stream.
        x
            As for its encoder.
        unseen
            (T, C, y, x), where a band was not seen.

        Returns
        -------
        Tensor or None
            On the device, in its type; None if no head of the weights takes dates of the stream.
        """
        if all(part.stream != sensor for part in self.drawing.parts):
            return None
        ratio = self.config.ratio if sensor == "lr" else 1
        return measured(x, unseen, ratio).to(self.dtype)

    def _encode(self, sensor: str, x: Tensor, bands: int, row: int) -> Tensor:
        check_stream(self.config, sensor)
        if x.dim() != 4 or x.shape[1] != bands:
            raise ModelError(
                f"encode_{sensor} needs (dates, {bands} bands, y, x), got {tuple(x.shape)}; "
                "give the bands of the network, in its order"
            )
        return self._encoders[sensor](x, row)

    def _task(self, features: Features, query_days: Days) -> Task:
        given = {sensor: features[sensor] for sensor in self.config.streams if sensor in features}
        if set(features) - set(given):
            raise ModelError(
                f"features of {sorted(features)}: the sensors are {list(self.config.streams)}"
            )
        days = {s: torch.as_tensor(d, dtype=torch.float64) for s, (_, d) in given.items()}
        for sensor, (maps, _) in given.items():
            drawn = any(part.stream == sensor for part in self.drawing.parts)
            more = getattr(self.config, f"{sensor}_bands") if drawn else 0
            check_maps(sensor, maps, days[sensor], self.config.latent, more=more)
        kept = [sensor for sensor in given if len(days[sensor])]
        if not kept:
            raise ModelError(
                "nothing to predict from: both sensors are missing or have zero dates; "
                "give lr, hr, or both at least one date"
            )
        sizes = {sensor: tuple(given[sensor][0].shape[1:3]) for sensor in kept}
        if len(set(sizes.values())) > 1:
            raise ModelError(f"features must be on one grid, got {sizes} pixels (y, x); crop them")
        asked_days = torch.as_tensor(query_days, dtype=torch.float64)
        asked = self._pixels.ask({sensor: days[sensor] for sensor in kept}, asked_days)
        moments = self.moments(days, asked_days)
        features_kept = [given[sensor][0] for sensor in kept]
        holes = self.device.type == "cpu" or any(
            bool(part[..., 0].isnan().any()) for part in features_kept
        )
        dated = dict(zip(kept, features_kept, strict=True))
        return Task(dated, asked, holes, moments, self._weighed(dated))

    def _weighed(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            part.name: torch.full(maps[part.stream].shape[:3], torch.inf, device=self.device)
            for part in self.drawing.parts
            if part.stream in maps
        }

    def moments(self, days: Mapping[str, Days], query_days: Days) -> dict[str, Moments]:
        """Return `LevelHead.moments` on the device, by name, of heads whose sensor has dates."""
        parts = [part for part in self.drawing.parts if len(days.get(part.stream, ()))]
        place = partial(torch.as_tensor, dtype=torch.float64, device=self.device)
        return {
            part.name: self.drawing.heads[part.name].moments(
                place(days[part.stream]), place(query_days)
            )
            for part in parts
        }

    def _attend_rows(self, task: Task, first: int, out: Tensor) -> None:
        """Fill tokens of `out` (Q, rows, W, D) from row `first` of the features on."""

        def attend(y: slice, x: slice) -> None:
            at = slice(first + y.start, first + y.stop)
            tokens = self._pixels.load([maps[:, at, x] for maps in task.maps.values()], task.asked)
            absent = unmark(tokens) if task.holes else None
            encoded = self._pixels.transform(tokens, task.asked, absent)
            answer = self._pixels.answer(encoded, task.asked, absent)
            maps = out[:, y, x, : self.config.width]
            maps.copy_(answer.view(maps.shape))
            self._weigh(task, (at, x), encoded, absent)

        blocks = footprint.blocks(out.shape[1], out.shape[2], self._block(task))
        over_blocks(attend, blocks, self.device)

    def _weigh(
        self, task: Task, at: tuple[slice, slice], encoded: Tensor, absent: Tensor | None
    ) -> None:
        """Keep what dates weigh at a block, computed in float32."""
        dates = task.dates()
        for part in self.drawing.parts:
            if part.name not in task.weighed:
                continue
            of, head = dates[part.stream], self.drawing.heads[part.name]
            unseen = None if absent is None else absent[:, of]
            own = head.weighed(self._values(task, part, at), encoded[:, of].float(), unseen)
            block = task.weighed[part.name][:, *at]
            block.copy_(own.T.view(block.shape))

    def _values(self, task: Task, part: Part, at: tuple[slice, slice]) -> Tensor:
        """Return what was measured at a block, (P, N, B)."""
        values = task.maps[part.stream][:, *at, self.config.latent :][..., part.bands]
        return values.permute(1, 2, 0, 3).flatten(0, 1).float()

    def _tell_rows(self, task: Task, first: int, out: Tensor) -> None:
        """Fill what heads tell of `out` (Q, rows, W, D) from row `first` of the features on."""
        known = Known(task.weighed, task.moments, partial(self._values, task))
        self.drawing.tell(out, first, known, self._block(task))

    def _block(self, task: Task) -> int:
        dates, gpu = len(task.asked.constant), self.device.type != "cpu"
        return self.pixels or footprint.block_pixels(dates, gpu=gpu)

    def reach(self, channels: Sequence[int] | None) -> int:
        """Return the pixels around one of which channels are made: `levels.decoder_reach`."""
        return decoder_reach(self.config, self.drawing.parts, channels)

    def channels(self, channels: Sequence[int] | None) -> Tensor | None:
        """Return output channels on the device; None for all.

        Raises
        ------
        ModelError
            If one does not exist.
        """
        if channels is None:
            return None
        wrong = [c for c in channels if not 0 <= c < self._most]
        if wrong or not len(channels):
            raise ModelError(
                f"output channels must be some of 0..{self._most - 1}, got {list(channels)}"
            )
        return torch.tensor(list(channels), device=self.device)

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, device=self.device, dtype=self.dtype)


def _stream(device: torch.device) -> torch.cuda.Stream | None:
    if device.type != "cuda":
        return None
    return torch.cuda.Stream(device)
