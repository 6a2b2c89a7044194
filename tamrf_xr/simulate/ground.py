"""The ground without sky: every band and the temperature of every 10 m pixel, on any day.

Parcels are mixed from pure materials, then pixels from parcels: one sparse product a date. Two
fields of texture are added in proportion to what each parcel is that day:

    pixel = W (spectrum) + vigour * W (canopy - ground) + grain * W (roughness * spectrum)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.sensors import SENSORS
from tamrf_xr.simulate import spectra
from tamrf_xr.simulate.fields import Field, stream
from tamrf_xr.simulate.landscape import Landscape, draw_landscape
from tamrf_xr.simulate.phenology import Phenology, draw_phenology
from tamrf_xr.simulate.weather import Weather, draw_weather, sun

VIGOUR = 0.09
"""Deviation of green cover within a parcel when half of it is green."""

DARKEST = 0.001
"""Least reflectance: correction of the atmosphere leaves hardly less over deep water."""

Parcels = NDArray[np.float32]
"""One row a parcel; columns are materials, or bands."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The ground of a scene, ready to be asked."""

    land: Landscape
    """What lies where."""

    phenology: Phenology
    """How it grows."""

    weather: Weather
    """What it grows in."""

    canopy: NDArray[np.intp]
    """Of each parcel, the material of its canopy."""

    below: NDArray[np.intp]
    """Of each parcel, the material of its ground; -1 for soil, dry or wet as the weather has it."""

    spectra: Parcels
    """Shape (materials, bands)."""

    gains: Parcels
    """Shape (parcels, materials): how bright each material is there, relative."""

    tilts: Parcels
    """Shape (parcels, bands): colour of each parcel, relative."""

    def image(self, sensor: str, day: float) -> Field:
        """Return what one sensor would see at 10 m, without sky, blur or noise.

        Parameters
        ----------
        sensor
            Its name.
        day
            Of the scene's year: 0 is the start of 1 January.

        Returns
        -------
        numpy.ndarray
            Shape (band, y, x): reflectance bands, 0..1, then for Landsat the temperature, in K.
        """
        cover = self._materials(day)
        bands = spectra.columns(sensor)
        parts = self._reflectance(cover, bands)
        if SENSORS[sensor].thermal:
            parts = [
                np.column_stack([a, b]) for a, b in zip(parts, self._heat(cover, day), strict=True)
            ]
        count = parts[0].shape[1]
        mixed = (self.land.mixing @ np.concatenate(parts, axis=1)).T.reshape(-1, *self.land.shape)
        image = mixed[:count] + self.land.vigour * mixed[count : 2 * count]
        image += self.land.grain * mixed[2 * count :]
        return np.asarray(np.maximum(image, np.float32(DARKEST)), np.float32)

    def _materials(self, day: float) -> Parcels:
        """Return the share of every material in every parcel; rows sum to 1."""
        canopy = self.phenology.at(day)
        each = np.arange(self.land.covers.size)
        share = np.zeros((each.size, len(spectra.MATERIALS)), np.float32)
        share[each, self.canopy] = canopy.green - canopy.flower
        flower, straw, snow, dry, wet = spectra.index(
            "flower", "straw", "snow", "soil_dry", "soil_wet"
        )
        share[:, flower] = canopy.flower
        share[:, straw] = canopy.dry
        bare = 1 - canopy.green - canopy.dry
        moisture = self.weather.moisture[int(day)]
        soil = self.below < 0
        share[:, wet] += np.where(soil, bare * moisture, 0)
        share[:, dry] += np.where(soil, bare * (1 - moisture), 0)
        share[each[~soil], self.below[~soil]] += bare[~soil]
        white = self.weather.snow[int(day)] * self.land.of("snow")
        share *= (1 - white)[:, None].astype(np.float32)
        share[:, snow] += white
        return share

    def _reflectance(self, cover: Parcels, bands: slice) -> list[Parcels]:
        """Return of each parcel the spectrum, its change with vigour, its grain."""
        colours, tilts = self.spectra[:, bands], self.tilts[:, bands]
        shown = cover * self.gains
        mean = (shown @ colours) * tilts
        green = cover[:, _CANOPIES].sum(axis=1, keepdims=True)
        canopy = (shown[:, _CANOPIES] @ colours[_CANOPIES]) * tilts
        below = mean - canopy
        # Where half is green, one deviation more of it takes as much from the ground.
        change = np.float32(4 * VIGOUR) * (canopy * (1 - green) - below * green)
        change -= np.float32(0.06) * below * (1 - cover[:, _INERT].sum(axis=1, keepdims=True))
        grain = self.land.of("grain")[:, None].astype(np.float32)
        return [mean, change, mean * grain]

    def _heat(self, cover: Parcels, day: float) -> list[Parcels]:
        """Return of each parcel the temperature, its change with vigour, its grain."""
        sunny, air = sunshine(day), float(self.weather.air[int(day)])
        soaked = 1 - 0.35 * self.weather.moisture[int(day)]
        excess = (cover * self.gains) @ (spectra.HEAT * np.float32(sunny * soaked))
        water = cover[:, _WATERS].sum(axis=1)
        lake = 285.0 + 8.0 * np.cos(2 * np.pi * (day - 218) / 365.25)
        warm = (1 - water) * (air + excess) + water * np.float32(lake)
        white = cover[:, _SNOW].sum(axis=1)
        warm = (1 - white) * warm + white * np.minimum(warm, np.float32(272.0))
        dry = 1 - water
        change = -1.2 * sunny * dry
        return [part.astype(np.float32) for part in (warm, change, 0.6 * sunny * dry)]


