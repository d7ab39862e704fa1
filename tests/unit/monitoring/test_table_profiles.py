"""Profiles of whole tables: exact counts, in one pass, of frames and of streams; and they add up."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from kedge.data.tables import binning
from kedge.errors import RequestInvalid
from kedge.monitoring.drift import profiling
from kedge.monitoring.drift.profile import merge
from kedge.monitoring.drift.profiling import profile_like, take_profile

RNG = np.random.default_rng(0)
ROWS = 3000
TABLE = pl.DataFrame(
    {
        "x": RNG.normal(size=ROWS),
        "n": pl.Series([None if place % 10 == 0 else place % 7 for place in range(ROWS)]),
        "k": pl.Series([None if place % 9 == 0 else f"k{place % 60}" for place in range(ROWS)]),
        "f": RNG.random(ROWS) < 0.3,
        "at": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=place) for place in range(ROWS)],
        "v": [[1.0, 2.0]] * ROWS,
    }
)


@pytest.fixture(autouse=True, params=["small", "large"])
def either_way(request, monkeypatch):
    """Count as a few rows are counted, and as many are."""
    if request.param == "large":
        monkeypatch.setattr(profiling, "_SMALL", 0)
        monkeypatch.setattr(binning, "_AT_ONCE", 256)
        monkeypatch.setattr(binning, "_GRIDDED", 256)


def test_all_rows_are_counted_in_bins_of_the_table_itself() -> None:
    found = take_profile(TABLE)
    x, n, k, f, at = found.columns
    assert [column.name for column in found.columns] == ["x", "n", "k", "f", "at"]  # lists are left out
    assert {sum(column.counts) + column.others + column.missing for column in found.columns} == {ROWS}
    assert (found.rows, n.missing, k.missing, len(k.labels)) == (ROWS, 300, 334, 50)
    counted = dict(TABLE["k"].drop_nulls().value_counts().iter_rows())
    assert dict(zip(k.labels, k.counts, strict=True)) == {label: counted[label] for label in k.labels}
    assert k.others == ROWS - 334 - sum(k.counts)
    assert x.moments.mean == pytest.approx(TABLE["x"].mean())
    assert x.moments.squares == pytest.approx(TABLE["x"].var() * (ROWS - 1))
    assert f.counts == (0, ROWS - int(TABLE["f"].sum()), int(TABLE["f"].sum()), 0)[: len(f.counts)]
    assert at.moments.least == datetime(2024, 1, 1, tzinfo=UTC).timestamp()


def test_two_halves_add_up_to_the_whole() -> None:
    whole = take_profile(TABLE)
    halves = merge(profile_like(whole, TABLE.head(1234)), profile_like(whole, TABLE.tail(ROWS - 1234)))
    assert halves.rows == whole.rows
    for one, other in zip(halves.columns, whole.columns, strict=True):
        assert (one.counts, one.missing, one.others, one.rows) == (other.counts, other.missing, other.others, other.rows)
        if one.moments is not None:
            assert one.moments.mean == pytest.approx(other.moments.mean)
            assert one.moments.squares == pytest.approx(other.moments.squares)


def test_a_stream_is_counted_batch_by_batch_to_the_same(monkeypatch) -> None:
    monkeypatch.setattr(profiling, "_BATCH", 500)
    whole = take_profile(TABLE)
    streamed = take_profile(TABLE.lazy())
    assert [column.counts for column in streamed.columns] == [column.counts for column in whole.columns]
    assert [column.edges for column in streamed.columns] == [column.edges for column in whole.columns]


def test_bins_come_from_an_even_sample_and_counts_from_all(monkeypatch) -> None:
    monkeypatch.setattr(profiling, "SAMPLED", 100)
    found = take_profile(TABLE)
    assert len(found.columns[0].edges) <= 100
    assert {sum(column.counts) + column.others + column.missing for column in found.columns} == {ROWS}


def test_a_column_that_is_not_there_is_missing_and_one_too_many_is_left_out() -> None:
    reference = take_profile(TABLE)
    found = profile_like(reference, TABLE.select("x", other="n"))
    assert [column.missing for column in found.columns] == [0, ROWS, ROWS, ROWS, ROWS]


def test_columns_without_values_and_tables_without_columns() -> None:
    empty = take_profile(pl.DataFrame({"a": [None, None], "s": pl.Series([None, None], dtype=pl.String)}))
    assert [(column.missing, sum(column.counts)) for column in empty.columns] == [(2, 0), (2, 0)]
    assert take_profile(TABLE.head(0)).rows == 0
    with pytest.raises(RequestInvalid, match="no column"):
        take_profile(TABLE.select("v"))


def test_labels_whose_hashes_share_all_low_bits_are_still_told_apart() -> None:
    hashes = np.array([1, 1 + (1 << 40), 7], dtype=np.uint64)
    assert profiling._Slots(hashes).count(np.array([1, 7, 1 + (1 << 40), 7, 5], dtype=np.uint64)).tolist() == [1, 1, 2]


@pytest.mark.parametrize("known", [3, 16, 17, 60])
def test_known_hashes_are_counted_and_unknown_ones_are_not(known, monkeypatch) -> None:
    monkeypatch.setattr(profiling, "_AT_ONCE", 1000)  # several blocks, the last one shorter
    hashes = RNG.integers(0, 1 << 63, known).astype(np.uint64)
    strange = hashes + np.uint64(1 << 40)  # in the same slots
    rows = np.concatenate([np.repeat(hashes, np.arange(known) + 50), strange, strange])
    RNG.shuffle(rows)
    assert profiling._Slots(hashes).count(rows).tolist() == [place + 50 for place in range(known)]
