"""Runs: what the loop makes and what clients log, and the leases that let one process at a time make a run.

The loop's own records are written with the store's full durability (`put`, `claim`); what clients log takes the hot way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import delete, select

from kedge.domain.events import Event
from kedge.domain.ids import Digest, ExperimentId, RunId
from kedge.domain.tracking import (
    Code,
    DatasetInput,
    Environment,
    Lifecycle,
    Metric,
    ModelOutput,
    Run,
    RunDetail,
    RunStatus,
    Usage,
)
from kedge.errors import NotFound, ParamChanged, WasDeleted
from kedge.storage.sql import dialect, schema
from kedge.storage.sql.bodies import Body
from kedge.storage.sql.chain import append
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.experiments import require_experiment, write_tags
from kedge.storage.sql.hot import Hot
from kedge.storage.sql.inputs import datasets_of, models_of, write_datasets, write_models
from kedge.storage.sql.points import FEW, Latest, add_keys, latest_of, write_points
from kedge.storage.sql.session import Row, Session, chunks, from_us, maybe_time, maybe_us, places, to_us

_leases = schema.leases

_COLUMNS = (
    "SELECT id, experiment, name, user_name, status, lifecycle, started_at, ended_at, deleted_at, content_key, body"
    " FROM runs"
)
_PUT = (
    "INSERT INTO runs (id, experiment, name, user_name, status, lifecycle, started_at, ended_at, content_key, event, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_REPLACE = (
    " ON CONFLICT (id) DO UPDATE SET experiment = excluded.experiment, name = excluded.name, status = excluded.status,"
    " started_at = excluded.started_at, ended_at = excluded.ended_at, content_key = excluded.content_key,"
    " event = excluded.event, body = excluded.body"
)
_PUT_PARAM = "INSERT INTO run_params (run, key, value) VALUES (?, ?, ?) ON CONFLICT (run, key) DO"
_NEWEST = (
    f"{_COLUMNS} WHERE experiment = (SELECT id FROM experiments WHERE name = ?) AND content_key IS NOT NULL"
    " ORDER BY started_at DESC, id DESC LIMIT ?"
)


class Extra(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run's row holds beside its columns."""

    code: Code | None = None
    environment: Environment | None = None
    inputs: tuple[Digest, ...] = ()
    artifacts: dict[str, Digest] = {}
    usage: Usage = Usage()
    error: str = ""


_extra = Body(Extra)
_NOTHING = Extra()


