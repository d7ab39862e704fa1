"""Measured windows, the monitors' state after the newest of them, and alerts as they were raised."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, insert, select

from kedge.domain.alerting import Alert
from kedge.domain.events import Event
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Health, Window
from kedge.storage.sql import dialect, schema
from kedge.storage.sql.alert_lives import keep_looked, keep_raised
from kedge.storage.sql.bodies import Body
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.events import record

_windows, _states, _alerts = schema.windows, schema.monitor_states, schema.alerts
_health = Body(Health)
_alert = Body(Alert)

_by_id = select(_windows.c.body).where(_windows.c.model == bindparam("model"), _windows.c.window == bindparam("window"))
_newest = (
    select(_windows.c.body)
    .where(_windows.c.model == bindparam("model"))
    .order_by(_windows.c.end_at.desc(), _windows.c.start_at.desc())
    .limit(bindparam("limit"))
)
_before = _newest.where(
    (_windows.c.end_at < bindparam("end"))
    | ((_windows.c.end_at == bindparam("end")) & (_windows.c.start_at < bindparam("start")))
)
_ends = (
    select(_windows.c.start_at, _windows.c.end_at)
    .where(_windows.c.model == bindparam("model"))
    .order_by(_windows.c.end_at.desc(), _windows.c.start_at.desc())
    .limit(bindparam("limit"))
)
_of_states = select(_states.c.model, _states.c.window)
_state = select(_states.c.state).where(_states.c.model == bindparam("model"))
_newest_alerts = (
    select(_alerts.c.body)
    .where(_alerts.c.model == bindparam("model"))
    .order_by(_alerts.c.raised_at.desc(), _alerts.c.event.desc(), _alerts.c.key)
    .limit(bindparam("limit"))
)


class SqlWatches:
    """What was seen of what is served (port `Watches`)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def put(self, health: Health, state: bytes, *, event: Event) -> None:
        """Write a window's health, its alerts that are new, and the monitors' state after it.

        Raises Conflict where the window was measured under another event.
        """
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is not None:
                _write_window(connection, health, serial=serial)
                _write_state(connection, health, state=state)
                fresh = _new(connection, health.alerts)
                keep_looked(connection, health, serial=serial)
                keep_raised(connection, fresh, serial=serial)
                dialect.insert_new(connection, _alerts, rows=[_alert_row(alert, serial) for alert in fresh])

    def find(self, model: ModelName, window: str) -> Health | None:
        """Find a window by its id."""
        with self._connections.reading() as connection:
            body = connection.scalar(_by_id, {"model": model, "window": window})
        return _health.read(body) if body is not None else None

    def state(self, model: ModelName) -> bytes | None:
        """Read the monitors' state after the newest window."""
        with self._connections.reading() as connection:
            return connection.scalar(_state, {"model": model})

    def list(self, model: ModelName, *, limit: int = 1000, before: Window | None = None) -> Sequence[Health]:
        """List windows, oldest first: the newest `limit` of them, or of those before a window."""
        asked = {"model": model, "limit": limit}
        with self._connections.reading() as connection:
            if before is None:
                bodies = connection.scalars(_newest, asked).all()
            else:
                bodies = connection.scalars(_before, asked | {"end": before.end, "start": before.start}).all()
        return [_health.read(body) for body in reversed(bodies)]

    def windows(self, model: ModelName, *, limit: int = 1000) -> Sequence[Window]:
        """Name the newest windows, oldest first: by the index alone."""
        with self._connections.reading() as connection:
            rows = connection.execute(_ends, {"model": model, "limit": limit}).all()
        return [Window(row.start_at, row.end_at) for row in reversed(rows)]

    def newest(self) -> Mapping[ModelName, str]:
        """Give the id of the newest window of each model: the one that its monitors' state is after."""
        with self._connections.reading() as connection:
            return {ModelName(row.model): row.window for row in connection.execute(_of_states)}

    def raise_alert(self, alert: Alert, event: Event) -> None:
        """Write an alert, once per key."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is not None and (fresh := _new(connection, [alert])):
                keep_raised(connection, fresh, serial=serial)
                dialect.insert_new(connection, _alerts, rows=[_alert_row(alert, serial)])

    def alerts(self, model: ModelName, *, limit: int = 1000) -> Sequence[Alert]:
        """List alerts, newest first."""
        with self._connections.reading() as connection:
            bodies = connection.scalars(_newest_alerts, {"model": model, "limit": limit})
            return [_alert.read(body) for body in bodies]


def _new(connection: Connection, alerts: Sequence[Alert]) -> list[Alert]:
    """Give the alerts whose key is not there yet."""
    if not alerts:
        return []
    known = select(_alerts.c.key).where(_alerts.c.model == alerts[0].model, _alerts.c.key.in_([one.key for one in alerts]))
    there = set(connection.scalars(known))
    return [one for one in alerts if one.key not in there]


def _write_window(connection: Connection, health: Health, *, serial: int) -> None:
    row = {
        "model": health.model,
        "window": health.window.id,
        "start_at": health.window.start,
        "end_at": health.window.end,
        "rows": health.rows,
        "labels": health.labels,
        "event": serial,
        "body": _health.write(health),
    }
    connection.execute(insert(_windows), row)


def _write_state(connection: Connection, health: Health, *, state: bytes) -> None:
    """Keep the state after the newest window: a window measured late must not set the monitors back."""
    row = {"model": health.model, "window": health.window.id, "end_at": health.window.end, "state": state}
    statement = dialect.insert(connection, _states).values(row)
    fresh = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["model"],
            set_={"window": fresh.window, "end_at": fresh.end_at, "state": fresh.state},
            where=fresh.end_at >= _states.c.end_at,
        )
    )


def _alert_row(alert: Alert, serial: int) -> dict[str, object]:
    return {
        "model": alert.model,
        "key": alert.key,
        "kind": alert.kind.value,
        "raised_at": alert.raised_at,
        "event": serial,
        "body": _alert.write(alert),
    }
