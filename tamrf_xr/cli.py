"""The command `tamrf-xr`: parse, call, report. No logic."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from tamrf_xr.errors import TamrfError
from tamrf_xr.evaluation.command import add_evaluate
from tamrf_xr.interrupt import INTERRUPTED, stoppable
from tamrf_xr.plain_yaml import option_value

Command = Callable[[argparse.Namespace], int]
FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments
        Words of the command line; by default those of this process.

    Returns
    -------
    int
        0 if all went well, 1 on an error (told on standard error), 2 on wrong usage, 130 when
        interrupted.
    """
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.DEBUG if options.debug else logging.WARNING)
    try:
        # SIGTERM, what a batch system sends before it kills, stops as Ctrl-C does.
        with stoppable():
            return int(options.run(options))
    except KeyboardInterrupt:
        print("tamrf-xr: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if options.debug:
            raise
        print(f"tamrf-xr: {_told(error)}", file=sys.stderr)
        return FAILED


def _told(error: Exception) -> str:
    if isinstance(error, TamrfError | OSError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}\na bug: --debug shows where; report it"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="tamrf-xr",
        description="Cloud-free 10 m series of every Landsat and Sentinel-2 band, at any date.",
    )
    parser.add_argument("--version", action="version", version=version("tamrf-xr"))
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (
        _add_ingest,
        _add_info,
        _add_verify,
        _add_simulate,
        _add_fuse,
        _add_quicklook,
        _add_adapt,
        _add_weights,
    ):
        add(commands)
    add_evaluate(commands)
    return parser


def _command(commands: Any, name: str, run: Command, *, about: str, example: str) -> Any:
    parser = commands.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog="examples:\n" + example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="log everything, show tracebacks")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=run)
    return parser


