"""Levels of days: what was measured on the days nearest to one, beside the decoder.

A decoder that was trained on some lands draws all to their mean, and averages away what single
pixels have of their own. So what it makes is drawn towards levels, which are weighted means over
the dates that a sensor saw the pixel, and straight lines through them (local linear regression,
[1]_). A date weighs by what its token tells, no mask is read, and by how near it is. Three heads do
so, each with the dates of its own sensor; they are fitted after the network
(`tamrf_xr.training.levels`).

`ReflectanceHead`, of Sentinel-2 and of Landsat: a share of the way to one line, less where few
clear dates are near, as a mean that is shrunk. A date weighs by how likely it is to be clear, and
by the squared error that it looks to have; no more than at the pixels around (`least`), as edges of
clouds look clear. What a sensor sees is coarser than what the decoder makes of it: pixels of the
line are compared with the mean of those that the sensor sees as one, so that the decoder's detail
stays.

`TemperatureHead`: how far to draw to each of several levels follows from how near, how many and how
spread dates are, how they differ, and from what was attended to. A day is warmer or colder over
more ground than a pixel: what the temperature is moved by is averaged over `AVERAGED` pixels.

Dates of Landsat tell of Sentinel-2's bands, too (`JoinedHead`): what they measured, less what the
decoder makes of their own bands, brought to the other's by regression, and weighed with the rest.

Shapes: P pixels, N dates of a sensor, Q query dates, B bands, H reaches, D token width.

References
----------
.. [1] Fan and Gijbels, "Local Polynomial Modelling and Its Applications", 1996, section 2.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamrf_xr.errors import ModelError
from tamrf_xr.model import footprint
from tamrf_xr.model.config import OPTICAL
from tamrf_xr.model.threads import over_blocks

if TYPE_CHECKING:
    from tamrf_xr.model.config import NetworkConfig
    from tamrf_xr.model.network import Tamrf
    from tamrf_xr.model.stages import Decode

TEMPERATURE: Final = "temperature"
"""Name of the head of Landsat's temperature."""

HEADS: Final = {TEMPERATURE: "lr", "levels_lr": "lr", "levels_hr": "hr"}
"""Streams of the heads, by their names, which are those of their tensors in a checkpoint."""

AVERAGED = 3
"""Pixels of 10 m on every side over which the temperature is moved alike: 70 m across."""

REACHES = (6.0, 20.0, 60.0)
"""Days in which the weight of a date falls by e, of the temperature's head, to learn from."""

REACH, NEAR, NEARER = 12.0, 2.0, 3.0
"""Of heads of reflectance: nearness is the sum of what falls by e in so many days, and of `NEARER`
times what falls in `NEAR`. These numbers: docs/decisions/024-levels-of-reflectance.md."""

SHARE, ENOUGH = 0.75, 0.2
"""How far to draw reflectance at most; the weight of dates at which it is half of that, where a
typical clear date weighs 1."""

LENIENT = 3.0
"""Log odds against a date at which it weighs half of what it would if it were clear for certain:
in lands that no training saw, clear dates look doubtful."""

BETTER, WORSE = 0.5, 1.7
"""Powers of one over squared errors by which a date weighs that looks better than a typical clear
one, and worse: such errors are of clouds, which more dates do not average out."""

NEIGHBOURS = 1
"""Pixels of 10 m on every side whose least weight a date has."""

OTHER = 0.5
"""What a date of Landsat weighs to bands of Sentinel-2, of what it weighs to its own."""

SLACK_R, SLACK = 0.05, 0.3
"""Squared months by which slopes are held back, of reflectance; and of temperature, to start."""

MONTH = 30.0
"""Days; the unit of time of a head."""

FARTHEST = 183
"""Days; a line takes dates that are farther from a query as so far, and gates read no more. Heads
learn from what is nearer, and lines of years ago lead anywhere."""

CLEAREST = 8.0
"""Largest logarithm of the weight of a date."""

