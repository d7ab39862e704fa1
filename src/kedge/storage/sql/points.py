"""Measured points: a number for each (run, key), its points in order, its latest point kept beside it.

The latest point is the greatest by (step, at, value), NaN counting as 0. Points are kept in their primary key alone, so
that the same point written twice is one point, and a series reads as one range of the tree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from kedge.domain.ids import RunId
from kedge.domain.tracking import Metric, Point
from kedge.errors import NotFound
from kedge.storage.sql.hot import Hot
from kedge.storage.sql.session import Row, Session, places

FEW = 8  # up to so many keys are looked up one by one

_OF_KEY = "SELECT id, step, at, value FROM series WHERE run = ? AND key = ?"
_OF_RUN = "SELECT key, id, step, at, value FROM series WHERE run = ?"
_ADD_SERIES = (
    "INSERT INTO series (run, key, experiment, step, at, value) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (run, key) DO NOTHING"
)
_ADD_POINT = "INSERT INTO points (series, at, step, value, nan) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_SET_LATEST = (
    "UPDATE series SET step = ?, at = ?, value = ?"
    " WHERE id = ? AND (step < ? OR (step = ? AND (at < ? OR (at = ? AND COALESCE(value, 0) < ?))))"
)
_ADD_OF_MODEL = (
    "INSERT INTO logged_model_metrics (model, key, at, step, value, nan, run, dataset_name, dataset_digest)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_READ = "SELECT at, step, CASE nan WHEN 0 THEN value END FROM points WHERE series = ?"
_IN_ORDER = "ORDER BY at, step, value, nan"

Newest = tuple[int, int, float, float]  # step, at, value as it is compared, value as it is
Latest = tuple[int, int, float | None]  # step, at, value; None is NaN


class SqlPoints:
    """Measured points (port `Points`)."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot

    def history(self, run: RunId, key: str, *, after: Point | None = None, limit: int) -> Sequence[Point]:
        """Read points in the order (at, step, value), those that come after one."""
        with self._hot.reading() as session:
            if (series := _series(session, run, key=key)) is None:
                return []
            if after is None:
                return _points(session.rows(f"{_READ} {_IN_ORDER} LIMIT ?", series, limit))
            at, step, value = after
            return _points(
                session.rows(
                    f"{_READ} AND (at, step, value, nan) > (?, ?, ?, ?) {_IN_ORDER} LIMIT ?",
                    series,
                    at,
                    step,
                    *stored(value),
                    limit,
                )
            )

    def between(
        self, run: RunId, key: str, *, start_step: int | None = None, end_step: int | None = None
    ) -> Sequence[Point]:
        """Read all points of a range of steps, both ends included, in the order (at, step, value)."""
        bounds = [(" AND step >= ?", start_step), (" AND step <= ?", end_step)]
        with self._hot.reading() as session:
            if (series := _series(session, run, key=key)) is None:
                return []
            where = "".join(text for text, bound in bounds if bound is not None)
            values = [bound for _, bound in bounds if bound is not None]
            return _points(session.rows(f"{_READ}{where} {_IN_ORDER}", series, *values))


def write_points(session: Session, run: str, *, experiment: str, metrics: Sequence[Metric]) -> None:
    """Write points of a run, and those that name a model to that model too."""
    newest: dict[str, Newest] = {}
    rows = []
    for metric in metrics:  # a thousand at a time: no calls in here
        key, at, step, value = metric.key, metric.at, metric.step, metric.value
        kept, nan = (value, 0) if value == value else (0.0, 1)  # noqa: PLR0124  # NaN alone differs from itself
        rows.append((key, at, step, kept, nan))
        last = newest.get(key)
        if last is None or step > last[0] or (step == last[0] and (at, kept) > last[1:3]):
            newest[key] = (step, at, kept, value)
    numbers, behind = _numbers(session, run, experiment=experiment, newest=newest)
    placed = [(numbers[key], at, step, value, nan) for key, at, step, value, nan in rows]
    # two who write the same points in other orders would wait for each other
    session.many(_ADD_POINT, sorted(placed) if session.postgresql else placed)
    session.many(
        _SET_LATEST,
        [
            (step, at, _plain(value), numbers[key], step, step, at, at, compared)
            for key, (step, at, compared, value) in sorted(newest.items())
            if key in behind
        ],
    )
    if of_models := [metric for metric in metrics if metric.model]:
        _write_of_models(session, run, metrics=of_models)


def latest_of(session: Session, runs: Sequence[str]) -> dict[str, dict[str, Latest]]:
    """Read the latest points of runs, by run and key."""
    found: dict[str, dict[str, Latest]] = {run: {} for run in runs}
    rows = session.rows(
        f"SELECT run, key, step, at, value FROM series WHERE run IN ({places(runs)}) ORDER BY run, key", *runs
    )
    for run, key, step, at, value in rows:
        found[run][key] = (step, at, value)
    return found


def add_keys(session: Session, experiment: str, *, subject: str, keys: Iterable[str]) -> None:
    """Note that runs of an experiment have these keys."""
    session.many(
        "INSERT INTO run_keys (experiment, subject, key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(experiment, subject, key) for key in sorted(keys)],
    )


def stored(value: float) -> tuple[float, int]:
    """Give a value as points keep it, and whether it is NaN."""
    return (0.0, 1) if math.isnan(value) else (value, 0)


def _numbers(session: Session, run: str, *, experiment: str, newest: dict[str, Newest]) -> tuple[dict[str, int], set[str]]:
    """Find or make the numbers of a run's keys; say which keys' latest points are behind."""
    known = _known(session, run, keys=newest)
    behind = {
        key for key, (_, step, at, value) in known.items() if (step, at, 0.0 if value is None else value) < newest[key][:3]
    }
    if fresh := sorted(newest.keys() - known.keys()):
        rows = [(run, key, experiment, newest[key][0], newest[key][1], _plain(newest[key][3])) for key in fresh]
        session.many(_ADD_SERIES, rows)
        add_keys(session, experiment, subject="metric", keys=fresh)
        known |= _known(session, run, keys=fresh)
        if session.postgresql:  # another transaction may have made some of them since
            behind |= set(fresh)
    return {key: row[0] for key, row in known.items()}, behind


def _known(session: Session, run: str, *, keys: Iterable[str]) -> dict[str, Row]:
    wanted = list(keys)
    if len(wanted) <= FEW:
        found = ((key, session.row(_OF_KEY, run, key)) for key in wanted)
        return {key: row for key, row in found if row is not None}
    asked = set(wanted)
    return {key: tuple(row) for key, *row in session.rows(_OF_RUN, run) if key in asked}


def _write_of_models(session: Session, run: str, *, metrics: Sequence[Metric]) -> None:
    models = sorted({str(metric.model) for metric in metrics})
    there = {row[0] for row in session.rows(f"SELECT id FROM logged_models WHERE id IN ({places(models)})", *models)}
    if missing := [model for model in models if model not in there]:
        raise NotFound(f"logged model {missing[0]!r} does not exist; create it before metrics of it are logged")
    session.many(
        _ADD_OF_MODEL,
        [(str(m.model), m.key, m.at, m.step, *stored(m.value), run, m.dataset_name, m.dataset_digest) for m in metrics],
    )


def _series(session: Session, run: str, *, key: str) -> int | None:
    row = session.row(_OF_KEY, run, key)
    return None if row is None else int(row[0])


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _points(rows: list[Row]) -> Sequence[Point]:
    if any(row[2] is None for row in rows):
        return [(at, step, math.nan if value is None else value) for at, step, value in rows]
    return rows
