"""Runs with their params and metrics, and the leases that let one process at a time make a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection, Select, bindparam, delete, insert, select

from kedge.domain.events import Event
from kedge.domain.ids import Digest, RunId
from kedge.domain.tracking import Run, RunStatus
from kedge.errors import NotFound
from kedge.storage.sql import dialect, schema
from kedge.storage.sql.bodies import Body
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.events import record

_runs, _params, _metrics, _leases = schema.runs, schema.run_params, schema.run_metrics, schema.leases
_run = Body(Run)

_by_id = select(_runs.c.id, _runs.c.body).where(_runs.c.id == bindparam("run"))
_by_key = select(_runs.c.id, _runs.c.body).where(
    _runs.c.content_key == bindparam("key"), _runs.c.status == RunStatus.FINISHED.value
)
_newest = (
    select(_runs.c.id, _runs.c.body)
    .where(_runs.c.experiment == bindparam("experiment"))
    .order_by(_runs.c.started_at.desc(), _runs.c.id.desc())
    .limit(bindparam("limit"))
)
_params_of = select(_params).where(_params.c.run.in_(bindparam("runs", expanding=True))).order_by(_params.c.name)
_metrics_of = select(_metrics).where(_metrics.c.run.in_(bindparam("runs", expanding=True))).order_by(_metrics.c.name)


class SqlRuns:
    """Tracked runs (port `Runs`)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def put(self, run: Run, event: Event) -> None:
        """Write a run, new or changed. Raises Conflict where another run with its content key has finished."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is not None:
                _write(connection, run, serial=serial)

    def get(self, run: RunId) -> Run:
        """Read a run. Raises NotFound."""
        if found := self._read(_by_id, run=run):
            return found[0]
        raise NotFound(f"run {run!r} does not exist; list the runs of its experiment to see which do")

    def find_key(self, content_key: Digest) -> Run | None:
        """Find the finished run with this content key."""
        return next(iter(self._read(_by_key, key=content_key)), None)

    def list(self, experiment: str, *, limit: int = 100) -> Sequence[Run]:
        """List runs, newest first."""
        return self._read(_newest, experiment=experiment, limit=limit)

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

    def _read(self, query: Select[str, str], **values: object) -> Sequence[Run]:
        with self._connections.reading() as connection:
            bodies = {row.id: row.body for row in connection.execute(query, values)}
            params: dict[str, dict[str, str]] = {run: {} for run in bodies}
            metrics: dict[str, dict[str, float]] = {run: {} for run in bodies}
            if bodies:
                for run, name, text in connection.execute(_params_of, {"runs": [*bodies]}):
                    params[run][name] = text
                for run, name, number in connection.execute(_metrics_of, {"runs": [*bodies]}):
                    metrics[run][name] = math.nan if number is None else number
        return [
            msgspec.structs.replace(_run.read(body), params=params[run], metrics=metrics[run])
            for run, body in bodies.items()
        ]


def _write(connection: Connection, run: Run, *, serial: int) -> None:
    row = {
        "id": run.id,
        "experiment": run.experiment,
        "name": run.name,
        "content_key": run.content_key,
        "status": run.status.value,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "event": serial,
        "body": _run.write(msgspec.structs.replace(run, params={}, metrics={})),
    }
    dialect.upsert(connection, _runs, row=row)
    connection.execute(delete(_params).where(_params.c.run == run.id))
    connection.execute(delete(_metrics).where(_metrics.c.run == run.id))
    if run.params:
        connection.execute(insert(_params), [{"run": run.id, "name": n, "value": v} for n, v in run.params.items()])
    if run.metrics:
        # SQLite has no NaN: null stands for it, in both dialects.
        numbers = {name: None if math.isnan(value) else value for name, value in run.metrics.items()}
        connection.execute(insert(_metrics), [{"run": run.id, "name": n, "value": v} for n, v in numbers.items()])
