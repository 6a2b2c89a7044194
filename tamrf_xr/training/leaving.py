"""What training leaves out, by place and date, so that it can be tested on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import pandas as pd
from pyproj import CRS, Transformer

from tamrf_xr.errors import OptionError

Bounds = tuple[float, float, float, float]
"""West, south, east, north."""

GEOGRAPHIC = CRS("EPSG:4326")
FORMS = "WEST,SOUTH,EAST,NORTH in degrees, START/END, or both: W,S,E,N@START/END"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A place, a span of time, or a place within a span of time."""

    bounds: Bounds | None = None
    """In degrees; None: everywhere."""

    span: tuple[pd.Timestamp, pd.Timestamp] | None = None
    """First and last day; None: always."""

    @classmethod
    def parsed(cls, text: str) -> LeftOut:
        """Read one of the forms of ``data.leave_out``.

        Raises
        ------
        OptionError
            If it is none of them, or bounds or dates are reversed.

        Examples
        --------
        >>> LeftOut.parsed("3.2,50.8,3.3,50.9").bounds
        (3.2, 50.8, 3.3, 50.9)
        >>> LeftOut.parsed("2018-01-01/2018-12-31").span[1].day
        31
        """
        place, at, span = text.partition("@") if "@" in text else ("", "", text)
        if not at and not re.search(r"\d{4}-", text):
            place, span = text, ""
        return cls(_bounds(place, text) if place else None, _span(span, text) if span else None)

    def touches(self, bounds: Bounds, crs: CRS) -> bool:
        """Tell whether a rectangle of a coordinate system has ground in common with the place."""
        if self.bounds is None:
            return True
        west, south, east, north = _geographic(crs).transform_bounds(*bounds)
        return not (
            east < self.bounds[0]
            or west > self.bounds[2]
            or north < self.bounds[1]
            or south > self.bounds[3]
        )

    def without(self, days: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Return the days that are not within the span."""
        if self.span is None:
            return days
        first, last = self.span
        return days[(days < first) | (days >= last + pd.Timedelta(1, "D"))]


def parse_all(texts: Sequence[str]) -> tuple[LeftOut, ...]:
    """Read every entry of ``data.leave_out``."""
    return tuple(LeftOut.parsed(text) for text in texts)


@cache
def _geographic(crs: CRS) -> Transformer:
    return Transformer.from_crs(crs, GEOGRAPHIC, always_xy=True)


def _bounds(place: str, text: str) -> Bounds:
    try:
        west, south, east, north = map(float, place.split(","))
    except ValueError:
        raise OptionError(f"data.leave_out has {text!r:.60}; expected {FORMS}") from None
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise OptionError(
            f"data.leave_out has {text!r:.60}; expected west < east within 180 degrees and "
            "south < north within 90"
        )
    return west, south, east, north


def _span(span: str, text: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    try:
        first, last = (pd.Timestamp(day) for day in span.split("/"))
    except ValueError:
        raise OptionError(f"data.leave_out has {text!r:.60}; expected {FORMS}") from None
    if not first <= last:
        raise OptionError(f"data.leave_out has {text!r:.60}; expected START not after END")
    return first, last
