"""The catalogues that are understood: where they are, what they call things, what is odd in them.

A new catalogue is a row here. Names of assets were held against the items and documents that each
row cites; none of them could be reached when it was written. What numbers mean (scale, offset,
baselines, masks) is not said here but known at the door, `tamrf_xr.harmonize`: a row only says what
an item of it may state (`Series.scales`), and what states otherwise is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tamrf_xr.errors import OptionError
from tamrf_xr.sensors import LANDSAT, SENSORS, SENTINEL2

KELVIN = "ST_B10"
"""What the door calls the numbers of surface temperature."""

_S2_SCALE, _C2_SCALE, _KELVIN_SCALE = 1e-4, 2.75e-5, 0.00341802


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the files of one kind of band hold."""

    dtype: str = "uint16"
    """Type of integers."""

    fill: int = 0
    """Stands for no data."""

    classes: bool = False
    """Whether they are classes or bits, between which nothing lies."""


_DN, _HLS = Numbers(), Numbers("int16", -9999)
_MASKS = {
    "SCL": Numbers("uint8", 0, classes=True),
    "QA_PIXEL": Numbers("uint16", 1, classes=True),
    "QA_RADSAT": Numbers("uint16", 0, classes=True),
    "Fmask": Numbers("uint8", 255, classes=True),
}


@dataclass(frozen=True, slots=True)
class Series:
    """One collection of a catalogue: scenes of one sensor."""

    sensor: str
    """Name in the sensor table."""

    assets: Mapping[str, str]
    """Names of assets, per band of the sensor table, `KELVIN` or quality layer."""

    scales: Mapping[str, float]
    """Scale that an item may state of a band, where it states one."""

    source: str
    """Where the names of its assets are described."""

    items: str
    """How its items tell place and age: ``"sentinel2"``, ``"landsat"`` or ``"hls"``."""

    numbers: Numbers = _DN
    """What the files of bands that are no masks hold."""

    def holds(self, band: str) -> Numbers:
        """Return what the files of a band hold."""
        return _MASKS.get(band, self.numbers)


@dataclass(frozen=True, slots=True)
class Catalog:
    """One STAC API."""

    name: str
    """As it is asked for."""

    url: str
    """Of the landing page."""

    series: Mapping[str, Series]
    """Collections, by id."""

    defaults: tuple[str, ...]
    """Those that are searched where none is named."""

    signer: str = ""
    """``module.function`` that signs the URL of an asset; empty where none has to."""

    alternate: str = ""
    """Name of the alternate location of an asset that is read where an item gives it."""

    gdal: Mapping[str, str] = field(default_factory=dict)
    """Options of GDAL that reading needs; credentials come from the environment."""

    quirks: str = ""
    """What is odd, in words."""


def _sentinel2(names: Mapping[str, str], scl: str, source: str) -> Series:
    scales = dict.fromkeys(names, _S2_SCALE)
    return Series("sentinel2", {**names, "SCL": scl}, scales, source, "sentinel2")


_LANDSAT_NAMES = dict(
    zip(
        LANDSAT.band_names,
        ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22"),
        strict=True,
    )
)


def _landsat(source: str, *, optical: bool = True, thermal: bool = True) -> Series:
    names = dict(_LANDSAT_NAMES) if optical else {}
    scales = dict.fromkeys(names, _C2_SCALE)
    if thermal:
        names[KELVIN], scales[KELVIN] = "lwir11", _KELVIN_SCALE
    names |= {"QA_PIXEL": "qa_pixel", "QA_RADSAT": "qa_radsat"}
    return Series("landsat", names, scales, source, "landsat")


def _hls(sensor: str, source: str) -> Series:
    names = {name: name for name in SENSORS[sensor].band_names}
    scales = dict.fromkeys(names, _S2_SCALE)
    return Series(sensor, {**names, "Fmask": "Fmask"}, scales, source, "hls", _HLS)


_COMMON = dict(
    zip(
        SENTINEL2.band_names,
        (
            *("blue", "green", "red", "rededge1", "rededge2", "rededge3"),
            *("nir", "nir08", "swir16", "swir22"),
        ),
        strict=True,
    )
)
_PLAIN = {name: name for name in SENTINEL2.band_names}
_SIZED = {
    name: f"{name}_{'10' if name in {'B02', 'B03', 'B04', 'B08'} else '20'}m"
    for name in SENTINEL2.band_names
}

_REQUESTER_PAYS = {"AWS_REQUEST_PAYER": "requester"}