_LEAST = 1e-4
"""Of a variance of values: where one date weighs nearly all, rounding alone is left."""

_LOST = 1e-30
"""Of a sum of weights, 1 at the nearest date: less is nothing, or rounded."""

_ALL = 1e-3
"""A share is told to so much of the largest: rounded, it might be that, of infinite weight."""

_MASSES = 3.0
"""Brings the logarithm of a weight to the size of the other things that gates read."""

_SIZED, _GATES = ("log_reach", "clear1.bias"), ("context", "gate1")
"""Tensors that tell the sizes of a head; and layers, of the temperature's."""

Moments = tuple[Tensor, Tensor]
"""Of `LevelHead.moments`."""


@dataclass(frozen=True, slots=True)
class Levels:
    """What dates near queries tell of a pixel; by reach of time, (P, H, Q) where not said."""

    total: Tensor
    """Weight of all dates, over that of nearness of the nearest."""

    lost: Tensor
    """Where that is nothing."""

    apart: Tensor
    """Mean of months from the query."""

    near: Tensor
    """Mean of their size."""

    spread: Tensor
    """Variance of months."""

    mean: Tensor
    """Of values, (P, B, H, Q)."""

    line: Tensor
    """At the query, (P, B, H, Q)."""


class LevelHead(nn.Module):
    """What dates weigh, and the levels that they make.

    Parameters
    ----------
    width
        D, channels of a token.
    reaches
        H reaches of time, in days: in which the weight of a date falls by e.
    clear
        Channels of what tells clear dates.
    told
        How many things this tells of a date; the log odds that it is clear come first.
    slack
        See `SLACK`.
    """

    neighbours = 0
    """Pixels on every side whose least weight a date has, see `least`."""

    def __init__(
        self, width: int, reaches: tuple[float, ...], clear: int, *, told: int, slack: float
    ) -> None:
        super().__init__()
        self.clear1, self.clear2 = nn.Linear(width, clear), nn.Linear(clear, told)
        self.log_reach = nn.Parameter(torch.tensor(reaches).log())
        self.log_slack = nn.Parameter(torch.full((len(reaches),), slack).log())

    def tell(self, encoded: Tensor) -> Tensor:
        """Return what tokens (..., D) tell of dates, (..., told)."""
        told: Tensor = self.clear2(functional.relu(self.clear1(encoded)))
        return told

    @abstractmethod
    def log_weight(self, told: Tensor) -> Tensor:
        """Return the logarithm of what dates weigh, (..., 1), of what `tell` gives."""

    def falls(self, days: Tensor) -> Tensor:
        """Return the logarithm of the nearness of dates (N, H, Q) so many days away (N, Q)."""
        return -days[:, None] / self.log_reach.exp()[:, None]

    def moments(self, days: Tensor, query_days: Tensor) -> Moments:
        """Return what days (N,) and queries (Q,) fix for all pixels.

        Returns
        -------
        weighted : Tensor
            (N, 4, H, Q): the weight of nearness, and it times the months between, their square and
            their size.
        nearest : Tensor
            (H, Q): the logarithm of the weight of the nearest date, which the former is divided by.
        """
        apart = (days[:, None] - query_days).to(self.log_reach)
        falls = self.falls(apart.abs())
        nearest = falls.amax(dim=0)
        weight = (falls - nearest).exp()
        apart = apart.clamp(-FARTHEST, FARTHEST) / MONTH
        powers = torch.stack([torch.ones_like(apart), apart, apart**2, apart.abs()], dim=1)
        return weight[:, None] * powers[:, :, None], nearest

    def weighed(self, values: Tensor, encoded: Tensor, absent: Tensor | None = None) -> Tensor:
        """Return the logarithm of what dates weigh, (P, N); none where they saw nothing.

        Parameters
        ----------
        values
            (P, N, B), standardised, of `measured`; not a number where a band was not seen: such a
            date is of no weight.
        encoded
            Tokens behind the transformer, (P, N, D).
        absent
            Dates that did not see a pixel, (P, N): likewise.
        """
        unseen = values.isnan().any(dim=-1)
        if absent is not None:
            unseen |= absent
        weight = self.log_weight(self.tell(encoded))[..., 0].clamp(-CLEAREST, CLEAREST)
        return weight.masked_fill(unseen, -torch.inf)

    def levels(self, seen: Tensor, weighted: Tensor) -> Levels:
        """Return levels of what dates tell, (P, N, 1 + B), of `seen` and `moments`."""
        values, clear = seen[..., 1:].transpose(1, 2), weights(seen)
        total, *sums = _sums(clear, weighted)
        longest = self.log_reach.argmax(keepdim=True)
        apart, squared, near = (_ratio(one, total, longest) for one in sums)
        by_band = _sums(clear[:, None] * values, weighted[:, :2])
        mean, product = (_ratio(one, total[:, None], longest) for one in by_band)
        spread = (squared - apart**2).clamp(min=0)
        slack = (spread + self.log_slack.exp()[:, None])[:, None]
        slope = (product - apart[:, None] * mean) / slack
        lost = total < _LOST
        line = mean - slope * apart[:, None]
        return Levels(total.clamp(min=_LOST), lost, apart, near, spread, mean, line)


