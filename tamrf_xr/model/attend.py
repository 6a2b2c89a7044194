"""The pixel-wise part of the fast path: tokens, transformer layers, decoder attention.

P pixels of a block, N dates of all sensors, Q query dates, D token width, L latent, h heads of
d channels, M = P N rows. Pixels are independent here, so blocks of them go through the whole
chain while they are in cache. What is known beforehand is not computed per pixel:

- date and sensor are constants of a token: their part of the first projection is one row a date;
- queries do not depend on the pixel: projected once, and with them the keys' projection, so that
  logits are one product of tokens and queries; the zero key has logit 0, its value adds nothing;
- a date that did not see a pixel is attended to by no other, nor by queries: its features say so
  (`mark`); blocks without such pixels know nothing of it;
- the bias of a projection that ends in a residual is carried by what came before (a LayerNorm's
  bias, or the token), and taken off where it would enter the next projection, so that product and
  residual are one in-place call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import accumulate
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamrf_xr.errors import ModelError
from tamrf_xr.model.affine import Affine
from tamrf_xr.model.convolve import Placement
from tamrf_xr.model.levels import Moments
from tamrf_xr.model.network import Tamrf, positional_encoding

EPS = 1e-5
"""Of every LayerNorm."""

Finish = Callable[[Tensor, Tensor], Tensor]
"""The end of a block: see `Ending`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one set of dates and queries fixes for all pixels."""

    constant: Tensor
    """(N, D - L): date and sensor part of the tokens, with the carried bias."""

    projected: Tensor | None
    """(N, 3 h d): what the constant part adds to the first projection; None without layers."""

    keys: Tensor
    """(h Q, D): queries through the keys' projection, scaled."""

    keys_bias: Tensor
    """(h Q, 1): queries times the keys' bias, scaled."""

    query: Tensor
    """(Q, 1, D): queries, with the bias of the attention's last projection."""


@dataclass(frozen=True, slots=True)
class Task:
    """Features of the sensors that have dates, and what dates and queries fix."""

    maps: dict[str, Tensor]
    """By stream, in order, (T, H, W, L): features, followed by what heads take."""

    asked: Asked
    """What is the same for every pixel."""

    holes: bool = True
    """Whether a feature may be marked (`mark`): a GPU is not asked block by block if none is."""

    moments: Mapping[str, Moments] = field(default_factory=dict)
    """Of heads of `tamrf_xr.model.levels` whose sensor has dates, by name."""

    weighed: Mapping[str, Tensor] = field(default_factory=dict)
    """Likewise, maps (N, H, W) to fill with `LevelHead.weighed`; infinite until then."""

    @property
    def queries(self) -> int:
        """Q."""
        return len(self.asked.query)

    def dates(self) -> dict[str, slice]:
        """Return where the dates of each stream are among tokens."""
        ends = dict(
            zip(self.maps, accumulate(len(maps) for maps in self.maps.values()), strict=True)
        )
        return {name: slice(end - len(self.maps[name]), end) for name, end in ends.items()}


