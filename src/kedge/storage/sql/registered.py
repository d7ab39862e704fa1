"""Registered models whole: names, versions of the loop and of clients, tags, stages. Aliases' moves are in `models.py`.

Nothing that was numbered is ever forgotten: a deleted version keeps its row, a name that was deleted or renamed keeps
its count, so that `flights@3` means one version for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from kedge.domain.events import Event
from kedge.domain.finding import Order, Page, Query, Subject
from kedge.domain.ids import Digest, LoggedModelId, ModelName, RunId
from kedge.domain.registry import CatalogVersion, ModelFacts, ModelStage, RegisteredModel, StageMove
from kedge.errors import Conflict, NotFound
from kedge.ports import TakenAlias
from kedge.storage.sql import dialect, schema
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.events import record
from kedge.storage.sql.finding import Labels, Readable, Searchable, Sql, find
from kedge.storage.sql.hot import Hot
from kedge.storage.sql.models import ACTIVE, move_of, read_body, read_servable, write_move, write_servable
from kedge.storage.sql.session import Session

T = TypeVar("T")
_DELETED, _RENAMED = "deleted", "renamed"
_models, _versions, _moves = schema.registered_models, schema.model_versions, schema.alias_moves
_model_tags, _version_tags, _stages = schema.registered_model_tags, schema.model_version_tags, schema.stage_moves
_facts = msgspec.json.Decoder(ModelFacts)

_living = _versions.c.deleted_at.is_(None)
_one = (_versions.c.model == bindparam("model_")) & (_versions.c.number == bindparam("number_"))
_active = (_models.c.model == bindparam("model_")) & (_models.c.state == ACTIVE)
_newest_moves = (
    select(_moves.c.model, _moves.c.alias, func.max(_moves.c.serial).label("serial"))
    .group_by(_moves.c.model, _moves.c.alias)
    .subquery()
)


class _Registered(Searchable):
    """What can be searched for, as long as it is there."""

    def __init__(self, table: str, *, there: str, **more: Any) -> None:
        super().__init__(table, staged=False, **more)
        self._there = Sql(there)

    def base(self, query: Query, session: Session) -> list[Sql]:
        """See only what was not deleted."""
        return [self._there]


MODELS = _Registered(
    "registered_models",
    there=f"t.state = '{ACTIVE}'",
    ids=("model",),
    attributes={"name": Readable("t.model"), "last_updated_timestamp": Readable("t.updated_at", "time")},
    labels={Subject.TAG: Labels("registered_model_tags", ("model",))},
    ties=(Order(Subject.ATTRIBUTE, "name"),),
)

VERSIONS = _Registered(
    "model_versions",
    there="t.deleted_at IS NULL",
    ids=("model", "number"),
    attributes={
        "name": Readable("t.model"),
        "version_number": Readable("t.number", "number"),
        "run_id": Readable("t.run", nullable=True),
        "source_path": Readable("t.source"),
        "creation_timestamp": Readable("t.registered_at", "time"),
        "last_updated_timestamp": Readable("t.updated_at", "time"),
    },
    labels={Subject.TAG: Labels("model_version_tags", ("model", "number"))},
    ties=(Order(Subject.ATTRIBUTE, "name"), Order(Subject.ATTRIBUTE, "version_number", ascending=False)),
)


class SqlRegisteredModels:
    """Names, versions, tags and stages (port `RegisteredModels`)."""

    def __init__(self, connections: Connections, hot: Hot) -> None:
        self._connections, self._hot = connections, hot

    def create(self, model: RegisteredModel, event: Event) -> bool:
        """Register a name; False where it is registered."""
        with self._connections.writing() as connection:
            row = connection.execute(select(_models).where(_models.c.model == model.name)).first()
            if row is not None and row.state == ACTIVE:
                return False
            if (serial := record(connection, event)) is None:
                return True
            fresh = {
                "model": model.name,
                "state": ACTIVE,
                "description": model.description,
                "created_at": model.created_at,
                "updated_at": model.updated_at,
                "last_number": row.last_number if row is not None else 0,
                "event": serial,
            }
            dialect.upsert(connection, _models, row=fresh)
            _put_tags(connection, _model_tags, where={"model": model.name}, tags=model.tags)
        return True

    def find(self, name: ModelName) -> RegisteredModel | None:
        """Find a registered model."""
        with self._connections.reading() as connection:
            return next(iter(_read_models(connection, [name])), None)

    def search(self, query: Query) -> Page[RegisteredModel]:
        """Find a page of registered models. Raises SearchInvalid."""
        with self._hot.reading() as session:
            found = find(session, MODELS, query=query)
        with self._connections.reading() as connection:
            models = _read_models(connection, [ModelName(str(row[0])) for row in found.items])
        return Page(tuple(models), found.next, found.total)

    def search_versions(self, query: Query) -> Page[CatalogVersion]:
        """Find a page of versions. Raises SearchInvalid."""
        with self._hot.reading() as session:
            found = find(session, VERSIONS, query=query)
        versions = self.find_versions([(ModelName(row[0]), row[1]) for row in found.items])
        return Page(tuple(versions), found.next, found.total)

    def describe(self, name: ModelName, description: str | None, *, at: datetime) -> bool:
        """Write what a model is for; False where it is not there."""
        with self._connections.writing() as connection:
            changed = update(_models).where(_active).values(description=description, updated_at=at)
            return connection.execute(changed, {"model_": name}).rowcount == 1

    def rename(self, name: ModelName, new: ModelName, *, at: datetime, event: Event) -> None:
        """Give a model, its versions and its history another name. Raises NotFound; Conflict where versions of a model
        had the new name, or one has it."""
        with self._connections.writing() as connection:
            serial = record(connection, event)
            row = _require_row(connection, name)
            taken = connection.execute(select(_models).where(_models.c.model == new)).first()
            if taken is not None and (taken.state == ACTIVE or taken.last_number):
                raise Conflict(f"Registered Model (name={new}) already exists.")
            values = row._asdict() | {"model": new, "updated_at": at, "event": serial}
            dialect.upsert(connection, _models, row=values)
            for table in (_versions, _version_tags, _model_tags, _moves, _stages):
                connection.execute(update(table).where(table.c.model == name).values(model=new))
            connection.execute(update(_versions).where(_versions.c.model == new).values(updated_at=at))
            connection.execute(update(_models).where(_models.c.model == name).values(state=_RENAMED, event=serial))

    def delete(self, name: ModelName, *, at: datetime, event: Event, taken: TakenAlias) -> None:
        """Put a model and its versions away. `taken` makes the move that takes an alias away from (number, serial)."""
        with self._connections.writing() as connection:
            serial = record(connection, event)
            _require_row(connection, name)
            _take_aliases(connection, (name, None), taken=taken)
            gone = {"deleted_at": at, "updated_at": at}
            connection.execute(update(_versions).where(_versions.c.model == name, _living).values(gone))
            connection.execute(delete(_model_tags).where(_model_tags.c.model == name))
            state = {"state": _DELETED, "updated_at": at, "event": serial}
            connection.execute(update(_models).where(_models.c.model == name).values(state))

    def set_tag(self, name: ModelName, key: str, *, value: str) -> bool:
        """Set a model's tag; False where there is no such model."""
        with self._connections.writing() as connection:
            if not _has_model(connection, name):
                return False
            dialect.upsert(connection, _model_tags, row={"model": name, "key": key, "value": value})
        return True

    def delete_tag(self, name: ModelName, key: str) -> bool:
        """Take a model's tag away, if it has it; False where there is no such model."""
        with self._connections.writing() as connection:
            if not _has_model(connection, name):
                return False
            connection.execute(delete(_model_tags).where(_model_tags.c.model == name, _model_tags.c.key == key))
        return True

    def add_version(self, version: CatalogVersion, event_of: Callable[[CatalogVersion], Event]) -> CatalogVersion:
        """Write a client's version under the next number. Raises NotFound where its model is not there."""
        with self._connections.writing() as connection:
            dialect.lock_chain(connection)
            row = _require_row(connection, version.model)
            numbered = _numbered(version, row.last_number + 1)
            serial = record(connection, event_of(numbered))
            counted = {"last_number": numbered.number, "updated_at": version.created_at}
            connection.execute(update(_models).where(_models.c.model == version.model).values(counted))
            connection.execute(insert(_versions), _row_of(numbered) | {"event": serial})
            where = {"model": version.model, "number": numbered.number}
            _put_tags(connection, _version_tags, where=where, tags=version.tags)
        return numbered

    def find_version(self, name: ModelName, number: int) -> CatalogVersion | None:
        """Find a version that was not deleted."""
        return next(iter(self.find_versions([(name, number)])), None)

    def find_versions(self, keys: Sequence[tuple[ModelName, int]]) -> Sequence[CatalogVersion]:
        """Find versions, in this order; those that are not there are left out."""
        with self._connections.reading() as connection:
            rows = {
                (row.model, row.number): row
                for some in _parts(keys)
                for row in connection.execute(select(_versions).where(_among(_versions, some), _living))
            }
            return _read_versions(connection, [rows[key] for key in keys if key in rows])

    def versions(self, name: ModelName) -> Sequence[CatalogVersion]:
        """List the versions that were not deleted, newest first."""
        wanted = select(_versions).where(_versions.c.model == name, _living).order_by(_versions.c.number.desc())
        with self._connections.reading() as connection:
            return _read_versions(connection, connection.execute(wanted).all())

    def latest(self, names: Sequence[ModelName]) -> Sequence[CatalogVersion]:
        """List the newest version of each stage of these models."""
        with self._connections.reading() as connection:
            rows = [row for some in _parts(names) for row in connection.execute(_latest_of(some))]
            return _read_versions(connection, rows)

    def describe_version(self, name: ModelName, number: int, *, description: str | None, at: datetime) -> bool:
        """Write what a version is; False where it is not there."""
        with self._connections.writing() as connection:
            changed = update(_versions).where(_one, _living).values(description=description, updated_at=at)
            return connection.execute(changed, {"model_": name, "number_": number}).rowcount == 1

    def set_version_tag(self, name: ModelName, number: int, *, key: str, value: str) -> bool:
        """Set a version's tag; False where there is no such version."""
        with self._connections.writing() as connection:
            if not _has_version(connection, (name, number)):
                return False
            row = {"model": name, "number": number, "key": key, "value": value}
            dialect.upsert(connection, _version_tags, row=row)
        return True

    def delete_version_tag(self, name: ModelName, number: int, *, key: str) -> bool:
        """Take a version's tag away, if it has it; False where there is no such version."""
        with self._connections.writing() as connection:
            if not _has_version(connection, (name, number)):
                return False
            tags = _version_tags.c
            connection.execute(delete(_version_tags).where(tags.model == name, tags.number == number, tags.key == key))
        return True

    def move_stage(self, move: StageMove, event_of: Callable[[StageMove], Event], *, archive: bool) -> Sequence[StageMove]:
        """Bring a version to a stage, and with `archive` all others of that stage to the archive; give what was moved.

        `move` says where to; where from and the serials are read here. Raises NotFound.
        """
        with self._connections.writing() as connection:
            dialect.lock_chain(connection)
            where = {"model_": move.model, "number_": move.number}
            row = connection.execute(select(_versions.c.stage).where(_one, _living).with_for_update(), where).first()
            if row is None:
                raise NotFound(f"Model Version (name={move.model}, version={move.number}) not found")
            others = _others_at(connection, move) if archive else []
            last = connection.scalar(select(func.max(_stages.c.serial)).where(_stages.c.model == move.model)) or 0
            asked = [
                *(msgspec.structs.replace(move, number=n, stage=ModelStage.ARCHIVED, previous=move.stage) for n in others),
                msgspec.structs.replace(move, previous=ModelStage(row.stage)),
            ]
            moves = [msgspec.structs.replace(each, serial=last + at) for at, each in enumerate(asked, 1)]
            for each in moves:
                _write_stage(connection, each, serial=record(connection, event_of(each)))
            newer = update(_models).where(_models.c.model == move.model).values(updated_at=move.moved_at)
            connection.execute(newer)
        return moves

    def delete_version(
        self,
        name: ModelName,
        number: int,
        *,
        at: datetime,
        event: Event,
        taken: TakenAlias,
    ) -> None:
        """Put a version away, and take away the aliases that point to it. Raises NotFound."""
        with self._connections.writing() as connection:
            record(connection, event)
            if not _has_version(connection, (name, number)):
                raise NotFound(f"Model Version (name={name}, version={number}) not found")
            _take_aliases(connection, (name, number), taken=taken)
            gone = update(_versions).where(_one).values(deleted_at=at, updated_at=at)
            connection.execute(gone, {"model_": name, "number_": number})
            connection.execute(update(_models).where(_models.c.model == name).values(updated_at=at))

    def stage_moves(self, name: ModelName) -> Sequence[StageMove]:
        """List all transitions of a model's versions, oldest first."""
        wanted = select(_stages).where(_stages.c.model == name).order_by(_stages.c.serial)
        with self._connections.reading() as connection:
            return [_stage_move(row) for row in connection.execute(wanted)]


