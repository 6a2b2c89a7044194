"""The fuzz of kills, small; `make fuzz` is the long one."""

from __future__ import annotations

from tests.fuzz import kills


def test_kills_at_random_moments_lose_nothing(capsys):
    assert kills.main(["8", "1"]) == 0
    assert "8 kills: every store whole" in capsys.readouterr().out
