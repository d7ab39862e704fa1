"""What is remembered of a place, in a small SQLite file of its own: which content each file had, under which stat.

    files    what the base version's files were when they were last read or written here
    fresh    what an add has read since: an add that was killed goes on here, and reads nothing twice
    coming   what a checkout is about to write: after a kill, those files are known for Kedge's own and no edits

It is a memory and no record: without it everything is read once more. A stat is trusted only if the file was last
changed some time before it was read: a change in the same tick of the file system's clock would leave no trace in it.
"""

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from kedge.domain.ids import Digest
from kedge.domain.workspace import EXECUTABLE, LINK, PLAIN, Base, KnownFile, SeenFile
from kedge.errors import StoreBroken, StoreFull

_TICK_NS = 20_000_000  # clocks of file systems that keep parts of a millisecond tick every 4 to 10 ms
_COARSE_NS = 2_000_000_000  # others count whole or double seconds
_NEVER = -1  # the time of a stat that is not to be trusted: no file has it
_BATCH = 2000
_FORMAT = 1
_COLUMNS = "name, size, mtime, ctime, inode, mode, digest, link"
_PLACES = "?, ?, ?, ?, ?, ?, ?, ?"
_FILES = (
    "name TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, inode INTEGER NOT NULL,"
    " mode INTEGER NOT NULL, digest BLOB NOT NULL, link TEXT NOT NULL) STRICT, WITHOUT ROWID"
)
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS files ({_FILES};
CREATE TABLE IF NOT EXISTS fresh ({_FILES};
CREATE TABLE IF NOT EXISTS coming ({_FILES};
CREATE TABLE IF NOT EXISTS base (one INTEGER PRIMARY KEY CHECK (one = 1), version TEXT NOT NULL, tree TEXT NOT NULL,
  number INTEGER NOT NULL, coming TEXT NOT NULL) STRICT;
PRAGMA user_version = {_FORMAT};
"""


class Memory:
    """What is remembered of one place. One writer at a time (its lock is the workspace's matter); readers never wait."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def base(self) -> Base | None:
        """Give what the place holds; None where nothing is remembered."""
        if self._connection is None and not self._path.exists():
            return None
        row = self._open().execute("SELECT version, tree, number, coming FROM base").fetchone()
        return Base(version=Digest(row[0]), tree=Digest(row[1]), number=row[2], coming=row[3]) if row else None

    def files(self) -> Iterator[KnownFile]:
        """List the files of the base, in the order of their names."""
        return self._open().execute(f"SELECT {_COLUMNS} FROM files ORDER BY name")

    def has_fresh(self) -> bool:
        """Say whether an add that did not end has left what it read."""
        return self._open().execute("SELECT 1 FROM fresh LIMIT 1").fetchone() is not None

    def fresh(self, name: str) -> KnownFile | None:
        """Find what an add that did not end has read."""
        return self._one("fresh", name)

    def file(self, name: str) -> KnownFile | None:
        """Find a file of the base."""
        return self._one("files", name)

    def coming(self) -> Iterator[KnownFile]:
        """List what a checkout is about to write, in the order of the names."""
        for row in self._open().execute(f"SELECT {_COLUMNS} FROM coming ORDER BY name"):
            yield KnownFile._make(row)

    def is_coming(self, name: str, *, raw: bytes, mode: int, link: str) -> bool:
        """Say whether a checkout that did not end was about to write this content there."""
        row = self._one("coming", name) if self._path.exists() else None
        return row is not None and (row.raw, row.mode, row.link) == (raw, mode, link)

    def add_fresh(self, files: Iterable[KnownFile]) -> None:
        """Remember what was read, at once."""
        self._write("fresh", files)

    def plan(self, files: Iterable[KnownFile]) -> None:
        """Set down more of what a checkout will write; nobody sees it before `expect`."""
        connection = self._open()
        with _meaning(self._path):
            connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS plan ({_FILES}")
            connection.executemany(f"INSERT OR REPLACE INTO temp.plan ({_COLUMNS}) VALUES ({_PLACES})", files)

    def expect(self, base: Base) -> None:
        """Remember what a checkout is about to write, all that was planned, before it writes."""
        connection = self._open()
        with _meaning(self._path), connection:
            connection.execute("BEGIN IMMEDIATE")
            self._put_base(base)
            connection.execute("DELETE FROM coming")
            connection.execute(f"INSERT INTO coming ({_COLUMNS}) SELECT {_COLUMNS} FROM temp.plan")
            connection.execute("DELETE FROM temp.plan")

    def has_coming(self) -> bool:
        """Say whether a checkout that did not end has left what it was about to write."""
        return self._open().execute("SELECT 1 FROM coming LIMIT 1").fetchone() is not None

    def add(self, files: Iterable[KnownFile]) -> None:
        """Remember files as those of the base."""
        self._write("files", files)

    def drop(self, names: Iterable[str]) -> None:
        """Forget files of the base."""
        connection = self._open()
        with _meaning(self._path), connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("DELETE FROM files WHERE name = ?", ((name,) for name in names))

    def begin(self) -> None:
        """Begin to change the base: `change`, then `settle`; nothing of it is seen before that."""
        with _meaning(self._path):
            self._open().execute("BEGIN IMMEDIATE")

    def change(self, *, files: Iterable[KnownFile], gone: Iterable[str]) -> None:
        """Make what was read that of the base, with these files and without those that are gone."""
        connection = self._open()
        with _meaning(self._path):
            connection.execute(f"INSERT OR REPLACE INTO files ({_COLUMNS}) SELECT {_COLUMNS} FROM fresh")
            connection.execute("DELETE FROM fresh")
            for batch in _batches(files):
                connection.executemany(f"INSERT OR REPLACE INTO files ({_COLUMNS}) VALUES ({_PLACES})", batch)
            connection.executemany("DELETE FROM files WHERE name = ?", ((name,) for name in gone))

    def settle(self, base: Base) -> None:
        """Make the change last."""
        connection = self._open()
        with _meaning(self._path), connection:
            if not connection.in_transaction:
                connection.execute("BEGIN IMMEDIATE")
            self._put_base(base)
            connection.execute("DELETE FROM coming")

    def undo(self) -> None:
        """Take back a change that was begun."""
        if self._connection is not None:
            self._connection.rollback()

    def touch(self, files: Iterable[KnownFile]) -> None:
        """Remember new stats of files whose content is as it was. Where another process writes now, or the disk is full,
        or may not be written: next time."""
        connection = self._open()
        with suppress(sqlite3.OperationalError), connection:
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(f"INSERT OR REPLACE INTO files ({_COLUMNS}) VALUES ({_PLACES})", files)
        connection.execute("PRAGMA busy_timeout = 30000")

    def forget(self) -> None:
        """Forget everything."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _one(self, table: str, name: str) -> KnownFile | None:
        row = self._open().execute(f"SELECT {_COLUMNS} FROM {table} WHERE name = ?", (name,)).fetchone()
        return KnownFile._make(row) if row else None

    def _write(self, table: str, files: Iterable[KnownFile]) -> None:
        connection = self._open()
        with _meaning(self._path), connection:
            connection.execute("BEGIN IMMEDIATE")
            for batch in _batches(files):
                connection.executemany(f"INSERT OR REPLACE INTO {table} ({_COLUMNS}) VALUES ({_PLACES})", batch)

    def _put_base(self, base: Base) -> None:
        row = (base.version, base.tree, base.number, base.coming)
        self._open().execute("INSERT OR REPLACE INTO base VALUES (1, ?, ?, ?, ?)", row)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._opened()
        return self._connection

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise _meant(error, self._path) from error
            self.forget()  # not a database: what a power cut left. Everything is read once more
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        if connection.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection


def known_of(found: SeenFile, *, raw: bytes, link: str, read_ns: int) -> KnownFile:
    """Remember a file whose content was read no earlier than `read_ns`, after the stat that it was found with."""
    changed = max(found.mtime_ns, found.ctime_ns)
    margin = _TICK_NS if found.mtime_ns % 1_000_000 else _COARSE_NS
    mtime = found.mtime_ns if changed < read_ns - margin else _NEVER
    return KnownFile(found.name, found.size, mtime, found.ctime_ns, found.inode, found.mode, raw, link)


def written(found: SeenFile, *, raw: bytes, link: str) -> KnownFile:
    """Remember a file that Kedge has written itself, and dated back, so that any later change shows in its stat."""
    return KnownFile(*found, raw, link)


def found_of(name: str, there: os.stat_result) -> SeenFile:
    """Give a stat as a look would."""
    mode = LINK if stat.S_ISLNK(there.st_mode) else EXECUTABLE if there.st_mode & 0o111 else PLAIN
    return SeenFile(name, there.st_size, there.st_mtime_ns, there.st_ctime_ns, there.st_ino & (2**63 - 1), mode)


def _batches(files: Iterable[KnownFile]) -> Iterator[list[KnownFile]]:
    rest = iter(files)
    while batch := list(islice(rest, _BATCH)):
        yield batch


class _meaning:  # reads as a verb
    """Say what SQLite's errors mean."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise _meant(error, self._path) from error


def _meant(error: sqlite3.Error, path: Path) -> StoreFull | StoreBroken:
    if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
        return StoreFull(f"no space left to write {path}; free some space and run the same again")
    return StoreBroken(f"cannot use {path}: {error}; it may be removed, then everything is read once more")
