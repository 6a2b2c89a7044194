"""The example of the README, word by word, against a catalogue on localhost."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pystac
import rasterio
from PIL import Image

from tests.forking import Server
from tests.stac.conftest import both

README = Path(__file__).parents[2] / "README.md"


def test_from_a_place_to_a_published_product(api, tmp_path):
    both(api)
    text = README.read_text().split("## From a place to a published product")[1]
    aoi, lines = (re.search(rf"```{kind}\n(.*?)```", text, re.S)[1] for kind in ("json", "sh"))
    (tmp_path / "aoi.json").write_text(aoi)
    *commands, view = (shlex.split(line, comments=True) for line in lines.splitlines())
    server = Server()
    for program, *words in commands:
        mirror = ["--url", api.url] if words[0] == "ingest" else []
        assert program == "tamrf-xr"
        done = server.run("tamrf_xr.cli", *words, *mirror, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    server.close()
    assert np.asarray(Image.open(tmp_path / "picture.png")).std() > 5
    catalogue = pystac.read_file(str(tmp_path / "catalogue" / "collection.json"))
    named = {
        Path(a.href).name for i in catalogue.get_items(recursive=True) for a in i.assets.values()
    }
    made = {path.name for path in (tmp_path / "cogs").glob("*.tif")}
    assert made == named
    with rasterio.open(tmp_path / "cogs" / "sentinel2_20220610.tif") as file:
        assert (file.shape, file.crs.to_epsg()) == ((60, 60), 32631)
    assert b"<title>" in page(view, tmp_path)


def page(words: list[str], folder: Path) -> bytes:
    """Serve, and ask until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python = [sys.executable, "-m", "tamrf_xr.cli", *words[1:], "--port", str(port)]
    server = subprocess.Popen(python, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        for _ in range(120):
            assert server.poll() is None
            try:
                return urllib.request.urlopen(f"http://localhost:{port}/", timeout=60).read()
            except urllib.error.URLError:
                threading.Event().wait(0.5)  # time.sleep does not wait in these tests
        raise AssertionError("nobody answers")
    finally:
        server.terminate()
        server.wait(10)
