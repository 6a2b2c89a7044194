"""Cubes by an openEO backend: a small one on this machine, for the real ones need an account."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pyproj import CRS

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.errors import DownloadError, IngestError, OptionError, SourceNotFoundError
from tamrf_xr.ingest.openeo import COLLECTIONS, connect, download, read_area, submit
from tamrf_xr.ingest.openeo_cube import extract

pytest.importorskip("openeo", reason="its client wants pandas before 3: apart from the rest")

AREA = {
    "name": "31TCJ_12",
    "aoi": [351360.0, 4869450.0, 351660.0, 4869750.0],
    "crs": "EPSG:32631",
    "start_date": "2022-01-01",
    "end_date": "2023-01-01",
}


BAD_ROW = 10
"""First of the rows of Sentinel-2 that one layer each calls unusable."""


class Backend:
    """Jobs in memory; `tick` takes them on, `spoil` says what is wrong."""

    def __init__(self):
        self.jobs: dict[str, dict] = {}
        self.files: dict[str, bytes] = {}
        self.started: list[str] = []
        self.spoil = ""
        self.url = ""

    def tick(self, status="finished"):
        for job in self.jobs.values():
            job["status"] = status

    def get(self, parts: list[str]):
        match parts:
            case []:
                ends = [("/jobs", "POST"), ("/jobs/{job_id}/results", "POST")]
                listed = [{"path": path, "methods": [way, "GET"]} for path, way in ends]
                return {"api_version": "1.2.0", "stac_version": "1.0.0", "id": "x", "title": "x",
                        "description": "x", "backend_version": "1", "endpoints": listed,
                        "links": []}  # fmt: skip
            case ["file_formats"]:
                return {"input": {}, "output": {"NetCDF": {"gis_data_types": ["raster"]}}}
            case ["jobs", job]:
                return {"id": job, **self.jobs[job]}
            case ["jobs", _, "logs"]:
                return {"logs": [{"id": "1", "level": "error", "message": "no scenes"}]}
            case ["jobs", job, "results"]:
                name = self.jobs[job]["title"]
                asset = {"href": f"{self.url}/files/{name}", "type": "application/x-netcdf",
                         "file:size": len(self.files[name])}  # fmt: skip
                extra = {"other.nc": asset} if self.spoil == "two" else {}
                return {"id": job, "type": "Feature", "assets": {"openEO.nc": asset, **extra}}
        return None

    def answer(self, request) -> None:
        parts = [part for part in request.path.split("?")[0].split("/") if part]
        length = int(request.headers.get("Content-Length") or 0)
        body = json.loads(request.rfile.read(length) or b"null")
        if parts[:1] == ["files"]:
            data = self.files[parts[1]]
            self.send(request, 200, b"<html>" if self.spoil == "page" else data)
        elif request.command == "POST" and parts == ["jobs"]:
            name = f"job-{len(self.jobs)}"
            self.jobs[name] = {**body, "status": "created"}
            self.send(request, 201, b"", {"OpenEO-Identifier": name, "Location": self.url})
        elif request.command == "POST":
            self.started.append(parts[1])
            self.jobs[parts[1]]["status"] = "queued"
            self.send(request, 202, b"")
        elif (found := self.get(parts)) is not None:
            self.send(request, 200, json.dumps(found).encode())
        else:
            self.send(request, 404, b'{"code": "NotFound", "message": "nothing there"}')

    @staticmethod
    def send(request, status: int, data: bytes, headers=None) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(data)), "Content-Type": "application/json",
                            **(headers or {})}.items():  # fmt: skip
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)


@pytest.fixture
def backend():
    made = Backend()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            made.answer(self)

        do_POST = do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def aoi(tmp_path):
    path = tmp_path / "aoi.json"
    path.write_text(json.dumps(AREA))
    return path


def ramp(gsd: float, count: int, shift: float = 0.0):
    """Reflectance that tells where a pixel is: rising eastwards and northwards."""
    x = AREA["aoi"][0] + (np.arange(count) + 0.5) * gsd
    y = AREA["aoi"][3] - (np.arange(count) + 0.5) * gsd
    value = (
        0.2 + ((x + shift - AREA["aoi"][0])[None, :] + (y - shift - AREA["aoi"][1])[:, None]) / 3000
    )
    return x, y, value.astype(np.float32)


def netcdf(sensor: str, tmp_path) -> bytes:
    gsd, count = (10.0, 30) if sensor == "sentinel2" else (30.0, 10)
    x, y, value = ramp(gsd, count, 0.0 if sensor == "sentinel2" else 15.0)
    series = np.stack([value, value + 0.01])
    stored = np.round(series * 10_000).astype(np.float32) if sensor == "sentinel2" else series
    asked = COLLECTIONS[sensor]
    layers = dict.fromkeys(asked.bands, stored)
    quality = {name: np.zeros(series.shape, np.int16) for name in asked.quality}
    if sensor == "sentinel2":
        quality["SCL"][:] = 4
        quality["dataMask"][:] = 1
        bad = {"SCL": 9, "CLM": 1, "CLP": 200, "dataMask": 0}
        for row, (name, value) in enumerate(bad.items(), BAD_ROW):
            quality[name][:, row, 12] = value
    else:
        layers["B10"] = (280 + 10 * series).astype(np.float32)
        quality["ST_CDIST"] = np.full(series.shape, 5, np.float32)
        bad = {"BQA": 8, "ST_CDIST": 0.5, "QA_RADSAT": 2, "SR_QA_AEROSOL": 0b11000000}
        for row, (name, value) in enumerate(bad.items(), 3):
            quality[name][:, row, 4] = value
    times = pd.to_datetime(["2022-06-01", "2022-06-11"])
    data = xr.Dataset(
        {name: (("t", "y", "x"), array) for name, array in (layers | quality).items()},
        coords={"t": times, "y": y, "x": x},
    )
    data["crs"] = xr.DataArray(0, attrs={"crs_wkt": CRS(32631).to_wkt()})
    path = tmp_path / f"{sensor}-source.nc"
    data.to_netcdf(path, engine="h5netcdf")
    return path.read_bytes()


@pytest.fixture
def filled(backend, tmp_path):
    for sensor in COLLECTIONS:
        backend.files[f"{sensor}_{AREA['name']}"] = netcdf(sensor, tmp_path)
    return backend


def words(backend, aoi, folder, mode, *more):
    base = ["ingest", "openeo", folder, "--aoi", aoi, "--mode", mode, "--auth", "none", "--quiet"]
    return [str(word) for word in (*base, "--backend", backend.url, *more)]


def test_three_steps_days_apart_make_the_cube(filled, aoi, tmp_path, capsys):
    folder = tmp_path / "areas"
    assert main(words(filled, aoi, folder, "submit")) == 0
    assert capsys.readouterr().out == "sentinel2: job-0\nlandsat: job-1\n"
    assert main(words(filled, aoi, folder, "download")) == 1
    assert "sentinel2: queued" in capsys.readouterr().out
    filled.tick()
    assert main(words(filled, aoi, folder, "download")) == 0
    assert main(words(filled, aoi, folder, "extract")) == 0
    cube = tamrf_xr.open_cube(folder / "31TCJ_12.zarr")
    hr, lr = cube["sentinel2"], cube["landsat"]
    x, y, value = ramp(10.0, 30)
    rows, columns = (np.isin(axis, np.asarray(hr[name])) for axis, name in ((y, "y"), (x, "x")))
    expected = np.round(value[np.ix_(rows, columns)] * 10_000) / 10_000
    np.testing.assert_allclose(hr["reflectance"][0, 0], expected, atol=1e-6)
    # A ramp is where it is on the ground: the half pixel is undone, in both directions.
    mean = hr["reflectance"][0, 0].coarsen(y=3, x=3).mean()
    inside = {"y": slice(2, -2), "x": slice(2, -2)}
    np.testing.assert_allclose(lr["reflectance"][0, 0][inside], mean[inside], atol=2e-4)
    np.testing.assert_allclose(
        lr["surface_temperature"][0][inside], 280 + 10 * mean[inside], atol=0.06
    )
    assert lr["reflectance"].sizes["band"] == 7


def test_pixels_that_any_layer_calls_unusable_are_so(filled, aoi, tmp_path):
    folder = tmp_path / "areas"
    for mode in ("submit", "download", "extract"):
        assert main(words(filled, aoi, folder, mode)) == 0
        filled.tick()
    hr = tamrf_xr.open_cube(folder / "31TCJ_12.zarr")["sentinel2"]
    x, y, _ = ramp(10.0, 30)
    seen = hr["valid"].sel(x=x[12], y=y[BAD_ROW - 1 : BAD_ROW + 5])[0]
    assert seen.values.tolist() == [True, False, False, False, False, True]
    assert int((~hr["valid"][0]).sum()) == 4
    lr = tamrf_xr.open_cube(folder / "31TCJ_12.zarr")["landsat"]
    inside = lr["valid"][0, 1:-1, 1:-1].values
    assert (~inside).sum() == (~inside).sum(axis=0).max() == 4


def test_jobs_ask_what_ls2s2_asked(filled, aoi, tmp_path):
    submit(connect(filled.url, auth="none"), read_area(aoi), tmp_path)
    for sensor, job in zip(COLLECTIONS, filled.jobs.values(), strict=True):
        steps = job["process"]["process_graph"]
        (load,) = [s["arguments"] for s in steps.values() if s["process_id"] == "load_collection"]
        assert load["id"] == COLLECTIONS[sensor].name
        assert load["spatial_extent"]["west"] == 351360.0
        assert load["spatial_extent"]["crs"] == "EPSG:32631"
        assert load["temporal_extent"] == ["2022-01-01", "2023-01-01"]
        assert load["bands"] == [*COLLECTIONS[sensor].bands, *COLLECTIONS[sensor].quality]
        assert "eo:cloud_cover" in load["properties"]
        (save,) = [s["arguments"] for s in steps.values() if s["process_id"] == "save_result"]
        assert save["format"].lower() == "netcdf"


def test_a_job_is_sent_once_and_started_if_it_was_not(filled, aoi, tmp_path, monkeypatch):
    area, connection = read_area(aoi), connect(filled.url, auth="none")
    start = type(connection.job("x")).start

    def killed(_job):
        raise KeyboardInterrupt

    monkeypatch.setattr("openeo.rest.job.BatchJob.start", killed)
    with pytest.raises(KeyboardInterrupt):
        submit(connection, area, tmp_path)
    assert json.loads((tmp_path / "31TCJ_12" / "openeo_jobs.json").read_text()) == {
        "sentinel2": "job-0"
    }
    monkeypatch.setattr("openeo.rest.job.BatchJob.start", start)
    jobs = submit(connection, area, tmp_path)
    assert submit(connection, area, tmp_path) == jobs == {"sentinel2": "job-0", "landsat": "job-1"}
    assert filled.started == ["job-0", "job-1"]


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        ("error", IngestError, r"job-0 of sentinel2 is error: no scenes; take sentinel2 out of"),
        ("two", IngestError, "2 netCDF files"),
        ("page", DownloadError, "sent no netCDF file"),
    ],
)
def test_results_that_are_none_are_told_and_leave_nothing(
    filled, aoi, tmp_path, spoil, error, words
):
    area, connection = read_area(aoi), connect(filled.url, auth="none")
    submit(connection, area, tmp_path)
    filled.tick("error" if spoil == "error" else "finished")
    filled.spoil = spoil
    with pytest.raises(error, match=words):
        download(connection, area, tmp_path)
    assert [path.name for path in (tmp_path / "31TCJ_12").iterdir()] == ["openeo_jobs.json"]


def test_steps_out_of_order_and_unreachable_backends_are_told(backend, aoi, tmp_path, monkeypatch):
    area = read_area(aoi)
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda *_: None)
    with pytest.raises(DownloadError, match=r"http://127.0.0.1:1"):
        connect("http://127.0.0.1:1", auth="none")
    with pytest.raises(IngestError, match="no job of sentinel2 is recorded"):
        download(connect(backend.url, auth="none"), area, tmp_path)
    with pytest.raises(SourceNotFoundError, match="download it first"):
        extract(area, tmp_path)
    with pytest.raises(OptionError, match="expected some of sentinel2, landsat"):
        extract(area, tmp_path, sensors=["modis"])
    assert not (tmp_path / "31TCJ_12.zarr").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"aoi": [1, 2, 3]}, "is no area"),
        ({"aoi": [3, 2, 1, 4]}, "expected left < right"),
        ({"start_date": "2024-01-01"}, "expected the first day"),
        ({"start_date": "soon"}, "is no area"),
        ({"name": "../x"}, "no name of a folder"),
    ],
)
def test_areas_that_are_none_are_told(tmp_path, change, words):
    (tmp_path / "a.json").write_text(json.dumps(AREA | change))
    with pytest.raises(OptionError, match=words):
        read_area(tmp_path / "a.json")
    with pytest.raises(SourceNotFoundError, match="no area at"):
        read_area(tmp_path / "b.json")
