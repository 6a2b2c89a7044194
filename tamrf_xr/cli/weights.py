"""`tamrf-xr weights convert`: files that others wrote to safetensors."""

from __future__ import annotations

from typing import Any

from tamrf_xr.cli.options import command, shared


def add(commands: Any) -> None:
    """Add the command."""
    actions = commands.add_parser("weights", help="convert weights").add_subparsers(
        title="actions", required=True, metavar="ACTION"
    )
    parser = command(
        actions,
        convert,
        about="convert weights that others wrote to safetensors",
        examples="  tamrf-xr weights convert best.ckpt best.safetensors --config composed.yaml\n"
        "  tamrf-xr weights convert dsen2.pth dsen2.safetensors --tensors",
    )
    parser.add_argument("source", metavar="IN.ckpt")
    parser.add_argument("out", metavar="OUT.safetensors")
    parser.add_argument("--config", help="composed YAML of the training run")
    parser.add_argument(
        "--tensors",
        action="store_true",
        help="keep the tensors under their names: weights of other methods, such as dsen2",
    )
    shared(parser, "--overwrite")


def convert(
    source: str, out: str, *, config: str | None, tensors: bool, overwrite: bool, progress: bool
) -> int:
    """Look at the output first, then read, then write."""
    from tamrf_xr.errors import OptionError
    from tamrf_xr.model import foreign
    from tamrf_xr.model.checkpoint import check_model_path, load_model, save_model

    if tensors and config:
        raise OptionError("--config describes a network, --tensors keeps names: give one of them")

    inputs = [source, *([config] if config else [])]
    place = check_model_path(out, overwrite=overwrite, inputs=inputs)
    if tensors:
        foreign.convert(source, place)
        place.with_suffix(".json").unlink(missing_ok=True)  # that of the model replaced
    else:
        save_model(load_model(source, config), out, overwrite=overwrite)
    print(f"converted {out}")
    return 0
