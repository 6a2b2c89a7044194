"""Functions that take options as one, and show each by name and default."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def with_options(types: type[Any], defaults: Mapping[str, Any]) -> Callable[[Function], Function]:
    """Show options in the signature of a function that takes them all.

    Parameters
    ----------
    types
        The `typing.TypedDict` of its keywords.
    defaults
        Values of those that are not given.
    """

    def decorate(function: Function) -> Function:
        own = inspect.signature(function)
        named = [one for one in own.parameters.values() if one.kind is not one.VAR_KEYWORD]
        kind = inspect.Parameter.KEYWORD_ONLY
        named += [
            inspect.Parameter(name, kind, default=value, annotation=types.__annotations__[name])
            for name, value in defaults.items()
        ]
        function.__signature__ = own.replace(parameters=named)  # type: ignore[attr-defined]
        return function

    return decorate
