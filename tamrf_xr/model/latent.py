"""What all query dates attend to, kept: tokens after attention among dates, and what is made of it.

N dates of both sensors, Q query dates, D token width, H W grid, P pixels of a block. Where weights
know levels of days, tokens are followed by what the heads of a sensor take of each date (`seen` of
`tamrf_xr.model.levels`), and by zeros where those of the other take more: D is so much more then.

Tokens are the output of a LayerNorm: each has mean 0 and deviation 1 over its channels before
weight and bias. So these say how far a channel reaches, the same for all pixels, dates and scenes,
and integers need no pass over the data; see docs/decisions/018-beyond.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor

from tamrf_xr.errors import ModelError
from tamrf_xr.model import footprint
from tamrf_xr.model.attend import mark, unmark
from tamrf_xr.model.config import OPTICAL
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.form import NOTHING, Form
from tamrf_xr.model.levels import CLEAREST, HEADS, TEMPERATURE, Known, Part, parts_of, seen
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.precision import products
from tamrf_xr.model.strips import by_strips
from tamrf_xr.model.threads import over_blocks

KINDS: Final = {"int8": torch.int8, "bfloat16": torch.int16, "float32": torch.float32}
"""How tokens are kept; bfloat16 as its bits."""

DEVIATIONS: Final = 5.0
"""Of a LayerNorm's output that int8 spans on either side; the rest is clipped."""

MOST: Final = 127

REFLECTANCES: Final = -0.1, 1.2
KELVINS: Final = 0.2, 0.35
"""What int8 spans of values beside tokens: reflectance, and temperature in kelvin / 1000."""


def form_of(model: Tamrf, kind: str, *, margin: int = 0) -> Form:
    """Return how tokens of a network are kept.

    Raises
    ------
    ModelError
        If the network has no layer, so that nothing bounds its tokens, and integers are asked.
    """
    spans = _spans(model)
    width = model.config.width + len(spans)
    if kind != "int8":
        return Form(kind, (1.0,) * width, (0.0,) * width, margin)
    if not model.config.num_layers:
        raise ModelError(
            "int8 takes its scales from the LayerNorm that ends the last layer among dates, and "
            "this network has no such layer (num_layers=0): pass dtype='bfloat16' or 'float32'"
        )
    last = f"layers.{model.config.num_layers - 1}.norm2"
    weight, bias = (
        model.get_parameter(f"{last}.{name}").detach().cpu().float() for name in ("weight", "bias")
    )
    step = (DEVIATIONS / MOST) * weight.abs()
    step[step == 0] = 1.0  # a channel that is its bias
    scale = (*step.tolist(), *((high - low) / 2 / MOST for low, high in spans))
    return Form(kind, scale, (*bias.tolist(), *((low + high) / 2 for low, high in spans)), margin)


class Rounding:
    """A `Form` at work on a device."""

    def __init__(self, form: Form, engine: Engine) -> None:
        self.kind, self.dtype = form.kind, engine.dtype
        self.scale, self.offset = (
            torch.tensor(values, device=engine.device) for values in (form.scale, form.offset)
        )

    def keep(self, tokens: Tensor) -> Tensor:
        """Round tokens (..., D)."""
        if self.kind == "bfloat16":
            return tokens.bfloat16().view(torch.int16)
        if self.kind == "float32":
            return tokens.float()
        units = (tokens.float() - self.offset).div_(self.scale)
        units = units.round_().clamp_(-MOST, MOST)
        return units.nan_to_num_(NOTHING[self.kind]).to(torch.int8)

    def restore(self, kept: Tensor, channels: Sequence[int] | None = None) -> Tensor:
        """Return tokens (..., D), or these channels of them, in the engine's type.

        Not a number where none were made.

        Of dates that did not see a pixel, the first channel is no number: see `attend.mark`.
        """
        if self.kind == "bfloat16":
            return kept.view(torch.bfloat16).to(self.dtype)
        if self.kind == "float32":
            return kept.to(self.dtype)
        which = slice(None) if channels is None else list(channels)
        tokens = kept.float().mul_(self.scale[which]).add_(self.offset[which])
        return tokens.masked_fill_(kept == NOTHING[self.kind], torch.nan).to(self.dtype)


