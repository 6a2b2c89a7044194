"""The 19 strategies: which dates of each sensor are given, and which days are asked back.

A strategy is a row of `STRATEGIES`: for each sensor, a rule that keeps dates as inputs and a rule
that lists the days asked. The rules are few and shared; a conjunction is a day both sensors saw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.errors import MethodError

__all__ = ["STRATEGIES", "BySensor", "Parameters", "Split", "Strategy", "draw", "split"]

Days = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BySensor:
    """One tuple of numbers for each sensor."""

    landsat: tuple[int, ...] = ()
    sentinel2: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """What a strategy gives to a method, and what it asks back."""

    given: BySensor
    """Positions of the dates given, in the order of the series; empty: the sensor is withheld."""

    asked: BySensor
    """Days asked of each sensor, since the same origin as the series; empty: not asked."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Settings of the strategies; each reads only its own."""

    rate: float = 0.5
    """RANDOM, RANDOM_ALL_DOYS: share of the dates dropped, rounded up, 0 to 1."""

    pivot: int = 183
    """FORECAST, BACKCAST: last, first day given."""

    gap: int = 30
    """GAPS: length of a gap, and of the spell between two gaps, in days."""

    context_start: int = 160
    """CONTEXT: first day of the window."""

    context_size: int = 60
    """CONTEXT: length of the window, in days."""

    context_images: int = 1
    """CONTEXT: dates given on each side of the window, per sensor."""

    custom: tuple[int, ...] = ()
    """CUSTOM: days asked."""

    length: int = 365
    """GAPS, L3A, L3A_10D: length of the series, in days since its origin."""

    origin: str = "2021-01-01"
    """L3A: date of day 0; the default is the first of a year of 365 days."""

    def __post_init__(self) -> None:
        """Refuse values that no strategy can serve."""
        if not 0 <= self.rate <= 1:
            raise MethodError(f"rate is {self.rate}; expected a share between 0 and 1")
        for name in ("gap", "context_size", "context_images", "length"):
            if getattr(self, name) < 1:
                raise MethodError(f"{name} is {getattr(self, name)}; expected at least 1")


@dataclass(frozen=True, slots=True)
class _Case:
    """One series of both sensors, seen from one of them."""

    own: Days
    other: Days
    parameters: Parameters
    rng: np.random.Generator | None


Keep = Callable[[_Case], Mask]
Ask = Callable[[_Case], Days]


def split(
    name: str,
    days: BySensor,
    *,
    parameters: Parameters | None = None,
    rng: np.random.Generator | None = None,
) -> Split:
    """Divide the dates of two sensors into what is given and what is asked.

    Parameters
    ----------
    name
        A key of `STRATEGIES`.
    days
        Acquisition days of each sensor, in days since one origin.
    parameters
        Settings of the strategy; by default those of the paper.
    rng
        Source of chance; needed by RANDOM and RANDOM_ALL_DOYS, unused by the others.

    Returns
    -------
    Split
        Positions given and days asked, both per sensor.

    Raises
    ------
    MethodError
        If the strategy does not exist, needs conjunctions and there are none, or lacks a setting.

    References
    ----------
    Michel & Inglada, "Temporal Attention Multi-Resolution Fusion of Satellite Image
    Time-Series", RSE 2025 (masking strategies; experimental setup of each task).

    Examples
    --------
    >>> seen = BySensor(landsat=(5, 21, 37), sentinel2=(8, 21, 40))
    >>> split("CONJLR2HR", seen)
    Split(given=BySensor(landsat=(1,), sentinel2=()),
          asked=BySensor(landsat=(), sentinel2=(21,)))
    """
    strategy = _find(name)
    parameters = parameters or Parameters()
    landsat, sentinel2 = _days(days.landsat), _days(days.sentinel2)
    if strategy.needs_conjunctions and not np.isin(sentinel2, landsat).any():
        raise MethodError(
            f"strategy {name} needs days on which both sensors observed; found none among"
            f" {len(landsat)} landsat and {len(sentinel2)} sentinel2 days:"
            " choose another strategy or a longer series"
        )
    of_landsat = _Case(landsat, sentinel2, parameters, rng)
    of_sentinel2 = _Case(sentinel2, landsat, parameters, rng)
    return Split(
        given=BySensor(
            landsat=_integers(np.flatnonzero(strategy.landsat(of_landsat))),
            sentinel2=_integers(np.flatnonzero(strategy.sentinel2(of_sentinel2))),
        ),
        asked=BySensor(
            landsat=_integers(strategy.ask_landsat(of_landsat)),
            sentinel2=_integers(strategy.ask_sentinel2(of_sentinel2)),
        ),
    )


