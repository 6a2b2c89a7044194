"""Fit levels of days: ``python -m tamrf_xr.training.levels WEIGHTS CUBES OUT [--only HEAD ...]``.

The network stays as it is. Dates are held back as in training; heads beside the decoder
(`tamrf_xr.model.levels`) learn how far to draw bands at them to what was measured on other days,
and what these weigh: which were clear, and how far off what they measured was. Simulated scenes
that have themselves without a sky beside them (`tamrf_xr.simulate.write_scenes`, ``unclouded``)
tell both; of other cubes, masks tell the former and the line through clear days around the latter.
How bands of Sentinel-2 change where Landsat's do is regressed on pixels that both saw in a day.
Neither is read afterwards. Errors that the network tells are those without these heads: fit them
anew after it (`tamrf_xr.training.uncertainty`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional

from tamrf_xr.cube import groups_of
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.methods.standardising import NOISE
from tamrf_xr.model.checkpoint import load_model, save_model
from tamrf_xr.model.config import OPTICAL
from tamrf_xr.model.levels import (
    CLEAREST,
    ENOUGH,
    HEADS,
    TEMPERATURE,
    JoinedHead,
    LevelHead,
    ReflectanceHead,
    TemperatureHead,
    averaged,
    channels_of,
    compared,
    reflectance_head,
    seen,
)
from tamrf_xr.model.network import Tamrf
from tamrf_xr.simulate.variety import beside
from tamrf_xr.store import open_cube
from tamrf_xr.training.config import DataConfig
from tamrf_xr.training.data import Patch, Patches, Sample
from tamrf_xr.training.fitting import (
    Progress,
    check_fit,
    check_sensors,
    kept_of,
    parsed,
    parser_of,
    run,
)
from tamrf_xr.training.recipes import recipe
from tamrf_xr.training.run import find_cubes
from tamrf_xr.training.sites import sites_of
from tamrf_xr.training.stack import in_a_batch, standardised

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
    """Most dates of a sensor held back that are asked of a patch pair."""

    steps: int = 4000
    """Of the optimiser, a head."""

    batch: int = 20
    """Patch pairs a step."""

    lr: float = 3e-3
    """Highest learning rate; a cosine brings it to zero."""

    beta: float = 0.1
    """Where the loss of the temperature turns from squares to sizes, in deviations."""

    strange: float = 0.5
    """Deviations by which the decoder's temperature is moved in half the examples, and its range by
    0.6 of that: what it meets in use are climates that it was not trained on."""

    masks: float = 1.0
    """Weight of telling which dates were clear."""

    errors: float = 0.25
    """Weight of telling how far off they were."""

    noise: float = 0.5
    """Of tokens, in their deviations, while this is learnt: other lands make other tokens."""

    average: float = 0.99
    """Of the weights that are returned."""

    seed: int = 0
    """Of all draws."""


@dataclass(frozen=True, slots=True)
class Series:
    """Pixels of a patch pair: N dates of a sensor given, Q held back, B bands of a head."""

    days: Tensor
    """(N,), of those given."""

    query_days: Tensor
    """(Q,)."""

    encoded: Tensor
    """(P, N, D)."""

    attended: Tensor
    """(Q, P, D)."""

    predicted: Tensor
    """(Q, P, B): what the decoder makes, standardised, as the sensor sees it."""

    observed: Tensor
    """(Q, P, B): what the sensor measured; NaN where that was nothing, or a cloud."""

    given: Tensor
    """(P, N, B): what it measured on the dates given; NaN where that was nothing."""

    valid: Tensor
    """(P, N): where that was clear."""

    errors: Tensor
    """(P, N): squared errors of `given`, in those of a good date (`_errors`); NaN: unknown."""

    def drawn(self, head: LevelHead) -> Tensor:
        """Return the bands with a head, (Q, P, B), which sees no pixel around."""
        dates = seen(head.weighed(self.given, self.encoded), self.given)
        told = head(dates, self.attended, head.moments(self.days, self.query_days))
        drawn: Tensor = self.predicted * (1 - told[..., :1]) + told[..., 1:]
        return drawn


@dataclass(frozen=True, slots=True)
class Checked:
    """Errors at dates held back, of places not learnt from, in the units of bands.

    The median of their sizes, as masks miss clouds; mean over bands. To what was measured, or to
    what is there where that is known. Heads see no pixel around here (`Series.drawn`).
    """

    before: float
    """Of the network alone."""

    after: float
    """With the head."""


def fit_levels(
    model: Tamrf,
    cubes: Sequence[xr.DataTree],
    how: Fit = Fit(),
    *,
    unclouded: Sequence[xr.DataTree] = (),
    only: Sequence[str] = tuple(HEADS),
    data: DataConfig | None = None,
    progress: Progress = iter,
) -> tuple[Tamrf, dict[str, Checked]]:
    """Return the network with heads that know days, fitted on cubes, and what each brings.

    Parameters
    ----------
    model
        The network; not modified. Heads that it has are replaced.
    cubes
        With masks. What is tested on is no part of them.
    how
        Sizes and steps.
    unclouded
        Of each cube, the same without its sky (`tamrf_xr.simulate.Simulation.unclouded`): what it
        is learnt against. None: masks, and what was measured on other days.
    only
        Heads to fit, of `tamrf_xr.model.levels.HEADS`; others stay as they are.
    data
        How patches are drawn; by default as the recipe ``"small"``, a tenth of the places kept.
    progress
        Shows how far it is.

    Raises
    ------
    CubeError
        If no cube has the sensor that a head is of, nothing of that is held back among the samples,
        or none was clear; or if an `unclouded` is not of its cube.
    OptionError
        If a head is unknown, a size is less than 1, patches are less than five coarse pixels
        across, or there are not as many `unclouded` as cubes.
    """
    if unknown := set(only) - HEADS.keys():
        raise OptionError(f"no head is called {min(unknown)!r}; there are {', '.join(HEADS)}")
    check_fit(how)
    check_alike(cubes, unclouded)
    check_sensors(cubes, (HEADS[name] for name in only), "a head is of")
    data = data or replace(recipe("small").data, validation_share=0.1, turn=False)
    data = replace(data, dates=how.dates)
    learnt, kept = sites_of(cubes, data)
    model = copy.deepcopy(model).eval()
    (examples, changes), (checks, _) = (
        _examples(
            model,
            [  # the draws of both are the same
                Patches(trees, sites, data, seed=how.seed + place, count=count)
                for trees in (cubes, unclouded)
                if trees
            ],
            how, only=only, progress=progress,
        )
        for place, (sites, count) in enumerate(((learnt, how.samples), (kept, how.checked)))
    )  # fmt: skip
    std, checked = torch.cat([model.lr_std, model.hr_std]), {}
    for name in only:
        if not examples[name] or not checks[name]:
            raise CubeError(
                f"nothing clear was held back beside a date that was given, of what {name} is of: "
                "give more cubes, with masks and both sensors, or more samples"
            )
        head = _learnt(model, name, examples[name], how)
        channels = channels_of(model.config)[name]
        units = std[channels.start : channels.stop] * (1000 if name == TEMPERATURE else 1)
        checked[name] = Checked(*(_off(checks[name], units, one) for one in (None, head)))
        if isinstance(head, JoinedHead):
            _know_the_other(head, changes)
        setattr(model, name, head)
    return model, checked


def _examples(
    model: Tamrf, patches: Sequence[Patches], how: Fit, *, only: Sequence[str], progress: Progress
) -> tuple[dict[str, list[Series]], list[Tensor]]:
    """Return what patches have of each head, and how bands changed (`_changes`)."""
    places, *own = (torch.Generator().manual_seed(how.seed) for _ in (None, *only))
    found: dict[str, list[Series]] = {name: [] for name in only}
    changes = []
    for number in progress(range(len(patches[0]))):
        windows = _windows(model, [part[number] for part in patches], how, places)
        if windows is None:
            continue
        changes.append(_changes(windows, model.config.ratio))
        for name, rng in zip(only, own, strict=True):
            series = _of_head(model, name, windows, how=how, rng=rng)
            found[name] += [] if series is None else [series]
    return found, changes


def check_alike(cubes: Sequence[xr.DataTree], unclouded: Sequence[xr.DataTree]) -> None:
    """Check that each cube has its own land beside it."""
    if unclouded and len(unclouded) != len(cubes):
        raise OptionError(f"{len(unclouded)} unclouded for {len(cubes)} cubes: give one of each")
    for place, (cube, other) in enumerate(zip(cubes, unclouded, strict=False)):
        ours, theirs = groups_of(cube), groups_of(other)
        alike = ours.keys() == theirs.keys() and all(
            group[name].equals(theirs[sensor][name])
            for sensor, group in ours.items()
            for name in ("time", "y", "x")
        )
        if not alike or cube.attrs.get("history") != other.attrs.get("history"):
            raise CubeError(
                f"cube {place} and what is given as the same without its sky are of other dates, "
                "grids or scenes (their `history` tells which): write both together "
                "(tamrf-xr simulate --scenes N --unclouded, into an empty folder)"
            )


@dataclass(frozen=True, slots=True)
class _Windows:
    """A patch pair around some pixels, which are in the middle of coarse ones."""

    seen: Mapping[str, Patch]
    """Whole, by stream."""

    true: Mapping[str, Patch] | None
    """Likewise without a sky; None if that is not known."""

    places: tuple[Tensor, Tensor]
    """Rows and columns (P,) of the coarse pixels."""

    encoded: Tensor
    """(P, h, w, N, D)."""


@torch.no_grad()
def _windows(
    model: Tamrf, samples: Sequence[Sample], how: Fit, rng: torch.Generator
) -> _Windows | None:
    """Return what the decoder's convolutions take, and a mean of pixels; None without a date."""
    seen, *true = (standardised([sample], model) for sample in samples)
    given = [seen[name].at(seen[name].given.nonzero()[:, 0]) for name in OPTICAL]
    if not any(len(patch.days) for patch in given):
        return None
    y, x = _places(seen["lr"].valid.shape[1:], how.pixels, rng)
    ratio = model.config.ratio
    middle = model.config.decoder_reach + ratio // 2
    around = torch.arange(-middle, middle + 1)
    rows = (ratio * y + ratio // 2)[:, None, None] + around[:, None]
    cols = (ratio * x + ratio // 2)[:, None, None] + around
    (lr, lr_days), (hr, hr_days) = (in_a_batch(patch) for patch in given)
    tokens = model.tokens(lr, lr_days, hr, hr_days)[0][..., rows, cols]
    encoded = model.attend(tokens.movedim(2, 0))  # a pixel is a batch
    return _Windows(seen, true[0] if true else None, (y, x), encoded)


@torch.no_grad()
def _of_head(
    model: Tamrf, name: str, windows: _Windows, *, how: Fit, rng: torch.Generator
) -> Series | None:
    """Return what windows have of a head; None where nothing clear is held back."""
    stream, channels = HEADS[name], channels_of(model.config)[name]
    first = 0 if stream == "lr" else model.config.lr_bands
    patch, (y, x) = windows.seen[stream], windows.places
    true = patch if windows.true is None else windows.true[stream]
    values, truth = (
        part.pixels[:, channels.start - first : channels.stop - first] for part in (patch, true)
    )
    clear = true.valid & values.isfinite().all(dim=1)
    known = clear if windows.true is None else torch.ones_like(clear)
    held = (~patch.given & known.flatten(1).any(dim=1)).nonzero()[:, 0]
    held = held[torch.randperm(len(held), generator=rng)[: how.queries]]
    own = _dates(windows.seen, stream)
    if not len(held) or own.stop == own.start:
        return None
    scale = 1 if stream == "lr" else model.config.ratio
    at = scale * y + scale // 2, scale * x + scale // 2
    asked = model.ask(windows.encoded, patch.days[held][None].expand(len(y), -1))
    made = _as_seen(model, name, model.to_bands(asked)[:, :, channels.start : channels.stop])
    mid = made.shape[-1] // 2
    valid, days = clear[patch.given][:, *at].T, patch.days[patch.given]
    measured, truly = (_at(images[patch.given], at) for images in (values, truth))
    if windows.true is None:
        truly = _line(measured, valid, days)
    return Series(
        days=days,
        query_days=patch.days[held],
        encoded=windows.encoded[:, mid, mid, own].clone(),
        attended=asked[..., mid, mid].movedim(1, 0).clone(),
        predicted=made[..., mid, mid].movedim(1, 0).clone(),
        observed=_at(truth.where(known[:, None], torch.nan)[held], at).movedim(1, 0),
        given=measured,
        valid=valid,
        errors=_errors(model, channels, measured, truly),
    )


def _errors(model: Tamrf, channels: range, measured: Tensor, truly: Tensor) -> Tensor:
    """Return squared errors (P, N) of pixels (P, N, B), standardised, mean over bands.

    In those of a good date, which is off by 0.03 and a tenth of the reflectance.
    """
    mean, std = (
        torch.cat([getattr(model, f"{stream}_{kind}") for stream in ("lr", "hr")])[list(channels)]
        for kind in ("mean", "std")
    )
    usual = 0.03**2 + (0.1 * (truly * std + mean)) ** 2
    return ((std * (measured - truly)) ** 2 / usual).mean(dim=-1)


@torch.no_grad()
def _line(values: Tensor, valid: Tensor, days: Tensor) -> Tensor:
    """Return the line of the other clear dates at each, (P, N, B); NaN where none is near."""
    with torch.random.fork_rng(devices=[]):
        head = ReflectanceHead(1)  # of which days alone matter
    known = valid & values.isfinite().all(dim=-1)
    odds = torch.zeros(known.shape).masked_fill(~known, -torch.inf)
    weighted, nearest = head.moments(days, days)
    others = 1 - torch.eye(len(days))[:, None, None]
    told = head.levels(seen(odds, values), weighted * others)
    far = told.total * nearest.exp() < ENOUGH
    return told.line.masked_fill(far[:, None], torch.nan)[:, :, 0].transpose(1, 2)


def _changes(windows: _Windows, ratio: int) -> Tensor:
    """Return how reflectances of both sensors, (n, B + B'), differ from their mean over dates.

    Of days on which both saw a pixel, or the day after: what is there, or what was clear.
    """
    (lr, hr), (y, x) = ((windows.true or windows.seen)[name] for name in OPTICAL), windows.places
    first, second = ((lr.days[:, None] - hr.days).abs() <= 1).nonzero().T
    inside = torch.arange(ratio)
    rows, cols = ratio * y[:, None, None] + inside[:, None], ratio * x[:, None, None] + inside
    both = torch.cat(
        [
            lr.pixels[first][:, :-1, y, x],
            hr.pixels[second][..., rows, cols].mean(dim=(-2, -1)),
        ],
        dim=1,
    )
    known = both.isfinite().all(dim=1)
    if windows.true is None:
        known &= lr.valid[first][:, y, x] & hr.valid[second][:, rows, cols].all(-1).all(-1)
    both = both.movedim(1, -1).where(known[..., None], torch.nan)
    return (both - both.nanmean(dim=0))[known]


def _know_the_other(head: JoinedHead, changes: Sequence[Tensor]) -> None:
    """Regress changes of a sensor on those of the other; without any, that is not listened to."""
    every = torch.cat([*changes, torch.empty(0, sum(head.slopes.shape))]).double()
    if not len(every):
        head.other.data.zero_()
        return
    theirs, ours = every.split(list(head.slopes.shape), dim=1)
    held = NOISE * len(every) * torch.eye(theirs.shape[1])
    head.slopes.data.copy_(torch.linalg.solve(theirs.T @ theirs + held, theirs.T @ ours))


def _dates(seen: Mapping[str, Patch], stream: str) -> slice:
    """Return where the dates given of a stream are among tokens."""
    counts = [int(seen[name].given.sum()) for name in OPTICAL]
    first = 0 if stream == OPTICAL[0] else counts[0]
    return slice(first, first + counts[OPTICAL.index(stream)])


def _at(images: Tensor, places: tuple[Tensor, Tensor]) -> Tensor:
    """Return pixels (P, T, B) of images (T, B, y, x)."""
    return images[..., *places].permute(2, 0, 1).clone()


def _as_seen(model: Tamrf, name: str, bands: Tensor) -> Tensor:
    """Return the mean of the pixels that a sensor sees as one, of bands (..., B, y, x)."""
    seen, reaches = bands.clone(), compared(model, name)
    if name == TEMPERATURE:
        reaches = (model.config.ratio // 2,)
    for band, reach in enumerate(reaches):
        seen[..., band, :, :] = averaged(bands[..., band, :, :], reach)
    return seen


def _places(size: Sequence[int], count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw pixels that have two others around them."""
    if min(size) < 5:
        raise OptionError(f"data.patch_m: patches are {min(size)} coarse pixels across, not 5")
    rows, cols = (torch.arange(2, side - 2) for side in size)
    every = torch.cartesian_prod(rows, cols)
    y, x = every[torch.randperm(len(every), generator=rng)[:count]].unbind(dim=1)
    return y, x


def _begun(model: Tamrf, name: str, how: Fit) -> LevelHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)  # noqa: TID251
        if name != TEMPERATURE:
            return reflectance_head(model.config, name)
        head = TemperatureHead(model.config.width)
    head.gate2.weight.data.zero_()
    head.gate2.bias.data.fill_(DRAWN)
    return head


def _learnt(model: Tamrf, name: str, examples: Sequence[Series], how: Fit) -> LevelHead:
    head = _begun(model, name, how)
    if not any(bool(one.valid.any()) for one in examples):
        raise CubeError(f"no pixel of {name} was clear on a date that was given: give more cubes")
    average = copy.deepcopy(head)
    spread = torch.cat([one.encoded.flatten(0, 1) for one in examples]).std(dim=0)
    rng = torch.Generator().manual_seed(how.seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=how.lr, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.steps)
    for _ in range(how.steps):
        picked = torch.randint(len(examples), (how.batch,), generator=rng).tolist()
        some = [examples[i] for i in picked]
        if isinstance(head, TemperatureHead):
            some = [_elsewhere(one, how, rng) for one in some]
        some = [
            replace(one, encoded=one.encoded + how.noise * spread * _normal(one.encoded, rng))
            for one in some
        ]
        loss = sum((_loss(head, one, how) for one in some), torch.zeros(())) / how.batch
        if not loss.requires_grad:  # nothing known in any of them
            continue
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        for kept, own in zip(average.parameters(), head.parameters(), strict=True):
            kept.data.lerp_(own.data, 1 - how.average)
    average.eval().requires_grad_(requires_grad=False)
    if isinstance(average, ReflectanceHead):
        average.clear2.bias[1] -= _typical(average, examples)
    return average


def _normal(like: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=rng)


def _typical(head: ReflectanceHead, examples: Sequence[Series]) -> Tensor:
    """Return the median of the logarithms of one over squared errors of clear dates."""
    found = [head.tell(one.encoded)[..., 1][one.valid] for one in examples]
    return torch.cat(found).median()


def _elsewhere(one: Series, how: Fit, rng: torch.Generator) -> Series:
    """Return a patch pair as it is, or as the decoder might see it in a climate of another kind."""
    moved = torch.rand((), generator=rng)
    off, wider = torch.randn(2, generator=rng)
    if moved < 0.5:
        return one
    mean = one.predicted.mean()
    apart = (one.predicted - mean) * (1 + 0.6 * how.strange * wider)
    return replace(one, predicted=mean + apart + how.strange * off)


def _loss(head: LevelHead, one: Series, how: Fit) -> Tensor:
    """Return how badly a head tells clear dates, and how far these, or temperatures, are off.

    Of errors that are as normal ones of the deviation told. How far to draw reflectance is not
    learnt: see docs/decisions/024-levels-of-reflectance.md.
    """
    told, known = head.tell(one.encoded), one.given.isfinite().all(dim=-1)
    clear = functional.binary_cross_entropy_with_logits(
        told[..., 0], one.valid.float(), reduction="none"
    )
    loss = how.masks * _mean(clear, known)
    if isinstance(head, TemperatureHead):
        error = one.drawn(head) - one.observed
        far = functional.smooth_l1_loss(
            error.nan_to_num(), torch.zeros_like(error), beta=how.beta, reduction="none"
        )
        return loss + _mean(far, error.isfinite())
    exact = told[..., 1].clamp(-CLEAREST, CLEAREST)
    surprise = one.errors.nan_to_num() * exact.exp() - exact
    return loss + how.errors * _mean(surprise, known & one.errors.isfinite())


def _mean(of: Tensor, known: Tensor) -> Tensor:
    """Return the mean of what is known, 0 of nothing."""
    return (of * known).sum() / known.sum().clamp(min=1)


@torch.no_grad()
def _sizes(examples: Sequence[Series], head: LevelHead | None) -> Tensor:
    """Return the typical size of an error of each band, (B,): its median."""
    made = [one.predicted if head is None else one.drawn(head) for one in examples]
    errors = [(own - one.observed).flatten(0, 1) for own, one in zip(made, examples, strict=True)]
    return torch.cat(errors).abs().nanmedian(dim=0).values


def _off(examples: Sequence[Series], units: Tensor, head: LevelHead | None) -> float:
    return float((_sizes(examples, head) * units).mean())


def unclouded_beside(paths: Sequence[Path]) -> list[xr.DataTree]:
    """Return the series without a sky beside cubes, if all have one."""
    others = [beside(path) for path in paths]
    there = [path for path in others if path.exists()]
    if there and len(there) < len(paths):
        missing = next(path for path in others if not path.exists())
        raise CubeError(
            f"{len(there)} of {len(paths)} cubes have themselves without a sky beside them, and "
            f"{missing} is not there; give cubes that all have, or none"
        )
    return [open_cube(path) for path in there]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit on stores, write the network with its head."""
    from tqdm.auto import tqdm

    parser = parser_of(__doc__, Fit(), ["samples", "checked", "steps"])
    parser.add_argument("--only", nargs="+", choices=list(HEADS), default=list(HEADS))
    options, how = parsed(parser, arguments, Fit())
    paths = find_cubes(options.cubes)
    unclouded, cubes = unclouded_beside(paths), [open_cube(path) for path in paths]
    model, checked = fit_levels(
        load_model(options.weights), cubes, how,
        unclouded=unclouded, only=options.only, progress=tqdm,
    )  # fmt: skip
    against = "scenes without their sky" if unclouded else "masks and other days"
    tqdm.write(f"learnt against {against}")
    joined = model.levels_hr if "levels_hr" in checked else None
    if joined is not None and not joined.other.data:
        tqdm.write("nothing was seen by both sensors within a day: Landsat tells no Sentinel-2")
    kept = kept_of(options.weights)
    told: dict[str, Any] = dict(kept.get("levels", {}))
    for name, errors in checked.items():
        unit = "K" if name == TEMPERATURE else "reflectance"
        before, after = (round(error, 5) for error in (errors.before, errors.after))
        tqdm.write(f"{name}: at dates held back {before} to {after} {unit}")
        sizes: dict[str, Any] = {"samples": how.samples, "steps": how.steps, "cubes": len(cubes)}
        sizes |= {"against": against}
        told[name] = {**sizes, "before": before, "after": after}
    save_model(model, options.out, overwrite=options.overwrite, metadata={**kept, "levels": told})


if __name__ == "__main__":
    run(main)
