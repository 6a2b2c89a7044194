"""Pure masked metrics: predictions against references, per date and band.

Images are arrays (time, band, y, x) in physical units; ``valid=True`` means usable. Nothing here
modifies its arguments. `map_images` takes the same functions to DataArrays, lazily.
"""

from __future__ import annotations

from tamrf_xr.metrics.intervals import laplace_crps, share_within
from tamrf_xr.metrics.lazy import map_images
from tamrf_xr.metrics.naturalness import (
    SupportVectors,
    brisque,
    find_brisque_model,
    natural_scene_features,
    read_brisque_model,
)
from tamrf_xr.metrics.pixels import clear_rate, crop, nrmse, rmse, sam
from tamrf_xr.metrics.spectrum import (
    FrequencyProfiles,
    frequency_profiles,
    frequency_restoration,
)
from tamrf_xr.metrics.temporal import Context, context, days_to_closest, local_density

__all__ = [
    "Context",
    "FrequencyProfiles",
    "SupportVectors",
    "brisque",
    "clear_rate",
    "context",
    "crop",
    "days_to_closest",
    "find_brisque_model",
    "frequency_profiles",
    "frequency_restoration",
    "laplace_crps",
    "local_density",
    "map_images",
    "natural_scene_features",
    "nrmse",
    "read_brisque_model",
    "rmse",
    "sam",
    "share_within",
]
