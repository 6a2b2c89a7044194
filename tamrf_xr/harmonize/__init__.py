"""The way in: what users have, brought to the schema of a cube, or refused with words that help.

The rooms, in the order data walk through them (`door.as_cube` is that walk on one page):

`variables` finds the arrays and `layers` names their bands, with `producers` for names that mean
something else elsewhere; `georeference` says where and when they lie; `grids` chooses where they
go; `declared` reads what the data say of their numbers, `values` looks at some of them, `units` and
`boa_offset` decide what they mean and question the result; `masks` tells what is usable; `report`
shows all that was understood.
"""

from tamrf_xr.harmonize.door import as_cube
from tamrf_xr.harmonize.panchromatic import with_panchromatic

__all__ = ["as_cube", "with_panchromatic"]