class ReflectanceHead(LevelHead):
    """A share of the way to the line of the nearest days.

    Of dates that together weigh w (`weights`, times nearness), SHARE w / (w + ENOUGH).

    Parameters
    ----------
    width
        D, channels of a token.
    clear
        Channels of what tells clear dates.
    """

    neighbours = NEIGHBOURS

    def __init__(self, width: int, *, clear: int = 16) -> None:
        super().__init__(width, (REACH,), clear, told=2, slack=SLACK_R)
        self.log_near = nn.Parameter(torch.tensor(NEAR).log())
        self.log_nearer = nn.Parameter(torch.tensor(NEARER).log())
        self.share = nn.Parameter(torch.tensor(SHARE))
        self.enough = nn.Parameter(torch.tensor(ENOUGH))

    def log_weight(self, told: Tensor) -> Tensor:
        """Return the logarithm of what dates weigh: of odds, and of one over squared errors."""
        odds, exact = told[..., :1], told[..., 1:]
        return functional.logsigmoid(odds + LENIENT) + torch.where(
            exact < 0, WORSE * exact, BETTER * exact
        )

    def falls(self, days: Tensor) -> Tensor:
        """Return the logarithm of the nearness of dates, (N, 1, Q)."""
        near = self.log_nearer - days[:, None] / self.log_near.exp()
        return torch.logaddexp(near, super().falls(days))

    def mass(self, share: Tensor) -> Tensor:
        """Return what the dates weigh together of which `forward` told a share."""
        share = share.clamp(max=(1 - _ALL) * self.share)
        mass: Tensor = self.enough * share / (self.share - share)
        return mass

    def forward(self, seen: Tensor, attended: Tensor, asked: Moments) -> Tensor:  # noqa: ARG002
        """Return share and offsets (Q, P, 1 + B): b, standardised, is to be b - share b + offset.

        All are 0 where no date saw the pixel. Arguments as of `TemperatureHead.forward`.
        """
        weighted, nearest = asked
        told = self.levels(seen, weighted)
        weight = told.total * nearest.exp()
        share = (self.share * weight / (weight + self.enough))[:, None]
        both = torch.cat([share, share * told.line], dim=1).masked_fill(told.lost[:, None], 0.0)
        return both[:, :, 0].permute(2, 0, 1)


