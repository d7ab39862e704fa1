"""The store in a SQLite file, by plain statements: what a command that starts, works and ends needs of it.

SQLAlchemy takes 0.2 s to import; adding a file takes less. So this opens a store that is there and at the newest
revision; any other is the matter of `store.py`, which makes and migrates it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from kedge.errors import Conflict, KedgeError, RequestInvalid, SearchInvalid, StoreBroken, StoreFull
from kedge.storage import migrations
from kedge.storage.sql.session import Session

BUSY_SECONDS = 30.0
LOWER = "kedge_lower"  # SQLite's own lower knows ASCII only
_SCHEME = "sqlite:///"
_REVISION = f"SELECT version_num FROM {migrations.REVISION_TABLE}"
_FULL = {"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"}  # the second where not even the WAL's index can be made
_NOT_A_STORE = {"SQLITE_NOTADB", "SQLITE_CORRUPT"}
_DISK_FULL, _CANCELLED = "53100", "57014"  # PostgreSQL, appendix A


class Embedded:
    """Transactions of one connection to a SQLite file. Threads take turns."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self._path = connection, path
        self._turn = threading.RLock()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Read within one state of the store."""
        with self._transaction("BEGIN") as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Write; all of it is committed at the end, none of it after a raise. Raises Conflict for a row that exists."""
        with self._transaction("BEGIN IMMEDIATE") as session:
            yield session

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Session]:
        with self._turn:
            try:
                with closing(self._connection.cursor()) as cursor:
                    cursor.execute(begin)
                    yield Session(cursor, postgresql=False)
                    cursor.execute("COMMIT")
            except sqlite3.IntegrityError as error:
                raise Conflict(f"someone else wrote it first ({error}); read again, then retry") from error
            except (sqlite3.DataError, UnicodeEncodeError, OverflowError) as error:
                raise RequestInvalid(f"a value cannot be kept in the store ({error}); send another") from error
            except sqlite3.Error as error:
                if (meant := meaning(error, str(self._path))) is not None:
                    raise meant from error
                raise
            finally:
                if self._connection.in_transaction:
                    self._connection.rollback()


def open_embedded(url: str) -> Embedded | None:
    """Open the SQLite file of a store's URL; None where it is none, is not there, or has another revision."""
    path = Path(url.removeprefix(_SCHEME))
    if not url.startswith(_SCHEME) or "?" in url or not path.is_file():
        return None
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
        try:
            if connection.execute(_REVISION).fetchone() == (migrations.HEAD,):
                prepare(connection)
                return Embedded(connection, path)
        except sqlite3.Error:
            connection.close()
            raise
    except sqlite3.Error:  # no store yet, or none that can be read: whoever opens the whole of it says so
        return None
    connection.close()
    return None


def prepare(connection: sqlite3.Connection) -> None:
    """Have a connection keep what Kedge promises: WAL, every commit synced, no transaction that nobody began."""
    connection.isolation_level = None  # no implicit BEGIN by the driver: it is too late and never IMMEDIATE
    _use_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.create_function(LOWER, 1, lambda text: None if text is None else str(text).lower(), deterministic=True)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. SQLite does not wait for the busy timeout here when several processes open a fresh file."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def meaning(error: BaseException | None, store: str) -> KedgeError | None:
    """Say what a driver's error means where it is a full disk, broken bytes or a search stopped; None for any other."""
    store = f"the metadata store {store}".rstrip()
    name = getattr(error, "sqlite_errorname", None)
    if name in _FULL or getattr(error, "sqlstate", None) == _DISK_FULL:
        return StoreFull(f"no space is left for {store}; what was acknowledged is safe: free space, then run this again")
    if name == "SQLITE_INTERRUPT" or getattr(error, "sqlstate", None) == _CANCELLED:
        return SearchInvalid("the search took too long and was stopped; narrow it with a further condition")
    if name in _NOT_A_STORE:
        return StoreBroken(f"{store} is not a readable SQLite file ({error}); restore it from a backup")
    return None
