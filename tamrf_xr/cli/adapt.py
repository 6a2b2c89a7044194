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
    from tamrf_xr.training.adapt import Adaptation, provenance
    from tamrf_xr.training.adapt import adapt as fine_tune

    inputs = [*cubes, *([] if model == "default" else [model])]
    check_model_path(out, overwrite=overwrite, inputs=inputs)
    settings, options = Adaptation(**how), storage(storage_options, *cubes)
    opened = [open_cube(cube, storage_options=options) for cube in cubes]
    adapted = fine_tune(opened, model=model, how=settings, progress=progress)
    save_model(adapted, out, overwrite=overwrite, metadata=provenance(settings, model))
    print(f"wrote {out}")
    return 0
