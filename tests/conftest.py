"""Hypothesis profiles: `ci` draws more, `quick` less, without deadlines since machines differ."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("dev", max_examples=15, deadline=None, suppress_health_check=quiet)
settings.register_profile("ci", max_examples=40, deadline=None, suppress_health_check=quiet)
settings.register_profile("quick", max_examples=4, deadline=None, suppress_health_check=quiet)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(autouse=True, scope="session")
def _copies_of_weights(tmp_path_factory):
    """Copies that planning makes of foreign weights stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAMRF_XR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
