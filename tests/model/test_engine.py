"""The fast path equals the plain one, whatever its blocks, crops and order of stages."""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Oracle, configs, network, series
from torch import Tensor
from torch.nn import functional

from tamrf_xr.errors import ModelError
from tamrf_xr.model import footprint, precision
from tamrf_xr.model.attend import PixelModel
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.convolve import upsample
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.precision import DTYPES, fastest, products

CASES = ("both", "lr_only", "hr_only")


def _one(batch: tuple) -> tuple:
    return tuple(None if part is None else part[0] for part in batch)


@pytest.mark.parametrize("case", CASES)
def test_engine_agrees_with_published(oracle: Oracle, case: str) -> None:
    engine, bands = Engine(oracle.model), oracle.model.config.lr_bands
    for sensor, channels in (("lr", slice(None, bands)), ("hr", slice(bands, None))):
        days = oracle.queries(sensor)[0]
        out = engine.predict(*_one(oracle.series(case)), query_days=days)[:, channels]
        expected = oracle.expected(case, sensor)[0]
        np.testing.assert_allclose(out.numpy(), expected, atol=1.5e-5, rtol=0)


@settings(max_examples=30, deadline=None)
@given(
    config=configs,
    dates=st.tuples(st.integers(0, 3), st.integers(0, 3)).filter(any),
    queries=st.integers(1, 4),
    size=st.tuples(st.integers(1, 5), st.integers(1, 6)),
    pieces=st.tuples(st.integers(1, 40), st.integers(1, 12)),
)
def test_fast_path_equals_general_path(
    config: NetworkConfig,
    dates: tuple[int, int],
    queries: int,
    size: tuple[int, int],
    pieces: tuple[int, int],
) -> None:
    model = network(config)
    inputs = series(config, dates, size)
    days = torch.linspace(-20, 400, queries)
    with torch.inference_mode():
        expected = model(*(part[None] for part in inputs), query_days=days[None])
    engine = Engine(model, pixels=pieces[0], rows=pieces[1])
    found = engine.predict(*inputs, query_days=days)
    torch.testing.assert_close(found, model.destandardise(expected)[0], atol=2e-5, rtol=1e-5)


