"""Feasibility: does this data answer the question at all, before anybody builds a model for it?

Rows are put in order of time and cut into five parts. Each part but the first is answered by a plain model (histogram
gradient boosting) of all rows before it, and held against the best constant answer for these very rows. The difference of
the losses is judged over blocks of time (`compare.py`): rows are not independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from kedge.data.quality.labels import LabelTable, task_of
from kedge.data.source import column_type, every
from kedge.domain.data import Column, ColumnType
from kedge.domain.evaluation import Outcome, Task
from kedge.domain.labels import Feasibility, Fold
from kedge.domain.registry import Signature
from kedge.errors import RequestInvalid
from kedge.evaluation.baseline import hardest_constant
from kedge.evaluation.compare import DAY_MICROSECONDS, compare
from kedge.evaluation.metrics import DEFAULT_LOSS, Vector, loss_rows, roc_auc
from kedge.features.encode import encode_frame

FOLDS = 5
LEAST_ROWS = 200
_MOST_ROWS = 100_000
_SURE = 1.645  # standard errors: 95 % one-sided
_BLOCKS = 20
_MOST_CATEGORIES = 200


@dataclass(frozen=True)
class _Answers:
    """What was answered: the labels, the answers, the time of each row as microseconds, and the folds."""

    y: Vector
    p: Vector
    at: np.ndarray
    folds: tuple[Fold, ...]


def feasibility(table: LabelTable, *, seed: int = 0) -> Feasibility:
    """Say whether a table's features tell more of its label than the best constant does.

    Raises RequestInvalid for a label of many classes, or too few rows to say anything.
    """
    rows, y, task = _rows(table)
    metric = DEFAULT_LOSS[task]
    found = _answers(rows, y, table=table, task=task, metric=metric, seed=seed)
    constant = hardest_constant(metric, found.y)
    losses = loss_rows(metric, found.y, p=found.p)
    plain = loss_rows(metric, found.y, p=np.full(len(found.y), constant.answer))
    compared = compare(losses, plain, blocks=_blocks(found.at))
    outcome, reason = _verdict(compared.difference, compared.error, constant=constant.loss, blocks=compared.blocks)
    return Feasibility(
        label=table.label,
        task=task,
        metric=metric,
        outcome=outcome,
        reason=reason,
        rows=len(found.y),
        loss=float(losses.mean()),
        constant=constant.loss,
        gain=-compared.relative if constant.loss > 0 else 0.0,
        error=compared.error,
        blocks=compared.blocks,
        folds=found.folds,
        roc_auc=roc_auc(found.y, found.p) if task is Task.CLASSIFICATION else None,
    )


def _rows(table: LabelTable) -> tuple[pl.DataFrame, Vector, Task]:
    """Read labelled rows in order of time: all, or an even sample; and the label of each as a number."""
    label, schema = pl.col(table.label), table.rows.collect_schema()
    names = [table.label, *table.features, *([table.time] if table.time else [])]
    known = table.rows.filter(label.is_not_null()).select(names)
    if table.time:
        known = known.filter(pl.col(table.time).is_not_null())
    count = int(known.select(pl.len()).collect(engine="streaming").item())
    step = -(-count // _MOST_ROWS) if count else 1
    rows = every(known, step).collect(engine="streaming")
    if table.time:
        rows = rows.sort(table.time, maintain_order=True)
    values = rows[table.label].unique().sort()
    task = task_of(schema[table.label], len(values))
    if len(rows) < LEAST_ROWS or len(values) < 2:
        raise RequestInvalid(
            f"{len(rows)} labelled rows with {len(values)} different labels say nothing yet; {LEAST_ROWS} rows with two do"
        )
    if task is Task.REGRESSION:
        return rows, rows[table.label].cast(pl.Float64).to_numpy(), task
    if len(values) > 2:
        raise RequestInvalid(f"label {table.label!r} has {len(values)} classes; feasibility is asked of two, or of a number")
    return rows, (rows[table.label] == values[1]).cast(pl.Float64).to_numpy(), task


def _answers(rows: pl.DataFrame, y: Vector, *, table: LabelTable, task: Task, metric: str, seed: int) -> _Answers:
    """Answer each part of the rows, but the first, from the rows before it."""
    x = encode_frame(_signature(rows, table, task=task), _readable(rows, table))
    ends = [len(rows) * fold // FOLDS for fold in range(FOLDS + 1)]
    answers, folds = np.full(len(rows), np.nan), []
    for start, end in pairwise(ends[1:]):
        answers[start:end] = _fitted(x[:start], y[:start], task=task, seed=seed)(x[start:end])
        here = y[start:end]
        loss = float(loss_rows(metric, here, p=answers[start:end]).mean())
        constant = float(loss_rows(metric, here, p=np.full(len(here), y[:start].mean())).mean())
        folds.append(Fold(rows=end - start, trained_on=start, loss=loss, constant=constant))
    at = _moments(rows, table)
    return _Answers(y[ends[1] :], answers[ends[1] :], at[ends[1] :], tuple(folds))


def _fitted(x: np.ndarray, y: Vector, *, task: Task, seed: int) -> Any:
    """Fit the plain model, and give what answers with it."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    with np.errstate(invalid="ignore"):
        differ = np.fmin.reduce(x, axis=0) < np.fmax.reduce(x, axis=0)
    if len(np.unique(y)) < 2 or not differ.any():
        return lambda rows: np.full(len(rows), y.mean())
    x = x[:, differ]  # a column of one value, or of none, tells nothing, and cannot be binned
    given = {"max_iter": 60, "max_leaf_nodes": 15, "max_bins": 63, "early_stopping": False, "random_state": seed}
    if task is Task.REGRESSION:
        number = HistGradientBoostingRegressor(**given).fit(x, y)
        return lambda rows: number.predict(rows[:, differ])
    model = HistGradientBoostingClassifier(**given).fit(x, y)
    return lambda rows: model.predict_proba(rows[:, differ])[:, 1]


