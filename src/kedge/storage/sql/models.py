"""Registered models: immutable versions, and every move of every alias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, bindparam, insert, select

from kedge.domain.events import Event
from kedge.domain.ids import ModelName
from kedge.domain.registry import AliasMove, ModelVersion
from kedge.errors import AliasConflict
from kedge.storage.sql import schema
from kedge.storage.sql.bodies import Body
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.events import record

_versions, _moves = schema.model_versions, schema.alias_moves
_version = Body(ModelVersion)

_numbered = select(_versions.c.body).where(
    _versions.c.model == bindparam("model"), _versions.c.number == bindparam("number")
)
_newest = select(_versions.c.body).where(_versions.c.model == bindparam("model")).order_by(_versions.c.number.desc())
_names = select(_versions.c.model).distinct().order_by(_versions.c.model)
_last_move = (
    select(_moves)
    .where(_moves.c.model == bindparam("model"), _moves.c.alias == bindparam("alias"))
    .order_by(_moves.c.serial.desc())
    .limit(1)
)
_all_moves = select(_moves).where(_moves.c.model == bindparam("model")).order_by(_moves.c.event)


class SqlModels:
    """Model versions and aliases (port `Models`)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(self, version: ModelVersion, event: Event) -> None:
        """Write a version. Raises Conflict where another has its number."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is not None:
                row = {
                    "model": version.model,
                    "number": version.number,
                    "digest": version.digest,
                    "run": version.run,
                    "registered_at": version.registered_at,
                    "event": serial,
                    "body": _version.write(version),
                }
                connection.execute(insert(_versions), row)

    def find(self, model: ModelName, number: int) -> ModelVersion | None:
        """Find a version by number."""
        with self._connections.reading() as connection:
            body = connection.scalar(_numbered, {"model": model, "number": number})
        return _version.read(body) if body is not None else None

    def list(self, model: ModelName) -> Sequence[ModelVersion]:
        """List versions, newest first."""
        with self._connections.reading() as connection:
            return [_version.read(body) for body in connection.scalars(_newest, {"model": model})]

    def names(self) -> Sequence[ModelName]:
        """List the registered models, by name."""
        with self._connections.reading() as connection:
            return [ModelName(name) for name in connection.scalars(_names)]

    def alias(self, model: ModelName, alias: str) -> AliasMove | None:
        """Find the newest move of an alias; its `number` is where it points."""
        with self._connections.reading() as connection:
            row = connection.execute(_last_move, {"model": model, "alias": alias}).first()
        return _move(row) if row is not None else None

    def move(self, move: AliasMove, event: Event) -> None:
        """Move an alias: compare and set on (`previous`, `serial` - 1). Raises AliasConflict."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is None:
                return
            row = connection.execute(_last_move, {"model": move.model, "alias": move.alias}).first()
            number, last = (row.number, row.serial) if row is not None else (None, 0)
            if (number, last) != (move.previous, move.serial - 1):
                raise AliasConflict(move.alias, move.previous, found=number)
            connection.execute(
                insert(_moves),
                {
                    "model": move.model,
                    "alias": move.alias,
                    "serial": move.serial,
                    "number": move.number,
                    "previous": move.previous,
                    "moved_at": move.moved_at,
                    "actor": move.actor,
                    "reason": move.reason,
                    "event": serial,
                },
            )

    def moves(self, model: ModelName) -> Sequence[AliasMove]:
        """List all moves of all aliases, oldest first."""
        with self._connections.reading() as connection:
            return [_move(row) for row in connection.execute(_all_moves, {"model": model})]


def _move(row: Row[Any]) -> AliasMove:
    return AliasMove(
        model=ModelName(row.model),
        alias=row.alias,
        number=row.number,
        previous=row.previous,
        serial=row.serial,
        moved_at=row.moved_at,
        actor=row.actor,
        reason=row.reason,
    )
