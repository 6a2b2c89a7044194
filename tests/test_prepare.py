"""A job reads what it is asked once, whichever door it runs through."""

from __future__ import annotations

import inspect
import sys

import pytest

import tamrf_xr
from tamrf_xr import cube as cubes
from tamrf_xr.evaluation.protocol import evaluate
from tamrf_xr.evaluation.score import Scoring
from tamrf_xr.fusion import fuse, prepare, run_job
from tamrf_xr.methods import registry
from tamrf_xr.options import DEFAULTS, FuseOptions
from tests.scenes import random_cube

DATES = ["2022-01-15", "2022-02-10"]


@pytest.fixture
def counted(monkeypatch):
    """Count the calls of a function under every name that a module has it."""

    def count(function):
        calls = []

        def counting(*arguments, **options):
            calls.append(arguments)
            return function(*arguments, **options)

        for module in [m for name, m in sys.modules.items() if name.startswith("tamrf_xr")]:
            for name, value in list(vars(module).items()):
                if value is function:
                    monkeypatch.setattr(module, name, counting)
        return calls

    return count


def test_a_job_reads_its_groups_once(tmp_path, counted):
    tamrf_xr.save_cube(random_cube(), tmp_path / "cube.zarr")
    cube = tamrf_xr.open_cube(tmp_path / "cube.zarr")
    calls = counted(cubes.groups_of)
    summary = run_job(cube, tmp_path / "out.zarr", DATES, method="linear", progress=False)
    assert summary.done == 1
    assert len(calls) == 1
    del calls[:]
    fuse(cube, DATES, method="linear")
    assert len(calls) == 1


def test_evaluation_plans_a_method_once_a_sensor_and_once_to_ask_what_it_makes(tmp_path, counted):
    calls = counted(registry.plan_method)
    cube = random_cube((60, 60), hr=12, lr=8)
    table = evaluate(
        cube, task="gap-filling", methods=["linear"], out=tmp_path / "report", viewer_dates=0,
        scoring=Scoring(margin=2), progress=False,
    )  # fmt: skip
    assert len(table) > 2
    assert len(calls) <= 1 + len(cube.children)


def test_options_are_written_once():
    assert DEFAULTS.keys() == FuseOptions.__annotations__.keys()
    for function in (fuse, run_job):
        shown = inspect.signature(function).parameters
        assert {name: shown[name].default for name in DEFAULTS} == dict(DEFAULTS)
        assert not any(one.kind is one.VAR_KEYWORD for one in shown.values())


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(TypeError, match="unexpected option 'presicion'; there are model, method"):
        prepare(random_cube(), DATES, presicion="float32")
