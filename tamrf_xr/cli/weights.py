"""`tamrf-xr weights convert`: published checkpoints to safetensors."""

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
        about="convert a published checkpoint to safetensors",
        examples="  tamrf-xr weights convert best.ckpt best.safetensors --config composed.yaml",
    )
    parser.add_argument("source", metavar="IN.ckpt")
    parser.add_argument("out", metavar="OUT.safetensors")
    parser.add_argument("--config", help="composed YAML of the training run")
    shared(parser, "--overwrite")


def convert(source: str, out: str, *, config: str | None, overwrite: bool, progress: bool) -> int:
    """Look at the output first, then read, then write."""
    from tamrf_xr.model.checkpoint import check_model_path, load_model, save_model

    inputs = [source, *([config] if config else [])]
    check_model_path(out, overwrite=overwrite, inputs=inputs)
    save_model(load_model(source, config), out, overwrite=overwrite)
    print(f"converted {out}")
    return 0
