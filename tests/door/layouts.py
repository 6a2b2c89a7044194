"""How each producer delivers the ramp: a row and a generator per layout, with what it imitates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine

from tamrf_xr.sensors import LANDSAT, SENSORS, SENTINEL2
from tests.door.ramp import BASELINES, EPSG, LEFT, TIMES, TOP, Scene, crs_attrs

S2, LS = "sentinel2", "landsat"
OPTICS = LANDSAT.band_names
REMOVED = (0.0, 0.0, 0.0, 0.0)
SINCE_2022 = (0.0, 0.0, -0.1, -0.1)
ALWAYS = (-0.1, -0.1, -0.1, -0.1)
C2_REFLECTANCE, C2_KELVIN = (2.75e-5, -0.2), (0.00341802, 149.0)
ASK_OFFSET = r"offset=|harmonized="
ASK_SCALING = r"scaling=|offset=|harmonized="


@dataclass(frozen=True)
class Layout:
    """A producer's way to lay out one sensor's series."""

    name: str
    """Of the row."""

    sensor: str
    """Whose data they are."""

    build: Callable[[Scene], Any]
    """Makes them of a scene."""

    source: str
    """What was looked at: package and version, or document."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Of `as_cube`, with which the layout must come in right."""

    always: Mapping[str, Any] = field(default_factory=dict)
    """Options that belong to the call in any case, such as the CRS of data without one."""

    refused: str | None = None
    """What the error says that is right without `options`."""

    may_refuse: str | None = None
    """What an error may say where the data do not tell enough; equality is as good."""

    hopeless: bool = False
    """No option makes it right, since nothing tells: it must be loaded in another way."""

    bands: Sequence[str] = ()
    """Bands of the cube, where not all."""

    heat: bool | None = False
    """Whether there is surface temperature; None where either is right."""

    masked: bool = True
    """Whether clouds are marked."""

    whole_days: bool = False
    """Whether the time of day is lost."""

    loose: bool = False
    """Resampled: only what lies apart from edges is compared, within 0.003."""

    @property
    def expected_bands(self) -> tuple[str, ...]:
        return tuple(self.bands) or SENSORS[self.sensor].band_names

    @property
    def times(self) -> pd.DatetimeIndex:
        times = TIMES[self.sensor]
        return times.normalize() if self.whole_days else times


LAYOUTS: dict[str, Layout] = {}


def layout(sensor: str, source: str, **facts: Any) -> Callable:
    def add(build: Callable[[Scene], Any]) -> Callable[[Scene], Any]:
        LAYOUTS[build.__name__] = Layout(build.__name__, sensor, build, source, **facts)
        return build

    return add


# Numbers ------------------------------------------------------------------------------------------


def per_date(values: Sequence[float], sensor: str = S2) -> xr.DataArray:
    return xr.DataArray(np.asarray(values), dims="time", coords={"time": TIMES[sensor]})


def coded(true: xr.DataArray, scale: float, offset: Any, *, nodata: float = 0, dtype="uint16"):
    """Return integers of a product, or floats of the same integers with NaN."""
    numbers = ((true - offset) / scale).round()
    if np.dtype(dtype).kind == "f":
        return numbers.astype(dtype)
    return numbers.fillna(nodata).astype(dtype)


def s2_numbers(scene: Scene, offsets: Sequence[float], *, dtype="uint16", gsd=10.0, names=None):
    return coded(scene.bands(S2, names, gsd=gsd), 1e-4, per_date(offsets), dtype=dtype)


def landsat_numbers(scene: Scene, *, dtype="uint16", gsd=30.0) -> dict[str, xr.DataArray]:
    """Return Collection 2 Level-2 numbers by the names of a cube."""
    optics = coded(scene.bands(LS, gsd=gsd), *C2_REFLECTANCE, dtype=dtype)
    found = {name: optics.sel(band=name, drop=True) for name in OPTICS}
    return {**found, "LST": coded(scene.heat(gsd=gsd), *C2_KELVIN, dtype=dtype)}


def scl(scene: Scene, *, gsd=10.0, dtype="uint8") -> xr.DataArray:
    clouds = scene.clouds(S2, gsd=gsd)
    classes = xr.where(clouds > 0, 9.0, 4.0).where(clouds.notnull())
    return classes.astype(dtype) if np.dtype(dtype).kind == "f" else classes.fillna(0).astype(dtype)


def qa_pixel(scene: Scene, *, gsd=30.0, dtype="uint16") -> xr.DataArray:
    """Return 21824 clear, 22280 cloud, 1 fill, as Collection 2 has them."""
    clouds = scene.clouds(LS, gsd=gsd)
    bits = xr.where(clouds > 0, 22280.0, 21824.0).where(clouds.notnull())
    return bits.astype(dtype) if np.dtype(dtype).kind == "f" else bits.fillna(1).astype(dtype)


def marked(mask: xr.DataArray, *, clear: int, cloud: int, fill: int, dtype="uint8"):
    return xr.where(mask > 0, cloud, clear).where(mask.notnull(), fill).astype(dtype)


def zeros(like: xr.DataArray) -> xr.DataArray:
    return (like * 0).astype("uint16")


# odc-stac -----------------------------------------------------------------------------------------

ODC = "odc-stac 0.5.3 (run on COGs of the ramp's grid with real items)"


