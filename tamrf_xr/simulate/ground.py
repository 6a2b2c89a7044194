"""The ground without sky: every band and the temperature of every 10 m pixel, on any day.

Parcels are mixed from pure materials, then pixels from parcels: one sparse product a date. Two
fields of texture are added in proportion to what each parcel is that day, and hills turn parts of
it towards the sun:

    pixel = W (spectrum) + vigour * W (canopy - ground) + grain * W (roughness * spectrum)
    seen = pixel * (diffuse + direct * cos(incidence) / cos(sun zenith))

Spectra change with the directions of sun and view by `tamrf_xr.simulate.brdf`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tamrf_xr.sensors import SENSORS
from tamrf_xr.simulate import spectra
from tamrf_xr.simulate.biomes import TEMPERATE, biome_of
from tamrf_xr.simulate.brdf import anisotropy
from tamrf_xr.simulate.changes import Extent
from tamrf_xr.simulate.fields import Field, stream
from tamrf_xr.simulate.landscape import Landscape, draw_landscape
from tamrf_xr.simulate.orbits import View, nadir
from tamrf_xr.simulate.overlays import Day, Overlay, draw_overlays, scar_of
from tamrf_xr.simulate.palette import WATERS, Palette, palette_of
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

LOWEST_SUN_OF_SHADOWS = np.radians(84.0)
"""Zenith angle beyond which shadows grow no longer."""

HIGHEST_TIDE_M = 3.0
"""Above the mean level of the sea: what lies higher is never under it."""

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

    palette: Palette
    """Which materials there are."""

    gains: Parcels
    """Shape (parcels, materials): how bright each material is there, relative."""

    tilts: Parcels
    """Shape (parcels, bands): colour of each parcel, relative."""

    rough: NDArray[np.float32]
    """Of each parcel: how much directions of sun and view change it, relative to usual ground."""

    overlays: tuple[Overlay, ...] = ()
    """What lies on it, from the lowest."""

    scars: tuple[Extent, ...] = ()
    """Where sudden changes lie: nowhere on water."""

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
        if self.overlays:
            self._lay(image, sensor, day, view)
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
        np.clip(light, DIMMEST, BRIGHTEST, out=light)
        if self.land.shadows is not None:
            lowest = min(zenith, LOWEST_SUN_OF_SHADOWS)
            light *= 1 - self.land.shadows.shadow(lowest, azimuth, self.land.shape)
        return np.asarray(light)

    def _lay(self, image: Field, sensor: str, day: float, view: View) -> None:
        """Change an image of all bands by what lies on the land."""
        zenith, azimuth = sun(day, self.weather.latitude, view.hour)
        seen = anisotropy(min(zenith, HIGHEST_SUN_ZENITH), view.zenith, view.azimuth - azimuth)[
            spectra.columns(sensor)
        ]
        rough = np.where(np.isin(self.palette.names, _FLAT), 0.4, 1.0)[:, None]
        colours = self.spectra[:, spectra.columns(sensor)] * (1 + rough * (seen - 1))
        today = Day(
            day=day,
            colours=np.asarray(colours, np.float32),
            kelvin=self._kelvin(day, view.hour) if SENSORS[sensor].thermal else None,
            snow=float(self.weather.snow[int(day)]),
            warmth=self.weather.season(day),
        )
        for overlay in self.overlays:
            overlay.lay(image, today, self.land.grain)

    def _kelvin(self, day: float, hour: float) -> NDArray[np.float32]:
        """Return the temperature of every material, in K."""
        soaked = 1 - 0.35 * self.weather.moisture[int(day)]
        warm = self.weather.heating(day, hour) * soaked * self.palette.heat
        kelvin = self.weather.warmth(day, hour) + warm
        kelvin[self.palette.waters] = self._lake(day)
        return np.asarray(kelvin, np.float32)

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
        share = np.zeros((each.size, len(self.palette.names)), np.float32)
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
        if self.palette.paddy is not None:
            for dried in (dry, wet):
                share[:, self.palette.paddy] += canopy.flooded * share[:, dried]
                share[:, dried] *= 1 - canopy.flooded
        white = self.weather.snow[int(day)] * self.land.of("snow")
        share *= (1 - white)[:, None].astype(np.float32)
        share[:, snow] += white
        return share

    def _reflectance(self, cover: Parcels, bands: slice, turned: Parcels) -> list[Parcels]:
        """Return of each parcel the spectrum, its change with vigour, its grain."""
        colours, tilts = self.spectra[:, bands], self.tilts[:, bands] * turned
        shown = cover * self.gains
        mean = (shown @ colours) * tilts
        canopies, inert = self.palette.canopies, self.palette.inert
        green = cover[:, canopies].sum(axis=1, keepdims=True)
        canopy = (shown[:, canopies] @ colours[canopies]) * tilts
        below = mean - canopy
        # Where half is green, one deviation more of it takes as much from the ground.
        change = np.float32(4 * VIGOUR) * (canopy * (1 - green) - below * green)
        change -= np.float32(0.06) * below * (1 - cover[:, inert].sum(axis=1, keepdims=True))
        grain = self.land.of("grain")[:, None].astype(np.float32)
        return [mean, change, mean * grain]

    def _heat(self, cover: Parcels, day: float, hour: float) -> list[Parcels]:
        """Return of each parcel the temperature, its change with vigour, its grain."""
        air, heating = self.weather.warmth(day, hour), self.weather.heating(day, hour)
        soaked = 1 - 0.35 * self.weather.moisture[int(day)]
        excess = (cover * self.gains) @ (self.palette.heat * np.float32(heating * soaked))
        water = cover[:, self.palette.waters].sum(axis=1)
        warm = (1 - water) * (air + excess) + water * np.float32(self._lake(day))
        white = cover[:, _SNOW].sum(axis=1)
        warm = (1 - white) * warm + white * np.minimum(warm, np.float32(272.0))
        dry = 1 - water
        change = -1.2 * heating * dry
        return [part.astype(np.float32) for part in (warm, change, 0.6 * heating * dry)]

    def _lake(self, day: float) -> float:
        """Return the temperature of open water, in K: it lags the year by a month."""
        if self.weather.climate.water_kelvin is not None:
            mean, half = self.weather.climate.water_kelvin
            return float(max(271.5, mean + half * np.cos(2 * np.pi * (day - 218) / 365.25)))
        cold = 0.55 * (self.weather.latitude - LATITUDE)
        return float(285.0 - cold + 8.0 * np.cos(2 * np.pi * (day - 218) / 365.25))


_SNOW = spectra.index("snow")
_FLAT = ["water", "silt", "tile", "slate", "steel", "asphalt", "sea", "turbid", "paddy"]


def draw_ground(
    seed: int,
    count: int,
    *,
    years: int = 1,
    latitude: float = LATITUDE,
    biome: str = TEMPERATE,
    scars: Sequence[Extent] = (),
) -> Ground:
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
    biome
        Kind of land: a key of `tamrf_xr.simulate.biomes.BIOMES`.
    scars
        Where sudden changes lie.

    Returns
    -------
    Ground
        The ground.

    Examples
    --------
    >>> draw_ground(0, 30).image("landsat", 180).shape
    (8, 30, 30)
    """
    row = biome_of(biome)
    land = draw_landscape(seed, count, biome=row, latitude=latitude)
    weather = draw_weather(seed, days=366 * years, latitude=latitude, climate=row.climate)
    scars = _ashore(land, scars)
    palette = palette_of(row, [one.event.kind for one in scars])
    rng = stream(seed, "colours")
    return Ground(
        land=land,
        phenology=draw_phenology(
            seed, land, years=years, latitude=latitude, biome=row, weather=weather
        ),
        canopy=palette.rows(land.of("canopy")),
        below=palette.rows(land.of("ground")),
        textured=_textured(land),
        weather=weather,
        spectra=spectra.draw_spectra(stream(seed, "spectra"), others=palette.others, soil=row.soil),
        palette=palette,
        gains=_draw_gains(rng, land, palette),
        tilts=_draw_tilts(rng, land.covers.size),
        rough=_draw_roughness(rng, land),
        overlays=(
            *(scar_of(one, palette.names) for one in scars),
            *draw_overlays(seed, row, land, palette.names),
        ),
        scars=scars,
    )


