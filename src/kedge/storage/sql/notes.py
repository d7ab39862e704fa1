"""Small named values."""

from sqlalchemy import bindparam, select

from kedge.storage.sql import dialect, schema
from kedge.storage.sql.connections import Connections

_table = schema.notes
_by_name = select(_table.c.value).where(_table.c.name == bindparam("name"))


class SqlNotes:
    """Small named values (port `Notes`)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def get(self, name: str) -> bytes | None:
        """Read a value."""
        with self._connections.reading() as connection:
            return connection.scalar(_by_name, {"name": name})

    def put(self, name: str, value: bytes) -> None:
        """Write a value, in place of what was there."""
        with self._connections.writing() as connection:
            dialect.upsert(connection, _table, row={"name": name, "value": value})
