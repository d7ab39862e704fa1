"""The newest features of each entity, for serving: one row per (view, entity), the greatest (event time, created time) wins.

SQLite in WAL mode: one process writes while any number read. All keys of a read go into one statement, since a
statement costs about 5 us and a further key 2 us.
"""

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from kedge.errors import StoreBroken, StoreFull, StoreTooNew
from kedge.ports import OnlineRow
from kedge.storage.durable import make_folder, refusal

_VERSION = 1
_KEYS_AT_ONCE = 500  # SQLite's own limit on bound values was 999 for long
_CREATE = """
CREATE TABLE IF NOT EXISTS online (
    view TEXT NOT NULL, entity TEXT NOT NULL, event_us INTEGER NOT NULL, created_us INTEGER NOT NULL,
    packed BLOB NOT NULL, PRIMARY KEY (view, entity)
) WITHOUT ROWID
"""
_UPSERT = """
INSERT INTO online (view, entity, event_us, created_us, packed) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (view, entity) DO UPDATE
SET event_us = excluded.event_us, created_us = excluded.created_us, packed = excluded.packed
WHERE (excluded.event_us, excluded.created_us) >= (event_us, created_us)
"""


class SqliteOnline:
    """Online features in a SQLite file. Threads of a process may share it."""

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        try:
            make_folder(self._path.parent)
            self._connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
            self._prepare()
        except OSError as error:
            raise refusal(error, self._path) from error
        except sqlite3.DatabaseError as error:
            raise _refused(error, self._path) from error

    def _prepare(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            self._connection.close()
            raise StoreTooNew(f"{self._path} has format {version}, not {_VERSION}; use a newer Kedge, or another store")
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "mmap_size = 268435456"):
            self._connection.execute(f"PRAGMA {pragma}")
        if version < _VERSION:
            self._connection.execute(_CREATE)
            self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def put(self, view: str, rows: Mapping[str, OnlineRow]) -> int:
        """Write rows that are newer than what is there, or as new; give their number. Raises StoreFull."""
        try:
            with self._lock:
                return self._put(view, rows)
        except sqlite3.DatabaseError as error:
            raise _refused(error, self._path) from error

    def _put(self, view: str, rows: Mapping[str, OnlineRow]) -> int:
        before = self._connection.total_changes
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(_UPSERT, ((view, entity, *row) for entity, row in rows.items()))
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return self._connection.total_changes - before

    def get(self, view: str, entities: Sequence[str]) -> list[OnlineRow | None]:
        """Read one row for each entity, in their order; None where nothing is known."""
        known: dict[str, OnlineRow] = {}
        keys = list(dict.fromkeys(entities))
        try:
            with self._lock:
                for start in range(0, len(keys), _KEYS_AT_ONCE):
                    self._read(view, keys[start : start + _KEYS_AT_ONCE], into=known)
        except sqlite3.DatabaseError as error:
            raise _refused(error, self._path) from error
        return [known.get(entity) for entity in entities]

    def _read(self, view: str, keys: list[str], *, into: dict[str, OnlineRow]) -> None:
        marks = ",".join("?" * len(keys))
        query = f"SELECT entity, event_us, created_us, packed FROM online WHERE view = ? AND entity IN ({marks})"
        for entity, event_us, created_us, packed in self._connection.execute(query, (view, *keys)):
            into[entity] = OnlineRow(event_us, created_us, packed)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


class MemoryOnline:
    """Online features in memory."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], OnlineRow] = {}

    def put(self, view: str, rows: Mapping[str, OnlineRow]) -> int:
        """Keep rows that are newer than what is there, or as new; give their number."""
        newer = {(view, entity): row for entity, row in rows.items() if self._is_newer(row, self._rows.get((view, entity)))}
        self._rows.update(newer)
        return len(newer)

    @staticmethod
    def _is_newer(row: OnlineRow, kept: OnlineRow | None) -> bool:
        return kept is None or row[:2] >= kept[:2]

    def get(self, view: str, entities: Sequence[str]) -> list[OnlineRow | None]:
        """Read one row for each entity, in their order; None where nothing is known."""
        return [self._rows.get((view, entity)) for entity in entities]

    def close(self) -> None:
        """Do nothing."""


def _refused(error: sqlite3.DatabaseError, path: Path) -> StoreFull | StoreBroken:
    if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
        return StoreFull(f"no space left to write {path}; free some space and run the same again, nothing written is lost")
    return StoreBroken(f"cannot use {path}: {error}; put it back from a backup, or delete it and materialize again")
