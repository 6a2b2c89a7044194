#!/usr/bin/env bash
# rioxarray: Dataset.rio.to_raster of decoded floats that keep the packing they were read with
# (int16, scale_factor) writes the floats as they are and declares the scale all the same:
# GDAL, and rioxarray itself, then read values 10,000 times too small. DataArray.rio.to_raster of the
# same variable is right. Exits 0 while it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rioxarray==0.19.0 xarray==2025.7.1 rasterio==1.4.4 h5netcdf==1.6.4
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import rioxarray
import xarray as xr

packed = {"dtype": "int16", "scale_factor": 1e-4, "_FillValue": -32768}
given = xr.DataArray(
    np.array([[0.25, 0.5], [0.75, np.nan]]),
    dims=("y", "x"), coords={"y": [15.0, 5.0], "x": [5.0, 15.0]}, name="red",
).rio.write_crs(32631)
given.to_dataset().to_netcdf("in.nc", engine="h5netcdf", encoding={"red": packed | {"grid_mapping": "spatial_ref"}})

opened = xr.open_dataset("in.nc", engine="h5netcdf", decode_coords="all")
opened["red"].rio.to_raster("array.tif")
opened[["red"]].rio.to_raster("dataset.tif")
read = {n: rioxarray.open_rasterio(f"{n}.tif", mask_and_scale=True).values[0] for n in ("array", "dataset")}
print("rioxarray", rioxarray.__version__, "xarray", xr.__version__)
print("values                    ", opened["red"].values.ravel())
print("DataArray.rio.to_raster ->", read["array"].ravel())
print("Dataset.rio.to_raster   ->", read["dataset"].ravel())
right = np.allclose(read["array"][0], [0.25, 0.5])
wrong = np.allclose(read["dataset"][0], [0.25e-4, 0.5e-4])
raise SystemExit(0 if right and wrong else 1)
PY
