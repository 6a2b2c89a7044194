"""Pages of the API: one a public name, one a public module, all of it from docstrings."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Final, get_type_hints

import tamrf_xr
from docsite.settings import attribute_docs

ACCESSORS: Final = ("TamrfTree", "TamrfDataset", "TamrfArray")
"""Classes of `tamrf_xr.accessor`: what ``.tamrf`` is on a DataTree, a Dataset, a DataArray."""

MODULES: Final = (
    "tamrf_xr.alerts", "tamrf_xr.causal", "tamrf_xr.coregistration",
    "tamrf_xr.cube", "tamrf_xr.dates", "tamrf_xr.doctor", "tamrf_xr.evaluation",
    "tamrf_xr.export.catalog", "tamrf_xr.export.cogs", "tamrf_xr.export.overviews",
    "tamrf_xr.indices",
    "tamrf_xr.export.quicklook", "tamrf_xr.fuser", "tamrf_xr.holdout", "tamrf_xr.ingest",
    "tamrf_xr.ingest.ls2s2", "tamrf_xr.ingest.openeo", "tamrf_xr.ingest.stac_catalogs",
    "tamrf_xr.ingest.stac_read", "tamrf_xr.methods.daily", "tamrf_xr.methods.registry",
    "tamrf_xr.metrics", "tamrf_xr.model.checkpoint", "tamrf_xr.model.config",
    "tamrf_xr.model.foreign", "tamrf_xr.model.precision", "tamrf_xr.places",
    "tamrf_xr.psf", "tamrf_xr.scale.progress", "tamrf_xr.sensors", "tamrf_xr.shards",
    "tamrf_xr.simulate", "tamrf_xr.store", "tamrf_xr.train", "tamrf_xr.training.adapt",
    "tamrf_xr.training.config", "tamrf_xr.training.recipes", "tamrf_xr.training.setting",
    "tamrf_xr.training.decoder", "tamrf_xr.training.levels", "tamrf_xr.training.uncertainty",
    "tamrf_xr.view",
)  # fmt: skip
"""Public modules beyond the names of `tamrf_xr` itself."""

Pages = dict[str, str]


def pages() -> Pages:
    """Return every page of the API, reStructuredText by path under ``reference/api``."""
    found = {f"{name}.rst": _page(f"tamrf_xr.{name}") for name in tamrf_xr.__all__}
    found |= {f"{name}.rst": _module(name) for name in MODULES}
    found |= {
        f"{accessor}.{name}.rst": _page(f"tamrf_xr.accessor.{accessor}.{name}")
        for accessor in ACCESSORS
        for name in methods(accessor)
    }
    return found | {"index.rst": _index()}


def methods(accessor: str) -> list[str]:
    """Return the public methods and properties of an accessor."""
    members = vars(getattr(importlib.import_module("tamrf_xr.accessor"), accessor))
    return [name for name in members if not name.startswith("_")]


def public(module: ModuleType) -> Iterator[str]:
    """Yield what a module offers: its ``__all__``, else its own public functions and classes."""
    if listed := getattr(module, "__all__", None):
        yield from sorted(listed)
        return
    for name, value in vars(module).items():
        documented = inspect.isroutine(value) or inspect.isclass(value)
        if documented and not name.startswith("_") and value.__module__ == module.__name__:
            yield name


def find(path: str) -> Any:
    """Return what a dotted path names.

    Raises
    ------
    LookupError
        If there is no such thing.
    """
    words = path.split(".")
    for cut in range(len(words), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(words[:cut]))
        except ModuleNotFoundError:
            continue
        for word in words[cut:]:
            if not hasattr(found, word):
                raise LookupError(f"{path}: {found!r} has no {word}")
            found = getattr(found, word)
        return found
    raise LookupError(path)


def _page(path: str) -> str:
    return _headed(_called(path), _directive(path))


def _called(path: str) -> str:
    """Return what a user writes: ``cube.tamrf.fuse`` for the method of an accessor."""
    if not path.startswith("tamrf_xr.accessor."):
        return path
    _, accessor, name = path.rsplit(".", 2)
    owner = {"TamrfTree": "DataTree", "TamrfDataset": "Dataset", "TamrfArray": "DataArray"}
    return f"{owner[accessor]}.tamrf.{name}"


def _module(name: str) -> str:
    module = importlib.import_module(name)
    parts = [f".. automodule:: {name}\n   :no-members:\n"]
    parts += [_directive(f"{name}.{one}") for one in public(module)]
    return _headed(name, "\n".join(parts))


def _directive(path: str) -> str:
    value = find(path)
    if inspect.isclass(value):
        return f".. autoclass:: {path}\n   :members:\n   :show-inheritance:\n"
    if isinstance(value, property):
        return f".. autoproperty:: {path}\n\n{_behind(value)}"
    if not inspect.isroutine(value):
        return f".. autodata:: {_defined(path)}\n   :no-value:\n"
    kind = "automethod" if path.startswith("tamrf_xr.accessor.") else "autofunction"
    return f".. {kind}:: {path}\n"


def _behind(value: property) -> str:
    """Return what a property of an accessor leads to: the class of its own that it gives."""
    given = get_type_hints(value.fget).get("return")
    if not inspect.isclass(given) or not given.__module__.startswith("tamrf_xr."):
        return ""
    return _directive(f"{given.__module__}.{given.__qualname__}")


def _defined(path: str) -> str:
    """Return where a module's data have their words, which importing elsewhere leaves behind."""
    module, _, name = path.rpartition(".")
    below = [one for one in sys.modules if one == module or one.startswith(f"{module}.")]
    told = [one for one in below if ("", name) in attribute_docs(one)]
    return f"{told[0]}.{name}" if told else path


def _index() -> str:
    cubes = _listed(tamrf_xr.__all__)
    accessors = _listed([f"{one}.{name}" for one in ACCESSORS for name in methods(one)])
    return _headed(
        "API",
        "\n".join([
            "Names of ``tamrf_xr``\n---------------------\n", cubes,
            "The accessor ``.tamrf``\n-----------------------\n", accessors,
            "Modules\n-------\n", _listed(MODULES),
        ]),
    )  # fmt: skip


def _listed(names: Mapping[str, Any] | Any) -> str:
    rows = "".join(f"   {name}\n" for name in names)
    return f".. toctree::\n   :maxdepth: 1\n\n{rows}"


def _headed(title: str, text: str) -> str:
    return f"{title}\n{'=' * len(title)}\n\n{text}"