def odc(arrays: Mapping[str, xr.DataArray], *, gsd: float, nodata: Mapping[str, int] | None = None):
    """Dataset as `odc.stac.load` returns it: no attrs but nodata, CRS in an int32 spatial_ref."""
    made = xr.Dataset({name: array.variable for name, array in arrays.items()})
    template = next(iter(arrays.values()))
    place = {
        name: (
            name,
            template[name].values,
            {"units": "metre", "resolution": step, "crs": "EPSG:32631"},
        )
        for name, step in (("y", -gsd), ("x", gsd))
    }
    made = made.assign_coords(
        **place,
        spatial_ref=((), np.int32(EPSG), crs_attrs(gsd)),
        time=("time", template["time"].values),
    )
    for name, array in made.data_vars.items():
        array.encoding["grid_mapping"] = "spatial_ref"
        array.attrs = {} if nodata is None or name not in nodata else {"nodata": nodata[name]}
    return made


def odc_s2(scene: Scene, names: Mapping[str, str], offsets, *, stated: bool, scl_name="SCL"):
    dtype = "uint16" if stated else "float32"
    numbers = s2_numbers(scene, offsets, dtype=dtype)
    arrays = {names[band]: numbers.sel(band=band, drop=True) for band in SENTINEL2.band_names}
    arrays[scl_name] = scl(scene, dtype="uint8" if stated else "float32")
    return odc(arrays, gsd=10.0, nodata=dict.fromkeys(arrays, 0) if stated else None)


ITSELF = {name: name for name in SENTINEL2.band_names}
EARTH_SEARCH = dict(
    zip(
        SENTINEL2.band_names,
        [
            "blue",
            "green",
            "red",
            "rededge1",
            "rededge2",
            "rededge3",
            "nir",
            "nir08",
            "swir16",
            "swir22",
        ],
        strict=True,
    )
)
CDSE = {name: f"{name}_{10 if name in {'B02', 'B03', 'B04', 'B08'} else 20}m" for name in ITSELF}
PC_LANDSAT = dict(
    zip(
        (*OPTICS, "LST"),
        ["coastal", "blue", "green", "red", "nir08", "swir16", "swir22", "lwir11"],
        strict=True,
    )
)


@layout(
    S2,
    f"{ODC}, Planetary Computer sentinel-2-l2a: items state no data type, so float32 with NaN",
    options={"scaling": "dn", "offset": SINCE_2022},
    may_refuse=ASK_SCALING,
)
def odc_planetary_s2(scene):
    return odc_s2(scene, ITSELF, SINCE_2022, stated=False)


@layout(
    S2,
    f"{ODC}, Planetary Computer with dtype='uint16', nodata=0 or a stac_cfg",
    options={"offset": SINCE_2022},
    may_refuse=ASK_OFFSET,
)
def odc_planetary_s2_uint16(scene):
    return odc_s2(scene, ITSELF, SINCE_2022, stated=True)


@layout(
    S2,
    f"{ODC}, Earth Search v0 sentinel-s2-l2a-cogs: no raster fields, offset removed",
    options={"scaling": "dn", "offset": 0.0},
    may_refuse=ASK_SCALING,
)
def odc_earth_search_v0(scene):
    return odc_s2(scene, ITSELF, REMOVED, stated=False)


@layout(
    S2,
    f"{ODC}, Earth Search v1 sentinel-2-l2a: earthsearch:boa_offset_applied is true",
    options={"offset": 0.0},
    may_refuse=ASK_OFFSET,
)
def odc_earth_search_v1(scene):
    return odc_s2(scene, EARTH_SEARCH, REMOVED, stated=True, scl_name="scl")


@layout(
    S2,
    f"{ODC}, Earth Search sentinel-2-c1-l2a: baseline 05.00 and later for every year",
    options={"offset": -0.1},
    may_refuse=ASK_OFFSET,
)
def odc_earth_search_c1(scene):
    return odc_s2(scene, EARTH_SEARCH, ALWAYS, stated=True, scl_name="scl")


@layout(
    S2,
    f"{ODC}, CDSE sentinel-2-l2a (STAC 1.1: raster:scale, raster:offset, nodata per asset; an item "
    "of baseline 05.12 in sentinel-hub/titiler-openeo 64951ded; offset in every year since "
    "Collection 1 replaced the older baselines, eu-cdse/documentation 311c469c)",
    options={"offset": -0.1},
    may_refuse=ASK_OFFSET,
)
def odc_cdse(scene):
    return odc_s2(scene, CDSE, ALWAYS, stated=True, scl_name="SCL_20m")


@layout(LS, f"{ODC}, Planetary Computer landsat-c2-l2: uint16, nodata 0, qa_pixel 1", heat=True)
def odc_planetary_landsat(scene):
    return _odc_landsat(scene, 30.0)


@layout(
    LS,
    f"{ODC}, like= the 10 m grid of Sentinel-2, nearest neighbour",
    heat=True,
    refused=r"30 m.*regrid=|regrid=",
    options={"regrid": "nested"},
)
def odc_landsat_on_10m(scene):
    thrice = np.arange(scene.size * 3) // 3
    fine = _odc_landsat(scene, 30.0).isel(y=thrice, x=thrice)
    arrays = {name: array.assign_coords(scene.grid(10.0)) for name, array in fine.items()}
    return odc(arrays, gsd=10.0, nodata=dict.fromkeys(PC_LANDSAT.values(), 0) | {"qa_pixel": 1})


def _odc_landsat(scene: Scene, gsd: float) -> xr.Dataset:
    arrays = {PC_LANDSAT[name]: array for name, array in landsat_numbers(scene, gsd=gsd).items()}
    arrays["qa_pixel"] = qa_pixel(scene, gsd=gsd)
    arrays["qa_radsat"] = zeros(arrays["qa_pixel"])
    return odc(arrays, gsd=gsd, nodata=dict.fromkeys(PC_LANDSAT.values(), 0) | {"qa_pixel": 1})


