"""Samples that are computed at once give what each gives alone."""

from __future__ import annotations

import contextlib
import copy
import traceback
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import tamrf_xr
from tamrf_xr.training import optics
from tamrf_xr.training import trainer as trainer_module
from tamrf_xr.training.compiling import compile_parts
from tamrf_xr.training.data import Sample
from tamrf_xr.training.lpips import MaskedLpips
from tamrf_xr.training.recipes import recipe
from tamrf_xr.training.run import build
from tamrf_xr.training.setting import override
from tamrf_xr.training.together import Together
from tamrf_xr.training.trainer import Trainer, World, automatic_stack, stacks
from tests.scenes import random_cube
from tests.training.lpips_files import published_heads, random_vgg16

STRATEGIES = ("RANDOM", "NOHR", "NOLR", "FORECAST", "BACKCAST", "GAPS")
WORDS = [
    *("model.latent=8", "model.growth=4", "model.positional=8", "model.num_layers=2"),
    *("data.patch_m=240", "data.dates=12", "data.validation_share=0.2", "data.turn=True"),
    *("optim.dropout=0.0", "loss.perceptual=smooth_l1", "loss.margin=3"),
]


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    """Two cubes of stores, packed, and two of floats, each of one sensor alone."""
    folder = tmp_path_factory.mktemp("cubes")
    for seed, dates in enumerate(({"hr": 14, "lr": 9}, {"hr": 7, "lr": 12})):
        cube = random_cube((96, 120), seed=seed, nan=0.02, **dates)
        tamrf_xr.save_cube(cube, folder / f"{seed}.zarr")
    floats = [random_cube((96, 120), hr=9, lr=7, seed=seed, nan=0.02) for seed in (2, 3)]
    for cube, name in zip(floats, ("landsat", "sentinel2"), strict=True):
        del cube[name]
    return [*(tamrf_xr.open_cube(folder / f"{n}.zarr") for n in range(2)), *floats]


def trainer(cubes, *words):
    config = override(recipe("quick"), [*WORDS, *words])
    return Trainer(config, cubes, build(config, cubes, torch.device("cpu")), World())


@pytest.fixture(scope="module")
def samples(cubes):
    """Samples of every strategy, every cube, and series of many lengths."""
    found: dict[str, Sample] = {}
    patches = trainer(cubes).patches
    for number in range(400):
        sample = patches[number]
        missing = {"landsat", "sentinel2"} - set(sample.patches)
        found.setdefault(" ".join(["no", *missing]) if missing else sample.strategy, sample)
    assert set(found) == {*STRATEGIES, "no landsat", "no sentinel2"}
    return found


def clouded(sample, most):
    """Return a sample of dates that are clouded by shares from 0 to `most`."""
    draw = torch.Generator().manual_seed(sample.number)
    patches = {}
    for name, seen in sample.patches.items():
        shares = torch.linspace(0, most, len(seen.days))[:, None, None]
        clear = torch.rand(seen.valid.shape, generator=draw) >= shares
        stored = (
            seen.pixels.isfinite() if seen.packing is None else seen.pixels != seen.packing.fill
        )
        patches[name] = replace(seen, valid=clear & stored.all(dim=1))
    return replace(sample, patches=patches)


def gradients(model):
    return {name: value.grad.clone() for name, value in model.named_parameters()}


def assert_equal_to_rounding(found, expected):
    """Of gradients, by the norm of each: single weights may be zero but for rounding."""
    for name, value in expected.items():
        error, norm = (found[name] - value).norm(), value.norm()
        assert error <= 1e-6 * norm + 1e-9, (name, float(error), float(norm))


