"""Standard deviations of errors: computed as stated, in every product, calibrated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.errors import MethodError, ModelError, OptionError
from tamrf_xr.model.checkpoint import metadata_of
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.uncertainty import COVERAGES, ErrorHead
from tamrf_xr.training.config import DataConfig
from tamrf_xr.training.uncertainty import (
    Errors,
    Fit,
    _calibrated,
    _learnt,
    fit_errors,
)
from tamrf_xr.training.uncertainty import main as fit
from tests.scenes import random_cube

DATES = ("2022-01-14", "2022-02-02")
TINY = NetworkConfig(
    latent=8, growth=4, positional=8, sensor_token=4, num_layers=1, num_heads=2, decoder_heads=2,
    feedforward=16, decoder_feedforward=16,
)  # fmt: skip


def network(*, told: bool = True) -> Tamrf:
    model = Tamrf(TINY, generator=torch.Generator().manual_seed(3)).eval()
    if told:
        torch.manual_seed(4)  # noqa: TID251
        model.errors = ErrorHead(TINY.width, TINY.bands, 6).eval()
        model.errors.half_widths.copy_(torch.rand(3, TINY.bands))
    return model


@pytest.fixture(scope="module")
def cube():
    return random_cube((24, 30), hr=3, lr=2, seed=1, nan=0.1)


def expected(cube, model: Tamrf) -> np.ndarray:
    """Deviations (query, band, y, x) by the plain network on the whole image, zeros beyond it."""
    found, days = {}, {}
    for name, stream in (("landsat", "lr"), ("sentinel2", "hr")):
        group = cube[name].to_dataset()
        pixels = group["reflectance"].values
        if name == "landsat":
            thermal = group["surface_temperature"].values[:, None] / 1000
            pixels = np.concatenate([pixels, thermal], axis=1)
        x = torch.from_numpy(pixels.astype(np.float32))
        found[stream] = model.standardise(x, stream).nan_to_num(0.0)[None]
        days[stream] = since(group["time"].values)
    with torch.no_grad():
        encoded = model.encode(found["lr"], days["lr"], found["hr"], days["hr"])
        maps = model.ask(encoded, since(np.array(DATES, "M8[ns]")))[0]
        std = torch.cat([model.lr_std, model.hr_std])
        return (model.errors(maps.movedim(1, -1)) * std).movedim(-1, 1).numpy()


def since(times: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(times.astype("M8[D]").astype(float) - 18993)[None]  # 2022-01-01


@settings(max_examples=4)
@given(tile=st.sampled_from([9, 12, 30]))
def test_deviations_are_those_of_the_plain_network_whatever_the_tile(cube, tile):
    model = network()
    made = cube.tamrf.fuse(
        DATES, model=model, uncertainty=True, tile=tile, precision="float32",
        method_options={"border": "zeros"},
    )  # fmt: skip
    wanted = expected(cube, model)
    np.testing.assert_allclose(
        made["sentinel2/reflectance_std"].values, wanted[:, 8:], rtol=2e-4, atol=2e-6
    )
    np.testing.assert_allclose(
        made["landsat/reflectance_std"].values, wanted[:, :7], rtol=2e-4, atol=2e-6
    )
    kelvin = made["landsat/surface_temperature_std"]
    np.testing.assert_allclose(kelvin.values, wanted[:, 7] * 1000, rtol=2e-4)
    assert kelvin.attrs["units"] == "K"
    told = made["sentinel2/reflectance_std"].attrs
    widths = model.errors.half_widths[1, 8:].tolist()
    assert told["half_width_80"] == pytest.approx(widths, abs=1e-4)


def test_bands_are_the_same_with_and_without_and_in_any_choice(cube):
    model = network()
    plain = cube.tamrf.fuse(DATES, model=model)
    told = cube.tamrf.fuse(DATES, model=model, uncertainty=True)
    some = cube.tamrf.fuse(DATES, model=model, uncertainty=True, bands=["B04", "LST"])
    for name in ("sentinel2", "landsat"):
        np.testing.assert_array_equal(plain[f"{name}/reflectance"], told[f"{name}/reflectance"])
        one = told[f"{name}/reflectance_std"].sel(band=["B04"])
        np.testing.assert_array_equal(some[f"{name}/reflectance_std"], one)
    assert "reflectance_std" not in plain["sentinel2"]
    lst = "landsat/surface_temperature_std"
    np.testing.assert_array_equal(some[lst], told[lst])


def test_a_job_holds_what_the_lazy_product_has_and_is_another_without(cube, tmp_path):
    model = network()
    told = cube.tamrf.fuse(DATES, model=model, uncertainty=True, tile=12)
    tamrf_xr.run_job(cube, tmp_path / "p.zarr", DATES, model=model, uncertainty=True, tile=12,
                     progress=False)  # fmt: skip
    stored = tamrf_xr.open_cube(tmp_path / "p.zarr")
    for name in ("sentinel2/reflectance_std", "landsat/surface_temperature_std"):
        step = 1e-4 if name.startswith("s") else 1e-2
        np.testing.assert_allclose(stored[name].values, told[name].values, atol=0.51 * step)
        assert stored[name].attrs["half_width_95"] == told[name].attrs["half_width_95"]
    with pytest.raises(tamrf_xr.errors.JobError, match="uncertainty"):
        tamrf_xr.run_job(cube, tmp_path / "p.zarr", DATES, model=model, tile=12, progress=False)


def test_bad_requests_are_told(cube):
    with pytest.raises(ModelError, match=r"do not tell how uncertain.*training\.uncertainty"):
        cube.tamrf.fuse(DATES, model=network(told=False), uncertainty=True)
    with pytest.raises(MethodError, match="method 'linear' does not tell how uncertain"):
        cube.tamrf.fuse(DATES, method="linear", uncertainty=True)
    with pytest.raises(OptionError, match="statistics take the place of dates"):
        cube.tamrf.fuse(DATES, model=network(), uncertainty=True, statistics=["median"])
    with pytest.raises(OptionError, match="with indices alone none are kept"):
        cube.tamrf.fuse(DATES, model=network(), uncertainty=True, indices=["NDVI"])
    with pytest.raises(OptionError, match="uncertainty must be True or False"):
        cube.tamrf.fuse(DATES, model=network(), uncertainty="yes")


def test_weights_keep_their_head_and_training_drops_it(tmp_path, cube):
    path = tamrf_xr.save_model(network(), tmp_path / "m.safetensors")
    loaded, made = tamrf_xr.load_model(path), network()
    for name, values in made.errors.state_dict().items():
        assert torch.equal(loaded.errors.state_dict()[name], values)
    assert tamrf_xr.load_model(
        tamrf_xr.save_model(network(told=False), tmp_path / "n.safetensors")
    ).errors is None  # fmt: skip
    large = random_cube((24, 24), hr=8, lr=7, seed=1)
    how = {"steps": 1, "held_back": 0.0, "simulated": 0.0, "progress": False}
    adapted = large.tamrf.adapt(model=loaded, **how)
    assert adapted.errors is None


def test_calibrated_intervals_cover_what_they_say_and_follow_the_error():
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randn(30_000, TINY.width, generator=rng)
    scale = (0.3 + tokens[:, :1].abs()) * torch.linspace(0.5, 2, TINY.bands)
    heavy = torch.distributions.StudentT(3.0)
    torch.manual_seed(1)  # noqa: TID251
    errors = scale * heavy.sample(scale.shape)
    errors[::3, :8] = torch.nan  # seen by one sensor alone
    parts = [Errors(tokens[k::3], errors[k::3]) for k in (1, 2)]
    head = _calibrated(_learnt(parts[0], Fit(steps=600, batch=1024)), parts[1])
    with torch.no_grad():
        told = head(tokens[::3])
    relative = (scale * heavy.sample(scale.shape))[::3].abs() / told
    for share, width in zip(COVERAGES, head.half_widths, strict=True):
        assert (relative <= width).float().mean(dim=0).numpy() == pytest.approx(share, abs=0.03)
    assert head.half_widths[1] == pytest.approx(1.2816, rel=1e-5)
    together = torch.corrcoef(torch.stack([told[:, 0].log(), scale[::3, 0].log()]))[0, 1]
    assert together > 0.9


def test_a_fit_needs_both_sensors_and_changes_no_weight():
    cubes = [random_cube((24, 24), hr=12, lr=10, seed=seed) for seed in range(3)]
    data = DataConfig(patch_m=240, dates=16, validation_share=0.3)
    model = network(told=False)
    how = Fit(samples=4, calibration=4, pixels=20, steps=20, batch=64, hidden=8)
    fitted = fit_errors(model, cubes, how, data=data)
    assert model.errors is None
    for name, values in model.state_dict().items():
        assert torch.equal(fitted.state_dict()[name], values)
    assert bool((fitted.errors.half_widths.diff(dim=0) >= 0).all())


def test_fitting_by_command_keeps_what_is_known_of_the_weights(tmp_path):
    for seed in range(2):
        cube = random_cube((48, 48), hr=12, lr=10, seed=seed)
        tamrf_xr.save_cube(cube, tmp_path / f"c{seed}.zarr")
    weights = tamrf_xr.save_model(
        network(told=False), tmp_path / "m.safetensors", metadata={"training": {"seed": 7}}
    )
    out = tmp_path / "out.safetensors"
    fit([str(weights), str(tmp_path / "c*.zarr"), str(out), "--samples", "3", "--calibration", "3"])
    assert metadata_of(out.read_bytes())["training"] == {"seed": 7}
    assert tamrf_xr.load_model(out).errors is not None


def test_the_command_writes_deviations(tmp_path: Path, cube):
    weights = tamrf_xr.save_model(network(), tmp_path / "m.safetensors")
    tamrf_xr.save_cube(cube, tmp_path / "c.zarr")
    words = ["fuse", tmp_path / "c.zarr", tmp_path / "p.zarr", "--dates", DATES[0]]
    words += ["--model", weights, "--uncertainty"]
    assert main([str(word) for word in words]) == 0
    assert "reflectance_std" in tamrf_xr.open_cube(tmp_path / "p.zarr")["sentinel2"]