_CANOPIES = spectra.index("crop", "grass", "broadleaf", "conifer", "flower")
_WATERS = spectra.index("water", "silt")
_SNOW = spectra.index("snow")
_INERT = spectra.index("water", "silt", "tile", "slate", "steel", "asphalt", "snow")


def sunshine(day: float) -> float:
    """Return the sun's power on flat ground at the overpass, 1 at midsummer."""
    return float(np.cos(sun(day)[0]) / np.cos(sun(172)[0]))


def draw_ground(seed: int, count: int) -> Ground:
    """Draw the ground of a scene.

    Parameters
    ----------
    seed
        Of the scene.
    count
        10 m pixels along the edge.

    Returns
    -------
    Ground
        The ground.

    Examples
    --------
    >>> draw_ground(0, 30).image("landsat", 180).shape
    (8, 30, 30)
    """
    land = draw_landscape(seed, count)
    rng = stream(seed, "colours")
    return Ground(
        land=land,
        phenology=draw_phenology(seed, land),
        canopy=_rows(land.of("canopy")),
        below=_rows(land.of("ground")),
        weather=draw_weather(seed),
        spectra=spectra.material_spectra(),
        gains=_draw_gains(rng, land),
        tilts=_draw_tilts(rng, land.covers.size),
    )


def _rows(names: NDArray[Any]) -> NDArray[np.intp]:
    rows = {name: i for i, name in enumerate(spectra.MATERIALS)}
    return np.array([rows.get(str(name), -1) for name in names])


def _draw_gains(rng: np.random.Generator, land: Landscape) -> Parcels:
    count = land.covers.size
    ground = np.exp(land.of("contrast") * rng.standard_normal(count))
    canopy = np.exp(0.07 * rng.standard_normal(count))
    gains = np.repeat(ground[:, None], len(spectra.MATERIALS), axis=1)
    gains[:, _CANOPIES] = canopy[:, None]
    gains[:, _SNOW] = 1
    return np.asarray(np.clip(gains, 0.5, 2.2), np.float32)


def _draw_tilts(rng: np.random.Generator, count: int) -> Parcels:
    octaves = np.log2(spectra.WAVELENGTHS / 0.8)
    bend = np.stack([octaves, octaves**2 - 1])
    tilt = rng.normal(0, [0.05, 0.025], (count, 2)) @ bend
    return np.asarray(np.exp(np.clip(tilt, -0.3, 0.3)), np.float32)
