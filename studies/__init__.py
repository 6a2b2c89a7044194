"""How good, not how fast: ``python -m studies.NAME [--tiny]``, from the root of a checkout."""

from pathlib import Path

RESULTS = Path(__file__).parent / "results"
