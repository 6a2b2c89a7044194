"""The paper's tasks as named protocols: strategy, methods, metrics, residual compensation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from tamrf_xr.errors import MethodError
from tamrf_xr.evaluation.score import METRICS
from tamrf_xr.evaluation.split import SplitSettings
from tamrf_xr.holdout import STRATEGIES
from tamrf_xr.methods.registry import METHODS
from tamrf_xr.sensors import THERMAL

SHARP_20M = ("B05", "B06", "B07", "B8A", "B11", "B12")
LEFT_OUT_ONE_BY_ONE = frozenset({"ALL2CONJHR"})
"""Strategies that give the very images they ask: each is left out while it is asked."""


@dataclass(frozen=True, slots=True)
class Task:
    """One protocol."""

    name: str
    """Name on the command line."""

    about: str
    """What it measures, in one sentence."""

    strategy: str
    """What is given and asked, for methods that `strategies` does not name."""

    methods: tuple[str, ...]
    """Methods compared when none are named."""

    settings: SplitSettings = field(default_factory=SplitSettings)
    """Settings of the strategies."""

    strategies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Per method, strategies of its own."""

    sensors: tuple[str, ...] = ("sentinel2", "landsat")
    """Sensors whose bands are scored."""

    bands: tuple[str, ...] | None = None
    """Bands that are scored; None for all."""

    metrics: tuple[str, ...] = METRICS
    """Metrics that are computed."""

    compensate: tuple[bool, ...] = (False,)
    """Whether predictions are scored as they are, after residual compensation, or both."""

    def runs(
        self, methods: Sequence[str], *, strategy: str | None, compensate: bool
    ) -> tuple[Run, ...]:
        """Return what to run.

        Parameters
        ----------
        methods
            Names of methods.
        strategy
            A strategy for all of them, or None for those of the task.
        compensate
            Score after residual compensation too, whatever the task says.
        """
        ways = (False, True) if compensate else self.compensate
        return tuple(
            Run(method, chosen, way)
            for method in methods
            for chosen in ((strategy,) if strategy else self._strategies(method))
            for way in ways
        )

    def _strategies(self, method: str) -> tuple[str, ...]:
        return self.strategies.get(method, (self.strategy,))


@dataclass(frozen=True, slots=True)
class Run:
    """One method under one strategy."""

    method: str
    """Name in the registry of methods."""

    strategy: str
    """Name of the strategy."""

    compensated: bool = False
    """Whether the residual is added."""

    @property
    def slug(self) -> str:
        """Name of its folder."""
        return f"{self.method}-{self.strategy}{'-residual' if self.compensated else ''}"

    @property
    def leaves_one_out(self) -> bool:
        """Whether each image asked is left out while it is asked, and only then."""
        return self.strategy in LEFT_OUT_ONE_BY_ONE


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        task.name: task
        for task in (
            Task(
                "gap-filling",
                "Gaps of 30 days in both sensors, every 30 days: predict what was observed there.",
                strategy="GAPS",
                methods=("naive", "utilise", "tamrf"),
            ),
            Task(
                "band-sharpening",
                "The 20 m bands of Sentinel-2 at 10 m, on the dates it observed.",
                strategy="ALLHR2ALLHR",
                methods=("dsen2", "tamrf"),
                sensors=("sentinel2",),
                bands=SHARP_20M,
            ),
            Task(
                "spatio-temporal-fusion",
                "Sentinel-2 on days both sensors observed, from Landsat of the day and Sentinel-2 "
                "of other days, each method with the inputs it is made for.",
                strategy="LRuHRNOCONJ2HR",
                methods=("stair", "sen2like", "dstfn", "deepharmo", "tamrf"),
                strategies=MappingProxyType(
                    {
                        "naive": ("HRNOCONJ2HR",),
                        "linear": ("HRNOCONJ2HR",),
                        "stair": ("ALL2CONJHR",),
                        "sen2like": ("CONJLRuHR2HR",),
                        "dstfn": ("CONJLRuHR2HR",),
                        "deepharmo": ("CONJLR2HR",),
                        "tamrf": ("CONJLR2HR", "HRNOCONJ2HR", "LRuHRNOCONJ2HR"),
                    }
                ),
                sensors=("sentinel2",),
            ),
            Task(
                "thermal-sharpening",
                "Land surface temperature at 10 m on the dates Landsat observed, with and without "
                "residual compensation.",
                strategy="ALL",
                methods=("dms", "tamrf"),
                sensors=("landsat",),
                bands=(THERMAL,),
                metrics=("rmse", "nrmse", "frr", "brisque"),
                compensate=(False, True),
            ),
            Task(
                "l3a",
                "Sentinel-2 on the 1st and 15th of every month from everything: where there is no "
                "acquisition to compare with, only BRISQUE and the context are told.",
                strategy="L3A",
                methods=("naive", "tamrf"),
                sensors=("sentinel2",),
            ),
            Task(
                "forecasting",
                "Everything after day 183 from what came before.",
                strategy="FORECAST",
                methods=("naive", "tamrf"),
            ),
        )
    }
)
"""Every task by its name."""


def label_runs(runs: Sequence[Run]) -> dict[Run, str]:
    """Name runs as briefly as tells them apart.

    Examples
    --------
    >>> list(label_runs([Run("naive", "GAPS"), Run("stair", "GAPS", True)]).values())
    ['naive', 'stair + residual']
    """
    several = len({run.strategy for run in runs}) > 1
    return {
        run: run.method
        + (f" {run.strategy}" if several else "")
        + (" + residual" if run.compensated else "")
        for run in runs
    }


def find_task(task: str | Task) -> Task:
    """Return a task by name; one made by the user passes.

    Raises
    ------
    MethodError
        If there is no such task.
    """
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise MethodError(f"no task {task!r}; those that exist: {', '.join(TASKS)}")
    return TASKS[task]


def check_methods(methods: Sequence[str] | None, task: Task) -> tuple[str, ...]:
    """Return the methods to compare, each once; by default those of the task.

    Raises
    ------
    MethodError
        If one does not exist, or none is left.
    """
    names = ", ".join(METHODS)
    if methods is None:
        methods = [name for name in task.methods if name in METHODS]
    if unknown := [name for name in methods if name not in METHODS]:
        raise MethodError(f"unknown method {', '.join(unknown)}; the methods are: {names}")
    if not methods:
        raise MethodError(f"no method to compare; name some of: {names}")
    return tuple(dict.fromkeys(methods))


def check_strategy(strategy: str | None) -> None:
    """Check that a strategy exists.

    Raises
    ------
    MethodError
        If it does not.
    """
    if strategy is not None and strategy not in STRATEGIES:
        raise MethodError(f"no strategy {strategy!r}; those that exist: {', '.join(STRATEGIES)}")
