"""What a network is made of: sizes, reaches and band statistics, without torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

from tamrf_xr.errors import ModelError

_MAY_BE_ZERO = ("sensor_token", "num_blocks", "lr_num_blocks", "num_layers")
OPTICAL: Final = ("lr", "hr")
"""Streams of every network: what it makes bands of, in the order of its outputs."""

SAR: Final = "sar"
"""Stream of radar at the high resolution: it is attended to, and no band of it is made."""

_MOST: Final = {"num_blocks": 64, "lr_num_blocks": 64, "num_layers": 256, "ratio": 64}
_WIDEST: Final = 65_536
"""Sizes above these are of no network: they come of damaged or made-up headers."""


ENCODERS: Final[dict[str, Callable[[int], int]]] = {
    "esrgan": lambda blocks: 2 + 15 * blocks,
    "carn": lambda blocks: 1 + 6 * blocks,
    "unet": lambda blocks: 2**blocks + 2 ** max(blocks - 1, 0) - 1,
    "mlp": lambda _: 0,
    "linear": lambda _: 0,
}
"""Encoders of single dates by name, and how many pixels around one they see, by their blocks."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of one network; the defaults are the published model.

    Raises
    ------
    ModelError
        If a size is out of range, or the token width is no multiple of a number of heads.

    Examples
    --------
    >>> NetworkConfig().width, NetworkConfig().hr_halo, NetworkConfig().lr_halo
    (136, 19, 20)
    """

    hr_bands: int = 10
    """Bands of the high-resolution sensor, entering and leaving."""

    lr_bands: int = 8
    """Bands of the low-resolution sensor, entering and leaving."""

    latent: int = 64
    """L: channels of the spatial features of one date."""

    growth: int = 32
    """G: channels that each convolution of a dense block adds."""

    num_blocks: int = 1
    """Blocks of each spatial encoder: residual-in-residual dense ones, or what they are of its
    kind."""

    lr_num_blocks: int | None = None
    """Those of the low-resolution encoder where it has another number; None: `num_blocks`."""

    positional: int = 64
    """P: channels of the positional encoding of a date."""

    sensor_token: int = 8
    """S: channels of the learnt sensor token; 0 for none."""

    num_heads: int = 4
    """Attention heads of the temporal encoder."""

    decoder_heads: int = 4
    """Attention heads of the decoder."""

    num_layers: int = 3
    """Transformer layers of the temporal encoder."""

    feedforward: int = 256
    """Hidden width of the feed-forward part of each transformer layer."""

    decoder_feedforward: int = 256
    """Hidden width of the feed-forward part of the decoder."""

    ratio: int = 3
    """Low-resolution pixel size over high-resolution pixel size."""

    encoder: str = "esrgan"
    """What turns the bands of one date into features: a key of `ENCODERS`."""

    streams: tuple[str, ...] = OPTICAL
    """Series that the network takes: ``("lr", "hr")``, or these and ``"sar"``. Not trained here."""

    sar_bands: int = 2
    """Bands of the stream ``"sar"``: polarisations, entering only."""

    def __post_init__(self) -> None:
        self._check_kinds()
        for item in fields(self):
            absent = item.name == "lr_num_blocks" and self.lr_num_blocks is None
            if item.name not in ("encoder", "streams") and not absent:
                self._check_size(item.name)
        for name in ("num_heads", "decoder_heads"):
            if self.width % getattr(self, name):
                raise ModelError(
                    f"NetworkConfig.{name}={getattr(self, name)} does not divide the token width "
                    f"{self.width} (latent {self.latent} + positional {self.positional} + "
                    f"sensor_token {self.sensor_token}); choose a divisor of {self.width}"
                )

    def _check_kinds(self) -> None:
        if self.streams not in (OPTICAL, (*OPTICAL, SAR)):
            raise ModelError(
                f"NetworkConfig.streams is {self.streams!r:.80}; expected ('lr', 'hr') or "
                "('lr', 'hr', 'sar')"
            )
        if self.encoder not in ENCODERS:
            raise ModelError(
                f"NetworkConfig.encoder must be one of {', '.join(ENCODERS)}, got {self.encoder!r}"
            )
        if self.encoder == "linear" and (self.num_blocks or self.lr_num_blocks):
            raise ModelError("NetworkConfig.encoder='linear' has no blocks; set num_blocks=0")

    def _check_size(self, name: str) -> None:
        value, least = getattr(self, name), 0 if name in _MAY_BE_ZERO else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ModelError(
                f"NetworkConfig.{name} must be an integer of at least {least}, got {value!r}"
            )
        if value > (most := _MOST.get(name, _WIDEST)):
            raise ModelError(f"NetworkConfig.{name} must be at most {most}, got {value!r}")

    @property
    def width(self) -> int:
        """D: channels of a token, L + P + S."""
        return self.latent + self.positional + self.sensor_token

    @property
    def bands(self) -> int:
        """Output channels: the LR bands, then the HR bands."""
        return self.lr_bands + self.hr_bands

    @property
    def lr_blocks(self) -> int:
        """Residual-in-residual dense blocks of the low-resolution encoder."""
        return self.num_blocks if self.lr_num_blocks is None else self.lr_num_blocks

    @property
    def encoder_reach(self) -> int:
        """High-resolution pixels that the convolutions of that sensor see around one pixel."""
        return ENCODERS[self.encoder](self.num_blocks)

    @property
    def lr_encoder_reach(self) -> int:
        """Low-resolution pixels that the convolutions of that sensor see around one pixel."""
        return ENCODERS[self.encoder](self.lr_blocks)

    @property
    def decoder_reach(self) -> int:
        """High-resolution pixels that the decoder's convolutions see around one pixel."""
        return 2

    @property
    def hr_halo(self) -> int:
        """High-resolution input pixels that one output pixel needs around it."""
        return self.halos(self.decoder_reach)["hr"]

    @property
    def sar_halo(self) -> int:
        """Pixels of the stream ``"sar"`` that one output pixel needs around it."""
        return self.hr_halo

    @property
    def lr_halo(self) -> int:
        """Low-resolution input pixels needed around the LR pixel that holds an output pixel."""
        return self.halos(self.decoder_reach)["lr"]

    def halos(self, reach: int) -> dict[str, int]:
        """Return the input pixels of each sensor that one output pixel needs around it.

        Parameters
        ----------
        reach
            High-resolution pixels around it whose features it follows from; `decoder_reach` for
            the network alone, see `tamrf_xr.model.levels.decoder_reach`.
        """
        return {
            "hr": self.encoder_reach + reach,
            "lr": self.lr_encoder_reach + self.upsampling_reach(reach),
        }

    def upsampling_reach(self, margin: int = 0) -> int:
        """Low-resolution pixels seen by the upsampling and the convolution after it.

        Parameters
        ----------
        margin
            High-resolution pixels around an LR pixel whose features must be exact too.

        Returns
        -------
        int
            LR pixels needed around that LR pixel, the date-wise convolutions not counted.
        """
        if self.ratio == 1:  # no upsampling
            return margin
        farthest = self.ratio - 1 + margin + 1  # +1: the convolution on the fine grid
        return math.floor((farthest + 0.5) / self.ratio - 0.5) + 2  # +2: bicubic taps


