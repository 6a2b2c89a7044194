"""What a network standardises by: the buffers of mean and deviation, checked against its bands."""

from __future__ import annotations

import torch
from torch import Tensor

from tamrf_xr.errors import ModelError
from tamrf_xr.model.config import SAR, STATISTICS, BandStatistics, NetworkConfig


def check_stream(config: NetworkConfig, stream: str) -> None:
    """Refuse what a network has no encoder for.

    Raises
    ------
    ModelError
        Naming the streams that it has.
    """
    if stream not in config.streams:
        raise ModelError(
            f"this network has the streams {config.streams}, none for {stream}; leave it out, or "
            "use a network whose streams have it"
        )


def statistics_for(config: NetworkConfig, statistics: BandStatistics | None) -> dict[str, Tensor]:
    """Return the buffers of a network: statistics given, published, or mean 0 and deviation 1.

    Raises
    ------
    ModelError
        If the statistics do not have the bands of `config`.
    """
    if statistics is None:
        published = STATISTICS["all"]
        fits = (len(published.hr_mean), len(published.lr_mean)) == (
            config.hr_bands,
            config.lr_bands,
        )
        statistics = published if fits else BandStatistics.unit(config)
    found = (len(statistics.hr_mean), len(statistics.lr_mean))
    if found != (config.hr_bands, config.lr_bands):
        raise ModelError(
            f"the statistics have {found[0]} HR and {found[1]} LR bands, the network has "
            f"{config.hr_bands} and {config.lr_bands}; give BandStatistics of the same bands"
        )
    values = {name: getattr(statistics, name) for name in BandStatistics.names()}
    if SAR in config.streams:
        values |= _sar_statistics(config, statistics)
    return {name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()}


def _sar_statistics(
    config: NetworkConfig, statistics: BandStatistics
) -> dict[str, tuple[float, ...]]:
    """Return mean and deviation of radar: those given, else 0 and 1."""
    if not statistics.sar_mean:
        return {"sar_mean": (0.0,) * config.sar_bands, "sar_std": (1.0,) * config.sar_bands}
    if len(statistics.sar_mean) != config.sar_bands:
        raise ModelError(
            f"the statistics have {len(statistics.sar_mean)} bands of radar, the network has "
            f"{config.sar_bands}; give BandStatistics of the same bands"
        )
    return {"sar_mean": statistics.sar_mean, "sar_std": statistics.sar_std}
