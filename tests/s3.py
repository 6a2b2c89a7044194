"""A local S3 server (moto) in a process of its own, and what talks to it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

SERVER = """
import logging, sys
from pathlib import Path
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
logging.getLogger("werkzeug").setLevel(logging.ERROR)
moto, folder = DomainDispatcherApplication(create_backend_app), Path(sys.argv[1])

def serve(environ, start):
    if (folder / "unconditional").exists():
        environ.pop("HTTP_IF_NONE_MATCH", None)
    log = folder / "requests"
    if log.exists():
        with log.open("a") as file:
            print(environ["REQUEST_METHOD"], environ["PATH_INFO"], file=file)
    fault = folder / "fault"
    pixels = any(part in environ["PATH_INFO"] for part in ("/c/0/0/", "/chunks/"))
    if fault.exists() and pixels and environ["REQUEST_METHOD"] == "PUT":
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, *answer = fault.read_text().splitlines()
        start(status, [])
        return [line.encode() for line in answer]
    return moto(environ, start)

# One request at a time: moto looks whether a key is there and writes it in two steps.
server = make_server("127.0.0.1", 0, serve)
print(server.port, flush=True)
server.serve_forever()
"""
"""Moto, with faults that files in a folder ask for."""
IN_MEMORY = 1 << 30
"""Bytes of an object that moto holds in memory rather than in a temporary file."""
KEYS = {"access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}


def options(endpoint: str, **more: str) -> dict[str, str]:
    return {"endpoint": endpoint, **KEYS, **more}


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """Start a server with an empty bucket ``bucket``; give its address.

    A file ``fault`` in the folder is the status that PUTs of pixels get, and in its second line the
    answer; ``unconditional`` makes it a server that does not know If-None-Match; in ``requests`` it
    notes what it is asked.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, folder],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(IN_MEMORY)},
    )
    try:
        endpoint = f"http://127.0.0.1:{int(process.stdout.readline())}"
        make_bucket(endpoint)
        yield endpoint
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def make_bucket(endpoint: str, bucket: str = "bucket") -> None:
    request = urllib.request.Request(f"{endpoint}/{bucket}", method="PUT")
    request.add_header("Authorization", _CREDENTIAL)
    for _ in range(50):
        with contextlib.suppress(ConnectionError):
            urllib.request.urlopen(request, timeout=10).close()
            return
        time.sleep(0.1)


_CREDENTIAL = (
    "AWS4-HMAC-SHA256 Credential=test/20261128/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
)
