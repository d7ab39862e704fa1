"""What differs between two versions of a table, held against a count by hand."""

from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.data.kept import ADA, Kept

from kedge.data.personal import MASK
from kedge.data.tables.moved import moved
from kedge.data.tables.parts import Parts
from kedge.domain.data import ColumnNote, ColumnType, Dataset, DatasetKind
from kedge.domain.data_diff import ColumnChange
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, digest_of
from kedge.errors import RequestInvalid

PEOPLE = pl.DataFrame({"id": [1, 2, 3, 4], "name": ["Ada", "Bob", None, "Dan"], "age": [36, 41, 29, None]})


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def room(kept):
    return kept.room()


def edited() -> pl.DataFrame:
    rows = [(1, "Ada", 37), (2, "Bob", 41), (4, None, None), (9, "Eve", 20)]
    return pl.DataFrame(rows, schema=PEOPLE.schema, orient="row")


def test_rows_are_told_apart_by_key(room):
    before = room.commit(PEOPLE, "people", key="id", **ADA)
    found = room.diff(before, room.commit(edited(), "people", **ADA))
    assert (found.key, found.added, found.removed, found.changed, found.unchanged) == (("id",), 1, 1, 2, 1)
    assert found.changed_cells == {"name": 1, "age": 1}
    assert [(row.key, [(c.column, c.before, c.after) for c in row.cells]) for row in found.examples_changed] == [
        (("1",), [("age", "36", "37")]),
        (("4",), [("name", "Dan", None)]),
    ]
    assert [(row.key, [(c.column, c.after) for c in row.cells]) for row in found.examples_added] == [
        (("9",), [("name", "Eve"), ("age", "20")])
    ]
    assert [row.key for row in found.examples_removed] == [("3",)]
    assert not found.same
    assert (found.before.number, found.after.number, found.sampled) == (1, 2, 0)


def test_backwards_is_the_other_way_round(room):
    before = room.commit(PEOPLE, "people", key="id", **ADA)
    after = room.commit(edited(), "people", **ADA)
    found = room.diff(after, before)
    assert (found.added, found.removed, found.changed, found.unchanged) == (1, 1, 2, 1)
    assert room.diff(after, after).same
    assert room.diff(after, after).unchanged == 4


def test_without_a_key_rows_are_compared_whole(room):
    before = room.commit(pl.concat([PEOPLE, PEOPLE]), "people", **ADA)
    after = room.commit(pl.concat([edited(), PEOPLE]), "people", **ADA)
    found = room.diff(before, after)
    assert (found.key, found.added, found.removed, found.changed, found.unchanged) == ((), 3, 3, 0, 5)
    assert room.diff(room.append(PEOPLE, "people", **ADA), room.append(PEOPLE, "people", **ADA)).added == 4


def test_a_key_may_be_chosen_and_must_be_one(room):
    before = room.commit(PEOPLE, "people", **ADA)
    after = room.commit(edited(), "people", **ADA)
    assert room.diff(before, after, key="id").changed == 2
    assert room.diff(before, room.commit(pl.concat([PEOPLE, PEOPLE]), "people", **ADA), key=None).added == 4
    with pytest.raises(RequestInvalid, match="does not tell rows apart"):
        room.diff(before, room.find("people"), key="id")
    with pytest.raises(RequestInvalid, match="has no column 'nr'"):
        room.diff(before, after, key="nr")


def test_columns_that_come_go_and_change_their_type(room):
    before = room.commit(PEOPLE, "people", key="id", **ADA)
    after = room.commit(PEOPLE.select("id", pl.col("age").cast(pl.Float64), x=pl.lit("new")), "people", **ADA)
    found = room.diff(before, after)
    assert [(one.column, one.change, one.before, one.after) for one in found.schema] == [
        ("name", ColumnChange.REMOVED, ColumnType.STRING, None),
        ("age", ColumnChange.RETYPED, ColumnType.INTEGER, ColumnType.FLOAT),
        ("x", ColumnChange.ADDED, None, ColumnType.STRING),
    ]
    assert (found.changed, found.unchanged) == (0, 4)
    text = room.commit(PEOPLE.with_columns(age=pl.lit("old")), "people", **ADA)
    assert room.diff(before, text).changed_cells == {"age": 4}


def test_personal_columns_are_masked(room, kept):
    before = room.commit(PEOPLE, "people", key="id", **ADA)
    after = room.commit(edited(), "people", **ADA)
    entry = Dataset(
        name=DatasetName("people"),
        kind=DatasetKind.TABLE,
        created_at=kept.clock.now(),
        columns=(ColumnNote(name="name", personal=True),),
    )
    told = Event(key=digest_of(1), kind=EventKind.DATASET_DESCRIBED, at=kept.clock.now(), subject="p", actor="a", message="")
    kept.store.datasets.describe(entry, told)
    found = room.diff(before, after)
    assert not any(name in str(found) for name in ("Ada", "Bob", "Dan", "Eve"))
    assert MASK in str(found)