def _require_row(connection: Connection, name: ModelName) -> Row[Any]:
    row = connection.execute(select(_models).where(_active).with_for_update(), {"model_": name}).first()
    if row is None:
        raise NotFound(f"Registered Model with name={name} not found")
    return row


def _has_model(connection: Connection, name: ModelName) -> bool:
    return connection.scalar(select(_models.c.model).where(_active).with_for_update(), {"model_": name}) is not None


def _has_version(connection: Connection, key: tuple[ModelName, int]) -> bool:
    wanted = select(_versions.c.number).where(_one, _living).with_for_update()
    return connection.scalar(wanted, {"model_": key[0], "number_": key[1]}) is not None


def _take_aliases(connection: Connection, whose: tuple[ModelName, int | None], *, taken: TakenAlias) -> None:
    """Take away the aliases that point to a version, or all of a model's."""
    name, number = whose
    for row in connection.execute(_pointing([name])).all():
        if number in (None, row.number):
            move, event = taken(move_of(row))
            if (serial := record(connection, event)) is not None:
                write_move(connection, move, serial=serial)


def _others_at(connection: Connection, move: StageMove) -> list[int]:
    wanted = (
        select(_versions.c.number)
        .where(
            _versions.c.model == move.model,
            _versions.c.number != move.number,
            _versions.c.stage == move.stage.value,
            _living,
        )
        .order_by(_versions.c.number)
    )
    return list(connection.scalars(wanted))


