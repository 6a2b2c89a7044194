"""Fit temperatures of days: ``python -m tamrf_xr.training.temperature WEIGHTS CUBES OUT``.

The network stays as it is, and its other bands to the bit. Dates are held back as in training; a
head beside the decoder (`tamrf_xr.model.temperature`) learns how far to draw the temperature at
them to those that Landsat measured on other days, and which of these were clear: masks tell it that
while it learns, and are not read afterwards. Errors that the network tells are those without the
head: fit them anew after it (`tamrf_xr.training.uncertainty`).
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional

from tamrf_xr.errors import CubeError
from tamrf_xr.model.checkpoint import check_model_path, load_model, metadata_of, save_model
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.temperature import TemperatureHead
from tamrf_xr.store import open_cube
from tamrf_xr.training.config import DataConfig
from tamrf_xr.training.data import Patches, Sample
from tamrf_xr.training.recipes import recipe
from tamrf_xr.training.run import find_cubes
from tamrf_xr.training.sites import sites_of
from tamrf_xr.training.stack import standardised

Progress = Callable[[Iterable[int]], Iterable[int]]
"""Wraps what is iterated over, as `tqdm` does."""

FARTHEST = 4.0
"""Deviations beyond which a temperature is a cloud's, and no example of how to read one off."""

DRAWN = 0.05
"""What each gate starts from."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How the head is fitted."""

    samples: int = 1200
    """Patch pairs to learn from."""

    checked: int = 100
    """Patch pairs of other places, on which errors before and after are told."""

    dates: int = 80
    """Most dates of both sensors of a patch pair."""

    pixels: int = 12
    """Pixels taken of a patch pair."""

    queries: int = 16
    """Most dates held back that are asked of a patch pair."""

    steps: int = 4000
    """Of the optimiser."""

    batch: int = 20
    """Patch pairs a step."""

    lr: float = 3e-3
    """Highest learning rate; a cosine brings it to zero."""

    beta: float = 0.1
    """Where the loss turns from squares to sizes, in deviations."""

    strange: float = 0.5
    """Deviations by which the decoder's temperature is moved in half the examples, and its range by
    0.6 of that: what it meets in use are climates that it was not trained on."""

    masks: float = 1.0
    """Weight of telling which dates were clear."""

    average: float = 0.99
    """Of the weights that are returned."""

    seed: int = 0
    """Of all draws."""


@dataclass(frozen=True, slots=True)
class Series:
    """Pixels of a patch pair: N dates of Landsat given, Q held back."""

    days: Tensor
    """(N,), of those given."""

    query_days: Tensor
    """(Q,)."""

    features: Tensor
    """(P, N, L)."""

    encoded: Tensor
    """(P, N, D)."""

    attended: Tensor
    """(Q, P, D)."""

    predicted: Tensor
    """(Q, P): the decoder's temperature, standardised, mean of 30 m."""

    observed: Tensor
    """(Q, P): what Landsat measured; NaN where that was nothing, or a cloud."""

    given: Tensor
    """(P, N): what it measured on the dates given."""

    valid: Tensor
    """(P, N): where that was clear."""

    def drawn(self, head: TemperatureHead) -> Tensor:
        """Return the temperature with a head, (Q, P)."""
        return self.drawn_by(head, head.seen(self.features, self.encoded))

    def drawn_by(self, head: TemperatureHead, seen: Tensor) -> Tensor:
        """As `drawn`, of what dates tell."""
        told = head(seen, self.attended, head.moments(self.days, self.query_days))
        share, offset = told.unbind(dim=-1)
        drawn: Tensor = self.predicted * (1 - share) + offset
        return drawn


@dataclass(frozen=True, slots=True)
class Checked:
    """Errors of temperature at dates held back, of places not learnt from: root mean square, K."""

    before: float
    """Of the network alone."""

    after: float
    """With the head."""


