"""Alerts: acquisitions that depart from what was predicted of them from the past alone.

`scores` tells how far each acquisition departs, in calibrated deviations; `alerts` where that
persists, and since when; `alerts_of` makes that map of scores, `save_alerts` writes it.
"""

from __future__ import annotations

from tamrf_xr.alerts.monitoring import alerts, alerts_of
from tamrf_xr.alerts.saving import save_alerts
from tamrf_xr.alerts.scoring import scores

__all__ = ["alerts", "alerts_of", "save_alerts", "scores"]
