"""Measured windows, the monitors' state after the newest of them, and alerts."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, insert, select

from kedge.domain.events import Event
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Alert, Health
from kedge.storage.sql import dialect, schema
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
                dialect.insert_new(connection, _alerts, rows=[_alert_row(alert, serial) for alert in health.alerts])

    def find(self, model: ModelName, window: str) -> Health | None:
        """Find a window by its id."""
        with self._connections.reading() as connection:
            body = connection.scalar(_by_id, {"model": model, "window": window})
        return _health.read(body) if body is not None else None

    def state(self, model: ModelName) -> bytes | None:
        """Read the monitors' state after the newest window."""
        with self._connections.reading() as connection:
            return connection.scalar(_state, {"model": model})

    def list(self, model: ModelName, *, limit: int = 1000) -> Sequence[Health]:
        """List windows, oldest first, the newest `limit` of them."""
        with self._connections.reading() as connection:
            bodies = connection.scalars(_newest, {"model": model, "limit": limit}).all()
        return [_health.read(body) for body in reversed(bodies)]

    def raise_alert(self, alert: Alert, event: Event) -> None:
        """Write an alert, once per key."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is not None:
                dialect.insert_new(connection, _alerts, rows=[_alert_row(alert, serial)])

    def alerts(self, model: ModelName, *, limit: int = 1000) -> Sequence[Alert]:
        """List alerts, newest first."""
        with self._connections.reading() as connection:
            bodies = connection.scalars(_newest_alerts, {"model": model, "limit": limit})
            return [_alert.read(body) for body in bodies]


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