class PixelModel:
    """Transformer and decoder attention of a `Tamrf`, over blocks of pixels.

    Parameters
    ----------
    model
        The network.
    placement
        Device and type of weights and arrays.
    head_multiple
        Pad the channels of each head with zeros to a multiple of this; the fused attention
        kernels of CUDA want 8.
    """

    def __init__(self, model: Tamrf, placement: Placement, *, head_multiple: int) -> None:
        self.config, self.placement = model.config, placement
        self.streams = model.config.streams
        self.tokens = {name: _exact(model.get_parameter(f"{name}_token")) for name in self.streams}
        heads = _Heads(model.config.num_heads, model.config.width, head_multiple)
        carried = [_exact(layer.get_parameter("self_attn.out_proj.bias")) for layer in model.layers]
        carried.append(torch.zeros(model.config.width, dtype=torch.float64))
        self.layers = [
            _Layer(layer, after, heads, placement)
            for layer, after in zip(model.layers, carried[1:], strict=True)
        ]
        self.carried, self.carried_here = carried[0], placement.weights(carried[0])
        self.decoder = _Decoder(model, placement)

    def with_endings(self, remade: Callable[[Ending], Finish]) -> PixelModel:
        """Return the same whose blocks end in what `remade` makes of their endings."""
        other = copy(self)
        other.layers, other.decoder = [copy(layer) for layer in self.layers], copy(self.decoder)
        blocks: list[_Layer | _Decoder] = [*other.layers, other.decoder]
        for block in blocks:
            block.end = remade(cast("Ending", block.end))
        return other

    def ask(self, days: Mapping[str, Tensor], query_days: Tensor) -> Asked:
        """Prepare days (T,) of each sensor that has dates, and query days (Q,)."""
        L, place = self.config.latent, self.placement.weights
        constant = torch.cat([self._constant(s, days[s]) for s in self.streams if s in days])
        constant = constant + self.carried[L:]
        projected = None
        if self.layers:
            first = self.layers[0]
            projected = place(constant @ first.exact_into[L:] + first.exact_bias)
        return Asked(place(constant), projected, *map(place, self.decoder.ask(query_days)))

    def load(self, maps: Sequence[Tensor], asked: Asked) -> Tensor:
        """Gather features (T, y, x, L) of each sensor into tokens (P, N, D), bias carried."""
        L = self.config.latent
        y, x = maps[0].shape[1:3]
        tokens = maps[0].new_empty((y, x, *asked.constant.shape[:1], self.config.width))
        start = 0
        for part in maps:
            stop = start + part.shape[0]
            torch.add(
                part[..., :L].permute(1, 2, 0, 3),
                self.carried_here[:L],
                out=tokens[:, :, start:stop, :L],
            )
            start = stop
        tokens[..., L:] = asked.constant
        return tokens.flatten(0, 1)

    def transform(self, tokens: Tensor, asked: Asked, absent: Tensor | None = None) -> Tensor:
        """Encode tokens (P, N, D), which are overwritten, into (P, N, D).

        Those that are `absent` (P, N) are attended to by none; what becomes of them means nothing.
        """
        x_PND, projected = tokens, asked.projected
        there = None if absent is None else (~absent | absent.all(dim=1, keepdim=True))
        for layer in self.layers:
            x_PND, projected = layer(x_PND, projected, self.config.latent, there), None
        return x_PND

    def answer(self, encoded: Tensor, asked: Asked, absent: Tensor | None = None) -> Tensor:
        """Attend from the queries to encoded tokens (P, N, D) not `absent` (P, N): (Q, P, D)."""
        return self.decoder(encoded, asked, absent)

    def _constant(self, sensor: str, days: Tensor) -> Tensor:
        encoding = positional_encoding(days.cpu(), self.config.positional).double()
        return torch.cat([encoding, self.tokens[sensor].expand(len(days), -1)], dim=1)


