"""One definition, two ways to read it: by time for training, by key for serving, with the same values."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.data.memory import Blobs, Clock, Datasets, Tables, spec_of

from kedge.data.room import Data
from kedge.domain.features import FeatureService, FeatureView
from kedge.errors import ConfigError, NotFound, RequestInvalid, SourceFailed
from kedge.features.parity import compare
from kedge.features.room import Features
from kedge.storage.online import MemoryOnline

START = datetime(2013, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPEC = msgspec.structs.replace(
    spec_of(), features=msgspec.convert({"service": "features.py:delay"}, type(spec_of().features))
)


def weather_rows() -> pl.DataFrame:
    hours = [START + n * HOUR for n in range(200)]
    return pl.DataFrame(
        {
            "site": ["north", "south"] * 100,
            "seen": hours,
            "told": [hour + HOUR for hour in hours],
            "wind": [float(n) if n % 7 else None for n in range(200)],
            "sky": ["grey", "blue", None, "grey"] * 50,
        }
    )


def plane_rows() -> pl.DataFrame:
    return pl.DataFrame({"plane": [1, 2], "since": ["2012-12-01"] * 2, "built": [1999, None]})


def source() -> pl.DataFrame:
    count = 150
    return pl.DataFrame(
        {
            "id": [f"r{n}" for n in range(count)],
            "at": [START + n * HOUR for n in range(count)],
            "late": [n % 3 == 0 for n in range(count)],
            "site": ["north", "north", "south", None, "west"] * 30,
            "plane": [1, 2, 3] * 50,
            "miles": [n * 10 for n in range(count)],
        }
    )


def add_hours(joined: pl.DataFrame) -> pl.DataFrame:
    hours = (pl.col("at__") - pl.col("weather__seen")).dt.total_hours()
    return joined.with_columns(hours=hours, gale=pl.col("weather__wind") > 20, quiet=pl.col("weather__sky").str.len_chars())


WEATHER = FeatureView(
    name="weather",
    entity="site",
    source=weather_rows,
    time="seen",
    created="told",
    ttl="3h",
    features=("wind", "sky", "seen"),
)
PLANE = FeatureView(name="plane", entity="plane", source=plane_rows, time="since", features=("built",))
DELAY = FeatureService(
    name="delay",
    request=("miles",),
    views=(WEATHER, PLANE),
    derive=add_hours,
    derived=("hours", "gale", "quiet"),
    drop=("weather__seen",),
)


class Project:
    def __init__(self, service: object) -> None:
        self.service = service

    def load(self, reference: str) -> Any:
        return self.service


class Rooms:
    def __init__(self, service: object = DELAY, frame: pl.DataFrame | None = None) -> None:
        self.clock, self.datasets, self.online = Clock(START + 48 * HOUR), Datasets(), MemoryOnline()
        self.tables = Tables({"rows": source() if frame is None else frame})
        self.project = Project(service)
        self.data = Data(datasets=self.datasets, blobs=Blobs(), tables=self.tables, clock=self.clock)
        self.features = self.again()

    def again(self) -> Features:
        return Features(data=self.data, online=self.online, tables=self.tables, project=self.project, clock=self.clock)  # type: ignore[arg-type]


@pytest.fixture
def rooms() -> Rooms:
    return Rooms()


def test_a_training_frame_has_what_was_known_at_each_rows_time(rooms):
    frame = rooms.features.training_frame(SPEC, rooms.data.commit(SPEC))
    assert frame.columns == ("miles", "weather__wind", "weather__sky", "plane__built", "hours", "gale", "quiet")
    assert len(frame) == 25
    row = frame.rows.row(2, named=True)  # asked at 2 h for south: its row of 1 h was told at 2 h
    assert (row["weather__wind"], row["weather__sky"], row["hours"], row["plane__built"]) == (1.0, "blue", 1, None)
    assert (frame.service, frame.upto, frame.step) == ("delay", rooms.clock.time, timedelta(days=7))


def test_a_frame_names_the_versions_of_all_its_data(rooms):
    frame = rooms.features.training_frame(SPEC, rooms.data.commit(SPEC))
    named = {rooms.datasets.find_digest(digest).dataset for digest in frame.versions}
    assert named == {"delay", "delay.weather", "delay.plane"}
    assert rooms.datasets.find("delay.weather").upto <= rooms.clock.time


def test_a_table_that_ended_long_ago_is_judged_on_its_own_newest_step(rooms):
    rooms.clock.time += timedelta(days=365)
    frame = rooms.features.training_frame(SPEC, rooms.data.commit(SPEC))
    assert frame.upto == frame.rows["known_at__"][-1] < rooms.clock.time
    assert len(frame.newest()) > 0


def test_a_frame_of_a_time_gone_by_is_what_it_was_then(rooms):
    then = rooms.clock.time
    first = rooms.features.training_frame(SPEC, rooms.data.commit(SPEC))
    rooms.clock.time += 12 * HOUR
    assert len(rooms.features.training_frame(SPEC, rooms.data.commit(SPEC))) > len(first)
    again = rooms.features.training_frame(SPEC, rooms.data.commit(SPEC, upto=then), upto=then)
    assert (again.digest, again.versions[0]) == (first.digest, first.versions[0])


def test_a_later_frame_joins_only_the_new_part(rooms, monkeypatch):
    first = rooms.features.training_frame(SPEC, rooms.data.commit(SPEC))
    joined, sizes = rooms.features.joined, []
    monkeypatch.setattr(
        rooms.features, "joined", lambda s, rows, time: sizes.append(len(rows)) or joined(s, rows, time=time)
    )
    rooms.clock.time += 12 * HOUR
    second = rooms.features.training_frame(SPEC, rooms.data.commit(SPEC))
    assert sizes == [12]
    assert second.rows.head(25).equals(first.rows)


def test_the_same_rows_cut_into_other_parts_are_the_same_frame(rooms):
    rooms.data.commit(SPEC)
    rooms.clock.time += 12 * HOUR
    other = Rooms()
    other.clock.time = rooms.clock.time
    frames = [each.features.training_frame(SPEC, each.data.commit(SPEC)) for each in (rooms, other)]
    assert frames[0].versions != frames[1].versions
    assert frames[0].digest == frames[1].digest


def test_rows_set_aside_are_not_in_the_frame():
    rooms = Rooms(frame=source().with_columns(id=pl.when(pl.col("id") == "r1").then(pl.lit("r0")).otherwise("id")))
    frame = rooms.features.training_frame(SPEC, rooms.data.commit(SPEC))
    assert len(frame) == 24


def test_a_project_without_a_service_reads_all_columns_of_its_source(rooms):
    assert rooms.features.service(spec_of()).columns() == ("site", "plane", "miles")
    assert rooms.features.service(spec_of(ignore=("plane",))).columns() == ("site", "miles")


def test_serving_gives_what_the_join_gives(rooms):
    rows = rooms.data.rows(SPEC)
    joined = rooms.features.joined(DELAY, rows, time="at")
    reader = rooms.features.reader(DELAY)
    for place in range(len(rows)):
        row = rows[place : place + 1]
        at = row["at"][0]
        rooms.features.materialize(SPEC, at)
        served = reader.read({name: row[name].to_list() for name in ("site", "plane", "miles")}, at)
        assert list(served.features) == list(DELAY.columns())
        assert compare(served.features, joined[place : place + 1], columns=DELAY.columns()) == []


def test_each_value_comes_with_the_time_of_its_row(rooms):
    at = START + 5 * HOUR
    rooms.features.materialize(SPEC, at)
    served = rooms.features.reader(DELAY).read({"site": ["north", "west", None], "plane": [1, 9, 1], "miles": [1, 2, 3]}, at)
    assert served.as_of["weather"] == [START + 4 * HOUR, None, None]
    assert served.as_of["plane"] == [datetime(2012, 12, 1, tzinfo=UTC), None, datetime(2012, 12, 1, tzinfo=UTC)]
    assert served.features["weather__wind"] == [4.0, None, None]
    assert served.features["hours"] == [1, None, None]


def test_serving_keeps_to_the_ttl_and_to_what_is_visible(rooms):
    rooms.features.materialize(SPEC, START + 5 * HOUR)
    reader = rooms.features.reader(DELAY)
    one = {"site": ["north"], "plane": [1], "miles": [1]}
    wind = [reader.read(one, START + n * HOUR).features["weather__wind"] for n in (4, 5, 7, 8)]
    assert wind == [[None], [4.0], [4.0], [None]], "not before it was told, and three hours at most"


def test_an_empty_request_and_one_without_any_value_have_their_types(rooms):
    rooms.features.materialize(SPEC, START + 5 * HOUR)
    reader = rooms.features.reader(DELAY)
    nothing = reader.read({"site": [None], "plane": [None], "miles": [None]}, START)
    assert all(values == [None] for values in nothing.features.values())
    assert reader.read({"site": [], "plane": [], "miles": []}, START).features["quiet"] == []


def test_a_request_may_write_numbers_as_they_come(rooms):
    rooms.features.materialize(SPEC, START + 5 * HOUR)
    reader = rooms.features.reader(DELAY)
    served = reader.read({"site": ["north"], "plane": [1.0], "miles": [2.0]}, START + 5 * HOUR)
    assert served.features["plane__built"] == [1999]
    with pytest.raises(RequestInvalid, match="column 'miles' does not fit its type Int64"):
        reader.read({"site": ["north"], "plane": [1], "miles": ["far"]}, START)
    with pytest.raises(RequestInvalid, match="missing column 'plane', 'miles'; send site, plane, miles"):
        reader.read({"site": ["north"]}, START)


def test_a_time_in_a_request_is_read_as_the_join_reads_it():
    def add_wait(joined: pl.DataFrame) -> pl.DataFrame:
        return joined.with_columns(wait=(pl.col("at__") - pl.col("booked")).dt.total_hours())

    service = FeatureService(name="wait", request=("booked",), derive=add_wait, derived=("wait",), drop=("booked",))
    rooms = Rooms(service, source().with_columns(booked=pl.col("at") - 5 * HOUR))
    rooms.features.materialize(SPEC, START)
    reader = rooms.features.reader(service)
    written = ["2012-12-31T19:00:00Z", "2012-12-31T18:00:00", datetime(2012, 12, 31, 17), None]
    assert reader.read({"booked": written}, START).features == {"wait": [5, 6, 7, None]}
    with pytest.raises(RequestInvalid, match="7 is not a time"):
        reader.read({"booked": [7]}, START)


def test_derive_works_before_anything_was_materialized(rooms):
    service = msgspec.structs.replace(
        DELAY, derive=lambda joined: joined.with_columns(far=pl.col("miles") > 5), derived=("far",)
    )
    assert rooms.features.reader(service).read({"site": ["x"], "plane": [1], "miles": [7]}, START).features["far"] == [True]


def test_materializing_again_or_anew_changes_nothing(rooms):
    assert rooms.features.materialize(SPEC, START + 5 * HOUR) > 0
    kept = dict(rooms.online._rows)
    assert rooms.features.materialize(SPEC, START + 5 * HOUR) == 0
    assert rooms.features.materialize(SPEC, START + 3 * HOUR) == 0
    rooms.again().materialize(SPEC, START + 5 * HOUR)
    assert rooms.online._rows == kept


def test_many_rows_at_once_leave_what_one_at_a_time_leaves(rooms, monkeypatch):
    rooms.features.materialize(SPEC, START + 190 * HOUR)
    other = Rooms()
    monkeypatch.setattr("kedge.features.materialize._SEVERAL", 10)
    other.features.materialize(SPEC, START + 190 * HOUR)
    assert rooms.online._rows == other.online._rows


def test_a_view_whose_source_was_read_anew_is_joined_and_pushed_anew(rooms):
    rooms.features.materialize(SPEC, START + 5 * HOUR)
    rooms.tables.read[plane_rows] = plane_rows().with_columns(built=pl.lit(2013))
    rooms.features.materialize(SPEC, START + 5 * HOUR)
    served = rooms.features.reader(DELAY).read({"site": ["north"], "plane": [2], "miles": [1]}, START + 5 * HOUR)
    assert served.features["plane__built"] == [2013]


@st.composite
def histories(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame, str | None]:
    """A view with ties, late rows and nulls, and rows that ask for it, hour by hour."""
    hour = st.integers(0, 8)
    key = st.sampled_from(["a", "b", None])
    view = draw(st.lists(st.tuples(key, st.none() | hour, st.none() | hour, st.none() | st.integers(0, 9)), max_size=20))
    asked = sorted(draw(st.lists(st.tuples(hour, key), min_size=1, max_size=12)), key=lambda pair: pair[0])
    time = pl.Datetime("us", "UTC")

    def moments(hours: list[int | None]) -> pl.Series:
        return pl.Series([None if n is None else START + n * HOUR for n in hours], dtype=time)

    table = pl.DataFrame(
        {
            "k": pl.Series([row[0] for row in view], dtype=pl.String),
            "e": moments([row[1] for row in view]),
            "c": moments([row[2] for row in view]),
            "v": pl.Series([row[3] for row in view], dtype=pl.Int64),
        }
    )
    rows = pl.DataFrame({"k": pl.Series([key for _, key in asked], dtype=pl.String), "at": moments([n for n, _ in asked])})
    return table, rows, draw(st.sampled_from([None, "1h", "3h"]))


@settings(max_examples=150)
@given(histories())
def test_whatever_the_history_serving_gives_what_the_join_gives(history):
    table, rows, ttl = history
    view = FeatureView(name="w", entity="k", source=lambda: table, time="e", created="c", ttl=ttl, features=("v",))
    service = FeatureService(name="any", views=(view,))
    rooms = Rooms(service)
    joined = rooms.features.joined(service, rows, time="at")
    reader = rooms.features.reader(service)
    served = []
    for at, key in zip(rows["at"], rows["k"], strict=True):
        rooms.features.materialize(SPEC, at)
        served += reader.read({"k": [key]}, at).features["w__v"]
    assert served == joined["w__v"].to_list()


@pytest.mark.parametrize(
    ("service", "message"),
    [
        (7, "'features.py:delay' is int, not a FeatureService"),
        (msgspec.structs.replace(DELAY, views=(WEATHER, WEATHER)), "names view 'weather' twice"),
        (msgspec.structs.replace(DELAY, request=("hours",)), "names column 'hours' twice"),
        (msgspec.structs.replace(DELAY, derive=None), "lists derived columns but has no `derive`"),
        (msgspec.structs.replace(DELAY, drop=("nothing",)), "drops 'nothing', which it does not have"),
        (
            msgspec.structs.replace(DELAY, views=(msgspec.structs.replace(WEATHER, ttl="soon"),), drop=()),
            "view 'weather', ttl: 'soon' is not a duration",
        ),
    ],
)
def test_a_service_that_contradicts_itself_is_refused(service, message):
    with pytest.raises(ConfigError, match=message):
        Rooms(service).features.service(SPEC)


@pytest.mark.parametrize(
    ("derive", "message"),
    [
        (lambda joined: None, "returned NoneType"),
        (lambda joined: joined.head(1), "returned 1 rows for 150"),
        (lambda joined: joined, "did not make 'hours', 'gale', 'quiet'"),
    ],
)
def test_a_derive_that_is_not_as_declared_is_refused(rooms, derive, message):
    with pytest.raises(ConfigError, match=message):
        rooms.features.joined(msgspec.structs.replace(DELAY, derive=derive), rooms.data.rows(SPEC), time="at")


def test_derive_sees_nothing_that_a_request_does_not_carry(rooms):
    service = msgspec.structs.replace(
        DELAY, derive=lambda joined: joined.with_columns(hours=pl.col("late")), derived=("hours",)
    )
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        rooms.features.joined(service, rooms.data.rows(SPEC), time="at")


def test_a_missing_column_is_named_with_its_table(rooms):
    view = msgspec.structs.replace(WEATHER, features=("winds",))
    with pytest.raises(SourceFailed, match="the source of view 'weather' has no column 'winds'; did you mean 'wind'"):
        rooms.features.joined(msgspec.structs.replace(DELAY, views=(view,)), rooms.data.rows(SPEC), time="at")
    with pytest.raises(SourceFailed, match="the table that service 'delay' reads has no column 'site'"):
        rooms.features.joined(DELAY, rooms.data.rows(SPEC).drop("site"), time="at")


def test_parity_names_row_column_and_both_values():
    joined = pl.DataFrame({"a": [1.0, 2.0, None], "s": ["x", "y", None]})
    served = {"a": [1.0, 2.0000001, float("nan")], "s": ["x", "z", None]}
    found = compare(served, joined, columns=("a", "s"))
    assert found == [(1, "a", 2.0000001, 2.0), (1, "s", "z", "y")]
    assert len(compare(served, joined, columns=("a", "s"), tolerance=1e-6)) == 1
    assert len(compare({"a": [None, 2, 3]}, joined, columns=("a",))) == 2
    with pytest.raises(NotFound, match="column 'b' is not in the served rows"):
        compare(served, joined, columns=("b",))
    with pytest.raises(NotFound, match="1 rows were served, but 3 were joined"):
        compare({"a": [1.0]}, joined, columns=("a",))
