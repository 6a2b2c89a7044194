"""The tree that Sphinx reads: docs/ as it is, notebooks, and the pages that are generated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from docsite import api, commands, settings, tables
from docsite.links import rewritten

ROOT = Path(__file__).resolve().parents[1]

OTHERS = {
    "README.md": "index.md",  # as a target of links alone: the start page is docs/index.md
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "tamrf_xr/weights/MODEL_CARD.md": "reference/model-card.md",
    "docs/decisions": "decisions/index.md",
    "notebooks": "tutorials.md",
}
"""Files and folders outside docs/, and the page of each."""

GENERATED = {
    "reference/api": api, "reference/cli": commands,
    "reference/config": settings, "reference/tables": tables,
}  # fmt: skip


_REFERENCE = (
    "reference/api/index", "reference/cli/index", "reference/config/index",
    "reference/tables/methods", "reference/tables/sensors", "reference/tables/errors",
)  # fmt: skip


def assemble(tree: Path) -> None:
    """Write the whole tree anew.

    Parameters
    ----------
    tree
        Folder, emptied first.

    Raises
    ------
    docsite.links.BrokenLinkError
        If a link of a page leads nowhere.
    """
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    books = {f"notebooks/{path.name}": f"tutorials/{path.name}" for path in notebooks()}
    moved = OTHERS | dict(_documents()) | books
    for source, page in moved.items():
        if (ROOT / source).is_file() and source not in {"README.md", *books}:
            _copy(source, tree / page, moved, tree)
    for path in notebooks():
        _take(path, moved, tree)
    for folder, module in GENERATED.items():
        for name, text in module.pages().items():
            _write(tree / folder / name, text)
    _write(tree / "decisions/index.md", _decisions())
    pages = [moved[book].removesuffix(".ipynb") for book in books]
    _append(tree / "tutorials.md", _toctree(pages) if pages else "")
    _append(tree / "reference.md", _toctree(_REFERENCE))


def _documents() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.suffix in {".md", ".png", ".svg", ".webp", ".gif"}:
            page = path.relative_to(ROOT / "docs").as_posix()
            yield f"docs/{page}", page


def _copy(source: str, target: Path, moved: Mapping[str, str], tree: Path) -> None:
    if not source.endswith(".md"):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, target)
        return
    text = (ROOT / source).read_text(encoding="utf-8")
    _write(target, rewritten(text, PurePosixPath(source), moved, (ROOT, tree)))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _decisions() -> str:
    names = [path.stem for path in sorted((ROOT / "docs/decisions").glob("*.md"))]
    return "# Decisions\n\nWhat was slow to decide, and why it is as it is.\n" + _toctree(names)


def notebooks() -> list[Path]:
    """Return the notebooks, each as it was last executed if it was."""
    found = {path.name: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    executed = {path.name: path for path in (ROOT / "notebooks/executed").glob("*.ipynb")}
    return [executed.get(name, path) for name, path in found.items()]


def _take(path: Path, moved: Mapping[str, str], tree: Path) -> None:
    """Take a notebook along, links of its words as they are on the site."""
    book, source = json.loads(path.read_text(encoding="utf-8")), f"notebooks/{path.name}"
    for cell in book["cells"]:
        if cell["cell_type"] == "markdown":
            words = "".join(cell["source"])
            cell["source"] = rewritten(words, PurePosixPath(source), moved, (ROOT, tree))
    _write(tree / moved[source], json.dumps(book))


def _toctree(pages: Sequence[str]) -> str:
    rows = "\n".join(pages)
    return f"\n```{{toctree}}\n:maxdepth: 1\n\n{rows}\n```\n"


def _append(path: Path, text: str) -> None:
    _write(path, path.read_text(encoding="utf-8") + text)