@dataclass(frozen=True, slots=True)
class BandStatistics:
    """Mean, standard deviation, MTF and native resolution of every band of both sensors.

    Raises
    ------
    ModelError
        If the tuples of one sensor differ in length, or a standard deviation is not positive.
    """

    hr_mean: tuple[float, ...]
    """Mean reflectance of each HR band."""

    hr_std: tuple[float, ...]
    """Standard deviation of each HR band, reflectance."""

    lr_mean: tuple[float, ...]
    """Mean of each LR band, reflectance; LST in kelvin / 1000."""

    lr_std: tuple[float, ...]
    """Standard deviation of each LR band, in the unit of its mean."""

    hr_mtf: tuple[float, ...] = (1, 1, 1, 0.3, 0.3, 0.3, 1, 0.3, 0.3, 0.3)
    """MTF of each HR band at the Nyquist frequency of its native resolution."""

    lr_mtf: tuple[float, ...] = (0.3,) * 7 + (0.2,)
    """MTF of each LR band at the Nyquist frequency of its native resolution."""

    hr_resolution: tuple[float, ...] = (10, 10, 10, 20, 20, 20, 10, 20, 20, 20)
    """Native resolution of each HR band, metres."""

    lr_resolution: tuple[float, ...] = (30,) * 7 + (90,)
    """Native resolution of each LR band, metres."""

    sar_mean: tuple[float, ...] = ()
    """Mean of each band of the stream ``"sar"``, dB; empty where it is not known: 0."""

    sar_std: tuple[float, ...] = ()
    """Standard deviation of each, dB; empty where it is not known: 1."""

    def __post_init__(self) -> None:
        if len(self.sar_mean) != len(self.sar_std) or min(self.sar_std, default=1.0) <= 0:
            raise ModelError(
                f"BandStatistics: sar_mean {self.sar_mean} and sar_std {self.sar_std} must have "
                "one value a band each, deviations above 0"
            )
        for sensor in ("hr", "lr"):
            counts = {
                name: len(getattr(self, name)) for name in self.names() if name.startswith(sensor)
            }
            if len(set(counts.values())) > 1:
                raise ModelError(f"BandStatistics: one value a band is needed, got {counts}")
            spread = getattr(self, f"{sensor}_std")
            if min(spread, default=1.0) <= 0:
                raise ModelError(f"BandStatistics.{sensor}_std must be positive, got {spread}")

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the names of the buffers, in order."""
        return tuple(f"{s}_{k}" for s in ("hr", "lr") for k in ("mean", "std", "mtf", "resolution"))

    @staticmethod
    def unit(config: NetworkConfig) -> BandStatistics:
        """Return mean 0, deviation 1, for networks whose bands are not the published ones."""
        hr, lr = config.hr_bands, config.lr_bands
        return BandStatistics(
            hr_mean=(0.0,) * hr,
            hr_std=(1.0,) * hr,
            lr_mean=(0.0,) * lr,
            lr_std=(1.0,) * lr,
            hr_mtf=(1.0,) * hr,
            lr_mtf=(1.0,) * lr,
            hr_resolution=(10.0,) * hr,
            lr_resolution=(10.0 * config.ratio,) * lr,
        )


STATISTICS: Final[dict[str, BandStatistics]] = {
    "all": BandStatistics(
        hr_mean=(0.1353, 0.1591, 0.1793, 0.215, 0.2714, 0.2915, 0.3019, 0.3066, 0.2431, 0.1839),
        hr_std=(0.1461, 0.141, 0.1455, 0.1419, 0.1313, 0.1271, 0.1304, 0.1206, 0.07, 0.0596),
        lr_mean=(0.1298, 0.1409, 0.1681, 0.1868, 0.3156, 0.2398, 0.1757, 0.2999),
        lr_std=(0.1808, 0.1803, 0.1663, 0.1678, 0.1391, 0.067, 0.0556, 0.0124),
    ),
    "europe-2022": BandStatistics(
        hr_mean=(
            0.07362382,
            0.09873312,
            0.10814488,
            0.14970998,
            0.2355543,
            0.26680005,
            0.28025445,
            0.28828138,
            0.2216299,
            0.14820623,
        ),
        hr_std=(
            0.10642567,
            0.10443379,
            0.11574283,
            0.11321685,
            0.11052303,
            0.1171153,
            0.12189993,
            0.11818925,
            0.10420649,
            0.0853072,
        ),
        lr_mean=(
            0.05113843,
            0.06119436,
            0.09155057,
            0.10012265,
            0.28283224,
            0.21124776,
            0.13495721,
            0.29776597,
        ),
        lr_std=(
            0.10639405,
            0.10818487,
            0.10420593,
            0.11348532,
            0.11900955,
            0.09519453,
            0.07544196,
            0.02458386,
        ),
    ),
    "world": BandStatistics(
        hr_mean=(0.163, 0.1854, 0.2095, 0.2426, 0.2866, 0.302, 0.311, 0.3144, 0.2489, 0.1953),
        hr_std=(0.1623, 0.1562, 0.1596, 0.1559, 0.1431, 0.1363, 0.1394, 0.1281, 0.0661, 0.0573),
        lr_mean=(0.1688, 0.1799, 0.2042, 0.2251, 0.3294, 0.2406, 0.183, 0.299),
        lr_std=(0.2072, 0.2065, 0.19, 0.1908, 0.1528, 0.0642, 0.0538, 0.0126),
    ),
}
"""Published statistics; `"all"` is the default for training from scratch."""