class JoinedHead(ReflectanceHead):
    """Reflectance of a sensor of which dates of another one tell, too.

    Parameters
    ----------
    width
        D, channels of a token.
    bands
        B' and B: reflectances of the other sensor, and of this one.
    clear
        Channels of what tells clear dates.
    """

    def __init__(self, width: int, bands: tuple[int, int], *, clear: int = 16) -> None:
        super().__init__(width, clear=clear)
        self.other = nn.Parameter(torch.tensor(OTHER))
        self.slopes = nn.Parameter(torch.zeros(bands))

    def joined(
        self, other: ReflectanceHead, moves: Sequence[Tensor], told: Sequence[Tensor]
    ) -> Tensor:
        """Return by how much bands are moved, (Q, B, H, W), as dates of both sensors tell.

        By itself a sensor whose dates weigh w moves its bands by m, SHARE w / (w + e) of how far
        they are from its line, e being `ENOUGH`. Those of the other, which weigh v and move theirs
        by m', count `OTHER`, o of it, and what they say is brought to this sensor's bands by
        slopes. Of how far each says that bands are off, all together move SHARE / (w + o v + e): w
        of one's own, o v of the other's, ((w + e) m + o (v + e) m' slopes) / (w + o v + e).

        Parameters
        ----------
        other
            The head of the other sensor.
        moves
            As the other, and this one, tell alone, (Q, B', H, W) and (Q, B, H, W).
        told
            The shares that they tell, (Q, 1, H, W).
        """
        v, w = (head.mass(share) for head, share in zip((other, self), told, strict=True))
        says = torch.einsum("qohw,ob->qbhw", moves[0], self.slopes)
        both = (w + self.enough) * moves[1] + self.other * (v + other.enough) * says
        return both / (w + self.other * v + self.enough)


class TemperatureHead(LevelHead):
    """How far to draw to several levels: gates that were learnt.

    Parameters
    ----------
    width
        D, channels of a token.
    reaches
        H reaches of time, in days, to start from.
    sizes
        Channels of: what tells clear dates, what is read of the attended token, the gates.
    """

    def __init__(
        self,
        width: int,
        *,
        reaches: tuple[float, ...] = REACHES,
        sizes: tuple[int, int, int] = (16, 8, 16),
    ) -> None:
        clear, context, gates = sizes
        super().__init__(width, reaches, clear, told=1, slack=SLACK)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.context = nn.Linear(width, context)
        self.gate1 = nn.Linear(5 * len(reaches) + context, gates)
        self.gate2 = nn.Linear(gates, 2 * len(reaches))

    def log_weight(self, told: Tensor) -> Tensor:
        """Return the logarithm of what dates weigh, by their odds."""
        return told * self.log_scale.exp()

    def forward(self, seen: Tensor, attended: Tensor, asked: Moments) -> Tensor:
        """Return share and offset (Q, P, 2): t, standardised, is to be t - share t + offset.

        Both are 0 where no date saw the pixel.

        Parameters
        ----------
        seen
            (P, N, 2), from `tamrf_xr.model.levels.seen`.
        attended
            (Q, P, D).
        asked
            From `moments`.
        """
        weighted, nearest = asked
        nearest = nearest.maximum(self.falls(nearest.new_full((1, 1), FARTHEST))[0])
        told = self.levels(seen, weighted)
        mean, line = told.mean[:, 0], told.line[:, 0]
        longest = self.log_reach.argmax(keepdim=True)
        squares = _sums(weights(seen) * seen[..., 1] ** 2, weighted[:, :1])[0]
        square = _ratio(squares, told.total.masked_fill(told.lost, 0.0), longest)
        scatter = (square - mean**2).clamp(min=_LEAST).sqrt()
        mass = (told.total.log() + nearest) / _MASSES
        about = [told.near, mass, told.apart, (told.spread + 1e-6).sqrt(), scatter]
        read = [torch.cat(about, dim=1).permute(2, 0, 1), self.context(attended).tanh()]
        gates: Tensor = self.gate2(functional.relu(self.gate1(torch.cat(read, dim=-1))))
        levels = torch.cat([mean, line], dim=1).permute(2, 0, 1)
        unseen = told.lost.index_select(1, longest).permute(2, 0, 1)
        found = [gates.sum(dim=-1), (gates * levels).sum(dim=-1)]
        return torch.stack(found, dim=-1).masked_fill(unseen, 0.0)


