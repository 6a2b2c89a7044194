"""Cubes from sources on disk, one file a source: a source is a callable that opens a cube lazily.

`from_ls2s2` opens one LS2S2 folder; `ingest_ls2s2` writes many as cubes in Zarr.
"""

from tamrf_xr.ingest.batch import IngestReport
from tamrf_xr.ingest.ls2s2 import from_ls2s2, ingest_ls2s2

__all__ = ["IngestReport", "from_ls2s2", "ingest_ls2s2"]
