"""A thinned series draws the same line: its ends, and the extremes of each part."""

import math

from hypothesis import given
from hypothesis import strategies as st

from kedge.tracking.thinning import thinned

values = st.lists(st.floats(allow_nan=True), max_size=200)


@given(values, st.integers(2, 60))
def test_ends_and_extremes_stay(found: list[float], count: int) -> None:
    points = [(at, at, value) for at, value in enumerate(found)]
    kept = thinned(points, count)
    assert len(kept) <= max(count, 4)
    assert [at for at, _, _ in kept] == sorted({at for at, _, _ in kept})
    assert {at for at, _, _ in kept} <= set(range(len(points)))
    if points:
        assert (kept[0][0], kept[-1][0]) == (0, len(points) - 1)
    numbers = [value for value in found if not math.isnan(value)]
    if numbers:
        assert {min(numbers), max(numbers)} <= {value for _, _, value in kept}


def test_few_points_stay_as_they_are_by_step() -> None:
    points = [(5, 2, 1.0), (1, 3, 2.0), (9, 1, math.nan)]
    assert [step for _, step, _ in thinned(points, 3)] == [1, 2, 3]


def test_a_part_without_numbers_keeps_its_place() -> None:
    points = [(at, at, math.nan if 40 <= at < 60 else 1.0) for at in range(100)]
    assert any(math.isnan(value) for _, _, value in thinned(points, 12))
