"""A third stream, of radar: the fast path is exact with it; without dates it is not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import configs, network, series
from torch import Tensor

from tamrf_xr.errors import ModelError, OptionError
from tamrf_xr.model.checkpoint import load_model, model_bytes, model_from_bytes, save_model
from tamrf_xr.model.config import OPTICAL, BandStatistics, NetworkConfig
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.footprint import needs
from tamrf_xr.model.network import Tamrf

THREE = (*OPTICAL, "sar")
TINY = NetworkConfig(
    hr_bands=3, lr_bands=2, latent=6, growth=3, num_blocks=1, positional=4, sensor_token=2,
    num_heads=2, decoder_heads=2, num_layers=2, feedforward=8, decoder_feedforward=8, streams=THREE
)  # fmt: skip


def radar(config: NetworkConfig, dates: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(7)
    h, w = (config.ratio * edge for edge in size)
    days = torch.randint(0, 365, (dates,), generator=draw).float()
    return torch.randn(dates, config.sar_bands, h, w, generator=draw), days


def plain(model: Tamrf, inputs: tuple, sar: tuple, days: Tensor) -> Tensor:
    """What the network itself gives, in physical units."""
    optical = [part[None] for part in inputs]
    with torch.inference_mode():
        out = model(*optical, query_days=days[None], sar=sar[0][None], sar_days=sar[1][None])
        return model.destandardise(out)[0]


@settings(max_examples=20, deadline=None)
@given(
    config=configs,
    dates=st.tuples(*[st.integers(0, 2)] * 3).filter(any),
    bands=st.integers(1, 3),
    size=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    pieces=st.tuples(st.integers(1, 40), st.integers(1, 12)),
)
def test_fast_path_equals_general_path(config, dates, bands, size, pieces) -> None:
    config = replace(config, streams=THREE, sar_bands=bands)
    model, inputs = network(config), series(config, dates[:2], size)
    sar, days = radar(config, dates[2], size), torch.tensor([12.0, 200.0])
    expected = plain(model, inputs, sar, days)
    engine = Engine(model, pixels=pieces[0], rows=pieces[1])
    found = engine.predict(*inputs, query_days=days, sar=sar[0], sar_days=sar[1])
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("encoder", ["carn", "mlp"])
def test_radar_is_encoded_as_the_others_are(encoder) -> None:
    config = replace(TINY, encoder=encoder)
    model, inputs, sar = network(config), series(config, (1, 2), (3, 4)), radar(config, 2, (3, 4))
    assert type(model.sar_encoder) is type(model.hr_encoder)
    days = torch.tensor([12.0, 200.0])
    found = Engine(model).predict(*inputs, query_days=days, sar=sar[0], sar_days=sar[1])
    torch.testing.assert_close(found, plain(model, inputs, sar, days), atol=2e-5, rtol=1e-4)


def test_any_crop_with_its_halo_equals_the_whole() -> None:
    """Half of the ground and `sar_halo`, `hr_halo` and `lr_halo` around it are enough."""
    model, size, ratio = network(TINY), (16, 24), TINY.ratio
    inputs, sar, days = series(TINY, (1, 1), size), radar(TINY, 2, size), torch.tensor([99.0])
    engine = Engine(model)
    whole = engine.predict(*inputs, query_days=days, sar=sar[0], sar_days=sar[1])
    assert TINY.sar_halo == TINY.hr_halo
    halo = max(TINY.lr_halo, -(-TINY.sar_halo // ratio))  # LR pixels
    stop = 24 - halo
    cut = slice(0, stop + halo), slice(0, ratio * (stop + halo))
    part = engine.predict(
        inputs[0][..., cut[0]], inputs[1], inputs[2][..., cut[1]], inputs[3],
        query_days=days, sar=sar[0][..., cut[1]], sar_days=sar[1],
    )  # fmt: skip
    kept = part[..., : ratio * stop]
    torch.testing.assert_close(kept, whole[..., : ratio * stop], atol=2e-6, rtol=0)
    short = sar[0][..., : ratio * stop]
    less = engine.predict(
        inputs[0][..., :stop], inputs[1], inputs[2][..., : ratio * stop], inputs[3],
        query_days=days, sar=short, sar_days=sar[1],
    )  # fmt: skip
    assert (less - whole[..., : ratio * stop]).abs().max() > 1e-4  # so that the halo is needed


@pytest.fixture(scope="module")
def pair() -> tuple[Tamrf, Tamrf]:
    """A network of three streams, and one of two with the same weights."""
    three, two = network(TINY), Tamrf(replace(TINY, streams=OPTICAL)).eval()
    state = three.state_dict()
    more = {name for name in state if name.startswith("sar_")}
    two.load_state_dict({name: value for name, value in state.items() if name not in more})
    assert set(two.state_dict()) == set(state) - more
    assert {"sar_token", "sar_mean", "sar_std"} < more
    return three, two


@pytest.mark.parametrize(
    "none", [{}, {"sar": torch.zeros(0, 2, 12, 15), "sar_days": torch.zeros(0)}]
)
def test_without_dates_of_radar_it_is_the_network_of_two(pair, none) -> None:
    three, two = pair
    inputs, days = series(TINY, (2, 1), (4, 5)), torch.tensor([3.0, 50.0])
    found = Engine(three).predict(*inputs, query_days=days, **none)
    assert torch.equal(found, Engine(two).predict(*inputs, query_days=days))
    batch = [part[None] for part in inputs]
    more = {name: value[None] for name, value in none.items()}
    with torch.inference_mode():
        answers = [
            three(*batch, query_days=days[None], **more),
            two(*batch, query_days=days[None]),
        ]
    assert torch.equal(*answers)


def test_radar_changes_the_answer_and_alone_gives_one(pair) -> None:
    inputs, days = series(TINY, (2, 1), (4, 5)), torch.tensor([3.0, 50.0])
    sar, engine = radar(TINY, 2, (4, 5)), Engine(pair[0])
    without = engine.predict(*inputs, query_days=days)
    found = engine.predict(*inputs, query_days=days, sar=sar[0], sar_days=sar[1])
    assert (found - without).abs().max() > 1e-3
    assert found.shape == without.shape == (2, 5, 12, 15)
    later = engine.predict(*inputs, query_days=days, sar=sar[0], sar_days=sar[1] + 40)
    assert (found - later).abs().max() > 1e-3
    alone = engine.predict(None, None, None, None, query_days=days, sar=sar[0], sar_days=sar[1])
    assert torch.isfinite(alone).all()


def test_it_is_kept_with_its_weights(tmp_path: Path) -> None:
    stated = BandStatistics.unit(replace(TINY, streams=OPTICAL))
    stated = replace(stated, sar_mean=(-11.0, -18.0), sar_std=(3.0, 4.0))
    model = Tamrf(TINY, stated).eval()
    again = load_model(save_model(model, tmp_path / "three.safetensors"))
    assert again.config == TINY
    assert again.get_buffer("sar_std").tolist() == [3.0, 4.0]
    assert model_bytes(again) == model_bytes(model)
    decibels = torch.tensor([-8.0, -14.0])[:, None, None]
    assert again.standardise(decibels, "sar").flatten().tolist() == [1.0, 1.0]


def test_a_network_of_two_streams_is_stored_as_before(pair) -> None:
    data = model_bytes(pair[1])
    assert b"streams" not in data
    assert b"sar" not in data
    assert model_from_bytes(data).config == replace(TINY, streams=OPTICAL)
    assert needs(TINY).sar_date == 4 * 6 + 4 * 2
    assert needs(pair[1].config).sar_date == 0


def test_what_does_not_fit_is_refused(pair) -> None:
    three, two = pair
    sar, days = radar(TINY, 1, (4, 5)), torch.tensor([3.0])
    with pytest.raises(ModelError, match="none for sar; leave"):
        two(None, None, None, None, query_days=days[None], sar=sar[0][None], sar_days=sar[1][None])
    with pytest.raises(ModelError, match="none for sar; leave"):
        Engine(two).encode_sar(sar[0])
    with pytest.raises(ModelError, match="needs \\(dates, 2 bands"):
        Engine(three).encode_sar(sar[0][:, :1])
    for streams in (("lr",), ("sar", "lr", "hr"), ["lr", "hr"], "lr"):
        with pytest.raises(ModelError, match="streams is"):
            replace(TINY, streams=streams)
    with pytest.raises(ModelError, match="statistics have 1 bands of radar"):
        Tamrf(TINY, replace(BandStatistics.unit(TINY), sar_mean=(0.0,), sar_std=(1.0,)))
    with pytest.raises(ModelError, match="one value a band each"):
        replace(BandStatistics.unit(TINY), sar_mean=(0.0,), sar_std=(0.0,))


def test_training_says_that_it_reads_no_radar() -> None:
    from tamrf_xr.training.config import TrainConfig
    from tamrf_xr.training.setting import override

    with pytest.raises(OptionError, match="training reads no radar yet"):
        override(TrainConfig(), ["model.streams=[lr, hr, sar]"])
    assert override(TrainConfig(), ["model.streams=[lr, hr]"]) == TrainConfig()
