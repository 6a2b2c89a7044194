"""Cubes from what users have: other names, orders, scales, masks and grids, brought to the schema.

The way of the data: `layers` names what is there, `georeference` says where and when it lies,
`units` scales it, `masks` tells what is usable, `assemble` puts it together as a cube.
"""

from tamrf_xr.harmonize.assemble import as_cube
from tamrf_xr.harmonize.panchromatic import with_panchromatic

__all__ = ["as_cube", "with_panchromatic"]
