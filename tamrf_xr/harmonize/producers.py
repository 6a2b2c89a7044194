"""Who made the data, and what their names mean: one name stands for two wavelengths elsewhere.

A row applies where the data say so (platform, collection, product id) or where its names cannot be
anyone else's. Without a row, the names and aliases of the sensor table count. Wavelengths, where
data give them, are held against the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from tamrf_xr.errors import CubeError
from tamrf_xr.sensors import SENSORS, Sensor

_NOT_SURFACE = "temperature at the top of the atmosphere, not of the surface"


@dataclass(frozen=True, slots=True)
class Producer:
    """Names of one producer's bands."""

    title: str
    """In words."""

    sensor: str
    """Sensor of the cube that its bands belong to."""

    source: str
    """Where these names are described."""

    words: str = ""
    """Pattern that platform, collection or product id must match, lower case."""

    signature: tuple[str, ...] = ()
    """Names of which one is enough to tell, lower case; used where no word is found."""

    bands: Mapping[str, str] = field(default_factory=dict)
    """Names, plain as `plain` makes them, and the bands of a cube that they mean."""

    scaling: str = ""
    """``"ls2s2"`` where integers are reflectance x 10000 without an offset."""

    others: Mapping[str, str] = field(default_factory=dict)
    """Names that look like bands of a cube and are none, and what they are."""


def _numbered(prefixes: Sequence[str], pairs: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}{short}": name for prefix in prefixes for short, name in pairs.items()}


_TM = {"1": "B02", "2": "B03", "3": "B04", "4": "B05", "5": "B06", "7": "B07"}
_TM_PREFIXES = ("b", "b0", "sr_b", "sr_b0", "band", "etm_b", "tm_b")

PRODUCERS = (
    Producer(
        "Landsat-4, -5 or -7",
        "landsat",
        "stactools-landsat 0.5.0, fragments tm and etm; USGS LSDS-1619",
        words=r"landsat[-_ ]?[457]\b|\bl[tec]0?[457](_|\b)|\b(tm|etm\+?)\b|lndsr",
        signature=("st_b6",),
        bands=_numbered(_TM_PREFIXES, _TM) | {"st_b6": "LST", "st_b06": "LST"},
        others={"b6": f"a thermal band: {_NOT_SURFACE}"},
    ),
    Producer(
        "HLS L30",
        "landsat",
        "NASA-IMPACT/hls-hdf_to_cog e65d4306, L30_BAND_NAMES; HLS User Guide 2.0",
        words=r"hls.?(2.?)?[-_.]?l30|\bl30\b",
        scaling="ls2s2",
        others={
            "b09": "cirrus",
            "b9": "cirrus",
            **dict.fromkeys(("b10", "b11", "lwir11", "lwir12", "thermal"), _NOT_SURFACE),
        },
    ),
    Producer(
        "HLS S30",
        "sentinel2",
        "NASA-IMPACT/hls-hdf_to_cog e65d4306, S30_BAND_NAMES; HLS User Guide 2.0",
        words=r"hls.?(2.?)?[-_.]?s30|\bs30\b",
        scaling="ls2s2",
        others={"b09": "water vapour", "b9": "water vapour", "b10": "cirrus"},
    ),
    Producer(
        "FORCE Sentinel-2",
        "sentinel2",
        "davidfrantz/force 19187bca, Level 2 output format; 22af3da5, meta-ll.c",
        signature=("broadnir", "qai"),
        scaling="ls2s2",
        bands={
            "rededge1": "B05",
            "rededge2": "B06",
            "rededge3": "B07",
            "broadnir": "B08",
            "nir": "B8A",
            "swir1": "B11",
            "swir2": "B12",
        },
    ),
    Producer(
        "DEA Sentinel-2",
        "sentinel2",
        "GeoscienceAustralia/dea-config 8ec083e1, ga_s2cm_ard_3.odc-product.yaml",
        words=r"ga_s2[abc]m_ard",
        scaling="ls2s2",
        signature=tuple(
            f"{prefix}_{band}"
            for prefix in ("nbart", "nbar")
            for band in (
                *("coastal_aerosol", "blue", "green", "red", "red_edge_1", "red_edge_2"),
                *("red_edge_3", "nir_1", "nir_2", "swir_2", "swir_3"),
            )
        ),
        bands={
            "red_edge_1": "B05",
            "red_edge_2": "B06",
            "red_edge_3": "B07",
            "nir_1": "B08",
            "common_nir": "B08",
            "nir_2": "B8A",
            "swir_2": "B11",
            "swir2": "B11",
            "common_swir_1": "B11",
            "swir_3": "B12",
            "common_swir_2": "B12",
            **{f"band{band[1:].lower()}": band for band in SENSORS["sentinel2"].band_names},
        },
    ),
)
"""Every producer whose names are not those of the sensor table: a new one is a row here."""

