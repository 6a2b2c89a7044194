"""Dataclasses of settings that refuse values out of bounds when they are made."""

from __future__ import annotations

import typing
from functools import cache
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from tamrf_xr.errors import OptionError

_ALMOST_0: Final = 1e-6
"""A least value below this stands for more than 0."""


class Checked:
    """A dataclass that refuses numbers out of bounds, and words of no meaning, when it is made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Check every value; an `OptionError` names the first that is wrong."""
        kind: Any = type(self)
        section, configures, _ = kind.__name__.partition("Config")
        for key, wanted in _hints(kind).items():
            name = f"{section.lower()}.{key}" if configures else key
            _check(name, getattr(self, key), wanted)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _check(name: str, value: Any, wanted: Any) -> None:
    if get_origin(wanted) is Literal and value not in get_args(wanted):
        raise OptionError(f"{name} is {value!r}; choose one of {', '.join(get_args(wanted))}")
    if get_origin(wanted) is Annotated:
        least, most = wanted.__metadata__
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not least <= value <= most:  # nor is NaN
            floor = "more than 0" if 0 < least < _ALMOST_0 else f"at least {least:g}"
            # Digits of a number may be thousands.
            raise OptionError(f"{name} is {value!r:.40}; expected {floor}, at most {most:g}")