def _write_stage(connection: Connection, move: StageMove, *, serial: int | None) -> None:
    changed = update(_versions).where(_one).values(stage=move.stage.value, updated_at=move.moved_at)
    connection.execute(changed, {"model_": move.model, "number_": move.number})
    row = msgspec.structs.asdict(move) | {"stage": move.stage.value, "previous": move.previous.value, "event": serial}
    connection.execute(insert(_stages), row)


def _pointing(names: Sequence[str]) -> Select[Any]:
    """Find where the aliases of models point: the newest move of each that was not taken away."""
    newest = and_(
        _moves.c.model == _newest_moves.c.model,
        _moves.c.alias == _newest_moves.c.alias,
        _moves.c.serial == _newest_moves.c.serial,
    )
    return (
        select(_moves)
        .join(_newest_moves, newest)
        .where(_moves.c.model.in_(names), _newest_moves.c.model.in_(names), _moves.c.number.is_not(None))
        .order_by(_moves.c.alias)
    )


def _latest_of(names: Sequence[str]) -> Select[Any]:
    newest = (
        select(_versions.c.model, func.max(_versions.c.number).label("number"))
        .where(_versions.c.model.in_(names), _living)
        .group_by(_versions.c.model, _versions.c.stage)
        .subquery()
    )
    joined = (_versions.c.model == newest.c.model) & (_versions.c.number == newest.c.number)
    return select(_versions).join(newest, joined).order_by(_versions.c.model, _versions.c.number)


