"""Execute the notebooks top to bottom, into notebooks/executed/: an error in a cell is an error.

make notebooks
python -m docsite.execute 01_quickstart.ipynb
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from docsite.assemble import ROOT
from tamrf_xr.replacing import fresh_file

FOLDER = ROOT / "notebooks"
CELL_SECONDS = 600
"""After which a cell counts as hung."""

_BARS = "ignore:IProgress not found"
_WIDGET = "application/vnd.jupyter.widget-view+json"


def main(arguments: list[str] | None = None) -> int:
    """Execute those named, or all; return 0 if none fails."""
    parser = argparse.ArgumentParser(prog="python -m docsite.execute", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME.ipynb", help="default: all")
    names = parser.parse_args(arguments).names
    paths = [FOLDER / name for name in names] or sorted(FOLDER.glob("*.ipynb"))
    began = time.monotonic()
    failed = sum(not _told(path) for path in paths)
    print(f"{len(paths)} notebooks in {time.monotonic() - began:.0f} s, {failed} failed")
    return 1 if failed else 0


def _told(path: Path) -> bool:
    """Execute one, and say how it went as it goes."""
    print(f"{path.name:<36}", end="", flush=True)
    began = time.monotonic()
    try:
        execute(path, FOLDER / "executed" / path.name)
    except CellExecutionError as error:
        print("failed", flush=True)
        print(error, file=sys.stderr)
        return False
    print(f"{time.monotonic() - began:5.0f} s", flush=True)
    return True


def execute(path: Path, out: Path) -> None:
    """Execute one notebook, and write it with its outputs; nothing is left at `out` if it fails.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell does.
    """
    out.unlink(missing_ok=True)
    book = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(
        book,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        store_widget_state=False,
    ).execute(env=_environment())
    _drop_widgets(book)
    out.parent.mkdir(exist_ok=True)
    with fresh_file(out) as partial:
        nbformat.write(book, partial)  # type: ignore[no-untyped-call]


def _environment() -> dict[str, str]:
    """Where there are no widgets, bars are text: nobody needs to be told in every notebook."""
    warned = os.environ.get("PYTHONWARNINGS")
    return os.environ | {"PYTHONWARNINGS": f"{warned},{_BARS}" if warned else _BARS}


def _drop_widgets(book: NotebookNode) -> None:
    """Drop bars that are widgets: a page of the site would fetch their code from elsewhere."""
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if _WIDGET not in one.get("data", {})]


if __name__ == "__main__":
    sys.exit(main())
