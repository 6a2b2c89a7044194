"""Extremes and medians equal numpy's, however the work is shared out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tamrf_xr import plausible
from tamrf_xr.harmonize.units import question_dates

FLOATS = st.floats(-2, 2, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])


@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=2), elements=FLOATS))
def test_medians_are_those_of_what_is_finite(rows: np.ndarray) -> None:
    for row, found in zip(rows, plausible.medians(rows), strict=True):
        finite = row[np.isfinite(row)]
        np.testing.assert_allclose(found, np.median(finite) if finite.size else np.nan, rtol=1e-6)


@pytest.mark.parametrize("at", [(0, 0, 0, 0), (4, 2, 59, 39), (3, 1, 30, 20)])
def test_extremes_of_large_data_are_found_wherever_they_lie(
    at: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plausible, "SPLIT", 1)
    values = np.random.default_rng(0).random((5, 3, 60, 40), np.float32)
    values[at] = -9999
    values[2, 0] = np.nan
    values[4, 0, 5, 5] = 7
    assert plausible.extremes(values) == (-9999, 7)
    assert np.isnan(plausible.extremes(np.full((5, 3, 2, 2), np.nan))).all()


@pytest.mark.parametrize("times", [[0, 1, 2, 3], [0, 0, 1, 1]])
def test_a_date_in_other_units_is_named(times: list[int]) -> None:
    values = np.full((4, 9), 0.2)
    values[3] = 2000
    if times == [0, 0, 1, 1]:
        values[2, :4] = np.nan  # of five and nine values, the median is in the other unit
    found = question_dates(values, np.array(times), thermal=False)
    assert found is not None
    assert found[0] == times[3]
    assert question_dates(np.full((4, 9), 0.2), np.array(times), thermal=False) is None
