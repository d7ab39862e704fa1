from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from kedge.evaluation.compare import blocks_of, compare

UPTO = datetime(2013, 3, 1, tzinfo=UTC)


def test_blocks_are_days_counted_back_from_the_end_of_the_known():
    times = np.array(
        [
            UPTO.replace(tzinfo=None) - back
            for back in (timedelta(0), timedelta(hours=23), timedelta(days=1), timedelta(days=6, hours=23))
        ],
        dtype="datetime64[us]",
    )
    assert blocks_of(times, UPTO).tolist() == [0, 0, 1, 6]


def test_the_difference_is_weighted_by_rows_and_its_error_comes_from_the_days():
    blocks = np.array([0, 0, 0, 1])
    found = compare(np.array([2.0, 2.0, 2.0, 1.0]), np.ones(4), blocks=blocks)
    assert found.difference == 0.75
    assert found.reference == 1.0
    assert found.relative == 0.75
    # d_b - D n_b = 3 - 2.25 and 0 - 0.75; sqrt(2 / 1 * 2 * 0.75^2) / 4
    assert found.error == pytest.approx(np.sqrt(2 * 2 * 0.75**2) / 4)
    assert (found.blocks, found.rows) == (2, 4)


def test_one_block_has_no_error():
    assert np.isnan(compare(np.ones(3), np.zeros(3), blocks=np.zeros(3, dtype=np.int64)).error)


def test_rows_that_move_together_by_day_have_an_honest_error():
    """200 rows a day whose difference is the day's own: over rows z would be 14 times too great."""
    rng = np.random.default_rng(1)
    zs = []
    for _ in range(300):
        blocks = np.repeat(np.arange(28), 200)
        difference = np.repeat(rng.normal(size=28), 200) + rng.normal(size=5600)
        found = compare(1 + difference, np.ones(5600), blocks=blocks)
        zs.append(found.difference / found.error)
    assert np.mean(np.abs(zs) > 1.96) < 0.09


def test_correlated_days_widen_the_error_and_alternating_ones_do_not_narrow_it():
    blocks = np.arange(8)
    together = compare(1 + np.array([1.0, 1, 1, 1, -1, -1, -1, -1]), np.ones(8), blocks=blocks)
    alternating = compare(1 + np.array([1.0, -1, 1, -1, 1, -1, 1, -1]), np.ones(8), blocks=blocks)
    assert together.correlation == 0.5
    assert alternating.correlation == 0.0
    assert together.error == pytest.approx(alternating.error * np.sqrt(3))


def test_worse_than_nothing_lost_is_infinitely_worse():
    blocks = np.array([0, 1])
    assert compare(np.ones(2), np.zeros(2), blocks=blocks).relative == float("inf")
    assert compare(np.zeros(2), np.zeros(2), blocks=blocks).relative == 0.0
