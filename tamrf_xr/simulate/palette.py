"""Which materials a scene has, and which of them are what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.simulate import changes, spectra
from tamrf_xr.simulate.biomes import Biome

_CANOPIES = ("crop", "grass", "broadleaf", "conifer", "flower", "scrub", "rainforest")
WATERS = ("water", "silt", "sea", "turbid", "paddy")
"""Materials that are open water."""

_INERT = (
    "water", "silt", "tile", "slate", "steel", "asphalt", "snow", "sea", "turbid", "paddy",
    "concrete", "rock", "lava", "sand",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Palette:
    """The materials of a scene: those of temperate land, then its own."""

    names: tuple[str, ...]
    """Rows of its tables."""

    heat: NDArray[np.float32]
    """Of each: see `tamrf_xr.simulate.spectra.heat`."""

    canopies: list[int]
    """Green ones."""

    waters: list[int]
    """Open water."""

    inert: list[int]
    """Those that growth leaves as they are."""

    paddy: int | None
    """Row of the water that stands on fields; None where none does."""

    @property
    def others(self) -> tuple[str, ...]:
        """Names beyond those of temperate land."""
        return self.names[len(spectra.MATERIALS) :]

    def rows(self, names: NDArray[Any]) -> NDArray[np.intp]:
        """Return the row of each name; -1 for soil, which is dry or wet as the weather has it."""
        rows = {name: i for i, name in enumerate(self.names)} | {"soil": -1}
        return np.array([rows[str(name)] for name in names])


def palette_of(biome: Biome, kinds: Iterable[str]) -> Palette:
    """Return the materials of a biome, and of kinds of changes."""
    more = [name for kind in kinds for name in changes.MATERIALS[kind]]
    names = tuple(dict.fromkeys((*spectra.MATERIALS, *biome.materials, *more)))

    def of(wanted: tuple[str, ...]) -> list[int]:
        return [names.index(name) for name in wanted if name in names]

    return Palette(
        names=names,
        heat=spectra.heat(names),
        canopies=of(_CANOPIES),
        waters=of(WATERS),
        inert=of(_INERT),
        paddy=names.index("paddy") if "paddy" in names else None,
    )
