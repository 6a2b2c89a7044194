"""`tamrf-xr simulate`: scenes with known truth."""

from __future__ import annotations

from typing import Any

from tamrf_xr.cli.options import command, defaulted, one_or_all, shared


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        simulate,
        about="make a clouded scene of both sensors whose truth is known",
        examples="  tamrf-xr simulate scene.zarr --size 330 --year 2022 --seed 1\n"
        "  tamrf-xr simulate scene.zarr --truth truth.zarr --dates 2022-01-01/2022-12-31/30D\n"
        "  tamrf-xr simulate cubes --scenes 20 --size 240 --workers 2",
    )
    parser.add_argument("out", metavar="OUT.zarr")
    about = "make N scenes of drawn places, years and weather in the folder OUT, to train on; "
    about += "those that exist are left"
    parser.add_argument("--scenes", type=int, metavar="N", help=about)
    parser.add_argument("--workers", type=int, default=1, help="processes for --scenes")
    defaulted(parser, "--size", 330, "10 m pixels", dest="size_px", metavar="SIZE")
    defaulted(parser, "--year", 2022)
    defaulted(parser, "--seed", 0)
    parser.add_argument("--truth", help="write the cloud-free truth here", metavar="ZARR")
    shared(parser, "--dates", help="dates of the truth")
    shared(parser, "--overwrite")


def simulate(
    out: str, *, scenes: int | None, workers: int, truth: str | None, dates: Any, overwrite: bool,
    progress: bool, **config: Any,
) -> int:  # fmt: skip
    """Write one scene, or many to train on."""
    from tamrf_xr.simulate import SceneConfig, write_scene, write_scenes

    if scenes is not None:
        seeds = range(config["seed"], config["seed"] + scenes)
        written = write_scenes(out, seeds, workers=workers, size_px=config["size_px"])
        print(f"{len(written)} scenes in {out}")
        return 0
    asked: dict[str, Any] = {"truth_zarr": truth, "truth_dates": one_or_all(dates)}
    write_scene(SceneConfig(**config), out, **asked, overwrite=overwrite)
    print(f"simulated {out}" + (f", truth {truth}" if truth else ""))
    return 0