def test_a_part_that_both_have_is_not_read_for_its_rows(room, kept, monkeypatch):
    before = room.commit(PEOPLE, "people", key="id", **ADA)
    after = room.append(edited().tail(1), "people", **ADA)
    read = []
    real = Parts.read

    def reading(self, part, names=None):
        read.append((part.digest, tuple(names)))
        return real(self, part, names)

    monkeypatch.setattr(Parts, "read", reading)
    assert room.diff(before, after).added == 1
    old = [names for digest, names in read if digest == before.parts[0].digest]
    assert len(old) == 2  # a sample for each side


def frame(rows: list[tuple[int, int | None, str | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"id": pl.Int64, "a": pl.Int64, "b": pl.String}, orient="row")


ROWS = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from([None, 1, 2]), st.sampled_from([None, "x", "y"])), unique_by=lambda r: r[0]
)


@settings(max_examples=25)
@given(first=ROWS, second=ROWS, third=ROWS, key=st.booleans())
def test_a_count_by_hand_agrees(first, second, third, key):
    room = Kept().room()
    versions = [room.commit(frame(rows), "t", key="id" if key else (), **ADA) for rows in (first, second, third)]
    for rows, version in zip((first, second), versions, strict=False):
        found = room.diff(version, versions[2])
        old, new = {row[0]: row for row in rows}, {row[0]: row for row in third}
        both = old.keys() & new.keys()
        same = sum(old[id] == new[id] for id in both)
        if key:
            counted = (len(new) - len(both), len(old) - len(both), len(both) - same, same)
        else:
            counted = (len(new) - same, len(old) - same, 0, same)
        assert (found.added, found.removed, found.changed, found.unchanged) == counted
        assert len(found.examples_added) == min(counted[0], 5)
        assert sum(found.changed_cells.values()) >= found.changed


def test_how_far_a_column_moved(room):
    random = np.random.default_rng(3)
    size = 20_000
    table = pl.DataFrame(
        {
            "id": np.arange(size),
            "same": random.normal(size=size),
            "far": random.normal(size=size),
            "city": random.choice(["a", "b"], size),
            "at": pl.Series([datetime(2026, 1, 1)] * size),
            "list": [[1]] * size,
            "none": pl.Series([None] * size),
            "yes": [True] * size,
        }
    )
    before = room.commit(table, "t", key="id", **ADA)
    after = room.commit(
        table.with_columns(
            pl.col("far") + 1,
            same=pl.Series(random.normal(size=size)),
            city=pl.Series(random.choice(["a", "b", "c"], size)),
        ),
        "t",
        **ADA,
    )
    found = {column.name: column for column in room.diff(before, after).columns}
    assert {name for name, column in found.items() if column.moved} == {"far", "city"}
    assert next(iter(found)) in ("far", "city")
    assert found["far"].distances["wasserstein"] == pytest.approx(0.26, abs=0.03)
    assert found["far"].mean_after - found["far"].mean_before == pytest.approx(1, abs=0.01)
    assert sum(bar.rows for bar in found["far"].bins_after) == size
    assert [bar.low for bar in found["far"].bins_before] == [bar.low for bar in found["far"].bins_after]
    assert {one.value: one.rows for one in found["city"].top_before}["c"] == 0
    assert "wasserstein" not in found["city"].distances
    assert found["none"].distances["psi"] == 0
    assert found["at"].type is ColumnType.TIME
    assert not found["list"].moved


def test_a_distribution_of_many_rows_is_measured_on_some(room, monkeypatch):
    monkeypatch.setattr("kedge.data.tables.compare._SAMPLED", 100)
    monkeypatch.setattr("kedge.data.tables.compare._AT_ONCE", 150)
    monkeypatch.setattr("kedge.data.tables.changes.MOST_ROWS", 64)
    before = room.commit(pl.DataFrame({"n": range(1000), "m": range(1000)}), "t", key="n", **ADA)
    after = room.commit(pl.DataFrame({"n": range(1000), "m": range(1, 1001)}), "t", key="n", **ADA)
    found = room.diff(before, after)
    assert found.sampled == 100
    assert found.changed_cells == {"m": 1000}
    assert found.columns[0].rows_before == 100


def test_sides_without_rows_or_values_are_compared(room):
    empty = room.commit(PEOPLE.clear(), "people", key="id", **ADA)
    full = room.commit(PEOPLE, "people", **ADA)
    assert (room.diff(empty, full).added, room.diff(full, empty).removed) == (4, 4)
    nothing = moved(pl.Series("x", [None, None], dtype=pl.Float64), pl.Series("x", [1.0, float("inf")]))
    assert nothing.missing_before == 2
    assert nothing.moved
    assert moved(pl.Series("x", [1, 2]), pl.Series("x", ["a", "b"])).type is ColumnType.STRING
    assert moved(pl.Series("x", ["a"]), pl.Series("x", [datetime(2026, 1, 1)])).rows_after == 1
