"""The network, top to bottom: the plain, differentiable path that every fast path must equal.

Shapes, as suffixes of tensors:
B batch, T dates of one sensor, N dates of all, Q query dates, P pixels (batch included),
C bands, L latent, D token width, h w low-resolution grid, H W high-resolution grid.
Everything inside is standardised; low resolution (lr) comes before high resolution (hr), and radar
(sar), where a network has that stream, last: its dates are attended to, no band of it is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamrf_xr.errors import ModelError
from tamrf_xr.model.config import SAR, BandStatistics, NetworkConfig
from tamrf_xr.model.encoders import KINDS, SLOPE, DateEncoder
from tamrf_xr.model.levels import (
    JoinedHead,
    Part,
    ReflectanceHead,
    TemperatureHead,
    least,
    measured,
    moved,
    parts_of,
    seen,
    told_of,
)
from tamrf_xr.model.standards import check_stream, statistics_for
from tamrf_xr.model.uncertainty import ErrorHead

__all__ = ["BandStatistics", "NetworkConfig", "Tamrf", "positional_encoding"]


_YEAR = 365.0
_SCALE = 0.2


class Tamrf(nn.Module):
    """Fuse the dates of two sensors into every band at any date.

    Parameters
    ----------
    config
        Sizes; the published model by default.
    statistics
        Mean, deviation, MTF and resolution per band, kept as buffers; by default the published
        set ``"all"``, or mean 0 and deviation 1 if the bands are not the published ones.
    generator
        Source of the initial weights (torch's formulas); None for torch's global one.

    Raises
    ------
    ModelError
        If `statistics` do not have the bands of `config`.

    References
    ----------
    Michel and Inglada, "Temporal Attention Multi-Resolution Fusion of Satellite Image
    Time-Series", RSE 2025, hal-05101526.
    """

    hr_mean: Tensor
    hr_std: Tensor
    lr_mean: Tensor
    lr_std: Tensor

    def __init__(
        self,
        config: NetworkConfig | None = None,
        statistics: BandStatistics | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        for name, values in statistics_for(config, statistics).items():
            self.register_buffer(name, values)
        kind: type[SpatialEncoder] | type[DateEncoder] = KINDS.get(config.encoder, SpatialEncoder)
        self.lr_encoder = kind(config, config.lr_bands, blocks=config.lr_blocks, ratio=config.ratio)
        self.hr_encoder = kind(config, config.hr_bands, blocks=config.num_blocks, ratio=1)
        self.lr_token = nn.Parameter(torch.empty(config.sensor_token))
        self.hr_token = nn.Parameter(torch.empty(config.sensor_token))
        self.layers = nn.ModuleList(_transformer_layer(config) for _ in range(config.num_layers))
        self.query_latent = nn.Parameter(torch.empty(config.latent))
        self.query_token = nn.Parameter(torch.empty(config.sensor_token))
        self.decoder = DecoderAttention(config)
        self.out1 = _conv3(config.width, config.width)
        self.out2 = _conv3(config.width, config.bands)
        self.errors: ErrorHead | None = None
        self.temperature: TemperatureHead | None = None
        self.levels_lr: ReflectanceHead | None = None
        self.levels_hr: JoinedHead | None = None
        if SAR in config.streams:
            self.sar_encoder = kind(config, config.sar_bands, blocks=config.num_blocks, ratio=1)
            self.sar_token = nn.Parameter(torch.empty(config.sensor_token))
        self._initialise(generator)

    def forward(
        self,
        lr: Tensor | None,
        lr_days: Tensor | None,
        hr: Tensor | None,
        hr_days: Tensor | None,
        *,
        query_days: Tensor,
        sar: Tensor | None = None,
        sar_days: Tensor | None = None,
    ) -> Tensor:
        """Predict every band at every query day.

        Parameters
        ----------
        lr, hr
            Standardised pixels (B, T, C, h, w) and (B, T, C, H, W); None or T = 0 for none. Not a
            number where nothing was seen: encoders see the mean there, heads of days nothing.
        lr_days, hr_days
            Days of their dates (B, T), from an origin of the caller's choice.
        query_days
            Days asked for (B, Q).
        sar, sar_days
            As `hr` and `hr_days`, of a network that has that stream.

        Returns
        -------
        Tensor
            Standardised (B, Q, bands, H, W): the LR bands, then the HR bands, on the fine grid.

        Raises
        ------
        ModelError
            If there is no date at all, the grids are not nested, or the network lacks a stream.
        """
        lr_seen, hr_seen = (None if x is None else x.nan_to_num() for x in (lr, hr))
        tokens = self.tokens(lr_seen, lr_days, hr_seen, hr_days, sar=sar, sar_days=sar_days)
        encoded = self.attend(tokens)
        attended = self.ask(encoded, query_days)
        bands = self.to_bands(attended)
        if not parts_of(self):
            return bands
        none = query_days[:, :0]
        given = (("lr", lr, lr_days), ("hr", hr, hr_days))
        days = {name: none if x is None or own is None else own for name, x, own in given}
        pixels = {name: x for name, x, _ in given if x is not None}
        return torch.stack(
            [
                self.with_levels(
                    bands[i],
                    {name: x[i] for name, x in pixels.items()},
                    {name: own[i] for name, own in days.items()},
                    encoded=encoded[i], attended=attended[i], query_days=query_days[i],
                )
                for i in range(len(bands))
            ]
        )  # fmt: skip

    def encode(
        self,
        lr: Tensor | None,
        lr_days: Tensor | None,
        hr: Tensor | None,
        hr_days: Tensor | None,
        *,
        margin: int = 0,
        sar: Tensor | None = None,
        sar_days: Tensor | None = None,
    ) -> Tensor:
        """Return what `decode` asks, (B, H, W, N, D); `margin` fine pixels are seen, then cut."""
        tokens = self.tokens(lr, lr_days, hr, hr_days, sar=sar, sar_days=sar_days)
        return self.attend(crop(tokens, margin))

    def attend(self, tokens: Tensor, absent: Tensor | None = None) -> Tensor:
        """Let the dates of each pixel attend to each other: (B, N, D, H, W) to (B, H, W, N, D).

        Dates that are `absent` (B, N) are not attended to: they pad series that are shorter.
        """
        tokens_BHWND = tokens.permute(0, 3, 4, 1, 2)
        absent_PN = _of_each_pixel(absent, tokens_BHWND.shape[1:3])
        encoded_PND = self.transform(tokens_BHWND.flatten(0, 2), absent_PN)
        return encoded_PND.view(tokens_BHWND.shape)

    def decode(self, encoded: Tensor, query_days: Tensor) -> Tensor:
        """Predict (B, Q, bands, H, W) at days (B, Q) from encoded dates (B, H, W, N, D)."""
        return self.to_bands(self.ask(encoded, query_days))

    def ask(self, encoded: Tensor, query_days: Tensor, absent: Tensor | None = None) -> Tensor:
        """Return maps (B, Q, D, H, W) at days (B, Q) from encoded dates that are not `absent`."""
        B, H, W = encoded.shape[:3]
        query_BQD = self.queries(query_days)
        query_PQD = query_BQD[:, None].expand(-1, H * W, -1, -1).flatten(0, 1)
        absent_PN = _of_each_pixel(absent, encoded.shape[1:3])
        attended_PQD = self.decoder(query_PQD, encoded.flatten(0, 2), absent_PN)
        attended_BHWQD: Tensor = attended_PQD.unflatten(0, (B, H, W))
        return attended_BHWQD.permute(0, 3, 4, 1, 2)

    def tokens(
        self,
        lr: Tensor | None,
        lr_days: Tensor | None,
        hr: Tensor | None,
        hr_days: Tensor | None,
        *,
        sar: Tensor | None = None,
        sar_days: Tensor | None = None,
    ) -> Tensor:
        """Return the tokens (B, N, D, H, W) of every date: features, date, sensor."""
        given = [
            (self.lr_encoder, self.lr_token, lr, lr_days),
            (self.hr_encoder, self.hr_token, hr, hr_days),
        ]
        if sar is not None:
            check_stream(self.config, SAR)
            given.append((self.sar_encoder, self.sar_token, sar, sar_days))
        parts = [
            self._sensor_tokens(encoder, token, x, days)
            for encoder, token, x, days in given
            if x is not None and days is not None and x.shape[1]
        ]
        if not parts:
            raise ModelError(
                "nothing to predict from: both sensors are missing or have zero dates; "
                "give lr, hr, or both at least one date"
            )
        sizes = {tuple(part.shape[-2:]) for part in parts}
        if len(sizes) > 1:
            raise ModelError(
                f"the grids of the two sensors are not nested: after upsampling by "
                f"{self.config.ratio} they are {sorted(sizes)} pixels (y, x); "
                f"crop hr to {self.config.ratio} times the size of lr"
            )
        return torch.cat(parts, dim=1)

    def transform(self, tokens: Tensor, absent: Tensor | None = None) -> Tensor:
        """Let the dates of each pixel attend to those not absent (P, N): (P, N, D) to (P, N, D)."""
        y_PND = tokens
        for layer in self.layers:
            y_PND = layer(y_PND, src_key_padding_mask=absent)
        return y_PND

    def queries(self, days: Tensor) -> Tensor:
        """Return the query tokens (B, Q, D) of days (B, Q): the same for every pixel."""
        encoding_BQP = positional_encoding(days, self.config.positional).to(self.query_latent)
        latent_BQL = self.query_latent.expand(*days.shape, -1)
        token_BQS = self.query_token.expand(*days.shape, -1)
        return torch.cat([latent_BQL, encoding_BQP, token_BQS], dim=-1)

    def to_bands(self, attended: Tensor) -> Tensor:
        """Turn attended maps (B, Q, D, H, W) into standardised bands (B, Q, bands, H, W)."""
        maps_XDHW = attended.flatten(0, 1)
        hidden_XDHW = functional.leaky_relu(self.out1(maps_XDHW), SLOPE)
        bands_XCHW: Tensor = self.out2(hidden_XDHW)
        return bands_XCHW.reshape(*attended.shape[:2], *bands_XCHW.shape[1:])

    def with_levels(
        self,
        bands: Tensor,
        pixels: Mapping[str, Tensor],
        days: Mapping[str, Tensor],
        *,
        encoded: Tensor,
        attended: Tensor,
        query_days: Tensor,
    ) -> Tensor:
        """Draw the bands of one series to levels of their days, see `tamrf_xr.model.levels`.

        Parameters
        ----------
        bands
            (Q, bands, H, W), of `to_bands`.
        pixels, days
            By optical stream, (T, B, y, x), standardised, not a number where a band was not seen,
            and (T,).
        encoded, attended
            (H, W, N, D) and (Q, D, H, W), of which bands were made.
        query_days
            (Q,).

        Returns
        -------
        Tensor
            As `bands`; the same where there is no head, or no date of its sensor.
        """
        parts = parts_of(self)
        told = self.told(
            pixels, days,
            encoded=encoded, query_days=query_days, parts=parts, attended=attended,
        )  # fmt: skip
        return bands + moved(parts, bands, told)

    def told(
        self,
        pixels: Mapping[str, Tensor],
        days: Mapping[str, Tensor],
        *,
        encoded: Tensor,
        query_days: Tensor,
        parts: Sequence[Part],
        attended: Tensor | None = None,
    ) -> Tensor:
        """Return what some heads tell, (Q, H, W, channels): 0 of others, and without a date.

        Arguments are those of `with_levels`; heads of reflectance need nothing attended.
        """
        size = encoded.shape[:2]
        told = encoded.new_zeros((len(query_days), size[0] * size[1], told_of(parts_of(self))))
        none = encoded.new_empty((len(query_days), size[0] * size[1], 0))
        answer = none if attended is None else attended.permute(0, 2, 3, 1).flatten(1, 2)
        first = {"lr": 0, "hr": len(days["lr"])}
        for part in parts:
            own = days[part.stream]
            if not len(own):
                continue
            at = slice(first[part.stream], first[part.stream] + len(own))
            x, ratio = pixels[part.stream], self.config.ratio if part.stream == "lr" else 1
            values = measured(x.nan_to_num(), x.isnan(), ratio)[..., part.bands]
            values = values.permute(1, 2, 0, 3).flatten(0, 1)
            weighed = part.head.weighed(values, encoded[:, :, at].flatten(0, 1))
            maps = weighed.T.unflatten(1, size)
            weighed = least(maps, slice(0, size[0]), part.head.neighbours).flatten(1).T
            dates, asked = seen(weighed, values), part.head.moments(own, query_days)
            told[..., part.at] = part.head(dates, answer, asked)
        found: Tensor = told.unflatten(1, size)
        return found

    def standardise(self, x: Tensor, sensor: str) -> Tensor:
        """Standardise pixels (..., C, y, x) of one of the network's streams."""
        mean, std = self.get_buffer(f"{sensor}_mean"), self.get_buffer(f"{sensor}_std")
        return (x - mean[:, None, None]) / std[:, None, None]

    def destandardise(self, bands: Tensor) -> Tensor:
        """Bring standardised bands (..., bands, H, W) to reflectance and kelvin / 1000."""
        mean = torch.cat([self.lr_mean, self.hr_mean])
        std = torch.cat([self.lr_std, self.hr_std])
        return bands * std[:, None, None] + mean[:, None, None]

    def _sensor_tokens(
        self, encoder: SpatialEncoder | DateEncoder, token: Tensor, x: Tensor, days: Tensor
    ) -> Tensor:
        maps_XLHW: Tensor = encoder(x.flatten(0, 1))
        maps_BTLHW = maps_XLHW.reshape(*x.shape[:2], *maps_XLHW.shape[1:])
        encoding_BTP = positional_encoding(days, self.config.positional).to(maps_BTLHW)
        constant_BTC = torch.cat([encoding_BTP, token.expand(*days.shape, -1)], dim=-1)
        constant_BTCHW = constant_BTC[..., None, None].expand(-1, -1, -1, *maps_BTLHW.shape[-2:])
        return torch.cat([maps_BTLHW, constant_BTCHW], dim=2)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator | None) -> None:
        for name, parameter in self.named_parameters():
            if name.endswith("scale"):
                parameter.fill_(_SCALE)
            elif "norm" in name:
                parameter.fill_(float(name.endswith("weight")))
            elif name.endswith(("token", "latent")):
                parameter.normal_(generator=generator)
            elif parameter.dim() > 1:
                bound = 1 / math.sqrt(parameter[0].numel())
                parameter.uniform_(-bound, bound, generator=generator)
            else:
                parameter.zero_()


