"""Transactions: read ones see one state of the store, write ones are whole or not at all.

Threads of one process queue for a SQLite store here rather than in SQLite, whose waiters poll and may starve.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from kedge.errors import Conflict
from kedge.storage.sql import dialect


class Connections:
    """Hands out transactions of one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        sqlite = engine.dialect.name == "sqlite"
        lock = threading.RLock()
        self._writers: AbstractContextManager[object] = lock if sqlite else nullcontext()
        self._readers: AbstractContextManager[object] = lock if dialect.in_memory(engine) else nullcontext()
        snapshot = {} if sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reading = engine.execution_options(**snapshot)
        self._writing = engine.execution_options(writes=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read within one state of the store."""
        with self._readers, self._reading.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Write; all of it is committed at the end, none of it after a raise. Raises Conflict for a row that exists."""
        try:
            with self._writers, self._writing.begin() as connection:
                yield connection
        except IntegrityError as error:
            raise Conflict(f"someone else wrote it first ({error.orig}); read again, then retry") from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