_ORDINARY = {
    "landsat": re.compile(r"landsat[-_ ]?[89]\b|\bl[co]0?[89]|\boli\b"),
    "sentinel2": re.compile(r"sentinel[-_ ]?2|\bs2[abc]?[_-]"),
}
_FAMILY = {"landsat": re.compile("landsat"), "sentinel2": re.compile(r"sentinel[-_ ]?2")}
_WORDS_IN = (
    "platform",
    "constellation",
    "sensor",
    "collection",
    "collection_id",
    "product",
    "product_id",
    "product_family",
    "s2:product_uri",
    "SENSOR",
    "SPACECRAFT_ID",
    "id",
    "HLS_PRODUCT_URI",
    "mission",
    "instrument",
    "instruments",
)
_PREFIXES = re.compile(
    r"^(sentinel[-_]?2|s2[abc]?|landsat[-_]?\d?|l[89]|lc0[89]|hls|nbart?)"
    r"([-_]?(l[12][abc]?(sp)?|c2|boa|sr|toa))*[-_:.]+"
)

_FILES = re.compile(
    r"(?:t\d{2}[a-z]{3}_\d{8}t\d{6}|(?:.*?_)?\d{8}.*?|[fs]re)"
    r"_((?:sr_|st_)?b\d{1,2}a?|scl|qa_pixel|qa_radsat)(?:_\d{2}m)?"
)
"""Names of the files of SAFE, USGS and THEIA, as variables are called that were made of them."""


def plain(name: str) -> str:
    """Return a name without the producer's prefix, lower case, such as ``b02``.

    Examples
    --------
    >>> plain("S2-L2A-B02"), plain("nbart_red"), plain("ST-B10"), plain("B8A")
    ('b02', 'red', 'st_b10', 'b8a')
    >>> plain("T31TCJ_20220105T105441_B02_10m"), plain("LC08_L2SP_199030_20220109_02_T1_SR_B4")
    ('b02', 'sr_b4')
    """
    short = _PREFIXES.sub("", name.lower()).replace("-", "_")
    ending = _FILES.fullmatch(short)
    return ending[1] if ending else short


_DEA = re.compile(r"\bga_(ls\d|s2)[a-z]*_")
_DEA_NAMES = re.compile(r"(nbart?|oa)_")


def is_of_dea(words: Sequence[str], names: Iterable[str]) -> bool:
    """Tell whether data are of Digital Earth Australia, of either sensor.

    Examples
    --------
    >>> is_of_dea([], ["nbart_red", "fmask"]), is_of_dea(["ga_ls8c_ard_3"], []), is_of_dea([], [])
    (True, True, False)
    """
    return any(_DEA.search(word) for word in words) or any(
        _DEA_NAMES.match(name.lower()) for name in names
    )


def words_of(data: Any) -> list[str]:
    """Return what data say of their platform, collection and product, lower case."""
    words: list[str] = []
    arrays = list(data.values()) if isinstance(data, Mapping) else []
    for thing in (data, *(array for array in arrays if isinstance(array, xr.DataArray))):
        attrs, coords = getattr(thing, "attrs", {}), getattr(thing, "coords", {})
        words += _hls_product(attrs)
        for key in _WORDS_IN:
            words += _texts(attrs.get(key))
            if key in coords and coords[key].dtype.kind in "OUST":
                words += [word for value in coords[key].values.flat for word in _texts(value)]
    return list(dict.fromkeys(words))


def _hls_product(attrs: Mapping[Any, Any]) -> list[str]:
    """Name the product by the tags that every file of HLS has."""
    if "HLS_PROCESSING_TIME" not in attrs:
        return []
    return ["hls.l30" if "LANDSAT_PRODUCT_ID" in attrs else "hls.s30"]


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value.lower()]
    if isinstance(value, (list, tuple, np.ndarray)):
        return [str(one).lower() for one in value if isinstance(one, str)]
    return []