def draw(rng: np.random.Generator) -> tuple[str, Parameters]:
    """Draw the strategy of one training step.

    Parameters
    ----------
    rng
        Source of chance.

    Returns
    -------
    tuple of str and Parameters
        One of 16 equally likely slots: 8 RANDOM, 4 GAPS, and NOHR, NOLR, FORECAST, BACKCAST once;
        rate in 0.2 to 0.7, pivot in 65 to 300, gap in 30 to 90, all uniform.

    References
    ----------
    Michel & Inglada, RSE 2025 (masked auto-encoding).

    Examples
    --------
    >>> name, parameters = draw(np.random.default_rng(0))
    >>> name in STRATEGIES
    True
    """
    name = _TRAINING[int(rng.integers(len(_TRAINING)))]
    return name, replace(
        Parameters(),
        rate=float(rng.uniform(0.2, 0.7)),
        pivot=int(rng.integers(65, 300, endpoint=True)),
        gap=int(rng.integers(30, 90, endpoint=True)),
    )


def _find(name: str) -> Strategy:
    if name not in STRATEGIES:
        raise MethodError(f"no strategy {name!r}; those that exist: {', '.join(STRATEGIES)}")
    return STRATEGIES[name]


def _days(days: Sequence[int]) -> Days:
    return np.asarray(days, dtype=np.int64).reshape(-1)


