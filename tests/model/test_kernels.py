"""Kernels, interpreted on the CPU, equal what PyTorch computes in several passes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import network, series
from torch import Tensor
from torch.nn import functional

from tamrf_xr.errors import ModelError
from tamrf_xr.model import stages
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.convolve import FastEncoder
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.stages import placed

pytest.importorskip("triton", reason="the kernels need Triton")

from tamrf_xr.model import fused
from tamrf_xr.model.fused import FusedEncoder
from tamrf_xr.model.kernels.convolution import Filters, convolve
from tamrf_xr.model.kernels.ending import Ending, end
from tamrf_xr.model.kernels.product import interpreted

pytestmark = pytest.mark.skipif(not interpreted(), reason="TRITON_INTERPRET is off")

KINDS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Bounds: on float32 absolute, of values of about 1; on bfloat16, 2.5 times what storing the result
rounds (1 / 128 of values in 2..4), of the largest value."""

TINY = NetworkConfig(
    hr_bands=3, lr_bands=2, latent=6, growth=3, num_blocks=0, lr_num_blocks=0, positional=4,
    sensor_token=1, num_heads=1, decoder_heads=1, num_layers=2, feedforward=9,
    decoder_feedforward=5, ratio=2,
)  # fmt: skip


def draws(seed: int, kind: torch.dtype) -> Callable[..., Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=draw).to(kind)


def assert_near(found: Tensor, expected: Tensor, kind: torch.dtype) -> None:
    worst = float((found.float() - expected).abs().max())
    assert worst <= KINDS[kind] * max(float(expected.abs().max()), 1.0)


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    size=st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 21)),
    channels=st.tuples(st.sampled_from([1, 3, 10, 16, 33]), st.sampled_from([1, 5, 18, 34])),
    residuals=st.integers(0, 2),
    options=st.tuples(*[st.booleans()] * 5),
)
def test_convolution_equals_torch(
    kind: torch.dtype,
    size: tuple[int, int, int],
    channels: tuple[int, int],
    residuals: int,
    options: tuple[bool, ...],
) -> None:
    """Whatever the layout, the border, and what is done to the sums."""
    (n, rows, width), (inputs, made), draw = size, channels, draws(sum(size), kind)
    padded, planar_in, planar_out, rectified, scaled = options
    weight, bias, gain = draw(made, inputs, 3, 3), draw(made).float(), draw(made).float()
    weight /= (9 * inputs) ** 0.5
    maps = draw(n, inputs, rows + 2 * (not padded), width)
    lying = maps if planar_in else _between(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    around = [(_between(draw(n, rows, width, made)), 0.3 + i) for i in range(residuals)]

    sums = functional.conv2d(maps.float(), weight.float(), padding=(int(padded), 1))
    expected = sums.permute(0, 2, 3, 1) * (gain if scaled else 1.0) + bias
    expected = functional.leaky_relu(expected, 0.2) if rectified else expected
    for residual, factor in around:
        expected = residual.float() + factor * expected

    plane = torch.full((n, made + 4, rows, width), 7.0, dtype=kind).permute(0, 2, 3, 1)
    plane = plane if planar_out else plane.contiguous()
    filters = Filters.of(
        weight, bias, gain=gain if scaled else None, slope=0.2 if rectified else None
    )
    convolve(
        filters, lying.permute(0, 2, 3, 1), plane[..., 2 : 2 + made], *around,
        top=int(padded), products="ieee",
    )  # fmt: skip
    assert_near(plane[..., 2 : 2 + made], expected, kind)
    assert (plane[..., :2] == 7).all()  # nothing beside it was touched
    assert (plane[..., 2 + made :] == 7).all()


def _between(maps: Tensor) -> Tensor:
    """Lay channels-last maps into a wider plane of numbers that must not matter."""
    plane = torch.full((*maps.shape[:3], maps.shape[3] + 5), float("nan"), dtype=maps.dtype)
    plane[..., 3:-2] = maps
    return plane[..., 3:-2]


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    rows=st.tuples(st.sampled_from([1, 3]), st.sampled_from([1, 50, 131])),
    width=st.sampled_from([1, 7, 16, 20, 34, 136]),
    found=st.sampled_from([1, 20, 40]),
    hidden=st.sampled_from([1, 9, 70]),
)
def test_ending_equals_torch(
    kind: torch.dtype, rows: tuple[int, int], width: int, found: int, hidden: int
) -> None:
    """At any width, whether or not a residual stands for several rows."""
    draw = draws(width, kind)
    count, repeat = rows
    into, wide, narrow = (
        draw(a, b) / a**0.5 for a, b in ((found, width), (width, hidden), (hidden, width))
    )
    norms = [(draw(width), draw(width)) for _ in range(2)]
    weights = Ending(into, norms[0], wide, draw(hidden), narrow, norms[1], 1e-5)
    residual, given_rows = draw(count, width), draw(count * repeat, found)

    x = residual.float().repeat_interleave(repeat, 0) + given_rows.float() @ into.float()
    y = functional.layer_norm(x, (width,), *(part.float() for part in norms[0]))
    z = y + (y @ wide.float() + weights.wide_bias.float()).relu() @ narrow.float()
    expected = functional.layer_norm(z, (width,), *(part.float() for part in norms[1]))

    before = residual.clone()
    assert_near(end(weights, residual, given_rows, products="ieee"), expected, kind)
    assert torch.equal(residual, before)