def fit_temperature(
    model: Tamrf,
    cubes: Sequence[xr.DataTree],
    how: Fit = Fit(),
    *,
    data: DataConfig | None = None,
    progress: Progress = iter,
) -> tuple[Tamrf, Checked]:
    """Return the network with a head that knows days, fitted on cubes, and what that brings.

    Parameters
    ----------
    model
        The network; not modified. A head that it has is replaced.
    cubes
        With masks and with Landsat. What is tested on is no part of them.
    how
        Sizes and steps.
    data
        How patches are drawn; by default as the recipe ``"small"``, a tenth of the places kept.
    progress
        Shows how far it is.

    Raises
    ------
    CubeError
        If no clear temperature is held back among the samples.
    """
    data = data or replace(recipe("small").data, validation_share=0.1, turn=False)
    data = replace(data, dates=how.dates)
    learnt, kept = sites_of(cubes, data)
    model = copy.deepcopy(model).eval()
    model.temperature = None
    examples = _examples(
        model, Patches(cubes, learnt, data, seed=how.seed, count=how.samples), how, progress
    )
    checks = _examples(
        model, Patches(cubes, kept, data, seed=how.seed + 1, count=how.checked), how, progress
    )
    head = _learnt(model, examples, how)
    std = 1000 * float(model.lr_std[-1])
    checked = Checked(std * _rms(checks, None), std * _rms(checks, head))
    model.temperature = head
    return model, checked


def _examples(model: Tamrf, patches: Patches, how: Fit, progress: Progress) -> list[Series]:
    rng = torch.Generator().manual_seed(how.seed)
    found = [
        series
        for number in progress(range(len(patches)))
        for series in _of_sample(model, patches[number], how, rng)
    ]
    if not found:
        raise CubeError(
            "no clear temperature was held back beside one that was given: give more cubes with "
            "Landsat's surface_temperature, or more samples"
        )
    return found


