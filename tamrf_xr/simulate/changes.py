"""Sudden changes of the land: what happens, when, where, what it leaves, and the truth of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.errors import OptionError
from tamrf_xr.simulate.fields import Field, fractal, stream


@dataclass(frozen=True, slots=True)
class Event:
    """A sudden change of a piece of land.

    Examples
    --------
    >>> Event("fire", day=200, south=0.5, east=0.25, radius_m=300).kind
    'fire'
    """

    kind: str
    """A key of `AFTERMATHS`."""

    day: int
    """From 1 January of the scene's first year, which is 0: the first that shows it."""

    south: float
    """Of its middle, from the northern edge of the scene, as part of the scene's edge, 0..1."""

    east: float
    """Of its middle, from the western edge, likewise."""

    radius_m: float
    """Mean radius, in metres."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.kind not in AFTERMATHS:
            raise OptionError(
                f"there is no event {self.kind!r:.40}; there are: {', '.join(AFTERMATHS)}"
            )
        for name in ("south", "east"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} of {self.kind} is {getattr(self, name)}: expected 0..1")
        if not 5 <= self.radius_m <= 100_000:
            raise OptionError(
                f"radius_m of {self.kind} is {self.radius_m}: expected 5 to 100000 metres"
            )
        if self.day not in range(36_600):
            raise OptionError(f"day of {self.kind} is {self.day!r:.40}: expected a number of days")


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What a kind of change leaves; shares are of the materials of `spectra`."""

    first: dict[str, float]
    """Right after."""

    later: dict[str, float]
    """Once the first has faded."""

    fades_days: float
    """Days in which the first fades by 1/e."""

    heals_days: float
    """Days in which the land comes back by 1/e: a million where it stays."""

    radius_m: tuple[float, float]
    """Range of the mean radius that is drawn, in metres."""

    angular: bool = False
    """Whether it has straight edges, as what is built or felled has."""

    reach: float = 0.3
    """How far its rim wobbles, relative to the radius."""

    stretch: float = 1.4
    """How many times it is longer, or wider, than a circle, at most."""

    rough: float = 0.08
    """Standard deviation of its texture, relative."""

    hot_kelvin: float = 0.0
    """How much warmer it is at first, in K."""

    cools_days: float = 1.0
    """Days in which it cools by 1/e."""


STAYS = 1e6

AFTERMATHS: dict[str, Aftermath] = {
    "fire": Aftermath(
        {"char": 0.85, "litter": 0.15}, {"char": 0.25, "soil_dry": 0.45, "straw": 0.3},
        60.0, 600.0, (120, 520), reach=0.55, rough=0.16, hot_kelvin=4.0, cools_days=20.0,
    ),
    "clearing": Aftermath(
        {"soil_dry": 0.55, "straw": 0.2, "litter": 0.25}, {"soil_dry": 0.5, "grass": 0.5},
        150.0, STAYS, (60, 260), angular=True, rough=0.14,
    ),
    "felling": Aftermath(
        {"litter": 0.75, "soil_dry": 0.25}, {"litter": 0.5, "grass": 0.4, "soil_dry": 0.1},
        240.0, STAYS, (60, 200), angular=True, rough=0.12,
    ),
    "harvest": Aftermath(
        {"straw": 0.55, "soil_dry": 0.45}, {"soil_dry": 0.75, "straw": 0.25},
        40.0, 300.0, (60, 180), angular=True, rough=0.05,
    ),
    "flood": Aftermath(
        {"silt": 1.0}, {"soil_wet": 0.8, "grass": 0.2}, 22.0, 220.0, (150, 600), reach=0.5,
        rough=0.03,
    ),
    "building": Aftermath(
        {"gravel": 0.6, "soil_dry": 0.4}, {"steel": 0.35, "slate": 0.3, "asphalt": 0.35},
        80.0, STAYS, (30, 130), angular=True, rough=0.2,
    ),
    "landslide": Aftermath(
        {"gravel": 0.55, "soil_wet": 0.45}, {"gravel": 0.6, "soil_dry": 0.4},
        30.0, STAYS, (40, 180), reach=0.5, rough=0.12,
    ),
    "lava": Aftermath(
        {"lava": 1.0}, {"lava": 1.0}, 100.0, STAYS, (120, 600), reach=0.5, stretch=2.2, rough=0.14,
        hot_kelvin=45.0, cools_days=25.0,
    ),
}  # fmt: skip
"""Every kind of change. Shares, times and sizes are assumed, at levels that are usual."""

MATERIALS = {
    kind: tuple(dict.fromkeys((*row.first, *row.later))) for kind, row in AFTERMATHS.items()
}
"""What materials each kind of change takes."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Where an event lies, on the 10 m grid of what is simulated."""

    event: Event
    """The change."""

    window: tuple[slice, slice]
    """Rows and columns."""

    share: Field = field(repr=False)
    """Part of each pixel of the window that is changed, 0..1."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A scene within what is simulated, in 10 m pixels."""

    count: int
    """Along the edge of what is simulated."""

    margin: int = 0
    """Between that edge and the scene's."""

    size: int = 0
    """Along the edge of the scene; 0: all but the margins."""

    @property
    def inner(self) -> slice:
        """Rows, or columns, of the scene."""
        size = self.size or self.count - 2 * self.margin
        return slice(self.margin, self.margin + size)


