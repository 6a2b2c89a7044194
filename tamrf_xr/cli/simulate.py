"""`tamrf-xr simulate`: scenes with known truth."""

from __future__ import annotations

from typing import Any

from tamrf_xr.cli.options import command, defaulted, one_or_all, shared
from tamrf_xr.errors import OptionError


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        simulate,
        about="make a clouded scene of both sensors whose truth is known",
        examples="  tamrf-xr simulate scene.zarr --size 330 --year 2022 --seed 1\n"
        "  tamrf-xr simulate scene.zarr --truth truth.zarr --dates 2022-01-01/2022-12-31/30D\n"
        "  tamrf-xr simulate cubes --scenes 20 --size 240 --workers 2\n"
        "  tamrf-xr simulate cubes --scenes 20 --biome temperate=3 rice=1 savanna=1",
    )
    parser.add_argument("out", metavar="OUT.zarr")
    about = "make N scenes of drawn places, years and weather in the folder OUT, to train on; "
    about += "those that exist are left"
    parser.add_argument("--scenes", type=int, metavar="N", help=about)
    parser.add_argument("--workers", type=int, default=1, help="processes for --scenes")
    about = "with --scenes: write each without its sky, too, into the folder OUT/unclouded"
    parser.add_argument("--unclouded", action="store_true", help=about)
    about = "draw a scene of this kind of land: NAME, any, or NAME=WEIGHT of some; without it one "
    about += "scene is of temperate fields with the usual sky, and many are drawn of temperate land"
    parser.add_argument("--biome", nargs="+", metavar="NAME[=WEIGHT]", help=about)
    defaulted(parser, "--size", 330, "10 m pixels", dest="size_px", metavar="SIZE")
    defaulted(parser, "--year", 2022)
    defaulted(parser, "--seed", 0)
    parser.add_argument("--truth", help="write the cloud-free truth here", metavar="ZARR")
    shared(parser, "--dates", help="dates of the truth")
    shared(parser, "--overwrite")


def simulate(
    out: str, *, scenes: int | None, workers: int, truth: str | None, dates: Any, overwrite: bool,
    biome: list[str] | None, progress: bool, **config: Any,
) -> int:  # fmt: skip
    """Write one scene, or many to train on."""
    from tamrf_xr.simulate import SceneConfig, draw_config, write_scene, write_scenes

    unclouded = config.pop("unclouded")
    drawn: dict[str, Any] = {"biome": _biomes(biome)} if biome else {}
    if scenes is not None:
        seeds = range(config["seed"], config["seed"] + scenes)
        drawn |= {"unclouded": unclouded, "size_px": config["size_px"]}
        written = write_scenes(out, seeds, workers=workers, **drawn)
        print(f"{len(written)} scenes in {out}")
        return 0
    if unclouded:
        raise OptionError("--unclouded goes with --scenes; of one scene, pass --truth TRUTH.zarr")
    asked: dict[str, Any] = {"truth_zarr": truth, "truth_dates": one_or_all(dates)}
    scene = draw_config(**config, **drawn) if drawn else SceneConfig(**config)
    write_scene(scene, out, **asked, overwrite=overwrite)
    print(f"simulated {out}" + (f", truth {truth}" if truth else ""))
    return 0


def _biomes(words: list[str]) -> str | dict[str, float]:
    """Read NAME, or NAME=WEIGHT of each: one without a weight weighs 1."""
    if len(words) == 1 and "=" not in words[0]:
        return words[0]
    weights = {}
    for word in words:
        name, equals, text = word.partition("=")
        try:
            weights[name] = float(text) if equals else 1.0
        except ValueError as error:
            raise OptionError(
                f"--biome {word!r:.60}: {text!r:.40} is no weight; write NAME=WEIGHT, as rice=2"
            ) from error
    return weights
