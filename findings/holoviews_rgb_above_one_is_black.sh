#!/usr/bin/env bash
# hvplot 0.12.2 with HoloViews: a true-colour image (float, 0 to 1 as reflectance is) of which one value lies above 1, as clouds and glint do, is drawn black
# as a whole, without a word: the pixels that Bokeh gets are 0 or 1 of 255. matplotlib clips such values (and says so); HoloViews takes an image with a value
# above 1 for one of 0 to 255.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check hvplot==0.12.2 holoviews==1.22.1 xarray==2026.2.0 2>/dev/null
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys, importlib.metadata, numpy as np, xarray as xr, hvplot.xarray, holoviews as hv

def brightest(values):
    image = xr.DataArray(values, dims=("y", "x", "band"), coords={"y": np.arange(20), "x": np.arange(30), "band": ["r", "g", "b"]}, name="c")
    drawn = hv.render(image.hvplot.rgb(x="x", y="y", bands="band"), backend="bokeh")
    source = drawn.renderers[0].data_source.data["image"][0]
    channels = source.view(np.uint8).reshape(*source.shape, -1)[..., :3]
    return int(np.median(channels)), int(channels.max())

values = np.random.default_rng(0).uniform(0.2, 0.8, (20, 30, 3))
usual = brightest(values)
values[3, 4] = 1.05
cloud = brightest(values)
print({name: importlib.metadata.version(name) for name in ("hvplot", "holoviews", "bokeh")})
print("median and largest channel of what is drawn; all below 1:", usual, "one pixel of 1.05:", cloud)
sys.exit(0 if usual[0] > 100 and cloud[1] <= 1 else 1)
PYTHON
