"""Scenes unlike each other: place, sky and sensors drawn for each seed, to train and test on."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tamrf_xr.errors import OptionError
from tamrf_xr.paths import local_path
from tamrf_xr.simulate.biomes import METRES_PER_DEGREE, TEMPERATE, Biome, biome_of, weights_of
from tamrf_xr.simulate.changes import draw_events
from tamrf_xr.simulate.config import SceneConfig
from tamrf_xr.simulate.fields import stream
from tamrf_xr.simulate.scene import simulate, write_scene
from tamrf_xr.store import open_cube, save_cube

MOST_SCENES, MOST_WORKERS = 100_000, 1000

UNCLOUDED = "unclouded"
"""Folder beside scenes, of the same without their sky."""

YEARS = (2018, 2025)
"""First and last year drawn: those in which at least Landsat 8 and two Sentinel-2 were up."""


def draw_config(
    seed: int, *, biome: str | Mapping[str, float] = TEMPERATE, **fixed: Any
) -> SceneConfig:
    """Draw everything that a scene is made from, so that no two seeds are of one kind.

    Land, soils and crops follow from the seed in any case; this draws latitude, year, orbits,
    cloudiness and haze, errors of masks, noise, radiometry and registration too.

    Parameters
    ----------
    seed
        Of the scene.
    biome
        Of the scene; ``"any"``: one of all of them; or how likely each is, by name. It changes
        what is drawn of place, cloudiness and sudden changes, and no other draw.
    fixed
        Fields of `SceneConfig` to set instead, such as `size_px`.

    Returns
    -------
    SceneConfig
        The scene. What is fixed changes no other draw.

    Raises
    ------
    OptionError
        If there is no such biome; those that there are, are told.

    Examples
    --------
    >>> draw_config(3, size_px=120) == draw_config(3, size_px=120)
    True
    >>> draw_config(3, biome={"rice": 1, "savanna": 1}).biome in {"rice", "savanna"}
    True
    """
    kind = _draw_biome(seed, biome)
    rng = stream(seed, "variety")
    year = int(rng.integers(YEARS[0], YEARS[1] + 1))
    drawn = {
        "year": year,
        "top": 60.0 * round(rng.uniform(4_100_000, 6_100_000) / 60),  # 37 to 55 degrees north
        "sentinel2_overlap": bool(rng.random() < 0.35),
        "landsat_overlap": bool(rng.random() < 0.40),
        # Landsat 9 flies since autumn 2021.
        "landsat_revisit_days": 8 if year >= 2022 else 16,
        "lost_dates": rng.uniform(0.0, 0.15),
        "cloudiness": rng.uniform(0.1, 0.55),
        "mask_errors": _around(rng, 1.0, 0.3),
        "noise_reflectance": _around(rng, 0.0015, 0.3),
        "noise_relative": _around(rng, 0.01, 0.3),
        "haze_reflectance": _around(rng, 0.010, 0.5),
        "view_effect": rng.uniform(0.5, 1.3),
        "offset_reflectance": _around(rng, 0.013, 0.4),
        "gain_relative": _around(rng, 0.11, 0.3),
        "offset_kelvin": _around(rng, 0.8, 0.3),
        "registration_m": rng.uniform(1.0, 6.0),
        "cover_relative": _around(rng, 0.10, 0.3),
        "patch_relative": _around(rng, 0.08, 0.3),
        "landsat_unsteadiness": rng.uniform(0.2, 0.35),
    }
    if kind.name != TEMPERATE:
        drawn |= _elsewhere(seed, kind, fixed)
    return SceneConfig(**{"seed": seed, **drawn, **fixed})


def _draw_biome(seed: int, asked: str | Mapping[str, float]) -> Biome:
    weights = weights_of(asked)
    chance = stream(seed, "biome").random()
    place = np.searchsorted(np.cumsum(list(weights.values())), chance, side="right")
    return biome_of(list(weights)[min(int(place), len(weights) - 1)])


def _elsewhere(seed: int, biome: Biome, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Draw what biomes set: where, under which clouds, and what happens there."""
    rng = stream(seed, "elsewhere")
    latitude, cloudiness = rng.uniform(*biome.latitudes), rng.uniform(*biome.cloudiness)
    edge_m = 10.0 * fixed.get("size_px", SceneConfig().size_px)
    return {
        "biome": biome.name,
        "top": 60.0 * round(latitude * METRES_PER_DEGREE / 60),
        "cloudiness": cloudiness,
        "events": draw_events(seed, biome.chances, years=fixed.get("years", 1), edge_m=edge_m),
    }


