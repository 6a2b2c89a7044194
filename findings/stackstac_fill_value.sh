#!/usr/bin/env bash
# stackstac 0.5.1 refuses fill_value=0 for dtype="uint16" under numpy 2: numpy.can_cast no longer takes Python ints.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check stackstac==0.5.1 pystac==1.14.3 pandas==2.3.3 numpy==2.3.5 xarray==2026.2.0 dask==2026.1.2 setuptools==80.9.0 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import sys, numpy as np, stackstac
asset = {"href": "unread.tif", "type": "image/tiff", "proj:shape": [9, 9], "proj:transform": [10, 0, 499980, 0, -10, 5000010]}
item = {"type": "Feature", "stac_version": "1.0.0", "id": "one", "geometry": None, "bbox": [2.9, 45.1, 3.1, 45.2], "links": [],
        "properties": {"datetime": "2023-06-01T10:50:31Z", "proj:epsg": 32631}, "assets": {"B04": asset}}
stack = lambda fill: stackstac.stack([item], dtype="uint16", fill_value=fill, rescale=False)
print("stackstac", stackstac.__version__, "numpy", np.__version__)
try:
    print("fill_value=0:", stack(0).dtype); refused = False
except ValueError as error:
    print("fill_value=0: ValueError:", error); refused = True
print("fill_value=np.uint16(0):", stack(np.uint16(0)).dtype)
sys.exit(0 if refused else 1)
PYTHON
