"""Pages of settings: every field of the dataclasses that users set, its type, default and words."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from sphinx.pycode import ModuleAnalyzer

from tamrf_xr.options import DEFAULTS

CLASSES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "training": (
        "tamrf_xr.training.config",
        ("DataConfig", "MaskingConfig", "LossConfig", "OptimConfig", "RunConfig"),
    ),
    "network": ("tamrf_xr.model.config", ("NetworkConfig",)),
    "adaptation": ("tamrf_xr.training.adapt", ("Adaptation",)),
    "simulation": ("tamrf_xr.simulate.config", ("SceneConfig",)),
    "evaluation-split": ("tamrf_xr.evaluation.split", ("SplitSettings",)),
    "evaluation-scoring": ("tamrf_xr.evaluation.score", ("Scoring",)),
}
"""Per page, the module and its classes."""

SECTIONS: Final = {
    "DataConfig": "data", "MaskingConfig": "masking", "LossConfig": "loss",
    "OptimConfig": "optim", "RunConfig": "run", "NetworkConfig": "model",
}  # fmt: skip
"""Prefix of the dotted names that ``python -m tamrf_xr.train`` takes."""


def pages() -> dict[str, str]:
    """Return every page, Markdown by path under ``reference/config``."""
    found = {name: _page(name, *where) for name, where in CLASSES.items()}
    found["fuse"] = _fuse()
    rows = "\n".join(sorted(found))
    toc = f"```{{toctree}}\n:maxdepth: 1\n\n{rows}\n```\n"
    return {f"{name}.md": text for name, text in found.items()} | {
        "index.md": "# Configuration\n\n" + toc
    }


def _page(name: str, module: str, classes: tuple[str, ...]) -> str:
    parts = [f"# {name.replace('-', ': ').capitalize()}"]
    parts += [_section(importlib.import_module(module), one) for one in classes]
    return "\n\n".join(parts) + "\n"


def _section(module: ModuleType, name: str) -> str:
    kind = getattr(module, name)
    said, types = attribute_docs(module.__name__), get_type_hints(kind, include_extras=True)
    prefix = f"{SECTIONS[name]}." if name in SECTIONS else ""
    rows = "".join(
        f"| `{prefix}{field.name}` | {_words(said[name, field.name])} "
        f"| {_type(types[field.name])} | {_default(field)} |\n"
        for field in dataclasses.fields(kind)
    )
    about = (kind.__doc__ or "").splitlines()[0]
    return f"## {name}\n\n{about}\n\n| name | | type | default |\n|---|---|---|---|\n{rows}"


def attribute_docs(module: str) -> dict[tuple[str, str], str]:
    """Return the text under each attribute of a module and its classes."""
    found = ModuleAnalyzer.for_module(module).find_attr_docs()
    return {where: " ".join(lines) for where, lines in found.items()}


def _words(text: str) -> str:
    text = re.sub(r"``(.+?)``", r"`\1`", text.strip())
    return text.replace("|", "\\|")


def _type(annotation: Any) -> str:
    """Return a type in words: its bounds or choices where it has some."""
    kind, inside = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        return f"`{inside[0].__name__}`, {inside[1]:g} to {inside[2]:g}"
    if kind is Literal:
        return " ".join(f"`{one!r}`" for one in inside)
    words = annotation.__name__ if inspect.isclass(annotation) and not inside else str(annotation)
    return f"`{words}`".replace("|", "\\|").replace("tamrf_xr.metrics.naturalness.", "")


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.default_factory()!r}`"
    return "" if field.default is dataclasses.MISSING else f"`{field.default!r}`"


def _fuse() -> str:
    rows = "".join(f"| `{name}` | `{value!r}` |\n" for name, value in DEFAULTS.items())
    return (
        "# Fusion\n\nOptions of `fuse` and `run_job`, of `.tamrf.fuse` and, as `--name`, of "
        "`tamrf-xr fuse`. What each means: [tamrf_xr.fuse](../api/fuse.rst).\n\n"
        f"| option | default |\n|---|---|\n{rows}\n"
        "Options of methods: [methods](../tables/methods.md). Clusters: [jobs](../../cluster.md).\n"
    )
