"""Experiments: their names, tags and lifecycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from kedge.domain.events import Event
from kedge.domain.ids import ExperimentId
from kedge.domain.tracking import Experiment, Lifecycle, RunCount, RunKeys
from kedge.errors import NameTaken, NotFound, WasDeleted
from kedge.storage.sql.chain import append
from kedge.storage.sql.hot import Hot
from kedge.storage.sql.session import Row, Session, chunks, from_us, maybe_time, places, to_us

_COLUMNS = "SELECT id, name, lifecycle, created_at, updated_at FROM experiments"
_DELETE_RUNS = (
    "UPDATE runs SET lifecycle = 'deleted', deleted_at = ?, deleted_with = ? WHERE experiment = ? AND lifecycle = 'active'"
)
_RESTORE_RUNS = (
    "UPDATE runs SET lifecycle = 'active', deleted_at = NULL, deleted_with = NULL WHERE experiment = ? AND deleted_with = ?"
)


class SqlExperiments:
    """Experiments (port `Experiments`)."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot

    def add(self, experiment: Experiment, event: Event) -> None:
        """Write a new experiment. Raises NameTaken."""
        with self._hot.writing() as session:
            if (serial := append(session, event)) is None:
                return
            added = session.run(
                "INSERT INTO experiments (id, name, lifecycle, created_at, updated_at, event) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (name) DO NOTHING",
                experiment.id,
                experiment.name,
                experiment.lifecycle.value,
                to_us(experiment.created_at),
                to_us(experiment.updated_at),
                serial,
            )
            if not added:
                raise _taken(session, experiment.name)
            write_tags(session, "experiment", owner=experiment.id, tags=experiment.tags)

    def get(self, experiment: ExperimentId) -> Experiment:
        """Read an experiment. Raises NotFound."""
        if found := self.read([experiment]):
            return found[0]
        raise _missing(experiment)

    def find(self, name: str) -> Experiment | None:
        """Find the experiment of this name, deleted or not."""
        with self._hot.reading() as session:
            rows = session.rows(f"{_COLUMNS} WHERE name = ?", name)
            return next(iter(_experiments(session, rows)), None)

    def read(self, experiments: Sequence[ExperimentId]) -> Sequence[Experiment]:
        """Read those that exist, in the order asked for."""
        found: dict[str, Experiment] = {}
        with self._hot.reading() as session:
            for some in chunks(experiments):
                rows = session.rows(f"{_COLUMNS} WHERE id IN ({places(some)})", *some)
                found |= {one.id: one for one in _experiments(session, rows)}
        return [found[one] for one in experiments if one in found]

    def rename(self, experiment: ExperimentId, name: str, *, event: Event) -> None:
        """Give another name. Raises NameTaken, WasDeleted."""
        with self._hot.writing() as session:
            require_experiment(session, experiment)
            taken = session.row("SELECT id FROM experiments WHERE name = ? AND id <> ?", name, experiment)
            if taken is not None:
                raise _taken(session, name)
            if (serial := append(session, event)) is not None:
                session.run(
                    "UPDATE experiments SET name = ?, updated_at = ?, event = ? WHERE id = ?",
                    name,
                    to_us(event.at),
                    serial,
                    experiment,
                )

    def mark(self, experiment: ExperimentId, lifecycle: Lifecycle, *, event: Event) -> None:
        """Delete with its runs, or restore with those runs that went with it; nothing happens where it is so already."""
        at = to_us(event.at)
        with self._hot.writing() as session:
            if _lifecycle(session, experiment) == lifecycle.value or (serial := append(session, event)) is None:
                return
            session.run(
                "UPDATE experiments SET lifecycle = ?, updated_at = ?, event = ? WHERE id = ?",
                lifecycle.value,
                at,
                serial,
                experiment,
            )
            if lifecycle is Lifecycle.DELETED:
                session.run(_DELETE_RUNS, at, experiment, experiment)
            else:
                session.run(_RESTORE_RUNS, experiment, experiment)

    def tag(self, experiment: ExperimentId, tags: Mapping[str, str | None], *, at: datetime) -> None:
        """Set tags, or drop those whose value is None. Raises WasDeleted; NotFound for a tag to drop that is not there."""
        with self._hot.writing() as session:
            require_experiment(session, experiment)
            write_tags(session, "experiment", owner=experiment, tags=tags)
            session.run("UPDATE experiments SET updated_at = ? WHERE id = ?", to_us(at), experiment)

    def counts(self, experiments: Sequence[ExperimentId]) -> Mapping[ExperimentId, RunCount]:
        """Count the active runs of each."""
        if not experiments:
            return {}
        with self._hot.reading() as session:
            rows = session.rows(
                "SELECT experiment, COUNT(*), MAX(started_at), COUNT(*) FILTER (WHERE status = 'running'),"
                " COUNT(*) FILTER (WHERE status = 'failed') FROM runs"
                f" WHERE lifecycle = 'active' AND experiment IN ({places(experiments)}) GROUP BY experiment",
                *experiments,
            )
        found = {ExperimentId(one): RunCount(number, maybe_time(newest), *rest) for one, number, newest, *rest in rows}
        return {one: found.get(one, RunCount()) for one in experiments}

    def keys(self, experiments: Sequence[ExperimentId]) -> RunKeys:
        """List the keys of metrics, params and tags that any of their runs has or had."""
        if not experiments:
            return RunKeys()
        with self._hot.reading() as session:
            rows = session.rows(
                f"SELECT DISTINCT subject, key FROM run_keys WHERE experiment IN ({places(experiments)})", *experiments
            )
        keys: dict[str, list[str]] = {"metric": [], "param": [], "tag": []}
        for subject, key in sorted(rows):
            keys[subject].append(key)
        return RunKeys(metrics=tuple(keys["metric"]), params=tuple(keys["param"]), tags=tuple(keys["tag"]))


