"""Profiles count in the reference's bins; distances are those of the textbooks."""

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from kedge.data.tables.distances import BINS, DRIFT_TESTS, number_borders
from kedge.domain.monitoring import ColumnProfile, Profile
from kedge.monitoring.drift import distances
from kedge.monitoring.profile import (
    CATEGORIES,
    cells,
    count_labels,
    count_like,
    count_numbers,
    merge,
    most_common,
)
from kedge.monitoring.reference import count_column

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=20_000)


def column(values) -> ColumnProfile:
    return count_column(pl.Series("x", values, strict=False))[0]


def test_numbers_are_counted_in_quantile_bins_with_one_beyond_each_end() -> None:
    profile = column(NORMAL)
    assert len(profile.counts) == BINS
    assert (profile.counts[0], profile.counts[-1]) == (0, 0)
    assert max(profile.counts) <= 1.1 * len(NORMAL) / (BINS - 2)
    beyond = count_numbers("x", np.array([-np.inf, -99.0, 99.0, np.inf, np.nan]), edges=profile.edges)
    assert (beyond.counts[0], beyond.counts[-1], beyond.missing, beyond.rows) == (2, 2, 1, 5)


def test_few_distinct_values_get_a_bin_each_and_a_constant_shows_any_change() -> None:
    assert column([1.0, 1.0, 3.0]).counts == (0, 2, 1, 0)
    constant = column([5.0] * 10)
    assert constant.counts == (0, 10, 0)
    assert count_numbers("x", np.array([4.9, 5.0, 5.1]), edges=constant.edges).counts == (1, 1, 1)
    assert column([True, False, None]).counts == (0, 1, 1, 0)


def test_strings_keep_the_frequent_categories() -> None:
    values = [f"c{i:02d}" for i in range(60) for _ in range(i + 1)] + [None] * 5
    profile = column(values)
    assert len(profile.labels) == CATEGORIES
    assert list(profile.labels) == sorted(profile.labels)
    assert (profile.missing, profile.rows, profile.others) == (5, len(values), sum(range(1, 11)))
    assert profile == count_labels("x", values, labels=profile.labels)
    assert most_common({"b": 1, "a": 1}) == ("a", "b")


def test_values_of_another_kind_are_named_or_counted_by_their_text() -> None:
    numbers, texts = count_like(column([1.0, 2.0]), [1, "much", None, True, float("nan")])
    assert (numbers.counts, numbers.missing) == ((0, 2, 0, 0), 3)
    assert texts == 1
    strings, texts = count_like(column(["a", "b"]), ["a", 3, float("nan"), None])
    assert (strings.counts, strings.others, strings.missing, texts) == ((1, 0), 1, 2, 0)


def test_a_column_without_a_reference_value_shows_whether_there_are_any_now() -> None:
    for nothing in (column([None, None]), column(pl.Series([None, None], dtype=pl.String).to_list())):
        assert nothing.missing == 2
        now, _ = count_like(nothing, ["a", None, 3.0])
        assert (now.counts, now.missing) == ((2,), 1)
    assert number_borders(np.array([np.nan, np.inf])) == ()


def test_merging_is_adding() -> None:
    reference = column(NORMAL)
    left, right = (count_numbers("x", part, edges=reference.edges) for part in np.split(NORMAL, [7000]))
    whole = merge(Profile(columns=(left,), rows=7000), Profile(columns=(right,), rows=13_000))
    assert whole == Profile(columns=(reference,), rows=20_000)
    with pytest.raises(ValueError, match="different bins"):
        merge(Profile(columns=(column([1.0]),), rows=1), Profile(columns=(column([2.0]),), rows=1))


def test_a_column_has_no_distance_to_itself() -> None:
    for values in (NORMAL, ["a", "b", None], [1.0, None], [5.0]):
        profile = column(values)
        assert all(abs(value) < 1e-9 for value in distances([profile], [profile])[0].values())


def test_distances_are_those_of_the_textbooks() -> None:
    reference, moved = column(NORMAL), NORMAL[:5000] + 0.3
    window = count_numbers("x", moved, edges=reference.edges)
    (found,) = distances([reference], [window])
    assert found["kolmogorov_smirnov"] == pytest.approx(ks_2samp(NORMAL, moved).statistic, abs=0.02)
    p, q = cells(reference) / reference.rows, cells(window) / window.rows
    assert found["jensen_shannon"] == pytest.approx(jensenshannon(p, q, base=2))
    assert found["rank_shift"] == pytest.approx(0.084, abs=0.01)  # Phi(0.3 / sqrt 2) - 1/2
    assert found["wasserstein"] == pytest.approx(found["rank_shift"], abs=0.01)
    floored = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    assert found["psi"] == pytest.approx(np.sum((floored[1] - floored[0]) * np.log(floored[1] / floored[0])))
    assert found["total_variation"] == pytest.approx(np.abs(p - q).sum() / 2)
    assert set(found) == set(DRIFT_TESTS)


def test_columns_side_by_side_do_not_disturb_each_other() -> None:
    columns = [column(NORMAL), column(["a", "b", "c"]), column([1.0, 2.0])]
    windows = [
        count_numbers("x", NORMAL[:99] + 1, edges=columns[0].edges),
        count_labels("x", ["a", "z"], labels=columns[1].labels),
        count_numbers("x", np.array([2.0, np.nan]), edges=columns[2].edges),
    ]
    together = distances(columns, windows)
    assert together == [distances([one], [other])[0] for one, other in zip(columns, windows, strict=True)]
    assert "kolmogorov_smirnov" not in together[1]


def test_no_rows_or_no_values_give_no_ranks() -> None:
    reference = column(NORMAL)
    assert distances([reference], [count_numbers("x", np.array([]), edges=reference.edges)]) == [{}]
    (missing,) = distances([reference], [count_numbers("x", np.array([np.nan]), edges=reference.edges)])
    assert missing["total_variation"] == pytest.approx(1.0)
    assert "rank_shift" not in missing
