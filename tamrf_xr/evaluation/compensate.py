"""Residual compensation: make a prediction agree with the image that its sensor did observe."""

from __future__ import annotations

import numpy as np

from tamrf_xr.fuser import Pixels, Scene
from tamrf_xr.psf import blur, downsample, upsample
from tamrf_xr.sensors import get_sensor


def degrade(pixels: Pixels, sensor: str, bands: tuple[str, ...], *, ratio: int) -> Pixels:
    """Bring a prediction to what its sensor would have seen: blurred, and on the sensor's grid.

    Parameters
    ----------
    pixels
        ``(band, y, x)`` on the 10 m grid. NaN spreads over the reach of the blur.
    sensor
        Name of the sensor.
    bands
        Names of the bands.
    ratio
        Fine pixels across one of the sensor's; 1 blurs alone.

    Returns
    -------
    numpy.ndarray
        ``(band, y // ratio, x // ratio)``.

    References
    ----------
    Michel & Inglada, RSE 2025 (metrics are taken after the sensor's point spread function).

    Examples
    --------
    >>> degrade(np.ones((1, 9, 12), np.float32), "landsat", ("B04",), ratio=3).shape
    (1, 3, 4)
    """
    table = {band.name: band for band in get_sensor(sensor).all_bands}
    rows = [table[name] for name in bands]
    seen = blur(pixels, [band.mtf for band in rows], [band.gsd for band in rows])
    return downsample(seen, ratio) if ratio > 1 else seen


def compensate(prediction: Pixels, observed: Scene, sensor: str) -> Pixels:
    """Add what a prediction, degraded, lacks of the image its sensor observed that day.

    Parameters
    ----------
    prediction
        ``(band, y, x)`` on the 10 m grid, the bands of `observed`.
    observed
        The acquisition of that day, on the sensor's grid; pixels that are not usable compensate
        nothing.
    sensor
        Name of the sensor.

    Returns
    -------
    numpy.ndarray
        ``(band, y, x)``: prediction + upsampled (observed - degraded prediction), bicubic.

    References
    ----------
    Michel & Inglada, RSE 2025 (thermal sharpening with residual compensation); Gao, Kustas &
    Anderson, Remote Sensing 2012, section 2.3.

    Examples
    --------
    >>> flat = np.full((1, 9, 9), 0.2, np.float32)
    >>> seen = Scene(np.full((1, 3, 3), 0.3, np.float32), np.ones((3, 3), bool), ("B04",))
    >>> compensate(flat, seen, "landsat").round(3).max()
    np.float32(0.3)
    """
    ratio = prediction.shape[-1] // observed.pixels.shape[-1]
    seen = degrade(prediction, sensor, observed.bands, ratio=ratio)
    residual = np.where(observed.valid, observed.pixels - seen, 0)
    finite = np.nan_to_num(residual).astype(np.float32)
    return prediction + (upsample(finite, ratio) if ratio > 1 else finite)
