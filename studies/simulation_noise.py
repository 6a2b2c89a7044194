"""How clear dates a few days apart differ, by scale: simulated scenes held against real series.

``python -m studies.simulation_noise --real FOLDER [--seeds 24]``
``--tiny``: a test-sized run, kept nowhere

What differs within six days is mostly not the land: sun and view, atmosphere, registration, noise.
Half the mean squared difference is the variance of one date, here as its root and in three parts:
the shift of the whole image, what is coarser than 60 m, what is finer. A network that is taught
where a part is too small believes it, and averages where it is too large.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.harness import keep
from studies import RESULTS
from tamrf_xr.sensors import SENSORS
from tamrf_xr.simulate import draw_config, simulate

PARTS = ("whole image", "60 m and coarser", "finer than 60 m")

Table = dict[str, dict[str, float]]
"""By part, then by band: roots of variances, x 1e-4."""


def _table(bands: str, *rows: str) -> Table:
    return {
        part: dict(zip(bands.split(), map(float, row.split()), strict=True))
        for part, row in zip(PARTS, rows, strict=True)
    }


PAIR = _table(
    "B02 B03 B04 B05 B06 B07 B08 B8A B11 B12",
    "190 171 162 188 291 346 378 370 258 211",
    "166 160 172 184 245 300 315 314 235 216",
    " 87 101 120  84 148 188 251 198 126 103",
)
"""Of Sentinel-2 over 31UDS: 34 pairs of dates, x 1e-4."""

PAIR_LANDSAT = _table(
    "B02 B03 B04 B05 B06 B07", " 17 25 27 110 49 71", " 32 31 39 102 65 50", " 34 38 46 85 71 60"
)
"""Of Landsat over 31UDS, x 1e-4: of four pairs of dates alone, all in summer."""

ELSEWHERE = _table(
    "B02 B04 B05 B08 B8A B11 B12",
    "122 156 219 396 422 350 254",
    "118 163 183 461 454 296 259",
    " 99 135 108 307 253 143 129",
)
"""Of a second real series of Sentinel-2 in Belgium that is not given out, x 1e-4."""

REAL: dict[str, list[Table]] = {"sentinel2": [PAIR, ELSEWHERE], "landsat": [PAIR_LANDSAT]}
"""Series that simulated ones are held against, by sensor."""

SLACK = 0.3
"""How far outside the range of the real series a part may lie, relative."""

APART = {"sentinel2": 6, "landsat": 9}
"""Days between two dates that are compared, at most."""

COARSE = {"sentinel2": 6, "landsat": 2}
"""Pixels across 60 m."""

CLEAR = 0.9
BRIGHTEST = 0.2
"""Dates less clear than that, or brighter, are left out."""


def structure(days: np.ndarray, pixels: np.ndarray, bands: Sequence[str], sensor: str) -> Table:
    """Return the parts of a series (time, band, y, x) that is NaN where it is not clear."""
    clear = np.isfinite(pixels).all(axis=1).mean(axis=(1, 2)) > CLEAR
    keep = clear & (_median(pixels[:, 0]) < BRIGHTEST)
    days, pixels = days[keep], pixels[keep]
    near = [
        pixels[j] - pixels[i]
        for i in range(len(days))
        for j in range(len(days))
        if 1 <= days[j] - days[i] <= APART[sensor]
    ]
    if not near:
        return {}
    variances = np.mean([_parts(one, COARSE[sensor]) for one in near], axis=0) / 2
    roots = np.sqrt(np.maximum(variances, 0)) * 1e4
    return {
        part: dict(zip(bands, row.tolist(), strict=True))
        for part, row in zip(PARTS, roots, strict=True)
    }


def _median(images: np.ndarray) -> np.ndarray:
    return np.array([np.nanmedian(one) if np.isfinite(one).any() else np.inf for one in images])


def _parts(difference: np.ndarray, across: int) -> np.ndarray:
    """Return (part, band): the mean square of a difference (band, y, x) by scale."""
    mean = np.nanmean(difference, axis=(1, 2))
    rows, columns = (size // across for size in difference.shape[1:])
    blocks = difference[:, : rows * across, : columns * across]
    blocks = blocks.reshape(len(mean), rows, across, columns, across)
    with np.errstate(invalid="ignore"):
        counts = np.isfinite(blocks).sum(axis=(2, 4))
        coarse = np.where(counts, np.nansum(blocks, axis=(2, 4)) / counts, np.nan)
    broad = np.nanmean((coarse - mean[:, None, None]) ** 2, axis=(1, 2))
    return np.stack([mean**2, broad, np.nanmean(difference**2, axis=(1, 2)) - mean**2 - broad])


def simulated(seeds: int, size: int, **fixed: Any) -> dict[str, Table]:
    """Return by sensor the median over scenes of `draw_config`."""
    tables: dict[str, list[Table]] = {name: [] for name in SENSORS}
    for seed in range(1000, 1000 + seeds):
        scene = simulate(draw_config(seed, size_px=size, **fixed))
        for sensor, row in SENSORS.items():
            group, clear = scene.cube[sensor], scene.clear[sensor].values
            pixels = group["reflectance"].transpose("time", "band", "y", "x").values
            days = _days(scene.cube[sensor].to_dataset())
            names = [band.name for band in row.bands]
            found = structure(days, np.where(clear[:, None], pixels, np.nan), names, sensor)
            tables[sensor] += [found] if found else []
    return {sensor: _medians(found) for sensor, found in tables.items()}


def _medians(tables: Sequence[Table]) -> Table:
    return {
        part: {
            band: float(np.median([one[part][band] for one in tables])) for band in tables[0][part]
        }
        for part in (PARTS if tables else ())
    }


def real_pair(folder: Path) -> dict[str, Table]:
    """Return the parts of both series of 31UDS."""
    path = folder / "pair_31UDS/ls2s2_31UDS_2017_2018.nc"
    groups = {
        name: xr.open_dataset(path, group=name, mask_and_scale=False)
        for name in ("s2_10m", "s2_20m", "landsat8")
    }
    fine, coarse, landsat = groups.values()
    names = [band.name for band in SENSORS["sentinel2"].bands]
    dn = np.stack([fine[b].values if b in fine else _twice(coarse[b].values) for b in names], 1)
    land = np.isin(_twice(coarse["SCL"].values), (4, 5, 6, 7))
    sentinel2 = structure(_days(fine), _reflectance(dn, land), names, "sentinel2")
    names = [band.name for band in SENSORS["landsat"].bands if band.name in landsat]
    dn = np.stack([landsat[b].values for b in names], 1)
    # Bits of Collection 1: fill, shadow, cloud.
    land = (landsat["pixel_qa"].values & 0b101001) == 0
    return {
        "sentinel2": sentinel2,
        "landsat": structure(_days(landsat), _reflectance(dn, land), names, "landsat"),
    }


def _days(group: xr.Dataset) -> np.ndarray:
    return np.asarray(group["time"].values).astype("M8[D]").astype(int)


def _reflectance(dn: np.ndarray, land: np.ndarray) -> np.ndarray:
    clear = land & ((dn > 0) & (dn <= 20000)).all(axis=1)
    return np.where(clear[:, None], dn / 1e4, np.nan)


def _twice(values: np.ndarray) -> np.ndarray:
    return values.repeat(2, -1).repeat(2, -2)


def outside(made: Table, real: Sequence[Table], slack: float = SLACK) -> list[str]:
    """Name what lies farther than `slack` outside the range of the real series."""
    found = []
    for part, bands in made.items():
        for band, value in bands.items():
            known = [one[part][band] for one in real if band in one.get(part, {})]
            if known and not min(known) * (1 - slack) <= value <= max(known) * (1 + slack):
                found.append(f"{part} {band}: {value:.0f}, real {sorted(map(round, known))}")
    return found


def show(name: str, table: Mapping[str, Mapping[str, float]]) -> None:
    """Print one table."""
    print(name)
    for part, bands in table.items():
        print(f"  {part:<18}" + " ".join(f"{band} {value:<4.0f}" for band, value in bands.items()))


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, help="folder of real pixels")
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--size", type=int, default=60)
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    options = parser.parse_args(arguments)
    made = simulated(1 if options.tiny else options.seeds, options.size)
    real = real_pair(options.real) if options.real else {}
    figures: dict[str, Any] = {"seeds": options.seeds, "simulated": made, "31UDS": real}
    for sensor, table in made.items():
        show(f"simulated {sensor}", table)
        show(f"31UDS {sensor}", real.get(sensor, REAL[sensor][0]))
        print("  outside:", outside(table, REAL[sensor]) or "nothing")
    if not options.tiny:
        keep("simulation-noise", figures, folder=RESULTS)
    return figures


if __name__ == "__main__":
    main()
