"""Real pixels of land elsewhere, as series, and which biome each is held against.

The folder holds the files that ``shared/real/README.md`` of this project lists with their sources
and licences; those of fields of Belgium are read by `studies.simulation_real`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import xarray as xr

from studies.simulation_real import SENTINEL2, _belgium, _masked, _morocco, _pair_sentinel2
from studies.simulation_series import Series

CLEAR_SCL = (4, 5, 6)
ANY_MONTH = tuple(range(1, 13))


@dataclass(frozen=True)
class Place:
    """Real pixels, and what they are held against."""

    name: str
    read: Callable[[Path], list[Series]]
    biome: str
    months: tuple[int, ...] = ANY_MONTH
    """Of simulated dates that are alike in season."""
    cover: str = ""
    """Class of land of simulated pixels that are alike; "": all."""
    snow: bool = False
    """Whether it is of snow; else days of snow are left out."""


def _tanzania(folder: Path) -> list[Series]:
    path = next((folder / "tanzania_37MBS").glob("*.nc"))
    with xr.open_dataset(path, mask_and_scale=False) as seen:
        clear = np.isin(seen["SCL"].values, CLEAR_SCL)
        names = {name: band for name, band in SENTINEL2.items() if band in seen}
        values = {name: seen[band].values / 1e4 for name, band in names.items()}
        days = seen["timestamp"].values.astype("M8[D]").astype(int)
    return [Series(days, _masked(values, clear), 1 - clear.mean(axis=(1, 2)))]


def _finland(folder: Path) -> list[Series]:
    return [_field(path) for path in sorted((folder / "finland_34WFS").glob("*.nc"))]


def _field(path: Path) -> Series:
    with xr.open_dataset(path) as seen:
        clear = np.isin(seen["SCL"].values, CLEAR_SCL)
        bands = [
            name.replace("B", "B0") if len(name) == 2 else name for name in seen["band"].values
        ]
        values = {
            name: seen["band_data"].values[:, bands.index(band)]
            for name, band in SENTINEL2.items()
            if band in bands
        }
        days = seen["time"].values.astype("M8[D]").astype(int)
    return Series(days, _masked(values, clear))


def _madagascar(folder: Path) -> list[Series]:
    # That of 13 February is hazy all over.
    dates = ("20170203_T38KPD", "20170223_T38KPD")
    return [_image(folder / f"madagascar_38KPD/S2A_L2A_{d}_10bands.tif", _TEN, d) for d in dates]


_TEN = tuple(SENTINEL2.values())

_TWELVE = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")


def _image(path: Path, bands: tuple[str, ...], date: str) -> Series:
    with rasterio.open(path) as image:
        stack = image.read().astype(np.float32)
    stack = np.where((stack > 0).all(axis=0), stack, np.nan) / 1e4
    day = np.array([f"{date[:4]}-{date[4:6]}-{date[6:8]}"], "M8[D]").astype(int)
    return Series(day, {name: stack[None, bands.index(band)] for name, band in SENTINEL2.items()})


def _one_of_five(name: str) -> Callable[[Path], list[Series]]:
    # No date comes with them.
    return lambda folder: [_image(folder / f"five_places/{name}.tif", _TWELVE, "20200101")]


def _india(folder: Path) -> list[Series]:
    names = ("blue", "green", "red", "nir08", "swir16", "swir22")
    found = []
    for path in sorted((folder / "landsat8_l2sp_3dates").glob("*.tif")):
        with rasterio.open(path) as image:
            stack = image.read()[:6].astype(np.float32) * np.float32(2.75e-5) - np.float32(0.2)
        date = path.stem.split("_")[2]
        day = np.array([f"{date[:4]}-{date[4:6]}-{date[6:8]}"], "M8[D]").astype(int)
        found.append(Series(day, {n: stack[None, i] for i, n in enumerate(names)}))
    return found


def _colombia(folder: Path) -> list[Series]:
    stem = folder / "stac_items" / "LC08_L2SP_008059_20191201"
    quality = _band(f"{stem}_QA_PIXEL.tif")
    clear = quality.astype(int) & 0b11111 == 0
    found = {"blue": 2, "green": 3, "red": 4, "nir08": 5, "swir16": 6, "swir22": 7}
    values = {
        name: (_band(f"{stem}_SR_B{number}.tif") * 2.75e-5 - 0.2)[None]
        for name, number in found.items()
    }
    return [Series(np.array(["2019-12-01"], "M8[D]").astype(int), _masked(values, clear[None]))]


def _band(path: str) -> np.ndarray:
    with rasterio.open(path) as image:
        return image.read(1).astype(float)


PLACES = (
    Place("31UDS, fields of Belgium", lambda f: [_pair_sentinel2(f)], "temperate"),
    Place("31UFS monthly, fields of Belgium", lambda f: [_belgium(f)], "temperate"),
    Place("Denmark, one date", _one_of_five("S2L2A_637U_59R_1_3"), "temperate", (5, 6, 7, 8)),
    Place("29RKH, desert of Morocco, one date", lambda f: [_morocco(f)], "desert", (1, 2, 3)),
    Place("37MBS, semi-arid Tanzania", _tanzania, "savanna"),
    Place("36M, Tanzania, one dry date", _one_of_five("S2L2A_38D_378R_2_3"), "savanna", (1, 2, 3)),
    Place("38KPD, Madagascar in the rains", _madagascar, "savanna", (7, 8, 9)),
    Place("43P, South India, dry (Landsat)", _india, "savanna", (1, 2, 3, 4)),
    Place("Colombia, thinned Landsat, one date", _colombia, "tropical"),
    Place("22J, Brazil, one date", _one_of_five("S2L2A_282D_485L_3_3"), "tropical"),
    Place("34WFS, fields of Finland", _finland, "boreal", (4, 5, 6, 7, 8, 9, 10), cover="arable"),
    Place("16U, Canada in snow", _one_of_five("S2L2A_609U_541L_3_0"), "boreal", snow=True),
    Place("18T, Chile, one date", _one_of_five("S2L2A_433D_629L_3_1"), "mountain", (6, 7, 8, 9)),
)
"""The last, of the Andes' foot, is neither of the biomes: it is told for its range alone."""
