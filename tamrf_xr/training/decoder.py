"""Fit the decoder on: ``python -m tamrf_xr.training.decoder WEIGHTS CUBES OUT``.

A network is trained without what draws its bands to levels of days (`tamrf_xr.model.levels`), which
is learnt after it, and so learns much that these do better. Here the decoder goes on alone, with
heads of reflectance behind it as in use: what is left to it is what days near do not tell. Encoders
and transformer stay as they are, and with them what dates weigh; so tokens are computed once.

What it is held against are simulated scenes with themselves without a sky beside them
(`tamrf_xr.simulate.write_scenes`, ``unclouded``): at dates held back, what a clear acquisition
would have shown, under clouds, too; at dates given, those pixels that were clear. A second fit is
held against clear pixels alone, and the mean of both is taken. Tokens are given noise, as other
lands make other ones. What the decoder makes of single pixels that no sensor saw, detail of bands
of 20 and 30 m, is kept as it was.

Temperature and errors that a network tells are fitted anew after it
(`tamrf_xr.training.levels`, ``--only temperature``; `tamrf_xr.training.uncertainty`).

References
----------
.. [1] Wortsman et al., "Model soups", ICML 2022.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional

from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.model.checkpoint import load_model, save_model
from tamrf_xr.model.config import OPTICAL
from tamrf_xr.model.levels import Part, ReflectanceHead, averaged, compared, moved, parts_of
from tamrf_xr.model.network import Tamrf, crop
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
from tamrf_xr.training.levels import check_alike, unclouded_beside
from tamrf_xr.training.recipes import recipe
from tamrf_xr.training.run import find_cubes
from tamrf_xr.training.sites import sites_of
from tamrf_xr.training.stack import in_a_batch, standardised

FITTED = ("decoder.", "out1.", "out2.", "query_")
"""What of a network is fitted, by the start of the names of its tensors."""

WEIGHTS = {"lr": 0.5, "hr": 1.0}
"""Of the loss of bands of each stream; temperature, which a head draws to days afterwards, weighs
half of that."""

LEAST = 0.01
"""Added to a mean squared error that others are told in parts of, in variances of a band."""

LARGEST = 0.1
"""Deviations by which clear acquisitions of a patch pair differ at most from what is there."""

_HEADS = "levels_lr", "levels_hr"


@dataclass(frozen=True, slots=True)
class Judged:
    """What counts as an error, and how much."""

    power: float = 1.0
    """Of the mean squared error that a band of a patch pair had before, in parts of which errors
    count. With 0, lands of snow are nearly all; with 1, those are that are nearly right."""

    clouds: bool = True
    """At dates held back, what lies under clouds, too."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How it is fitted."""

    samples: int = 1500
    """Patch pairs to learn from; each takes some 3 MB of memory."""

    checked: int = 60
    """Patch pairs of other places, on which errors before and after are told."""

    dates: int = 70
    """Most dates of both sensors of a patch pair."""

    side: int = 6
    """Coarse pixels across the part of a patch pair that is taken; the outer are not judged."""

    queries: int = 12
    """Most dates of a sensor that are asked of a patch pair, given and held back."""

    steps: int = 420
    """Of the optimiser, each time."""

    batch: int = 8
    """Patch pairs a step."""

    lr: float = 4e-4
    """Highest learning rate; a cosine brings it to zero."""

    beta: float = 3.0
    """Where the loss turns from squares to sizes, in deviations of a band."""

    judged: tuple[Judged, ...] = (Judged(), Judged(power=0.0, clouds=False))
    """How: for each once, and the weights are averaged [1]_."""

    detail: float = 10.0
    """Weight of keeping detail that no sensor sees."""

    land: float = 0.15
    """Noise of tokens that is alike on all dates, in their deviations."""

    date: float = 0.2
    """Noise of tokens that is of each date."""

    largest: float = 10.0
    """Norm of the gradient of a step, at most."""

    average: float = 0.99
    """Of the weights that are returned."""

    seed: int = 0
    """Of all draws."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Q dates of a sensor that are asked of a block."""

    days: Tensor
    """(Q,)."""

    held: Tensor
    """(Q,), bool: held back."""

    told: Tensor
    """(Q, H, W, channels), float16: what heads of reflectance tell."""

    wanted: Tensor
    """(Q, B, y, x), float16, standardised, on the sensor's grid; NaN where nothing is."""

    clear: Tensor
    """(Q, y, x), bool: where the sensor saw that."""


