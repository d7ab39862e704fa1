"""Alerts with their lives, the outbox of what channels are to tell, deliveries, and mutes.

An alert and the notice of it are written in one transaction with what raised it (`keep`); deliveries are made of a notice
in one; a delivery belongs to one sender at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from kedge.domain.alert_life import AlertLife, AlertState, Moved, Notice, looked, raised
from kedge.domain.alerting import Alert
from kedge.domain.channels import AlertCounts, AlertDelivery, DeliveryState, Mute
from kedge.domain.events import Event
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Health
from kedge.errors import Conflict, NotFound
from kedge.storage.sql import dialect, schema
from kedge.storage.sql.bodies import Body
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.events import record

_lives, _notices, _deliveries, _mutes = schema.alert_lives, schema.alert_notices, schema.deliveries, schema.mutes
_life, _notice, _delivery, _mute = Body(AlertLife), Body(Notice), Body(AlertDelivery), Body(Mute)
_OVER = AlertState.RESOLVED.value

_by_id = select(_lives.c.body).where(_lives.c.id == bindparam("id"))
_of_model = select(_lives.c.body).where(_lives.c.model == bindparam("model"))
_unspread = (
    select(_notices.c.serial, _notices.c.body)
    .where(_notices.c.waiting)
    .order_by(_notices.c.serial)
    .limit(bindparam("limit"))
)
_by_serial = select(_notices.c.body).where(_notices.c.serial == bindparam("serial"))
_under_way = (
    select(_deliveries.c.body)
    .where(_deliveries.c.state == DeliveryState.WAITING.value)
    .order_by(_deliveries.c.serial, _deliveries.c.channel)
    .limit(bindparam("limit"))
)
_of_alert = (
    select(_deliveries.c.body)
    .where(_deliveries.c.alert == bindparam("alert"))
    .order_by(_deliveries.c.serial.desc(), _deliveries.c.channel)
    .limit(bindparam("limit"))
)


def keep_raised(connection: Connection, alerts: Iterable[Alert], *, serial: int) -> None:
    """Let alerts open lives or add to them, within the open transaction."""
    for alert in alerts:
        body = connection.scalar(_by_id, {"id": alert.id})
        _write(connection, raised(_life.read(body) if body is not None else None, alert), serial=serial)


def keep_looked(connection: Connection, health: Health, *, serial: int) -> None:
    """Let a window show, or not, what is open of its model: whatever it does not raise itself."""
    told = {alert.id for alert in health.alerts}
    holds = set(health.standing)
    open_or_held = (_lives.c.state != _OVER) | _lives.c.id.in_(holds)
    for body in connection.scalars(_of_model.where(open_or_held), {"model": health.model}).all():
        known = _life.read(body)
        if known.id not in told and health.could_show(known.kind):
            moved = looked(known, at=health.window.end, holds=known.id in holds)
            if moved[0] is not known:
                _write(connection, moved, serial=serial)


def _write(connection: Connection, moved: Moved, *, serial: int) -> None:
    life, notice = moved
    dialect.upsert(connection, _lives, row=_row(life, serial))
    if notice is not None:
        _add(connection, notice)


def _add(connection: Connection, notice: Notice) -> None:
    row = {"id": notice.id, "alert": notice.life.id, "at": notice.at, "waiting": True, "body": _notice.write(notice)}
    connection.execute(insert(_notices), row)


def _row(life: AlertLife, serial: int) -> dict[str, object]:
    return {
        "id": life.id,
        "model": life.model,
        "kind": life.kind.value,
        "severity": life.severity.value,
        "state": life.state.value,
        "seen_at": life.seen_at,
        "revision": life.revision,
        "event": serial,
        "body": _life.write(life),
    }


class SqlAlerts:
    """Alerts, the outbox and mutes (port `Alerts`)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def get(self, id: str) -> AlertLife:
        """Read an alert. Raises NotFound."""
        with self._connections.reading() as connection:
            body = connection.scalar(_by_id, {"id": id})
        if body is None:
            raise NotFound(f"there is no alert {id!r}; list them with: kedge alerts list")
        return _life.read(body)

    def list(
        self, *, model: ModelName | None = None, begins: str = "", resolved: bool = True, limit: int = 1000
    ) -> Sequence[AlertLife]:
        """List alerts, the one seen last first."""
        query = select(_lives.c.body).order_by(_lives.c.seen_at.desc(), _lives.c.id).limit(limit)
        if model is not None:
            query = query.where(_lives.c.model == model)
        if begins:
            query = query.where(_lives.c.id.startswith(begins, autoescape=True))
        if not resolved:
            query = query.where(_lives.c.state != _OVER)
        with self._connections.reading() as connection:
            return [_life.read(body) for body in connection.scalars(query)]

    def put(self, life: AlertLife, event: Event, *, notice: Notice | None = None) -> None:
        """Write an alert's next revision. Raises Conflict where another wrote it first."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is None:
                raise Conflict(f"alert {life.id} changed meanwhile; read it again, then retry")
            before = (_lives.c.id == life.id) & (_lives.c.revision == life.revision - 1)
            if connection.execute(update(_lives).where(before).values(**_row(life, serial))).rowcount == 0:
                raise Conflict(f"alert {life.id} changed meanwhile; read it again, then retry")
            if notice is not None:
                _add(connection, notice)

    def notices(self, *, limit: int = 100) -> Sequence[tuple[int, Notice]]:
        """List (serial, notice) whose deliveries are not written yet, oldest first."""
        with self._connections.reading() as connection:
            rows = connection.execute(_unspread, {"limit": limit}).all()
        return [(row.serial, _notice.read(row.body)) for row in rows]

    def notice(self, serial: int) -> Notice:
        """Read a notice."""
        with self._connections.reading() as connection:
            return _notice.read(connection.execute(_by_serial, {"serial": serial}).scalar_one())

    def spread(self, serials: Sequence[int], deliveries: Sequence[AlertDelivery]) -> None:
        """Write the deliveries of notices, by their serials, once; all in one transaction."""
        of_these = _notices.c.serial.in_(serials) & _notices.c.waiting
        with self._connections.writing() as connection:
            done = connection.scalars(update(_notices).where(of_these).values(waiting=False).returning(_notices.c.serial))
            now = set(done)
            dialect.insert_new(connection, _deliveries, rows=[_delivery_row(one) for one in deliveries if one.serial in now])

    def waiting(self, *, limit: int = 1000) -> Sequence[AlertDelivery]:
        """List deliveries that are under way, oldest first."""
        with self._connections.reading() as connection:
            return [_delivery.read(body) for body in connection.scalars(_under_way, {"limit": limit})]

    def take(
        self, delivery: AlertDelivery, owner: str, *, now: datetime, seconds: float, ended: AlertDelivery | None = None
    ) -> AlertDelivery | None:
        """Take the right to send a delivery; None where another has it or it has ended. What became of the one `ended`
        before is written in the same transaction."""
        with self._connections.writing() as connection:
            if ended is not None:
                _end(connection, ended)
            found = _found(connection, delivery.id)
            owned = found.owned_until is not None and found.owned_until > now and found.owner != owner
            if found.state is not DeliveryState.WAITING or owned:
                return None
            until = now + timedelta(seconds=seconds)
            taken = msgspec.structs.replace(
                found, owner=owner, owned_until=until, attempts=found.attempts + 1, first_at=found.first_at or now
            )
            _rewrite(connection, taken)
            return taken

    def end(self, delivery: AlertDelivery) -> None:
        """Write what became of a delivery, if its owner still has it."""
        with self._connections.writing() as connection:
            _end(connection, delivery)

    def deliveries(self, alert: str, *, limit: int = 100) -> Sequence[AlertDelivery]:
        """List the deliveries of an alert, newest first."""
        with self._connections.reading() as connection:
            return [_delivery.read(body) for body in connection.scalars(_of_alert, {"alert": alert, "limit": limit})]

    def counts(self) -> AlertCounts:
        """Count what is open, and deliveries."""
        keys = (_lives.c.model, _lives.c.kind, _lives.c.severity, _lives.c.state)
        still = select(*keys, func.count()).where(_lives.c.state != _OVER).group_by(*keys)
        by = (_deliveries.c.channel, _deliveries.c.state)
        with self._connections.reading() as connection:
            found = {(row[0], row[1], row[2], row[3]): int(row[4]) for row in connection.execute(still)}
            sent = {(row[0], row[1]): int(row[2]) for row in connection.execute(select(*by, func.count()).group_by(*by))}
        return AlertCounts(open=found, deliveries=sent)

    def mutes(self) -> Sequence[Mute]:
        """List mutes, those that have ended too, by model."""
        with self._connections.reading() as connection:
            return [_mute.read(body) for body in connection.scalars(select(_mutes.c.body).order_by(_mutes.c.model))]

    def mute(self, mute: Mute, event: Event) -> None:
        """Write a mute, in place of the model's last one."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is not None:
                row = {"model": mute.model, "until": mute.until, "event": serial, "body": _mute.write(mute)}
                dialect.upsert(connection, _mutes, row=row)

    def unmute(self, model: ModelName, event: Event) -> None:
        """End a mute. Raises NotFound."""
        with self._connections.writing() as connection:
            record(connection, event)
            if connection.execute(delete(_mutes).where(_mutes.c.model == model)).rowcount == 0:
                raise NotFound(f"model {model!r} is not muted")


def _found(connection: Connection, id: str) -> AlertDelivery:
    wanted = select(_deliveries.c.body).where(_deliveries.c.id == id)
    if connection.dialect.name == "postgresql":
        wanted = wanted.with_for_update()
    return _delivery.read(connection.execute(wanted).scalar_one())


def _end(connection: Connection, delivery: AlertDelivery) -> None:
    found = _found(connection, delivery.id)
    if found.state is DeliveryState.WAITING and found.owner in ("", delivery.owner):
        _rewrite(connection, msgspec.structs.replace(delivery, owner="", owned_until=None))


def _rewrite(connection: Connection, delivery: AlertDelivery) -> None:
    row = {"state": delivery.state.value, "body": _delivery.write(delivery)}
    connection.execute(update(_deliveries).where(_deliveries.c.id == delivery.id).values(**row))


def _delivery_row(one: AlertDelivery) -> dict[str, object]:
    return {
        "id": one.id,
        "serial": one.serial,
        "alert": one.alert,
        "channel": one.channel,
        "state": one.state.value,
        "body": _delivery.write(one),
    }