def assert_each_is_as_alone(trainer, several):
    """Losses of a stack, in sum and of each, and what is learnt from them.

    In float64: sums of float32 in another order differ by some 1e-6 themselves.
    """
    model = trainer.model.double().train()
    alone, expected = [], []
    for sample in several:
        model.zero_grad(set_to_none=False)
        total, partials = trainer.loss(model, sample)
        total.backward()
        alone.append(partials)
        expected.append(gradients(model))
    model.zero_grad(set_to_none=False)
    total, partials = trainer.loss(model, *several)
    total.sum().backward(retain_graph=True)
    summed = {name: sum(one[name] for one in expected) for name in expected[0]}
    assert_equal_to_rounding(gradients(model), summed)
    assert set(partials) == {name for one in alone for name in one}
    for name, values in partials.items():
        told = [float(one.get(name, 0.0)) for one in alone]
        np.testing.assert_allclose(values.expand(len(several)), told, rtol=1e-6, atol=1e-9)
    for own, loss in zip(expected, total, strict=True):
        model.zero_grad(set_to_none=False)
        loss.backward(retain_graph=True)
        assert_equal_to_rounding(gradients(model), own)
    return set(partials)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_stacking_changes_no_loss_and_no_gradient(cubes, samples, strategy):
    several = [
        clouded(samples[strategy], 0.4),
        samples["no landsat"],
        clouded(samples["no sentinel2"], 1.0),
        clouded(samples["RANDOM"], 0.1),
    ]
    told = assert_each_is_as_alone(trainer(cubes), several)
    assert {"clear_perceptual_20m", "masked_perceptual", "masked_hr_triplet"} <= told


def test_series_of_equal_lengths_are_not_masked(cubes, samples):
    one = samples["RANDOM"]
    other = replace(one, turns=(one.turns + 1) % 8)
    assert Together(torch.tensor([1, 0, 0, 1]), 2, torch.device("cpu")).absent() is None
    assert_each_is_as_alone(trainer(cubes), [one, other])


def test_every_loss_is_stacked(cubes, samples):
    own = trainer(cubes, "loss.decorrelation_weight=0.1")
    lpips = MaskedLpips(random_vgg16(), published_heads())
    own.tools = replace(own.tools, lpips=lpips)
    own.config = replace(own.config, loss=replace(own.config.loss, perceptual="lpips"))
    several = [clouded(samples[name], 0.4) for name in ("RANDOM", "no landsat", "GAPS")]
    with torch.no_grad():
        alone = [own.loss(own.model, sample)[1] for sample in several]
        partials = own.loss(own.model, *several)[1]
    assert {"clear_perceptual_20m", "decorrelation"} <= set(partials)
    for name, values in partials.items():
        told = [float(one.get(name, 0.0)) for one in alone]
        np.testing.assert_allclose(values.expand(3), told, rtol=2e-5, atol=1e-7, err_msg=name)


def test_validation_stacked_is_validation(cubes):
    one, several = (trainer(cubes, f"run.stack={n}", "run.validation_samples=5") for n in (1, 3))
    assert several.validate() == pytest.approx(one.validate(), rel=1e-5)


def test_a_batch_of_stacks_is_the_batch(cubes):
    words = ["optim.batch=5", "data.turn=True"]
    one, several = (trainer(cubes, f"run.stack={n}", *words) for n in (1, 2))
    for found, expected in zip(several.steps(), one.steps(), strict=False):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
        if several.step == 3:
            break


