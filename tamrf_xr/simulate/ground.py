"""The ground without sky: every band and the temperature of every 10 m pixel, on any day.

Parcels are mixed from pure materials, then pixels from parcels: one sparse product a date. Two
fields of texture are added in proportion to what each parcel is that day, and hills turn parts of
it towards the sun:

    pixel = W (spectrum) + vigour * W (canopy - ground) + grain * W (roughness * spectrum)
    seen = pixel * (diffuse + direct * cos(incidence) / cos(sun zenith))

Spectra change with the directions of sun and view by `tamrf_xr.simulate.brdf`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tamrf_xr.sensors import SENSORS
from tamrf_xr.simulate import spectra
from tamrf_xr.simulate.brdf import anisotropy
from tamrf_xr.simulate.fields import Field, stream
from tamrf_xr.simulate.landscape import Landscape, draw_landscape
from tamrf_xr.simulate.orbits import View, nadir
from tamrf_xr.simulate.phenology import Phenology, draw_phenology
from tamrf_xr.simulate.weather import LATITUDE, Weather, draw_weather, sun

VIGOUR = 0.08
"""Deviation of green cover within a parcel when half of it is green."""

DARKEST = 0.001
"""Least reflectance: correction of the atmosphere leaves hardly less over deep water."""

DIMMEST, BRIGHTEST = 0.15, 1.9
"""Least and most sun on a slope relative to flat ground: products leave no more than that."""

LAPSE = 0.0065
"""K that air cools per metre of height."""

SLOPE_HEAT = 9.0
"""K that ground under twice the sun is warmer, at midsummer."""

HIGHEST_SUN_ZENITH = np.radians(72.0)
"""Kernels of reflectance are not used beyond it."""

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

    textured: sparse.csr_array
    """Shape (pixels, 3 x parcels): the mixing of parcels, that times vigour, that times grain."""

    spectra: Parcels
    """Shape (materials, bands)."""

    gains: Parcels
    """Shape (parcels, materials): how bright each material is there, relative."""

    tilts: Parcels
    """Shape (parcels, bands): colour of each parcel, relative."""

    rough: NDArray[np.float32]
    """Of each parcel: how much directions of sun and view change it, relative to usual ground."""

    def image(
        self,
        sensor: str,
        day: float,
        *,
        view: View | None = None,
        gains: Parcels | None = None,
    ) -> Field:
        """Return what one sensor would see at 10 m, without sky, blur or noise.

        Parameters
        ----------
        sensor
            Its name.
        day
            Of the series: 0 is the start of 1 January of its first year.
        view
            Directions and hour; by default from above, at the usual hour of the overpass.
        gains
            Of every parcel that day, by column of the tables of spectra; by default 1.

        Returns
        -------
        numpy.ndarray
            Shape (band, y, x): reflectance bands, 0..1, then for Landsat the temperature, in K.
        """
        view = view or nadir(sensor)
        cover = self._materials(day)
        bands = spectra.columns(sensor)
        light = self._light(day, view)
        turned = self._turned(day, view)
        turned = turned if gains is None else turned * gains
        parts = self._reflectance(cover, bands, turned[:, bands])
        if SENSORS[sensor].thermal:
            heat = self._heat(cover, day, view.hour)
            parts = [np.column_stack([a, b]) for a, b in zip(parts, heat, strict=True)]
        mixed = self.textured @ np.concatenate(parts)
        image = np.ascontiguousarray(mixed.T).reshape(-1, *self.land.shape)
        for band, direct in zip(image, 1 - spectra.SKYLIGHT[bands], strict=False):
            band *= 1 + direct * (light - 1)
        if SENSORS[sensor].thermal:
            image[-1] += self._slope_heat(day, view, light)
        return np.asarray(np.maximum(image, np.float32(DARKEST), out=image))

    def _light(self, day: float, view: View) -> Field:
        """Return the direct sun on every pixel, relative to flat ground."""
        zenith, azimuth = sun(day, self.weather.latitude, view.hour)
        towards = np.tan(min(zenith, HIGHEST_SUN_ZENITH)) * np.array(
            [np.cos(azimuth), np.sin(azimuth)], np.float32
        )
        north, east = self.land.slope
        light = 1 - np.float32(towards[0]) * north - np.float32(towards[1]) * east
        return np.asarray(np.clip(light, DIMMEST, BRIGHTEST, out=light))

    def _turned(self, day: float, view: View) -> Parcels:
        """Return the reflectance of parcels relative to the reference directions, by band."""
        zenith, azimuth = sun(day, self.weather.latitude, view.hour)
        zenith = min(zenith, HIGHEST_SUN_ZENITH)
        seen = anisotropy(zenith, view.zenith, view.azimuth - azimuth)
        return np.asarray(1 + self.rough[:, None] * (seen - 1), np.float32)

    def _slope_heat(self, day: float, view: View, light: Field) -> Field:
        power = SLOPE_HEAT * self.weather.sunshine(day, view.hour)
        return np.asarray(
            np.float32(power) * (light - 1) - np.float32(LAPSE) * self.land.height, np.float32
        )

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

    def _reflectance(self, cover: Parcels, bands: slice, turned: Parcels) -> list[Parcels]:
        """Return of each parcel the spectrum, its change with vigour, its grain."""
        colours, tilts = self.spectra[:, bands], self.tilts[:, bands] * turned
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

    def _heat(self, cover: Parcels, day: float, hour: float) -> list[Parcels]:
        """Return of each parcel the temperature, its change with vigour, its grain."""
        air, heating = self.weather.warmth(day, hour), self.weather.heating(day, hour)
        soaked = 1 - 0.35 * self.weather.moisture[int(day)]
        excess = (cover * self.gains) @ (spectra.HEAT * np.float32(heating * soaked))
        water = cover[:, _WATERS].sum(axis=1)
        warm = (1 - water) * (air + excess) + water * np.float32(self._lake(day))
        white = cover[:, _SNOW].sum(axis=1)
        warm = (1 - white) * warm + white * np.minimum(warm, np.float32(272.0))
        dry = 1 - water
        change = -1.2 * heating * dry
        return [part.astype(np.float32) for part in (warm, change, 0.6 * heating * dry)]

    def _lake(self, day: float) -> float:
        """Return the temperature of open water, in K: it lags the year by a month."""
        cold = 0.55 * (self.weather.latitude - LATITUDE)
        return float(285.0 - cold + 8.0 * np.cos(2 * np.pi * (day - 218) / 365.25))


_CANOPIES = spectra.index("crop", "grass", "broadleaf", "conifer", "flower")
_WATERS = spectra.index("water", "silt")
_SNOW = spectra.index("snow")
_INERT = spectra.index("water", "silt", "tile", "slate", "steel", "asphalt", "snow")
_FLAT = ["water", "silt", "tile", "slate", "steel", "asphalt"]


def draw_ground(seed: int, count: int, *, years: int = 1, latitude: float = LATITUDE) -> Ground:
    """Draw the ground of a scene.

    Parameters
    ----------
    seed
        Of the scene.
    count
        10 m pixels along the edge.
    years
        Length of the series.
    latitude
        Degrees north.

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
        phenology=draw_phenology(seed, land, years=years, latitude=latitude),
        canopy=_rows(land.of("canopy")),
        below=_rows(land.of("ground")),
        textured=_textured(land),
        weather=draw_weather(seed, days=366 * years, latitude=latitude),
        spectra=spectra.draw_spectra(stream(seed, "spectra")),
        gains=_draw_gains(rng, land),
        tilts=_draw_tilts(rng, land.covers.size),
        rough=_draw_roughness(rng, land),
    )


def _textured(land: Landscape) -> sparse.csr_array:
    fields = (sparse.diags_array(field.ravel()) for field in (land.vigour, land.grain))
    parts = [land.mixing, *(field @ land.mixing for field in fields)]
    return sparse.csr_array(sparse.hstack(parts, format="csr"), dtype=np.float32)


def _draw_roughness(rng: np.random.Generator, land: Landscape) -> NDArray[np.float32]:
    """Draw how anisotropic parcels are: plants as usual ground is, walls and water less."""
    usual = rng.uniform(0.5, 1.5, land.covers.size)
    return np.asarray(np.where(np.isin(land.of("ground"), _FLAT), 0.4, 1.0) * usual, np.float32)


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
