"""A product of which some dates were made anew, put together and into its place in one step.

The plan:
1. The product is laid out under a temporary name, with all its dates.
2. Tile by tile, what is stored of a date is taken from the old product, or from the one that holds
   the dates made anew. Nothing is computed: the integers are those that were stored.
3. The new product takes the name of the old one: a reader sees one or the other. Killed before,
   the old one is there as it was, and what was made anew waits beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from tamrf_xr.errors import JobError
from tamrf_xr.owners import beating
from tamrf_xr.replacing import partial_of, put_in_place, remove
from tamrf_xr.scale.identity import provenance
from tamrf_xr.scale.inputs import expect, inputs_of
from tamrf_xr.scale.layout import lay_out_product
from tamrf_xr.scale.ledger import (
    Manifest,
    lock_of,
    read_manifest,
    read_token,
    record,
    write_manifest,
    write_token,
)
from tamrf_xr.scale.lock import held
from tamrf_xr.scale.prepared import Job
from tamrf_xr.scale.product import Part, parts_of
from tamrf_xr.scale.tilework import FuseJob
from tamrf_xr.scale.writing import entered, write_part


@dataclass(frozen=True, slots=True)
class Source:
    """Where the dates of the new product are taken from."""

    old: Path
    """The product as it is."""

    anew: Path
    """That of the dates made anew."""

    made: Sequence[int]
    """Positions of those among the dates of the new product; all others are the old ones' own,
    whose dates come first, in their order."""

    def read(self, part: Part, window: tuple[slice, slice], dates: int) -> npt.NDArray[Any]:
        """Return one array of a tile as it is stored, of all dates."""
        stores = self.old, self.anew
        old, anew = (zarr.open_array(store / part.path, mode="r") for store in stores)
        shape = (dates, *part.middle, *(side.stop - side.start for side in window))
        found = np.empty(shape, old.dtype)
        kept = [date for date in range(dates) if date not in set(self.made)]
        if kept:
            found[kept] = np.asarray(old[(slice(0, max(kept) + 1), ..., *window)])[kept]
        found[list(self.made)] = np.asarray(anew[(..., *window)])
        return found


def merge(job: Job, tiled: FuseJob, source: Source, manifest: Manifest) -> None:
    """Put a product together, and in the place of the old one.

    Parameters
    ----------
    job
        The new product, all its dates.
    tiled
        Its tiles: those of the old product.
    source
        Where its dates come from.
    manifest
        What the new product was asked.

    Raises
    ------
    JobError
        If another run is at work on the old product, or has replaced it meanwhile.
    """
    target = source.old
    before = read_token(target)
    partial = partial_of(target)
    remove(partial)
    try:
        _lay_out(job, tiled, manifest, partial)
        _write_tiles(tiled, source, partial)
        expect(inputs_of(job.groups), partial)
        with held(lock_of(target)):
            if read_token(target) != before or read_manifest(target) is None:
                raise JobError(f"{target} was replaced while it was updated; run again")
            put_in_place(partial, target, overwrite=True)
    finally:
        remove(partial)


def _lay_out(job: Job, tiled: FuseJob, manifest: Manifest, partial: Path) -> None:
    attrs = provenance(manifest.asked, manifest.about)
    layout = manifest.asked.get("layout", "sharded")
    with beating(partial):
        lay_out_product(job, tiled, store=partial, attrs=attrs, layout=layout)
    write_manifest(partial, manifest)
    write_token(partial)


def _write_tiles(tiled: FuseJob, source: Source, partial: Path) -> None:
    with beating(partial), entered(partial) as place:
        for index in np.ndindex(*tiled.grid.counts):
            core = tiled.grid.made(index)
            sizes: dict[str, int] = {}
            for part in parts_of(tiled):
                packed = source.read(part, (core.y, core.x), tiled.times)
                sizes |= write_part(place, part, index, packed)
            record(place, index, sizes)
