"""Cubes by an openEO backend, the way LS2S2 was made: submit jobs, download results, extract.

The three steps may lie days apart: jobs are recorded in the folder of the area as they are made.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from tamrf_xr.errors import DownloadError, IngestError, OptionError, SourceNotFoundError
from tamrf_xr.paths import PathLike, local_path
from tamrf_xr.replacing import fresh_file
from tamrf_xr.sensors import SENSORS

BACKEND = "https://openeo.vito.be/openeo/1.2"
"""Terrascope, where LS2S2 was made; an account is needed."""

JOBS = "openeo_jobs.json"
CDF, HDF5 = b"CDF", b"\x89HDF"

JOB_OPTIONS = {"executor-memory": "10G", "executor-memoryOverhead": "16G", "driver-memory": "16G"}
"""What a job of a hundred square kilometres and a year took there."""


@dataclass(frozen=True, slots=True)
class Area:
    """What is asked: a place and a time."""

    name: str
    """Of its folder."""

    bounds: tuple[float, float, float, float]
    """Left, bottom, right, top."""

    crs: str
    """Of the bounds, such as ``"EPSG:32631"``."""

    start: str
    """First day."""

    end: str
    """The day after the last one."""

    def __post_init__(self) -> None:
        """Refuse what is no area, and no time."""
        left, bottom, right, top = self.bounds
        if not (left < right and bottom < top):
            raise OptionError(f"the area {self.name} has bounds {self.bounds}; expected left < "
                              "right and bottom < top")  # fmt: skip
        if not date.fromisoformat(self.start) < date.fromisoformat(self.end):
            raise OptionError(
                f"the area {self.name} is asked from {self.start} to {self.end}; expected the "
                "first day, then the one after the last"
            )
        if self.name != Path(self.name).name or not self.name:
            raise OptionError(f"the area's name {self.name!r} is no name of a folder")


@dataclass(frozen=True, slots=True)
class Collection:
    """What one sensor is called at the backend."""

    name: str
    """Of the collection."""

    bands: tuple[str, ...]
    """Bands of it that are read."""

    quality: tuple[str, ...]
    """Layers that tell usable pixels."""


COLLECTIONS = {
    "sentinel2": Collection(
        "SENTINEL2_L2A_SENTINELHUB",
        tuple(band.name for band in SENSORS["sentinel2"].bands),
        ("SCL", "CLM", "CLP", "dataMask"),
    ),
    "landsat": Collection(
        "LANDSAT8-9_L2",
        (*(band.name for band in SENSORS["landsat"].bands), "B10"),
        ("BQA", "ST_CDIST", "QA_RADSAT", "SR_QA_AEROSOL"),
    ),
}
"""As the published code has them (bin/sample_ls2s2_fusion.py, read 2026-11); not tried on the real
backend."""


def read_area(path: PathLike) -> Area:
    """Read the JSON file of an area: ``name``, ``aoi``, ``crs``, ``start_date``, ``end_date``.

    Raises
    ------
    SourceNotFoundError
        If it is not there.
    OptionError
        If it lacks something, or is no area.
    """
    place = local_path(path, "area")
    if not place.is_file():
        raise SourceNotFoundError(f"no area at {place}; name the JSON file of one")
    try:
        told = json.loads(place.read_text())
        left, bottom, right, top = map(float, told["aoi"])
        return Area(
            str(told["name"]),
            (left, bottom, right, top),
            str(told["crs"]),
            str(told["start_date"]),
            str(told["end_date"]),
        )
    except OptionError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"{place} is no area ({type(error).__name__}: {error}); expected JSON with name, aoi "
            "(left, bottom, right, top), crs, start_date and end_date"
        ) from error


def connect(backend: str = BACKEND, *, auth: str = "oidc") -> Any:
    """Connect to a backend.

    Parameters
    ----------
    backend
        Its address.
    auth
        ``"oidc"``: as the openeo client does, with what it has stored, else by a page that it
        names; ``"none"``.

    Raises
    ------
    OptionError
        If openeo is not installed.
    DownloadError
        If the backend cannot be reached, or lets nobody in.
    """
    try:
        import openeo
    except ImportError as error:
        raise OptionError(
            "openEO needs its client: pip install 'tamrf-xr[openeo]' (it wants pandas before 3)"
        ) from error
    with _told(backend):
        connection = openeo.connect(backend, auto_validate=False)
        return connection if auth == "none" else connection.authenticate_oidc()


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Tell what a backend, or the line to it, says in one line."""
    import requests
    from openeo.rest import OpenEoClientException

    try:
        yield
    except (OpenEoClientException, requests.RequestException) as error:
        raise DownloadError(
            f"{what}: {type(error).__name__}: {error}; try the same command again: jobs that are "
            "recorded are not sent twice"
        ) from error


