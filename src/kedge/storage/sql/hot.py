"""Plain statements for what happens a thousand times a second: logging to runs, and reading it back.

On a SQLite file, clients' writes go through one connection with synchronous=NORMAL: a commit is in
the operating system when it is acknowledged (it survives kill -9) and reaches the disk with the next checkpoint, or with
the next commit of the loop's own records, which stay at FULL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import PoolProxiedConnection

from kedge.storage.sql import dialect
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.session import Session

_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


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