@dataclass(frozen=True, slots=True)
class Block:
    """Part of a patch pair."""

    encoded: Tensor
    """(H, W, N, D), float16: tokens behind the transformer."""

    asked: Mapping[str, Asked]
    """By stream."""

    def decoded(self, model: Tamrf, days: Tensor) -> Tensor:
        """Return standardised bands (Q, C, H, W) that no head draws, at days (Q,)."""
        return model.decode(self.encoded.float()[None], days[None])[0]


def fit_decoder(
    model: Tamrf,
    cubes: Sequence[xr.DataTree],
    how: Fit = Fit(),
    *,
    unclouded: Sequence[xr.DataTree],
    data: DataConfig | None = None,
    progress: Progress = iter,
) -> tuple[Tamrf, tuple[float, float]]:
    """Return the network with its decoder fitted on, and errors before and after.

    Parameters
    ----------
    model
        The network, with heads of reflectance; not modified.
    cubes
        Simulated scenes. What is tested on is no part of them.
    how
        Sizes and steps.
    unclouded
        Of each cube, the same without its sky (`tamrf_xr.simulate.Simulation.unclouded`).
    data
        How patches are drawn; by default as the recipe ``"small"``, a tenth of the places kept.
    progress
        Shows how far it is: patch pairs, then steps.

    Returns
    -------
    tuple
        The network; and the mean size of its errors of reflectance at dates held back, of places
        that it was not fitted on, before and after.

    Raises
    ------
    CubeError
        If no cube has a sensor, an `unclouded` is not of its cube, no sample has a date that is
        given, or none of those checked one that is held back.
    OptionError
        If the network has no heads of reflectance, a size is less than 1, there are not as many
        `unclouded` as cubes, or patches are smaller than `Fit.side`.
    """
    if any(getattr(model, name) is None for name in _HEADS):
        raise OptionError(
            "the network has no heads of reflectance, which its decoder is to go with; fit them "
            "first (python -m tamrf_xr.training.levels)"
        )
    if not unclouded:
        raise OptionError("no unclouded is given, and nothing else is learnt from: give one a cube")
    check_fit(how)
    check_alike(cubes, unclouded)
    check_sensors(cubes, OPTICAL, "the decoder makes")
    data = data or replace(recipe("small").data, validation_share=0.1)
    data = replace(data, dates=how.dates)
    sites = sites_of(cubes, data)
    begun = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
    to_learn, to_check = (
        [Patches(trees, own, data, seed=how.seed + place, count=count)
         for trees in (cubes, unclouded)]
        for place, (own, count) in enumerate(zip(sites, (how.samples, how.checked), strict=True))
    )  # fmt: skip
    kept = _blocks(begun, to_check, how, progress)
    before = _off(begun, kept)  # what cannot be told is refused before anything is learnt
    learnt = _blocks(begun, to_learn, how, progress)
    fits = [_fitted(begun, learnt, how, judged, progress=progress) for judged in how.judged]
    fitted, found = copy.deepcopy(begun), [dict(one.named_parameters()) for one in fits]
    for name, values in fitted.named_parameters():
        if name.startswith(FITTED):
            values.data.copy_(torch.stack([one[name].data for one in found]).mean(dim=0))
    return fitted, (before, _off(fitted, kept))


def _blocks(model: Tamrf, patches: Sequence[Patches], how: Fit, progress: Progress) -> list[Block]:
    rng = torch.Generator().manual_seed(how.seed)
    every = (
        _block(model, [part[number] for part in patches], how, rng)
        for number in progress(range(len(patches[0])))
    )
    found = [block for block in every if block is not None]
    if not found:
        raise CubeError("no sample has a date that is given: give more cubes, or more samples")
    return found


