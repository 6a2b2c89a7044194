"""Every public name, command, setting and error has its page; no page has a link that breaks."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path, PurePosixPath

import pytest

import tamrf_xr
from docsite import api, checks, commands, diagrams, settings, tables
from docsite.assemble import ROOT, assemble
from docsite.links import BrokenLinkError, rewritten
from tamrf_xr.accessor import TamrfTree
from tamrf_xr.cli import COMMANDS
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.errors import TamrfError
from tamrf_xr.methods.registry import METHODS
from tamrf_xr.sensors import Sensor

DOCUMENTED = re.compile(r"^\.\. auto(?:function|class|method|property|data|module):: (\S+)", re.M)
NAMED = re.compile(r"\btamrf_xr(?:\.[A-Za-z_]\w*)+")
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def documented() -> set[str]:
    return {name for text in api.pages().values() for name in DOCUMENTED.findall(text)}


def test_every_public_name_has_a_page_with_words(documented):
    for name in tamrf_xr.__all__:
        assert f"tamrf_xr.{name}" in documented
        assert f"{name}.rst" in api.pages()
    for accessor in api.ACCESSORS:
        members = api.methods(accessor)
        assert "fuse" in members
        assert {f"tamrf_xr.accessor.{accessor}.{name}" for name in members} <= documented
    bare = [name for name in documented if not api.find(name).__doc__ and not _told(name)]
    assert not bare


def _told(name: str) -> bool:
    """Data have their words under them."""
    module, _, attribute = name.rpartition(".")
    return ("", attribute) in settings.attribute_docs(module)


def test_every_name_of_the_docs_has_a_page(documented):
    files = re.compile(r"\.(?:py|toml|md|html)$")
    named = {n for path in TEXTS for n in NAMED.findall(path.read_text()) if not files.search(n)}
    assert len(named) > 15
    covered = documented | {"tamrf_xr.errors"} | {n.rpartition(".")[0] for n in documented}
    assert named - covered == {"tamrf_xr.methods.closest"}  # which a reader is to write


def test_what_a_module_offers_is_on_its_page():
    page = api.pages()["tamrf_xr.metrics.rst"]
    assert ".. autofunction:: tamrf_xr.metrics.rmse" in page
    with pytest.raises(LookupError, match="nothing_of_that_name"):
        api.find("tamrf_xr.metrics.nothing_of_that_name")


def test_what_a_property_of_an_accessor_leads_to_is_on_its_page(monkeypatch):
    def shown(self) -> Sensor:
        """Show."""

    monkeypatch.setattr(TamrfTree, "shown", property(shown), raising=False)
    page = api.pages()["TamrfTree.shown.rst"]
    assert page.startswith("DataTree.tamrf.shown\n")
    assert ".. autoclass:: tamrf_xr.sensors.Sensor\n   :members:" in page


def test_every_command_and_option_has_its_page():
    pages = commands.pages()
    assert {f"{name}.md" for name in COMMANDS} <= set(pages)
    assert "| `--max-cloud PERCENT` |" in pages["ingest-stac.md"]
    for name, parser in commands.commands():
        for action in parser._actions:
            for word in action.option_strings:
                assert word in {"-h", "--help"} or word in pages[f"{name}.md"]


def test_every_setting_is_there_with_default_and_words():
    for page, (module, classes) in settings.CLASSES.items():
        text = settings.pages()[f"{page}.md"]
        for name in classes:
            for field in fields(getattr(__import__(module, fromlist=[name]), name)):
                assert f"{field.name}` |" in text
    assert "| `loss.beta` | Where SmoothL1" in settings.pages()["training.md"]
    assert "| `int`, 1 to 256 | `4` |" in settings.pages()["training.md"]


def test_methods_sensors_and_errors_are_there():
    made = tables.pages()
    assert all(f"| `{name}` |" in made["methods.md"] for name in METHODS)
    assert "| `B8A` | `nir08` | 0.865 | 20 | 0.3 |" in made["sensors.md"]

    def below(kind):
        yield kind
        for one in kind.__subclasses__():
            yield from below(one)

    own = [one for one in below(TamrfError) if one.__module__ == "tamrf_xr.errors"]
    assert len(own) > 10
    assert all(f"| `{one.__name__}` |" in made["errors.md"] for one in own)


def test_the_tree_is_whole_and_its_drawings_are_those_of_the_network(tmp_path):
    assemble(tmp_path / "tree")
    for page in ("index.md", "changelog.md", "howto/gpu.md", "reference/cli/fuse.md"):
        assert (tmp_path / "tree" / page).stat().st_size > 100
    assert "../reference/model-card.md" in (tmp_path / "tree/howto/adapt.md").read_text()
    for name, draw in diagrams.DRAWINGS.items():
        assert (diagrams.FOLDER / name).read_text() == draw(), "run python -m docsite.diagrams"


def test_notebooks_are_taken_along_as_executed(tmp_path, monkeypatch):
    for place, text in (("a", "stripped"), ("executed/a", "executed"), ("b", "stripped")):
        path = tmp_path / "notebooks" / f"{place}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr("docsite.assemble.ROOT", tmp_path)
    from docsite.assemble import notebooks

    assert [path.read_text() for path in notebooks()] == ["executed", "stripped"]


def test_links_follow_their_pages_and_broken_ones_are_errors(tmp_path):
    moved = {"docs/a.md": "a.md", "CHANGELOG.md": "changelog.md"}

    def of(text):
        return rewritten(text, PurePosixPath("docs/a.md"), moved, (ROOT, tmp_path))

    assert of("[x](../CHANGELOG.md#y)") == "[x](changelog.md#y)"
    assert of("`[x](nowhere.md)` [y](#z) [v](https://example.org/a)").count("nowhere") == 1
    assert of("[x](../LICENSE)") == "[x](files/LICENSE)"
    assert (tmp_path / "files/LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    for broken in (
        "[x](nowhere.md)",
        "[x](https://example)",
        "[x](htp://a.org)",
        "<https://ä.org>",
    ):
        with pytest.raises(BrokenLinkError, match=r"docs/a\.md"):
            of(broken)


def test_a_built_site_is_looked_through(tmp_path):
    good = '<h1 id="top">a</h1><a href="#top">a</a><a href="b/c.html#d">b</a><img src="i.png">'
    (tmp_path / "b").mkdir()
    (tmp_path / "i.png").write_bytes(b"")
    (tmp_path / "b/c.html").write_text('<p id="d"><a href="../a.html">a</a>')
    (tmp_path / "a.html").write_text(good)
    assert checks.faults(tmp_path) == []
    bad = (
        '<a href="#no">x</a><a href="no.html">x</a><script src="https://cdn.example/x.js"></script>'
    )
    (tmp_path / "a.html").write_text(good + bad)
    assert [fault.split(": ", 1)[1].split(",")[0] for fault in checks.faults(tmp_path)] == [
        "loads https://cdn.example/x.js from elsewhere",
        "links to #no",
        "links to no.html",
    ]


HOWTO = sorted((ROOT / "docs/howto").glob("*.md"))


@pytest.fixture(scope="module")
def seldom_scene(documented_scene, tmp_path_factory) -> Path:
    """The scene of the documentation, of which every third date is there."""
    path = tmp_path_factory.mktemp("seldom") / "scene.zarr"
    cube = tamrf_xr.open_cube(documented_scene)
    groups = {name: group.isel(time=slice(0, None, 3)) for name, group in groups_of(cube).items()}
    tamrf_xr.save_cube(build_cube(groups), path)
    return path


@pytest.mark.parametrize("page", HOWTO, ids=lambda path: path.stem)
def test_commands_of_a_how_to_run(page, seldom_scene, tmp_path, monkeypatch):
    """Blocks of ``sh``, line by line; Python of the pages runs as doctests."""
    import shlex
    import shutil

    from tamrf_xr.cli import main
    from tamrf_xr.training import adapt, judging

    monkeypatch.setattr(adapt, "SCENES", 1)  # of six that are simulated to adapt
    monkeypatch.setattr(judging, "WINDOWS", 1)  # of four that adaptation is judged in
    shutil.copytree(seldom_scene, tmp_path / "scene.zarr")
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.S):
        for line in block.replace("\\\n", " ").splitlines():
            program, *words = shlex.split(line, comments=True)
            assert program == "tamrf-xr"
            assert main([*words, "--quiet"]) == 0


def test_the_closest_method_of_the_how_to_is_the_one_that_is_tested():
    from tests.test_adding import METHOD

    text = Path(ROOT / "docs/howto/own-method.md").read_text()
    assert METHOD.strip() in text
