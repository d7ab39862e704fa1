"""What asked for a training besides the policy; each waits until a turn was ordered for it."""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace
from sqlalchemy import bindparam, insert, select, update

from kedge.domain.events import Event
from kedge.domain.ids import Digest, ModelName
from kedge.domain.retraining import Trigger
from kedge.storage.sql import schema
from kedge.storage.sql.bodies import Body
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.events import record

_table = schema.triggers
_trigger = Body(Trigger)

_of_model = select(_table.c.body, _table.c.taken_at).where(_table.c.model == bindparam("model"))
_newest = _of_model.order_by(_table.c.event.desc()).limit(bindparam("limit"))
_waiting = _of_model.where(_table.c.taken_at.is_(None)).order_by(_table.c.event)


class SqlTriggers:
    """What asked for a training (port `Triggers`)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def put(self, trigger: Trigger, event: Event) -> bool:
        """Write a trigger with its event; False where its key is already there."""
        with self._connections.writing() as connection:
            serial = record(connection, event)
            if serial is not None:
                row = {
                    "model": trigger.model,
                    "key": trigger.key,
                    "asked_at": trigger.asked_at,
                    "taken_at": trigger.taken_at,
                    "event": serial,
                    "body": _trigger.write(trigger),
                }
                connection.execute(insert(_table), row)
            return serial is not None

    def list(self, model: ModelName, *, limit: int = 100) -> Sequence[Trigger]:
        """List triggers, newest first."""
        with self._connections.reading() as connection:
            rows = connection.execute(_newest, {"model": model, "limit": limit}).all()
        return [replace(_trigger.read(body), taken_at=taken) for body, taken in rows]

    def waiting(self, model: ModelName) -> Sequence[Trigger]:
        """List those that wait, oldest first."""
        with self._connections.reading() as connection:
            return [_trigger.read(body) for body, _ in connection.execute(_waiting, {"model": model})]

    def take(self, model: ModelName, keys: Sequence[Digest], *, at: datetime) -> None:
        """Note that a turn was ordered for triggers; one that was taken before stays as it is."""
        waiting = _table.c.taken_at.is_(None)
        with self._connections.writing() as connection:
            for key in keys:
                mine = (_table.c.model == model) & (_table.c.key == key) & waiting
                connection.execute(update(_table).where(mine).values(taken_at=at))
