#!/usr/bin/env bash
# GDAL 3.10.3 (in the wheel of rasterio 1.4.4) knows Zarr version 3, and opens no array that zarr-python 3.1.6 writes in it: "Unsupported codec:
# bytes", though that codec is the one which every array of the final specification has. Compression and shards have nothing to do with it: this one
# has neither. The same array in version 2 opens with the right values. Who wants both readers writes version 2.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rasterio==1.4.4 zarr==3.1.6 numpy==2.3.5 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys, json, numpy as np, rasterio, zarr
values, seen = np.arange(16, dtype="int16").reshape(4, 4), {}
for version in (3, 2):
    group = zarr.open_group(f"v{version}.zarr", mode="w", zarr_format=version)
    array = group.create_array("band", shape=(4, 4), chunks=(2, 2), dtype="int16", compressors=None)
    array[:] = values
    try:
        with rasterio.open(f'ZARR:"v{version}.zarr":/band') as file:
            seen[version] = "right" if (file.read(1) == values).all() else "wrong"
    except rasterio.errors.RasterioIOError as error:
        seen[version] = str(error)
print("codecs:", json.load(open("v3.zarr/band/zarr.json"))["codecs"])
print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__, "zarr", zarr.__version__, seen)
sys.exit(0 if "Unsupported codec: bytes" in seen[3] and seen[2] == "right" else 1)
PYTHON
