"""A STAC API and its files on localhost, with everything that goes wrong on the way."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pandas as pd
from shapely.geometry import box, shape

CORE = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/item-search",
]


@dataclass
class Api:
    """What it has, how it behaves, what it was asked."""

    folder: Path
    """Of the files."""

    items: list[dict[str, Any]] = field(default_factory=list)
    page: int = 3
    """Items of a page."""

    relative: bool = False
    """Whether the link to the next page is relative."""

    by_get: bool = False
    """Whether pages are searched with GET alone."""

    answers: dict[str, list[int]] = field(default_factory=dict)
    """Per path, statuses to answer with before it works."""

    allowed: Callable[[str], bool] | None = None
    """Whether a file may be read with a signature."""

    asked: Counter[str] = field(default_factory=Counter)
    """Requests, by path."""

    on_read: Callable[[str], None] = lambda _path: None
    url: str = ""

    @property
    def reads(self) -> dict[str, int]:
        """Requests of files."""
        return {path: n for path, n in self.asked.items() if path.startswith("/files/")}

    def href(self, name: str) -> str:
        return f"{self.url}/files/{name}"

    def collections(self) -> list[str]:
        return sorted({item["collection"] for item in self.items})


@contextmanager
def serving(api: Api) -> Iterator[Api]:
    handler = type("Handler", (_Handler,), {"api": api})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        api.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    api: Api
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: else each answer waits 40 ms
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer({})

    def do_GET(self) -> None:
        asked = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
        self._answer(asked)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}"))

    def _answer(self, asked: dict[str, Any]) -> None:
        path = urlsplit(self.path).path
        self.api.asked[path] += 1
        if waiting := self.api.answers.get(path):
            return self._send(waiting.pop(0), b"{}")
        if path.startswith("/files/"):
            return self._file(path)
        document = self._document(path, asked)
        if document is None:
            return self._send(404, b'{"code": "NotFound"}')
        return self._send(200, json.dumps(document).encode())

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _file(self, path: str) -> None:
        query = urlsplit(self.path).query
        if self.api.allowed is not None and not self.api.allowed(query):
            return self._send(403, b"signature expired")
        file = self.api.folder / path.removeprefix("/files/")
        if not file.is_file():
            return self._send(404, b"")
        self.api.on_read(path)
        content = file.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return self._send(200, content, Accept_Ranges="bytes")
        first, last = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
        if first >= len(content):
            return self._send(416, b"", Content_Range=f"bytes */{len(content)}")
        part = content[first : last + 1]
        return self._send(206, part, Content_Range=f"bytes {first}-{last}/{len(content)}")

    def _document(self, path: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        if path == "/":
            return self._landing()
        names = self.api.collections()
        if path == "/collections":
            return {"collections": [_collection(name) for name in names], "links": []}
        if path.startswith("/collections/"):
            name = path.removeprefix("/collections/")
            return _collection(name) if name in names else None
        return self._search(asked) if path == "/search" else None

    def _landing(self) -> dict[str, Any]:
        url = self.api.url
        methods = ["GET"] if self.api.by_get else ["GET", "POST"]
        links = [{"rel": "self", "href": url}, {"rel": "root", "href": url}]
        links += [{"rel": "data", "href": f"{url}/collections"}]
        links += [
            {"rel": "search", "href": f"{url}/search", "method": m, "type": "application/geo+json"}
            for m in methods
        ]
        return {
            "type": "Catalog", "id": "local", "description": "of a test", "links": links,
            "stac_version": "1.0.0", "conformsTo": CORE,
        }  # fmt: skip

    def _search(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = [item for item in self.api.items if _matches(item, asked)]
        start = int(asked.get("token", 0))
        links = []
        if start + self.api.page < len(found):
            links.append(self._next(asked, start + self.api.page))
        return {
            "type": "FeatureCollection",
            "features": found[start : start + self.api.page],
            "links": links,
        }

    def _next(self, asked: dict[str, Any], token: int) -> dict[str, Any]:
        base = "" if self.api.relative else self.api.url
        if self.command == "POST":
            body = {**asked, "token": str(token)}
            return {"rel": "next", "href": f"{base}/search", "method": "POST", "body": body}
        query = urlencode({**asked, "token": token})
        return {"rel": "next", "href": f"{base}/search?{query}", "method": "GET"}


def _matches(item: dict[str, Any], asked: dict[str, Any]) -> bool:
    names = asked.get("collections", [])
    names = names.split(",") if isinstance(names, str) else names
    place = asked["intersects"]
    place = shape(json.loads(place) if isinstance(place, str) else place)
    first, last = (_moment(end) for end in asked["datetime"].split("/"))
    time = pd.Timestamp(item["properties"]["datetime"])
    return (
        item["collection"] in names
        and shape(item["geometry"]).intersects(place)
        and first <= time <= last
    )


def _moment(text: str) -> pd.Timestamp:
    moment = pd.Timestamp(text if text != ".." else "2100-01-01")
    return moment if moment.tz else moment.tz_localize("UTC")


def _collection(name: str) -> dict[str, Any]:
    return {
        "type": "Collection", "id": name, "stac_version": "1.0.0", "description": name,
        "license": "other", "links": [],
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-01-01T00:00:00Z", None]]},
        },
    }  # fmt: skip


def footprint(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    return box(west, south, east, north).__geo_interface__