@torch.no_grad()
def _block(model: Tamrf, samples: Sequence[Sample], how: Fit, rng: torch.Generator) -> Block | None:
    """Return a part of a patch pair, drawn at random; None without a date that is given."""
    seen, true = (standardised([sample], model) for sample in samples)
    given = {name: seen[name].at(seen[name].given.nonzero()[:, 0]) for name in OPTICAL}
    if not any(len(patch.days) for patch in given.values()):
        return None
    ratio, side = model.config.ratio, how.side
    size = seen["lr"].valid.shape[-1]
    if size < side:
        raise OptionError(f"data.patch_m: patches are {size} coarse pixels across, not {side}")
    y, x = torch.randint(size - side + 1, (2,), generator=rng).tolist()
    at = {
        name: (..., slice(y * r, (y + side) * r), slice(x * r, (x + side) * r))
        for name, r in (("lr", 1), ("hr", ratio))
    }
    (lr, lr_days), (hr, hr_days) = (in_a_batch(given[name]) for name in OPTICAL)
    encoded = model.attend(model.tokens(lr, lr_days, hr, hr_days)[at["hr"]])[0]
    pixels = {name: patch.pixels[at[name]] for name, patch in given.items() if len(patch.days)}
    days = {name: patch.days for name, patch in given.items()}
    asked = {}
    for name in OPTICAL:
        some = torch.randperm(len(seen[name].days), generator=rng)[: how.queries]
        if not len(some):
            continue
        patch, whole = seen[name].at(some), true[name].at(some)
        told = model.told(
            pixels, days, encoded=encoded, query_days=patch.days, parts=_optical(model)
        )
        asked[name] = Asked(
            days=patch.days,
            held=~patch.given,
            told=told.half(),
            wanted=_wanted(patch, whole)[at[name]].half(),
            clear=(patch.valid & whole.valid)[at[name]],
        )
    return Block(encoded.half(), asked)


def _optical(model: Tamrf) -> list[Part]:
    return [part for part in parts_of(model) if isinstance(part.head, ReflectanceHead)]


def _wanted(seen: Patch, true: Patch) -> Tensor:
    """Return what is to be made at some dates, (Q, B, y, x); NaN where that is not judged.

    What was clear is as it was measured. What was not, of dates held back, is what is there, and
    what clear acquisitions differ from it by, on average of a band.
    """
    clear = (seen.valid & true.valid)[:, None] & seen.pixels.isfinite()
    off = (seen.pixels - true.pixels).where(clear, 0.0).sum(dim=(0, 2, 3))
    off = (off / clear.sum(dim=(0, 2, 3)).clamp(min=1)).clamp(-LARGEST, LARGEST)
    there = true.pixels + off[:, None, None]
    held = ~seen.given[:, None, None, None]
    return torch.where(clear, seen.pixels, there.where(held, torch.nan))


def _fitted(
    begun: Tamrf, blocks: Sequence[Block], how: Fit, judged: Judged, *, progress: Progress
) -> Tamrf:
    model, average = copy.deepcopy(begun), copy.deepcopy(begun)
    own = [
        (values, slow)
        for (name, values), slow in zip(model.named_parameters(), average.parameters(), strict=True)
        if name.startswith(FITTED)
    ]
    learnt = [values.requires_grad_() for values, _ in own]
    spread = torch.cat(
        [block.encoded[::6, ::6].flatten(0, 2).float() for block in blocks[:100]]
    ).std(dim=0)
    rng = torch.Generator().manual_seed(how.seed)
    optimizer = torch.optim.Adam(learnt, lr=how.lr)
    for step in progress(range(how.steps)):
        for group in optimizer.param_groups:
            group["lr"] = how.lr * (1 + math.cos(math.pi * step / how.steps)) / 2
        optimizer.zero_grad()
        for picked in torch.randint(len(blocks), (how.batch,), generator=rng).tolist():
            encoded = blocks[picked].encoded.float()
            noise = how.land * torch.randn(encoded.shape[-1], generator=rng)
            noise = noise + how.date * torch.randn(encoded.shape[-2:], generator=rng)
            noisy = replace(blocks[picked], encoded=encoded + spread * noise)
            loss = _loss((begun, model), (blocks[picked], noisy), how, judged)
            (loss / how.batch).backward()
        torch.nn.utils.clip_grad_norm_(learnt, how.largest)
        optimizer.step()
        for values, slow in own:
            slow.data.lerp_(values.data, 1 - min(how.average, (1 + step) / (10 + step)))
    return average


