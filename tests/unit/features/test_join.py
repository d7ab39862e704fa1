"""The point-in-time join against a slow, plain answer, over the cases in which engines are known to differ."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.errors import SourceFailed
from kedge.features.join import as_keys, key_text, point_in_time

START = datetime(2013, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Known:
    """One row of a view."""

    key: str | None
    event: datetime | None
    created: datetime | None
    value: float | None


def answer(known: list[Known], key: str | None, at: datetime | None, ttl: timedelta | None) -> float | None:
    """Say in plain Python what was known of a key at a time."""
    best: tuple[tuple[datetime, bool, datetime, int], float | None] | None = None
    for place, row in enumerate(known):
        if key is None or at is None or row.key != key or row.event is None or row.event > at:
            continue
        if row.created is not None and row.created > at:
            continue
        if ttl is not None and row.event < at - ttl:
            continue
        rank = (row.event, row.created is not None, row.created or START, place)
        if best is None or rank > best[0]:
            best = rank, row.value
    return None if best is None else best[1]


def join(known: list[Known], asked: list[tuple[str | None, datetime | None]], ttl: timedelta | None) -> list[float | None]:
    view = pl.DataFrame(
        {
            "k": pl.Series([row.key for row in known], dtype=pl.String),
            "e": pl.Series([row.event for row in known], dtype=TIME),
            "c": pl.Series([row.created for row in known], dtype=TIME),
            "v": pl.Series([row.value for row in known], dtype=pl.Float64),
        }
    )
    rows = pl.DataFrame(
        {
            "k": pl.Series([key for key, _ in asked], dtype=pl.String),
            "t": pl.Series([at for _, at in asked], dtype=TIME),
            "n": range(len(asked)),
        },
        schema_overrides={"n": pl.Int64},
    )
    joined = point_in_time(rows, view, entity="k", time="t", event_time="e", created="c", ttl=ttl, features={"v": "w__v"})
    assert joined["n"].to_list() == list(range(len(asked))), "one row out per row in, in order"
    return joined["w__v"].to_list()


hours = st.integers(0, 6).map(lambda n: START + n * HOUR)
keys = st.sampled_from(["a", "b", None])
rows_known = st.builds(
    Known, key=keys, event=st.none() | hours, created=st.none() | hours, value=st.none() | st.integers(0, 99).map(float)
)


@settings(max_examples=400)
@given(
    st.lists(rows_known, max_size=14),
    st.lists(st.tuples(keys, st.none() | hours), max_size=10),
    st.none() | st.integers(1, 4).map(lambda n: n * HOUR),
)
def test_the_join_gives_the_plain_answer(
    known: list[Known], asked: list[tuple[str | None, datetime | None]], ttl: timedelta | None
) -> None:
    assert join(known, asked, ttl) == [answer(known, key, at, ttl) for key, at in asked]


def test_both_ends_of_the_span_are_included() -> None:
    known = [Known("a", START, None, 1.0)]
    asked = [
        ("a", START),
        ("a", START + 2 * HOUR),
        ("a", START + 2 * HOUR + timedelta(microseconds=1)),
        ("a", START - HOUR),
    ]
    assert join(known, asked, 2 * HOUR) == [1.0, 1.0, None, None]


def test_a_late_row_hides_nothing_until_it_is_known() -> None:
    known = [Known("a", START, START, 1.0), Known("a", START + HOUR, START + 4 * HOUR, 2.0)]
    asked = [("a", START + n * HOUR) for n in range(6)]
    assert join(known, asked, None) == [1.0, 1.0, 1.0, 1.0, 2.0, 2.0]


def test_a_row_overtaken_before_it_was_known_never_wins() -> None:
    known = [Known("a", START, START + 5 * HOUR, 1.0), Known("a", START + HOUR, START + HOUR, 2.0)]
    assert join(known, [("a", START + 5 * HOUR)], None) == [2.0]


def test_full_ties_go_to_the_last_in_the_input_and_its_null_stays() -> None:
    known = [Known("a", START, START, 1.0), Known("a", START, START, None)]
    assert join(known, [("a", START)], None) == [None]


def test_naive_times_are_utc_and_whole_number_keys_match_across_types() -> None:
    view = pl.DataFrame({"k": [1, 2], "e": [datetime(2013, 1, 1), datetime(2013, 1, 1)], "v": [10, 20]})
    rows = pl.DataFrame({"k": [2.0, None, 2.0], "t": ["2013-01-01", "2013-01-01", "2013-01-01T00:00:00+01:00"]})
    joined = point_in_time(rows, view, entity="k", time="t", event_time="e", created=None, ttl=None, features={"v": "v"})
    assert joined["v"].to_list() == [20, None, None]


def test_an_empty_view_matches_nothing() -> None:
    view = pl.DataFrame(schema={"k": pl.String, "e": TIME, "v": pl.Int64})
    rows = pl.DataFrame({"k": ["a"], "t": [START]})
    joined = point_in_time(rows, view, entity="k", time="t", event_time="e", created=None, ttl=None, features={"v": "v"})
    assert joined.schema["v"] == pl.Int64
    assert joined["v"].to_list() == [None]


@pytest.mark.parametrize("keys", [["x", None], [1, 2], [3.0, None], [True, False]])
def test_a_key_has_one_text_offline_and_online(keys: list[object]) -> None:
    assert as_keys(pl.Series("k", keys), "a table").to_list() == [key_text(key) for key in keys]


def test_fractions_are_no_keys() -> None:
    with pytest.raises(SourceFailed, match="'k' of a table holds fractions"):
        as_keys(pl.Series("k", [1.5]), "a table")