def submit(
    connection: Any,
    area: Area,
    folder: PathLike,
    *,
    sensors: Sequence[str] = tuple(COLLECTIONS),
    max_cloud: float = 75,
) -> dict[str, str]:
    """Send the jobs of an area, but those that were sent before.

    Parameters
    ----------
    connection
        Of `connect`.
    area
        What is asked.
    folder
        Where areas lie; the jobs are recorded in ``FOLDER/NAME/openeo_jobs.json``.
    sensors
        Which.
    max_cloud
        Percent of cloud up to which the backend takes a scene.

    Returns
    -------
    dict
        Per sensor, the identifier of its job.
    """
    check_sensors(sensors)
    place = place_of(area, folder)
    place.mkdir(parents=True, exist_ok=True)
    jobs = _read_jobs(place)
    for sensor in sensors:
        with _told(f"job of {sensor}"):
            if sensor not in jobs:
                job = _create(connection, area, sensor, max_cloud)
                jobs[sensor] = str(job.job_id)
                # Before it is started: a job that nobody knows of would run for nobody.
                _write_jobs(place, jobs)
            job = connection.job(jobs[sensor])
            if job.status() == "created":
                job.start()
    return jobs


def _create(connection: Any, area: Area, sensor: str, max_cloud: float) -> Any:
    row = COLLECTIONS[sensor]
    left, bottom, right, top = area.bounds
    cube = connection.load_collection(
        row.name,
        spatial_extent={
            "west": left, "south": bottom, "east": right, "north": top, "crs": area.crs
        },
        temporal_extent=[area.start, area.end],
        bands=[*row.bands, *row.quality],
        max_cloud_cover=max_cloud,
        fetch_metadata=False,
    )  # fmt: skip
    saved = cube.save_result("NetCDF")
    return saved.create_job(title=f"{sensor}_{area.name}", job_options=JOB_OPTIONS)


def download(
    connection: Any, area: Area, folder: PathLike, *, sensors: Sequence[str] = tuple(COLLECTIONS)
) -> dict[str, str]:
    """Download the results of jobs that are finished, but those that are there.

    Returns
    -------
    dict
        Per sensor, the state of its job: ``"finished"`` where its file is there.

    Raises
    ------
    IngestError
        If a job was not sent, failed, or has no netCDF file.
    DownloadError
        If the backend cannot be reached, or what it sends is cut short.
    """
    check_sensors(sensors)
    place = place_of(area, folder)
    jobs, states = _read_jobs(place), {}
    for sensor in sensors:
        if (place / f"{sensor}.nc").exists():
            states[sensor] = "finished"
            continue
        if sensor not in jobs:
            raise IngestError(f"no job of {sensor} is recorded in {place / JOBS}; submit it first")
        with _told(f"job {jobs[sensor]} of {sensor}"):
            job = connection.job(jobs[sensor])
            states[sensor] = str(job.status())
            if states[sensor] in {"error", "canceled"}:
                raise IngestError(_why_failed(job, sensor, states[sensor], place))
            if states[sensor] == "finished":
                _fetch(job, place / f"{sensor}.nc")
    return states


def _why_failed(job: Any, sensor: str, state: str, place: Path) -> str:
    lines = [str(entry.message) for entry in job.logs(level="error")][-3:]
    told = f": {' | '.join(lines)}" if lines else ""
    return (
        f"job {job.job_id} of {sensor} is {state}{told}; take {sensor} out of {place / JOBS} and "
        "submit it again"
    )


def _fetch(job: Any, target: Path) -> None:
    assets = [asset for asset in job.get_results().get_assets() if _is_netcdf(asset)]
    if len(assets) != 1:
        names = ", ".join(asset.key for asset in assets) or "none"
        raise IngestError(f"job {job.job_id} has {len(assets)} netCDF files ({names}), expected 1")
    with fresh_file(target) as partial:
        assets[0].download(partial)
        with partial.open("rb") as file:
            if not file.read(4).startswith((CDF, HDF5)):
                raise DownloadError(f"{assets[0].href} sent no netCDF file; try again")
        size = assets[0].metadata.get("file:size")
        if size is not None and partial.stat().st_size != size:
            raise DownloadError(
                f"{assets[0].href} sent {partial.stat().st_size} of {size} bytes; try again"
            )


def _is_netcdf(asset: Any) -> bool:
    kind = str(asset.metadata.get("type", ""))
    return "netcdf" in kind or asset.key.endswith(".nc")


def check_sensors(sensors: Sequence[str]) -> None:
    """Refuse sensors that no collection is known of."""
    if not sensors or set(sensors) - set(COLLECTIONS):
        known = ", ".join(COLLECTIONS)
        raise OptionError(f"sensors are {', '.join(sensors) or 'none'}; expected some of {known}")


def place_of(area: Area, folder: PathLike) -> Path:
    """Return the folder in which the jobs and files of an area lie."""
    return local_path(folder, "folder of areas") / area.name


def _read_jobs(place: Path) -> dict[str, str]:
    path = place / JOBS
    if not path.exists():
        return {}
    try:
        return {str(sensor): str(job) for sensor, job in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError) as error:
        raise IngestError(f"{path} is damaged ({error}); mend or remove it") from error


def _write_jobs(place: Path, jobs: Mapping[str, str]) -> None:
    with fresh_file(place / JOBS) as partial:
        partial.write_text(json.dumps(dict(jobs), indent=1) + "\n")