class SpatialEncoder(nn.Module):
    """Turn the bands of single dates into L features on the fine grid.

    Residual-in-residual dense blocks [1]_; with ``ratio`` above 1, bicubic upsampling after.

    References
    ----------
    .. [1] Wang et al., "ESRGAN", 2018, section 3.1.
    """

    def __init__(self, config: NetworkConfig, bands: int, *, blocks: int, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.first = _conv3(bands, config.latent)
        self.blocks = nn.ModuleList(ResidualBlock(config) for _ in range(blocks))
        self.last = _conv3(config.latent, config.latent)
        self.up = _conv3(config.latent, config.latent) if ratio > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Encode (X, C, h, w) into (X, L, ratio h, ratio w)."""
        first_XLhw = self.first(x)
        y_XLhw = first_XLhw
        for block in self.blocks:
            y_XLhw = block(y_XLhw)
        y_XLhw = first_XLhw + self.last(y_XLhw)
        return y_XLhw if self.up is None else self._upsample(y_XLhw, self.up)

    def _upsample(self, y: Tensor, conv: nn.Conv2d) -> Tensor:
        scale = float(self.ratio)
        y_XLHW = functional.interpolate(y, scale_factor=scale, mode="bicubic", align_corners=False)
        return functional.leaky_relu(conv(y_XLHW), SLOPE)


class ResidualBlock(nn.Module):
    """Three dense blocks in a row, and a scaled residual around them."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.dense = nn.ModuleList(DenseBlock(config) for _ in range(3))
        self.scale = nn.Parameter(torch.tensor(_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """Map (X, L, h, w) to (X, L, h, w)."""
        y = x
        for block in self.dense:
            y = block(y)
        return x + self.scale * y


class DenseBlock(nn.Module):
    """Five convolutions, each on all that came before it; the fifth too is rectified."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        inputs = [config.latent + i * config.growth for i in range(5)]
        outputs = [config.growth] * 4 + [config.latent]
        self.convs = nn.ModuleList(_conv3(i, o) for i, o in zip(inputs, outputs, strict=True))
        self.scale = nn.Parameter(torch.tensor(_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """Map (X, L, h, w) to (X, L, h, w)."""
        parts = [x]
        for conv in self.convs:
            parts.append(functional.leaky_relu(conv(torch.cat(parts, dim=1)), SLOPE))
        return x + self.scale * parts[-1]


class DecoderAttention(nn.Module):
    """One post-norm attention block, from queries to the encoded dates and one zero token.

    The zero key and value come after the projections, so they take a share of the softmax.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        D, hidden = config.width, config.decoder_feedforward
        self.attention = nn.MultiheadAttention(
            D, config.decoder_heads, add_zero_attn=True, batch_first=True
        )
        self.linear1, self.linear2 = nn.Linear(D, hidden), nn.Linear(hidden, D)
        self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)

    def forward(self, query: Tensor, encoded: Tensor, absent: Tensor | None = None) -> Tensor:
        """Attend from queries (P, Q, D) to encoded dates (P, N, D) not absent (P, N): (P, Q, D)."""
        found_PQD, _ = self.attention(
            query, encoded, encoded, key_padding_mask=absent, need_weights=False
        )
        y_PQD: Tensor = self.norm1(query + found_PQD)
        hidden_PQF = functional.relu(self.linear1(y_PQD))
        z_PQD: Tensor = self.norm2(y_PQD + self.linear2(hidden_PQF))
        return z_PQD


def _of_each_pixel(absent: Tensor | None, grid: Sequence[int]) -> Tensor | None:
    """Say for each pixel (P, N) of a grid (H, W) what is absent of its batch (B, N)."""
    if absent is None:
        return None
    return absent[:, None].expand(-1, math.prod(grid), -1).flatten(0, 1)


def crop(images: Tensor, margin: int) -> Tensor:
    """Leave out `margin` pixels on every side of images (..., y, x)."""
    height, width = images.shape[-2:]
    return images[..., margin : height - margin, margin : width - margin]


def positional_encoding(days: Tensor, channels: int) -> Tensor:
    """Encode days as sines (even channels) and cosines (odd channels) of falling frequency.

    Parameters
    ----------
    days
        Days from the origin, of any shape; the year of the model is 0..365.
    channels
        P, the number of channels.

    Returns
    -------
    Tensor
        float32, the shape of `days` and one dimension of P channels.
    """
    j = torch.arange(channels, device=days.device)
    period = _YEAR ** (2 * (j // 2).double() / channels)
    angle = days.double()[..., None] / period  # float64: days may be far from the origin
    return torch.where(j % 2 == 0, angle.sin(), angle.cos()).float()


def _conv3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)


def _transformer_layer(config: NetworkConfig) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        config.width,
        config.num_heads,
        config.feedforward,
        dropout=0.1,
        layer_norm_eps=1e-5,
        batch_first=True,
    )