def require_experiment(session: Session, experiment: str) -> None:
    """Raise NotFound where there is no such experiment, WasDeleted where it is deleted."""
    if _lifecycle(session, experiment) != Lifecycle.ACTIVE.value:
        raise WasDeleted("experiment", experiment)


def write_tags(session: Session, kind: str, *, owner: str, tags: Mapping[str, str | None]) -> None:
    """Set the tags of an experiment, run or logged model, or drop those whose value is None. Raises NotFound."""
    table, column = _TAGS[kind]
    session.many(
        f"INSERT INTO {table} ({column}, key, value) VALUES (?, ?, ?)"
        f" ON CONFLICT ({column}, key) DO UPDATE SET value = excluded.value",
        [(owner, key, value) for key, value in sorted(tags.items()) if value is not None],
    )
    for key in (key for key, value in tags.items() if value is None):
        if not session.run(f"DELETE FROM {table} WHERE {column} = ? AND key = ?", owner, key):
            raise NotFound(f"{kind} {owner!r} has no tag {key!r}")


_TAGS = {
    "experiment": ("experiment_tags", "experiment"),
    "run": ("run_tags", "run"),
    "logged model": ("logged_model_tags", "model"),
}


def _lifecycle(session: Session, experiment: str) -> str:
    row = session.row("SELECT lifecycle FROM experiments WHERE id = ?", experiment)
    if row is None:
        raise _missing(experiment)
    return str(row[0])


def _taken(session: Session, name: str) -> NameTaken:
    row = session.row("SELECT lifecycle FROM experiments WHERE name = ?", name)
    return NameTaken("experiment", name, deleted=row is not None and row[0] == Lifecycle.DELETED.value)


def _experiments(session: Session, rows: list[Row]) -> list[Experiment]:
    tags: dict[str, dict[str, str]] = {row[0]: {} for row in rows}
    if rows:
        found = session.rows(
            f"SELECT experiment, key, value FROM experiment_tags WHERE experiment IN ({places(rows)})", *tags
        )
        for experiment, key, value in sorted(found):
            tags[experiment][key] = value
    return [
        Experiment(
            id=id,
            name=name,
            lifecycle=Lifecycle(lifecycle),
            created_at=from_us(created),
            updated_at=from_us(updated),
            tags=tags[id],
        )
        for id, name, lifecycle, created, updated in rows
    ]


def _missing(experiment: str) -> NotFound:
    message = f"experiment {experiment!r} does not exist; search the experiments to see which do"
    return NotFound(message, what="experiment", id=experiment)
