#!/usr/bin/env bash
# spyndex 0.12.0: NDVI = (N - R)/(N + R) lists Landsat-OLI among its platforms, but its band "N" has no entry for Landsat 8 (nor 9): the near infrared
# of OLI stands under "N2" alone, the narrow one. Who looks up the bands of an index for a platform that the index itself names finds none; with
# Sentinel-2 it is the other way: N is B8 and N2 is B8A. All indices that list Landsat-OLI and need N are so.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check spyndex==0.12.0 2>/dev/null
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys, importlib.metadata, spyndex
near, narrow = spyndex.bands["N"], spyndex.bands["N2"]
lost = [n for n, i in spyndex.indices.items() if "Landsat-OLI" in i.platforms and "N" in i.bands]
has = {band: {p: hasattr(spyndex.bands[band], p) for p in ("landsat8", "sentinel2a")} for band in ("N", "N2")}
print("spyndex", importlib.metadata.version("spyndex"), "platforms of NDVI:", spyndex.indices["NDVI"].platforms)
print(has, "indices of Landsat-OLI that need N:", len(lost))
sys.exit(0 if "NDVI" in lost and not has["N"]["landsat8"] and has["N2"]["landsat8"] and has["N"]["sentinel2a"] else 1)
PYTHON
