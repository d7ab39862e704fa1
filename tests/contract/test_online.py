"""What every online store does; then what only the file must do."""

import sqlite3
import subprocess
import sys

import pytest

from kedge.errors import StoreBroken, StoreFull, StoreTooNew
from kedge.ports import OnlineRow
from kedge.storage.online import MemoryOnline, SqliteOnline


@pytest.fixture(params=["sqlite", "memory"])
def online(request, tmp_path):
    made = SqliteOnline(tmp_path / "store" / "online.db") if request.param == "sqlite" else MemoryOnline()
    yield made
    made.close()


def row(event, created=0, values=b"v"):
    return OnlineRow(event, created, values)


def test_an_unknown_entity_has_no_row(online):
    assert online.get("weather", ["EWR"]) == [None]
    assert online.get("weather", []) == []


def test_rows_come_in_the_order_asked_for_repeats_included(online):
    assert online.put("weather", {"EWR": row(1), "JFK": row(2)}) == 2
    assert online.get("weather", ["JFK", "LGA", "EWR", "JFK"]) == [row(2), None, row(1), row(2)]


def test_views_do_not_mix(online):
    online.put("weather", {"EWR": row(1)})
    assert online.get("planes", ["EWR"]) == [None]


@pytest.mark.parametrize(
    ("second", "kept"),
    [
        (row(11, 0, b"2"), b"2"),
        (row(9, 99, b"2"), b"1"),
        (row(10, 6, b"2"), b"2"),
        (row(10, 4, b"2"), b"1"),
        (row(10, 5, b"2"), b"2"),
    ],
    ids=["later event", "earlier event", "created later", "created earlier", "the same times: the last written"],
)
def test_the_greatest_event_time_then_created_time_wins(online, second, kept):
    online.put("v", {"e": row(10, 5, b"1")})
    assert online.put("v", {"e": second}) == (kept == b"2")
    assert online.get("v", ["e"])[0].values == kept


def test_times_before_1970_and_empty_values_are_kept(online):
    online.put("v", {"": row(-5, -6, b"")})
    assert online.get("v", [""]) == [row(-5, -6, b"")]


def test_many_entities_at_once(online):
    rows = {f"N{number}": row(number) for number in range(1300)}
    assert online.put("v", rows) == 1300
    assert online.get("v", [*rows, "other"]) == [*rows.values(), None]


def test_another_process_reads_what_was_put(tmp_path):
    store = SqliteOnline(tmp_path / "online.db")
    store.put("v", {"e": row(7, 8, b"xyz")})
    code = "import sys; from kedge.storage.online import SqliteOnline; print(SqliteOnline(sys.argv[1]).get('v', ['e']))"
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "online.db")],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert out.stdout.strip() == "[OnlineRow(event_us=7, created_us=8, values=b'xyz')]"


def test_a_reader_opened_before_a_write_sees_it(tmp_path):
    reader, writer = SqliteOnline(tmp_path / "online.db"), SqliteOnline(tmp_path / "online.db")
    writer.put("v", {"e": row(1)})
    assert reader.get("v", ["e"]) == [row(1)]


def test_a_file_of_a_newer_kedge_is_refused_and_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "online.db") as other:
        other.execute("PRAGMA user_version = 9")
    before = (tmp_path / "online.db").read_bytes()
    with pytest.raises(StoreTooNew, match="format 9"):
        SqliteOnline(tmp_path / "online.db")
    assert (tmp_path / "online.db").read_bytes() == before


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "online.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreBroken, match=r"online\.db"):
        SqliteOnline(tmp_path / "online.db")


def test_a_full_disk_changes_nothing_and_the_store_goes_on(tmp_path):
    store = SqliteOnline(tmp_path / "online.db")
    store.put("v", {"e": row(1)})
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(StoreFull, match=r"online\.db"):
        store.put("v", {"e": row(2), **{f"e{number}": row(1, 0, bytes(1000)) for number in range(100)}})
    assert store.get("v", ["e", "e0"]) == [row(1), None]
    store._connection.execute("PRAGMA max_page_count = 100000")
    assert store.put("v", {"e": row(2)}) == 1
