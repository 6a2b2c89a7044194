"""How reflectance changes with sun and view: kernels of Ross and Li, with global coefficients.

References
----------
Wanner, Li & Strahler 1995, JGR 100(D10): the kernels. Roy et al. 2016, RSE 176, table 5, and Roy
et al. 2017, RSE 199, table 3 (red edge): one set of coefficients a band for all land.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.simulate.spectra import WAVELENGTHS

Values = NDArray[np.float64]

_MICROMETRES = (0.490, 0.560, 0.665, 0.705, 0.740, 0.783, 0.865, 1.610, 2.190)
_COEFFICIENTS = np.array(
    [
        (0.0774, 0.0372, 0.0079),
        (0.1306, 0.0580, 0.0178),
        (0.1690, 0.0574, 0.0227),
        (0.2085, 0.0845, 0.0256),
        (0.2316, 0.1003, 0.0273),
        (0.2599, 0.1197, 0.0294),
        (0.3093, 0.1535, 0.0330),
        (0.3430, 0.1154, 0.0453),
        (0.2658, 0.0639, 0.0387),
    ]
)
"""Isotropic, volumetric (Ross thick) and geometric (Li sparse reciprocal) weight of each."""

REFERENCE_SUN = np.radians(45.0)
"""Zenith angle of the sun under which the spectra of materials hold, seen from above."""


def anisotropy(sun_zenith: float, view_zenith: float, between: float) -> NDArray[np.float32]:
    """Return reflectance relative to that seen from above under the reference sun.

    Parameters
    ----------
    sun_zenith, view_zenith
        Angles, in radians.
    between
        Azimuth of the view minus that of the sun, in radians.

    Returns
    -------
    numpy.ndarray
        One ratio for each column of the tables of spectra.

    Examples
    --------
    >>> bool(np.allclose(anisotropy(REFERENCE_SUN, 0.0, 0.0), 1))
    True
    >>> toward, away = (anisotropy(0.7, 0.17, between).mean() for between in (0.0, np.pi))
    >>> bool(toward > 1.05 * away)  # with the sun behind, shadows hide
    True
    """
    ratio = _reflectance(sun_zenith, view_zenith, between) / _reflectance(REFERENCE_SUN, 0.0, 0.0)
    return np.interp(WAVELENGTHS, _MICROMETRES, ratio).astype(np.float32)


def _reflectance(sun: float, view: float, between: float) -> Values:
    return np.asarray(_COEFFICIENTS @ [1.0, _ross(sun, view, between), _li(sun, view, between)])


def _phase(sun: float, view: float, between: float) -> float:
    cosine = np.cos(sun) * np.cos(view) + np.sin(sun) * np.sin(view) * np.cos(between)
    return float(np.arccos(np.clip(cosine, -1, 1)))


def _ross(sun: float, view: float, between: float) -> float:
    """Return the Ross-thick kernel: scattering by small leaves."""
    phase = _phase(sun, view, between)
    scattered = (np.pi / 2 - phase) * np.cos(phase) + np.sin(phase)
    return float(scattered / (np.cos(sun) + np.cos(view)) - np.pi / 4)


def _li(sun: float, view: float, between: float) -> float:
    """Return the Li-sparse reciprocal kernel: shadows of crowns as wide as high, at height 2."""
    tan_sun, tan_view = np.tan(sun), np.tan(view)
    secants = 1 / np.cos(sun) + 1 / np.cos(view)
    apart = tan_sun**2 + tan_view**2 - 2 * tan_sun * tan_view * np.cos(between)
    cosine = 2 * np.sqrt(apart + (tan_sun * tan_view * np.sin(between)) ** 2) / secants
    angle = np.arccos(np.clip(cosine, 0, 1))
    shared = (angle - np.sin(angle) * np.cos(angle)) * secants / np.pi
    facing = 0.5 * (1 + np.cos(_phase(sun, view, between))) / (np.cos(sun) * np.cos(view))
    return float(shared - secants + facing)
