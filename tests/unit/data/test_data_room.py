from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from tests.unit.data.memory import Blobs, Clock, Datasets, Tables, spec_of

from kedge.data import expect
from kedge.data.room import Data
from kedge.domain.data import ColumnNote, Dataset, DatasetKind, Expectation, Rule, Severity
from kedge.domain.events import EventKind
from kedge.domain.ids import DatasetName
from kedge.errors import DataInvalid, SourceFailed, StoreBroken

START = datetime(2013, 1, 1, tzinfo=UTC)
SPEC = spec_of()


def source(days: int = 20, **columns: object) -> pl.DataFrame:
    """A row a day; its label is known a day later."""
    made = {
        "id": [f"r{day}" for day in range(days)],
        "at": [START + timedelta(days=day) for day in range(days)],
        "late": [day % 2 for day in range(days)],
        "wind": [float(day) for day in range(days)],
    }
    return pl.DataFrame(made | columns)


class Rooms:
    def __init__(self, frame: pl.DataFrame) -> None:
        self.datasets, self.blobs, self.clock, self.tables = Datasets(), Blobs(), Clock(), Tables({"rows": frame})
        self.data = self.again()

    def again(self) -> Data:
        return Data(datasets=self.datasets, blobs=self.blobs, tables=self.tables, clock=self.clock)

    def at(self, day: int) -> Data:
        self.clock.time = START + timedelta(days=day)
        return self.data


@pytest.fixture
def rooms() -> Rooms:
    return Rooms(source())


def test_a_commit_holds_what_is_known_by_now(rooms):
    version = rooms.at(5).commit(SPEC)
    assert (version.number, version.rows, version.order, len(version.parts)) == (1, 5, "known_at__", 1)
    assert version.upto == START + timedelta(days=5)
    assert rooms.data.read(version)["id"].to_list() == ["r0", "r1", "r2", "r3", "r4"]


def test_a_later_commit_shares_the_parts_and_adds_one(rooms):
    first = rooms.at(5).commit(SPEC)
    second = rooms.at(8).commit(SPEC)
    assert second.parts[0] == first.parts[0]
    assert second.parts[1].after == first.upto
    assert (second.rows, second.parts[1].rows, second.parent, second.number) == (8, 3, first.digest, 2)
    assert rooms.data.read(second, ["wind"])["wind"].to_list() == [float(n) for n in range(8)]


def test_nothing_new_is_the_same_version(rooms):
    first = rooms.at(5).commit(SPEC)
    assert rooms.again().commit(SPEC) == first
    assert len(rooms.datasets.versions) == 1


def test_a_commit_killed_after_its_blob_was_written_ends_the_same(rooms):
    other = Rooms(source())
    other.blobs.put(other.tables.encode(other.at(5).rows(SPEC).head(5)))
    assert other.data.commit(SPEC).digest == rooms.at(5).commit(SPEC).digest
    assert len(other.blobs.kept) == 1


def test_two_ways_to_the_same_parts_have_one_digest(rooms):
    other = Rooms(source())
    for day in (5, 8):
        digests = {each.at(day).commit(SPEC).digest for each in (rooms, other)}
        assert len(digests) == 1


def test_a_commit_writes_one_event_with_its_parent(rooms):
    rooms.at(5).commit(SPEC)
    version = rooms.at(8).commit(SPEC)
    event = next(e for e in rooms.datasets.events.values() if e.facts.get("digest") == version.digest)
    assert event.kind is EventKind.DATASET_COMMITTED
    assert event.message == "version 2 of 'delay': 3 new rows, 8 in all"
    assert event.edges[0].source.id == version.parent


def test_a_past_played_again_holds_nothing_from_later(rooms):
    first = rooms.at(5).commit(SPEC)
    rooms.at(12).commit(SPEC)
    assert rooms.at(5).commit(SPEC) == first
    between = rooms.at(8).commit(SPEC)
    assert (between.number, between.rows, between.parent) == (3, 8, first.digest)


def test_rows_that_come_late_are_added(rooms):
    rooms.tables.frames["rows"] = source().filter(pl.col("id") != "r2")
    first = rooms.at(5).commit(SPEC)
    rooms.tables.frames["rows"] = source()
    second = rooms.data.commit(SPEC)
    assert second.parts[0] == first.parts[0]
    assert second.upto == first.upto
    assert rooms.data.read(second)["id"].to_list() == ["r0", "r1", "r3", "r4", "r2"]
    third = rooms.at(6).commit(SPEC)
    assert third.parts[-1].rows == 1