def _read_models(connection: Connection, names: Sequence[ModelName]) -> list[RegisteredModel]:
    found: dict[str, RegisteredModel] = {}
    for some in _parts(names):
        tags = _tags_of(connection, some)
        aliases: dict[str, dict[str, int]] = {}
        for row in connection.execute(_pointing(some)):
            aliases.setdefault(row.model, {})[row.alias] = row.number
        for row in connection.execute(select(_models).where(_models.c.model.in_(some), _models.c.state == ACTIVE)):
            found[row.model] = RegisteredModel(
                name=ModelName(row.model),
                created_at=row.created_at,
                updated_at=row.updated_at,
                description=row.description,
                tags=tags.get(row.model, {}),
                aliases=aliases.get(row.model, {}),
            )
    return [found[name] for name in names if name in found]


def _read_versions(connection: Connection, rows: Sequence[Row[Any]]) -> list[CatalogVersion]:
    """Read versions with their tags and aliases, each of which is asked for once for all."""
    aliases: dict[tuple[str, int], list[str]] = {}
    tags: dict[tuple[str, int], dict[str, str]] = {}
    for some in _parts(sorted({row.model for row in rows})):
        for row in connection.execute(_pointing(some)):
            aliases.setdefault((row.model, row.number), []).append(row.alias)
    for part in _parts([(row.model, row.number) for row in rows]):
        for model, number, key, value in connection.execute(select(_version_tags).where(_among(_version_tags, part))):
            tags.setdefault((model, number), {})[key] = value
    return [
        _version(row, aliases.get((row.model, row.number), []), tags=tags.get((row.model, row.number), {})) for row in rows
    ]


