"""What a latent cube takes of room and time, and what its rounding costs.

``python -m benchmarks.latent`` makes a product of a simulated year, and of a year of the real pair
(where the shared folder is), encodes the cube in each type, and decodes the same dates: bytes of
the stores, seconds of the jobs, differences of the bands (some minutes on two cores).
``--figure docs/latent.png`` draws a date fused, decoded and their difference.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import tamrf_xr
from benchmarks.harness import Row, finish, in_turns, parse, show
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.scale.tokens import GROUP
from tamrf_xr.simulate import draw_config, simulate

SEED, YEAR = 9_000_001, 2022
REAL_YEAR = 2018
TYPES = ("int8", "bfloat16", "float32")
IMAGES = ("reflectance", "surface_temperature", "valid", "tokens")
BANDS = ("sentinel2/reflectance", "landsat/reflectance", "landsat/surface_temperature")


def main(arguments: list[str] | None = None) -> Row:
    """Measure each cube, print, keep, draw."""
    options = parse(
        __doc__, arguments, edge=(60, 24), dates=(25, 2), thin=(1, 12), turns=(2, 1),
        cubes=(("simulated", "real"), ("simulated",)), figure=("", ""),
    )  # fmt: skip
    found = {}
    makers = {"simulated": simulated, "real": real}
    for name in options.cubes:
        make = makers[name]
        with tempfile.TemporaryDirectory() as folder:
            cube = _cut(make(Path(folder), options.edge), options.edge, options.thin)
            if cube is None:
                print(f"{name}: not there")
                continue
            figure = Path(options.figure) if options.figure and name == "simulated" else None
            found[name] = measured(cube, Path(folder), options, figure)
        show(found[name])
    about = {"edge_px": options.edge, "query dates": options.dates}
    return finish("latent", about | found, options)


def simulated(_: Path, edge: int) -> xr.DataTree:
    """Return a year of a simulated scene."""
    return simulate(draw_config(SEED, size_px=max(edge, 30), year=YEAR)).cube


def real(folder: Path, _: int) -> xr.DataTree | None:
    """Return a year of the pair of Kortrijk; None where it is not."""
    from studies.real_pair import write_real_pair
    from studies.shared import shared
    from tamrf_xr.ingest.ls2s2 import from_ls2s2

    try:
        shared("real/pair_31UDS")
    except FileNotFoundError:
        return None
    cube = from_ls2s2(write_real_pair(folder / "31UDS"))
    year = slice(f"{REAL_YEAR}-01-01", f"{REAL_YEAR}-12-31")
    return build_cube({n: g.sel(time=year) for n, g in groups_of(cube).items()})


def _cut(cube: xr.DataTree | None, edge: int, thin: int) -> xr.DataTree | None:
    """Cut a cube to a square, and keep one acquisition of so many."""
    if cube is None:
        return None
    groups = {}
    for name, group in groups_of(cube).items():
        side = slice(edge // (3 if name == "landsat" else 1))
        groups[name] = group.isel(y=side, x=side, time=slice(None, None, thin))
    return build_cube(groups)


def measured(cube: xr.DataTree, folder: Path, options: Any, figure: Path | None) -> Row:
    """Store, fuse, encode and decode a cube; return bytes, seconds and differences."""
    stores = {name: folder / f"{name}.zarr" for name in ("cube", "product", "decoded", *TYPES)}
    tamrf_xr.save_cube(cube, stores["cube"])
    given = tamrf_xr.open_cube(stores["cube"])
    days = pd.DatetimeIndex(groups_of(cube)["sentinel2"]["time"].values)
    dates = pd.date_range(days[0], days[-1], periods=options.dates).floor("D")
    how: dict[str, Any] = {"progress": False, "overwrite": True, "window": None}

    def encode(kind: str) -> Row:
        return _timed(tamrf_xr.encode_job, given, stores[kind], dtype=kind, **how)

    def decode(kind: str) -> Row:
        latent = tamrf_xr.open_latent(stores[kind])
        return _timed(
            tamrf_xr.decode_job, latent, stores["decoded"], dates, progress=False, overwrite=True
        )

    encoded = {f"encode {kind}": encode(kind) for kind in TYPES}
    ways = {"fuse": partial(_timed, tamrf_xr.run_job, given, stores["product"], dates, **how)}
    ways |= {f"decode {kind}": partial(decode, kind) for kind in TYPES}
    spent = encoded | in_turns(ways, turns=options.turns)
    fused = given.tamrf.fuse(dates, window=None).compute()
    exact = _decoded(stores["float32"], dates)
    rows: Row = {
        "acquisitions": _acquisitions(cube),
        "bytes a pixel": {name: _bytes(stores[name]) / options.edge**2 for name in stores},
        "seconds": {way: row["seconds"] for way, row in spent.items()},
        "seconds of cores": {way: row["cores"] for way, row in spent.items()},
        "fuse / decode, seconds": _speedup(spent, "seconds"),
        "fuse / decode, seconds of cores": _speedup(spent, "cores"),
        "float32 against fuse": _differences(_values(fused), exact),
    }
    for kind in ("int8", "bfloat16"):
        rows[f"{kind} against float32"] = _differences(exact, _decoded(stores[kind], dates))
    rows["ratio of bytes"] = {
        f"{kind} / {name}": rows["bytes a pixel"][kind] / rows["bytes a pixel"][name]
        for kind in TYPES
        for name in ("cube", "product")
    }
    tokens = tamrf_xr.open_latent(stores["int8"])[GROUP].to_dataset()["tokens"]
    rows["int8"] = {
        "a pixel, not compressed": tokens.sizes["acquisition"] * tokens.sizes["channel"],
        # Those that were clipped, and few others.
        "share at either end": float((np.abs(tokens.values) == 127).mean()),
    }
    if figure:
        decoded = tamrf_xr.open_latent(stores["int8"]).tamrf.decode(dates)
        draw(fused, decoded.compute(), figure)
    return rows


def _timed(job: Callable[..., Any], *arguments: Any, **how: Any) -> Row:
    """Run a job; what it took by the clock, and of the cores, which other work does not add to."""
    start, cores = time.perf_counter(), time.process_time()
    summary = job(*arguments, **how)
    if summary.failed:
        raise RuntimeError(str(summary))
    return {"seconds": time.perf_counter() - start, "cores": time.process_time() - cores}


def _speedup(spent: Mapping[str, Row], what: str) -> dict[str, float]:
    return {kind: spent["fuse"][what] / spent[f"decode {kind}"][what] for kind in TYPES}


def _acquisitions(cube: xr.DataTree) -> dict[str, int]:
    return {name: group.sizes["time"] for name, group in groups_of(cube).items()}


def _bytes(store: Path) -> int:
    """Return the bytes of images: files of chunks below their arrays."""
    images = (array for name in IMAGES for array in store.rglob(name))
    return sum(
        f.stat().st_size for array in images for f in (array / "c").rglob("*") if f.is_file()
    )


def _values(product: xr.DataTree) -> dict[str, np.ndarray]:
    return {path: _array(product, path).values for path in BANDS}


def _array(product: xr.DataTree, path: str) -> xr.DataArray:
    group, _, name = path.partition("/")
    return product[group].to_dataset()[name]


def _decoded(store: Path, dates: pd.DatetimeIndex) -> dict[str, np.ndarray]:
    return _values(tamrf_xr.open_latent(store).tamrf.decode(dates).compute())


def _differences(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> Row:
    """Return RMS and largest difference of reflectance, and of temperature in kelvin."""
    off = {path: other[path] - one[path] for path in BANDS}
    groups = {"reflectance": BANDS[:2], "temperature, K": BANDS[2:]}
    row = {}
    for name, paths in groups.items():
        values = np.concatenate([off[path].ravel() for path in paths])
        row[f"{name}, RMS"] = float(np.sqrt(np.mean(values**2)))
        row[f"{name}, largest"] = float(np.abs(values).max())
    return row


def draw(fused: xr.DataTree, decoded: xr.DataTree, path: Path) -> None:
    """Draw three dates fused, decoded, and how far they are apart."""
    from matplotlib.figure import Figure

    times = _array(fused, BANDS[0])["time"].values
    chosen = [len(times) // 4, len(times) // 2, 3 * len(times) // 4]
    figure = Figure(figsize=(8, 8.6), layout="constrained")
    panels = figure.subplots(3, len(chosen))
    last: Any = None
    for column, at in enumerate(chosen):
        images = [
            _array(product, BANDS[0]).sel(band=["B04", "B03", "B02"]).isel(time=at).values
            for product in (fused, decoded)
        ]
        for row, image in enumerate(images):
            panels[row, column].imshow(np.clip(np.moveaxis(image, 0, -1) / 0.25, 0, 1))
        off = np.abs(images[1] - images[0]).max(axis=0)
        last = panels[2, column].imshow(off, vmin=0, vmax=0.002, cmap="magma")
        panels[0, column].set_title(str(times[at])[:10])
    for row, name in enumerate(("fused", "decoded from int8", "difference, largest of 3 bands")):
        panels[row, 0].set_ylabel(name)
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[])
    bar: dict[str, Any] = {"location": "bottom", "shrink": 0.5, "ticks": [0, 0.001, 0.002]}
    figure.colorbar(last, ax=panels.ravel().tolist(), label="reflectance", **bar)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