class _Layer:
    """A post-norm transformer layer whose input carries the bias of its first residual."""

    def __init__(
        self,
        layer: nn.Module,
        carried_after: Tensor,
        heads: _Heads,
        placement: Placement,
    ) -> None:
        self.heads = heads
        weights = {name: _exact(value) for name, value in layer.named_parameters()}
        into, out = weights["self_attn.in_proj_weight"], weights["self_attn.out_proj.weight"]
        bias = weights["self_attn.in_proj_bias"] - into @ weights["self_attn.out_proj.bias"]
        self.exact_into, self.exact_bias = heads.pad(into).t(), heads.pad(bias[:, None])[:, 0]
        self.into = Affine(self.exact_into, self.exact_bias, placement)
        self.end: Finish = Ending(heads.pad(out.t()), weights, carried_after, placement)

    def __call__(
        self, x: Tensor, projected: Tensor | None, latent: int, there: Tensor | None
    ) -> Tensor:
        """Map (P, N, D) to the same; `projected` stands for the input beyond `latent`.

        Tokens that are not `there` (P, N) are not attended to.
        """
        P, N, D = x.shape
        x_MD = x.view(P * N, D)
        if projected is None:
            qkv = self.into(x_MD)
        else:
            qkv = projected.repeat(P, 1).addmm_(x_MD[:, :latent], self.into.weight[:latent])
        return self.end(x_MD, self._attend(qkv.view(P, N, -1), there)).view(P, N, D)

    def _attend(self, qkv: Tensor, there: Tensor | None) -> Tensor:
        mask = None if there is None else there[:, None, None].expand(-1, 1, qkv.shape[1], -1)
        parts = qkv.unflatten(-1, (3, self.heads.count, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        found_PhNd = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=self.heads.scale
        )
        return found_PhNd.transpose(1, 2).reshape(qkv.shape[0] * qkv.shape[1], -1)


class _Decoder:
    """The decoder's attention: queries against the tokens of each pixel, and a zero key."""

    def __init__(self, model: Tamrf, placement: Placement) -> None:
        self.positional = model.config.positional
        self.latent, self.token = _exact(model.query_latent), _exact(model.query_token)
        self.heads = _Heads(model.config.decoder_heads, model.config.width, 1)
        weights = {name: _exact(value) for name, value in model.decoder.named_parameters()}
        into, bias = weights["attention.in_proj_weight"], weights["attention.in_proj_bias"]
        self.query, self.key, value = into.chunk(3)
        self.query_bias, self.key_bias, value_bias = bias.chunk(3)
        self.out_bias = weights["attention.out_proj.bias"]
        self.value = Affine(value.t(), value_bias, placement)
        out, nothing = weights["attention.out_proj.weight"].t(), torch.zeros_like(self.out_bias)
        self.end: Finish = Ending(out, weights, nothing, placement)

    def ask(self, days: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return `Asked.keys`, `Asked.keys_bias` and `Asked.query` of days (Q,)."""
        encoding_QP = positional_encoding(days.cpu(), self.positional).double()
        latent_QL, token_QS = (part.expand(len(days), -1) for part in (self.latent, self.token))
        query_QD = torch.cat([latent_QL, encoding_QP, token_QS], dim=1)
        shape = (len(days), self.heads.count, self.heads.channels)
        scaled_Qhd = (query_QD @ self.query.t() + self.query_bias).view(shape) * self.heads.scale
        key_hdD = self.key.view(self.heads.count, self.heads.channels, -1)
        keys_hQD = scaled_Qhd.transpose(0, 1) @ key_hdD
        bias_hQ1 = scaled_Qhd.transpose(0, 1) @ self.key_bias.view(*key_hdD.shape[:2], 1)
        return keys_hQD.flatten(0, 1), bias_hQ1.flatten(0, 1), (query_QD + self.out_bias)[:, None]

    def __call__(self, x: Tensor, asked: Asked, absent: Tensor | None) -> Tensor:
        """Attend to (P, N, D), where not `absent` (P, N): (Q, P, D)."""
        P, N, D = x.shape
        x_MD = x.reshape(P * N, D)
        logits = torch.addmm(asked.keys_bias, asked.keys, x_MD.t())
        logits_hQPN = logits.view(self.heads.count, -1, P, N)
        if absent is not None:
            logits_hQPN.masked_fill_(absent, -torch.inf)
        weights_hQPN = _softmax_beside_zero(logits_hQPN)
        value_PND = self.value(x_MD).view(P, N, D)
        found_QPD = x.new_empty((weights_hQPN.shape[1], P, D))
        for head in range(self.heads.count):
            at = slice(head * self.heads.channels, (head + 1) * self.heads.channels)
            found_PQd = torch.bmm(weights_hQPN[head].transpose(0, 1), value_PND[..., at])
            found_QPD[..., at] = found_PQd.transpose(0, 1)
        query_QD = asked.query[:, 0].clone()  # overwritten where there is one pixel
        return self.end(query_QD, found_QPD.view(-1, D)).view(found_QPD.shape)


class Ending:
    """What follows attention: projection, residual, LayerNorm, feed-forward, residual, LayerNorm.

    Parameters
    ----------
    out
        The projection of what attention found, (K, D).
    weights
        Those of the feed-forward and the norms.
    after
        Bias that the output carries, (D,).
    placement
        Device and type.
    """

    def __init__(
        self, out: Tensor, weights: Mapping[str, Tensor], after: Tensor, placement: Placement
    ) -> None:
        place = placement.weights
        wide, narrow_bias = weights["linear1.weight"], weights["linear2.bias"]
        self.width = (len(narrow_bias),)
        self.out = place(out)
        self.norm1 = place(weights["norm1.weight"]), place(weights["norm1.bias"] + narrow_bias)
        self.norm2 = place(weights["norm2.weight"]), place(weights["norm2.bias"] + after)
        wide_bias = weights["linear1.bias"] - wide @ narrow_bias
        self.wide = Affine(wide.t(), wide_bias, placement, rectified=True)
        self.narrow = place(weights["linear2.weight"].t())

    def __call__(self, x: Tensor, found: Tensor) -> Tensor:
        """Map what came into attention (M, D), which is overwritten, and what it found to (M, D).

        Where there are fewer rows of the one, (R, D), each is for M / R rows in a row.
        """
        if len(x) < len(found):
            x = x.repeat_interleave(len(found) // len(x), dim=0)
        x.addmm_(found, self.out)
        y_MD = functional.layer_norm(x, self.width, *self.norm1, EPS)
        y_MD.addmm_(self.wide(y_MD), self.narrow)
        return functional.layer_norm(y_MD, self.width, *self.norm2, EPS)


@dataclass(frozen=True, slots=True)
class _Heads:
    """How the D channels of a token are cut into heads."""

    count: int
    """h."""

    width: int
    """D."""

    multiple: int
    """d is padded to a multiple of this."""

    @property
    def channels(self) -> int:
        """Channels of a head without padding."""
        return self.width // self.count

    @property
    def scale(self) -> float:
        """Factor of the logits; padding does not enter it."""
        return float(self.channels**-0.5)

    def pad(self, rows: Tensor) -> Tensor:
        """Pad the channels of each head with rows of zeros: (k h d, X) to (k h d', X)."""
        cut = rows.reshape(-1, self.channels, rows.shape[1])
        return functional.pad(cut, (0, 0, 0, -self.channels % self.multiple)).flatten(0, 1)


def _softmax_beside_zero(logits: Tensor) -> Tensor:
    """Softmax over the last dimension and one more logit of 0, whose weight is left out."""
    wide = logits.float()  # a copy only if it is not float32 already
    highest = wide.amax(-1, keepdim=True).clamp_(min=0)
    powers = wide.sub_(highest).exp_()
    total = powers.sum(-1, keepdim=True).add_(highest.neg_().exp_())
    return powers.div_(total).to(logits.dtype)


def _exact(weights: Tensor) -> Tensor:
    return weights.detach().cpu().double()


def mark(features: Tensor, absent: Tensor) -> Tensor:
    """Say in features (..., L), in place, which are of pixels that a date did not see, (...)."""
    features[..., 0].masked_fill_(absent, torch.nan)
    return features


def unmark(tokens: Tensor) -> Tensor | None:
    """Return which of tokens (P, N, D) are marked, (P, N), None if none is, and take marks off.

    Tokens that are no number anywhere are none that were marked: they stay as they are.
    """
    absent = tokens[..., 0].isnan() & ~tokens[..., 1].isnan()
    if not bool(absent.any()):
        return None
    tokens[..., 0].masked_fill_(absent, 0.0)
    return absent


def check_maps(sensor: str, maps: Tensor, days: Tensor, latent: int, *, more: int = 0) -> None:
    """Refuse features that are not (dates, y, x, latent), or not of so many days.

    More channels are to follow where heads take what was measured.
    """
    wanted = latent + more
    if maps.dim() != 4 or maps.shape[-1] != wanted or days.shape != maps.shape[:1]:
        then = f", followed by what Engine.measured({sensor!r}, ...) gives" if more else ""
        raise ModelError(
            f"features of {sensor} must be (dates, y, x, {wanted}) with days (dates,), got "
            f"{tuple(maps.shape)} and {tuple(days.shape)}; pass what encode_{sensor} returned{then}"
        )
