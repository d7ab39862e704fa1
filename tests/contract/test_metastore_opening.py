"""Opening stores: what a URL may say, and what is said of stores that cannot be used."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor, wait
from importlib import util
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from tests.contract import metastore as a
from tests.contract.test_metastore_events import broken_at

from kedge.domain.tracking import Metric
from kedge.errors import ConfigError, StoreBroken, StoreFull, StoreTooNew
from kedge.storage.sql import SqlStore, dialect, embedded, open_store


def test_a_store_of_a_newer_kedge_is_refused_and_left_alone(shared_url: str) -> None:
    store = open_store(shared_url)
    change(store, "UPDATE kedge_revision SET version_num = '0815'")
    store.close()
    for _ in range(2):
        with pytest.raises(StoreTooNew, match=r"revision '0815'.*another store"):
            open_store(shared_url)


def test_tables_of_other_programs_are_left_alone(shared_url: str) -> None:
    engine = dialect.open_engine(shared_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('of another program')"))
    open_store(shared_url).close()
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE kedge_revision"))
    engine.dispose()
    with pytest.raises(ConfigError, match=r"not Kedge's \(.*runs.*\); give Kedge a database"):
        open_store(shared_url)


def test_a_file_store_is_there_when_opened_again(shared_url: str) -> None:
    for at in range(3):
        store = open_store(shared_url)
        assert len(store.events.list()) == at
        store.events.append(a.event(at))
        store.close()


def test_memory_stores_are_apart_from_each_other() -> None:
    one, two = open_store("sqlite://"), open_store("sqlite:///:memory:")
    one.notes.put("x", b"1")
    assert two.notes.get("x") is None
    one.close()
    two.close()


def test_a_store_in_a_new_folder_makes_the_folder(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path / 'new' / 'deep' / 'kedge.db'}").close()
    assert (tmp_path / "new" / "deep" / "kedge.db").exists()


def test_a_path_may_hold_signs_that_urls_and_settings_treat_specially(tmp_path: Path) -> None:
    folder = tmp_path / "50% of: ü #1"
    store = open_store(f"sqlite:///{folder / 'kedge.db'}")
    store.close()
    assert (folder / "kedge.db").exists()


def test_every_sqlite_connection_syncs_each_commit(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'kedge.db'}")
    for transaction in (store._connections.reading(), store._connections.writing()):
        with transaction as connection:
            pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS}
            assert pragmas == PRAGMAS
    store.close()


PRAGMAS = {"synchronous": 2, "journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30_000}


@pytest.mark.parametrize("url", ["nonsense", "mysql://me:secret@host/db", "", "sqlite:/half", "me:secret@host"])
def test_an_unknown_url_is_refused_with_those_that_are_known(url: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///PATH") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_does_not_answer_is_named_without_the_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(ConfigError, match="cannot be opened") as caught:
        open_store("postgresql://user:secret@127.0.0.1:1/kedge")
    assert "secret" not in str(caught.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialect, "find_spec", lambda name: None if name == "psycopg" else util.find_spec(name))
    with pytest.raises(ConfigError, match=r"kedge\[postgresql\]"):
        open_store("postgresql://127.0.0.1/kedge")


def test_a_folder_is_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be opened: .*; it must be a file, in a folder that can be written"):
        open_store(f"sqlite:///{tmp_path}")


def test_a_file_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "kedge.db"
    file.write_bytes(b"name,number\n" * 1000)
    with pytest.raises(StoreBroken, match="not a readable SQLite file"):
        open_store(f"sqlite:///{file}")
    assert file.read_bytes() == b"name,number\n" * 1000


def test_a_damaged_file_is_named_as_such(tmp_path: Path) -> None:
    file = tmp_path / "kedge.db"
    store = open_store(f"sqlite:///{file}")
    for at in range(200):
        store.events.append(a.event(at))
    store.close()
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    file.write_bytes(data)
    with pytest.raises(StoreBroken):
        open_store(f"sqlite:///{file}").events.list()


def test_a_full_disk_is_named_and_loses_nothing(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'kedge.db'}")
    with store._connections.writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 20}")
    acknowledged = 0
    with pytest.raises(StoreFull, match="no space"):  # noqa: PT012  the write that fills the disk is not known before
        while True:
            store.watches.put(a.health(acknowledged), b"x" * 3000, event=a.event(acknowledged))
            acknowledged += 1
    assert 5 < len(store.watches.list(a.MODEL)) == acknowledged
    assert broken_at(store) is None
    with store._connections.writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    store.watches.put(a.health(acknowledged), b"x" * 3000, event=a.event(acknowledged))
    assert len(store.watches.list(a.MODEL)) == acknowledged + 1
    store.close()


def test_a_full_disk_loses_nothing_that_was_logged(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'kedge.db'}")
    store.runs.put(a.run(), a.event("run"))
    run = a.run().id
    with store._hot.writing() as session:
        pages = session.row("PRAGMA page_count")[0]
    store._hot._writer().cursor().execute(f"PRAGMA max_page_count={pages + 20}")

    def log(batch: int) -> None:
        metrics = [Metric(key=f"m{at}", value=0.5, at=batch, step=batch) for at in range(50)]
        store.runs.log(run, metrics=metrics, tags={f"t{batch}": "x" * 2000})

    acknowledged = 0
    with pytest.raises(StoreFull, match="no space"):  # noqa: PT012  the write that fills the disk is not known before
        while True:
            log(acknowledged)
            acknowledged += 1
    assert acknowledged > 2
    assert len(store.points.history(run, "m49", limit=1000)) == acknowledged == len(store.runs.get(run).tags) - 1
    store._hot._writer().cursor().execute("PRAGMA max_page_count=1000000")
    log(acknowledged)
    assert len(store.points.history(run, "m0", limit=1000)) == acknowledged + 1
    store.close()


@pytest.mark.parametrize(("query", "seconds"), [("", "10"), ("?connect_timeout=3", "3")])
def test_a_server_has_limited_time_to_answer(query: str, seconds: str) -> None:
    pytest.importorskip("psycopg")
    assert dialect.open_engine(f"postgres://host/kedge{query}").url.query["connect_timeout"] == seconds


@pytest.mark.parametrize("shared_url", ["postgresql"], indirect=True)
def test_a_full_disk_of_a_server_is_named(shared_url: str) -> None:
    store = open_store(shared_url)
    with pytest.raises(StoreFull, match="no space"):
        change(store, "DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$")
    store.close()


def test_opening_waits_for_another_who_is_making_the_tables(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "kedge.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE other (a)")
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(open_store, f"sqlite:///{tmp_path / 'kedge.db'}")
        assert not wait([opening], timeout=0.1).done
        other.execute("COMMIT")
        opening.result(timeout=10).close()
    other.close()


def test_opening_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "BUSY_SECONDS", 0.05)
    other = sqlite3.connect(tmp_path / "kedge.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConfigError, match="locked"):
        open_store(f"sqlite:///{tmp_path / 'kedge.db'}")
    other.close()


def test_a_writer_waits_for_another_and_then_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "BUSY_SECONDS", 0.05)
    store = open_store(f"sqlite:///{tmp_path / 'kedge.db'}")
    other = sqlite3.connect(tmp_path / "kedge.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"):
        store.notes.put("x", b"1")
    assert store.notes.get("x") is None  # readers do not wait
    other.execute("COMMIT")
    store.notes.put("x", b"1")
    other.close()
    store.close()


@pytest.mark.parametrize("shared_url", ["postgresql"], indirect=True)
def test_a_dropped_connection_is_replaced(shared_url: str) -> None:
    store, other = open_store(shared_url), open_store(shared_url)
    store.notes.put("x", b"1")
    with store._connections.engine.connect() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    change(other, f"SELECT pg_terminate_backend({pid})")
    assert store.notes.get("x") == b"1"
    store.close()
    other.close()


def change(store: SqlStore, statement: str) -> None:
    with store._connections.engine.begin() as connection:
        connection.execute(text(statement))
