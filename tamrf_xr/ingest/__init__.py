"""Cubes from where data lie, one file a source: a source opens a cube lazily.

`from_ls2s2` opens one LS2S2 folder; `ingest_ls2s2` writes many as cubes in Zarr. `from_stac` opens
what a STAC catalogue has of a place and a period; `ingest_stac` writes it as a cube in Zarr.
`from_eopf` opens Sentinel-2 products in EOPF Zarr.
"""

from tamrf_xr.ingest.batch import IngestReport
from tamrf_xr.ingest.eopf import from_eopf
from tamrf_xr.ingest.ls2s2 import from_ls2s2, ingest_ls2s2
from tamrf_xr.ingest.stac import from_stac, ingest_stac

__all__ = ["IngestReport", "from_eopf", "from_ls2s2", "from_stac", "ingest_ls2s2", "ingest_stac"]
