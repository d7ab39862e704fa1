"""Transactions: read ones see one state of the store, write ones are whole or not at all.

Threads of one process queue for a SQLite store here rather than in SQLite, whose waiters poll and may starve.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from kedge.errors import Conflict, RequestInvalid
from kedge.storage.sql import dialect
from kedge.storage.sql.session import Session


class Connections:
    """Hands out transactions of one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        sqlite = engine.dialect.name == "sqlite"
        lock = threading.RLock()
        self.writers: AbstractContextManager[object] = lock if sqlite else nullcontext()
        self.readers: AbstractContextManager[object] = lock if dialect.in_memory(engine) else nullcontext()
        self._driver: Any = engine.dialect.loaded_dbapi
        snapshot = {} if sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reading = engine.execution_options(**snapshot)
        self._writing = engine.execution_options(writes=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read within one state of the store."""
        with self.meaning(), self.readers, self._reading.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Write; all of it is committed at the end, none of it after a raise. Raises Conflict for a row that exists."""
        with self.meaning(), self.writers, self._writing.begin() as connection:
            yield connection

    @contextmanager
    def meaning(self) -> Iterator[None]:
        """Say what a driver's error means: Conflict, RequestInvalid, StoreFull, StoreBroken; others pass as they are."""
        try:
            yield
        except IntegrityError as error:
            raise Conflict(f"someone else wrote it first ({error.orig}); read again, then retry") from error
        except self._driver.IntegrityError as error:
            raise Conflict(f"someone else wrote it first ({error}); read again, then retry") from error
        except (self._driver.DataError, UnicodeEncodeError, OverflowError) as error:
            raise RequestInvalid(f"a value cannot be kept in the store ({error}); send another") from error
        except self._driver.Error as error:
            if (meant := dialect.meaning(error, self.engine)) is not None:
                raise meant from error
            raise

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


class Plain:
    """Plain statements within the transactions of an engine (`Sessions`)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Read within one state of the store."""
        with self._connections.reading() as connection:
            yield Session.of(connection)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Write; all of it is committed at the end, none of it after a raise. Raises Conflict for a row that exists."""
        with self._connections.writing() as connection:
            yield Session.of(connection)