def seen(weighed: Tensor, values: Tensor) -> Tensor:
    """Return what dates tell, (P, N, 1 + B).

    Parameters
    ----------
    weighed
        (P, N), from `LevelHead.weighed`, or `least` of it.
    values
        (P, N, B), as there.
    """
    weighed = weighed[..., None]
    return torch.cat([weighed, values.masked_fill(weighed.isneginf(), 0.0)], dim=-1)


def least(weighed: Tensor, rows: slice, around: int) -> Tensor:
    """Return rows of maps (N, H, W) of `LevelHead.weighed`, the least of the pixels around each.

    Of those that the date saw. Edges of clouds look clear, as what lies beside them does not.
    """
    height = weighed.shape[1]
    low, high = max(rows.start - around, 0), min(rows.stop + around, height)
    own = weighed[:, rows]
    if not around:
        return own
    found = weighed[:, low:high]
    found = found.masked_fill(found.isneginf(), torch.inf)
    for axis in (1, 2):
        size, single = found.shape[axis], found.clone()
        for step in range(1, min(around, size - 1) + 1):
            for to, of in ((step, 0), (0, step)):
                part = found.narrow(axis, to, size - step)
                torch.minimum(part, single.narrow(axis, of, size - step), out=part)
    return own.where(own.isneginf(), found[:, rows.start - low : rows.stop - low])


def weights(seen: Tensor) -> Tensor:
    """Return what dates weigh, (P, N), of `seen`."""
    unseen = seen[..., 0].isneginf()
    weight = seen[..., 0].masked_fill(unseen, 0.0).exp()
    return weight.masked_fill(unseen, 0.0)  # so that gradients are numbers


def _sums(of: Tensor, weighted: Tensor) -> Tensor:
    """Sum over dates: (P, ..., N) by (N, K, H, Q) to (K, P, ..., H, Q)."""
    sums: Tensor = (of @ weighted.flatten(1)).unflatten(-1, weighted.shape[1:])
    return sums.movedim(-3, 0)


def _ratio(sums: Tensor, total: Tensor, longest: Tensor) -> Tensor:
    """Divide (P, ..., H, Q) by weights; of reaches that are lost, what the longest tells."""
    ratio = sums / total.clamp(min=_LOST)
    return torch.where(total < _LOST, ratio.index_select(-2, longest), ratio)


def reflectance_head(config: NetworkConfig, name: str, *, clear: int = 16) -> ReflectanceHead:
    """Return a head of the reflectance of a sensor: dates of Landsat tell of Sentinel-2.

    The other way around it is no nearer (docs/decisions/024-levels-of-reflectance.md).
    """
    if HEADS[name] == "lr":
        return ReflectanceHead(config.width, clear=clear)
    return JoinedHead(config.width, (config.lr_bands - 1, config.hr_bands), clear=clear)


def heads_of(
    state: Mapping[str, Tensor], config: NetworkConfig, *, where: str
) -> dict[str, LevelHead]:
    """Return the heads of the sizes that a checkpoint has, by name, on no device.

    Raises
    ------
    ModelError
        If a tensor that tells a size is not there, or has not one dimension.
    """
    found: dict[str, LevelHead] = {}
    for name in HEADS:
        if not any(key.startswith(f"{name}.") for key in state):
            continue
        reaches, clear = (_size(state, f"{name}.{part}", where) for part in _SIZED)
        if name == TEMPERATURE:
            context, gates = (_size(state, f"{name}.{part}.bias", where) for part in _GATES)
            sizes = clear, context, gates
            found[name] = TemperatureHead(config.width, reaches=(1.0,) * reaches, sizes=sizes)
        else:
            found[name] = reflectance_head(config, name, clear=clear)
    return found


