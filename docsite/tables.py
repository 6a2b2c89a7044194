"""Pages of tables: methods with their options, sensors with their bands, errors and warnings."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator

from docsite.settings import attribute_docs
from tamrf_xr import errors
from tamrf_xr.methods.registry import METHODS
from tamrf_xr.sensors import CARRIED, SENSORS, Band


def pages() -> dict[str, str]:
    """Return every page, Markdown by path under ``reference/tables``."""
    return {"methods.md": _methods(), "sensors.md": _sensors(), "errors.md": _errors()}


def _methods() -> str:
    rows = "".join(_method(name, module) for name, module in METHODS.items())
    return (
        "# Table of methods\n\nWhat each makes and needs: [methods](../../methods.md).\n\n"
        f"| `method=` | | options |\n|---|---|---|\n{rows}"
    )


def _method(name: str, path: str) -> str:
    module = importlib.import_module(path)
    options = getattr(module, "OPTIONS", {})
    listed = ", ".join(f"`{key}={value!r}`" for key, value in options.items())
    about = attribute_docs(path).get(("", "OPTIONS"), "").replace("``", "`")
    first = (module.__doc__ or "").splitlines()[0]
    return f"| `{name}` | {first} | {listed}{'. ' if about else ''}{about} |\n"


def _sensors() -> str:
    head = "| band | common name | wavelength (um) | resolution (m) | MTF | also known as |\n"
    parts = ["# Table of sensors"]
    for sensor in (*SENSORS.values(), *CARRIED.values()):
        rows = "".join(_band(band) for band in sensor.all_bands)
        about = f"Group `{sensor.name}`, grid of {sensor.gsd:g} m."
        parts.append(f"## {sensor.title}\n\n{about}\n\n{head}|---|---|---|---|---|---|\n{rows}")
    parts.append("MTF: at the Nyquist frequency of the resolution; 1 where blur is ignored.")
    return "\n\n".join(parts) + "\n"


def _band(band: Band) -> str:
    others = ", ".join(f"`{name}`" for name in band.aliases)
    numbers = f"{band.center_wavelength:g} | {band.gsd:g} | {band.mtf:g}"
    return f"| `{band.name}` | `{band.common_name}` | {numbers} | {others} |\n"


def raised() -> Iterator[type]:
    """Yield every error and warning of the package, in the order of its module."""
    for value in vars(errors).values():
        if inspect.isclass(value) and value.__module__ == errors.__name__:
            yield value


def _errors() -> str:
    rows = "".join(
        f"| `{one.__name__}` | {', '.join(f'`{base.__name__}`' for base in one.__bases__)} "
        f"| {inspect.cleandoc(one.__doc__ or '').splitlines()[0]} |\n"
        for one in raised()
    )
    return (
        "# Table of errors and warnings\n\nAll are in `tamrf_xr.errors`. Every error is a "
        "`TamrfError` and the builtin that fits, so `except ValueError` catches a `CubeError`.\n\n"
        f"| name | is also | when |\n|---|---|---|\n{rows}"
    )
