"""Runs as lines of tables, read narrowly: of params, tags and latest metrics only the keys that were asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from kedge.domain.finding import Subject
from kedge.domain.ids import ExperimentId, ModelName, RunId
from kedge.domain.overview import RunGlance, RunKey
from kedge.domain.tracking import PARENT_TAG, Lifecycle, RunStatus
from kedge.storage.sql.hot import Hot
from kedge.storage.sql.session import Session, from_us, maybe_time, places

T = TypeVar("T")

_LINES = "SELECT id, experiment, name, user_name, status, lifecycle, started_at, ended_at FROM runs WHERE id IN ({})"
_VALUES = "SELECT run, key, value FROM {} WHERE run IN ({}) AND key IN ({})"
_CHILDREN = (
    "SELECT run_tags.run FROM run_tags JOIN runs ON runs.id = run_tags.run"
    " WHERE run_tags.key = ? AND run_tags.value = ? AND runs.lifecycle = 'active' ORDER BY runs.started_at, runs.id LIMIT ?"
)

_VERSIONS = "SELECT model, number FROM model_versions WHERE run = ? AND deleted_at IS NULL ORDER BY model, number"
_READERS = (
    "SELECT run_datasets.run, input_datasets.digest, run_datasets.context FROM input_datasets"
    " JOIN run_datasets ON run_datasets.dataset = input_datasets.id JOIN runs ON runs.id = run_datasets.run"
    " WHERE input_datasets.name = ? AND runs.lifecycle = 'active' ORDER BY runs.started_at DESC, runs.id LIMIT ?"
)


class SqlOverviews:
    """Runs as lines of tables (port `Overviews`)."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot

    def rows(self, runs: Sequence[RunId], keys: Sequence[RunKey]) -> Sequence[RunGlance]:
        """Read those that exist, in the order asked for, with the values of these keys."""
        if not runs:
            return []
        with self._hot.reading() as session:
            lines = {row[0]: row[1:] for row in session.rows(_LINES.format(places(runs)), *runs)}
            metrics = _values(session, "series", runs=runs, keys=_of(keys, Subject.METRIC), read=_measured)
            params = _values(session, "run_params", runs=runs, keys=_of(keys, Subject.PARAM), read=str)
            tags = _values(session, "run_tags", runs=runs, keys=_of(keys, Subject.TAG), read=str)
        found = []
        for run in runs:
            if (line := lines.get(run)) is None:
                continue
            experiment, name, user, status, lifecycle, started, ended = line
            found.append(
                RunGlance(
                    id=run,
                    experiment=ExperimentId(experiment),
                    name=name,
                    user=user,
                    status=RunStatus(status),
                    lifecycle=Lifecycle(lifecycle),
                    started_at=from_us(started),
                    ended_at=maybe_time(ended),
                    metrics=metrics.get(run, {}),
                    params=params.get(run, {}),
                    tags=tags.get(run, {}),
                )
            )
        return found

    def children(self, run: RunId, *, limit: int) -> Sequence[RunId]:
        """List the active runs nested in a run, oldest first."""
        with self._hot.reading() as session:
            return [RunId(row[0]) for row in session.rows(_CHILDREN, PARENT_TAG, run, limit)]

    def starts(self, runs: Sequence[RunId]) -> Mapping[RunId, int]:
        """Say when runs began, in milliseconds since 1970."""
        if not runs:
            return {}
        with self._hot.reading() as session:
            rows = session.rows(f"SELECT id, started_at FROM runs WHERE id IN ({places(runs)})", *runs)
        return {RunId(run): started // 1000 for run, started in rows}

    def versions_of(self, run: RunId) -> Sequence[tuple[ModelName, int]]:
        """List the registered versions that were made of a run and are there still."""
        with self._hot.reading() as session:
            rows = session.rows(_VERSIONS, run)
        return [(ModelName(model), number) for model, number in rows]

    def readers(self, dataset: str, *, limit: int) -> Sequence[tuple[RunId, str, str]]:
        """List the active runs whose client said that they read a dataset of this name, newest first."""
        with self._hot.reading() as session:
            rows = session.rows(_READERS, dataset, limit)
        return [(RunId(run), digest, context) for run, digest, context in rows]


def _of(keys: Sequence[RunKey], subject: Subject) -> list[str]:
    return sorted({one.key for one in keys if one.subject is subject})


def _measured(value: float | None) -> float:
    return math.nan if value is None else value


def _values(
    session: Session, table: str, *, runs: Sequence[RunId], keys: Sequence[str], read: Callable[..., T]
) -> dict[str, dict[str, T]]:
    """Read the values of some keys, by run."""
    found: dict[str, dict[str, T]] = {}
    if keys:
        for run, key, value in session.rows(_VALUES.format(table, places(runs), places(keys)), *runs, *keys):
            found.setdefault(run, {})[key] = read(value)
    return found