def encode_tokens(
    engine: Engine, features: Mapping[str, Tensor], days: Mapping[str, Sequence[float]], form: Form
) -> Tensor:
    """Let the dates of each pixel attend to each other, and keep what becomes of them.

    Parameters
    ----------
    engine
        The network.
    features
        Per sensor (``"lr"``, ``"hr"``), (T, H, W, L): what its encoder gave.
    days
        Per sensor, days of its dates from one origin.
    form
        How tokens are kept.

    Returns
    -------
    Tensor
        (N, D, H, W), dates of ``"lr"`` first, on the engine's device.
    """
    maps = [features[name] for name in engine.config.streams if name in features]
    given = {sensor: torch.as_tensor(days[sensor], dtype=torch.float64) for sensor in features}
    _, height, width, _ = maps[0].shape
    rounding = Rounding(form, engine)
    with torch.inference_mode(), products(engine.precision):
        pixels = engine.stages.pixels
        asked = pixels.ask(given, torch.zeros(1, dtype=torch.float64))
        dates = len(asked.constant)
        shape = (dates, len(form.scale), height, width)
        out = torch.empty(shape, dtype=KINDS[form.kind], device=engine.device)

        def keep(y: slice, x: slice) -> None:
            tokens = pixels.load([m[:, y, x] for m in maps], asked)
            absent = unmark(tokens)
            tokens = pixels.transform(tokens, asked, absent)
            if engine.drawing.parts:
                crops = {name: features[name][:, y, x] for name in days if len(days[name])}
                tokens = _with_seen(engine, tokens, crops)
            block = out[:, :, y, x]
            kept = rounding.keep(tokens if absent is None else mark(tokens, absent))
            kept = kept.view(*block.shape[2:], *block.shape[:2])
            block.copy_(kept.permute(2, 3, 0, 1))

        over_blocks(keep, footprint.blocks(height, width, _block(engine, dates)), engine.device)
    return out


def decode_tokens(
    engine: Engine,
    kept: Tensor,
    query_days: Sequence[float],
    form: Form,
    *,
    days: Mapping[str, Sequence[float]],
    channels: Sequence[int] | None = None,
) -> Tensor:
    """Answer query dates from tokens that were kept.

    Parameters
    ----------
    engine
        The network that made them.
    kept
        (N, D, H, W), as of `encode_tokens`, any crop of it.
    query_days
        Days asked for, (Q,), from the same origin.
    form
        How they are kept.
    days
        Per stream, days of its dates, in the order of tokens.
    channels
        As for `Engine.decode`.

    Returns
    -------
    Tensor
        As of `Engine.decode`, (Q, channels, H, W); not a number within the decoder's reach of
        tokens that were not made.
    """
    pixels, rounding = engine.stages.pixels, Rounding(form, engine)
    width, owned = engine.config.width, _dates_of(days)
    beside = {part.name: channels for part, channels in _kept_of(engine.drawing.parts)}
    weighed = {
        name: torch.full((of.stop - of.start, *kept.shape[2:]), torch.inf, device=engine.device)
        for name in beside
        if (of := owned[HEADS[name]]).stop > of.start
    }

    def attend(first: int, out: Tensor) -> None:
        def answer(y: slice, x: slice) -> None:
            at = slice(first + y.start, first + y.stop)
            some = kept[:, :, at, x].permute(2, 3, 0, 1).flatten(0, 1)  # (P, N, D)
            tokens = rounding.restore(some.clone())  # marks are taken off: not of what is kept
            absent = unmark(tokens)
            found = pixels.answer(tokens[..., :width], asked, absent)
            block = out[:, y, x]
            block[..., :width].copy_(found.view(*block.shape[:3], width))
            for name, maps in weighed.items():
                of = owned[HEADS[name]]
                own = tokens[:, of, width + beside[name][0]].float().nan_to_num(nan=-torch.inf)
                if absent is not None:
                    own.masked_fill_(absent[:, of], -torch.inf)
                maps[:, at, x] = own.T.unflatten(1, block.shape[1:3])

        blocks = footprint.blocks(out.shape[1], out.shape[2], _block(engine, len(kept)))
        over_blocks(answer, blocks, engine.device)

    def values(part: Part, at: tuple[slice, slice]) -> Tensor:
        channels = [width + channel for channel in beside[part.name][1:]]
        some = kept[owned[part.stream], :, *at][:, channels].permute(2, 3, 0, 1).flatten(0, 1)
        return rounding.restore(some, channels).float()

    with torch.inference_mode(), products(engine.precision):
        asked = pixels.ask(
            {OPTICAL[0]: torch.zeros(1, dtype=torch.float64)},  # of no effect on what is answered
            torch.as_tensor(query_days, dtype=torch.float64),
        )
        known = Known(weighed, engine.moments(days, query_days), values)
        tell = partial(engine.drawing.tell, known=known, pixels=_block(engine, len(kept)))
        size = (len(query_days), *kept.shape[2:])
        return by_strips(
            engine, attend, lambda first, out: tell(out, first), size, channels=channels
        )