# stackstac ----------------------------------------------------------------------------------------

STACKSTAC = "stackstac 0.5.1, pystac 1.14, pandas 2.3 (run on COGs with real items)"
_WAVES = {band.name: band.center_wavelength for band in SENTINEL2.bands}


@dataclass(frozen=True)
class Spec:
    """stackstac's RasterSpec, an object in attrs that no format stores."""

    epsg: int
    bounds: tuple[float, float, float, float]
    resolutions_xy: tuple[float, float]


def stackstac(stack: xr.DataArray, *, gsd: float, coords: Mapping[str, Any], corner: bool = True):
    """DataArray as `stackstac.stack` returns it: pixels named by their upper left corners."""
    half = gsd / 2 if corner else 0.0
    size = stack.sizes["x"] * gsd
    bounds = (LEFT, TOP - size, LEFT + size, TOP)
    made = stack.assign_coords(
        x=stack["x"].values - half,
        y=stack["y"].values + half,
        id=("time", [f"item-{n}" for n in range(stack.sizes["time"])]),
        epsg=EPSG,
        **{"proj:epsg": EPSG, "proj:bbox": ((), _object(set(bounds))), "eo:cloud_cover": 12.5},
        **coords,
    )
    made.name = "stackstac-ac5db33aef93c42ab51a01925d142ba5"
    made.attrs = {
        "spec": Spec(EPSG, bounds, (gsd, gsd)),
        "crs": f"epsg:{EPSG}",
        "transform": Affine(gsd, 0, LEFT, 0, -gsd, TOP),
        "resolution": gsd,
    }
    return made


def _object(value: Any) -> np.ndarray:
    made = np.empty((), object)
    made[()] = value
    return made


def _objects(values: Sequence[Any]) -> np.ndarray:
    made = np.empty(len(values), object)
    made[:] = list(values)
    return made


def stackstac_s2(
    numbers: xr.DataArray, mask: xr.DataArray, names: Mapping[str, str], coords, **options
) -> xr.DataArray:
    labels = [*(names[n] for n in SENTINEL2.band_names), "SCL" if names is ITSELF else "scl"]
    stack = xr.concat([numbers, mask.astype(numbers.dtype).expand_dims(band=["scl"])], dim="band")
    stack = stack.assign_coords(band=labels).transpose("time", "band", "y", "x")
    common = [*(band.common_name for band in SENTINEL2.bands), None]
    waves = [*_WAVES.values(), None]
    coords = {
        "platform": "Sentinel-2B",
        "constellation": "Sentinel 2",
        "common_name": ("band", _objects(common)),
        "center_wavelength": ("band", _objects(waves)),
        "gsd": ("band", _objects([*(b.gsd for b in SENTINEL2.bands), 20])),
        "title": ("band", [f"Band {name}" for name in labels]),
        **coords,
    }
    return stackstac(stack, gsd=10.0, coords=coords, **options)


def _raster_bands(offset: float | None) -> tuple[str, np.ndarray]:
    """One dict per band where all items agree, None where they do not."""
    one = {"nodata": 0, "data_type": "uint16", "spatial_resolution": 10, "scale": 1e-4}
    found = None if offset is None else one | {"offset": offset}
    classes = {"nodata": 0, "data_type": "uint8", "spatial_resolution": 20}
    return ("band", _objects([*([found] * 10), classes]))


PC_BASELINES = {"s2:processing_baseline": ("time", list(BASELINES))}
V1_STATED = {
    "earthsearch:boa_offset_applied": ("time", [False, False, True, True]),
    "s2:processing_baseline": ("time", ["03.00", "03.00", "05.09", "05.09"]),
    "raster:bands": _raster_bands(None),
    "proj:code": f"EPSG:{EPSG}",
}
C1_STATED = {"s2:processing_baseline": "05.10", "raster:bands": _raster_bands(-0.1)}


@layout(
    S2,
    f"{STACKSTAC}, defaults, Planetary Computer: float64 DN with NaN, baseline along time",
    options={"scaling": "dn"},
    may_refuse=r"scaling=",
)
def stackstac_planetary_s2(scene):
    numbers = s2_numbers(scene, SINCE_2022, dtype="float64")
    return stackstac_s2(numbers, scl(scene, dtype="float64"), ITSELF, PC_BASELINES)


@layout(S2, f"{STACKSTAC}, rescale=False, dtype='uint16', fill_value=np.uint16(0)")
def stackstac_planetary_s2_uint16(scene):
    return stackstac_s2(s2_numbers(scene, SINCE_2022), scl(scene), ITSELF, PC_BASELINES)


@layout(
    S2,
    f"{STACKSTAC}, defaults, Earth Search v1: offset -0.1 taken off pixels that have it removed",
    options={"scaling": "physical", "offset": (0.0, 0.0, 0.1, 0.1)},
    may_refuse=r"offset",
)
def stackstac_earth_search_v1(scene):
    numbers = coded(scene.bands(S2), 1e-4, 0.0, dtype="float64")
    twice = numbers * 1e-4 + per_date(SINCE_2022)
    return stackstac_s2(twice, scl(scene, dtype="float64"), EARTH_SEARCH, V1_STATED)


@layout(S2, f"{STACKSTAC}, uint16, Earth Search v1: boa_offset_applied against baseline 05.09")
def stackstac_earth_search_v1_uint16(scene):
    return stackstac_s2(s2_numbers(scene, REMOVED), scl(scene), EARTH_SEARCH, V1_STATED)


