"""Counts and sizes as people read them."""

import pytest

from kedge.domain.counts import count, size


def test_one_thing_is_no_several():
    assert [count(number, "row") for number in (0, 1, 2, 1234)] == ["0 rows", "1 row", "2 rows", "1,234 rows"]


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1234, "1.23 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (1.57e9, "1.57 GB"),
        (2.5e12, "2.5 TB"),
        (1.2e15, "1,200 TB"),
    ],
)
def test_a_size_has_three_figures_and_a_decimal_unit(amount, said):
    assert size(amount) == said
