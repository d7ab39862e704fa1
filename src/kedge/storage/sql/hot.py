"""Plain statements for what happens a thousand times a second: logging to runs, and reading it back.

Statements are written once, with `?`, in words that SQLite and PostgreSQL share; rows are plain tuples. A `Session` is
one open transaction. On a SQLite file, clients' writes go through one connection with synchronous=NORMAL: a commit is in
the operating system when it is acknowledged (it survives kill -9) and reaches the disk with the next checkpoint, or with
the next commit of the loop's own records, which stay at FULL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, PoolProxiedConnection

from kedge.storage.sql import dialect
from kedge.storage.sql.connections import Connections

Row = tuple[Any, ...]

IN_ONE = 5000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class Session:
    """Statements within one open transaction."""

    def __init__(self, cursor: Any, *, postgresql: bool) -> None:
        self._cursor, self.postgresql = cursor, postgresql

    @classmethod
    def of(cls, connection: Connection) -> Session:
        """Speak plainly within a transaction of SQLAlchemy's."""
        return cls(connection.connection.cursor(), postgresql=connection.dialect.name == "postgresql")

    @property
    def driver(self) -> Any:
        """The driver's own connection."""
        return self._cursor.connection

    def rows(self, statement: str, *values: object) -> list[Row]:
        """Give all rows."""
        found: list[Row] = self._execute(statement, values).fetchall()
        return found

    def row(self, statement: str, *values: object) -> Row | None:
        """Give the first row."""
        found: Row | None = self._execute(statement, values).fetchone()
        return found

    def run(self, statement: str, *values: object) -> int:
        """Execute; give the number of rows it touched."""
        return int(self._execute(statement, values).rowcount)

    def many(self, statement: str, rows: Sequence[Row]) -> int:
        """Execute for each row of values; give the number of rows touched in all."""
        if not rows:
            return 0
        self._cursor.executemany(_words(statement) if self.postgresql else statement, rows)
        return int(self._cursor.rowcount)

    def _execute(self, statement: str, values: Row) -> Any:
        self._cursor.execute(_words(statement) if self.postgresql else statement, values)
        return self._cursor


class Hot:
    """Hands out sessions."""

    def __init__(self, connections: Connections) -> None:
        self._connections, self._engine = connections, connections.engine
        self._sqlite = self._engine.dialect.name == "sqlite"
        self._memory = dialect.in_memory(self._engine)
        self._own: PoolProxiedConnection | None = None

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Write; all of it is committed at the end, none of it after a raise. Raises Conflict for a row that exists."""
        with self._connections.meaning(), self._connections.writers:
            if not self._sqlite:
                with self._borrowed() as session:
                    yield session
                return
            cursor = self._writer().cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield Session(cursor, postgresql=False)
                cursor.execute("COMMIT")
            finally:
                if cursor.connection.in_transaction:
                    cursor.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Read within one state of the store."""
        with self._connections.meaning(), self._connections.readers, self._borrowed() as session:
            session.run("BEGIN" if self._sqlite else _SNAPSHOT)
            yield session

    def close(self) -> None:
        """Close the connection that writes."""
        with self._connections.writers:
            if self._own is not None:
                self._own.close()
                self._own = None

    @contextmanager
    def _borrowed(self) -> Iterator[Session]:
        """Take a connection of the pool for one transaction."""
        connection = self._engine.raw_connection()
        try:
            yield Session(connection.cursor(), postgresql=not self._sqlite)
            connection.commit()
        finally:
            connection.close()  # which rolls back what was not committed

    def _writer(self) -> PoolProxiedConnection:
        if self._own is None:
            self._own = self._engine.raw_connection()
            if not self._memory:
                self._own.detach()
                self._own.cursor().execute("PRAGMA synchronous=NORMAL")
        return self._own


def to_us(time: datetime) -> int:
    """Write a time as the store keeps it: microseconds since 1970 UTC. Raises ValueError for a time without a zone."""
    if time.tzinfo is None:
        raise ValueError(f"time {time} has no zone; give it in UTC")
    return (time - _EPOCH) // _MICROSECOND


def maybe_us(time: datetime | None) -> int | None:
    """Write a time that may be missing."""
    return None if time is None else to_us(time)


def from_us(number: int) -> datetime:
    """Read a time, UTC."""
    return _EPOCH + number * _MICROSECOND


def maybe_time(number: int | None) -> datetime | None:
    """Read a time that may be missing."""
    return None if number is None else from_us(number)


def chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut a long list into pieces that one statement can take (SQLite binds up to 32,766 values)."""
    for start in range(0, len(values), IN_ONE):
        yield values[start : start + IN_ONE]


def places(values: Sequence[object]) -> str:
    """Give as many question marks as there are values, for IN."""
    return ", ".join("?" * len(values))


@lru_cache(maxsize=512)
def _words(statement: str) -> str:
    """Write a statement as psycopg reads it."""
    return statement.replace("?", "%s")
