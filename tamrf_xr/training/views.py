"""What the losses of training look at: one patch seen by one sensor, and the weights of it all."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

from torch import Tensor

from tamrf_xr.errors import OptionError

__all__ = ["LossConfig", "Perceptual", "View"]

Perceptual = Literal["lpips", "smooth_l1", "off"]


@dataclass(frozen=True, slots=True)
class View:
    """One patch, one sensor, at all its target dates; everything standardised."""

    predicted: Tensor
    """(T, B, Y, X): the sensor's bands as predicted, on the 10 m grid."""

    target: Tensor
    """(T, B, y, x): what the sensor saw, on its own grid; NaN where it saw nothing."""

    valid: Tensor
    """(T, y, x), bool: True where `target` is usable."""

    days: Tensor
    """(T,): dates in days."""

    given: Tensor
    """(T,), bool: True where the date was an input ("clear"), False where it was held back.

    Best kept on the CPU: it says what to compute, and no device has to be asked then.
    """

    def at(self, dates: Tensor) -> View:
        """Return the view of some dates, by their indices."""
        held = (getattr(self, item.name) for item in fields(self))
        return View(*(tensor[dates.to(tensor.device)] for tensor in held))

    def first(self, bands: int) -> View:
        """Return the view of the first bands."""
        return replace(self, predicted=self.predicted[:, :bands], target=self.target[:, :bands])


@dataclass(frozen=True, slots=True)
class LossConfig:
    """What the total loss is made of; the defaults are the paper's.

    Raises
    ------
    OptionError
        If a value is out of range.

    Examples
    --------
    >>> LossConfig(perceptual="off").triplet_weight
    1.0
    """

    masked_weight: float = 0.5
    """Weight of the dates that were held back; that of the given ones is 1."""

    beta: float = 0.1
    """Where SmoothL1 turns from squares to absolute values, in standard deviations."""

    margin: int = 27
    """Pixels of 10 m left out along the border of a patch: there the network sees padding."""

    min_valid: float = 0.5
    """Share of valid pixels below which a date does not count in the data loss."""

    triplet_weight: float = 1.0
    """Weight of the triplet loss, which keeps clouds out; 0: none."""

    triplet_margin: float = 1e-5
    """By how much predictions must be nearer to clear pixels than to clouds, deviations."""

    triplet_days: float = 20.0
    """A cloudy pixel needs a valid one at the same place less than this many days away."""

    perceptual: Perceptual = "lpips"
    """How coarse bands are held against their regression by 10 m bands.

    ``"lpips"``: in the features of VGG16; ``"smooth_l1"``: as pixels; ``"off"``: not at all.
    """

    perceptual_weight: float = 1.0
    """Weight of the perceptual loss."""

    max_invalid: float = 0.25
    """Share of invalid pixels above which a date has no perceptual loss."""

    max_perceptual: float = 10.0
    """A perceptual loss above this is dropped, as is NaN."""

    decorrelation_weight: float = 0.0
    """Weight of the decorrelation of encoded tokens; 0: none."""

    vgg16: str | None = None
    """File of VGG16 weights for ``"lpips"``; None looks in torch's cache."""

    lpips_heads: str | None = None
    """File of the heads of LPIPS 0.1; None looks in `vgg16`, then in torch's cache."""

    def __post_init__(self) -> None:
        if self.perceptual not in get_args(Perceptual):
            raise OptionError(
                f"LossConfig.perceptual is {self.perceptual!r}; "
                f"choose one of {', '.join(get_args(Perceptual))}"
            )
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, int | float) and not value >= 0:
                raise OptionError(f"LossConfig.{item.name} is {value}; expected 0 or more")
        if not self.triplet_margin:
            raise OptionError("LossConfig.triplet_margin is 0.0; expected more than 0, as 1e-5")
