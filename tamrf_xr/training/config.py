"""What a training run is made of: sections with their bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from tamrf_xr.errors import OptionError
from tamrf_xr.model.config import OPTICAL, NetworkConfig
from tamrf_xr.sensors import FINE_GSD, LANDSAT
from tamrf_xr.training.checked import Checked

FINE_M, COARSE_M = round(FINE_GSD), round(LANDSAT.gsd)
"""Metres across a pixel of the network's two grids; patches begin and end on the coarse one."""

Strategies = Literal["all", "random"]
Perceptual = Literal["lpips", "smooth_l1", "off"]

# Least and most, both allowed; one that is almost 0 stands for more than 0.
Weight = Annotated[float, 0.0, 1e6]
Steps = Annotated[int, 1, 10**9]
Batch = Annotated[int, 1, 65_536]
Rate = Annotated[float, 1e-12, 10]
Dates = Annotated[int, 2, 100_000]
Seed = Annotated[int, 0, 2**63 - 1]


@dataclass(frozen=True, slots=True)
class LossConfig(Checked):
    """What the total loss is made of; the defaults are the paper's.

    Examples
    --------
    >>> LossConfig(perceptual="off").triplet_weight
    1.0
    """

    masked_weight: Weight = 0.5
    """Weight of the dates that were held back; that of the given ones is 1."""

    masked_temperature: bool = False
    """Whether surface temperature counts on dates held back; the paper leaves it out."""

    beta: Annotated[float, 1e-9, 1e6] = 0.1
    """Where SmoothL1 turns from squares to absolute values, in standard deviations."""

    margin: Annotated[int, 0, 10_000] = 27
    """Pixels of 10 m left out along the border of a patch: there the network sees padding."""

    min_valid: Annotated[float, 0, 1] = 0.5
    """Share of valid pixels below which a date does not count in the data loss."""

    triplet_weight: Weight = 1.0
    """Weight of the triplet loss, which keeps clouds out; 0: none."""

    triplet_margin: Annotated[float, 1e-12, 1e6] = 1e-5
    """By how much predictions must be nearer to clear pixels than to clouds, deviations."""

    triplet_days: Annotated[float, 0, 1e6] = 20.0
    """A cloudy pixel needs a valid one at the same place less than this many days away."""

    perceptual: Perceptual = "lpips"
    """How coarse bands are held against their regression by 10 m bands.

    ``"lpips"``: in the features of VGG16; ``"smooth_l1"``: as pixels; ``"off"``: not at all.
    """

    perceptual_weight: Weight = 1.0
    """Weight of the perceptual loss."""

    max_invalid: Annotated[float, 0, 1] = 0.25
    """Share of invalid pixels above which a date has no perceptual loss."""

    max_perceptual: Weight = 10.0
    """A perceptual loss above this is dropped, as is NaN."""

    decorrelation_weight: Weight = 0.0
    """Weight of the decorrelation of encoded tokens; 0: none."""

    vgg16: str | None = None
    """File of VGG16 weights for ``"lpips"``; None looks in torch's cache."""

    lpips_heads: str | None = None
    """File of the heads of LPIPS 0.1; None looks in `vgg16`, then in torch's cache."""


@dataclass(frozen=True, slots=True)
class DataConfig(Checked):
    """Which patches of which cubes, and which of their dates."""

    cubes: tuple[str, ...] = ()
    """Stores of cubes; ``*`` and ``?`` match names."""

    mix: tuple[float, ...] = ()
    """How often samples come from each of `cubes`, as weights; none: from every patch alike."""

    leave_out: tuple[str, ...] = ()
    """What no sample sees, so that it can be tested on: ``W,S,E,N`` in degrees (no patch touches
    it), ``START/END`` (no date within), ``W,S,E,N@START/END`` (no date within, of cubes there)."""

    patch_m: Annotated[int, COARSE_M, 109_800] = 1650
    """Edge of a patch in metres: a multiple of 30."""

    stride_m: Annotated[int, 0, 10_000_000] = 0
    """Metres between the corners of neighbouring patches; 0: `patch_m`, so that none overlap."""

    dates: Dates = 50
    """Most dates of one sample, of both sensors together, drawn at random."""

    min_dates: Annotated[int, 1, 100_000] = 6
    """A sensor with fewer dates in a slice of `slice_days` makes it unfit."""

    slice_days: Annotated[int, 1, 36_525] = 365
    """Length of the series that a sample is drawn from."""

    shift_days: Annotated[int, 0, 36_525] = 0
    """All dates of a sample are moved by up to so many days, at random: what a network learns of
    few cubes then hangs on no single day."""

    turn: bool = False
    """Turn and mirror patches at random: what it learns of few cubes hangs on no single place."""

    validation_share: Annotated[float, 0, 0.9] = 0.05
    """Share of the patches kept for validation."""

    threads: Annotated[int, 1, 256] = 4
    """Threads that read ahead of the steps."""

    processes: Annotated[int, 0, 256] = 0
    """Processes that read ahead of the steps, instead of threads; 0: threads. Validations are read
    by threads."""

    statistics: Literal["published", "data"] = "published"
    """Mean and deviation of the bands: those of the published network, or of the cubes."""