def producer_of(words: Sequence[str], names: Iterable[str], sensor: str | None) -> Producer | None:
    """Find the row that applies.

    Parameters
    ----------
    words
        What the data say; see `words_of`.
    names
        Names of variables and bands.
    sensor
        The sensor, where it is known.

    Returns
    -------
    Producer or None
        None where names mean what the sensor table says.

    Raises
    ------
    CubeError
        If numbered bands are Landsat-8's on some dates and another's on others.
    """
    rows = [row for row in PRODUCERS if sensor in {None, row.sensor}]
    short = {name.lower() for name in names}
    for row in rows:
        if not (row.words and any(re.search(row.words, word) for word in words)):
            continue
        # DEA names the platform as everyone does; of Landsat, it decides what numbers mean.
        mixed = row.bands and row.sensor == "landsat"
        if mixed and any(_ORDINARY[row.sensor].search(word) for word in words):
            _check_common_names(row, short)
            return None
        return row
    return next((row for row in rows if short & set(row.signature)), None)


def _check_common_names(row: Producer, names: set[str]) -> None:
    if numbered := sorted(name for name in names if plain(name) in row.bands):
        raise CubeError(
            f"the data mix {row.title} with Landsat-8 or -9, whose numbered bands "
            f"({', '.join(numbered)}) mean other wavelengths; load them by common name (blue, "
            "green, red, nir08, swir16, swir22), or each platform alone"
        )


def sensors_said(words: Sequence[str]) -> set[str]:
    """Return the sensors that the words name."""
    found = {
        row.sensor for row in PRODUCERS for w in words if row.words and re.search(row.words, w)
    }
    for name, pattern in (*_ORDINARY.items(), *_FAMILY.items()):
        found |= {name for word in words if pattern.search(word)}
    # A collection of harmonised data names both: the row of the product counts.
    hls = {
        row.sensor
        for row in PRODUCERS
        if row.title.startswith("HLS")
        for w in words
        if re.search(row.words, w)
    }
    return hls if len(hls) == 1 else found


def check_platform(words: Sequence[str], sensor: Sensor) -> None:
    """Refuse data whose platform or collection is another sensor's.

    Raises
    ------
    CubeError
        Naming the sensor that the data say they come from.
    """
    said = sensors_said(words)
    if said and sensor.name not in said:
        other = " and ".join(sorted(said))
        raise CubeError(
            f"the data say that they come from {other} ({', '.join(words[:3])}), not from "
            f"{sensor.title}: pass them as {other}=, or correct their platform and collection"
        )


_TM_LOOK = {"1", "2", "3", "4", "5", "7"}


def check_numbered(sensor: Sensor, names: Sequence[str], words: Sequence[str]) -> None:
    """Refuse numbered Landsat bands that look like those of Landsat-4, -5 or -7.

    Raises
    ------
    CubeError
        If bands 1 and 7 are there, 6 is not, and nothing names the platform.
    """
    if sensor.name != "landsat" or any(_ORDINARY["landsat"].search(word) for word in words):
        return
    numbers = {m[1] for name in names if (m := re.fullmatch(r"(?:sr_)?b0?(\d+)", plain(name)))}
    if numbers and numbers == _TM_LOOK:
        raise CubeError(
            "bands 1 2 3 4 5 7 without 6 are what Landsat-4, -5 and -7 have, where 4 is NIR and 5 "
            "SWIR; of Landsat-8 and -9, 5 is NIR: name the platform, such as with "
            ".assign_attrs(platform='landsat-8'), or use common names (blue ... swir22)"
        )


def signs_in(names: Sequence[str]) -> set[str]:
    """Return the sensors that names of bands point to.

    Examples
    --------
    >>> signs_in(["B02", "B8A"]), signs_in(["B02", "B05", "B11"]), signs_in(["lwir11"])
    ({'sentinel2'}, set(), {'landsat'})
    """
    found: set[str] = set()
    for name in names:
        short = plain(name)
        owners = {key for key, sensor in SENSORS.items() if sensor.find(short)}
        # Sentinel-2 has a coastal band too, though no cube holds it; HLS has a thermal B11.
        if len(owners) == 1 and short not in {"b01", "b1", "coastal", "b11"}:
            found |= owners
    return found


def looks_like_hls(names: Sequence[str]) -> bool:
    """Tell whether bands that both sensors have stand beside one that L2A never has."""
    short = {plain(name) for name in names}
    return "fmask" in short or "b10" in short