class Crossings(TorchDispatchMode):
    """What goes from one device to another, but by `upload`; that a value is read, raises."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, made))
        devices = {leaf.device.type for leaf in leaves if isinstance(leaf, torch.Tensor)}
        names = [frame.name for frame in traceback.extract_stack()]
        if len(devices) > 1 and "upload" not in names:
            self.found.append(f"{func} in {names[-4:-1]}")
        return made


@pytest.mark.parametrize("stack", [1, 3])
def test_nothing_in_a_step_waits_for_the_device(cubes, samples, stack, monkeypatch):
    """On a device without values ("meta"), where whatever asks for one raises."""
    own = trainer(cubes, f"run.stack={stack}", "optim.batch=3")
    gone = lambda bands: replace(  # noqa: E731
        bands,
        **{name: getattr(bands, name).to("meta") for name in ("mean", "std", "profiles")},
        positions={gsd: at.to("meta") for gsd, at in bands.positions.items()},
    )
    own.model.to("meta")
    own.tools = replace(own.tools, hr=gone(own.tools.hr), lr=gone(own.tools.lr))
    monkeypatch.setattr(optics, "full_precision", lambda _: contextlib.nullcontext())  # none there
    reads, asked = [], []
    monkeypatch.setattr(own, "_update", asked.append)

    def read(told):
        reads.append(told)
        return [{name: [0.0] for name in partials} for partials in told]

    monkeypatch.setattr(trainer_module, "read", read)
    with Crossings() as crossings:
        own._step([clouded(samples[name], 0.4) for name in ("RANDOM", "no landsat", "GAPS")])
    assert crossings.found == []
    assert len(reads) == 1
    assert asked[0].is_meta
    with pytest.raises(RuntimeError, match="meta"):
        bool(asked[0])


def test_a_fused_step_is_the_step(cubes):
    """As a GPU takes it, which is not asked whether gradients are finite."""
    words = ["optim.average=0.9", "optim.batch=2"]
    plain, fused = trainer(cubes, *words), trainer(cubes, *words)
    as_on_a_gpu(fused)
    for _ in range(3):
        samples = [plain.patches[2 * plain.step + i] for i in range(2)]
        plain._step(samples)
        fused._step(samples)
    for one, other in ((plain.model, fused.model), (plain.average, fused.average)):
        for name, value in one.state_dict().items():
            torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_a_fused_step_without_finite_gradients_changes_nothing(cubes, monkeypatch):
    own = trainer(cubes, "optim.average=0.9")
    as_on_a_gpu(own)
    own._step([own.patches[0]])
    before = copy.deepcopy(kept(own))
    total = lambda model, _: (model.query_latent.sum() * torch.nan, {})  # noqa: E731
    monkeypatch.setattr(own, "loss", total)
    own._step([own.patches[1]])
    torch.testing.assert_close(kept(own), before, rtol=0, atol=0)


def kept(trainer):
    state = trainer.state()
    return [state["model"], state["average"], state["optimizer"]["state"]]


def as_on_a_gpu(trainer):
    trainer.fused = True
    trainer.optimizer = torch.optim.Adam(trainer.model.parameters(), fused=True)


def test_a_state_of_a_cpu_goes_on_fused(cubes):
    """What is not asked for by the flag that is restored would take what is not finite."""
    own, other = trainer(cubes), trainer(cubes)
    own._step([own.patches[0]])
    as_on_a_gpu(other)
    other.restore(copy.deepcopy(own.state()))
    assert all(group["fused"] for group in other.optimizer.param_groups)
    other._step([own.patches[1]])


def test_as_many_are_stacked_as_weigh_what_one_of_the_paper_does():
    gpu = torch.device("cuda")
    sizes = {name: automatic_stack(recipe(name), gpu) for name in ("published", "small", "quick")}
    assert sizes == {"published": 1, "small": 26, "quick": 43}
    wide = override(recipe("quick"), ["data.patch_m=2550", "data.dates=2"])
    assert automatic_stack(wide, gpu) == 1
    assert automatic_stack(recipe("small"), torch.device("cpu")) == 1
    assert [list(stack) for stack in stacks(range(5), 2)] == [[0, 1], [2, 3], [4]]


def test_a_network_that_cannot_be_compiled_is_told_and_trains(cubes, caplog):
    own = trainer(cubes)

    def fails(*_):
        raise ValueError("no compiler here")

    assert not compile_parts(own.model, backend=fails)
    (said,) = warned(caplog)
    assert said.startswith("run.compile: torch.compile failed, training goes on without: ")
    assert "no compiler here" in said
    assert own._step([own.patches[0]])["total"] > 0


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # PyTorch asks for it
def test_a_compiled_network_learns_the_same(cubes, caplog):
    words = ["model.num_layers=1", "model.num_blocks=1"]
    plain, own = trainer(cubes, *words), trainer(cubes, *words)
    assert compile_parts(own.model, backend="eager"), warned(caplog)
    assert not any(value.grad.any() for value in own.model.parameters())
    for number in range(2):
        found, expected = (it._step([it.patches[number]]) for it in (own, plain))
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert own.model.state_dict().keys() == plain.model.state_dict().keys()


def warned(caplog):
    """Return what the package warned of; PyTorch logs each of its steps beside."""
    return [record.getMessage() for record in caplog.records if "tamrf_xr" in record.name]
