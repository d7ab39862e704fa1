"""What differs between SQLite and PostgreSQL: how to connect, begin, lock, insert, and what their errors mean.

SQLite: WAL with synchronous=FULL (a commit has reached the disk before it is acknowledged; about 0.25 ms), writes begin
IMMEDIATE. PostgreSQL: psycopg 3; whoever appends to the chain of events holds an advisory lock until its commit.
"""

import sqlite3
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import StaticPool

from kedge.errors import ConfigError, KedgeError
from kedge.storage.sql import embedded
from kedge.storage.sql.chain import LOCK_CHAIN

CONNECT_SECONDS = 10
_KNOWN = "sqlite:///PATH or postgresql://HOST/DATABASE"


def open_engine(url: str) -> Engine:
    """Make the engine of a store URL; connects on first use. Raises ConfigError."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # the second for a port that is no number
        named = url.rpartition("@")[2]  # before it there may be a password
        raise ConfigError(f"store {named!r} is not a URL; use {_KNOWN}") from error
    match parsed.get_backend_name():
        case "sqlite":
            engine = _open_sqlite(parsed)
        case "postgresql" | "postgres":
            engine = _open_postgresql(parsed)
        case other:
            raise ConfigError(f"store {shown(parsed)}: {other!r} is not known; use {_KNOWN}")
    event.listen(engine, "handle_error", _translate, retval=True)
    return engine


def shown(url: URL) -> str:
    """Write a store's URL for people: no password, and no options, for one of those may be a password too."""
    return url.set(query={}).render_as_string(hide_password=True)


def in_memory(engine: Engine) -> bool:
    """Say whether the store lives in one connection of this process."""
    return isinstance(engine.pool, StaticPool)


def lock_chain(connection: Connection) -> None:
    """Let no other transaction append events until this one ends."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(LOCK_CHAIN)


def insert(connection: Connection, table: Table) -> Any:
    """Begin an INSERT that may say what to do on conflict."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # 25 ms to import: a store on SQLite need not pay

        return postgresql.insert(table)
    return sqlite.insert(table)


def insert_new(connection: Connection, table: Table, *, rows: list[dict[str, Any]]) -> None:
    """Insert the rows whose key is not there yet."""
    if rows:
        connection.execute(insert(connection, table).on_conflict_do_nothing(), rows)


def upsert(connection: Connection, table: Table, *, row: dict[str, Any]) -> None:
    """Insert a row, or replace the one with its key."""
    statement = insert(connection, table).values(row)
    keys = {column.name for column in table.primary_key}
    fresh = {name: statement.excluded[name] for name in row if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=sorted(keys), set_=fresh))


def _open_sqlite(url: URL) -> Engine:
    if url.host or url.username or url.password or url.port:
        raise ConfigError(f"store {shown(url)}: SQLite is a file on this machine and has no host or user; use {_KNOWN}")
    if url.database in (None, "", ":memory:"):
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        Path(str(url.database)).absolute().parent.mkdir(parents=True, exist_ok=True)
        arguments = {"check_same_thread": False, "timeout": embedded.BUSY_SECONDS}
        engine = create_engine(url, pool_size=8, max_overflow=56, connect_args=arguments)
    event.listen(engine, "connect", lambda connection, record: embedded.prepare(connection))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _open_postgresql(url: URL) -> Engine:
    if find_spec("psycopg") is None:
        raise ConfigError("a PostgreSQL store needs psycopg, which is not installed: pip install 'kedge[postgresql]'")
    if "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": str(CONNECT_SECONDS)})
    return create_engine(url.set(drivername="postgresql+psycopg"), pool_size=8, max_overflow=24, pool_pre_ping=True)


def meaning(error: BaseException | None, engine: Engine | None) -> KedgeError | None:
    """Say what the driver's error means where it is a full disk, broken bytes or a search stopped; None for any other."""
    return embedded.meaning(error, shown(engine.url) if engine is not None else "")


def _translate(context: ExceptionContext) -> KedgeError | None:
    return meaning(context.original_exception, context.engine)


def faults() -> tuple[type[Exception], ...]:
    """Name what a driver raises where the database is busy, locked or gone, and may be back later."""
    found: tuple[type[Exception], ...] = (OperationalError, InterfaceError, PoolTimeout, sqlite3.OperationalError)
    if "psycopg" in sys.modules:
        import psycopg

        found = (*found, psycopg.OperationalError, psycopg.InterfaceError)
    return found
