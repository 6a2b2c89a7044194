"""Pages of the command line, one a command, from the parser that reads it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from tamrf_xr.cli import build_parser
from tamrf_xr.train import build_parser as build_training


def pages() -> dict[str, str]:
    """Return every page, Markdown by path under ``reference/cli``."""
    found = {"tamrf-xr": _overview(build_parser())}
    found |= {name: _page(name, parser) for name, parser in commands()}
    found["tamrf_xr.train"] = _page("python -m tamrf_xr.train", build_training())
    rows = "\n".join(found)
    toc = f"```{{toctree}}\n:maxdepth: 1\n\n{rows}\n```\n"
    return {f"{name}.md": text for name, text in found.items()} | {
        "index.md": "# Command line\n\n" + toc
    }


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each command by its name on a page, such as ``ingest-stac``, with its parser."""
    yield from _below(build_parser(), ())


def _below(
    parser: argparse.ArgumentParser, path: tuple[str, ...]
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for name, below in _subcommands(parser).items():
        yield "-".join((*path, name)), below
        yield from _below(below, (*path, name))


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(found[0]) if found else {}


def _overview(parser: argparse.ArgumentParser) -> str:
    about = {a.dest: a.help for s in _choices(parser) for a in s._choices_actions}
    rows = "".join(f"| [`{name}`]({name}.md) | {text} |\n" for name, text in about.items())
    return (
        f"# tamrf-xr\n\n{parser.description}\n\n"
        f"| command | |\n|---|---|\n{rows}\n"
        "Exit codes: 0 all went well, 1 an error (told on standard error), 2 wrong usage, "
        "130 interrupted.\n"
    )


def _choices(
    parser: argparse.ArgumentParser,
) -> Iterator[argparse._SubParsersAction[argparse.ArgumentParser]]:
    yield from (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))


def _page(name: str, parser: argparse.ArgumentParser) -> str:
    below = "".join(
        f"| [`{word}`]({name}-{word}.md) | {one.description or ''} |\n"
        for word, one in _subcommands(parser).items()
    )
    rows = "".join(_row(action, parser) for action in parser._actions if _shown(action))
    parts = [
        f"# {parser.prog}", parser.description or "",
        f"```text\n{_usage(parser)}\n```",
        f"| command | |\n|---|---|\n{below}" if below else "",
        f"| option | | default |\n|---|---|---|\n{rows}" if rows else "",
        _epilog(parser),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _shown(action: argparse.Action) -> bool:
    hidden = action.help == argparse.SUPPRESS or isinstance(action, argparse._SubParsersAction)
    return not hidden and not isinstance(action, argparse._HelpAction)


def _usage(parser: argparse.ArgumentParser) -> str:
    return parser.format_usage().removeprefix("usage: ").strip()


def _row(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    shape = parser._get_formatter()
    words = shape._format_action_invocation(action).replace("|", "\\|")
    about = shape._expand_help(action) if action.help else ""
    told = action.default not in {None, argparse.SUPPRESS} if _plain(action.default) else False
    told = told and not isinstance(action.default, bool)
    default = f"`{action.default}`" if told else ""
    about = about.replace(f"(default: {action.default})", "").strip().replace("|", "\\|")
    return f"| `{words}` | {about} | {default} |\n"


def _plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _epilog(parser: argparse.ArgumentParser) -> str:
    if not parser.epilog:
        return ""
    lines = parser.epilog.splitlines()
    code = [line.strip() for line in lines if line.startswith("  ")]
    notes = [line for line in lines if not line.startswith("  ") and line != "examples:"]
    block = "```sh\n" + "\n".join(code) + "\n```" if code else ""
    return "## Examples\n\n" + "\n\n".join(part for part in (block, " ".join(notes)) if part)
