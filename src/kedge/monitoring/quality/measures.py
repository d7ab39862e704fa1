"""The measures of a tally, many tallies at once: each a function of sums, NaN where the rows do not define it.

The names are those of `evaluation/metrics.py`, which measures the same by row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kedge.domain.evaluation import Task
from kedge.evaluation.metrics import CALIBRATION_BINS, METRICS, Vector
from kedge.monitoring.quality.tally import GRID, MIDDLES, Ruler, Sums, error_middles, head_of

BY_ROW = ("roc_auc", "average_precision", "calibration_error")
"""What rows that are at hand are measured by exactly."""
QUANTILES = {"absolute_error_p50": 0.5, "absolute_error_p90": 0.9, "absolute_error_p99": 0.99}


def measured(task: Task, sums: Sums, *, ruler: Ruler) -> dict[str, Vector]:
    """Measure tallies, float64 (k, width): by name float64 (k,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = _heads(task, sums) | (_of_cells(sums) if task is Task.CLASSIFICATION else _of_errors(sums, ruler))
    return found


def by_row(task: Task, sums: Sums, *, y: Vector, p: Vector, ruler: Ruler, threshold: float) -> dict[str, Vector]:
    """Measure one tally, float64 (1, width), of rows that are at hand: what their order counts in, by row."""
    found = measured(task, sums, ruler=ruler)
    if task is Task.CLASSIFICATION and y.size:
        found |= {name: np.array([METRICS[name](y, p, threshold)]) for name in BY_ROW}
    return found


def measured_heads(task: Task, sums: Sums) -> dict[str, Vector]:
    """Measure the heads of tallies alone, float64 (k, head): what needs no cells."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _heads(task, sums)


def bias_of(task: Task, sums: Sums) -> Vector:
    """Give the mean of truth less answer of tallies or heads: float64 (k,)."""
    head = _named(task, sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = head["truths"] - head["answers"] if task is Task.CLASSIFICATION else -head["errors"]
        bias: Vector = total / head["rows"]
    return bias


def _named(task: Task, sums: Sums) -> dict[str, Vector]:
    return {name: sums[:, place] for place, name in enumerate(head_of(task))}


def _heads(task: Task, sums: Sums) -> dict[str, Vector]:
    head = _named(task, sums)
    found = _classes(head) if task is Task.CLASSIFICATION else _numbers(head)
    if head["rankings"].any():
        found |= {name: head[name] / head["rankings"] for name in ("ndcg", "precision_at")}
    return found


def _classes(head: dict[str, Vector]) -> dict[str, Vector]:
    rows, hits = head["rows"], head["hits"]
    chosen, positive = hits + head["false_alarms"], hits + head["misses"]
    return {
        "log_loss": head["log_loss"] / rows,
        "brier": head["brier"] / rows,
        "accuracy": (hits + head["rest"]) / rows,
        "precision": hits / chosen,
        "recall": hits / positive,
        "f1": 2 * hits / (chosen + positive),
    }


def _numbers(head: dict[str, Vector]) -> dict[str, Vector]:
    rows = head["rows"]
    spread = head["truths_squared"] - np.square(head["truths"]) / rows
    seen = np.where(spread > 1e-12 * head["truths_squared"], spread, np.nan)
    return {
        "squared_error": head["squared"] / rows,
        "rmse": np.sqrt(head["squared"] / rows),
        "absolute_error": head["absolute"] / rows,
        "bias": -head["errors"] / rows,
        "r2": 1 - head["squared"] / seen,
    }


def cells_of(sums: Sums) -> tuple[Sums, Sums]:
    """Give the cells of the rows that are 0, and of those that are 1: float64 (k, GRID) each."""
    first = len(head_of(Task.CLASSIFICATION))
    return sums[:, first : first + GRID], sums[:, first + GRID : first + 2 * GRID]


def _of_cells(sums: Sums) -> dict[str, Vector]:
    zeros, ones = cells_of(sums)
    n0, n1 = zeros.sum(axis=1), ones.sum(axis=1)
    below = np.cumsum(zeros, axis=1) - zeros
    area = (ones * (below + zeros / 2)).sum(axis=1) / (n0 * n1)
    hits, seen = np.cumsum(ones[:, ::-1], axis=1), np.cumsum((zeros + ones)[:, ::-1], axis=1)
    precise = np.where(seen > 0, hits / np.where(seen > 0, seen, 1.0), 0.0)
    return {
        "roc_auc": area,
        "average_precision": (ones[:, ::-1] * precise).sum(axis=1) / n1,
        "calibration_error": _calibration_error(sums),
    }


def reliability(sums: Sums) -> tuple[Sums, Sums, Sums]:
    """Part each tally's rows into ten bins of like answers and about equal rows: float64 (k, 10) each of the rows, the
    summed answers, the summed truths. Bins may be empty."""
    zeros, ones = cells_of(sums)
    rows, head = zeros + ones, _named(Task.CLASSIFICATION, sums)
    total = np.maximum(head["rows"], 1e-300)[:, None]
    moved = (head["answers"][:, None] - (rows @ MIDDLES)[:, None]) / total  # what the middles are off by on the whole
    place = np.minimum(
        ((np.cumsum(rows, axis=1) - rows / 2) / total * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1
    )
    place += np.arange(len(sums))[:, None] * CALIBRATION_BINS
    counted, answers, truths = (
        np.bincount(place.ravel(), weights=weights.ravel(), minlength=len(sums) * CALIBRATION_BINS).astype(np.float64)
        for weights in (rows, rows * (MIDDLES + moved), ones)
    )
    shape = (len(sums), CALIBRATION_BINS)
    return counted.reshape(shape), answers.reshape(shape), truths.reshape(shape)


def _calibration_error(sums: Sums) -> Vector:
    rows, answers, truths = reliability(sums)
    error: Vector = np.abs(answers - truths).sum(axis=1) / rows.sum(axis=1)
    return error


def slope_of(sums: Vector) -> float | None:
    """Fit the truth of one tally on the logit of the answer, and give the slope; None where it cannot be fitted."""
    zeros, ones = (cells[0] for cells in cells_of(sums[None]))
    rows = zeros + ones
    if min(zeros.sum(), ones.sum()) < CALIBRATION_BINS or np.count_nonzero(rows) < 3:
        return None
    logit = np.log(MIDDLES / (1 - MIDDLES))
    x = np.stack([np.ones_like(logit), logit])
    fit = np.array([0.0, 1.0])
    for _ in range(25):
        p = 1 / (1 + np.exp(-np.clip(fit @ x, -30, 30)))
        bent = (x * (rows * p * (1 - p))) @ x.T
        if abs(np.linalg.det(bent)) < 1e-12:
            return None
        step = np.linalg.solve(bent, x @ (ones - rows * p))
        fit = fit + step
        if np.abs(step).max() < 1e-8:
            return float(fit[1])
    return None


def _of_errors(sums: Sums, ruler: Ruler) -> dict[str, Vector]:
    cells = sums[:, len(head_of(Task.REGRESSION)) :]
    middles = error_middles(ruler.scale)
    before = np.cumsum(cells, axis=1)
    total = before[:, -1:]
    found = {}
    for name, share in QUANTILES.items():
        place: NDArray[np.intp] = (before < share * total).sum(axis=1)
        found[name] = np.where(total[:, 0] > 0, middles[np.minimum(place, middles.size - 1)], np.nan)
    return found
