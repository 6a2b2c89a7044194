#!/usr/bin/env bash
# stackstac 0.5.1 rescales each item by its own offset, but where items disagree the coordinate raster:bands says None.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check stackstac==0.5.1 pystac==1.14.3 pandas==2.3.3 numpy==2.3.5 xarray==2026.2.0 dask==2026.1.2 rasterio==1.4.4 setuptools==80.9.0 2>/dev/null
cd "$folder" && "$folder/venv/bin/python" - <<'PYTHON'
import sys, numpy as np, rasterio, stackstac
with rasterio.open("one.tif", "w", driver="GTiff", height=9, width=9, count=1, dtype="uint16", crs=32631, nodata=0,
                   transform=rasterio.transform.from_origin(499980, 5000010, 10, 10)) as file:
    file.write(np.full((1, 9, 9), 2000, "uint16"))
def item(name, date, offset):
    asset = {"href": "one.tif", "type": "image/tiff", "proj:shape": [9, 9], "proj:transform": [10, 0, 499980, 0, -10, 5000010],
             "raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 1e-4, "offset": offset}]}
    return {"type": "Feature", "stac_version": "1.0.0", "id": name, "geometry": None, "bbox": [2.9, 45.1, 3.1, 45.2], "links": [],
            "properties": {"datetime": date, "proj:epsg": 32631}, "assets": {"B04": asset}}
items = [item("a", "2021-06-01T10:50:31Z", 0), item("b", "2022-06-06T10:50:31Z", -0.1)]
print("stackstac", stackstac.__version__)
for label, some in (("one item", items[1:]), ("two items", items)):
    stack = stackstac.stack(some, resolution=10, epsg=32631)
    said = stack["raster:bands"].values if "raster:bands" in stack.coords else "absent"
    print(label, "-> values", stack[:, 0, 4, 4].values, "raster:bands", said)
values, lost = stack[:, 0, 4, 4].values, "raster:bands" not in stack.coords or stack["raster:bands"].values.ravel()[0] is None
sys.exit(0 if lost and np.allclose(values, [0.2, 0.1]) else 1)
PYTHON
