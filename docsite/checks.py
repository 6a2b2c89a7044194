"""What a built site must hold: every link of it leads somewhere, and nothing is fetched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_FETCHED = {"img": "src", "script": "src", "iframe": "src", "source": "src"}


@dataclass
class Page(HTMLParser):
    """What a page has to link to, what it links to, and what it loads."""

    anchors: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    loads: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        values = {name: value for name, value in attrs if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        if tag in _FETCHED and _FETCHED[tag] in values:
            self.loads.add(values[_FETCHED[tag]])
        if tag == "link" and "href" in values and values.get("rel") != "canonical":
            self.loads.add(values["href"])


def faults(site: Path) -> list[str]:
    """Return what is wrong with a built site, a line each: none where all is well."""
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    return [fault for path, page in pages.items() for fault in _of_page(path, page, pages, site)]


def _read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _of_page(path: Path, page: Page, pages: dict[Path, Page], site: Path) -> Iterator[str]:
    name = path.relative_to(site)
    for link in sorted(page.loads):
        if urlsplit(link).netloc:
            yield f"{name}: loads {link} from elsewhere"
        elif not link.startswith("data:") and not _file(path, link).exists():
            yield f"{name}: loads {link}, which is not there"
    for link in sorted(page.links):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = _file(path, link)
        if not target.exists():
            yield f"{name}: links to {link}, which is not there"
        elif (
            parts.fragment
            and target in pages
            and unquote(parts.fragment) not in pages[target].anchors
        ):
            yield f"{name}: links to {link}, which has no such place"


def _file(page: Path, link: str) -> Path:
    path = unquote(urlsplit(link).path)
    return Path(os.path.normpath(page.parent / path)) if path else page
