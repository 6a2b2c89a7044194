"""How what a network made of a cube lies in a store; no torch, for planners and readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

NOTHING: Final[Mapping[str, float]] = {"int8": -128, "bfloat16": 0x7FC0, "float32": float("nan")}
"""Per kind of numbers, what stands for tokens that were not made; bfloat16 is kept as its bits."""


@dataclass(frozen=True, slots=True)
class Form:
    """How the numbers of a store stand for tokens: ``scale * number + offset``."""

    kind: str
    """A key of `NOTHING`."""

    scale: tuple[float, ...]
    """Of each channel; 1 for floats."""

    offset: tuple[float, ...]
    """Of each channel; 0 for floats."""

    margin: int = 0
    """Fine pixels beyond the scene, on each side, of which there are tokens too."""

    def __str__(self) -> str:
        """Return what does not follow from the weights."""
        return f"{self.kind}, {self.margin} px beyond the scene"

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels: their numbers."""
        return tuple(map(str, range(len(self.scale))))
