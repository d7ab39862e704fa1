"""Deployments, revision by revision, and the looks at rollouts."""

from collections.abc import Callable, Sequence

from sqlalchemy import bindparam, func, insert, select, update

from kedge.domain.events import Event
from kedge.domain.ids import ModelName
from kedge.domain.rollout import Deployment, RolloutLook
from kedge.errors import RevisionConflict
from kedge.storage.sql import dialect, schema
from kedge.storage.sql.bodies import Body
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.events import record

_table, _looks = schema.deployments, schema.rollout_looks
_deployment = Body(Deployment)
_look = Body(RolloutLook)

_all = select(_table.c.body).where(_table.c.model == bindparam("model")).order_by(_table.c.revision)
_newest = select(_table.c.body).where(_table.c.model == bindparam("model")).order_by(_table.c.revision.desc()).limit(1)
_numbered = select(_table.c.body).where(_table.c.model == bindparam("model"), _table.c.revision == bindparam("revision"))
_last = select(func.coalesce(func.max(_table.c.revision), 0)).where(_table.c.model == bindparam("model"))
_names = select(_table.c.model).distinct().order_by(_table.c.model)
_all_looks = (
    select(_looks.c.body)
    .where(
        _looks.c.model == bindparam("model"),
        (_looks.c.revision >= bindparam("since")) | (_looks.c.move != "hold") | _looks.c.window.not_like("live-%"),
    )
    .order_by(_looks.c.event)
)
_rows = select(_looks.c.revision, _looks.c.window, _looks.c.body).where(_looks.c.model == bindparam("model"))
_newest_look = select(_looks.c.body).where(_looks.c.model == bindparam("model")).order_by(_looks.c.event.desc()).limit(1)


class SqlDeployments:
    """What is served (port `Deployments`)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def find(self, model: ModelName, revision: int | None = None) -> Deployment | None:
        """Find a revision, or the newest."""
        query = _newest if revision is None else _numbered
        with self._connections.reading() as connection:
            body = connection.scalar(query, {"model": model, "revision": revision})
        return _deployment.read(body) if body is not None else None

    def put(self, deployment: Deployment, event: Event) -> None:
        """Write revision N where N - 1 is the newest; the first is 1. Raises RevisionConflict."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is None:
                return
            last = connection.execute(_last, {"model": deployment.model}).scalar_one()
            if last != deployment.revision - 1:
                raise RevisionConflict(deployment.model, deployment.revision - 1, found=last)
            connection.execute(
                insert(_table),
                {
                    "model": deployment.model,
                    "revision": deployment.revision,
                    "champion": deployment.champion,
                    "challenger": deployment.challenger,
                    "since": deployment.since,
                    "event": serial,
                    "body": _deployment.write(deployment),
                },
            )

    def list(self, model: ModelName) -> Sequence[Deployment]:
        """List revisions, oldest first."""
        with self._connections.reading() as connection:
            return [_deployment.read(body) for body in connection.scalars(_all, {"model": model})]

    def names(self) -> Sequence[ModelName]:
        """List the models that are or were deployed, by name."""
        with self._connections.reading() as connection:
            return [ModelName(name) for name in connection.scalars(_names)]

    def add_look(self, look: RolloutLook, event: Event, *, note: tuple[str, bytes] | None = None) -> None:
        """Write a look, and a note with it where one is given: both, or where the event is there already, neither."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is not None:
                row = {
                    "model": look.model,
                    "revision": look.revision,
                    "window": look.window,
                    "move": look.move.value,
                    "looked_at": look.looked_at,
                    "event": serial,
                    "body": _look.write(look),
                }
                connection.execute(insert(_looks), row)
                if note is not None:
                    dialect.upsert(connection, schema.notes, row={"name": note[0], "value": note[1]})

    def newest_look(self, model: ModelName) -> RolloutLook | None:
        """Find the look that was written last."""
        with self._connections.reading() as connection:
            body = connection.scalar(_newest_look, {"model": model})
        return _look.read(body) if body is not None else None

    def looks(self, model: ModelName, *, live_since: int = 0) -> Sequence[RolloutLook]:
        """List looks, oldest first; of the live ones that decided nothing those since a revision."""
        with self._connections.reading() as connection:
            return [_look.read(body) for body in connection.scalars(_all_looks, {"model": model, "since": live_since})]

    def change_looks(self, model: ModelName, change: Callable[[RolloutLook], RolloutLook]) -> int:
        """Write looks again where `change` gives another; give how many. The events of looks have nothing of their rows."""
        with self._connections.writing() as connection:
            changed = 0
            for revision, window, body in connection.execute(_rows, {"model": model}).all():
                look = _look.read(body)
                if (new := change(look)) != look:
                    this = (_looks.c.model == model, _looks.c.revision == revision, _looks.c.window == window)
                    connection.execute(update(_looks).where(*this).values(body=_look.write(new)))
                    changed += 1
            return changed
