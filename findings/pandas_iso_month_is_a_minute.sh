#!/usr/bin/env bash
# pandas 3.1.1 reads the ISO 8601 duration P1M, a month, as one minute, and refuses P1Y: a step of a time series given so is a
# minute long, without a word.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pandas==3.1.1 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import pandas as pd
print("pandas", pd.__version__)
month = pd.Timedelta("P1M")
print("P1M ->", repr(month), "expected 28 to 31 days, or an error as for P1Y")
try:
    year = repr(pd.Timedelta("P1Y"))
except ValueError as error:
    year = f"ValueError: {error}"
print("P1Y ->", year)
sys.exit(0 if month == pd.Timedelta(minutes=1) and year.startswith("ValueError") else 1)
PYTHON