def _size(state: Mapping[str, Tensor], key: str, where: str) -> int:
    found = state.get(key)
    if found is None or found.dim() != 1 or not len(found):
        shape = "not there" if found is None else f"of shape {tuple(found.shape)}"
        raise ModelError(
            f"{where}: {key} is {shape}, expected one dimension; the checkpoint is damaged"
        )
    return len(found)


@dataclass(frozen=True, slots=True)
class Part:
    """What one head of a network draws."""

    name: str
    """Of `HEADS`."""

    head: LevelHead
    """Which."""

    channels: range
    """Of the network's outputs, in their order."""

    first: int
    """Output that is the first band of its sensor."""

    at: slice
    """What it tells, of the channels that attended maps have more than a token."""

    compared: tuple[int, ...]
    """Per band, pixels of 10 m on every side whose mean is what the sensor sees."""

    alike: int
    """Pixels of 10 m on every side that are moved alike."""

    @property
    def stream(self) -> str:
        """Whose dates it reads."""
        return HEADS[self.name]

    @property
    def bands(self) -> slice:
        """Which bands of its sensor."""
        first = self.first
        return slice(self.channels.start - first, self.channels.stop - first)


def channels_of(config: NetworkConfig) -> dict[str, range]:
    """Return which outputs of a network each head draws, by name."""
    lr, hr = config.lr_bands, config.hr_bands
    return dict(zip(HEADS, (range(lr - 1, lr), range(lr - 1), range(lr, lr + hr)), strict=True))