def _loss(
    models: tuple[Tamrf, Tamrf], blocks: tuple[Block, Block], how: Fit, judged: Judged
) -> Tensor:
    """Return how far off bands are, and their detail.

    Parameters
    ----------
    models
        As it was, and as it is.
    blocks
        What either is given of one block: tokens, and those with noise.
    how, judged
        How.
    """
    (begun, model), (block, noisy) = models, blocks
    total = torch.zeros(())
    for stream, asked in block.asked.items():
        with torch.no_grad():
            before = block.decoded(begun, asked.days)
            usual = _errors(begun, stream, before, asked)
            known = usual.isfinite()
            if not judged.clouds:
                known &= crop(asked.clear, _margin(model, stream))[:, None]
            size = usual.where(known, 0.0).clamp(-how.beta, how.beta).square().sum(dim=(0, 2, 3))
            size = (size / known.sum(dim=(0, 2, 3)).clamp(min=1) + LEAST) ** judged.power
        bands = noisy.decoded(model, asked.days)
        errors = _errors(model, stream, bands, asked).where(known, 0.0)
        off = functional.huber_loss(
            errors, torch.zeros_like(errors), delta=how.beta, reduction="none"
        )
        weight = torch.full_like(size, 2 * WEIGHTS[stream])
        weight[model.config.lr_bands - 1 :] /= 2 if stream == "lr" else 1
        total = total + ((weight / size)[:, None, None] * off).sum() / known.sum().clamp(min=1)
        total = total + how.detail * _detail(model, bands - before)
    return total


def _errors(model: Tamrf, stream: str, bands: Tensor, asked: Asked) -> Tensor:
    """Return what bands (Q, C, H, W) are off by, drawn, as the sensor sees them, (Q, B, y, x)."""
    drawn = bands + moved(_optical(model), bands, asked.told.float())
    first, ratio = model.config.lr_bands, model.config.ratio
    if stream == "lr":
        seen = functional.avg_pool2d(drawn[:, :first], ratio)
    else:
        reaches = enumerate(compared(model, "levels_hr"))
        seen = torch.stack([averaged(drawn[:, first + i], reach) for i, reach in reaches], dim=1)
    return crop(seen - asked.wanted.float(), _margin(model, stream))


def _margin(model: Tamrf, stream: str) -> int:
    """Return the outer pixels of a block, in those of a sensor: one coarse pixel, not judged."""
    return 1 if stream == "lr" else model.config.ratio


def _detail(model: Tamrf, bands: Tensor) -> Tensor:
    """Return the mean size of what pixels differ by from those around, of bands seen coarser."""
    seen = [1] * model.config.lr_bands + list(compared(model, "levels_hr"))
    coarse = bands[:, [channel for channel, reach in enumerate(seen) if reach]]
    return crop(coarse - averaged(coarse, 1), model.config.ratio).abs().mean()


@torch.no_grad()
def _off(model: Tamrf, blocks: Sequence[Block]) -> float:
    """Return the mean size of errors of reflectance at dates held back."""
    found = []
    for block in blocks:
        for stream, asked in block.asked.items():
            made = block.decoded(model, asked.days)
            errors = _errors(model, stream, made, asked)[asked.held]
            std = model.get_buffer(f"{stream}_std")
            size = (errors.abs() * std[:, None, None])[
                :, : model.config.lr_bands - 1 if stream == "lr" else None
            ]
            found.append(size[size.isfinite()])
    if not sum(map(len, found)):
        raise CubeError("nothing is held back where errors are told: give more cubes, or checked")
    return float(torch.cat(found).mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit on stores, write the network."""
    from tqdm.auto import tqdm

    parser = parser_of(__doc__, Fit(), ["samples", "checked", "steps"])
    options, how = parsed(parser, arguments, Fit())
    paths = find_cubes(options.cubes)
    unclouded, cubes = unclouded_beside(paths), [open_cube(path) for path in paths]
    model, (before, after) = fit_decoder(
        load_model(options.weights), cubes, how, unclouded=unclouded, progress=tqdm
    )
    tqdm.write(f"at dates held back {before:.5f} to {after:.5f} of reflectance")
    told: dict[str, float] = {"samples": how.samples, "steps": how.steps, "cubes": len(cubes)}
    told |= {"before": round(before, 5), "after": round(after, 5)}
    kept = {**kept_of(options.weights), "decoder": told}
    save_model(model, options.out, overwrite=options.overwrite, metadata=kept)


if __name__ == "__main__":
    run(main)
