"""A base for methods that answer day by day: a method writes its `answer`, and nothing else."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tamrf_xr.fuser import Crop, Days, EpisodeFuser, Pixels, Scene, Series
from tamrf_xr.methods.registry import Bands


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to answer from: the acquisitions of an episode, over a tile."""

    series: Mapping[str, Series]
    """Per sensor, what it saw."""

    days: Mapping[str, Days]
    """Per sensor, when."""

    crop: Crop
    """The pixels to make."""

    def on(self, sensor: str, day: float) -> Scene | None:
        """Return what a sensor saw on a day, if it observed."""
        place = on_day(self.days[sensor], day)
        return None if place is None else self.series[sensor].scene(place)

    def core(self, sensor: str, scene: Scene) -> Scene:
        """Cut the pixels to make from what was made over a sensor's array, on the fine grid."""
        rows, cols = self.crop.within(sensor)
        return Scene(scene.pixels[:, rows, cols], scene.valid[rows, cols], scene.bands)


class DailyFuser(EpisodeFuser):
    """Base of the methods that answer each date on its own, for one sensor."""

    def __init__(self, makes: Bands) -> None:
        """Take the bands to make, of one sensor."""
        ((self.sensor, self.bands),) = makes.items()

    @abstractmethod
    def answer(self, seen: Seen, day: float) -> Scene | None:
        """Make one day: bands of the core, at least those that are asked; None if it cannot."""

    def given(self, seen: Seen) -> Seen:
        """Return what `answer` gets to see: all there is, or what days share prepared once."""
        return seen

    def predict(
        self, series: Mapping[str, Series], days: Mapping[str, Days], query_days: Days, crop: Crop
    ) -> dict[str, Pixels]:
        """Answer day by day: NaN where nothing can be made, or it is not valid."""
        out = np.full((len(query_days), len(self.bands), *crop.shape), np.nan, np.float32)
        seen = self.given(Seen(series, days, crop))
        for position, day in enumerate(query_days):
            scene = self.answer(seen, float(day))
            if scene is not None:
                out[position] = np.where(scene.valid, scene.select(self.bands).pixels, np.nan)
        return {self.sensor: out}


def on_day(days: Days, day: float) -> int | None:
    """Return the position of the acquisition of a day, or None."""
    places = np.flatnonzero(days == day)
    return int(places[0]) if len(places) else None
