"""What the doctor says is so, and what is wrong is said."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from tamrf_xr import doctor
from tamrf_xr.cli import main


def test_this_machine_computes_what_is_stored(capsys):
    assert main(["doctor", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "WRONG" not in said
    for name in ("torch", "cores", "memory", "bfloat16", "gpu", "self-test"):
        assert f"\n{name} " in f"\n{said}"


def test_the_stored_answers_are_of_the_weights_that_ship():
    """Else: python -m tamrf_xr.doctor > tamrf_xr/weights/self_test.json."""
    stored = json.loads((files("tamrf_xr") / "weights/self_test.json").read_text())
    found = doctor.answers("cpu")
    assert stored.keys() == found.keys()
    for path, values in stored.items():
        assert values == pytest.approx(found[path], abs=2e-5 if "reflectance" in path else 0.02)


@pytest.mark.parametrize("by", [1e-3, float("nan")])
def test_a_machine_that_computes_otherwise_is_told(monkeypatch, capsys, by):
    right = doctor.answers
    wrong = "landsat/reflectance"
    monkeypatch.setattr(
        doctor, "answers", lambda device: (a := right(device)) | {wrong: [v + by for v in a[wrong]]}
    )
    assert main(["doctor", "--device", "cpu"]) == 1
    assert "WRONG: the self-test is off by" in capsys.readouterr().out


def test_a_device_that_is_not_there_is_told(capsys):
    assert main(["doctor", "--device", "cuda:99"]) == 1
    said = capsys.readouterr().out.split("WRONG: the self-test failed: ")[1]
    assert "device is 'cuda:99', which is not there" in said


def test_a_driver_without_a_build_for_it_is_told(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert any("CUDA build" in one for one in doctor._advice())


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "EXTRAS", {"no-such-package": "stac", "numpy": "export"})
    assert [one for one in doctor._advice() if "pip" in one] == [
        "not installed: pip install 'tamrf-xr[stac]'"
    ]