@dataclass(frozen=True, slots=True)
class MaskingConfig(Checked):
    """Which dates are held back."""

    strategies: Strategies = "all"
    """``"all"``: the 16 slots of the paper; ``"random"``: RANDOM alone (its ablation)."""


@dataclass(frozen=True, slots=True)
class OptimConfig(Checked):
    """Adam, its rate step by step, and how long."""

    steps: Steps = 1_000_000
    """Steps of the run."""

    batch: Batch = 1
    """Patch pairs of a step, over all devices."""

    lr: Rate = 1e-4
    """Highest learning rate."""

    warmup: Annotated[int, 0, 10**9] = 2018
    """Steps of the linear rise from a third of `lr`."""

    period: Annotated[int, 0, 10**9] = 40_360
    """Steps of the first cosine; each next one takes twice as many. 0: one cosine to the end."""

    floor: Annotated[float, 0, 10] = 2e-5
    """Learning rate at the end of a cosine."""

    clip: Annotated[float, 1e-9, 1e9] = 0.1
    """Gradients are clipped to this norm."""

    dropout: Annotated[float, 0, 0.95] = 0.1
    """Of the transformer and the decoder."""

    average: Annotated[float, 0, 0.999999] = 0.0
    """Decay per step of the moving average of the weights that is validated and kept; 0: none."""


@dataclass(frozen=True, slots=True)
class RunConfig(Checked):
    """Where a run computes, and what it leaves behind."""

    seed: Seed = 0
    """Of weights, samples and dropout."""

    device: str = "auto"
    """``"auto"``, ``"cpu"``, ``"cuda"``."""

    precision: Literal["auto", "float32", "tf32", "bfloat16"] = "auto"
    """``"float32"``, exactly; ``"tf32"``: products of a GPU round to 10 bits; ``"bfloat16"``:
    autocast; ``"auto"`` is bfloat16 on a GPU that has it, and float32 on a CPU."""

    stack: Annotated[int, 0, 65_536] = 0
    """Patch pairs of a batch that are computed at once, the shorter series padded and masked.

    1: one after the other; 0: on a GPU as many as weigh no more than one of the paper's, on a CPU
    one."""

    compile: bool = False
    """Compile the network with ``torch.compile``: some minutes first, then fewer kernels."""

    validate_every: Steps = 2018
    """Steps between validations; a checkpoint is written at each."""

    validation_samples: Annotated[int, 1, 10_000_000] = 64
    """Samples of a validation, the same each time."""

    keep: Annotated[int, 1, 100_000] = 5
    """Best checkpoints kept, by validation loss."""

    tensorboard: bool = False
    """Write TensorBoard events beside ``log.jsonl``."""

    start: str | None = None
    """Weights to start from; their sizes replace those of `model`."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A training run; the defaults are the paper's.

    Examples
    --------
    >>> from tamrf_xr.training.setting import override
    >>> override(TrainConfig(), ["model.num_layers=2", "loss.perceptual=off"]).model.num_layers
    2
    """

    model: NetworkConfig = field(default_factory=NetworkConfig)
    """Sizes of the network."""

    loss: LossConfig = field(default_factory=LossConfig)
    """What is minimised."""

    data: DataConfig = field(default_factory=DataConfig)
    """What it is trained on."""

    masking: MaskingConfig = field(default_factory=MaskingConfig)
    """What is held back."""

    optim: OptimConfig = field(default_factory=OptimConfig)
    """How."""

    run: RunConfig = field(default_factory=RunConfig)
    """Where."""

    def __post_init__(self) -> None:
        """Refuse patches that do not fit the grids, or are all margin."""
        _check_mix(self.data)
        if self.model.streams != OPTICAL:
            raise OptionError(
                f"model.streams is {self.model.streams}; training reads no radar yet, so that its "
                f"weights would stay as drawn: leave {OPTICAL} (docs/decisions/020-sentinel1.md)"
            )
        patch, stride, margin = self.data.patch_m, self.data.stride_m, self.loss.margin
        if patch % COARSE_M or patch // FINE_M <= 2 * margin:
            raise OptionError(
                f"data.patch_m is {patch}; expected a multiple of {COARSE_M} m above twice the "
                f"margin of the losses (loss.margin = {margin} pixels of {FINE_M} m)"
            )
        if margin % (ratio := LANDSAT.ratio):
            raise OptionError(f"loss.margin is {margin}; expected a multiple of {ratio} pixels")
        if stride % COARSE_M:
            raise OptionError(f"data.stride_m is {stride}; expected a multiple of {COARSE_M} m")


def _check_mix(data: DataConfig) -> None:
    """Refuse weights that are not one for each of the cubes named, or that leave none."""
    if not data.mix:
        return
    fine = all(0 <= weight < math.inf for weight in data.mix) and sum(data.mix) > 0
    if not fine or len(data.mix) != len(data.cubes):
        raise OptionError(
            f"data.mix is {list(data.mix)}; expected a weight, 0 or more, for each of the "
            f"{len(data.cubes)} in data.cubes, not all 0"
        )
