"""The temperature of a day: what Landsat measured on the days nearest to it, beside the decoder.

A land surface is warmer or colder from one day to the next as a whole, by more than its fields
differ, and its climate may be none that the network was trained on. So the temperature that the
decoder makes is drawn towards levels, which are weighted means over the dates that Landsat saw the
pixel, and straight lines through them (local linear regression, [1]_). A date weighs by how clear
its token looks, no mask is read, and by how near it is, for several reaches of time. How far the
decoder is drawn to each level follows from how near, how many and how spread these dates are, how
their temperatures differ, and from what was attended to.

All of that is pixel by pixel. A day is warmer or colder over more ground than a pixel: what the
temperature is moved by is averaged over `AVERAGED` pixels around each, so that the detail that the
decoder makes stays. The head is fitted after the network, whose other bands it leaves as they are,
on dates held back (`tamrf_xr.training.temperature`).

Shapes: P pixels, N dates of Landsat, Q query dates, H reaches, D token width, L latent.

References
----------
.. [1] Fan and Gijbels, "Local Polynomial Modelling and Its Applications", 1996, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamrf_xr.errors import ModelError

if TYPE_CHECKING:
    from tamrf_xr.model.network import Tamrf
    from tamrf_xr.model.stages import Decode

PREFIX = "temperature."
"""Of the head's tensors in a checkpoint."""

CHANNELS = 2
"""That attended maps have more with it: share and offset, see `TemperatureHead.forward`."""

AVERAGED = 3
"""Pixels of 10 m on every side over which the temperature is moved alike: 70 m across."""

REACHES = (6.0, 20.0, 60.0)
"""Days in which the weight of a date falls by e, before they are learnt."""

MONTH = 30.0
"""Days; the unit of time of the head."""

CLEAREST, WARMEST = 8.0, 5.0
"""Largest log odds of a date, and deviations of a temperature that are kept in a latent."""

_LEAST = 1e-4
"""Of a variance of temperatures: where one date weighs nearly all, rounding alone is left."""

_LOST = 1e-30
"""Of a sum of weights, 1 at the nearest date: less is nothing, or rounded."""

_MASSES = 3.0
"""Brings the logarithm of a weight to the size of the other things that gates read."""