def test_late_rows_without_a_key_are_told_by_all_they_hold():
    rooms, spec = Rooms(source().drop("id").slice(1)), spec_of(key="")
    rooms.at(5).commit(spec)
    rooms.tables.frames["rows"] = source().drop("id")
    assert rooms.data.commit(spec).parts[-1].rows == 1


def test_a_source_that_is_read_anew_is_seen(rooms):
    assert len(rooms.data.rows(SPEC)) == 20
    rooms.tables.frames["rows"] = source(30)
    assert len(rooms.data.rows(SPEC)) == 30


def test_a_column_that_is_new_is_empty_in_older_parts(rooms):
    rooms.at(5).commit(SPEC)
    rooms.tables.frames["rows"] = source(rain=[1.0] * 20)
    version = rooms.at(8).commit(SPEC)
    assert version.schema.names()[-2:] == ("rain", "known_at__")
    assert rooms.data.read(version)["rain"].to_list() == [None] * 5 + [1.0] * 3


def test_before_the_first_label_there_is_nothing_to_commit(rooms):
    with pytest.raises(SourceFailed, match=r"20 rows, but no label is known by 2013-01-01 .*known at 2013-01-02"):
        rooms.at(0).commit(SPEC)


def test_parts_are_decoded_once(rooms):
    rooms.at(5).commit(SPEC)
    version = rooms.at(8).commit(SPEC)
    fresh = rooms.again()
    for _ in range(3):
        fresh.read(version)
    assert rooms.blobs.gets == 2


def test_parts_in_memory_have_a_bound(rooms, monkeypatch):
    monkeypatch.setattr("kedge.data.room._CACHED_BYTES", 1)
    rooms.at(5).commit(SPEC)
    version = rooms.at(8).commit(SPEC)
    fresh = rooms.again()
    fresh.read(version)
    fresh.read(version)
    assert rooms.blobs.gets == 4


def test_a_table_is_committed_by_the_time_its_rows_were_known(rooms):
    table = pl.DataFrame({"k": ["a", "b"], "seen": [START, START + timedelta(days=9)]})
    assert rooms.at(-1).commit_table(DatasetName("weather"), table, order="seen", actor="policy:loop") is None
    version = rooms.at(1).commit_table(DatasetName("weather"), table, order="seen", actor="policy:loop")
    assert version is not None
    assert version.rows == 1
    again = rooms.at(10).commit_table(DatasetName("weather"), table, order="seen", actor="policy:loop")
    assert again is not None
    assert (again.rows, again.number) == (2, 2)


def test_a_valid_version_is_reported_once(rooms):
    version = rooms.at(8).commit(SPEC)
    report = rooms.data.require_valid(version, SPEC)
    assert report.passed
    assert rooms.again().require_valid(version, SPEC) == report
    assert rooms.datasets.find_report(version.digest) == report
    events = [event for event in rooms.datasets.events.values() if event.kind is EventKind.DATA_VALIDATED]
    assert [event.message for event in events] == ["8 rows of 'delay' hold what is expected"]


def test_a_third_label_stops_the_loop_when_it_is_known_and_not_before():
    rooms = Rooms(source(late=["no", "yes"] * 9 + ["maybe", "yes"]))
    rooms.data.require_valid(rooms.at(10).commit(SPEC), SPEC)
    version = rooms.at(20).commit(SPEC)
    with pytest.raises(DataInvalid, match=r"column 'late': 1 of 20 rows .*id 'r18': maybe.*Nothing was trained"):
        rooms.data.require_valid(version, SPEC)
    report = rooms.datasets.find_report(version.digest)
    assert report is not None
    assert not report.passed
    assert EventKind.DATA_REFUSED in {event.kind for event in rooms.datasets.events.values()}
    assert rooms.data.classes(SPEC) == ("no", "yes", "maybe")


