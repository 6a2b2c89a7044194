"""environment.yml, pyproject.toml and the page of extras name the same."""

from __future__ import annotations

import json
import re
import sys
import tomllib

import yaml
from packaging.requirements import Requirement

from docsite.assemble import ROOT
from studies import install

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOTEBOOKS = PROJECT["optional-dependencies"]["notebooks"]
ON_CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base", "dask": "dask-core"}
APART = {"dev", "openeo", "cuda", "notebooks"}


def needed() -> dict[str, str]:
    """The core and the extra `all`, by the names of conda-forge."""
    (every,) = (Requirement(line) for line in PROJECT["optional-dependencies"]["all"])
    assert every.name == "tamrf-xr"
    lines = [*PROJECT["dependencies"]]
    for extra in every.extras:
        lines += PROJECT["optional-dependencies"][extra]
    found = [Requirement(line) for line in lines]
    return {ON_CONDA.get(one.name, one.name): str(one.specifier) for one in found}


def test_the_environment_of_conda_has_what_all_needs_in_the_same_ranges():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    words = [re.match(r"([\w-]+)(.*)", one).groups() for one in listed if isinstance(one, str)]
    given = {name: ",".join(sorted(how.split(","))) for name, how in words}
    assert given.pop("python") == "=3.12"
    assert given.pop("pip") == ""
    books = {one.name: str(one.specifier) for one in map(Requirement, NOTEBOOKS)}
    every = needed() | books
    assert given == {name: ",".join(sorted(how.split(","))) for name, how in every.items()}
    assert listed[-1] == {"pip": ["-e .[all]"]}


def test_all_is_every_extra_but_those_apart():
    (every,) = (Requirement(line) for line in PROJECT["optional-dependencies"]["all"])
    extras = set(PROJECT["optional-dependencies"]) - APART - {"all"}
    assert every.extras == extras
    assert set(install.EXTRAS) == extras | {"all"}


def test_the_page_tells_every_extra():
    page = (ROOT / "docs/install.md").read_text()
    told = set(re.findall(r"^\| `([\w]+)` \|", page, re.M))
    assert told == set(PROJECT["optional-dependencies"]) - {"dev"}


def test_developers_install_what_all_needs():
    """What the tests run with has every package of `all`, so each extra is tested."""
    dev = {Requirement(line).name for line in PROJECT["optional-dependencies"]["dev"]}
    core = {Requirement(line).name for line in PROJECT["dependencies"]}
    names = {name for name in needed() if name not in ON_CONDA.values()}
    assert names - dev - core <= {"tensorboard"}


def test_what_fails_is_told_in_its_last_words(tmp_path):
    failing = [sys.executable, "-c", "print(1); raise ValueError('no room')"]
    assert install.steps(tmp_path, [[sys.executable, "-c", ""]]) == ""
    told = install.steps(tmp_path, [failing, [sys.executable, "-c", "open('after', 'w')"]])
    assert told.endswith("ValueError: no room")
    assert not (tmp_path / "after").exists()


def test_other_interpreters_stay_in_the_results(tmp_path):
    def row(python, extra, failed=""):
        return {"python": python, "extra": extra, "failed": failed}

    install.keep([row("3.12", "stac"), row("3.12", "")], tmp_path / "r.json")
    install.keep([row("3.11", "")], tmp_path / "r.json")
    install.keep([row("3.12", "", "no")], tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text()) == [row("3.11", ""), row("3.12", "", "no")]