class TemperatureHead(nn.Module):
    """How far to draw the decoder's temperature to that of the nearest days, and to which.

    Parameters
    ----------
    width
        D, channels of a token.
    latent
        L, features of a date.
    reaches
        H reaches of time, in days, to start from.
    sizes
        Channels of: what tells clear dates, what is read of the attended token, the gates.
    """

    def __init__(
        self,
        width: int,
        latent: int,
        reaches: tuple[float, ...] = REACHES,
        sizes: tuple[int, int, int] = (16, 8, 16),
    ) -> None:
        super().__init__()
        clear, context, gates = sizes
        count = len(reaches)
        self.value = nn.Linear(latent, 1)
        self.clear1, self.clear2 = nn.Linear(width, clear), nn.Linear(clear, 1)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.log_reach = nn.Parameter(torch.tensor(reaches).log())
        self.log_slack = nn.Parameter(torch.full((count,), 0.3).log())
        self.context = nn.Linear(width, context)
        self.gate1 = nn.Linear(5 * count + context, gates)
        self.gate2 = nn.Linear(gates, 2 * count)

    def moments(self, days: Tensor, query_days: Tensor) -> tuple[Tensor, Tensor]:
        """Return what days (N,) and queries (Q,) fix for all pixels.

        Returns
        -------
        weighted : Tensor
            (N, 4, H, Q): the weight of nearness, and it times the months between, their square and
            their size.
        nearest : Tensor
            (H, Q): the logarithm of the weight of the nearest date, which the former is divided by.
        """
        apart = (days[:, None] - query_days).to(self.log_reach) / MONTH
        falls = -apart.abs()[:, None] * MONTH / self.log_reach.exp()[:, None]
        nearest = falls.amax(dim=0)
        weight = (falls - nearest).exp()
        powers = torch.stack([torch.ones_like(apart), apart, apart**2, apart.abs()], dim=1)
        return weight[:, None] * powers[:, :, None], nearest

    def seen(self, features: Tensor, encoded: Tensor, absent: Tensor | None = None) -> Tensor:
        """Return what dates of Landsat tell, (P, N, 2): log odds that they are clear, temperature.

        Parameters
        ----------
        features
            (P, N, L), of which the temperature, standardised, is read off.
        encoded
            Their tokens behind the transformer, (P, N, D).
        absent
            Dates that did not see a pixel, (P, N): of no odds and no temperature.
        """
        odds = self.clear2(functional.relu(self.clear1(encoded))).clamp(-CLEAREST, CLEAREST)
        told = torch.cat([odds, self.value(features)], dim=-1)
        if absent is None:
            return told
        nothing = told.new_tensor([-torch.inf, 0.0])
        return torch.where(absent[..., None], nothing, told)

    def forward(self, seen: Tensor, attended: Tensor, asked: tuple[Tensor, Tensor]) -> Tensor:
        """Return share and offset (Q, P, 2): t, standardised, is to be t - share t + offset.

        Both are 0 where no date saw the pixel.

        Parameters
        ----------
        seen
            (P, N, 2), from `seen`.
        attended
            (Q, P, D).
        asked
            From `moments`.
        """
        weighted, nearest = asked
        odds, values = seen.unbind(dim=-1)
        clear = (odds * self.log_scale.exp()).exp()
        total, *sums = _sums(clear, weighted)
        lost, longest = total < _LOST, self.log_reach.argmax(keepdim=True)
        sums += [
            *_sums(clear * values, weighted[:, :2]),
            *_sums(clear * values**2, weighted[:, :1]),
        ]
        # Beyond the reach of what saw the pixel, what the longest tells stands for the shorter.
        apart, squared, near, mean, product, square = (
            torch.where(lost, ratio.index_select(1, longest), ratio)
            for ratio in (one / total for one in sums)
        )
        total = total.clamp(min=_LOST)
        scatter = (square - mean**2).clamp(min=_LEAST).sqrt()
        spread = (squared - apart**2).clamp(min=0)
        slope = (product - apart * mean) / (spread + self.log_slack.exp()[:, None])
        mass = (total.log() + nearest) / _MASSES
        about = [near, mass, apart, (spread + 1e-6).sqrt(), scatter]
        told = torch.cat(about, dim=1).permute(2, 0, 1)
        context = self.context(attended).tanh()
        gates: Tensor = self.gate2(functional.relu(self.gate1(torch.cat([told, context], dim=-1))))
        levels = torch.cat([mean, mean - slope * apart], dim=1).permute(2, 0, 1)
        share_and_offset = gates.sum(dim=-1), (gates * levels).sum(dim=-1)
        unseen = lost.index_select(1, longest).permute(2, 0, 1)
        return torch.stack(share_and_offset, dim=-1).masked_fill(unseen, 0.0)


def _sums(of: Tensor, weighted: Tensor) -> Tensor:
    """Sum over dates: (P, N) by (N, K, H, Q) to (K, P, H, Q)."""
    sums: Tensor = (of @ weighted.flatten(1)).unflatten(1, weighted.shape[1:])
    return sums.movedim(0, 1)


def head_of(
    state: Mapping[str, Tensor], width: int, latent: int, *, where: str
) -> TemperatureHead | None:
    """Return a head of the sizes that a checkpoint has, on no device; None if it has none.

    Raises
    ------
    ModelError
        If a tensor that tells a size is not there, or of another shape.
    """
    if not any(key.startswith(PREFIX) for key in state):
        return None
    sizes = []
    for name in ("log_reach", "clear1.bias", "context.bias", "gate1.bias"):
        found = state.get(f"{PREFIX}{name}")
        if found is None or found.dim() != 1 or not len(found):
            shape = "not there" if found is None else f"of shape {tuple(found.shape)}"
            raise ModelError(
                f"{where}: {PREFIX}{name} is {shape}, expected one dimension; the checkpoint is "
                "damaged"
            )
        sizes.append(len(found))
    reaches, *others = sizes
    return TemperatureHead(width, latent, (1.0,) * reaches, (others[0], others[1], others[2]))


