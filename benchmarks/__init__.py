"""How fast and how large: ``python -m benchmarks.NAME [--tiny]``, from the root of a checkout."""