def write_scenes(
    folder: str | os.PathLike[str],
    seeds: Iterable[int],
    *,
    workers: int = 1,
    biome: str | Mapping[str, float] = TEMPERATE,
    unclouded: bool = False,
    **fixed: Any,
) -> list[Path]:
    """Simulate scenes of `draw_config` and write each as ``scene-<seed>.zarr``.

    Those of other biomes are ``<biome>-<seed>.zarr``: what a run is to be trained on is chosen by
    the patterns of its cubes.

    Parameters
    ----------
    folder
        Where to; made if it is absent.
    seeds
        One for each scene.
    workers
        Processes that simulate at once. A scene of 330 px takes some 0.7 GB, one of 990 px 4.5.
    biome, fixed
        As in `draw_config`.
    unclouded
        Write each scene without its sky, too (`Simulation.unclouded`), of the same name in the
        folder ``unclouded`` beside it.

    Returns
    -------
    list of pathlib.Path
        The stores, in the order of `seeds`. Those that exist are left as they are.

    Raises
    ------
    OptionError
        If a scene that exists is to be written without its sky, and is another than asked.
    """
    place = local_path(folder, "folder of the scenes")
    seeds = list(islice(seeds, MOST_SCENES + 1))
    if not 1 <= len(seeds) <= MOST_SCENES:
        raise OptionError(f"{len(seeds)} scenes asked: expected 1 to {MOST_SCENES}")
    if not 1 <= workers <= MOST_WORKERS:
        raise OptionError(f"workers is {workers!r:.40}: expected 1 to {MOST_WORKERS}")
    configs = [draw_config(seed, biome=biome, **fixed) for seed in seeds]
    stores = {place / _name(config): config for config in configs}
    place.mkdir(parents=True, exist_ok=True)
    missing = [
        path for path in stores if not path.exists() or (unclouded and not beside(path).exists())
    ]
    configured = (stores[path] for path in missing)
    write = partial(_write, unclouded=unclouded)
    if workers == 1:
        deque(map(write, configured, missing), maxlen=0)
    else:
        # Spawned, as threads of numerical libraries do not survive a fork.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            deque(pool.map(write, configured, missing), maxlen=0)
    return list(stores)


def _write(config: SceneConfig, path: Path, *, unclouded: bool) -> None:
    """Write what is missing of a scene and, if wanted, of the same without its sky."""
    other = beside(path)
    wanted = other if unclouded and not other.exists() else None
    if not path.exists():
        write_scene(config, path, unclouded_zarr=wanted)
    elif wanted:
        scene = simulate(config)
        history, own = open_cube(path).attrs.get("history"), scene.cube.attrs["history"]
        if history != own:
            raise OptionError(
                f"{path} is another scene than asked, so it cannot be written without its sky: "
                f"found {history}, expected {own}; pass the options that it was made with, or "
                "another folder"
            )
        save_cube(scene.unclouded(), wanted)


def beside(path: Path) -> Path:
    """Return where a scene is without its sky."""
    return path.parent / UNCLOUDED / path.name


def _name(config: SceneConfig) -> str:
    kind = "scene" if config.biome == TEMPERATE else config.biome
    return f"{kind}-{config.seed:05d}.zarr"


def _around(rng: np.random.Generator, middle: float, spread: float) -> float:
    return float(middle * np.exp(spread * rng.standard_normal()))