def test_bad_rows_are_set_aside_and_the_rest_is_read():
    ids = [f"r{day}" for day in range(20)]
    ids[3], ids[4] = "r2", "r2"
    rooms = Rooms(source(id=ids, wind=[float("inf"), *map(float, range(19))], late=[0, None, *[1] * 18]))
    version = rooms.at(8).commit(SPEC)
    report = rooms.data.require_valid(version, SPEC)
    assert (report.passed, report.quarantined) == (True, 4)
    assert rooms.data.accepted(version, SPEC)["id"].to_list() == ["r2", "r5", "r6", "r7"]
    assert rooms.data.accepts(version, SPEC).to_list() == [False, False, True, False, False, True, True, True]


def test_times_may_run_backwards_in_the_source(rooms):
    backwards = Rooms(source().reverse())
    assert backwards.at(8).commit(SPEC).digest == rooms.at(8).commit(SPEC).digest


def test_the_projects_own_expectations_count(rooms):
    import msgspec

    rule = Expectation(rule=Rule.BETWEEN, column="wind", at_most=5, severity=Severity.ERROR)
    spec = msgspec.structs.replace(SPEC, expectations=(rule,))
    version = rooms.at(10).commit(spec)
    with pytest.raises(DataInvalid, match="column 'wind': 4 of 10 rows break 'at most 5'"):
        rooms.data.require_valid(version, spec)
    lenient = msgspec.structs.replace(SPEC, expectations=(msgspec.structs.replace(rule, share=0.5),))
    assert rooms.data.require_valid(version, lenient).passed


def test_a_loops_report_its_event_and_its_refusal_show_no_personal_value():
    import msgspec

    rooms = Rooms(source(late=["no", "yes"] * 9 + ["maybe", "yes"]))
    rule = Expectation(rule=Rule.BETWEEN, column="wind", at_most=12.5)
    spec = msgspec.structs.replace(SPEC, expectations=(rule,))
    version = rooms.at(20).commit(spec)
    with pytest.raises(DataInvalid, match=r"id 'r13': 13\.0"):
        rooms.data.require_valid(version, spec)
    notes = tuple(ColumnNote(name=name, personal=True) for name in ("id", "wind", "late"))
    rooms.datasets.entries[version.dataset] = Dataset(
        name=version.dataset, kind=DatasetKind.TABLE, created_at=START, columns=notes
    )
    with pytest.raises(DataInvalid, match="column 'wind': 7 of 20 rows") as refused:
        rooms.data.require_valid(version, spec)
    told = [str(refused.value), [*rooms.datasets.events.values()][-1], rooms.datasets.find_report(version.digest)]
    for secret in ("r13", "13.0", "maybe"):
        assert secret not in msgspec.json.encode(told).decode()


def test_a_version_of_which_nothing_is_left_is_not_valid():
    rooms = Rooms(source(wind=[float("inf")] * 20))
    version = rooms.at(8).commit(SPEC)
    with pytest.raises(
        DataInvalid, match=r"all 8 rows would be set aside \(column 'wind': 8 of 8 rows break 'a finite number'"
    ):
        rooms.data.require_valid(version, SPEC)


def test_a_version_without_rows_is_broken(rooms):
    import msgspec

    version = rooms.at(8).commit(SPEC)
    rooms.tables.decode = lambda data, columns=None: source().clear()
    empty = msgspec.structs.replace(version, digest="other")
    with pytest.raises(StoreBroken, match="version 1 of 'delay' has no rows"):
        rooms.again().require_valid(empty, SPEC)


class Code:
    """A project of which one thing is loaded."""

    def __init__(self, made: object) -> None:
        self.made = made

    def make(self, reference: str) -> object:
        assert reference == "rules.py:rules"
        return self.made() if callable(self.made) else self.made


@pytest.mark.parametrize("as_function", [False, True])
def test_expectations_in_python_stop_the_loop_too(as_function):
    rooms = Rooms(source())
    rules = [expect.holds(pl.col("wind") < 5, says="calm"), expect.not_null("wind")]
    code = Code((lambda: rules) if as_function else rules)
    data = Data(datasets=rooms.datasets, blobs=rooms.blobs, tables=rooms.tables, clock=rooms.clock, project=code)
    spec = spec_of(expectations="rules.py:rules")
    rooms.clock.time = START + timedelta(days=8)
    with pytest.raises(DataInvalid, match="3 of 8 rows break 'calm'"):
        data.require_valid(data.commit(spec), spec)
