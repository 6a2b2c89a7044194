"""YAML that users give: no key twice, no aliases that multiply, one kind of error."""

from __future__ import annotations

import argparse
import re
from collections.abc import Hashable
from typing import Any

import yaml

LONGEST = 1_000_000
"""Characters of a document: a composed configuration has some ten thousand."""

MOST_VALUES = 100_000
"""Values of a document once its aliases are followed."""

_POWER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", re.ASCII)


class PlainYamlError(yaml.YAMLError):
    """Text that is not YAML, or YAML that is not plain."""


def load_yaml(text: str) -> Any:
    r"""Read a YAML document as plain values.

    Parameters
    ----------
    text
        The document.

    Returns
    -------
    object
        Mappings, lists, text, numbers, dates, True, False, None.

    Raises
    ------
    yaml.YAMLError
        If it is not YAML, has a key twice, is very long or deep, holds values that cannot be
        (such as the date 2022-13-45), or more of them than `MOST_VALUES` once aliases are
        followed.

    Examples
    --------
    >>> load_yaml("a: {b: 1e-4}")
    {'a': {'b': '1e-4'}}
    >>> load_yaml("a: 1\na: 2")
    Traceback (most recent call last):
    tamrf_xr.plain_yaml.PlainYamlError: the key 'a' is there twice, in lines 1 and 2; keep one
    """
    if len(text) > LONGEST:
        raise PlainYamlError(f"{len(text)} characters; expected at most {LONGEST}")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return loader.construct_document(node)
    except RecursionError:
        raise PlainYamlError("it is nested too deep; write it flatter") from None
    except (ValueError, TypeError, OverflowError, LookupError, AttributeError) as error:
        raise PlainYamlError(f"it holds a value that cannot be: {error}; quote text") from error
    finally:
        loader.dispose()


def option_value(text: str) -> Any:
    """Read the value of an option of the command line; ``1e4``, text in YAML 1.1, is a number.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is no YAML value.

    Examples
    --------
    >>> option_value("1e4"), option_value("paper"), option_value("2")
    (10000.0, 'paper', 2)
    """
    if _POWER.fullmatch(text.strip()):
        return float(text)
    try:
        return load_yaml(text)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"{text!r:.80} is no value: {one_line(error)}") from error


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the values below a node, aliases followed; refuse circles and too many."""
    if known.get(id(node)) == 0:
        raise PlainYamlError(f"line {node.start_mark.line + 1} refers to itself; write it out")
    if id(node) not in known:
        known[id(node)] = 0
        known[id(node)] = 1 + sum(_count(below, known) for below in _below(node))
        if known[id(node)] > MOST_VALUES:
            raise PlainYamlError(
                f"its aliases stand for more than {MOST_VALUES} values; write them out"
            )
    return known[id(node)]


def _below(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


class _Loader(yaml.SafeLoader):
    """Refuses a mapping with a key twice, of which YAML readers silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  (yaml's signature)
        seen: dict[str, int] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise PlainYamlError(
                        f"the key {key.value!r} is there twice, in lines {seen[key.value]} and "
                        f"{line}; keep one"
                    )
                seen[key.value] = line
        return super().construct_mapping(node, deep=deep)


def one_line(error: Exception) -> str:
    """Return the words of an error on one line, as messages are."""
    return " ".join(str(error).split())
