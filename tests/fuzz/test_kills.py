"""The fuzz of kills, small; `make fuzz` is the long one."""

from __future__ import annotations

import pytest

from tests.fuzz import kills


def test_kills_at_random_moments_lose_nothing(capsys):
    assert kills.main(["8", "1"]) == 0
    assert "8 kills: every store whole" in capsys.readouterr().out


def test_kills_at_random_moments_lose_nothing_on_s3_and_icechunk(capsys):
    for needed in ("obstore", "icechunk", "moto"):
        pytest.importorskip(needed)
    from tests.fuzz import store_kills

    assert store_kills.main(["6", "1"]) == 0
    assert "6 kills on S3 and Icechunk" in capsys.readouterr().out
