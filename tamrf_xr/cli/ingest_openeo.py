"""`tamrf-xr ingest openeo`: jobs at an openEO backend, their results, the cube of these."""

from __future__ import annotations

from typing import Any

from tamrf_xr.cli.options import command, defaulted, shared


def add(sources: Any) -> None:
    """Add the source."""
    parser = command(
        sources,
        openeo,
        about="make a cube by an openEO backend, as LS2S2 was made",
        examples="  tamrf-xr ingest openeo areas/ --aoi aoi.json --mode submit\n"
        "  tamrf-xr ingest openeo areas/ --aoi aoi.json --mode download   # hours later\n"
        "  tamrf-xr ingest openeo areas/ --aoi aoi.json --mode extract",
    )
    parser.add_argument("folder", metavar="FOLDER", help="jobs and files lie in FOLDER/NAME")
    about = "JSON: name, aoi (bounds), crs, start_date, end_date"
    parser.add_argument("--aoi", required=True, metavar="JSON", help=about)
    parser.add_argument("--mode", required=True, choices=["submit", "download", "extract"])
    sensors = ["sentinel2", "landsat"]
    parser.add_argument("--sensors", nargs="+", default=sensors, choices=sensors)
    parser.add_argument("--backend", help="address (default: that of Terrascope)")
    parser.add_argument("--auth", choices=["oidc", "none"], default="oidc")
    defaulted(parser, "--max-cloud", 75.0, "percent of cloud of a scene")
    shared(parser, "--overwrite", help="with extract: replace the cube")


def openeo(folder: str, *, aoi: str, mode: str, **how: Any) -> int:
    """Do one step, and tell how far it is."""
    from tamrf_xr.ingest import openeo as steps

    area, sensors = steps.read_area(aoi), how["sensors"]
    if mode == "extract":
        from tamrf_xr.ingest.openeo_cube import extract

        print(extract(area, folder, sensors=sensors, overwrite=how["overwrite"]))
        return 0
    connection = steps.connect(how["backend"] or steps.BACKEND, auth=how["auth"])
    if mode == "submit":
        asked = {"sensors": sensors, "max_cloud": how["max_cloud"]}
        told = steps.submit(connection, area, folder, **asked)
    else:
        told = steps.download(connection, area, folder, sensors=sensors)
    for sensor, word in told.items():
        print(f"{sensor}: {word}")
    return 0 if mode == "submit" or set(told.values()) == {"finished"} else 1
