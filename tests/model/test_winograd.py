"""Convolutions with half the products are the plain ones, and images side by side those alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import configs, network, series

from tamrf_xr.model.affine import Affine
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.convolve import FastEncoder, Placement
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.network import SpatialEncoder, Tamrf
from tamrf_xr.model.stages import dense_encoders
from tamrf_xr.model.threads import over_blocks, side_by_side
from tamrf_xr.model.waves import WinogradEncoder
from tamrf_xr.model.winograd import BACK, INTO, KERNEL

CPU = torch.device("cpu")


def place(rows: int = 32) -> Placement:
    return Placement(CPU, torch.float32, rows, 1)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_the_matrices_convolve_three_rows_exactly() -> None:
    rows, kernel = draw(6).double(), draw(3).double()
    expected = torch.stack([(rows[r : r + 3] * kernel).sum() for r in range(4)])
    found = BACK @ ((INTO @ rows) * (KERNEL @ kernel))
    torch.testing.assert_close(found, expected, atol=1e-13, rtol=0)


@settings(max_examples=40, deadline=None)
@given(
    config=configs,
    stream=st.sampled_from(["lr", "hr"]),
    size=st.tuples(st.integers(1, 70), st.integers(1, 9)),
    rows=st.integers(1, 24),
    row=st.integers(-5, 5),
)
def test_an_encoder_is_that_of_the_network(
    config: NetworkConfig, stream: str, size: tuple[int, int], rows: int, row: int
) -> None:
    """Any sizes of network, image and strip, wherever it begins; in float64 what is exact."""
    encoder = dense_encoders(network(config))[stream]
    x = draw(2, encoder.first.in_channels, *size)
    with torch.inference_mode():
        expected = encoder.double()(x.double()).permute(0, 2, 3, 1)
        found = WinogradEncoder(encoder.float(), place(rows))(x, row)
    bound = 3e-6 * max(float(expected.abs().max()), 1.0)
    torch.testing.assert_close(found.double(), expected, atol=bound, rtol=0)


def test_it_rounds_no_worse_than_plain_convolutions(small: Tamrf) -> None:
    encoder, x = dense_encoders(small)["hr"], draw(1, 10, 60, 40)
    with torch.inference_mode():
        exact = _double(encoder, x)
        errors = [
            (kind(encoder, place())(x).double() - exact).square().mean().sqrt()
            for kind in (WinogradEncoder, FastEncoder)
        ]
    assert errors[0] < 2 * errors[1]


def _double(encoder: SpatialEncoder, x: torch.Tensor) -> torch.Tensor:
    exact = encoder.double()(x.double()).permute(0, 2, 3, 1)
    encoder.float()
    return exact


def test_nothing_of_an_image_is_left_for_the_next(small: Tamrf) -> None:
    """Memory is used again: after what is huge, what comes is what it is alone, to the bit."""
    encoder, x = WinogradEncoder(dense_encoders(small)["hr"], place(8)), draw(2, 10, 50, 11)
    x[0] *= 1e6
    with torch.inference_mode():
        assert torch.equal(encoder(x)[1:], encoder(x[1:]))


@pytest.fixture
def three_threads() -> Iterator[None]:
    was = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(was)


@pytest.mark.usefixtures("three_threads")
def test_threads_change_nothing_but_time(small: Tamrf) -> None:
    inputs, days = series(small.config, (4, 5), (40, 23)), [3.0, 100.0]
    together = Engine(small, pixels=50).predict(*inputs, query_days=days)
    torch.set_num_threads(1)
    alone = Engine(small, pixels=50).predict(*inputs, query_days=days)
    torch.testing.assert_close(together, alone, atol=2e-6, rtol=0)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("at_once", [1, 2, 3, 20])
def test_every_call_is_made_once_and_cores_are_shared(at_once: int) -> None:
    seen, threads, busy = [], set(), threading.Semaphore(at_once)

    def call(index: int) -> None:
        assert busy.acquire(blocking=False)
        seen.append(index)
        threads.add(torch.get_num_threads())
        busy.release()

    side_by_side(call, 7, at_once=at_once)
    assert sorted(seen) == list(range(7))
    assert threads == {3 // min(at_once, 3)}
    assert torch.get_num_threads() == 3
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [3]


@pytest.mark.usefixtures("three_threads")
def test_no_gradients_in_any_thread_and_errors_come_out_and_end_it() -> None:
    seen = []

    def call(index: int) -> None:
        assert torch.is_inference_mode_enabled()
        if index == 5:
            raise ValueError("five")
        seen.append(index)
        time.sleep(0.01)

    with torch.inference_mode(), pytest.raises(ValueError, match="five"):
        side_by_side(call, 1000)
    assert len(seen) < 500
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_where_a_thread_cannot_be_started_it_is_an_error_and_no_wait() -> None:
    start, started = threading.Thread.start, []

    def some(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    with (
        mock.patch.object(threading.Thread, "start", some),
        pytest.raises(RuntimeError, match="start new thread"),
    ):
        side_by_side(lambda _: None, 9)
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("device", ["cpu", "meta"])  # the second stands for one that is no CPU
def test_blocks_are_each_gone_over_once(device: str) -> None:
    blocks = [(slice(y, y + 1), slice(0, 2)) for y in range(5)]
    seen: list[tuple[slice, slice]] = []
    over_blocks(lambda *block: seen.append(block), blocks, torch.device(device))
    assert sorted(seen, key=lambda block: block[0].start) == blocks


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_product_in_one_pass_is_that_in_three(kind: torch.dtype, *, rectified: bool) -> None:
    x, weight, bias = draw(37, 20).to(kind), draw(20, 33), draw(33)
    affine = Affine(weight, bias, Placement(CPU, kind, 32, 1), rectified=rectified)
    expected = torch.addmm(bias.to(kind), x, weight.to(kind))
    with torch.inference_mode():
        found = affine(x)
    assert found.dtype == kind
    torch.testing.assert_close(found, expected.relu() if rectified else expected, atol=1e-6, rtol=0)
    assert (affine.rows is None) == (
        kind == torch.bfloat16 or not torch.backends.mkldnn.is_available()
    )
