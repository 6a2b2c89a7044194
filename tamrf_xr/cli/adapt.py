"""`tamrf-xr adapt`: weights fine-tuned on one's own cubes."""

from __future__ import annotations

from typing import Any

from tamrf_xr.cli.options import command, defaulted, shared, storage


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        adapt,
        about="fine-tune weights on cubes of one's own",
        examples="  tamrf-xr adapt scene.zarr mine.safetensors --model published.ckpt --steps 500",
    )
    parser.add_argument("cubes", nargs="+", metavar="CUBE.zarr")
    parser.add_argument("out", metavar="OUT.safetensors")
    shared(parser, "--model", help="weights to start from")
    defaulted(parser, "--steps", 300)
    defaulted(parser, "--lr", 2e-4)
    defaulted(
        parser, "--held-back", 0.2, help="share of clear dates it is judged on; 0: not judged"
    )
    defaulted(parser, "--simulated", 0.25, help="share of samples of simulated land")
    defaulted(parser, "--layers", "all", choices=("all", "decoder"), help="what changes")
    shared(parser, "--device", help="auto, cpu or cuda")
    shared(parser, "--overwrite")
    shared(parser, "--storage-option")


def adapt(
    cubes: list[str], out: str, *, model: str, overwrite: bool, storage_options: list[str],
    progress: bool, **how: Any,
) -> int:  # fmt: skip
    """Look at the output first, then train, then write."""
    from tamrf_xr.model.checkpoint import check_model_path, save_model
    from tamrf_xr.store import open_cube
    from tamrf_xr.training.adapt import Adaptation, adapt_and_judge, provenance

    inputs = [*cubes, *([] if model == "default" else [model])]
    check_model_path(out, overwrite=overwrite, inputs=inputs)
    settings, options = Adaptation(**how), storage(storage_options, *cubes)
    opened = [open_cube(cube, storage_options=options) for cube in cubes]
    adapted, verdict = adapt_and_judge(opened, model=model, how=settings, progress=progress)
    told = provenance(settings, model, verdict)
    save_model(adapted, out, overwrite=overwrite, metadata=told)
    if verdict.ratio is not None:
        print(f"errors on dates kept back: {verdict.ratio:.3f} of those before")
    print(f"wrote {out}")
    return 0
