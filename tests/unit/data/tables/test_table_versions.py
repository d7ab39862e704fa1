"""Tables by hand: what a commit, an append and a delete store, and what every version reads as afterwards."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from tests.unit.data.kept import ADA, Kept

from kedge.data.tables.changes import most_rows
from kedge.domain.data import ColumnNote, Dataset, DatasetKind, DatasetVersion, Schema
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, digest_of
from kedge.errors import Conflict, DataInvalid, NotFound, RequestInvalid, SourceFailed, StoreBroken

FLIGHTS = pl.DataFrame({"id": [1, 2, 3, 4], "from": ["JFK", "LGA", "EWR", "JFK"], "late": [1.5, None, 0.0, 7.0]})


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def room(kept):
    return kept.room()


def random_table(rows: int, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    columns = {f"x{i}": random.normal(size=rows) for i in range(8)}
    return pl.DataFrame({"id": np.arange(rows), **columns, "city": random.choice(["a", "b", "c"], rows)})


def test_what_is_committed_is_read_as_it_was(room):
    version = room.commit(FLIGHTS, "flights", key="id", message="first", source="there", **ADA)
    assert (version.number, version.rows, version.key, version.message) == (1, 4, ("id",), "first")
    assert (version.actor, version.source, version.schema.names()) == ("person:ada", "there", ("id", "from", "late"))
    assert_frame_equal(room.read(version), FLIGHTS)
    assert_frame_equal(room.read(room.find("flights@v1")), FLIGHTS)


def test_every_type_that_arrow_knows_comes_back_as_it_was(room):
    frame = pl.DataFrame(
        {
            "day": [date(2020, 1, 1), None],
            "at": [datetime(2020, 1, 1), None],
            "zoned": pl.Series([datetime(2020, 1, 1), None]).dt.replace_time_zone("Europe/Berlin"),
            "fine": pl.Series([datetime(2020, 1, 1), None], dtype=pl.Datetime("ns")),
            "small": pl.Series([1.5, float("nan")], dtype=pl.Float32),
            "money": [Decimal("1.10"), None],
            "list": [[1, 2], None],
            "struct": [{"a": 1}, {"a": None}],
            "span": [timedelta(1), None],
            "hour": [time(3), None],
            "bytes": [b"a", None],
            "nothing": [None, None],
            "byte": pl.Series([1, 2], dtype=pl.UInt8),
            "kind": pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"])),
        }
    )
    assert_frame_equal(room.read(room.commit(frame, "all", **ADA)), frame)
    assert room.commit(frame, "all", key="byte", **ADA).number == 2
    assert room.commit(frame.reverse(), "all", **ADA).number == 2


@pytest.mark.parametrize("give", [FLIGHTS, FLIGHTS.lazy(), FLIGHTS.to_arrow(), FLIGHTS.to_pandas()])
def test_any_frame_may_be_given(room, give):
    assert_frame_equal(room.read(room.commit(give, "flights", **ADA)), FLIGHTS)


@pytest.mark.parametrize("give", [[1], None, pd.Series([1]), "flights.csv", pl.DataFrame(), pl.DataFrame({"x": [object()]})])
def test_what_is_no_table_is_refused(room, give):
    with pytest.raises(SourceFailed, match="table 'flights'"):
        room.commit(give, "flights", **ADA)


@pytest.mark.parametrize("name", ["", "a@b", "../x", "a/b", "/a", ".", "-a", "x" * 201, "a\n", " a", "a b"])
def test_a_name_must_be_one(room, name):
    with pytest.raises(RequestInvalid, match="cannot name a dataset"):
        room.commit(FLIGHTS, name, **ADA)


def test_nothing_new_is_the_same_version(room, kept):
    first = room.commit(FLIGHTS, "flights", key="id", **ADA)
    assert room.commit(FLIGHTS.reverse(), "flights", **ADA) == first
    assert kept.room().commit(FLIGHTS, "flights", key=["id"], **ADA) == first
    assert room.append(FLIGHTS.clear(), "flights", **ADA) == first
    assert room.delete("flights", where=pl.col("id") > 99, **ADA) == first


def test_a_keyed_commit_stores_the_rows_that_changed(room):
    first = room.commit(FLIGHTS, "flights", key="id", **ADA)
    edited = FLIGHTS.filter(pl.col("id") != 3).with_columns(late=pl.when(pl.col("id") == 2).then(9.0).otherwise("late"))
    edited = pl.concat([edited, pl.DataFrame({"id": [5], "from": ["LGA"], "late": [None]}, schema=FLIGHTS.schema)])
    second = room.commit(edited, "flights", **ADA)
    assert [(part.rows, part.gone) for part in second.parts] == [(4, 2), (2, 0)]
    assert second.parts[0].digest == first.parts[0].digest
    assert_frame_equal(room.read(second).sort("id"), edited.sort("id"))
    assert_frame_equal(room.read(room.find("flights@1")), FLIGHTS)


def test_without_a_key_order_counts_and_what_is_added_is_stored(room):
    first = room.commit(FLIGHTS, "flights", **ADA)
    longer = pl.concat([FLIGHTS, FLIGHTS.head(1)])
    second = room.commit(longer, "flights", **ADA)
    assert [part.rows for part in second.parts] == [4, 1]
    assert second.parts[0] == first.parts[0]
    third = room.commit(longer.reverse(), "flights", **ADA)
    assert [part.rows for part in third.parts] == [5]
    assert_frame_equal(room.read(third), longer.reverse())
    assert room.commit(FLIGHTS, "flights", **ADA).number == 4
    assert room.find("flights").digest == first.digest
    assert_frame_equal(room.read(room.find("flights")), FLIGHTS)


def test_a_column_that_is_new_is_null_in_older_rows(room):
    room.commit(FLIGHTS, "flights", key="id", **ADA)
    version = room.append(pl.DataFrame({"id": [9], "rain": [0.5]}), "flights", widen=True, **ADA)
    assert version.schema.names() == ("id", "from", "late", "rain")
    read = room.read(version)
    assert read["rain"].to_list() == [None] * 4 + [0.5]
    assert read["from"].to_list() == ["JFK", "LGA", "EWR", "JFK", None]
    assert room.read(version, columns=["rain"], where="rain > 0")["rain"].to_list() == [0.5]
    assert room.scan(version).select(pl.len()).collect().item() == 5
    fewer = room.commit(room.read(version).drop("late"), "flights", **ADA)
    assert room.read(fewer).columns == ["id", "from", "rain"]


def test_columns_that_differ_are_refused_unless_asked_for(room):
    room.commit(FLIGHTS, "flights", **ADA)
    for frame, said in (
        (FLIGHTS.rename({"late": "lat"}), "have 'lat', which it has not and lack 'late'; did you mean 'late'"),
        (FLIGHTS.drop("late"), "lack 'late'; append with widen=True"),
        (FLIGHTS.with_columns(x=1), "have 'x', which it has not; append with widen=True"),
    ):
        with pytest.raises(SourceFailed, match=said):
            room.append(frame, "flights", **ADA)
    assert room.append(FLIGHTS.drop("late"), "flights", widen=True, **ADA).rows == 8


def test_a_named_index_of_pandas_is_data(room):
    named = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["r1", "r2"], name="id"))
    assert room.read(room.commit(named, "p", **ADA)).to_dict(as_series=False) == {"id": ["r1", "r2"], "a": [1, 2]}
    assert room.read(room.commit(named.rename_axis(None), "q", **ADA)).columns == ["a"]
    with pytest.raises(SourceFailed, match="cannot insert id"):
        room.commit(named.assign(id=1), "r", **ADA)


def test_numbers_widen_and_other_types_do_not_mix(room):
    room.commit(pl.DataFrame({"n": [1, 2]}), "numbers", **ADA)
    version = room.append(pl.DataFrame({"n": [0.5]}), "numbers", **ADA)
    assert room.read(version)["n"].to_list() == [1.0, 2.0, 0.5]
    with pytest.raises(SourceFailed, match="column 'n' of table 'numbers' is Float64, and String"):
        room.append(pl.DataFrame({"n": ["x"]}), "numbers", **ADA)


def test_a_key_must_tell_rows_apart(room, kept):
    with pytest.raises(DataInvalid, match=r"3 rows of table 'flights' share their key \(from\) .*'JFK'"):
        room.commit(pl.concat([FLIGHTS, FLIGHTS.head(1)]).filter(pl.col("from") != "EWR"), "flights", key="from", **ADA)
    with pytest.raises(DataInvalid, match="1 rows of table 'flights' have no 'late'"):
        room.commit(FLIGHTS, "flights", key=["id", "late"], **ADA)
    with pytest.raises(SourceFailed, match="no column 'nr' for its key"):
        room.commit(FLIGHTS, "flights", key="nr", **ADA)
    room.commit(FLIGHTS, "flights", **ADA)
    entry = Dataset(
        name=DatasetName("flights"),
        kind=DatasetKind.TABLE,
        created_at=kept.clock.now(),
        columns=(ColumnNote(name="from", personal=True),),
    )
    told = Event(
        key=digest_of("x"), kind=EventKind.DATASET_DESCRIBED, at=kept.clock.now(), subject="flights", actor="a", message=""
    )
    kept.store.datasets.describe(entry, told)
    with pytest.raises(DataInvalid) as raised:
        room.commit(FLIGHTS, "flights", key="from", **ADA)
    assert "JFK" not in str(raised.value)


def test_a_row_whose_key_is_there_is_refused_or_takes_its_place(room):
    room.commit(FLIGHTS, "flights", key="id", **ADA)
    more = pl.DataFrame({"id": [2, 8], "from": ["BOS", "BOS"], "late": [1.0, 1.0]})
    with pytest.raises(RequestInvalid, match="1 rows of table 'flights' have their keys"):
        room.append(more, "flights", **ADA)
    version = room.append(more, "flights", replace=True, **ADA)
    assert version.rows == 5
    assert dict(room.read(version).select("id", "from").iter_rows())[2] == "BOS"
    with pytest.raises(RequestInvalid, match="the key of table"):
        room.append(more, "flights", key="from", **ADA)


def test_rows_are_deleted_by_condition_and_by_key(room):
    room.commit(FLIGHTS, "flights", key="id", **ADA)
    second = room.delete("flights", where="\"from\" = 'JFK'", message="as asked", **ADA)
    assert (second.rows, second.parts[0].gone, second.message) == (2, 2, "as asked")
    assert room.read(second)["id"].to_list() == [2, 3]
    third = room.delete("flights", keys=[3, 77], **ADA)
    assert room.read(third)["id"].to_list() == [2]
    assert room.read(room.find("flights@v2"))["id"].to_list() == [2, 3]
    fourth = room.delete("flights", keys=2, **ADA)
    assert (fourth.rows, room.read(fourth).schema) == (0, FLIGHTS.schema)
    assert_frame_equal(room.read(room.append(FLIGHTS, "flights", **ADA)), FLIGHTS)


def test_a_condition_looks_at_the_whole_table(room):
    room.commit(FLIGHTS, "flights", **ADA)
    room.append(FLIGHTS.with_columns(pl.col("late") + 10), "flights", **ADA)
    version = room.delete("flights", where=pl.col("late") == pl.col("late").max(), **ADA)
    assert version.rows == 7
    assert room.delete("flights", where=pl.lit(value=True), **ADA).rows == 0


def test_keys_of_several_columns(room):
    room.commit(FLIGHTS, "flights", key=["from", "id"], **ADA)
    assert room.delete("flights", keys=[("JFK", 1)], **ADA).rows == 3
    assert room.delete("flights", keys=[{"id": 2, "from": "LGA"}], **ADA).rows == 2
    assert room.delete("flights", keys=pl.DataFrame({"id": [3], "from": ["EWR"]}), **ADA).rows == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "say which rows"),
        ({"where": "id = 1", "keys": [1]}, "say which rows"),
        ({"where": "id = = 1"}, "cannot be read"),
        ({"where": ""}, "a condition is"),
        ({"where": 7}, "a condition is"),
        ({"where": "id + 1"}, "gives Int64"),
        ({"where": "late > 'x'"}, "cannot be used on this table"),
        ({"where": pl.Series([True, False]).implode().explode()}, "a condition is"),
        ({"keys": ["x"]}, "no keys of table"),
        ({"keys": [(1, 2)]}, "keys of table"),
        ({"keys": pl.DataFrame({"nr": [1]})}, "need the columns id"),
    ],
)
def test_what_is_asked_wrongly_is_said_without_values(room, asked, said):
    room.commit(FLIGHTS, "flights", key="id", **ADA)
    with pytest.raises(RequestInvalid, match=said):
        room.delete("flights", **asked, **ADA)
    assert room.find("flights").number == 1


def test_columns_and_conditions_of_a_read(room):
    version = room.commit(FLIGHTS, "flights", **ADA)
    assert_frame_equal(
        room.read(version, columns=["late"], where=pl.col("id") > 2), FLIGHTS.filter(pl.col("id") > 2)[["late"]]
    )
    assert room.read(version, columns="late").columns == room.scan(version, "late").collect().columns == ["late"]
    with pytest.raises(SourceFailed, match="has no column 'lat'; did you mean 'late'"):
        room.read(version, columns=["lat"])
    with pytest.raises(SourceFailed, match="has no column 'lat'"):
        room.read(version, where="lat > 1")
    with pytest.raises(RequestInvalid, match="cannot be used"):
        room.read(version, where="late > 'x'")
    with pytest.raises(RequestInvalid, match="no key"):
        room.delete("flights", keys=[1], **ADA)


def test_as_of_a_time(room, kept):
    first = room.commit(FLIGHTS, "flights", **ADA)
    second = room.append(FLIGHTS, "flights", **ADA)
    assert room.find("flights", as_of=first.created_at) == first
    assert room.find("flights", as_of=second.created_at.replace(tzinfo=None).isoformat()) == second
    assert room.find("flights", as_of=date(2027, 1, 1)) == second
    with pytest.raises(NotFound, match="had no version at 2020-01-01 00:00:00 UTC"):
        room.find("flights", as_of="2020-01-01")
    with pytest.raises(RequestInvalid, match="write a time such as"):
        room.find("flights", as_of="yesterday")
    with pytest.raises(RequestInvalid, match="names a version already"):
        room.find("flights@v1", as_of="2026-01-01")
    assert [version.number for version in room.versions("flights")] == [1, 2]
    with pytest.raises(NotFound, match="did you mean 'flights'"):
        room.versions("flight")


def test_a_change_of_one_percent_costs_about_one_percent(room, kept):
    table = random_table(50_000)
    room.commit(table, "big", key="id", **ADA)
    whole = kept.stored()
    room.append(random_table(50_500, 1).tail(500), "big", **ADA)
    appended = kept.stored() - whole
    room.delete("big", where=pl.col("id") % 100 == 7, **ADA)
    deleted = kept.stored() - whole - appended
    newest = room.read(room.find("big"))
    room.commit(newest.with_columns(x1=pl.when(pl.col("id") % 100 == 8).then(0.0).otherwise("x1")), "big", **ADA)
    edited = kept.stored() - whole - appended - deleted
    assert appended < 0.02 * whole
    assert deleted < 0.005 * whole
    assert edited < 0.02 * whole
    assert_frame_equal(room.read(room.find("big@v1")), table)


def test_many_small_parts_become_one_and_rows_mostly_gone_are_written_anew(room):
    for turn in range(20):
        version = room.append(pl.DataFrame({"n": [turn]}), "small", **ADA)
    assert [part.rows for part in version.parts] == [16, 1, 1, 1, 1]
    assert room.read(version)["n"].to_list() == [*range(20)]
    version = room.delete("small", where="n < 10", **ADA)
    assert [(part.rows, part.gone) for part in version.parts] == [(6, 0), (1, 0), (1, 0), (1, 0), (1, 0)]
    version = room.delete("small", where="n = 12", **ADA)
    compact = room.compact("small", **ADA)
    assert [(part.rows, part.gone) for part in compact.parts] == [(9, 0)]
    assert_frame_equal(room.read(compact), room.read(version))
    assert room.compact("small", **ADA) == compact
    assert room.read(room.find("small@v5"))["n"].to_list() == [*range(5)]


def test_a_large_table_is_written_in_parts_of_a_bounded_size(room, monkeypatch):
    monkeypatch.setattr("kedge.data.tables.changes.MOST_ROWS", 1000)
    table = random_table(2500)
    version = room.commit(table, "big", **ADA)
    assert [part.rows for part in version.parts] == [1000, 1000, 500]
    changed = table.with_columns(x0=pl.when(pl.col("id") == 1500).then(0.0).otherwise("x0"))
    second = room.commit(changed, "big", **ADA)
    assert (second.parts[0], second.parts[2]) == (version.parts[0], version.parts[2])
    assert_frame_equal(room.read(second), changed)
    assert len(room.compact("big", **ADA).parts) == 3
    assert room.scan(second).head(1200).collect()["id"].to_list() == [*range(1200)]


def test_parts_of_a_wide_table_have_fewer_rows(monkeypatch):
    assert most_rows(FLIGHTS.schema) == 1 << 20
    assert most_rows({f"x{i}": pl.Float64() for i in range(1000)}) == 33_554
    assert most_rows({f"x{i}": pl.Int16() for i in range(1000)}) == 134_217
    assert most_rows({f"x{i}": pl.String() for i in range(100_000)}) == 4096
    assert most_rows({}) == 1 << 20


def test_a_lazy_frame_is_written_some_rows_at_a_time(room, kept, monkeypatch):
    monkeypatch.setattr("kedge.data.tables.changes.MOST_ROWS", 1000)
    table = random_table(2500)
    sizes = []
    real = kept.tables.encode
    monkeypatch.setattr(kept.tables, "encode", lambda rows: sizes.append(len(rows)) or real(rows))
    version = room.commit(table.lazy(), "big", **ADA)
    assert max(sizes) <= 1000
    assert_frame_equal(room.read(version), table)
    assert room.commit(table.lazy(), "big", **ADA) == version
    longer = pl.concat([table, table.head(1)])
    assert_frame_equal(room.read(room.commit(longer.lazy(), "big", **ADA)), longer)
    assert room.read(room.commit(table.lazy().filter(pl.col("id") < 0), "big", **ADA)).schema == table.schema
    keyed = room.commit(table.lazy(), "keyed", key="id", **ADA)
    assert room.commit(table.lazy().reverse(), "keyed", **ADA) == keyed
    with pytest.raises(SourceFailed, match="table 'bad' cannot be read: ColumnNotFound"):
        room.commit(table.lazy().select("nothing"), "bad", **ADA)
    with pytest.raises(SourceFailed, match="table 'bad' cannot be read: ComputeError"):
        room.commit(table.lazy().select(pl.col("city").str.to_integer()), "bad", **ADA)


def test_the_one_who_comes_second_tries_again_on_top(room, kept):
    room.commit(FLIGHTS, "flights", key="id", **ADA)
    real, others = kept.store.datasets.add, [pl.DataFrame({"id": [n], "from": ["X"], "late": [0.0]}) for n in (10, 11, 12)]

    class Racing:
        def __getattr__(self, name):
            return getattr(kept.store.datasets, name)

        def add(self, version, event):
            if others:
                other = others.pop()
                kept.room().append(other, "flights", **ADA)
            real(version, event)

    room._datasets = Racing()
    version = room.append(pl.DataFrame({"id": [5], "from": ["LGA"], "late": [1.0]}), "flights", **ADA)
    assert (version.number, version.rows) == (5, 8)
    assert sorted(room.read(version)["id"].to_list()) == [1, 2, 3, 4, 5, 10, 11, 12]


def test_who_never_wins_is_told(room, kept):
    room.commit(FLIGHTS, "flights", **ADA)

    class Losing:
        def __getattr__(self, name):
            return getattr(kept.store.datasets, name)

        def add(self, version, event):
            raise Conflict("lost")

    room._datasets = Losing()
    with pytest.raises(Conflict, match="being committed by others all the time"):
        room.append(FLIGHTS, "flights", **ADA)


def test_each_commit_is_an_event_with_its_parent(room, kept):
    first = room.commit(FLIGHTS, "flights", key="id", **ADA)
    room.delete("flights", keys=[1], **ADA)
    (_, newest), *_ = kept.store.events.list(subject="flights")
    assert (newest.kind, newest.actor) == (EventKind.DATASET_COMMITTED, "person:ada")
    assert newest.message == "version 2 of 'flights': 1 left out, 3 in all"
    assert newest.edges[0].source.id == first.digest


def test_files_and_tables_of_the_loop_are_left_alone(room, kept):
    def there(name, **about):
        version = DatasetVersion(
            dataset=DatasetName(name),
            number=1,
            digest=digest_of(name),
            schema=Schema(()),
            parts=(),
            rows=0,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            **about,
        )
        told = Event(
            key=digest_of(name), kind=EventKind.DATASET_COMMITTED, at=version.created_at, subject=name, actor="a", message=""
        )
        kept.store.datasets.add(version, told)

    there("raw", order="", kind=DatasetKind.FILES)
    there("loop", order="known_at__")
    with pytest.raises(RequestInvalid, match="'raw' is files"):
        room.commit(FLIGHTS, "raw", **ADA)
    with pytest.raises(RequestInvalid, match="'raw' is files"):
        room.find("raw")
    with pytest.raises(RequestInvalid, match="grown by its project's loop"):
        room.append(FLIGHTS, "loop", **ADA)
    with pytest.raises(NotFound, match="there is no dataset 'none'"):
        room.delete("none", where="id = 1", **ADA)
    with pytest.raises(NotFound, match="there is no dataset 'none'"):
        room.compact("none", **ADA)


def test_a_bitmap_that_is_not_one_is_found(room, kept):
    room.commit(FLIGHTS, "flights", key="id", **ADA)
    version = room.delete("flights", keys=[1], **ADA)
    for wrong in (b"", b"KDB1" + bytes(8), b"KDB1" + (4).to_bytes(8, "little") + b"x"):
        kept.blobs._kept[version.parts[0].deleted] = wrong
        with pytest.raises((StoreBroken, pl.exceptions.ComputeError), match="bitmap"):
            room.read(version)


def test_a_frame_with_an_arrow_dictionary_is_kept_as_text(room):
    table = pa.table({"x": pa.array(["a", "b", "a"]).dictionary_encode()})
    assert room.read(room.commit(table, "words", **ADA))["x"].to_list() == ["a", "b", "a"]
