"""Profiles count in the reference's bins; distances are those of the textbooks."""

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from kedge.data.tables.distances import BINS, DRIFT_TESTS, number_borders
from kedge.domain.monitoring import ColumnProfile, Profile
from kedge.monitoring.columns import column_of, objects
from kedge.monitoring.drift.distances import distances
from kedge.monitoring.drift.profile import CATEGORIES, cell_count, cells, merge, most_common, place, profile_like
from kedge.monitoring.drift.reference import count_column

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=20_000)


def column(values) -> ColumnProfile:
    return count_column(pl.Series("x", values, strict=False))[0]


def counted(reference: ColumnProfile, values) -> ColumnProfile:
    return profile_like(reference, np.bincount(place(reference, values).cells, minlength=cell_count(reference)))


def test_numbers_are_counted_in_quantile_bins_with_one_beyond_each_end() -> None:
    profile = column(NORMAL)
    assert len(profile.counts) == BINS
    assert (profile.counts[0], profile.counts[-1]) == (0, 0)
    assert max(profile.counts) <= 1.1 * len(NORMAL) / (BINS - 2)
    beyond = counted(profile, np.array([-np.inf, -99.0, 99.0, np.inf, np.nan]))
    assert (beyond.counts[0], beyond.counts[-1], beyond.missing, beyond.rows) == (2, 2, 1, 5)


def test_few_distinct_values_get_a_bin_each_and_a_constant_shows_any_change() -> None:
    assert column([1.0, 1.0, 3.0]).counts == (0, 2, 1, 0)
    constant = column([5.0] * 10)
    assert constant.counts == (0, 10, 0)
    assert counted(constant, np.array([4.9, 5.0, 5.1])).counts == (1, 1, 1)
    assert column([True, False, None]).counts == (0, 1, 1, 0)


def test_strings_keep_the_frequent_categories() -> None:
    values = [f"c{i:02d}" for i in range(60) for _ in range(i + 1)] + [None] * 5
    profile = column(values)
    assert len(profile.labels) == CATEGORIES
    assert list(profile.labels) == sorted(profile.labels)
    assert (profile.missing, profile.rows, profile.others) == (5, len(values), sum(range(1, 11)))
    assert profile == counted(profile, values)
    assert most_common({"b": 1, "a": 1}) == ("a", "b")


def test_values_of_another_kind_are_named_or_counted_by_their_text() -> None:
    values = [1, "much", None, True, float("nan")]
    numbers = counted(column([1.0, 2.0]), values)
    assert (numbers.counts, numbers.missing) == ((0, 2, 0, 0), 3)
    assert place(column([1.0, 2.0]), values).odd == 1
    values = ["a", 3, float("nan"), None]
    strings = counted(column(["a", "b"]), values)
    assert (strings.counts, strings.others, strings.missing) == ((1, 0), 1, 2)
    assert place(column(["a", "b"]), values).odd == 1


@pytest.mark.parametrize("values", [["b", None, "z"], [2.0, 1.0], [True, False], [3, None, 0.5, "b"], [["a"], [1, 2]]])
def test_a_column_counts_alike_however_it_is_held(values) -> None:
    for reference in (column([1.0, 2.0]), column(["a", "b"]), column([None])):
        found = [place(reference, held) for held in (values, column_of(values), objects(values))]
        assert [one.cells.tolist() for one in found] == [found[0].cells.tolist()] * 3
        assert len({(one.odd, one.infinite) for one in found}) == 1


def test_a_column_without_a_reference_value_shows_whether_there_are_any_now() -> None:
    for nothing in (column([None, None]), column(pl.Series([None, None], dtype=pl.String).to_list())):
        assert nothing.missing == 2
        now = counted(nothing, ["a", None, 3.0])
        assert (now.counts, now.missing) == ((2,), 1)
    assert number_borders(np.array([np.nan, np.inf])) == ()


def test_merging_is_adding() -> None:
    reference = column(NORMAL)
    left, right = (counted(reference, part) for part in np.split(NORMAL, [7000]))
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
    window = counted(reference, moved)
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
        counted(columns[0], NORMAL[:99] + 1),
        counted(columns[1], ["a", "z"]),
        counted(columns[2], np.array([2.0, np.nan])),
    ]
    together = distances(columns, windows)
    assert together == [distances([one], [other])[0] for one, other in zip(columns, windows, strict=True)]
    assert "kolmogorov_smirnov" not in together[1]


def test_no_rows_or_no_values_give_no_ranks() -> None:
    reference = column(NORMAL)
    assert distances([reference], [counted(reference, np.array([]))]) == [{}]
    (missing,) = distances([reference], [counted(reference, np.array([np.nan]))])
    assert missing["total_variation"] == pytest.approx(1.0)
    assert "rank_shift" not in missing