def test_block_sizes_do_not_matter(small: Tamrf, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, days = series(small.config, (2, 3), (12, 14)), torch.tensor([3.0, 100.0, 250.0])
    whole = Engine(small, pixels=1 << 20, rows=1 << 30).predict(*inputs, query_days=days)
    monkeypatch.setattr(footprint, "_STRIP_BYTES", 1)
    monkeypatch.setattr(footprint, "_LEAST_ROWS", 5)
    for pixels, rows in ((1, 3), (17, 1), (50, 8), (300, 40)):
        found = Engine(small, pixels=pixels, rows=rows).predict(*inputs, query_days=days)
        torch.testing.assert_close(found, whole, atol=2e-6, rtol=0)


def test_stages_in_a_row_equal_predict(small: Tamrf) -> None:
    lr, lr_days, hr, hr_days = series(small.config, (2, 3), (6, 5))
    days, engine = [1.0, 60.0], Engine(small)
    features = {"lr": (engine.encode_lr(lr), lr_days), "hr": (engine.encode_hr(hr), hr_days)}
    staged = engine.decode(engine.attend(features, days))
    torch.testing.assert_close(
        staged, engine.predict(lr, lr_days, hr, hr_days, query_days=days), atol=2e-6, rtol=0
    )
    assert all(maps.is_contiguous() for maps, _ in features.values())


def test_one_encoding_serves_several_windows(small: Tamrf) -> None:
    _, _, hr, hr_days = series(small.config, (2, 4), (4, 4))
    engine = Engine(small)
    features = engine.encode_hr(hr)
    window = {"hr": (features[1:3], hr_days[1:3])}
    expected = engine.predict(None, None, hr[1:3], hr_days[1:3], query_days=[9.0])
    torch.testing.assert_close(engine.reconstruct(window, [9.0]), expected, atol=2e-6, rtol=0)


def test_a_tile_with_halos_equals_the_whole(small: Tamrf) -> None:
    """Crop between stages as the tile planner does, in the interior of an image."""
    config, engine = small.config, Engine(small)
    lr, lr_days, hr, hr_days = series(config, (1, 2), (54, 50))
    days = [10.0, 200.0]
    whole = engine.predict(lr, lr_days, hr, hr_days, query_days=days)
    y, x, core, margin = 69, 63, 15, config.decoder_reach
    hr_halo, lr_halo = config.hr_halo, config.lr_halo
    hr_tile = hr[..., y - hr_halo : y + core + hr_halo, x - hr_halo : x + core + hr_halo]
    a, b = (
        slice(y // 3 - lr_halo, (y + core) // 3 + lr_halo),
        slice(x // 3 - lr_halo, (x + core) // 3 + lr_halo),
    )
    reach = config.encoder_reach
    hr_features = engine.encode_hr(hr_tile)[:, reach:-reach, reach:-reach]
    cut = 3 * lr_halo - margin
    lr_features = engine.encode_lr(lr[..., a, b])[:, cut:-cut, cut:-cut]
    attended = engine.attend({"lr": (lr_features, lr_days), "hr": (hr_features, hr_days)}, days)
    tile = engine.decode(attended)[..., margin:-margin, margin:-margin]
    torch.testing.assert_close(tile, whole[..., y : y + core, x : x + core], atol=2e-6, rtol=0)


def test_channels_are_a_subset_in_the_order_asked(small: Tamrf) -> None:
    inputs, days = series(small.config, (1, 1), (4, 3)), [5.0]
    engine = Engine(small)
    features = {"lr": (engine.encode_lr(inputs[0]), inputs[1])}
    whole = engine.reconstruct(features, days)
    some = engine.reconstruct(features, days, channels=[17, 3])
    torch.testing.assert_close(some, whole[:, [17, 3]], atol=1e-6, rtol=0)


@pytest.mark.parametrize("ratio", [1, 2, 3, 4])
def test_upsampling_equals_torch(ratio: int) -> None:
    x = torch.randn(2, 5, 7, 3, generator=torch.Generator().manual_seed(0))
    expected = functional.interpolate(
        x.permute(0, 3, 1, 2), scale_factor=float(ratio), mode="bicubic", align_corners=False
    )
    found = upsample(upsample(x, ratio, dim=1), ratio, dim=2).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


def test_padded_heads_change_nothing(small: Tamrf) -> None:
    """The layout used on CUDA, on the CPU."""
    engine = Engine(small)
    placement = engine.placement
    tokens = torch.randn(5, 3, small.config.width, generator=torch.Generator().manual_seed(0))
    found = []
    for multiple in (1, 8):
        pixels = PixelModel(small, placement, head_multiple=multiple)
        asked = pixels.ask({"hr": torch.tensor([1.0, 2.0, 3.0])}, torch.tensor([4.0]))
        with torch.inference_mode():
            found.append(pixels.transform(tokens.clone(), asked))
    torch.testing.assert_close(found[0], found[1], atol=2e-6, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_bfloat16_error_is_bounded(oracle: Oracle, case: str) -> None:
    """As computed on CUDA and AMX; random weights, whose outputs vary more than reflectance."""
    engine = Engine(oracle.model, precision="bfloat16")
    inputs, days = _one(oracle.series(case)), oracle.queries("hr")[0]
    exact = Engine(oracle.model).predict(*inputs, query_days=days)
    error = (engine.predict(*inputs, query_days=days) - exact).abs()
    assert float(error.max()) < 0.15
    assert float(error.square().mean().sqrt()) < 0.03 * float(exact.std())


def test_the_fastest_of_what_is_precise_enough_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for slow in (0.5, 1.0, 1.1):
        monkeypatch.setattr(precision, "bfloat16_speed", lambda slow=slow: slow)
        assert fastest(cpu, "bfloat16") == "float32"
    monkeypatch.setattr(precision, "bfloat16_speed", lambda: 1.6)
    assert fastest(cpu, "bfloat16") == "bfloat16"
    assert [fastest(cpu, asked) for asked in ("float32", "tf32", "auto")] == ["float32"] * 3
    assert [fastest(cuda, asked) for asked in DTYPES] == list(DTYPES)
    assert fastest(cuda, "auto") == "bfloat16"


def test_a_card_too_old_is_told(monkeypatch: pytest.MonkeyPatch, small: Tamrf) -> None:
    """With a Turing card, as PyTorch describes it; there is none here."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    cuda = torch.device("cuda")
    assert [fastest(cuda, asked) for asked in ("auto", "tf32", "float32")] == ["float32"] * 3
    for refuse in (fastest, lambda device, kind: Engine(small, device=device, precision=kind)):
        with pytest.raises(ModelError, match=r"Tesla T4 has compute capability 7\.5.*'float32'"):
            refuse(cuda, "bfloat16")


FLAGS = ("cuda.matmul", "cudnn.conv", "mkldnn.matmul", "mkldnn.conv")


def _flags() -> list[str]:
    return [operator.attrgetter(name)(torch.backends).fp32_precision for name in FLAGS]


@pytest.fixture
def lax() -> Iterator[None]:
    """A process whose user lets every product of float32 round."""
    was = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(was)


@pytest.mark.usefixtures("lax")
def test_float32_is_exact_whatever_the_process_allows(oracle: Oracle) -> None:
    inputs, days = _one(oracle.series(CASES[0])), oracle.queries("hr")[0]
    engine, before, seen = Engine(oracle.model), _flags(), []
    assert before[2] == "bf16"
    found = engine.predict(*inputs, query_days=days)
    load = PixelModel.load

    def spied(*args: Any) -> Tensor:
        seen.append(_flags())
        return load(*args)

    with mock.patch.object(PixelModel, "load", spied):
        engine.predict(*inputs, query_days=days)
    assert seen[0] == ["ieee"] * 4
    assert _flags() == before
    torch.set_float32_matmul_precision("highest")
    assert torch.equal(found, engine.predict(*inputs, query_days=days))


def test_tf32_is_of_cuda_alone_and_flags_stay() -> None:
    before = _flags()
    with products("tf32"), products("tf32"):
        assert _flags() == ["tf32", "tf32", "ieee", "ieee"]
    with products("bfloat16"):
        assert _flags() == ["ieee"] * 4
    assert _flags() == before


def test_who_wants_another_precision_waits() -> None:
    """Flags are of the process: threads that share one must not see each other's."""
    order: list[str] = []

    def other() -> None:
        with products("tf32"):
            order.append(_flags()[1])

    with products("float32"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.1)
        order.append(_flags()[1])
    thread.join(10)
    assert order == ["ieee", "tf32"]


def test_the_probe_measures_both_types_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {torch.float32: 3.0, torch.bfloat16: 2.0}
    monkeypatch.setattr(precision, "_seconds", seconds.pop)
    precision.bfloat16_speed.cache_clear()
    assert precision.bfloat16_speed() == precision.bfloat16_speed() == 1.5
    precision.bfloat16_speed.cache_clear()
    monkeypatch.undo()
    assert precision.bfloat16_speed() > 0


def test_inputs_are_untouched(small: Tamrf) -> None:
    inputs = series(small.config, (2, 2), (3, 3))
    copies = [part.clone() for part in inputs]
    before = {key: value.clone() for key, value in small.state_dict().items()}
    Engine(small).predict(*inputs, query_days=[1.0])
    assert all(torch.equal(a, b) for a, b in zip(inputs, copies, strict=True))
    assert all(torch.equal(value, before[key]) for key, value in small.state_dict().items())


def test_weights_are_copied() -> None:
    model = network(NetworkConfig(latent=4, growth=2, positional=4, sensor_token=0, num_layers=1))
    inputs, engine = series(model.config, (1, 1), (2, 2)), Engine(model)
    before = engine.predict(*inputs, query_days=[1.0])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(engine.predict(*inputs, query_days=[1.0]), before)


def test_zero_dates_of_one_sensor_equal_none(small: Tamrf) -> None:
    lr, lr_days, hr, hr_days = series(small.config, (0, 2), (3, 3))
    engine = Engine(small)
    torch.testing.assert_close(
        engine.predict(lr, lr_days, hr, hr_days, query_days=[1.0]),
        engine.predict(None, None, hr, hr_days, query_days=[1.0]),
        atol=0,
        rtol=0,
    )


def test_bad_calls_are_refused(small: Tamrf) -> None:
    engine, width = Engine(small), small.config.latent
    maps, days = torch.zeros(2, 6, 6, width), [1.0, 2.0]
    with pytest.raises(ModelError, match="both sensors are missing or have zero dates"):
        engine.attend({"hr": (maps[:0], [])}, days)
    with pytest.raises(ModelError, match="both sensors"):
        engine.predict(None, None, None, None, query_days=days)
    with pytest.raises(ModelError, match="the sensors are"):
        engine.attend({"sentinel2": (maps, days)}, days)
    with pytest.raises(ModelError, match=r"got \(2, 6, 6, 16\) and \(1,\)"):
        engine.attend({"hr": (maps, days[:1])}, days)
    with pytest.raises(ModelError, match="must be on one grid"):
        engine.attend({"hr": (maps, days), "lr": (maps[:, 1:], days)}, days)
    with pytest.raises(ModelError, match=r"encode_hr needs \(dates, 10 bands, y, x\)"):
        engine.encode_hr(torch.zeros(1, 8, 6, 6))
    with pytest.raises(ModelError, match=r"some of 0\.\.17, got \[18\]"):
        engine.decode(torch.zeros(1, 4, 4, small.config.width), channels=[18])
    with pytest.raises(ModelError, match="precision must be"):
        Engine(small, precision="float16")  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_equals_cpu(small: Tamrf) -> None:
    inputs, days = series(small.config, (2, 3), (12, 14)), [3.0, 100.0]
    expected = Engine(small).predict(*inputs, query_days=days)
    found = Engine(small, device="cuda").predict(*inputs, query_days=days)
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize(("kind", "bound"), [("tf32", 1e-2), ("bfloat16", 0.15)])
def test_cuda_on_kernels_equals_cpu(small: Tamrf, kind: Any, bound: float) -> None:
    """With TRITON_INTERPRET=0, or they are interpreted there too. Not run yet on any card."""
    inputs, days = series(small.config, (2, 3), (12, 14)), [3.0, 100.0]
    expected = Engine(small).predict(*inputs, query_days=days)
    engine = Engine(small, device="cuda", precision=kind, kernels=True)
    assert engine.stages.kernels == ("encoders", "pixels", "decoder")
    found = engine.predict(*inputs, query_days=days)
    torch.testing.assert_close(found.cpu(), expected, atol=bound, rtol=0)


def test_blocks_cover_a_grid_once() -> None:
    for height, width, pixels in ((5, 7, 3), (5, 7, 7), (5, 7, 16), (1, 1, 1), (4, 330, 192)):
        seen = np.zeros((height, width), int)
        for y, x in footprint.blocks(height, width, pixels):
            assert seen[y, x].size <= pixels
            seen[y, x] += 1
        assert (seen == 1).all()