@layout(S2, f"{STACKSTAC}, defaults, Earth Search Collection 1: reflectance, scale stated still")
def stackstac_earth_search_c1(scene):
    scaled = s2_numbers(scene, ALWAYS, dtype="float64") * 1e-4 - 0.1
    return stackstac_s2(scaled, scl(scene, dtype="float64"), EARTH_SEARCH, C1_STATED)


@layout(S2, f"{STACKSTAC}, uint16, Earth Search Collection 1: offset in every year")
def stackstac_earth_search_c1_uint16(scene):
    return stackstac_s2(s2_numbers(scene, ALWAYS), scl(scene), EARTH_SEARCH, C1_STATED)


def stackstac_landsat(scene: Scene, numbers: Mapping[str, xr.DataArray], qa: xr.DataArray):
    labels = [*PC_LANDSAT.values(), "qa_pixel", "qa_radsat"]
    layers = [*numbers.values(), qa, (qa * 0).fillna(0)]
    layers = [one.astype(qa.dtype) for one in layers]
    stack = xr.concat(layers, dim=pd.Index(labels, name="band")).transpose("time", "band", "y", "x")
    optical = {"nodata": 0, "data_type": "uint16", "spatial_resolution": 30}
    stated = [optical | {"scale": 2.75e-5, "offset": -0.2}] * 7
    stated += [optical | {"unit": "kelvin", "scale": 0.00341802, "offset": 149.0}]
    stated += [{"nodata": 1, "data_type": "uint16", "unit": "bit index"}, {"data_type": "uint16"}]
    return stackstac(
        stack,
        gsd=30.0,
        coords={
            "platform": "landsat-8",
            "instruments": ((), _object({"tirs", "oli"})),
            "raster:bands": ("band", _objects(stated)),
            "common_name": ("band", _objects([*PC_LANDSAT.values(), None, None])),
            "center_wavelength": (
                "band",
                _objects([*(b.center_wavelength for b in LANDSAT.all_bands), None, None]),
            ),
            "landsat:correction": "L2SP",
            "gsd": ("band", _objects([None] * 7 + [100, None, None])),
        },
    )


@layout(LS, f"{STACKSTAC}, defaults: reflectance and kelvin, qa_pixel float with NaN", heat=True)
def stackstac_planetary_landsat(scene):
    numbers = landsat_numbers(scene, dtype="float64")
    scaled = {n: a * C2_REFLECTANCE[0] + C2_REFLECTANCE[1] for n, a in numbers.items()}
    scaled["LST"] = numbers["LST"] * C2_KELVIN[0] + C2_KELVIN[1]
    return stackstac_landsat(scene, scaled, qa_pixel(scene, dtype="float64"))


@layout(LS, f"{STACKSTAC}, uint16: qa_pixel's fill becomes 0 too", heat=True)
def stackstac_planetary_landsat_uint16(scene):
    qa = qa_pixel(scene)
    return stackstac_landsat(scene, landsat_numbers(scene), qa.where(qa != 1, 0).astype("uint16"))


# cubo, xee, Earth Engine --------------------------------------------------------------------------


def cubo(scene: Scene, *, corner: bool) -> xr.DataArray:
    """stackstac's cube without its attrs, and with cubo's own."""
    numbers, mask = s2_numbers(scene, SINCE_2022, dtype="float64"), scl(scene, dtype="float64")
    made = stackstac_s2(numbers, mask, ITSELF, PC_BASELINES, corner=corner)
    count = made.sizes["x"]
    made.name = "sentinel-2-l2a"
    made.attrs = {
        "collection": "sentinel-2-l2a",
        "stac": "https://planetarycomputer.microsoft.com/api/stac/v1",
        "epsg": EPSG,
        "resolution": 10,
        "edge_size": count,
        "edge_size_m": count * 10,
        "central_y": TOP - count * 5,
        "central_x": LEFT + count * 5,
        "time_coverage_start": "2021-06-01",
        "time_coverage_end": "2022-06-30",
    }
    y, x = (scene.grid(10.0)[n] for n in "yx")
    far = np.hypot(*np.meshgrid(x - made.attrs["central_x"], y - made.attrs["central_y"]))
    return made.assign_coords({"cubo:distance_from_center": (("y", "x"), far)})


CUBO = "cubo 2026.10.1 (source read; stackstac 0.5.1 below it)"


@layout(
    S2,
    f"{CUBO}, xy_coords='center'",
    options={"scaling": "dn"},
    may_refuse=r"scaling=",
)
def cubo_center(scene):
    return cubo(scene, corner=False)


@layout(
    S2,
    f"{CUBO}, defaults: upper left corners, and no transform that says so",
    options={"scaling": "dn"},
    may_refuse=r"scaling=|corner|cent(er|re)|regrid=",
    hopeless=True,
)
def cubo_topleft(scene):
    return cubo(scene, corner=True)


def xee(arrays: Mapping[str, xr.DataArray], *, gsd: float, types: Mapping[str, str]) -> xr.Dataset:
    """Dataset as xee opens it: float32, (time, X, Y), pixel size in encoding['scale_factor']."""
    made = xr.Dataset(
        {name: array.astype("float32").variable for name, array in arrays.items()},
        coords={name: next(iter(arrays.values()))[name] for name in ("time", "y", "x")},
    )
    made = made.drop_vars("band", errors="ignore").rename(x="X", y="Y").transpose("time", "X", "Y")
    for name, array in made.data_vars.items():
        array.attrs = {
            "id": name,
            "data_type": str({"type": "PixelType", "precision": "int", "min": 0, "max": 65535}),
            "dimensions": str([10980, 10980]),
            "crs": "EPSG:32631",
            "crs_transform": str([gsd, 0, 499980, 0, -gsd, 5000010]),
        }
        array.encoding = {
            "source": name,
            "scale_factor": gsd,
            "scale_units": "metre",
            "dtype": np.dtype("float32"),
            "preferred_chunks": {"time": 48, "X": 512, "Y": 256},
            "bounds": (LEFT, TOP - made.sizes["Y"] * gsd, LEFT + made.sizes["X"] * gsd, TOP),
        }
    return made.assign_attrs(
        id=types["collection"], coordinates="time X Y", crs="EPSG:32631", title=types["title"]
    )