class SqlRuns:
    """Tracked runs (port `Runs`)."""

    def __init__(self, connections: Connections, hot: Hot) -> None:
        self._connections, self._hot = connections, hot

    def put(self, run: Run, event: Event) -> None:
        """Write a run of the loop, new or changed. Raises Conflict where another run with its content key has finished."""
        with self._connections.writing() as connection:
            session = Session.of(connection)
            if (serial := append(session, event)) is not None:
                _put(session, run, serial=serial)

    def get(self, run: RunId) -> Run:
        """Read a run. Raises NotFound."""
        return self.detail(run).run

    def find_key(self, content_key: Digest) -> Run | None:
        """Find the finished run with this content key."""
        with self._hot.reading() as session:
            rows = session.rows(f"{_COLUMNS} WHERE content_key = ? AND status = 'finished'", content_key)
            return next(iter(_runs(session, rows)), None)

    def list(self, experiment: str, *, limit: int = 100) -> Sequence[Run]:
        """List the loop's runs in the experiment of this name, newest first, deleted ones too."""
        with self._hot.reading() as session:
            rows = session.rows(_NEWEST, experiment, limit)
            return [run for some in chunks(rows) for run in _runs(session, some)]

    def claim(self, content_key: Digest, owner: str, *, now: datetime, seconds: float) -> bool:
        """Take the right to make this run, until it is released or the lease ends; False where another holds it.

        The owner may claim again, which moves the end of its lease.
        """
        with self._connections.writing() as connection:
            statement = dialect.insert(connection, _leases).values(
                content_key=content_key, owner=owner, expires_at=now + timedelta(seconds=seconds)
            )
            statement = statement.on_conflict_do_update(
                index_elements=["content_key"],
                set_={"owner": statement.excluded.owner, "expires_at": statement.excluded.expires_at},
                where=(_leases.c.owner == owner) | (_leases.c.expires_at <= now),
            )
            return connection.scalar(statement.returning(_leases.c.owner)) is not None

    def release(self, content_key: Digest, owner: str) -> None:
        """Give the right back; nothing happens where another holds it."""
        with self._connections.writing() as connection:
            connection.execute(delete(_leases).where(_leases.c.content_key == content_key, _leases.c.owner == owner))

    def holder(self, content_key: Digest) -> tuple[str, datetime] | None:
        """Tell who holds a right, and when it ends without being renewed; None where nobody ever took it or gave it back."""
        query = select(_leases.c.owner, _leases.c.expires_at).where(_leases.c.content_key == content_key)
        with self._connections.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (row.owner, row.expires_at)

    def add(self, run: Run, event: Event) -> None:
        """Write a client's new run with its params and tags. Raises NotFound or WasDeleted for its experiment, Conflict."""
        with self._hot.writing() as session:
            require_experiment(session, run.experiment)
            if (serial := append(session, event)) is not None:
                session.run(_PUT, *_row(run, serial))
                _write_labels(session, run.id, experiment=run.experiment, params=run.params, tags=run.tags)

    def detail(self, run: RunId) -> RunDetail:
        """Read a run with its latest points, inputs and outputs. Raises NotFound."""
        if found := self.details([run]):
            return found[0]
        raise _missing(run)

    def details(self, runs: Sequence[RunId]) -> Sequence[RunDetail]:
        """Read those that exist, in the order asked for."""
        found: dict[str, RunDetail] = {}
        with self._hot.reading() as session:
            for some in chunks(runs):
                found |= {detail.run.id: detail for detail in _details(session, some)}
        return [found[run] for run in runs if run in found]

    def change(
        self,
        run: RunId,
        *,
        status: RunStatus | None = None,
        ended_at: datetime | None = None,
        name: str | None = None,
        event: Event | None = None,
    ) -> None:
        """Change what is given of an active run. Raises NotFound, WasDeleted; Conflict as `put` does."""
        with self._hot.writing() as session:
            require_active(session, run)
            if event is not None and (serial := append(session, event)) is not None:
                session.run("UPDATE runs SET event = ? WHERE id = ?", serial, run)
            changed = {
                "status": status.value if status is not None else None,
                "ended_at": maybe_us(ended_at),
                "name": name,
            }
            for column, value in changed.items():
                if value is not None:
                    session.run(f"UPDATE runs SET {column} = ? WHERE id = ?", value, run)

    def mark(self, run: RunId, lifecycle: Lifecycle, *, event: Event) -> None:
        """Delete or restore; nothing happens to a run that is there already."""
        with self._hot.writing() as session:
            _, found = _place(session, run)
            if found != lifecycle.value and (serial := append(session, event)) is not None:
                session.run(
                    "UPDATE runs SET lifecycle = ?, deleted_at = ?, deleted_with = NULL, event = ? WHERE id = ?",
                    lifecycle.value,
                    to_us(event.at) if lifecycle is Lifecycle.DELETED else None,
                    serial,
                    run,
                )

    def log(
        self,
        run: RunId,
        *,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write all of it or nothing. The same point twice is one point. Raises NotFound, WasDeleted, ParamChanged."""
        with self._hot.writing() as session:
            experiment = require_active(session, run)
            if params or tags:
                _write_labels(session, run, experiment=experiment, params=params or {}, tags=tags or {})
            if metrics:
                write_points(session, run, experiment=experiment, metrics=metrics)

    def drop_tag(self, run: RunId, key: str) -> None:
        """Take a tag away. Raises NotFound where there is none, WasDeleted."""
        with self._hot.writing() as session:
            require_active(session, run)
            write_tags(session, "run", owner=run, tags={key: None})

    def add_inputs(self, run: RunId, *, datasets: Sequence[DatasetInput] = (), models: Sequence[ModelOutput] = ()) -> None:
        """Say what a run read; what was said before stays as it was. Raises NotFound, WasDeleted."""
        with self._hot.writing() as session:
            experiment = require_active(session, run)
            write_datasets(session, run, experiment=experiment, datasets=datasets)
            write_models(session, run, direction="in", models=models)

    def add_outputs(self, run: RunId, models: Sequence[ModelOutput]) -> None:
        """Say which logged models a run made. Raises NotFound, WasDeleted."""
        with self._hot.writing() as session:
            require_active(session, run)
            write_models(session, run, direction="out", models=models)


def _details(session: Session, runs: Sequence[str]) -> list[RunDetail]:
    rows = session.rows(f"{_COLUMNS} WHERE id IN ({places(runs)})", *runs)
    ids = [row[0] for row in rows]
    latest = latest_of(session, ids) if ids else {}
    datasets = datasets_of(session, ids)
    read, made = models_of(session, ids)
    return [
        RunDetail(
            run=run,
            latest=_metrics(latest[run.id]),
            datasets=datasets.get(run.id, ()),
            models_in=read.get(run.id, ()),
            models_out=made.get(run.id, ()),
        )
        for run in _runs(session, rows, latest=latest)
    ]


def require_active(session: Session, run: str) -> str:
    """Give the experiment of a run that takes writes. Raises NotFound, WasDeleted."""
    experiment, lifecycle = _place(session, run)
    if lifecycle != Lifecycle.ACTIVE.value:
        raise WasDeleted("run", run)
    return experiment


def _place(session: Session, run: str) -> tuple[str, str]:
    row = session.row("SELECT experiment, lifecycle FROM runs WHERE id = ?", run)
    if row is None:
        raise _missing(run)
    return row[0], row[1]


def _row(run: Run, serial: int) -> Row:
    extra = Extra(
        code=run.code,
        environment=run.environment,
        inputs=run.inputs,
        artifacts=run.artifacts,
        usage=run.usage,
        error=run.error,
    )
    return (
        run.id,
        run.experiment,
        run.name,
        run.user,
        run.status.value,
        run.lifecycle.value,
        to_us(run.started_at),
        maybe_us(run.ended_at),
        run.content_key,
        serial,
        "{}" if extra == _NOTHING else _extra.write(extra),
    )


def _put(session: Session, run: Run, *, serial: int) -> None:
    """Write a run of the loop. Params, tags and metrics that its own job logged meanwhile stay."""
    session.run(_PUT + _REPLACE, *_row(run, serial))
    write_tags(session, "run", owner=run.id, tags=run.tags)
    session.many(
        f"{_PUT_PARAM} UPDATE SET value = excluded.value",
        [(run.id, key, value) for key, value in sorted(run.params.items())],
    )
    add_keys(session, run.experiment, subject="tag", keys=run.tags)
    add_keys(session, run.experiment, subject="param", keys=run.params)
    latest = latest_of(session, [run.id])[run.id]
    at = to_us(run.ended_at or run.started_at) // 1000
    points = [
        Metric(key=key, value=value, at=at, step=latest[key][0] + 1 if key in latest else 0)
        for key, value in run.metrics.items()
        if not (key in latest and _same(latest[key][2], value))
    ]
    write_points(session, run.id, experiment=run.experiment, metrics=points)


def _same(kept: float | None, value: float) -> bool:
    return math.isnan(value) if kept is None else kept == value


def _write_labels(
    session: Session, run: str, *, experiment: str, params: Mapping[str, str], tags: Mapping[str, str]
) -> None:
    if tags:
        write_tags(session, "run", owner=run, tags=tags)
        add_keys(session, experiment, subject="tag", keys=tags)
    if params:
        _write_params(session, run, params=params)
        add_keys(session, experiment, subject="param", keys=params)


def _write_params(session: Session, run: str, *, params: Mapping[str, str]) -> None:
    """Add params. Raises ParamChanged for one that has another value."""
    known = _params_of(session, run, keys=params)
    _require_same(run, known, params=params)
    fresh = [(run, key, value) for key, value in sorted(params.items()) if key not in known]
    if session.many(f"{_PUT_PARAM} NOTHING", fresh) != len(fresh):  # another transaction was first with some of them
        _require_same(run, _params_of(session, run, keys=params), params=params)


def _params_of(session: Session, run: str, *, keys: Mapping[str, str]) -> dict[str, str]:
    if len(keys) <= FEW:
        found = ((key, session.row("SELECT value FROM run_params WHERE run = ? AND key = ?", run, key)) for key in keys)
        return {key: row[0] for key, row in found if row is not None}
    return dict(session.rows("SELECT key, value FROM run_params WHERE run = ?", run))


def _require_same(run: str, known: Mapping[str, str], *, params: Mapping[str, str]) -> None:
    for key, value in params.items():
        if known.get(key, value) != value:
            raise ParamChanged(run, key, old=known[key], new=value)


def _runs(session: Session, rows: Sequence[Row], *, latest: dict[str, dict[str, Latest]] | None = None) -> list[Run]:
    if not rows:
        return []
    ids = [row[0] for row in rows]
    labels: dict[str, dict[str, dict[str, str]]] = {}
    for table in ("run_params", "run_tags"):
        labels[table] = {run: {} for run in ids}
        found = session.rows(f"SELECT run, key, value FROM {table} WHERE run IN ({places(ids)}) ORDER BY run, key", *ids)
        for run, key, value in found:
            labels[table][run][key] = value
    measured = latest_of(session, ids) if latest is None else latest
    return [_run(row, params=labels["run_params"], tags=labels["run_tags"], latest=measured) for row in rows]


def _run(
    row: Row,
    *,
    params: dict[str, dict[str, str]],
    tags: dict[str, dict[str, str]],
    latest: dict[str, dict[str, Latest]],
) -> Run:
    id, experiment, name, user, status, lifecycle, started, ended, deleted, content_key, body = row
    extra = _NOTHING if body == "{}" else _extra.read(body)
    return Run(
        id=RunId(id),
        experiment=ExperimentId(experiment),
        name=name,
        status=RunStatus(status),
        started_at=from_us(started),
        content_key=content_key,
        code=extra.code,
        environment=extra.environment,
        inputs=extra.inputs,
        user=user,
        params=params[id],
        metrics={key: math.nan if value is None else value for key, (_, _, value) in latest[id].items()},
        artifacts=extra.artifacts,
        tags=tags[id],
        usage=extra.usage,
        ended_at=maybe_time(ended),
        lifecycle=Lifecycle(lifecycle),
        deleted_at=maybe_time(deleted),
        error=extra.error,
    )


def _metrics(latest: dict[str, Latest]) -> tuple[Metric, ...]:
    return tuple(
        Metric(key=key, value=math.nan if value is None else value, at=at, step=step)
        for key, (step, at, value) in latest.items()
    )


def _missing(run: str) -> NotFound:
    message = f"run {run!r} does not exist; list the runs of its experiment to see which do"
    return NotFound(message, what="run", id=run)
