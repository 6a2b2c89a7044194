"""The fuzz of bits, small; `make fuzz` is the long one."""

from __future__ import annotations

from tests.fuzz import damage


def test_no_flipped_bit_goes_unseen(capsys):
    assert damage.main(["15", "1"]) == 0
    assert "15 bits flipped" in capsys.readouterr().out
