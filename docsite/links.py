"""Links of the repository as links of the site: pages move, files are taken along."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

_LINK = re.compile(r"(?<!`)(\]\()(<?)([^)\s>]+)(>?)(\))")
_BARE = re.compile(r"<(https?://[^>]*)>")
_CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)


class BrokenLinkError(ValueError):
    """A link to what is not there, or that is no address."""


def rewritten(
    text: str, page: PurePosixPath, moved: Mapping[str, str], roots: tuple[Path, Path]
) -> str:
    """Return the text of a page with its links as they are on the site.

    Parameters
    ----------
    text
        Markdown.
    page
        Where the page lies in the repository.
    moved
        Per file of the repository that has a page, where that lies on the site.
    roots
        The repository, and the tree of the site: files without a page are copied there.

    Raises
    ------
    BrokenLinkError
        If a link leads nowhere.
    """

    def follow(match: re.Match[str]) -> str:
        return match[1] + match[2] + _target(match[3], page, moved, roots) + match[4] + match[5]

    for address in _BARE.findall(text):
        check_address(address, page)
    parts = _CODE.split(text)
    parts[::2] = [_LINK.sub(follow, part) for part in parts[::2]]
    return "".join(parts)


def _target(
    link: str, page: PurePosixPath, moved: Mapping[str, str], roots: tuple[Path, Path]
) -> str:
    if "://" in link or link.startswith("mailto:"):
        check_address(link, page)
        return link
    path, hash_, anchor = link.partition("#")
    if not path:
        return link
    there = os.path.normpath(page.parent / path)
    if not (roots[0] / there).exists():
        raise BrokenLinkError(f"{page}: link to {link}, and {there} is not there")
    target = moved[there] if there in moved else _taken_along(there, roots)
    here = PurePosixPath(moved[str(page)]).parent
    return os.path.relpath(target, here) + hash_ + anchor


def _taken_along(path: str, roots: tuple[Path, Path]) -> str:
    """Copy a file that is no page: it is downloaded."""
    if (roots[0] / path).is_dir():
        raise BrokenLinkError(f"{path} is a folder without a page; link to a file in it")
    copy = roots[1] / "files" / path
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(roots[0] / path, copy)
    return f"files/{path}"


def check_address(address: str, page: PurePosixPath) -> None:
    """Check that an address outside is well-formed; it is not asked.

    Raises
    ------
    BrokenLinkError
        If it is not.
    """
    parts = urlsplit(address)
    named = parts.scheme == "mailto" or "." in (parts.hostname or "") or _local(parts.hostname)
    if parts.scheme not in {"http", "https", "mailto"} or not named or not address.isascii():
        raise BrokenLinkError(f"{page}: {address} is no address")


def _local(host: str | None) -> bool:
    return host == "localhost"