CATALOGS = {
    row.name: row
    for row in (
        Catalog(
            "earth-search",
            "https://earth-search.aws.element84.com/v1",
            {
                "sentinel-2-c1-l2a": _sentinel2(
                    _COMMON, "scl", "an item of 2024 in opendatacube/odc-tools 1b6e99b6"
                ),
                "sentinel-2-l2a": _sentinel2(
                    _COMMON, "scl", "an item of 2023 in openeo-processes-dask cb323e7f"
                ),
                "landsat-c2-l2": _landsat("stactools-landsat bde55a5a, items of LC08 and LC09"),
            },
            defaults=("sentinel-2-c1-l2a", "landsat-c2-l2"),
            alternate="s3",
            gdal=_REQUESTER_PAYS,
            quirks="sentinel-2-l2a states the offset of baseline 04.00 in raster:bands whether it "
            "is in the pixels or not: earthsearch:boa_offset_applied tells. Landsat lies in a "
            "bucket whose readers pay.",
        ),
        Catalog(
            "planetary-computer",
            "https://planetarycomputer.microsoft.com/api/stac/v1",
            {
                "sentinel-2-l2a": _sentinel2(
                    _PLAIN, "SCL", "13 items of 2020 in opendatacube/odc-stac e8692bae"
                ),
                "landsat-c2-l2": _landsat("stactools-landsat bde55a5a, items of LC08 and LC09"),
                "hls2-s30": _hls("sentinel2", "as HLSS30_2.0 of lpcloud; no item was at hand"),
                "hls2-l30": _hls("landsat", "as HLSL30_2.0 of lpcloud; no item was at hand"),
            },
            defaults=("sentinel-2-l2a", "landsat-c2-l2"),
            signer="planetary_computer.sign",
            quirks="Sentinel-2 has no raster fields; s2:processing_baseline tells the offset. URLs "
            "are signed, and expire within an hour.",
        ),
        Catalog(
            "cdse",
            "https://stac.dataspace.copernicus.eu/v1",
            {
                "sentinel-2-l2a": _sentinel2(
                    _SIZED, "SCL_20m", "an item of 05.12 in sentinel-hub/titiler-openeo 64951ded"
                ),
            },
            defaults=("sentinel-2-l2a",),
            gdal={
                "AWS_S3_ENDPOINT": "eodata.dataspace.copernicus.eu",
                "AWS_VIRTUAL_HOSTING": "FALSE",
            },
            quirks="JPEG 2000 in an S3 store with keys of its own, not COGs. The "
            "baseline is processing:version. No Landsat.",
        ),
        Catalog(
            "usgs",
            "https://landsatlook.usgs.gov/stac-server",
            {
                "landsat-c2l2-sr": _landsat(
                    "an item of 2020 in opendatacube/odc-stac e8692bae", thermal=False
                ),
                "landsat-c2l2-st": _landsat(
                    "USGS LSDS-1619; no item of it was at hand", optical=False
                ),
            },
            defaults=("landsat-c2l2-sr", "landsat-c2l2-st"),
            alternate="s3",
            gdal=_REQUESTER_PAYS,
            quirks="Temperature is a collection of its own: a scene is two items, joined here. No "
            "raster fields. No Sentinel-2.",
        ),
        Catalog(
            "lpcloud",
            "https://cmr.earthdata.nasa.gov/stac/LPCLOUD",
            {
                "HLSS30_2.0": _hls(
                    "sentinel2", "NASA-IMPACT/hls-hdf_to_cog e65d4306; no item was at hand"
                ),
                "HLSL30_2.0": _hls(
                    "landsat", "NASA-IMPACT/hls-hdf_to_cog e65d4306; no item was at hand"
                ),
            },
            defaults=("HLSS30_2.0", "HLSL30_2.0"),
            quirks="HLS: both sensors at 30 m, adjusted to each other. Sentinel-2 is brought to "
            "10 m by cubic convolution, which makes nothing finer of it; no surface temperature.",
        ),
    )
}
"""Every catalogue that is understood, by name."""


def get_catalog(catalog: str | Catalog) -> Catalog:
    """Look a catalogue up by its name; a row passes, such as one with the URL of a mirror.

    Raises
    ------
    OptionError
        If there is no such catalogue.

    Examples
    --------
    >>> get_catalog("usgs").defaults
    ('landsat-c2l2-sr', 'landsat-c2l2-st')
    """
    if isinstance(catalog, Catalog):
        return catalog
    try:
        return CATALOGS[catalog]
    except (KeyError, TypeError):
        raise OptionError(
            f"unknown catalogue {catalog!r:.80}; the catalogues are: {', '.join(CATALOGS)}"
        ) from None


def chosen_series(catalog: Catalog, collections: tuple[str, ...] | None) -> dict[str, Series]:
    """Return the collections to search, by id.

    Raises
    ------
    OptionError
        If one is not understood, or two hold the same bands.
    """
    names = catalog.defaults if collections is None else collections
    if strange := [name for name in names if name not in catalog.series]:
        raise OptionError(
            f"collection {strange[0]!r:.80} of {catalog.name} is not understood; those that are: "
            f"{', '.join(catalog.series)}"
        )
    chosen = {name: catalog.series[name] for name in names}
    for at, name in enumerate(chosen):
        for other in list(chosen)[:at]:
            one, two = catalog.series[name], catalog.series[other]
            if one.sensor == two.sensor and one.scales.keys() & two.scales.keys():
                raise OptionError(
                    f"collections {other} and {name} both hold {one.sensor}; ask for one of them"
                )
    if not chosen:
        raise OptionError(f"no collection asked of {catalog.name}; name one or more")
    return chosen
