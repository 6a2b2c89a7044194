"""A local S3 server (moto) in a process of its own, and what talks to it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

SERVER = """
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
import logging, sys
logging.getLogger("werkzeug").setLevel(logging.ERROR)
# One request at a time: moto looks whether a key is there and writes it in two steps.
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app))
print(server.port, flush=True)
server.serve_forever()
"""
KEYS = {"access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}


def options(endpoint: str, **more: str) -> dict[str, str]:
    return {"endpoint": endpoint, **KEYS, **more}


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start a server with an empty bucket ``bucket``; give its address."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
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