def _version(row: Row[Any], aliases: list[str], *, tags: dict[str, str]) -> CatalogVersion:
    return CatalogVersion(
        model=ModelName(row.model),
        number=row.number,
        source=row.source,
        location=row.location,
        created_at=row.registered_at,
        updated_at=row.updated_at,
        digest=Digest(row.digest) if row.digest is not None else None,
        run=RunId(row.run) if row.run is not None else None,
        run_link=row.run_link,
        logged_model=LoggedModelId(row.logged_model) if row.logged_model is not None else None,
        user=row.user,
        actor=row.actor,
        description=row.description,
        stage=ModelStage(row.stage),
        tags=tags,
        aliases=tuple(aliases),
        facts=_facts.decode(row.facts),
        loop=read_body(row.body) if row.body is not None else None,
        servable=read_servable(row.servable, of=row.model) if row.servable is not None else None,
    )


def _row_of(version: CatalogVersion) -> dict[str, Any]:
    return {
        "model": version.model,
        "number": version.number,
        "digest": version.digest,
        "run": version.run,
        "registered_at": version.created_at,
        "source": version.source,
        "location": version.location,
        "run_link": version.run_link,
        "logged_model": version.logged_model,
        "user": version.user,
        "actor": version.actor,
        "description": version.description,
        "stage": version.stage.value,
        "updated_at": version.updated_at,
        "facts": msgspec.json.encode(version.facts).decode(),
        "servable": write_servable(version.servable) if version.servable is not None else None,
    }


def _numbered(version: CatalogVersion, number: int) -> CatalogVersion:
    serving = version.servable
    if serving is not None:
        serving = msgspec.structs.replace(serving, model=version.model, number=number)
    return msgspec.structs.replace(version, number=number, servable=serving)


def _stage_move(row: Row[Any]) -> StageMove:
    return StageMove(
        model=ModelName(row.model),
        number=row.number,
        serial=row.serial,
        stage=ModelStage(row.stage),
        previous=ModelStage(row.previous),
        moved_at=row.moved_at,
        actor=row.actor,
        reason=row.reason,
    )


def _put_tags(connection: Connection, table: Table, *, where: dict[str, Any], tags: dict[str, str]) -> None:
    if tags:
        connection.execute(insert(table), [where | {"key": key, "value": value} for key, value in tags.items()])


def _tags_of(connection: Connection, names: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, key, value in connection.execute(select(_model_tags).where(_model_tags.c.model.in_(names))):
        found.setdefault(name, {})[key] = value
    return found


def _among(table: Table, keys: Sequence[tuple[str, int]]) -> ColumnElement[bool]:
    return tuple_(table.c.model, table.c.number).in_(keys)


def _parts(found: Sequence[T], size: int = 500) -> Iterator[Sequence[T]]:
    """Cut a list into parts that a statement may name."""
    return (found[at : at + size] for at in range(0, len(found), size))