def _add_ingest(commands: Any) -> None:
    sources = commands.add_parser("ingest", help="make cubes from folders").add_subparsers(
        title="sources", required=True, metavar="SOURCE"
    )
    parser = _command(
        sources,
        "ls2s2",
        _ingest_ls2s2,
        about="make a cube of each LS2S2 folder",
        example="  tamrf-xr ingest ls2s2 31TCJ_12 scene.zarr\n"
        "  tamrf-xr ingest ls2s2 data/* cubes/       # one cube a folder; rerun to resume",
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("out", metavar="OUT.zarr", help="a store, or a folder of stores")
    parser.add_argument("--overwrite", action="store_true", help="write cubes that exist anew")
    parser.add_argument("--workers", type=int, help="folders at once (default: cores)")


def _ingest_ls2s2(options: argparse.Namespace) -> int:
    from tamrf_xr.ingest.ls2s2 import ingest_ls2s2

    report = ingest_ls2s2(
        options.folders,
        options.out,
        overwrite=options.overwrite,
        workers=options.workers,
        progress=not options.quiet,
    )
    for folder, error in report.failed.items():
        print(f"tamrf-xr: {folder}: {error}", file=sys.stderr)
    print(
        f"{len(report.written)} written, {len(report.skipped)} there, {len(report.failed)} failed"
    )
    return FAILED if report.failed else 0


def _add_info(commands: Any) -> None:
    parser = _command(
        commands,
        "info",
        _info,
        about="tell what a cube or a product holds",
        example="  tamrf-xr info scene.zarr\n"
        "  tamrf-xr info --door series.nc --scaling dn --regrid nested",
    )
    parser.add_argument("cube", metavar="CUBE.zarr", help="with --door: Zarr, netCDF or GeoTIFF")
    parser.add_argument(
        "--door",
        action="store_true",
        help="tell what as_cube understands of each variable of anyone's data, and why",
    )
    parser.add_argument("--sensor", help="sentinel2 or landsat, where data do not tell")
    parser.add_argument("--crs", help="of data that carry none")
    parser.add_argument("--time", nargs="+", metavar="DATE", help="of data that carry none")
    parser.add_argument("--offset", type=float, help="reflectance to add after scaling")
    parser.add_argument("--scaling", choices=["dn", "ls2s2", "physical", "stated"])
    parser.add_argument("--regrid", choices=["nested"])
    parser.add_argument("--check", choices=["sample", "full", "off"], default="sample")


def _door(options: argparse.Namespace) -> int:
    from tamrf_xr.harmonize import as_cube
    from tamrf_xr.harmonize.opening import open_raw

    as_cube(
        open_raw(options.cube),
        sensor=options.sensor,
        crs=options.crs,
        time=_dates(options.time),
        offset=options.offset,
        scaling=options.scaling,
        regrid=options.regrid,
        check=options.check,
        report=True,
    )
    return 0


def _info(options: argparse.Namespace) -> int:
    if options.door:
        return _door(options)
    from tamrf_xr.describe import describe
    from tamrf_xr.scale.ledger import job_state
    from tamrf_xr.store import open_cube

    print(describe(open_cube(options.cube)))
    if state := job_state(options.cube):
        print(state)
    return 0


def _add_verify(commands: Any) -> None:
    parser = _command(
        commands,
        "verify",
        _verify,
        about="tell whether a cube or a product is as it was written",
        example="  tamrf-xr verify fused.zarr          # sizes and metadata\n"
        "  tamrf-xr verify fused.zarr --deep   # every chunk against its checksum\n"
        "damaged tiles of a product are made again by the command that made it",
    )
    parser.add_argument("store", metavar="STORE.zarr")
    parser.add_argument("--deep", action="store_true", help="read every chunk")


def _verify(options: argparse.Namespace) -> int:
    from tamrf_xr.scale.damage import verify

    verdict = verify(options.store, deep=options.deep)
    print(verdict)
    return 0 if verdict.ok else FAILED


def _add_simulate(commands: Any) -> None:
    parser = _command(
        commands,
        "simulate",
        _simulate,
        about="make a clouded scene of both sensors whose truth is known",
        example="  tamrf-xr simulate scene.zarr --size 330 --year 2022 --seed 1\n"
        "  tamrf-xr simulate scene.zarr --truth truth.zarr --dates 2022-01-01/2022-12-31/30D\n"
        "  tamrf-xr simulate cubes --scenes 20 --size 240 --workers 2",
    )
    parser.add_argument("out", metavar="OUT.zarr")
    parser.add_argument(
        "--scenes",
        type=int,
        metavar="N",
        help="make N scenes of drawn places, years and weather in the folder OUT, to train on; "
        "those that exist are left",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes for --scenes")
    parser.add_argument("--size", type=int, default=330, help="10 m pixels (default: %(default)s)")
    parser.add_argument("--year", type=int, default=2022, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--truth", help="write the cloud-free truth here", metavar="ZARR")
    parser.add_argument("--dates", nargs="+", help="dates of the truth", metavar="DATE")
    parser.add_argument("--overwrite", action="store_true")


def _simulate(options: argparse.Namespace) -> int:
    from tamrf_xr.simulate import SceneConfig, write_scene, write_scenes

    if options.scenes is not None:
        seeds = range(options.seed, options.seed + options.scenes)
        made = write_scenes(options.out, seeds, workers=options.workers, size_px=options.size)
        print(f"{len(made)} scenes in {options.out}")
        return 0
    write_scene(
        SceneConfig(size_px=options.size, year=options.year, seed=options.seed),
        options.out,
        truth_zarr=options.truth,
        truth_dates=_dates(options.dates),
        overwrite=options.overwrite,
    )
    print(f"simulated {options.out}" + (f", truth {options.truth}" if options.truth else ""))
    return 0


def _add_fuse(commands: Any) -> None:
    parser = _command(
        commands,
        "fuse",
        _fuse,
        about="make every band of both sensors at 10 m at any dates",
        example="  tamrf-xr fuse scene.zarr fused.zarr --dates 2022-06-01 2022-06-15\n"
        "  tamrf-xr fuse scene.zarr fused.zarr --dates 2022-01-01/2022-12-31/15D --method linear\n"
        "  tamrf-xr fuse scene.zarr ndvi.zarr --dates 2022-06-01 --sensors sentinel2 "
        "--bands B04 B08\n"
        "  tamrf-xr fuse year.zarr fused.zarr --dates 2022-01-01/2022-12-31/15D "
        "--cluster slurm.yaml\n"
        "interrupted? the same command again does what is left",
    )
    parser.add_argument("cube", metavar="IN.zarr")
    parser.add_argument("out", metavar="OUT.zarr")
    parser.add_argument(
        "--dates", nargs="+", required=True, metavar="DATE", help="or START/END/STEP"
    )
    parser.add_argument(
        "--method", default="tamrf", help="tamrf, linear, stair, ... (default: %(default)s)"
    )
    parser.add_argument(
        "--option",
        action="append",
        type=_option,
        default=[],
        metavar="NAME=VALUE",
        help="an option of the method; may be repeated",
    )
    parser.add_argument("--model", default="default", help="weights (default: %(default)s)")
    parser.add_argument("--sensors", nargs="+", metavar="SENSOR", help="default: both")
    parser.add_argument("--bands", nargs="+", metavar="BAND", help="default: all")
    parser.add_argument("--origin", metavar="DATE", help="day 0 (default: 1 January)")
    parser.add_argument(
        "--window",
        default="365D",
        help="a number is days; 'none' for no window (default: %(default)s)",
    )
    parser.add_argument(
        "--same-day",
        default="12h",
        metavar="TIME",
        help="acquisitions no further apart are of one day (default: %(default)s)",
    )
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1 ... (default: %(default)s)"
    )
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument(
        "--tile", type=_tile, default="auto", help="10 m pixels (default: %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is at OUT.zarr")
    parser.add_argument(
        "--no-resume", action="store_true", help="refuse an OUT.zarr that this job left unfinished"
    )
    parser.add_argument(
        "--cluster", metavar="CLUSTER", help="local, dask-cuda or a YAML file (default: threads)"
    )
    parser.add_argument("--workers", type=int, help="threads, or processes of the cluster")


def _fuse(options: argparse.Namespace) -> int:
    from tamrf_xr.fusion import run_job
    from tamrf_xr.store import open_cube

    summary = run_job(
        open_cube(options.cube),
        options.out,
        _dates(options.dates),
        cluster=options.cluster,
        workers=options.workers,
        resume=not options.no_resume,
        overwrite=options.overwrite,
        progress=not options.quiet,
        method=options.method,
        method_options=dict(options.option),
        model=options.model,
        sensors=options.sensors,
        bands=options.bands,
        origin=options.origin,
        window=None if options.window == "none" else options.window,
        same_day=options.same_day,
        device=options.device,
        precision=options.precision,
        tile=options.tile,
    )
    print(f"fused {options.out}: {summary}")
    return FAILED if summary.failed else 0


def _tile(word: str) -> int | str:
    return word if word == "auto" else int(word)


def _option(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{word!r} is not NAME=VALUE")
    return name, option_value(value)


def _dates(words: Sequence[str] | None) -> Any:
    """Return one word as it is, since it may be a range; several as a list."""
    return words[0] if words and len(words) == 1 else words


def _add_quicklook(commands: Any) -> None:
    parser = _command(
        commands,
        "quicklook",
        _quicklook,
        about="draw inputs above, fused below",
        example="  tamrf-xr quicklook scene.zarr fused.zarr quicklook.png",
    )
    parser.add_argument("cube", metavar="CUBE.zarr")
    parser.add_argument("fused", metavar="FUSED.zarr")
    parser.add_argument("out", metavar="OUT.png")
    parser.add_argument("--columns", type=int, default=6, help="dates (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true")


def _quicklook(options: argparse.Namespace) -> int:
    from tamrf_xr.export.quicklook import quicklook
    from tamrf_xr.store import open_cube

    quicklook(
        open_cube(options.cube),
        open_cube(options.fused),
        options.out,
        columns=options.columns,
        overwrite=options.overwrite,
    )
    print(f"drew {options.out}")
    return 0


def _add_adapt(commands: Any) -> None:
    parser = _command(
        commands,
        "adapt",
        _adapt,
        about="fine-tune weights on cubes of one's own",
        example="  tamrf-xr adapt scene.zarr mine.safetensors --model published.ckpt --steps 500",
    )
    parser.add_argument("cubes", nargs="+", metavar="CUBE.zarr")
    parser.add_argument("out", metavar="OUT.safetensors")
    parser.add_argument("--model", default="default", help="weights to start from")
    parser.add_argument("--steps", type=int, default=300, help="(default: %(default)s)")
    parser.add_argument("--lr", type=float, default=2e-4, help="(default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--overwrite", action="store_true")


def _adapt(options: argparse.Namespace) -> int:
    from tamrf_xr.model.checkpoint import check_model_path, save_model
    from tamrf_xr.store import open_cube
    from tamrf_xr.training.adapt import Adaptation, adapt, provenance

    read = [*options.cubes, *([] if options.model == "default" else [options.model])]
    check_model_path(options.out, overwrite=options.overwrite, inputs=read)
    how = Adaptation(steps=options.steps, lr=options.lr, device=options.device)
    adapted = adapt(
        [open_cube(cube) for cube in options.cubes],
        model=options.model,
        how=how,
        progress=not options.quiet,
    )
    told = provenance(how, options.model)
    save_model(adapted, options.out, overwrite=options.overwrite, metadata=told)
    print(f"wrote {options.out}")
    return 0


def _add_weights(commands: Any) -> None:
    actions = commands.add_parser("weights", help="convert weights").add_subparsers(
        title="actions", required=True, metavar="ACTION"
    )
    parser = _command(
        actions,
        "convert",
        _convert_weights,
        about="convert a published checkpoint to safetensors",
        example="  tamrf-xr weights convert best.ckpt best.safetensors --config composed.yaml",
    )
    parser.add_argument("source", metavar="IN.ckpt")
    parser.add_argument("out", metavar="OUT.safetensors")
    parser.add_argument("--config", help="composed YAML of the training run")
    parser.add_argument("--overwrite", action="store_true")


def _convert_weights(options: argparse.Namespace) -> int:
    from tamrf_xr.model.checkpoint import check_model_path, load_model, save_model

    read = [options.source, *([options.config] if options.config else [])]
    check_model_path(options.out, overwrite=options.overwrite, inputs=read)
    model = load_model(options.source, options.config)
    save_model(model, options.out, overwrite=options.overwrite)
    print(f"converted {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
