"""Dust and smoke: what corrections of the atmosphere leave of them, on some dates of a season."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tamrf_xr.simulate.biomes import Aerosol
from tamrf_xr.simulate.climate import Climate
from tamrf_xr.simulate.fields import Field, broad, stream

MOST_AEROSOL = 0.03
"""Blue reflectance of a veil beyond which the ground is not seen as it is."""


@dataclass(frozen=True, slots=True)
class Veil:
    """Dust or smoke of one date."""

    amount: Field
    """In reflectance added to dark ground in the blue."""

    fall: float
    """Power of wavelength by which it fades."""

    def lay(self, image: Field, wavelength: float) -> None:
        """Veil one band, in place: dark ground brightens, bright ground hardly changes."""
        depth = self.amount * np.float32((wavelength / 0.49) ** -self.fall)
        # What is as bright as a thick veil of it stays as it is.
        image += depth * (1 - image / np.float32(BRIGHTNESS))


BRIGHTNESS = 0.35
"""Reflectance of a veil so thick that nothing shows through."""


def draw_aerosol(
    seed: int, day: int, shape: tuple[int, int], aerosol: Aerosol | None
) -> Veil | None:
    """Draw the dust or smoke of a day, the same for every sensor.

    Parameters
    ----------
    seed
        Of the scene.
    day
        Of the series.
    shape
        10 m pixels (y, x).
    aerosol
        What the biome has; None where it has none.

    Returns
    -------
    Veil or None
        None on days without.
    """
    if aerosol is None:
        return None
    rng = stream(seed, "aerosol", day)
    season = float(Climate(rains=(aerosol.season,)).rainy(day))
    if rng.random() >= aerosol.odds * season:
        return None
    mean = aerosol.amount * rng.gamma(1.5) / 1.5
    field = broad(rng, shape, slope=3.6, longest=aerosol.longest_px)
    amount = np.clip(np.float32(mean) * (1 + np.float32(0.4) * field), 0, 0.3)
    return Veil(np.asarray(amount, np.float32), rng.uniform(*aerosol.fall))