EE = {name: name.replace("B0", "B") for name in SENTINEL2.band_names}
EE_LANDSAT = {name: name.replace("B0", "SR_B") for name in OPTICS} | {"LST": "ST_B10"}
XEE = "xee 0.0.20 (source read)"


@layout(
    S2,
    f"{XEE}, COPERNICUS/S2_SR_HARMONIZED: DN without offset",
    options={"scaling": "dn", "offset": 0.0},
    may_refuse=ASK_SCALING,
)
def xee_s2_harmonized(scene):
    numbers = s2_numbers(scene, REMOVED, dtype="float32")
    arrays = {EE[band]: numbers.sel(band=band) for band in SENTINEL2.band_names}
    arrays["SCL"] = scl(scene, dtype="float32")
    says = {"collection": "COPERNICUS/S2_SR_HARMONIZED", "title": "Harmonized Sentinel-2 MSI"}
    return xee(arrays, gsd=10.0, types=says)


@layout(
    LS,
    f"{XEE}, LANDSAT/LC08/C02/T1_L2",
    options={"scaling": "dn"},
    may_refuse=r"scaling=",
    heat=True,
)
def xee_landsat(scene):
    numbers = landsat_numbers(scene, dtype="float32")
    arrays = {EE_LANDSAT[name]: array for name, array in numbers.items()}
    arrays["QA_PIXEL"] = qa_pixel(scene, dtype="float32")
    says = {"collection": "LANDSAT/LC08/C02/T1_L2", "title": "USGS Landsat 8 Level 2"}
    return xee(arrays, gsd=30.0, types=says)


@layout(
    S2,
    "xee 0.1.2 (source read), COPERNICUS/S2_SR_HARMONIZED: (time, y, x), no bounds, no units",
    options={"scaling": "dn", "offset": 0.0},
    may_refuse=ASK_SCALING,
)
def xee_0_1_s2(scene):
    made = xee_s2_harmonized(scene).rename(X="x", Y="y").transpose("time", "y", "x")
    for array in made.data_vars.values():
        array.encoding = {k: array.encoding[k] for k in ("source", "scale_factor", "dtype")}
    return made


# Files by rioxarray -------------------------------------------------------------------------------

RIO = "rioxarray 0.19"


def rio(array: xr.DataArray, *, gsd: float, attrs: Mapping[str, Any]) -> xr.DataArray:
    """DataArray as `open_rasterio` gives it, dates put together by the user."""
    array = array.drop_vars("band", errors="ignore")
    array = array.assign_coords(spatial_ref=((), 0, crs_attrs(gsd)))
    array.attrs = dict(attrs)
    array.encoding = {"grid_mapping": "spatial_ref", "rasterio_dtype": str(array.dtype)}
    return array


def rio_stack(layers: Sequence[xr.DataArray], names: Sequence[str], *, gsd: float, **attrs: Any):
    """One file of many bands: numbered, their descriptions in long_name."""
    stack = xr.concat([one.drop_vars("band", errors="ignore") for one in layers], dim="band")
    stack = rio(
        stack.transpose("time", "band", "y", "x"),
        gsd=gsd,
        attrs={"AREA_OR_POINT": "Area", **attrs, "long_name": tuple(names)},
    )
    return stack.assign_coords(band=np.arange(1, len(names) + 1))


def each(stack: xr.DataArray) -> list[xr.DataArray]:
    return [stack.sel(band=band) for band in stack["band"].values]


PLAIN = {"scale_factor": 1.0, "add_offset": 0.0}
"""What rioxarray states of files that state nothing."""


@layout(
    LS, f"{RIO}, USGS C2 L2 files SR_B1.TIF ... QA_RADSAT.TIF: nothing stated but fill", heat=True
)
def usgs_landsat_files(scene):
    arrays = {EE_LANDSAT[name]: array for name, array in landsat_numbers(scene).items()}
    arrays["QA_PIXEL"] = qa_pixel(scene)
    arrays["QA_RADSAT"] = zeros(arrays["QA_PIXEL"])
    fills = {"QA_PIXEL": {"_FillValue": 1}, "QA_RADSAT": {}}
    area = {"AREA_OR_POINT": "Point", **PLAIN}
    return {
        name: rio(array, gsd=30.0, attrs=area | fills.get(name, {"_FillValue": 0})).expand_dims(
            band=[1], axis=1
        )
        for name, array in arrays.items()
    }


def _c2_stack(scene: Scene, *, dtype="uint16") -> list[xr.DataArray]:
    return each(coded(scene.bands(LS), *C2_REFLECTANCE, dtype=dtype))


STATED_C2 = {"scale_factor": 2.75e-5, "add_offset": -0.2}


@layout(LS, f"{RIO}, open_rasterio of a stack that states scale and offset", masked=False)
def rio_landsat(scene):
    return rio_stack(_c2_stack(scene), OPTICS, gsd=30.0, _FillValue=0, **STATED_C2)


