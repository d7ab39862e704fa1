"""Plain statements in one open transaction, and what their values are made of. Light: needs no library but the driver's.

Statements are written once, with `?`, in words that SQLite and PostgreSQL share; rows are plain tuples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sqlalchemy import Connection

Row = tuple[Any, ...]

IN_ONE = 5000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


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


class Sessions(Protocol):
    """Hands out transactions: what was committed has reached the disk."""

    def reading(self) -> AbstractContextManager[Session]:
        """Read within one state of the store."""
        ...

    def writing(self) -> AbstractContextManager[Session]:
        """Write; all of it is committed at the end, none of it after a raise. Raises Conflict for a row that exists."""
        ...


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