def _integers(values: NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _everything(case: _Case) -> Mask:
    return np.ones(len(case.own), bool)


def _nothing(case: _Case) -> Mask:
    return np.zeros(len(case.own), bool)


def _at_conjunctions(case: _Case) -> Mask:
    return np.isin(case.own, case.other)


def _elsewhere(case: _Case) -> Mask:
    return ~_at_conjunctions(case)


def _until_pivot(case: _Case) -> Mask:
    return np.asarray(case.own <= case.parameters.pivot)


def _from_pivot(case: _Case) -> Mask:
    return np.asarray(case.own >= case.parameters.pivot)


def _at_random(case: _Case) -> Mask:
    if case.rng is None:
        raise MethodError(
            "a strategy that draws dates needs a Generator: pass rng=numpy.random.default_rng(seed)"
        )
    count = len(case.own)
    keep = np.ones(count, bool)
    keep[case.rng.permutation(count)[: math.ceil(count * case.parameters.rate)]] = False
    return keep


def _outside_gaps(case: _Case) -> Mask:
    """Drop the days strictly between g and 2 g, 3 g and 4 g, ... for gaps that start in time."""
    gap, length = case.parameters.gap, case.parameters.length
    spell = case.own // gap
    inside = (spell % 2 == 1) & (case.own % gap > 0) & (spell * gap < length) & (spell > 0)
    return np.asarray(~inside)


def _around_window(case: _Case) -> Mask:
    """Keep n dates up to the window's start and n from its end on, or the outermost n."""
    count, number = len(case.own), case.parameters.context_images
    order = np.argsort(case.own, kind="stable")
    days, start = case.own[order], case.parameters.context_start
    left = max(int(np.searchsorted(days, start, side="right")) - number, 0)
    right = int(np.searchsorted(days, start + case.parameters.context_size))
    right = min(right, max(count - number, 0))
    keep = np.zeros(count, bool)
    keep[order[left : left + number]] = True
    keep[order[right : right + number]] = True
    return keep


def _own_days(case: _Case) -> Days:
    return case.own


def _no_days(_case: _Case) -> Days:
    return _days(())


def _conjunctions(case: _Case) -> Days:
    return case.own[_at_conjunctions(case)]


def _union(case: _Case) -> Days:
    return np.union1d(case.own, case.other)


def _half_months(case: _Case) -> Days:
    """List the 1st and the 15th of every month of the series."""
    origin = np.datetime64(case.parameters.origin, "D")
    end = origin + np.timedelta64(case.parameters.length, "D")
    months = np.arange(origin.astype("M8[M]"), end.astype("M8[M]") + np.timedelta64(1, "M"))
    firsts = (months.astype("M8[D]") - origin).astype(np.int64)
    days = np.sort(np.concatenate([firsts, firsts + 14]))
    return np.asarray(days[(days >= 0) & (days < case.parameters.length)])


def _tenth_days(case: _Case) -> Days:
    return np.arange(0, case.parameters.length, 10, dtype=np.int64)


def _custom_days(case: _Case) -> Days:
    if not case.parameters.custom:
        raise MethodError("strategy CUSTOM lacks its days: pass parameters=Parameters(custom=...)")
    return _days(case.parameters.custom)


def _window_days(case: _Case) -> Days:
    """List the dates from the first to the last one given."""
    given = case.own[_around_window(case)]
    if not len(given):
        return given
    return np.asarray(case.own[(case.own >= given.min()) & (case.own <= given.max())])


@dataclass(frozen=True, slots=True)
class Strategy:
    """What one strategy gives and asks: a rule for each sensor."""

    landsat: Keep = _everything
    """Landsat dates given."""

    sentinel2: Keep = _everything
    """Sentinel-2 dates given."""

    ask_landsat: Ask = _own_days
    """Landsat days asked."""

    ask_sentinel2: Ask = _own_days
    """Sentinel-2 days asked."""

    @property
    def needs_conjunctions(self) -> bool:
        """Whether the strategy asks nothing where the sensors never meet."""
        return self.ask_sentinel2 is _conjunctions


def _only_sentinel2(landsat: Keep, sentinel2: Keep, asked: Ask) -> Strategy:
    return Strategy(landsat, sentinel2, ask_landsat=_no_days, ask_sentinel2=asked)


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "ALL": Strategy(),
        "RANDOM": Strategy(_at_random, _at_random),
        "RANDOM_ALL_DOYS": Strategy(_at_random, _at_random, _union, _union),
        "GAPS": Strategy(_outside_gaps, _outside_gaps),
        "NOHR": Strategy(_everything, _nothing),
        "NOLR": Strategy(_nothing, _everything),
        "FORECAST": Strategy(_until_pivot, _until_pivot),
        "BACKCAST": Strategy(_from_pivot, _from_pivot),
        "DEEPHARMO": Strategy(_everything, _elsewhere),
        "ALL2CONJHR": _only_sentinel2(_everything, _everything, _conjunctions),
        "CONJLRuHR2HR": _only_sentinel2(_at_conjunctions, _elsewhere, _conjunctions),
        "CONJLR2HR": _only_sentinel2(_at_conjunctions, _nothing, _conjunctions),
        "LRuHRNOCONJ2HR": _only_sentinel2(_everything, _elsewhere, _conjunctions),
        "HRNOCONJ2HR": _only_sentinel2(_nothing, _elsewhere, _conjunctions),
        "ALLHR2ALLHR": _only_sentinel2(_nothing, _everything, _own_days),
        "L3A": _only_sentinel2(_everything, _everything, _half_months),
        "L3A_10D": _only_sentinel2(_everything, _everything, _tenth_days),
        "CONTEXT": Strategy(_around_window, _around_window, _window_days, _window_days),
        "CUSTOM": Strategy(_everything, _everything, _custom_days, _custom_days),
    }
)
"""Every strategy by the name the paper and the published code give it."""

_TRAINING = ("RANDOM",) * 8 + ("GAPS",) * 4 + ("NOHR", "NOLR", "FORECAST", "BACKCAST")