@layout(
    LS,
    f"{RIO}, masked=True: float32 numbers, scale and offset stated and not applied",
    masked=False,
    options={"scaling": "stated"},
    may_refuse=r"scaling=",
)
def rio_landsat_masked(scene):
    made = rio_stack(_c2_stack(scene, dtype="float32"), OPTICS, gsd=30.0, **STATED_C2)
    made.encoding.update(dtype="uint16", _FillValue=0.0)
    return made


@layout(
    LS, f"{RIO}, mask_and_scale=True: applied, scale and offset in encoding alone", masked=False
)
def rio_landsat_scaled(scene):
    layers = [
        (one * np.float32(2.75e-5) + np.float32(-0.2)).astype("float32")
        for one in _c2_stack(scene, dtype="float32")
    ]
    made = rio_stack(layers, OPTICS, gsd=30.0)
    made.encoding.update(dtype="uint16", _FillValue=0.0, **STATED_C2)
    return made


@layout(LS, f"{RIO}, scaled by hand under xarray 2026.9: attrs of the integers stay", masked=False)
def rio_landsat_by_hand(scene):
    layers = [one * 2.75e-5 - 0.2 for one in _c2_stack(scene, dtype="float64")]
    return rio_stack(layers, OPTICS, gsd=30.0, _FillValue=0, **STATED_C2)


@layout(LS, f"{RIO}, band_as_variable=True: band_1 ..., their names in long_name", masked=False)
def rio_landsat_variables(scene):
    arrays = {
        f"band_{n}": rio(one, gsd=30.0, attrs={"_FillValue": 0, **STATED_C2, "long_name": name})
        for n, (one, name) in enumerate(zip(_c2_stack(scene), OPTICS, strict=True), start=1)
    }
    return xr.Dataset(arrays).assign_attrs(AREA_OR_POINT="Area")


@layout(
    LS, f"{RIO}, one file of reflectance and temperature: scales and offsets as tuples", heat=True
)
def rio_landsat_lists(scene):
    layers = [*_c2_stack(scene), coded(scene.heat(), *C2_KELVIN), qa_pixel(scene)]
    names = [*EE_LANDSAT.values(), "QA_PIXEL"]
    lists = {
        "scales": (*[C2_REFLECTANCE[0]] * 7, C2_KELVIN[0], 1.0),
        "offsets": (*[C2_REFLECTANCE[1]] * 7, C2_KELVIN[1], 0.0),
    }
    return rio_stack(layers, names, gsd=30.0, _FillValue=0, **lists)


@layout(
    S2,
    f"Earth Engine Export.image of S2_SR_HARMONIZED, {RIO}: uint16, masked pixels 0, no nodata "
    "(names, scale 1e-4 and offset 0: ee_extra 2025.7.2; the fill 0 from memory)",
    options={"offset": 0.0},
    may_refuse=ASK_OFFSET,
)
def gee_export(scene):
    layers = [*each(s2_numbers(scene, REMOVED)), scl(scene, dtype="uint16")]
    return rio_stack(layers, [*EE.values(), "SCL"], gsd=10.0, **PLAIN)


FORCE_S2 = dict(
    zip(
        SENTINEL2.band_names,
        [
            "BLUE",
            "GREEN",
            "RED",
            "REDEDGE1",
            "REDEDGE2",
            "REDEDGE3",
            "BROADNIR",
            "NIR",
            "SWIR1",
            "SWIR2",
        ],
        strict=True,
    )
)
FORCE = f"davidfrantz/force 19187bca (level2/format.rst), 22af3da5 (meta-ll.c), {RIO}"


def _force(scene: Scene, sensor: str, names: Sequence[str]) -> list[xr.DataArray]:
    return each(coded(scene.bands(sensor, names), 1e-4, 0.0, nodata=-9999, dtype="int16"))


@layout(S2, f"{FORCE}: BOA stack, int16, -9999, x 10000; NIR is B8A", masked=False, whole_days=True)
def force_s2(scene):
    layers = _force(scene, S2, SENTINEL2.band_names)
    return _at_midnight(
        rio_stack(layers, list(FORCE_S2.values()), gsd=10.0, _FillValue=-9999, **PLAIN)
    )


@layout(S2, f"{FORCE}: BOA and QAI (bits 1-2 cloud, 3 shadow, 0 no data; fill 1)", whole_days=True)
def force_s2_qai(scene):
    """A variable per band, and the quality bits beside them."""
    layers = _force(scene, S2, SENTINEL2.band_names)
    attrs = {"_FillValue": -9999, **PLAIN}
    arrays = {
        name: rio(one, gsd=10.0, attrs=attrs)
        for name, one in zip(FORCE_S2.values(), layers, strict=True)
    }
    bits = marked(scene.clouds(S2), clear=0, cloud=0b100, fill=1, dtype="int16")
    arrays["QAI"] = rio(bits, gsd=10.0, attrs={"_FillValue": 1, **PLAIN})
    return _at_midnight(xr.Dataset(arrays))


@layout(
    LS,
    f"{FORCE}: six bands BLUE ... SWIR2, no coastal, no thermal",
    bands=OPTICS[1:],
    masked=False,
    whole_days=True,
)
def force_landsat(scene):
    names = ["BLUE", "GREEN", "RED", "NIR", "SWIR1", "SWIR2"]
    layers = _force(scene, LS, OPTICS[1:])
    return _at_midnight(rio_stack(layers, names, gsd=30.0, _FillValue=-9999, **PLAIN))


def _at_midnight(data: Any) -> Any:
    return data.assign_coords(time=data["time"].dt.floor("D"))


