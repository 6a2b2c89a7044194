"""Put the documentation together and build it: warnings and broken links are errors."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from sphinx.cmd.build import build_main

from docsite.assemble import ROOT, assemble
from docsite.checks import faults


def main(arguments: list[str] | None = None) -> int:
    """Build, check, and tell; return 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(prog="python -m docsite", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="default: site/")
    parser.add_argument("--tree", type=Path, default=ROOT / "build/docs", help="what Sphinx reads")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    assemble(options.tree)
    words = ["-q", "-W", "--keep-going", "-j", "auto", "-c", str(Path(__file__).parent)]
    beside = options.tree.parent  # MyST-NB keeps pictures of notebooks there
    words += ["-d", str(beside / "doctrees"), str(options.tree), str(beside / "html")]
    shutil.rmtree(beside / "html", ignore_errors=True)
    if code := build_main(words):
        return int(code)
    shutil.rmtree(options.out, ignore_errors=True)
    shutil.move(beside / "html", options.out)
    found = faults(options.out)
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    pages = len(list(options.out.rglob("*.html")))
    print(f"{options.out}: {pages} pages in {time.monotonic() - began:.0f} s, {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