def test_engine_on_kernels_equals_the_network() -> None:
    config = replace(TINY, num_blocks=1)
    model, inputs = network(config), series(config, (2, 1), (4, 3))
    days = torch.tensor([5.0, 90.0])
    with torch.inference_mode():
        expected = model(*(part[None] for part in inputs), query_days=days[None])
    engine = Engine(model, kernels=True)
    assert engine.stages.kernels == ("encoders", "pixels", "decoder")
    found = engine.predict(*inputs, query_days=days)
    torch.testing.assert_close(found, model.destandardise(expected)[0], atol=1e-5, rtol=0)


def test_blocks_in_a_row_share_planes_and_images_come_in_batches() -> None:
    model = network(replace(TINY, num_blocks=2))
    place = replace(placed(torch.device("cpu"), torch.float32, None), memory=8 * 10_000)
    x = draws(0, torch.float32)(2, TINY.hr_bands, 5, 6)
    assert place.images_at_once(5, 6, 4 * 18) == 1
    with torch.inference_mode():
        expected = FastEncoder(model.hr_encoder, place)(x)
        found = FusedEncoder(model.hr_encoder, place, "ieee")(x)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_in_bfloat16_kernels_are_no_further_from_exact() -> None:
    """Than the general path, which rounds between its passes: within a half of it."""
    model, inputs, days = network(TINY), series(TINY, (2, 1), (4, 3)), [5.0, 90.0]
    exact = Engine(model).predict(*inputs, query_days=days)
    general, kernels = (
        Engine(model, precision="bfloat16", kernels=on).predict(*inputs, query_days=days)
        for on in (False, True)
    )
    error, ours = ((found - exact).square().mean().sqrt() for found in (general, kernels))
    assert 0 < ours < 1.5 * error
    assert float(ours) < 0.03 * float(exact.std())


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log, in a process that has told nothing yet, and takes kernels if they agree."""
    stages._tell.cache_clear()
    caplog.set_level(logging.WARNING)
    return caplog


def shifted(*args: Any, **kwargs: Any) -> Tensor:
    return end(*args, **kwargs).roll(1, 0)


def nothing(_: Ending, x: Tensor, found: Tensor, *, products: str) -> Tensor:
    return found.new_full((len(found), x.shape[1]), float("nan"))


def broken(*args: Any, **kwargs: Any) -> Tensor:
    raise RuntimeError("out of resource: shared memory")


@pytest.mark.parametrize(
    ("kernel", "why"), [(shifted, "pixels differ by .* of the largest value"), (broken, "shared")]
)
def test_a_kernel_that_is_wrong_or_fails_is_left_out_and_told_once(
    kernel: Callable[..., Tensor],
    why: str,
    told: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, inputs = network(TINY), series(TINY, (2, 1), (2, 2))
    monkeypatch.setattr(fused, "end", kernel)
    with pytest.raises(ModelError, match=why):
        Engine(model, kernels=True)
    monkeypatch.setenv(stages.SWITCH, "1")
    engine, again = Engine(model), Engine(model)
    assert engine.stages.kernels == again.stages.kernels == ("encoders", "decoder")
    assert len([record for record in told.records if "general path" in record.message]) == 1
    expected = Engine(model, kernels=False).predict(*inputs, query_days=[1.0])
    torch.testing.assert_close(
        engine.predict(*inputs, query_days=[1.0]), expected, atol=1e-5, rtol=0
    )


def test_not_a_number_is_no_agreement(
    told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "end", nothing)
    with pytest.raises(ModelError, match="pixels differ by nan"):
        Engine(network(TINY), kernels=True)


def test_where_kernels_are_taken(
    told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(TINY)
    assert Engine(model).stages.kernels == ()  # nowhere unasked, until a card has run them
    monkeypatch.setenv(stages.SWITCH, "1")
    assert Engine(model).stages.kernels == ("encoders", "pixels", "decoder")
    assert Engine(model, kernels=False).stages.kernels == ()
    monkeypatch.setenv(stages.SWITCH, "0")
    assert Engine(model).stages.kernels == ()
    monkeypatch.setenv(stages.SWITCH, "yes")
    with pytest.raises(ModelError, match="TAMRF_XR_KERNELS must be 0 or 1, or not set, got 'yes'"):
        Engine(model)
    monkeypatch.setenv(stages.SWITCH, "1")
    monkeypatch.setattr("tamrf_xr.model.kernels.product.interpreted", lambda: False)
    with pytest.raises(ModelError, match="they are for CUDA, and this is cpu"):
        Engine(model, kernels=True)
    monkeypatch.setattr(stages, "find_spec", lambda _: None)
    assert Engine(model).stages.kernels == ()
    assert "Triton is not installed" in told.text


def test_kernels_compile_for_a_card_that_is_not_here() -> None:
    """To machine code for tensor cores, at the published sizes: H100. It cannot be run here."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.compiled", "90"],
        capture_output=True, text=True, check=True,
        env=os.environ | {"TRITON_INTERPRET": "0"},
    )  # fmt: skip
    rows = [line.split() for line in done.stdout.splitlines()]
    assert {row[0] for row in rows} == {"_convolve", "_end"}
    for _, shared, _, spilled, on_tensor_cores in rows:
        assert 0 < int(shared) <= 99 << 10  # what the smallest cards of these have
        assert (spilled, on_tensor_cores) == ("0", "True")