HLS = (
    "NASA-IMPACT/hls-hdf_to_cog e65d4306 (names), hls-vi 60df86dd (a granule's scales and fills) "
    f"and 096158ca (bits), {RIO}"
)
HLS_TAGS = {
    "LANDSAT_PRODUCT_ID": "LC08_L1TP_069014_20240429_20240430_02_RT",
    "HLS_PROCESSING_TIME": "2024-05-01T13:24:46Z",
    "ACCODE": "LaSRC v3.0.5",
}
HLS_STATED = {"_FillValue": -9999, "scale_factor": 1e-4, "add_offset": 0.0}


def _hls(scene: Scene, sensor: str, names: Sequence[str]) -> dict[str, xr.DataArray]:
    true = scene.bands(sensor, names, gsd=30.0)
    layers = each(coded(true, 1e-4, 0.0, nodata=-9999, dtype="int16"))
    found = {
        name: rio(one, gsd=30.0, attrs={"AREA_OR_POINT": "Area", **HLS_STATED, "long_name": name})
        for name, one in zip(names, layers, strict=True)
    }
    mask = marked(scene.clouds(sensor, gsd=30.0), clear=64, cloud=66, fill=255)
    return {**found, "Fmask": rio(mask, gsd=30.0, attrs={"_FillValue": 255, **PLAIN})}


@layout(
    LS,
    f"{HLS}, L30: int16, -9999, x 1e-4; B10, B11 are brightness temperature in 0.01 degC; Fmask",
    heat=None,
)
def hls_l30(scene):
    arrays = _hls(scene, LS, OPTICS)
    celsius = coded(scene.heat() - 273.15, 0.01, 0.0, nodata=-9999, dtype="int16")
    stated = {**HLS_STATED, "scale_factor": 0.01}
    warm = {n: rio(celsius, gsd=30.0, attrs={**stated, "long_name": n}) for n in ("B10", "B11")}
    return xr.Dataset({**arrays, **warm}).assign_attrs(AREA_OR_POINT="Area")


@layout(
    LS,
    f"{HLS}, L30 of which the bands state no scale (nasa/HLS-Data-Resources 09734cef), all tags",
    heat=None,
)
def hls_l30_unscaled(scene):
    arrays = _hls(scene, LS, OPTICS)
    for array in arrays.values():
        array.attrs.update(HLS_TAGS, **PLAIN)
    warm = coded(scene.heat() - 273.15, 0.01, 0.0, nodata=-9999, dtype="int16")
    attrs = {"_FillValue": -9999, **PLAIN, **HLS_TAGS}
    return {**arrays, **{name: rio(warm, gsd=30.0, attrs=attrs) for name in ("B10", "B11")}}


@layout(
    S2,
    f"{HLS}, S30: Sentinel-2 on the 30 m grid, names of Sentinel-2",
    refused=r"regrid=",
    options={"regrid": "nested"},
    loose=True,
)
def hls_s30(scene):
    return xr.Dataset(_hls(scene, S2, SENTINEL2.band_names))


# Others -------------------------------------------------------------------------------------------

OPENEO = (
    "real files of the Geotrellis backend 0.39 (WorldCereal, openeo-gfmap); it takes the offset "
    "out (Open-EO/openeo-geopyspark-driver, issue 1051)"
)


def _openeo(scene: Scene, names: Mapping[str, str]) -> xr.Dataset:
    """As `xr.open_dataset` opens the netCDF: `crs` is a variable, dates are days, no attrs."""
    numbers = s2_numbers(scene, REMOVED)
    arrays = {names[band]: numbers.sel(band=band, drop=True) for band in SENTINEL2.band_names}
    arrays["S2-L2A-SCL" if names is not ITSELF else "SCL"] = scl(scene, dtype="uint16")
    made = xr.Dataset({name: array.variable for name, array in arrays.items()})
    made = made.assign_coords({n: numbers[n].values for n in ("time", "y", "x")})
    for name, array in made.data_vars.items():
        array.attrs = {"long_name": str(name), "units": ""}
        array.encoding = {"dtype": np.dtype("int16"), "grid_mapping": "crs"}
    wkt = crs_attrs(10.0)["crs_wkt"]
    made["crs"] = ((), np.array(b"", "S1"), {"crs_wkt": wkt, "spatial_ref": wkt})
    made = _at_midnight(made).rename(time="t")
    return made.assign_attrs(
        Conventions="CF-1.9", institution="openEO platform - Geotrellis backend: 0.39.0a1"
    )


@layout(
    S2,
    f"{OPENEO}: B02 ..., t, y, x; uint16 by _Unsigned, crs a variable; offset removed",
    options={"offset": 0.0},
    may_refuse=ASK_OFFSET,
    whole_days=True,
)
def openeo_netcdf(scene):
    return _openeo(scene, ITSELF)


@layout(
    S2,
    f"{OPENEO}: names S2-L2A-B02 ... (openeo_gfmap 0.4.9)",
    options={"offset": 0.0},
    may_refuse=r"offset=|harmonized=|rename",
    whole_days=True,
)
def openeo_gfmap_netcdf(scene):
    return _openeo(scene, {name: f"S2-L2A-{name}" for name in ITSELF})


EOPF = (
    "EOPF Zarr sample service (metadata of products in EOPF-Explorer/data-model 552dffec): "
    "measurements/reflectance/r10m/b02 ..., r20m/b05 ...; uint16, fill 0, scale_factor 1e-4, "
    "add_offset -0.1, units digital_counts, proj:epsg and proj:transform in attrs, no time"
)


