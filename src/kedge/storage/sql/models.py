"""Registered models as the loop sees them: its own immutable versions, and every move of every alias.

Versions that clients registered stand in the same table, without a body: `registered.py` reads and writes both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from kedge.domain.events import Event
from kedge.domain.ids import ModelName
from kedge.domain.registry import MODEL_ARTIFACT, AliasMove, ModelStage, ModelVersion, Servable
from kedge.errors import AliasConflict, NotFound
from kedge.storage.sql import dialect, schema
from kedge.storage.sql.bodies import Body
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.events import record

ACTIVE = "active"
_models, _versions, _moves = schema.registered_models, schema.model_versions, schema.alias_moves
_version, _servable = Body(ModelVersion), Body(Servable)

_made = _versions.c.body.is_not(None) & _versions.c.deleted_at.is_(None)
_numbered = select(_versions.c.body).where(
    _versions.c.model == bindparam("model"), _versions.c.number == bindparam("number"), _made
)
_serving = select(_versions.c.servable).where(
    _versions.c.model == bindparam("model"), _versions.c.number == bindparam("number"), _versions.c.deleted_at.is_(None)
)
_newest = select(_versions.c.body).where(_versions.c.model == bindparam("model"), _made).order_by(_versions.c.number.desc())
_names = select(_versions.c.model).where(_made).distinct().order_by(_versions.c.model)
_last = select(_models.c.last_number).where(_models.c.model == bindparam("model"))
_gone = select(_versions.c.deleted_at).where(
    _versions.c.model == bindparam("model"), _versions.c.number == bindparam("number")
)
_last_move = (
    select(_moves)
    .where(_moves.c.model == bindparam("model"), _moves.c.alias == bindparam("alias"))
    .order_by(_moves.c.serial.desc())
    .limit(1)
)
_all_moves = select(_moves).where(_moves.c.model == bindparam("model")).order_by(_moves.c.event)


class SqlModels:
    """The loop's model versions, and aliases (port `Models`)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(self, version: ModelVersion, event: Event, *, servable: Servable | None = None) -> None:
        """Write a version, with what serving needs of it, and its registered model where there is none. Raises Conflict
        where another has its number."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is not None:
                _require_model(connection, version, serial=serial)
                row = _row_of(version, actor=event.actor, serial=serial)
                row["servable"] = write_servable(servable) if servable is not None else None
                connection.execute(insert(_versions), row)

    def find(self, model: ModelName, number: int) -> ModelVersion | None:
        """Find a version by number."""
        with self._connections.reading() as connection:
            body = connection.scalar(_numbered, {"model": model, "number": number})
        return _version.read(body) if body is not None else None

    def servable(self, model: ModelName, number: int) -> Servable | None:
        """Find what serving needs of a version; None where nobody has found it out yet, or there is no such version."""
        with self._connections.reading() as connection:
            body = connection.scalar(_serving, {"model": model, "number": number})
        return read_servable(body, of=model) if body is not None else None

    def make_servable(self, servable: Servable, event: Event) -> None:
        """Write what serving needs of a version that is there, once; nothing where it was written before."""
        there = (_versions.c.model == servable.model) & (_versions.c.number == servable.number)
        with self._connections.writing() as connection:
            written = update(_versions).where(there, _versions.c.servable.is_(None), _versions.c.deleted_at.is_(None))
            if connection.execute(written.values(servable=write_servable(servable))).rowcount:
                record(connection, event)

    def list(self, model: ModelName) -> Sequence[ModelVersion]:
        """List versions, newest first."""
        with self._connections.reading() as connection:
            return [_version.read(body) for body in connection.scalars(_newest, {"model": model})]

    def names(self) -> Sequence[ModelName]:
        """List the registered models that have a version of the loop, by name."""
        with self._connections.reading() as connection:
            return [ModelName(name) for name in connection.scalars(_names)]

    def last_number(self, model: ModelName) -> int:
        """Give the greatest number that was ever given under this name, 0 for none."""
        with self._connections.reading() as connection:
            return connection.scalar(_last, {"model": model}) or 0

    def alias(self, model: ModelName, alias: str) -> AliasMove | None:
        """Find the newest move of an alias; its `number` is where it points."""
        with self._connections.reading() as connection:
            row = connection.execute(_last_move, {"model": model, "alias": alias}).first()
        return move_of(row) if row is not None else None

    def move(self, move: AliasMove, event: Event) -> None:
        """Move an alias: compare and set on (`previous`, `serial` - 1). Raises AliasConflict; NotFound for a version
        that was deleted meanwhile."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is None:
                return
            where = {"model": move.model, "number": move.number}
            if move.number is not None and connection.scalar(_gone, where) is not None:
                raise NotFound(f"Model Version (name={move.model}, version={move.number}) not found")
            write_move(connection, move, serial=serial)

    def moves(self, model: ModelName) -> Sequence[AliasMove]:
        """List all moves of all aliases, oldest first."""
        with self._connections.reading() as connection:
            return [move_of(row) for row in connection.execute(_all_moves, {"model": model})]


def write_move(connection: Connection, move: AliasMove, *, serial: int) -> None:
    """Write the next move of an alias. Raises AliasConflict where it is not the next one."""
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


def move_of(row: Row[Any]) -> AliasMove:
    """Read a move."""
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


def read_servable(body: str, *, of: str) -> Servable:
    """Read what serving needs of a version, under the name that its model has now."""
    return msgspec.structs.replace(_servable.read(body), model=ModelName(of))


def write_servable(servable: Servable) -> str:
    """Write what serving needs of a version."""
    return _servable.write(servable)


def read_body(body: str) -> ModelVersion:
    """Read the loop's version."""
    return _version.read(body)


def _require_model(connection: Connection, version: ModelVersion, *, serial: int) -> None:
    """Make sure that the version's model is there, and count its number."""
    row = connection.execute(select(_models).where(_models.c.model == version.model).with_for_update()).first()
    at = version.registered_at
    if row is None or row.state != ACTIVE:
        fresh = {
            "model": version.model,
            "state": ACTIVE,
            "description": None,
            "created_at": at,
            "updated_at": at,
            "last_number": max(version.number, row.last_number if row is not None else 0),
            "event": serial,
        }
        dialect.upsert(connection, _models, row=fresh)
        return
    counted = {"last_number": max(version.number, row.last_number), "updated_at": max(at, row.updated_at)}
    connection.execute(update(_models).where(_models.c.model == version.model), counted)


def _row_of(version: ModelVersion, *, actor: str, serial: int) -> dict[str, Any]:
    return {
        "model": version.model,
        "number": version.number,
        "digest": version.digest,
        "run": version.run,
        "registered_at": version.registered_at,
        "event": serial,
        "body": _version.write(version),
        "source": f"runs:/{version.run}/{MODEL_ARTIFACT}",
        "location": f"runs:/{version.run}/{MODEL_ARTIFACT}",
        "actor": actor,
        "stage": ModelStage.NONE.value,
        "updated_at": version.registered_at,
        "facts": "{}",
    }