def extent(seed: int, number: int, event: Event, frame: Frame) -> Extent | None:
    """Draw the outline of an event.

    Parameters
    ----------
    seed
        Of the scene.
    number
        Of the event in the scene.
    event
        The change.
    frame
        Where the scene lies in what is simulated.

    Returns
    -------
    Extent or None
        Where it lies; None where nothing of it is within what is simulated.
    """
    row, rng = AFTERMATHS[event.kind], stream(seed, "extent", number)
    radius, edge = event.radius_m / 10, frame.inner.stop - frame.inner.start
    middle = frame.margin + edge * event.south, frame.margin + edge * event.east
    reach = radius * row.stretch * (1 + 1.5 * row.reach) + 2
    window = tuple(
        slice(max(0, int(at - reach)), min(frame.count, int(at + reach) + 1)) for at in middle
    )
    y, x = (
        (np.arange(part.start, part.stop) + 0.5 - at) / radius
        for part, at in zip(window, middle, strict=True)
    )
    inside = _inside(rng, row, (y[:, None], x[None]), wobble_px=1.2 * radius)
    share = np.asarray(np.clip(0.5 + inside * radius, 0, 1), np.float32)
    if not share.any():
        return None
    return Extent(event, (window[0], window[1]), share)


def _inside(
    rng: np.random.Generator, row: Aftermath, at: tuple[Any, Any], *, wobble_px: float
) -> NDArray[np.float64]:
    """Return how deep pixels lie inside, relative to the radius: negative outside."""
    y, x = at
    turn, longer = rng.uniform(0, np.pi), rng.uniform(1 / row.stretch, row.stretch)
    along = (x * np.cos(turn) + y * np.sin(turn)) * longer
    across = (y * np.cos(turn) - x * np.sin(turn)) / longer
    if row.angular:
        return np.asarray(0.89 - np.maximum(np.abs(along), np.abs(across)))
    wobble = fractal(rng, (y.size, x.size), slope=3.8, longest=max(4.0, wobble_px))
    return np.asarray(1 - np.hypot(along, across) + row.reach * wobble)


@dataclass(frozen=True, slots=True)
class Chance:
    """How often a kind of change happens in a biome."""

    kind: str
    """A key of `AFTERMATHS`."""

    mean: float
    """Mean number a year on a scene of 3.3 km; on one whose edge is shorter, as much less."""

    season: tuple[float, float] = (183.0, 365.0)
    """Middle (day of the year) and length (days) of when; by default any day."""


def draw_events(
    seed: int, chances: Sequence[Chance], *, years: int, edge_m: float
) -> tuple[Event, ...]:
    """Draw the events of a scene.

    Parameters
    ----------
    seed
        Of the scene.
    chances
        How often what happens.
    years
        Length of the series.
    edge_m
        Of the scene, in metres.

    Returns
    -------
    tuple of Event
        In order of their days. Another length of the edge takes some away, and moves none.
    """
    kept = min(edge_m / WIDTH_M, MOST_OF_MEAN) / MOST_OF_MEAN
    events = [
        _event(chance, year, draws[1:])
        for chance in chances
        for year in range(years)
        for draws in _draws(stream(seed, "events " + chance.kind, year), chance.mean)
        if draws[0] < kept
    ]
    return tuple(sorted(events, key=lambda event: event.day))


WIDTH_M = 3300.0
"""Edge of the scenes that means hold for."""

MOST_OF_MEAN = 3.0
"""Most events, relative to the mean: of scenes three times as wide and wider."""


def _draws(rng: np.random.Generator, mean: float) -> list[list[float]]:
    count = rng.poisson(MOST_OF_MEAN * mean)
    draws: list[list[float]] = rng.random((count, 5)).tolist()
    return draws


def _event(chance: Chance, year: int, draws: Sequence[float]) -> Event:
    when, south, east, size = draws
    middle, length = chance.season
    day = int((middle + (when - 0.5) * length) % 365 + 365.25 * year)
    low, high = np.log(AFTERMATHS[chance.kind].radius_m)
    return Event(chance.kind, day, south, east, round(float(np.exp(low + size * (high - low))), 1))


def truth_of(extents: Sequence[Extent], frame: Frame, year: int) -> xr.Dataset:
    """Tell what changed, where and when, on the 10 m grid of a scene, without its coordinates.

    Parameters
    ----------
    extents
        Of every event.
    frame
        Where the scene lies in what is simulated.
    year
        First of the series.

    Returns
    -------
    xarray.Dataset
        As `tamrf_xr.simulate.Simulation.changes` says.
    """
    whole = np.zeros((len(extents), frame.count, frame.count), np.float32)
    for own, one in zip(whole, extents, strict=True):
        own[one.window] = one.share
    share = whole[:, frame.inner, frame.inner]
    start = pd.Timestamp(year, 1, 1)
    days = np.array([one.event.day for one in extents], int)
    dates = np.array(start + pd.to_timedelta(days, unit="D"), "datetime64[ns]").reshape(-1)
    kinds = list(AFTERMATHS)
    codes = np.array([1 + kinds.index(one.event.kind) for one in extents], np.uint8)
    first = np.full(share.shape[1:], -1)
    for number in np.argsort(days, kind="stable")[::-1]:
        first[share[number] >= 0.5] = number
    changed = first >= 0
    none = np.datetime64("NaT", "ns")
    flags = {
        "flag_values": list(range(1 + len(kinds))),
        "flag_meanings": " ".join(("none", *kinds)),
    }
    space = ("y", "x")
    return xr.Dataset(
        {
            "share": (("event", *space), share, {"long_name": "changed part of the pixel"}),
            "date": (space, np.where(changed, np.append(dates, none)[first], none)),
            "kind": (space, np.where(changed, np.append(codes, np.uint8(0))[first], 0), flags),
        },
        coords={
            "event_date": ("event", dates),
            "event_kind": ("event", [one.event.kind for one in extents]),
        },
        attrs={"title": "Sudden changes of a simulated scene"},
    )