@torch.no_grad()
def _of_sample(model: Tamrf, sample: Sample, how: Fit, rng: torch.Generator) -> Iterator[Series]:
    """Give what a sample has: pixels of 10 m in the middle of those of 30 m."""
    seen = standardised([sample], model)
    lr, hr = seen["lr"], seen["hr"]
    clear = lr.valid & lr.pixels[:, -1].isfinite()
    held = (~lr.given & clear.flatten(1).any(dim=1)).nonzero()[:, 0]
    held = held[torch.randperm(len(held), generator=rng)[: how.queries]]
    given = [patch.at(patch.given.nonzero()[:, 0]) for patch in (lr, hr)]
    dates = len(given[0].days)
    if not len(held) or not dates:
        return
    y, x = _places(lr.valid.shape[1:], how.pixels, rng)
    ratio, latent = model.config.ratio, model.config.latent
    around = torch.arange(-ratio, ratio + 1)
    rows = (ratio * y + ratio // 2)[:, None, None] + around[:, None]
    cols = (ratio * x + ratio // 2)[:, None, None] + around
    pixels = [part.pixels.nan_to_num(0.0)[None] if len(part.days) else None for part in given]
    days = [part.days[None] if len(part.days) else None for part in given]
    tokens = model.tokens(pixels[0], days[0], pixels[1], days[1])[0][..., rows, cols]
    encoded = model.attend(tokens.movedim(2, 0))  # a pixel is a batch: (P, h, w, N, D)
    asked = model.ask(encoded, lr.days[held][None].expand(len(y), -1))
    mid = ratio  # of the windows
    middle = slice(mid - ratio // 2, mid + ratio // 2 + 1)
    made = model.to_bands(asked)[:, :, model.config.lr_bands - 1, middle, middle].mean((-1, -2))
    yield Series(
        days=lr.days[lr.given],
        query_days=lr.days[held],
        features=tokens[:dates, :latent, :, mid, mid].permute(2, 0, 1).clone(),
        encoded=encoded[:, mid, mid, :dates].clone(),
        attended=asked[..., mid, mid].movedim(1, 0).clone(),
        predicted=made.T,
        observed=torch.where(clear, lr.pixels[:, -1], torch.nan)[held][:, y, x],
        given=given[0].pixels[:, -1, y, x].T,
        valid=clear[lr.given][:, y, x].T,
    )


def _places(size: Sequence[int], count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw pixels that have two others around them."""
    rows, cols = (torch.arange(2, side - 2) for side in size)
    every = torch.cartesian_prod(rows, cols)
    y, x = every[torch.randperm(len(every), generator=rng)[:count]].unbind(dim=1)
    return y, x


def _learnt(model: Tamrf, examples: Sequence[Series], how: Fit) -> TemperatureHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)  # noqa: TID251
        head = TemperatureHead(model.config.width, model.config.latent)
    _read_off(head, examples)
    average = copy.deepcopy(head)
    rng = torch.Generator().manual_seed(how.seed)
    free = [p for name, p in head.named_parameters() if not name.startswith("value")]
    optimizer = torch.optim.AdamW(free, lr=how.lr, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.steps)
    for _ in range(how.steps):
        picked = torch.randint(len(examples), (how.batch,), generator=rng).tolist()
        strangers = [_elsewhere(examples[i], how, rng) for i in picked]
        loss = sum((_loss(head, one, how) for one in strangers), torch.zeros(())) / how.batch
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(free, 1.0)
        optimizer.step()
        schedule.step()
        for kept, own in zip(average.parameters(), head.parameters(), strict=True):
            kept.data.lerp_(own.data, 1 - how.average)
    return average.eval().requires_grad_(requires_grad=False)


def _elsewhere(one: Series, how: Fit, rng: torch.Generator) -> Series:
    """Return a patch pair as it is, or as the decoder might see it in a climate of another kind."""
    moved = torch.rand((), generator=rng)
    off, wider = torch.randn(2, generator=rng)
    if moved < 0.5:
        return one
    mean = one.predicted.mean()
    apart = (one.predicted - mean) * (1 + 0.6 * how.strange * wider)
    return replace(one, predicted=mean + apart + how.strange * off)


@torch.no_grad()
def _read_off(head: TemperatureHead, examples: Sequence[Series]) -> None:
    """Set how a temperature is read off features, by least squares, and how gates begin."""
    features = torch.cat([one.features.flatten(0, 1) for one in examples]).double()
    measured = torch.cat([one.given.flatten() for one in examples]).double()
    known = measured.isfinite() & (measured.abs() < FARTHEST)
    inputs = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)[known]
    ridge = 1e-6 * len(inputs) * torch.eye(inputs.shape[1]).double()
    found = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ measured[known])
    head.value.weight.copy_(found[None, :-1])
    head.value.bias.copy_(found[-1:])
    head.gate2.weight.zero_()
    head.gate2.bias.fill_(DRAWN)


def _loss(head: TemperatureHead, one: Series, how: Fit) -> Tensor:
    seen = head.seen(one.features, one.encoded)
    error = one.drawn_by(head, seen) - one.observed
    known = error[error.isfinite()]
    right = functional.smooth_l1_loss(known, torch.zeros_like(known), beta=how.beta)
    told = functional.binary_cross_entropy_with_logits(seen[..., 0], one.valid.float())
    return (right if len(known) else error.new_zeros(())) + how.masks * told


@torch.no_grad()
def _rms(examples: Sequence[Series], head: TemperatureHead | None) -> float:
    made = [one.predicted if head is None else one.drawn(head) for one in examples]
    errors = [(own - one.observed).flatten() for own, one in zip(made, examples, strict=True)]
    return float(torch.cat(errors).square().nanmean().sqrt())


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit on stores, write the network with its head."""
    from tqdm.auto import tqdm

    how = Fit()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", help="network, as load_model takes it")
    parser.add_argument("cubes", nargs="+", help="stores, or patterns of them")
    parser.add_argument("out", type=Path, help="file to write, .safetensors")
    parser.add_argument("--samples", type=int, default=how.samples)
    parser.add_argument("--checked", type=int, default=how.checked)
    parser.add_argument("--steps", type=int, default=how.steps)
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args(arguments)
    check_model_path(options.out, overwrite=options.overwrite)
    how = replace(how, samples=options.samples, checked=options.checked, steps=options.steps)
    cubes = [open_cube(path) for path in find_cubes(options.cubes)]
    model, checked = fit_temperature(load_model(options.weights), cubes, how, progress=tqdm)
    tqdm.write(f"temperature at dates held back: {checked.before:.2f} to {checked.after:.2f} K")
    told = {
        "samples": how.samples,
        "steps": how.steps,
        "cubes": len(cubes),
        "kelvin_before": round(checked.before, 3),
        "kelvin_after": round(checked.after, 3),
    }
    weights = Path(options.weights)
    kept = metadata_of(weights.read_bytes()) if weights.suffix == ".safetensors" else {}
    save_model(
        model, options.out, overwrite=options.overwrite, metadata={**kept, "temperature": told}
    )


if __name__ == "__main__":
    main()
