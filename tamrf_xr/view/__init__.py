"""Look at cubes and products in a browser: an image, a swipe, the series of a pixel."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import xarray as xr

from tamrf_xr.errors import CubeError, OptionError


def view(tree: xr.DataTree, cube: xr.DataTree | None = None) -> Any:
    """Look at a product or a cube, in a notebook.

    Two dates, sensors or band combinations under a swipe, and the series of the pixel that is
    clicked on, with observations and whether they are usable. What is looked at is read when it is
    looked at, thinned to the screen.

    Parameters
    ----------
    tree
        A product or a cube.
    cube
        The cube that a product was made of, for its observations; by default the one that the
        product names, if it is still there.

    Returns
    -------
    panel.viewable.Viewable
        Shown by a notebook; ``.show()`` opens it in a browser.

    Raises
    ------
    OptionError
        If panel is not installed.
    CubeError
        If there is no image.
    """
    panel = _panel()
    panel.extension()
    return _viewer(tree, cube).page()


def serve(
    tree: xr.DataTree, cube: xr.DataTree | None = None, *, port: int = 5006, **how: Any
) -> Any:
    """Serve the page of `view`, one for each that opens it.

    Parameters
    ----------
    tree, cube
        As of `view`.
    port
        On this machine alone; reach it from another through ``ssh -L``.
    **how
        For `panel.serve`.

    Returns
    -------
    object
        What `panel.serve` returns: it blocks, unless ``threaded=True``.

    Raises
    ------
    OptionError
        If panel is not installed, or the port is taken or none.
    """
    panel = _panel()
    _check_port(port)
    _viewer(tree, cube)  # what is wrong with the data is told here, not on a page
    hosts = [f"{host}:{port}" for host in ("localhost", "127.0.0.1")]
    return panel.serve(
        lambda: _viewer(tree, cube).page(),
        port=port,
        address="127.0.0.1",
        websocket_origin=hosts,
        title="tamrf-xr",
        **{"show": False, **how},
    )


def _check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise OptionError(f"port is {port}; expected 1 to 65535")
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError as error:
            raise OptionError(f"port {port} cannot be had ({error}); name another") from error


def _viewer(tree: xr.DataTree, cube: xr.DataTree | None) -> Any:
    from tamrf_xr.cube import groups_of
    from tamrf_xr.view.app import Viewer

    for name, group in groups_of(tree).items():
        if not {"reflectance", "surface_temperature"} & {*group.data_vars}:
            raise CubeError(
                f"/{name} has no reflectance to show (found "
                f"{', '.join(map(str, group.data_vars))}); plot what was made of it with xarray: "
                "product['sentinel2/NDVI'].isel(time=0).plot()"
            )
    return Viewer(tree, cube if cube is not None else source_of(tree))


def source_of(tree: xr.DataTree) -> xr.DataTree | None:
    """Open the cube that a product says it was made of, if it is there and is a cube."""
    from tamrf_xr.errors import TamrfError
    from tamrf_xr.store import open_cube

    named = tree.attrs.get("input")
    if not isinstance(named, str | os.PathLike) or not Path(named).is_dir():
        return None
    try:
        return open_cube(named)
    except TamrfError:
        return None


def _panel() -> Any:
    try:
        import panel
    except ImportError as error:
        raise OptionError("the viewer needs panel: pip install 'tamrf-xr[viewer]'") from error
    return panel
