"""Files of weights: every form that authors publish, and nothing of theirs runs."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tamrf_xr.errors import ModelError
from tamrf_xr.methods.weights import load
from tamrf_xr.model.foreign import convert, read_tensors, settled


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.PReLU(), nn.Linear(3, 1, bias=False))


@pytest.fixture
def state() -> OrderedDict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return OrderedDict(
        (name, torch.rand(like.shape, generator=generator))
        for name, like in small().state_dict().items()
    )


def network_of(state):
    network = small()
    network.load_state_dict(state)
    return network


FORMS = {
    "state dict": torch.save,
    "old format": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "checkpoint": lambda state, path: torch.save(
        {"epoch": 1, "optimizer": {"a": torch.zeros(2)}, "state_dict": state}, path
    ),
    "wrapped": lambda state, path: torch.save({f"module.{n}": t for n, t in state.items()}, path),
    "module": lambda state, path: torch.save(network_of(state), path),
    "wrapped module": lambda state, path: torch.save(
        nn.ModuleDict({"module": network_of(state)}), path
    ),
    "half": lambda state, path: torch.save({n: t.half() for n, t in state.items()}, path),
    "views": lambda state, path: torch.save(
        {n: torch.stack([t, t], -1)[..., 1] for n, t in state.items()}, path
    ),
}


@pytest.mark.parametrize("form", [*FORMS, "safetensors"])
def test_every_form_gives_the_same_network(form, state, tmp_path):
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    if form == "safetensors":
        save_file(dict(state), path)
    else:
        FORMS[form](state, path)
    made = load(small, read_tensors(str(path)), where="here").state_dict()
    for name, tensor in state.items():
        torch.testing.assert_close(made[name], tensor, rtol=1e-3, atol=0)
        assert made[name].dtype == torch.float32


@pytest.mark.parametrize("form", FORMS)
def test_a_copy_holds_the_same_in_the_same_order(form, state, tmp_path):
    FORMS[form](OrderedDict(reversed(state.items())), tmp_path / "weights.pth")
    convert(tmp_path / "weights.pth", tmp_path / "new/copy.safetensors")
    ours, theirs = (
        read_tensors(str(tmp_path / name)) for name in ("new/copy.safetensors", "weights.pth")
    )
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert all(ours[name].dtype == tensor.dtype for name, tensor in theirs.items())


def test_foreign_files_are_read_once(state, tmp_path, monkeypatch):
    torch.save(state, tmp_path / "weights.pth")
    copy = settled(str(tmp_path / "weights.pth"))
    monkeypatch.setattr("tamrf_xr.model.foreign._Tensors", None)
    assert settled(str(tmp_path / "weights.pth")) == copy
    assert settled(copy) == copy
    assert list(read_tensors(copy)) == list(state)


def test_a_copy_that_cannot_be_written_is_told_with_the_way_out(state, tmp_path, monkeypatch):
    torch.save(state, tmp_path / "weights.pth")
    monkeypatch.setenv("TAMRF_XR_CACHE", str(tmp_path / "weights.pth"))
    with pytest.raises(ModelError, match=r"cannot be written.*TAMRF_XR_CACHE"):
        settled(str(tmp_path / "weights.pth"))


def test_arrays_of_numpy_are_tensors_too(tmp_path):
    path, arrays = tmp_path / "vgg16.ckpt", {"a": np.arange(6.0).reshape(2, 3), "b": [np.ones(2)]}
    path.write_bytes(pickle.dumps(arrays))
    read = read_tensors(str(path))
    assert {name: tensor.tolist() for name, tensor in read.items()} == {
        "a": [[0, 1, 2], [3, 4, 5]],
        "b.0": [1, 1],
    }


class Harmful:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_file_made_to_do_harm_does_nothing(state, tmp_path):
    harm, path = tmp_path / "harm", tmp_path / "weights.pth"
    torch.save({**state, "more": Harmful(harm)}, path)
    assert list(read_tensors(str(path))) == list(state)
    assert not harm.exists()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def test_classes_that_are_not_there_are_not_needed(state, tmp_path):
    """As a module pickled by a package that nobody has."""
    path, other = tmp_path / "saved.pth", tmp_path / "weights.pth"
    torch.save(network_of(state), path)
    with zipfile.ZipFile(path) as saved, zipfile.ZipFile(other, "w") as archive:
        for name in saved.namelist():
            data = saved.read(name)
            archive.writestr(name, data.replace(b"torch.nn.modules.conv", b"nowhere.at.all.layers"))
    assert list(read_tensors(str(other))) == list(state)


@pytest.mark.parametrize(
    "data", [b"", b"not weights", pickle.dumps({"a": 1}, protocol=2), b"PK\x05\x06" + bytes(18)]
)
def test_what_is_no_file_of_weights_is_refused(data, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"weights\.pth"):
        read_tensors(str(path))


def test_a_file_cut_short_is_refused(state, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="cannot be read as weights"):
        read_tensors(str(path))


def test_a_tensor_that_points_beyond_its_storage_is_refused(tmp_path):
    path, other = tmp_path / "weights.pth", tmp_path / "short.pth"
    torch.save({"a": torch.arange(100.0)}, path)
    with zipfile.ZipFile(path) as saved, zipfile.ZipFile(other, "w") as archive:
        for name in saved.namelist():
            data = saved.read(name)
            archive.writestr(name, data[:40] if name.endswith("data/0") else data)
    with pytest.raises(ModelError, match="cannot be read as weights"):
        read_tensors(str(other))


def test_a_file_without_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match="holds no weights"):
        read_tensors(str(tmp_path / "weights.pth"))


def test_networks_that_do_not_fit_say_where(state):
    with pytest.raises(ModelError, match=r"here lacks 2.weight: it is of another"):
        load(small, {n: t for n, t in state.items() if n != "2.weight"}, where="here")
    with pytest.raises(ModelError, match="here has gate too"):
        load(small, {**state, "gate": torch.zeros(1)}, where="here")
    with pytest.raises(ModelError, match=r"0.bias has shape \(4,\), expected \(3,\)"):
        load(small, {**state, "0.bias": torch.zeros(4)}, where="here")