def _dates_of(days: Mapping[str, Sequence[float] | Tensor]) -> dict[str, slice]:
    """Return where the dates of each stream are among tokens."""
    found, first = {}, 0
    for stream in OPTICAL:
        found[stream] = slice(first, first + len(days.get(stream, ())))
        first = found[stream].stop
    return found


def _kept_of(parts: Sequence[Part]) -> Iterator[tuple[Part, list[int]]]:
    """Give per head where beside a token of its sensor it is kept what it takes of a date.

    Reflectance comes first, of all sensors in the same channels, then temperature, and weights
    last: a channel has one step, and holds what is alike.
    """
    reflectance = [part for part in parts if part.name != TEMPERATURE]
    widest = max((len(part.channels) for part in reflectance), default=0)
    thermal = [part for part in parts if part.name == TEMPERATURE]
    after = widest + len(thermal)
    for part in reflectance:
        yield part, [after, *range(len(part.channels))]
    for part in thermal:
        yield part, [after + any(one.stream == part.stream for one in reflectance), widest]


def _spans(model: Tamrf) -> list[tuple[float, float]]:
    """Return the least and the most that integers tell of the channels beside a token."""
    found: dict[int, tuple[float, float]] = {}
    std, mean = (
        torch.cat([model.get_buffer(f"{stream}_{kind}") for stream in OPTICAL]).tolist()
        for kind in ("std", "mean")
    )
    for part, beside in _kept_of(parts_of(model)):
        odds, *values = beside
        found[odds] = (-CLEAREST, CLEAREST)
        for place, channel in zip(values, part.channels, strict=True):
            span = KELVINS if part.name == TEMPERATURE else REFLECTANCES
            low, high = ((limit - mean[channel]) / std[channel] for limit in span)
            other = found.get(place, (low, high))
            found[place] = min(low, other[0]), max(high, other[1])
    return [found[place] for place in sorted(found)]


def _with_seen(engine: Engine, tokens: Tensor, features: Mapping[str, Tensor]) -> Tensor:
    """Return tokens (P, N, D) with what heads take of features (T, y, x, L) beside them."""
    parts = engine.drawing.parts
    kept = 1 + max(max(beside) for _, beside in _kept_of(parts))
    more = tokens.new_zeros((*tokens.shape[:2], kept), dtype=torch.float32)
    owned = _dates_of(features)
    for part, beside in _kept_of(parts):
        if part.stream in features:
            own, at = features[part.stream], owned[part.stream]
            values = own[..., engine.config.latent :][..., part.bands]
            values = values.permute(1, 2, 0, 3).flatten(0, 1).float()
            weighed = engine.drawing.heads[part.name].weighed(values, tokens[:, at].float())
            kept_of_date = seen(weighed, values)
            # Integers have a number for nothing, none for an infinity.
            kept_of_date[..., 0].masked_fill_(weighed.isneginf(), torch.nan)
            more[:, at, beside] = kept_of_date
    return torch.cat([tokens.float(), more], dim=-1)


def _block(engine: Engine, dates: int) -> int:
    return engine.pixels or footprint.block_pixels(dates, gpu=engine.device.type != "cpu")
