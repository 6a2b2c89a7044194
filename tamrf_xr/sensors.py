"""The sensors and their bands: names, wavelengths, MTF, aliases. A new sensor is a row here."""

from __future__ import annotations

from dataclasses import dataclass

from tamrf_xr.errors import CubeError

THERMAL = "LST"
"""Name of the band of temperature, of every sensor that has one."""

FINE_GSD = 10.0
"""Resolution of every product, in metres."""


@dataclass(frozen=True, slots=True)
class Band:
    """One spectral band of one sensor."""

    name: str
    """Name in a cube, such as ``"B02"``."""

    common_name: str
    """STAC common name, such as ``"blue"``."""

    gsd: float
    """Native resolution, in metres."""

    center_wavelength: float
    """In micrometres."""

    mtf: float
    """Modulation transfer function at the Nyquist frequency of `gsd`; 1 where blur is ignored."""

    aliases: tuple[str, ...] = ()
    """Other names users meet, lower case."""

    def answers_to(self, name: str) -> bool:
        """Tell whether `name` is this band's name, common name or an alias, in any case."""
        return name.lower() in {self.name.lower(), self.common_name, *self.aliases}


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor as it stands in a cube."""

    name: str
    """Name of its group in a cube."""

    title: str
    """Name in print."""

    gsd: float
    """Grid of its group, in metres."""

    bands: tuple[Band, ...]
    """Reflectance bands, in the order of the network; of a radar, its polarisations."""

    thermal: Band | None = None
    """Band kept apart as ``surface_temperature``, in kelvin."""

    @property
    def ratio(self) -> int:
        """Pixels of the product's grid across one pixel of this sensor."""
        return round(self.gsd / FINE_GSD)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the reflectance bands."""
        return tuple(band.name for band in self.bands)

    @property
    def all_bands(self) -> tuple[Band, ...]:
        """Reflectance bands, then the thermal one: the order of arrays inside the package."""
        return (*self.bands, self.thermal) if self.thermal else self.bands

    def find(self, name: str) -> Band | None:
        """Return the band that answers to `name`, or None."""
        return next((band for band in self.all_bands if band.answers_to(name)), None)


def _s2(name: str, common_name: str, gsd: float, wavelength: float, *others: str) -> Band:
    short = name.lower().replace("b0", "b")
    aliases = (short, f"{name.lower()}_{gsd:g}m", *others)
    return Band(name, common_name, gsd, wavelength, 1.0 if gsd == FINE_GSD else 0.3, aliases)


def _landsat(name: str, common_name: str, wavelength: float, *others: str) -> Band:
    short = name.lower().replace("b0", "b")
    aliases = (short, f"sr_{short}", f"sr_{name.lower()}", f"oli_{short}", *others)
    return Band(name, common_name, 30.0, wavelength, 0.3, aliases)


_RADAR = ("gamma0_{}", "{}_gamma0", "gamma0{}", "sigma0_{}", "{}_sigma0", "sigma0{}", "s1_{}")
"""What users call the backscatter of a polarisation."""

SENTINEL2 = Sensor(
    name="sentinel2",
    title="Sentinel-2",
    gsd=10.0,
    bands=(
        _s2("B02", "blue", 10, 0.490),
        _s2("B03", "green", 10, 0.560),
        _s2("B04", "red", 10, 0.665),
        _s2("B05", "rededge071", 20, 0.705, "rededge1", "red_edge_1"),
        _s2("B06", "rededge075", 20, 0.740, "rededge2", "red_edge_2"),
        _s2("B07", "rededge078", 20, 0.783, "rededge3", "red_edge_3"),
        _s2("B08", "nir", 10, 0.842, "nir_1"),
        _s2("B8A", "nir08", 20, 0.865, "nir_2", "nir_narrow"),
        _s2("B11", "swir16", 20, 1.610, "swir1", "swir_16"),
        _s2("B12", "swir22", 20, 2.190, "swir2", "swir_22"),
    ),
)

LANDSAT = Sensor(
    name="landsat",
    title="Landsat-8/9",
    gsd=30.0,
    bands=(
        _landsat("B01", "coastal", 0.443, "coastal_aerosol"),
        _landsat("B02", "blue", 0.482),
        _landsat("B03", "green", 0.561),
        _landsat("B04", "red", 0.655),
        _landsat("B05", "nir08", 0.865, "nir"),
        _landsat("B06", "swir16", 1.609, "swir1", "swir_1"),
        _landsat("B07", "swir22", 2.201, "swir2", "swir_2"),
    ),
    # 30 m grid, but the thermal instrument resolves about 90 m.
    thermal=Band(
        THERMAL, "lwir11", 90.0, 10.895, 0.2, ("surface_temperature", "st_b10", "tirs_b10", "lwir")
    ),
)

SENSORS: dict[str, Sensor] = {sensor.name: sensor for sensor in (SENTINEL2, LANDSAT)}
"""Every sensor, by the name of its group."""

SENTINEL1 = Sensor(
    name="sentinel1",
    title="Sentinel-1",
    gsd=10.0,
    # C band, 5.405 GHz. Pixels of 10 m; IW GRD resolves about 20 m, which no MTF here describes.
    bands=tuple(
        Band(name, name.lower(), 10.0, 55_465.8, 1.0, tuple(f.format(name.lower()) for f in _RADAR))
        for name in ("VV", "VH")
    ),
)

CARRIED: dict[str, Sensor] = {SENTINEL1.name: SENTINEL1}
"""Sensors whose group a cube may carry beside those that are fused: no method sees them yet."""


def get_sensor(name: str) -> Sensor:
    """Look a sensor up by the name of its group.

    Parameters
    ----------
    name
        Such as ``"sentinel2"``.

    Returns
    -------
    Sensor
        The row of the table.

    Raises
    ------
    CubeError
        If there is no such sensor.

    Examples
    --------
    >>> get_sensor("landsat").band_names
    ('B01', 'B02', 'B03', 'B04', 'B05', 'B06', 'B07')
    """
    try:
        return SENSORS[name]
    except KeyError:
        known = ", ".join(SENSORS)
        raise CubeError(f"unknown sensor {name!r}; the sensors are: {known}") from None
