"""Random numbers by purpose, and random fields: fractal noise in one and two dimensions."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, sparse

Field = NDArray[np.float32]


def stream(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Return the generator of one purpose: what one draws never shifts what another gets.

    Parameters
    ----------
    seed
        Of the scene.
    purpose
        Any word.
    numbers
        More to tell draws apart, such as the day; not negative.

    Returns
    -------
    numpy.random.Generator
        The generator.

    Examples
    --------
    >>> bool(stream(0, "rain", 4).random() == stream(0, "rain", 4).random())
    True
    """
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *numbers])


def fractal(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    slope: float,
    longest: float,
    stretch: float = 1.0,
) -> Field:
    """Draw a Gaussian field whose power falls with frequency as a power law; it is periodic.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        Pixels (y, x).
    slope
        Exponent of the power spectrum: 2 is rough, 4 smooth.
    longest
        Wavelength above which the spectrum is flat, in pixels.
    stretch
        How many times structures are longer along x than along y.

    Returns
    -------
    numpy.ndarray
        Mean 0, standard deviation 1.

    Examples
    --------
    >>> fractal(np.random.default_rng(0), (8, 16), slope=3.0, longest=8).shape
    (8, 16)
    """
    law = (shape, slope, longest, stretch)
    power = _kept_amplitudes(*law) if shape[0] * shape[1] < MOST_KEPT else _amplitudes(*law)
    noise = _noise(rng, shape)
    spectrum = (noise[0] + np.complex64(1j) * noise[1]) * power
    spectrum[0, 0] = 0
    values: Field = fft.irfft2(spectrum, s=shape).astype(np.float32, copy=False)
    return np.asarray(values / values.std(), np.float32)


def pass_over(rng: np.random.Generator, shape: tuple[int, int]) -> None:
    """Draw what `fractal` would draw, and make no field of it: where none is looked at."""
    _noise(rng, shape)


def _noise(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    return rng.standard_normal((2, shape[0], shape[1] // 2 + 1), dtype=np.float32)


def _amplitudes(shape: tuple[int, int], slope: float, longest: float, stretch: float) -> Field:
    """Return the amplitude of each frequency of a field."""
    rows = fft.fftfreq(shape[0])[:, None].astype(np.float32)
    columns = fft.rfftfreq(shape[1])[None, :].astype(np.float32) * np.float32(stretch)
    power = (rows**2 + columns**2 + np.float32(1 / longest**2)) ** np.float32(-slope / 4)
    power.setflags(write=False)
    return np.asarray(power, np.float32)


_kept_amplitudes = lru_cache(maxsize=16)(_amplitudes)
"""Every date draws fields of the same few laws."""

MOST_KEPT = 2_000_000
"""Samples of a field beyond which its amplitudes are not kept: they take memory."""


def broad(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    slope: float,
    longest: float,
    stretch: float = 1.0,
) -> Field:
    """Draw a field as `fractal` does, without what is narrow: every sixth pixel, then between."""
    few = (-(-shape[0] // _STEP) + 2, -(-shape[1] // _STEP) + 2)
    field = fractal(rng, few, slope=slope, longest=longest / _STEP, stretch=stretch)
    fine = ndimage.zoom(field, _STEP, order=1)
    return np.asarray(fine[: shape[0], : shape[1]], np.float32)


_STEP = 6


def fractal_line(
    rng: np.random.Generator, count: int, *, slope: float, longest: float
) -> NDArray[np.float64]:
    """Draw a Gaussian series of `count` samples, as `fractal` does a field."""
    power = (fft.rfftfreq(2 * count) ** 2 + 1 / longest**2) ** (-slope / 4)
    noise = rng.standard_normal((2, power.size))
    spectrum = (noise[0] + 1j * noise[1]) * power
    spectrum[0] = 0
    values = fft.irfft(spectrum, n=2 * count)
    return np.asarray(values[:count] / values.std())


def cell_means(labels: NDArray[np.integer[Any]], factor: int, count: int) -> sparse.csr_array:
    """Count which share of each coarse pixel each label has.

    Parameters
    ----------
    labels
        Shape (y, x), 0..count - 1.
    factor
        Fine pixels along the edge of a coarse pixel; divides `labels` evenly.
    count
        Number of labels.

    Returns
    -------
    scipy.sparse.csr_array
        Shape (coarse pixels, count), rows sum to 1.
    """
    height, width = labels.shape[0] // factor, labels.shape[1] // factor
    pixel = np.arange(height * width).reshape(height, width).repeat(factor, 0).repeat(factor, 1)
    share = np.full(labels.size, 1 / factor**2, np.float32)
    entries = (share, (pixel.ravel(), labels.ravel()))
    return sparse.csr_array(sparse.coo_array(entries, shape=(height * width, count)))


def soften(field: Field, share: float) -> Field:
    """Give every pixel a share of each neighbour, along each axis; its deviation becomes 1 again.

    Parameters
    ----------
    field
        Shape (y, x).
    share
        Of each neighbour, 0 to 1/3.

    Returns
    -------
    numpy.ndarray
        Shape (y, x).
    """
    taps = [share, 1 - 2 * share, share]
    for axis in (0, 1):
        field = ndimage.correlate1d(field, taps, axis=axis, mode="nearest")
    return np.asarray(field / field.std(), np.float32)


def soften_means(means: sparse.csr_array, width: int, share: float) -> sparse.csr_array:
    """Mix every pixel with its neighbours, as `soften` does, in a matrix of `cell_means`."""
    ones = np.full(width, share, np.float32)
    line = sparse.diags_array(
        [ones[1:], np.full(width, 1 - 2 * share, np.float32), ones[1:]], offsets=[-1, 0, 1]
    ).tolil()
    line[0, 0] = line[-1, -1] = 1 - share
    line = line.tocsr().astype(np.float32)
    mixer = sparse.kron(sparse.eye_array(width, dtype=np.float32), line, format="csr")
    mixed = mixer @ means
    mixer = sparse.kron(line, sparse.eye_array(width, dtype=np.float32), format="csr")
    return sparse.csr_array(mixer @ mixed)