def _readable(rows: pl.DataFrame, table: LabelTable) -> pl.DataFrame:
    """Give the features as a model reads them: of times nothing; of text the categories that are frequent."""
    kept = [name for name in table.features if column_type(rows.schema[name]) is not ColumnType.TIME]
    frame = rows.select(name for name in kept if not rows.schema[name].is_nested() and rows.schema[name] != pl.Binary)
    if not frame.width:
        raise RequestInvalid(f"dataset {table.dataset!r} has no column to learn {table.label!r} from")
    return frame


def _signature(rows: pl.DataFrame, table: LabelTable, *, task: Task) -> Signature:
    columns = []
    for name, dtype in _readable(rows, table).schema.items():
        kind = column_type(dtype)
        if kind is ColumnType.STRING:
            counted = rows[name].cast(pl.String).drop_nulls().value_counts(sort=True).head(_MOST_CATEGORIES)
            columns.append(Column(name=name, type=kind, categories=tuple(sorted(counted.to_series()))))
        else:
            columns.append(Column(name=name, type=kind))
    return Signature(inputs=tuple(columns), task=task, output=table.label, positive="1")


def _moments(rows: pl.DataFrame, table: LabelTable) -> np.ndarray:
    """Give each row's time in microseconds; without a time, its place."""
    if not table.time:
        return np.arange(len(rows), dtype=np.int64)
    time = rows[table.time]
    if not time.dtype.is_temporal():
        return time.cast(pl.Float64).rank("dense").cast(pl.Int64).to_numpy()
    return time.cast(pl.Datetime("us")).dt.epoch("us").to_numpy()


def _blocks(at: np.ndarray) -> np.ndarray:
    """Cut time into blocks: days, or where there are few of them (or no times), twenty spans of equal rows."""
    days = at // DAY_MICROSECONDS
    if len(np.unique(days)) >= _BLOCKS // 2:
        return np.asarray(days, dtype=np.int64)
    return np.asarray(np.arange(len(at)) * _BLOCKS // len(at), dtype=np.int64)


def _verdict(difference: float, error: float, *, constant: float, blocks: int) -> tuple[Outcome, str]:
    share = f"{abs(difference) / constant:.1%} of the constant's loss" if constant > 0 else f"{abs(difference):.3g}"
    over = f"over {blocks} blocks of time"
    if not np.isfinite(error):
        return Outcome.HELD, "there are too few blocks of time to say"
    if difference + _SURE * error < 0:
        return Outcome.PASSED, f"the features answer better than the best constant, by {share}, {over}"
    if difference - _SURE * error > 0:
        return Outcome.REFUSED, f"the best constant answers better than the features do, by {share}, {over}"
    return (
        Outcome.HELD,
        f"no difference to the best constant is sure: {share} {'less' if difference < 0 else 'more'}, {over}",
    )
