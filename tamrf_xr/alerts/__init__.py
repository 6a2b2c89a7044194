"""Alerts: acquisitions that depart from what was predicted of them from the past alone.

`scores` tells how far each acquisition departs, in calibrated deviations; `alerts` where that
persists, and since when.
"""

from __future__ import annotations

from tamrf_xr.alerts.monitoring import alerts
from tamrf_xr.alerts.scoring import scores

__all__ = ["alerts", "scores"]
