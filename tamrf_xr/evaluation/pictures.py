"""Pictures for the viewer: true colour, false colour, temperature and differences as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.cube import groups_of
from tamrf_xr.evaluation.acquisitions import SceneReader, bands_of, days_of
from tamrf_xr.export.panels import stretch_of
from tamrf_xr.fuser import Scene
from tamrf_xr.sensors import THERMAL

Rgb = NDArray[np.uint8]
Span = tuple[float, float]

LARGEST = 360
"""Side of the largest picture; larger images are averaged down."""

VIEWS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "sentinel2": {
        "true colour": ("B04", "B03", "B02"),
        "false colour": ("B08", "B04", "B03"),
        "SWIR, NIR, red edge": ("B11", "B8A", "B05"),
    },
    "landsat": {
        "true colour": ("B04", "B03", "B02"),
        "false colour": ("B05", "B04", "B03"),
        THERMAL: (THERMAL,),
    },
}
"""Bands shown as red, green and blue; one band alone is shown by a colour scale."""

NARROW = {"B08": "B8A"}
SPANS: Mapping[str, Span] = {"reflectance": (0.0, 0.3), THERMAL: (270.0, 320.0)}
"""What is black and white where a cube has no usable pixel to tell."""

DIFFERENCES: Mapping[str, float] = {"reflectance": 0.1, THERMAL: 5.0}
"""Difference shown in full colour, in reflectance and kelvin."""

SCENES_FOR_SPANS = 12
UNKNOWN = np.array([214, 214, 208], np.uint8)


def views_of(sensor: str, bands: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the views that these bands make; the first band alone where they make none."""
    views = VIEWS[sensor]
    if "B08" not in bands:  # the six bands that both sensors have hold the narrow one
        views = {name: tuple(NARROW.get(b, b) for b in view) for name, view in views.items()}
    possible = {name: view for name, view in views.items() if set(view) <= set(bands)}
    # The third one is for the bands of 20 m, which make none of the others.
    if "false colour" in possible:
        possible.pop("SWIR, NIR, red edge", None)
    return possible or {bands[0]: bands[:1]}


@dataclass(frozen=True, slots=True)
class Painter:
    """Paints the scenes of one cube, all with the same black and white."""

    spans: Mapping[tuple[str, str], Span] = field(default_factory=dict)
    """Per sensor and band."""

    def paint(self, sensor: str, scene: Scene, view: tuple[str, ...]) -> str:
        """Return a picture of a scene as a data URI."""
        image = scene.select(view).pixels
        scaled = [
            _scaled(pixels, self._span(sensor, band))
            for pixels, band in zip(image, view, strict=True)
        ]
        if len(view) == 1:
            return encode(_coloured(scaled[0], "inferno"))
        finite = np.asarray(np.isfinite(image).all(0))
        rgb = (255 * np.nan_to_num(np.stack(scaled, -1))).round().astype(np.uint8)
        return encode(np.where(finite[..., None], rgb, UNKNOWN))

    def _span(self, sensor: str, band: str) -> Span:
        return self.spans.get((sensor, band), SPANS[THERMAL if band == THERMAL else "reflectance"])


def painter_of(cube: xr.DataTree) -> Painter:
    """Choose black and white from a few acquisitions, as quicklooks and plots do.

    The bands of true colour share one, so that grey stays grey; the others have their own. The
    median over acquisitions: one that is all undetected cloud, haze or deep shade has no say.
    Temperature changes more over the year than over a scene: all of it but the extremes.
    """
    spans: dict[tuple[str, str], Span] = {}
    for sensor, group in groups_of(cube).items():
        samples, bands = list(_samples(group)), bands_of(group)
        colours = VIEWS[sensor]["true colour"]
        shared = colours if set(colours) <= set(bands) else ()
        alone = [(band,) for band in bands if band not in {*shared, THERMAL}]
        for some in ([shared] if shared else []) + alone:
            span = _stretch(samples, some)
            spans |= {(sensor, band): span for band in some}
        if THERMAL in bands and (warmth := _warmth(samples)):
            spans[sensor, THERMAL] = warmth
    return Painter(spans)


def _stretch(samples: Sequence[Scene], bands: tuple[str, ...]) -> Span:
    selected = [scene.select(bands) for scene in samples]
    return stretch_of((np.moveaxis(scene.pixels, 0, -1), scene.known) for scene in selected)


def _warmth(samples: Sequence[Scene]) -> Span | None:
    images = [scene.select((THERMAL,)).pixels[0][scene.valid] for scene in samples]
    finite = [image[np.isfinite(image)] for image in images]
    ends = np.array([np.percentile(image, (2, 98)) for image in finite if image.size])
    if not ends.size:
        return None
    low, high = np.percentile(ends[:, 0], 5), np.percentile(ends[:, 1], 95)
    return float(low), float(max(high, low + 1e-3))


def _samples(group: xr.Dataset) -> Iterator[Scene]:
    chosen = spread(days_of(group), SCENES_FOR_SPANS)
    reader = SceneReader(group, chosen)
    scenes = (reader.read(day) for day in chosen)
    return (scene for scene in scenes if scene is not None)


def spread(days: pd.DatetimeIndex, count: int) -> pd.DatetimeIndex:
    """Choose at most `count` days, evenly among all."""
    places = np.linspace(0, len(days) - 1, min(count, len(days))).round().astype(int)
    return days[np.unique(places)]


def paint_difference(near: Scene, reference: Scene, view: tuple[str, ...]) -> str:
    """Return prediction minus reference, mean over the bands of a view, as a data URI.

    Red is too high, blue too low, grey is not known on one of the sides.
    """
    error = near.select(view).pixels - reference.select(view).pixels
    mean = np.where(reference.valid, error.mean(0), np.nan)
    full = DIFFERENCES[THERMAL if view == (THERMAL,) else "reflectance"]
    return encode(_coloured(_scaled(mean, (-full, full)), "RdBu_r"))


def encode(rgb: Rgb) -> str:
    """Return a picture ``(y, x, 3)`` as a data URI: PNG while small, else JPEG."""
    from PIL import Image

    image = Image.fromarray(rgb)
    if max(image.size) > LARGEST:
        scale = LARGEST / max(image.size)
        size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
        image = image.resize(size, Image.Resampling.BOX)
    kind = "PNG" if max(image.size) <= LARGEST // 3 else "JPEG"
    stream = io.BytesIO()
    image.save(stream, kind, **({"quality": 85} if kind == "JPEG" else {"optimize": True}))
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{data}"


def _scaled(values: NDArray[np.floating], span: Span) -> NDArray[np.float64]:
    return np.clip((np.asarray(values, np.float64) - span[0]) / (span[1] - span[0]), 0, 1)


def _coloured(values: NDArray[np.float64], name: str) -> Rgb:
    from matplotlib import colormaps

    rgb = np.asarray(colormaps[name](np.nan_to_num(values))[..., :3] * 255, np.uint8)
    return np.where(np.isfinite(values)[..., None], rgb, UNKNOWN)