def _eopf(scene: Scene, *, decoded: bool, placed: bool = True) -> dict[str, xr.DataArray]:
    stated = {"scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0}
    found = {}
    for band in SENTINEL2.bands:
        dtype = "float64" if decoded else "uint16"
        names = (band.name,)
        array = s2_numbers(scene, ALWAYS, dtype=dtype, gsd=band.gsd, names=names)
        array = array.isel(band=0, drop=True)
        array = array * 1e-4 - 0.1 if decoded else array
        array.attrs = {
            "long_name": f"BOA reflectance from MSI acquisition at spectral band {band.name}",
            "units": "digital_counts",
            "valid_min": 1,
            "valid_max": 65535,
            "dtype": "<u2",
            "fill_value": 0,
            **({} if decoded else stated),
        }
        if placed:
            array.attrs["proj:epsg"] = EPSG
            array.attrs["proj:transform"] = [band.gsd, 0.0, LEFT, 0.0, -band.gsd, TOP]
        array.encoding = {"dtype": np.dtype("uint16"), **stated} if decoded else {}
        found[band.name.lower()] = array
    found["scl"] = scl(scene, gsd=20.0).assign_attrs(dtype="|u1")
    if placed:
        found["scl"].attrs["proj:epsg"] = EPSG
    return found


@layout(S2, f"{EOPF}; decoded by xarray: reflectance that still says digital_counts", loose=True)
def eopf_zarr(scene):
    return _eopf(scene, decoded=True)


@layout(S2, f"{EOPF}; mask_and_scale=False", loose=True)
def eopf_zarr_packed(scene):
    return _eopf(scene, decoded=False)


@layout(
    S2,
    f"{EOPF}; Zarr 3 of 2026, whose arrays say nothing of the CRS",
    loose=True,
    always={"crs": f"EPSG:{EPSG}"},
)
def eopf_zarr_3(scene):
    return _eopf(scene, decoded=False, placed=False)


LS2S2 = "LS2S2 (spec: int16, -10000, x 10000, kelvin x 10), files put together by the user"


@layout(S2, LS2S2, masked=False, whole_days=True)
def ls2s2_s2(scene):
    true = scene.bands(S2)
    numbers = coded(true, 1e-4, 0.0, nodata=-10000, dtype="int16")
    return _at_midnight(
        rio_stack(each(numbers), SENTINEL2.band_names, gsd=10.0, _FillValue=-10000, **PLAIN)
    )


@layout(LS, LS2S2, masked=False, heat=True, whole_days=True)
def ls2s2_landsat(scene):
    layers = each(coded(scene.bands(LS), 1e-4, 0.0, nodata=-10000, dtype="int16"))
    layers.append(coded(scene.heat(), 0.1, 0.0, nodata=-10000, dtype="int16"))
    names = [*OPTICS, "LST"]
    return _at_midnight(rio_stack(layers, names, gsd=30.0, _FillValue=-10000, **PLAIN))


DEA = (
    "GeoscienceAustralia/dea-config, odc-product.yaml of ga_s2cm_ard_3 (8ec083e1) and of "
    "ga_ls8c_ard_3 (22341bf8)"
)


def _dea(arrays: Mapping[str, xr.DataArray], mask: xr.DataArray, *, gsd: float) -> xr.Dataset:
    made = odc({**arrays, "oa_fmask": mask}, gsd=gsd)
    made = made.assign_coords(spatial_ref=((), np.int32(EPSG), crs_attrs(gsd)))
    for name, array in made.data_vars.items():
        nodata = 0 if name == "oa_fmask" else -999
        array.attrs = {
            "units": "1",
            "nodata": nodata,
            "crs": f"EPSG:{EPSG}",
            "grid_mapping": "spatial_ref",
        }
    return made.assign_attrs(crs=f"EPSG:{EPSG}", grid_mapping="spatial_ref")


DEA_S2 = dict(
    zip(
        SENTINEL2.band_names,
        [
            "blue",
            "green",
            "red",
            "red_edge_1",
            "red_edge_2",
            "red_edge_3",
            "nir_1",
            "nir_2",
            "swir_2",
            "swir_3",
        ],
        strict=True,
    )
)
DEA_LANDSAT = dict(
    zip(OPTICS, ["coastal_aerosol", "blue", "green", "red", "nir", "swir_1", "swir_2"], strict=True)
)


@layout(S2, f"{DEA}: nbart_*, int16, -999, x 10000; swir_2 is B11, swir_3 is B12; oa_fmask")
def dea_s2(scene):
    numbers = coded(scene.bands(S2), 1e-4, 0.0, nodata=-999, dtype="int16")
    arrays = {f"nbart_{DEA_S2[n]}": numbers.sel(band=n, drop=True) for n in SENTINEL2.band_names}
    return _dea(arrays, marked(scene.clouds(S2), clear=1, cloud=2, fill=0), gsd=10.0)


@layout(LS, f"{DEA}: nbart_*, int16, -999, x 10000; oa_fmask")
def dea_landsat(scene):
    numbers = coded(scene.bands(LS), 1e-4, 0.0, nodata=-999, dtype="int16")
    arrays = {f"nbart_{DEA_LANDSAT[n]}": numbers.sel(band=n, drop=True) for n in OPTICS}
    return _dea(arrays, marked(scene.clouds(LS), clear=1, cloud=2, fill=0), gsd=30.0)


@layout(LS, f"{DEA}: loaded by aliases, of which fmask is HLS's name too")
def dea_landsat_aliases(scene):
    return dea_landsat(scene).rename(oa_fmask="fmask")