def decoder_reach(model: Tamrf, *, temperature: bool = True) -> int:
    """Return the pixels of 10 m around one of which it is made; fewer without temperature."""
    averages = temperature and model.temperature is not None
    return model.config.decoder_reach + (AVERAGED if averages else 0)


def averaged(by: Tensor) -> Tensor:
    """Return the mean (..., H, W) over the pixels around each that say something, else 0.

    `by` is of `moved_by`, (..., 2, H, W).
    """
    maps, wide = by.reshape(-1, 1, *by.shape[-2:]), 2 * AVERAGED + 1
    for window, pad in (((wide, 1), (AVERAGED, 0)), ((1, wide), (0, AVERAGED))):
        maps = functional.avg_pool2d(maps, window, 1, pad, count_include_pad=False)
    total, known = maps.view(by.shape).unbind(dim=-3)
    return torch.where(known == 0, 0.0, total / known)


def moved_by(temperature: Tensor, told: Tensor) -> Tensor:
    """Return by how much each pixel would be moved, and 1 where it says so: (..., 2, H, W).

    Parameters
    ----------
    temperature
        (..., H, W), standardised.
    told
        Share and offset, (..., H, W, 2): both are 0 where no date of LR saw the pixel.
    """
    share, offset = told.unbind(dim=-1)
    says = ((share != 0) | (offset != 0)).to(share.dtype)
    return torch.stack([offset - share * temperature, says], dim=-3)


class Drawing:
    """A decoder of maps that have `CHANNELS` more, by which the temperature is drawn.

    In two steps, so that maps can be decoded in strips: `decode`, and `draw` of the whole.

    Parameters
    ----------
    decode
        Of maps that have no more, all channels.
    model
        Whose temperature is drawn; without a head, nothing is.
    device
        Where to compute.
    batch
        Query dates that go through together.
    """

    def __init__(self, decode: Decode, model: Tamrf, device: torch.device, batch: int) -> None:
        self._decode, self._device, self._batch = decode, device, batch
        self._width, self._thermal = model.config.width, _thermal(model)
        self._std, self._mean = (float(p[self._thermal]) for p in (model.lr_std, model.lr_mean))
        self._draws = model.temperature is not None

    def decode(self, attended: Tensor, out: Tensor, channels: Tensor | None) -> Tensor | None:
        """Decode into `out`, as `tamrf_xr.model.stages.Decode`, and return what `draw` takes.

        None where nothing is to be drawn.
        """
        if not self._draws:
            self._decode(attended, out, channels)
            return None
        at = self._at(channels)
        by = out.new_empty((len(out), len(at), 2, *out.shape[2:]))
        parts = zip(*(part.split(self._batch) for part in (attended, out, by)), strict=True)
        for maps, own, moved in parts:
            self._decode(maps[..., : self._width].contiguous(), own, channels)
            if len(at):
                told = maps[:, None, ..., self._width :].float()
                moved.copy_(moved_by((own[:, at] - self._mean) / self._std, told))
        return by if len(at) else None

    def draw(self, out: Tensor, by: Tensor | None, channels: Tensor | None) -> None:
        """Move the temperature of `out` (Q, C, H, W) by what `decode` returned of all of it."""
        if by is not None:
            out[:, self._at(channels)] += self._std * averaged(by)

    def _at(self, channels: Tensor | None) -> Tensor:
        """Return where among channels the temperature is: no place, or one or more."""
        if channels is None:
            return torch.tensor([self._thermal], device=self._device)
        return (channels == self._thermal).nonzero()[:, 0]


def _thermal(model: Tamrf) -> int:
    return model.config.lr_bands - 1