def _ashore(land: Landscape, scars: Sequence[Extent]) -> tuple[Extent, ...]:
    """Take what lies on water from changes: there is nothing to be seen of them."""
    if not scars:
        return ()
    wet = land.mixing @ np.isin(land.of("ground"), WATERS).astype(np.float32)
    dry = 1 - wet.reshape(land.shape)
    if land.shore_m is not None:
        dry *= land.shore_m > HIGHEST_TIDE_M
    return tuple(replace(one, share=one.share * dry[one.window]) for one in scars)


def _textured(land: Landscape) -> sparse.csr_array:
    fields = (sparse.diags_array(field.ravel()) for field in (land.vigour, land.grain))
    parts = [land.mixing, *(field @ land.mixing for field in fields)]
    return sparse.csr_array(sparse.hstack(parts, format="csr"), dtype=np.float32)


def _draw_roughness(rng: np.random.Generator, land: Landscape) -> NDArray[np.float32]:
    """Draw how anisotropic parcels are: plants as usual ground is, walls and water less."""
    usual = rng.uniform(0.5, 1.5, land.covers.size)
    return np.asarray(np.where(np.isin(land.of("ground"), _FLAT), 0.4, 1.0) * usual, np.float32)


def _draw_gains(rng: np.random.Generator, land: Landscape, palette: Palette) -> Parcels:
    count = land.covers.size
    ground = np.exp(land.of("contrast") * rng.standard_normal(count))
    canopy = np.exp(0.07 * rng.standard_normal(count))
    gains = np.repeat(ground[:, None], len(palette.names), axis=1)
    gains[:, palette.canopies] = canopy[:, None]
    gains[:, _SNOW] = 1
    return np.asarray(np.clip(gains, 0.5, 2.2), np.float32)


def _draw_tilts(rng: np.random.Generator, count: int) -> Parcels:
    octaves = np.log2(spectra.WAVELENGTHS / 0.8)
    bend = np.stack([octaves, octaves**2 - 1])
    tilt = rng.normal(0, [0.05, 0.025], (count, 2)) @ bend
    return np.asarray(np.exp(np.clip(tilt, -0.3, 0.3)), np.float32)
