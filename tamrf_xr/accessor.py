"""`.tamrf` on DataTree, Dataset and DataArray: hands over to the functions of the package."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import xarray as xr

from tamrf_xr.alerts import alerts
from tamrf_xr.coregistration import coregister, shifts
from tamrf_xr.cube import clip
from tamrf_xr.export.raster import write_raster
from tamrf_xr.fusion import fuse
from tamrf_xr.harmonize import as_cube
from tamrf_xr.latent import decode, encode
from tamrf_xr.plot import Plots, quicklook_of
from tamrf_xr.store import save_cube
from tamrf_xr.view import view

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tamrf_xr.model.network import Tamrf

Method = TypeVar("Method", bound=Callable[..., Any])


def _documented_by(function: Callable[..., Any]) -> Callable[[Method], Method]:
    """Give a method the docstring and the options of the function it hands over to."""

    def decorate(method: Method) -> Method:
        own = inspect.signature(method).parameters.values()
        added = [one for one in own if one.kind is inspect.Parameter.KEYWORD_ONLY]
        about = inspect.cleandoc(function.__doc__ or "")
        method.__doc__ = f"{method.__doc__}\n\n{about}" if added else about
        parameters = list(inspect.signature(function).parameters.values())
        this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        signature = inspect.Signature([this, *parameters[1:], *added])
        method.__signature__ = signature  # type: ignore[attr-defined]
        return method

    return decorate


@xr.register_datatree_accessor("tamrf")
class TamrfTree:
    """What a cube can do; what is none goes through `tamrf_xr.as_cube` first."""

    def __init__(self, tree: xr.DataTree) -> None:
        """Take the tree; nothing is checked before a method is called."""
        self._tree = tree

    @_documented_by(fuse)
    def fuse(self, query_dates: Any, **options: Any) -> xr.DataTree:
        """Fuse."""
        return fuse(self._tree, query_dates, **options)

    @_documented_by(encode)
    def encode(self, **options: Any) -> xr.DataTree:
        """Encode."""
        return encode(self._tree, **options)

    @_documented_by(decode)
    def decode(self, query_dates: Any, **options: Any) -> xr.DataTree:
        """Decode."""
        return decode(self._tree, query_dates, **options)

    def adapt(self, *, model: Any = "default", progress: bool = True, **how: Any) -> Tamrf:
        """Fine-tune a network on this cube; options as of `tamrf_xr.training.adapt.Adaptation`."""
        from tamrf_xr.training.adapt import Adaptation, adapt

        return adapt(as_cube(self._tree), model=model, how=Adaptation(**how), progress=progress)

    @_documented_by(save_cube)
    def save(self, store: str | os.PathLike[str], **options: Any) -> None:
        """Save."""
        save_cube(as_cube(self._tree), store, **options)

    @_documented_by(view)
    def view(self, cube: xr.DataTree | None = None) -> Any:
        """View."""
        return view(self._tree, cube)

    @_documented_by(clip)
    def clip(self, bounds: tuple[float, float, float, float] | None = None) -> xr.DataTree:
        """Clip."""
        return clip(self._tree, bounds)

    @_documented_by(shifts)
    def shifts(self, **options: Any) -> xr.DataTree:
        """Find shifts."""
        return shifts(self._tree, **options)

    @_documented_by(coregister)
    def coregister(self, **options: Any) -> xr.DataTree:
        """Co-register."""
        return coregister(self._tree, **options)

    @_documented_by(alerts)
    def alerts(self, since: Any = None, until: Any = None, **options: Any) -> xr.Dataset:
        """Find alerts."""
        return alerts(self._tree, since, until, **options)

    @property
    def plot(self) -> Plots:
        """Plots with matplotlib: ``.dates()``, ``.series(x, y)``, ``.calendar()``, ``.compare()``.

        See `tamrf_xr.plot.Plots`.
        """
        return Plots(self._tree)

    def quicklook(
        self,
        fused: xr.DataTree | None = None,
        path: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> Figure:
        """Draw a cube above what was fused from it; or a product alone.

        Parameters
        ----------
        fused
            A product of this cube.
        path
            PNG to write; None writes nothing.
        **options
            ``dates``, ``columns``, ``bands``, ``stretch``, ``overwrite``: as of
            `tamrf_xr.export.quicklook.quicklook`, which says what is raised.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.
        """
        return quicklook_of(self._tree, fused, path, **options)

    def _repr_html_(self) -> str:
        """Show place, sensors and one date in a notebook; see `tamrf_xr.plot.html`."""
        from tamrf_xr.plot.html import html_of

        return html_of(self._tree)


@xr.register_dataset_accessor("tamrf")
class TamrfDataset:
    """What a series of one sensor can do: the same, after `tamrf_xr.as_cube`."""

    def __init__(self, dataset: xr.Dataset) -> None:
        """Take the dataset; nothing is checked before a method is called."""
        self._dataset = dataset

    @_documented_by(fuse)
    def fuse(self, query_dates: Any, *, sensor: str | None = None, **options: Any) -> xr.DataTree:
        """Take ``sensor=`` where bands and attributes do not tell it; else as `tamrf_xr.fuse`."""
        return fuse(as_cube(self._dataset, sensor=sensor), query_dates, **options)


@xr.register_dataarray_accessor("tamrf")
class TamrfArray:
    """What an array can do: bands of one sensor be fused, an image be written."""

    def __init__(self, array: xr.DataArray) -> None:
        """Take the array; nothing is checked before a method is called."""
        self._array = array

    @_documented_by(fuse)
    def fuse(self, query_dates: Any, *, sensor: str | None = None, **options: Any) -> xr.DataTree:
        """Take ``sensor=`` where bands and attributes do not tell it; else as `tamrf_xr.fuse`."""
        return fuse(as_cube(self._array, sensor=sensor), query_dates, **options)

    def to_raster(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, **options: Any
    ) -> None:
        """Write an image, its bands under their names; see `tamrf_xr.export.raster`."""
        write_raster(self._array, path, overwrite=overwrite, **options)
