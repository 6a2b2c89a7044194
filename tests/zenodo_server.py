"""A server on this machine that answers as Zenodo's API does, and fails as told."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LICENSE, TITLE = "cc-by-4.0", "Support data"


class Zenodo:
    """Records, by number; what was asked; and how it fails."""

    def __init__(self):
        self.records: dict[int, dict[str, bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        """Path and range of each request."""
        self.cut: list[int] = []
        """Per answer of a file, the bytes after which the line breaks."""
        self.ranges = True
        self.url = ""

    def files_asked(self, name: str) -> list[str]:
        return [span for path, span in self.asked if path.endswith(f"/{name}/content")]

    def describe(self, number: int) -> dict:
        base = f"{self.url}/api/records/{number}"
        return {
            "id": number,
            "doi": f"10.5281/zenodo.{number}",
            "metadata": {
                "title": TITLE,
                "creators": [{"name": "MICHEL, Julien"}, {"name": "INGLADA, Jordi"}],
                "publication_date": "2025-10-29",
                "license": {"id": LICENSE},
            },
            "files": [
                {
                    "key": name,
                    "size": len(data),
                    "checksum": f"md5:{hashlib.md5(data).hexdigest()}",
                    "links": {"self": f"{base}/files/{name}/content"},
                }
                for name, data in self.records[number].items()
            ],
        }

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        span = request.headers.get("Range", "")
        self.asked.append((request.path, span))
        parts = request.path.strip("/").split("/")
        if parts[:2] != ["api", "records"] or int(parts[2]) not in self.records:
            request.send_error(404)
        elif len(parts) == 3:
            self._send(request, json.dumps(self.describe(int(parts[2]))).encode())
        else:
            self._send_file(request, self.records[int(parts[2])][parts[4]], span)

    def _send_file(self, request, data: bytes, span: str) -> None:
        start = int(span.removeprefix("bytes=").removesuffix("-")) if span and self.ranges else 0
        cut = self.cut.pop(0) if self.cut else len(data)
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        request.wfile.write(data[start:][:cut])
        request.close_connection = True

    @staticmethod
    def _send(request, data: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)


@contextmanager
def serving() -> Iterator[Zenodo]:
    zenodo = Zenodo()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            zenodo.answer(self)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    zenodo.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield zenodo
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