def compared(model: Tamrf, name: str) -> tuple[int, ...]:
    """Return per band of a head the pixels of 10 m on every side that its sensor sees as one.

    None of the temperature, which is moved over more of them.
    """
    if name == TEMPERATURE:
        return (0,)
    sizes = [model.get_buffer(f"{stream}_resolution") for stream in ("lr", "hr")]
    sides = (torch.cat(sizes) / sizes[1].min()).round().int()
    return tuple(int(sides[channel]) // 2 for channel in channels_of(model.config)[name])


def parts_of(model: Tamrf) -> list[Part]:
    """List the heads that a network has, in order."""
    found, start = [], 0
    for name, channels in channels_of(model.config).items():
        head = getattr(model, name)
        if head is not None:
            at = slice(start, start + 1 + len(channels))
            first = model.config.lr_bands if HEADS[name] == "hr" else 0
            alike = AVERAGED if name == TEMPERATURE else 0
            found.append(Part(name, head, channels, first, at, compared(model, name), alike))
            start = at.stop
    return found


def told_of(parts: Iterable[Part]) -> int:
    """Return how many channels attended maps have more for what heads tell."""
    return max((part.at.stop for part in parts), default=0)


def decoder_reach(
    config: NetworkConfig, parts: Sequence[Part], channels: Iterable[int] | None = None
) -> int:
    """Return the pixels of 10 m around one of which channels, by default all, are made."""
    asked = range(config.bands) if channels is None else list(channels)
    drawn = {part.name == TEMPERATURE for part in parts for c in asked if c in part.channels}
    read = [part for part in parts if (part.name == TEMPERATURE) in drawn]
    told = (part.alike + part.head.neighbours for part in read)
    made = (config.decoder_reach + part.alike + max(part.compared) for part in read)
    return max([config.decoder_reach, *told, *made])


def measured(images: Tensor, unseen: Tensor | None, ratio: int) -> Tensor:
    """Return what a sensor measured, on the fine grid: (T, H, W, B), not a number where nothing.

    Pixels lie on straight lines between the centres of coarse ones that were seen.

    Parameters
    ----------
    images
        (T, B, y, x), standardised.
    unseen
        (T, B, y, x); None for nowhere.
    ratio
        Of the sizes of pixels, odd.

    Raises
    ------
    ModelError
        If it is even: no fine pixel is in the middle of a coarse one.
    """
    if ratio % 2 == 0:
        raise ModelError(f"heads that draw to levels need an odd ratio of pixel sizes, got {ratio}")
    known = torch.ones_like(images) if unseen is None else (~unseen).to(images.dtype)
    here = known.repeat_interleave(ratio, dim=-2).repeat_interleave(ratio, dim=-1) > 0
    values = _between(images * known, ratio) / _between(known, ratio)
    return values.where(here, torch.nan).permute(0, 2, 3, 1)


def joined(features: Tensor, values: Tensor | None) -> Tensor:
    """Return features (T, H, W, L) followed by what was measured, if that is asked."""
    return features if values is None else torch.cat([features, values.to(features)], dim=-1)


def _between(coarse: Tensor, ratio: int) -> Tensor:
    """Bring (..., y, x) to a grid `ratio` times as fine, on lines between centres.

    Weights are those of a place inside a coarse pixel: cuts of an image round alike.
    """
    if ratio == 1:
        return coarse
    for _ in range(2):  # columns, then rows
        places = torch.arange(coarse.shape[-1], device=coarse.device)
        parts = []
        for offset in range(-(ratio // 2), ratio // 2 + 1):
            step = (offset > 0) - (offset < 0)
            other = (places + step).clamp(0, len(places) - 1)
            parts.append(coarse.lerp(coarse[..., other], abs(offset) / ratio))
        coarse = torch.stack(parts, dim=-1).flatten(-2).transpose(-1, -2)
    return coarse


def averaged(maps: Tensor, reach: int) -> Tensor:
    """Return the mean (..., H, W) over the pixels around each that there are."""
    if not reach:
        return maps
    rows, wide = maps.reshape(-1, 1, *maps.shape[-2:]), 2 * reach + 1
    for window, pad in (((wide, 1), (reach, 0)), ((1, wide), (0, reach))):
        rows = functional.avg_pool2d(rows, window, 1, pad, count_include_pad=False)
    return rows.view(maps.shape)


def moved(parts: Sequence[Part], bands: Tensor, told: Tensor) -> Tensor:
    """Return by how much each pixel of all bands is moved, (Q, C, H, W).

    Parameters
    ----------
    parts
        The heads.
    bands
        What the decoder made, standardised, (Q, C, H, W).
    told
        What they tell, (Q, H, W, channels).
    """
    told, by = told.movedim(-1, 1), torch.zeros_like(bands)
    for part in parts:
        at = slice(part.channels.start, part.channels.stop)
        by[:, at] = _moved_by(part, bands[:, at], told[:, part.at])
    heads = {part.name: part for part in parts}
    both = [heads[name] for name in ("levels_lr", "levels_hr") if name in heads]
    if len(both) == len(OPTICAL):
        moves = [by[:, part.channels.start : part.channels.stop] for part in both]
        shares = [told[:, part.at.start, None] for part in both]
        other, own = (cast("JoinedHead", part.head) for part in both)
        moves[1].copy_(own.joined(other, moves, shares))
    return by


def _moved_by(part: Part, bands: Tensor, told: Tensor) -> Tensor:
    """Return by how much bands (Q, B, H, W) are moved of which (Q, 1 + B, H, W) is told."""
    share, offsets = told[:, :1], told[:, 1:]
    seen = bands.clone()
    for reach in set(part.compared) - {0}:
        own = [place for place, around in enumerate(part.compared) if around == reach]
        seen[:, own] = averaged(bands[:, own], reach)
    by = offsets - share * seen
    if not part.alike:
        return by
    says = (told != 0).any(dim=1, keepdim=True).to(by.dtype)  # where a date saw the pixel
    known = averaged(says, part.alike)
    return torch.where(known == 0, 0.0, averaged(by, part.alike) / known)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the dates of heads that have some, on maps of H x W pixels."""

    weighed: Mapping[str, Tensor]
    """By name, (N, H, W), of `LevelHead.weighed`."""

    moments: Mapping[str, Moments]
    """By name, of `LevelHead.moments`."""

    values: Callable[[Part, tuple[slice, slice]], Tensor]
    """Gives what was measured in a block of pixels, (P, N, B)."""


class Drawing:
    """A decoder of maps that have what heads tell beside their tokens: of bands that are drawn.

    Parameters
    ----------
    decode
        Of tokens alone.
    model
        Whose bands are drawn; without a head, none is.
    device
        Where to compute.
    batch
        Query dates that go through together.
    """

    def __init__(self, decode: Decode, model: Tamrf, device: torch.device, batch: int) -> None:
        self._decode, self._batch = decode, batch
        self._width, self.parts = model.config.width, parts_of(model)
        std, mean = (
            torch.cat([getattr(model, f"{stream}_{name}") for stream in ("lr", "hr")]).to(device)
            for name in ("std", "mean")
        )
        self._std, self._mean = std[:, None, None], mean[:, None, None]
        self.heads = {part.name: copy.deepcopy(part.head).to(device).eval() for part in self.parts}
        self._drawn = [replace(part, head=self.heads[part.name]) for part in self.parts]

    def __call__(self, attended: Tensor, out: Tensor, channels: Tensor | None) -> None:
        """Decode attended maps (Q, H, W, D) into `out`, as `tamrf_xr.model.stages.Decode`."""
        count = len(self._std)
        asked = list(range(count)) if channels is None else channels.tolist()
        if not any(c in part.channels for part in self.parts for c in asked):
            self._decode(attended[..., : self._width].contiguous(), out, channels)
            return
        bands = [place for place, c in enumerate(asked) if c < count]
        errors = [place for place, c in enumerate(asked) if c >= count]
        deviating = None if channels is None else channels[errors]
        for maps, own in zip(attended.split(self._batch), out.split(self._batch), strict=True):
            tokens = maps[..., : self._width].contiguous()
            made = out.new_empty((len(own), count, *own.shape[2:]))
            self._decode(tokens, made, None)
            standardised, told = (made - self._mean) / self._std, maps[..., self._width :].float()
            made += self._std * moved(self._drawn, standardised, told)
            own[:, bands] = made[:, [asked[place] for place in bands]]
            if errors:
                deviations = out.new_empty((len(own), len(errors), *own.shape[2:]))
                self._decode(tokens, deviations, deviating)
                own[:, errors] = deviations

    def tell(self, attended: Tensor, first: int, known: Known, pixels: int) -> None:
        """Fill what heads tell beside attended maps (Q, rows, W, D).

        Parameters
        ----------
        attended
            Rows of them, in which it is filled.
        first
            Which row of what is known the first one is.
        known
            Of dates. Where the row after the last one is not known yet, what is told of the last
            one is not what it will be.
        pixels
            Of a block.
        """
        rows, wide = attended.shape[1:3]
        answers, told = attended[..., : self._width], attended[..., self._width :]

        def fill(part: Part, weighed: Tensor, block: tuple[slice, slice]) -> None:
            y, x = block
            values = known.values(part, (slice(first + y.start, first + y.stop), x))
            dates = seen(weighed[:, y, x].flatten(1).T, values)
            answer = answers[:, y, x].flatten(1, 2).float()
            own = told[:, y, x, part.at]
            own.copy_(
                self.heads[part.name](dates, answer, known.moments[part.name]).view(own.shape)
            )

        for part in self.parts:
            if part.name not in known.weighed:
                told[..., part.at].zero_()
                continue
            around = self.heads[part.name].neighbours
            weighed = least(known.weighed[part.name], slice(first, first + rows), around)
            blocks = footprint.blocks(rows, wide, pixels)
            over_blocks(lambda y, x: fill(part, weighed, (y, x)), blocks, attended.device)  # noqa: B023
