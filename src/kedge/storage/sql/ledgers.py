"""The retraining ledger, a row for each step."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, bindparam, insert, select

from kedge.domain.events import Event
from kedge.domain.ids import ModelName
from kedge.domain.retraining import LedgerEntry
from kedge.storage.sql import schema
from kedge.storage.sql.bodies import Body
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.events import record

_table = schema.ledger_entries
_entry = Body(LedgerEntry)

_of_model = select(_table.c.body).where(_table.c.model == bindparam("model"))
_by_window = _of_model.where(_table.c.window == bindparam("window"))
_last = _of_model.order_by(_table.c.event.desc()).limit(1)
_all = _of_model.order_by(_table.c.event)


class SqlLedgers:
    """The retraining decisions (port `Ledgers`)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def put(self, entry: LedgerEntry, event: Event) -> None:
        """Write an entry. Raises Conflict where its window has one."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is not None:
                row = {
                    "model": entry.model,
                    "window": entry.window,
                    "step": entry.step,
                    "decision": entry.decision,
                    "decided_at": entry.decided_at,
                    "event": serial,
                    "body": _entry.write(entry),
                }
                connection.execute(insert(_table), row)

    def find(self, model: ModelName, window: str) -> LedgerEntry | None:
        """Find the entry of a window."""
        return self._one(_by_window, model=model, window=window)

    def last(self, model: ModelName) -> LedgerEntry | None:
        """Find the entry written last."""
        return self._one(_last, model=model)

    def list(self, model: ModelName) -> Sequence[LedgerEntry]:
        """List entries, oldest first."""
        with self._connections.reading() as connection:
            return [_entry.read(body) for body in connection.scalars(_all, {"model": model})]

    def _one(self, query: Select[str], **values: object) -> LedgerEntry | None:
        with self._connections.reading() as connection:
            body = connection.scalar(query, values)
        return _entry.read(body) if body is not None else None
