"""What the numbers of a training run may be: one table, looked at once, before anything is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tamrf_xr.errors import OptionError

SMALL: Final = 1e-6
"""Lower bounds below it stand for more than nothing."""

_LONG: Final = 10**9
_WEIGHT: Final = (0.0, 1e6)

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "loss.masked_weight": _WEIGHT,
    "loss.beta": (1e-9, 1e6),
    "loss.margin": (0, 10_000),
    "loss.min_valid": (0, 1),
    "loss.triplet_weight": _WEIGHT,
    "loss.triplet_margin": (1e-12, 1e6),
    "loss.triplet_days": (0, 1e6),
    "loss.perceptual_weight": _WEIGHT,
    "loss.max_invalid": (0, 1),
    "loss.max_perceptual": _WEIGHT,
    "loss.decorrelation_weight": _WEIGHT,
    "data.patch_m": (30, 109_800),
    "data.stride_m": (0, 10_000_000),
    "data.dates": (2, 100_000),
    "data.min_dates": (1, 100_000),
    "data.slice_days": (1, 36_525),
    "data.shift_days": (0, 36_525),
    "data.validation_share": (0, 0.9),
    "data.threads": (1, 256),
    "optim.steps": (1, _LONG),
    "optim.batch": (1, 65_536),
    "optim.lr": (1e-12, 10),
    "optim.warmup": (0, _LONG),
    "optim.period": (0, _LONG),
    "optim.floor": (0, 10),
    "optim.clip": (1e-9, 1e9),
    "optim.dropout": (0, 0.95),
    "optim.average": (0, 0.999999),
    "run.seed": (0, 2**63 - 1),
    "run.validate_every": (1, _LONG),
    "run.validation_samples": (1, 10_000_000),
    "run.keep": (1, 100_000),
}
"""Least and most of each, both allowed."""


def check_bounds(config: Any) -> None:
    """Check every number of a configuration.

    Parameters
    ----------
    config
        With the sections that `BOUNDS` names.

    Raises
    ------
    OptionError
        Naming the first that is out of bounds, or no finite number.
    """
    for name, (least, most) in BOUNDS.items():
        section, key = name.split(".")
        check_number(name, getattr(getattr(config, section), key), least, most)


def check_number(name: str, value: Any, least: float, most: float) -> None:
    """Check one number.

    Raises
    ------
    OptionError
        Naming it, what it is and what is expected.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most:  # nor is NaN
        # Digits of a number may be thousands.
        floor = "more than 0" if 0 < least < SMALL else f"at least {least:g}"
        raise OptionError(f"{name} is {value!r:.40}; expected {floor}, at most {most:g}")
