"""Metrics: each a function of labels, answers and the decision threshold, with its losses row by row where it is a mean.

Labels are 0/1 or numbers, answers are the probability of 1 or numbers: float64 arrays (n,). Probabilities are clipped to
[1e-6, 1 - 1e-6] before a logarithm, so one sure and wrong answer costs 13.8 and not infinity. A metric that the rows
cannot define (ROC AUC of one class, anything of no rows) is NaN: the gate holds on it. To add one: a function and a
line in `METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kedge.domain.evaluation import Task
from kedge.errors import ConfigError

Vector = NDArray[np.float64]
CLIP = 1e-6
CALIBRATION_BINS = 10
DEFAULT_LOSS = {Task.CLASSIFICATION: "log_loss", Task.REGRESSION: "squared_error"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A metric: how it is measured, whether greater is better, and its losses by row (less is better) where it has them.

    `threshold` tells that it judges decisions, not answers.
    """

    name: str
    task: Task
    measure: Callable[[Vector, Vector, float], float]
    losses: Callable[[Vector, Vector, float], Vector] | None = None
    greater_is_better: bool = False
    threshold: bool = False

    def __call__(self, y: Vector, p: Vector, threshold: float = 0.5) -> float:
        """Measure. NaN where the rows do not define it."""
        return self.measure(y, p, threshold) if len(y) else float("nan")


def log_losses(y: Vector, p: Vector, threshold: float = 0.5) -> Vector:
    """Give -log of the probability that was given to what happened, row by row."""
    clipped = np.clip(p, CLIP, 1 - CLIP)
    losses: Vector = -np.log(np.where(y > 0.5, clipped, 1 - clipped))
    return losses


def squared_errors(y: Vector, p: Vector, threshold: float = 0.5) -> Vector:
    """Give the squared differences, row by row."""
    return np.square(p - y)


def absolute_errors(y: Vector, p: Vector, threshold: float = 0.5) -> Vector:
    """Give the absolute differences, row by row."""
    losses: Vector = np.abs(p - y)
    return losses


def mistakes(y: Vector, p: Vector, threshold: float = 0.5) -> Vector:
    """Give 1 where the decision at the threshold is wrong, else 0."""
    return np.not_equal(p >= threshold, y > 0.5).astype(np.float64)


def accuracy(y: Vector, p: Vector, threshold: float) -> float:
    """Give the share of right decisions."""
    return 1.0 - float(np.mean(mistakes(y, p, threshold)))


def precision(y: Vector, p: Vector, threshold: float) -> float:
    """Give the share of true ones among the rows decided as 1; NaN where none was."""
    chosen = p >= threshold
    return float(np.mean(y[chosen])) if chosen.any() else float("nan")


def recall(y: Vector, p: Vector, threshold: float) -> float:
    """Give the share of the true ones that were decided as 1; NaN where there is none."""
    positive = y > 0.5
    return float(np.mean(p[positive] >= threshold)) if positive.any() else float("nan")


def f1(y: Vector, p: Vector, threshold: float) -> float:
    """Give the harmonic mean of precision and recall; NaN where no row is 1 or decided as 1."""
    chosen, positive = p >= threshold, y > 0.5
    total = int(chosen.sum() + positive.sum())
    return 2.0 * float((chosen & positive).sum()) / total if total else float("nan")


def roc_auc(y: Vector, p: Vector, threshold: float = 0.5) -> float:
    """Give the probability that a true one is answered higher than a zero, ties half; NaN of one class (Mann-Whitney)."""
    positive = y > 0.5
    ones = int(positive.sum())
    if ones in (0, len(y)):
        return float("nan")
    _, place, counts = np.unique(p, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[place][positive].sum() - ones * (ones + 1) / 2) / (ones * (len(y) - ones)))


def average_precision(y: Vector, p: Vector, threshold: float = 0.5) -> float:
    """Give the precision at each new true one, averaged; tied answers count together. NaN where no row is 1."""
    ones = float((y > 0.5).sum())
    if ones == 0:
        return float("nan")
    _, place = np.unique(-p, return_inverse=True)
    hits, seen = np.bincount(place, weights=y), np.bincount(place)
    return float(np.sum(hits / ones * (np.cumsum(hits) / np.cumsum(seen))))


def calibration_error(y: Vector, p: Vector, threshold: float = 0.5) -> float:
    """Give the mean distance of answer and share of ones over ten bins of equal rows (expected calibration error)."""
    bins = np.array_split(np.argsort(p, kind="stable"), min(CALIBRATION_BINS, len(p)))
    return float(sum(abs(p[rows].sum() - y[rows].sum()) for rows in bins) / len(p))


def r2(y: Vector, p: Vector, threshold: float = 0.5) -> float:
    """Give the share of the labels' variance that is explained; NaN where all labels are the same."""
    spread = float(np.sum(np.square(y - y.mean())))
    return 1.0 - float(np.sum(np.square(p - y))) / spread if spread > 0 else float("nan")


def mean_of(losses: Callable[[Vector, Vector, float], Vector]) -> Callable[[Vector, Vector, float], float]:
    """Make the measure that is the mean of a loss."""
    return lambda y, p, threshold: float(np.mean(losses(y, p, threshold)))


def root_of(losses: Callable[[Vector, Vector, float], Vector]) -> Callable[[Vector, Vector, float], float]:
    """Make the measure that is the square root of the mean of a loss."""
    return lambda y, p, threshold: float(np.sqrt(np.mean(losses(y, p, threshold))))


_CLASSES, _NUMBERS = Task.CLASSIFICATION, Task.REGRESSION
METRICS: dict[str, Measure] = {
    metric.name: metric
    for metric in (
        Measure(name="log_loss", task=_CLASSES, measure=mean_of(log_losses), losses=log_losses),
        Measure(name="brier", task=_CLASSES, measure=mean_of(squared_errors), losses=squared_errors),
        Measure(name="roc_auc", task=_CLASSES, measure=roc_auc, greater_is_better=True),
        Measure(name="average_precision", task=_CLASSES, measure=average_precision, greater_is_better=True),
        Measure(name="calibration_error", task=_CLASSES, measure=calibration_error),
        Measure(name="accuracy", task=_CLASSES, measure=accuracy, losses=mistakes, greater_is_better=True, threshold=True),
        Measure(name="precision", task=_CLASSES, measure=precision, greater_is_better=True, threshold=True),
        Measure(name="recall", task=_CLASSES, measure=recall, greater_is_better=True, threshold=True),
        Measure(name="f1", task=_CLASSES, measure=f1, greater_is_better=True, threshold=True),
        Measure(name="squared_error", task=_NUMBERS, measure=mean_of(squared_errors), losses=squared_errors),
        Measure(name="rmse", task=_NUMBERS, measure=root_of(squared_errors), losses=squared_errors),
        Measure(name="absolute_error", task=_NUMBERS, measure=mean_of(absolute_errors), losses=absolute_errors),
        Measure(name="r2", task=_NUMBERS, measure=r2, greater_is_better=True),
    )
}


def metric_of(name: str, task: Task) -> Measure:
    """Find a metric by name. ConfigError where it is unknown or does not fit the task, with those that do."""
    found = METRICS.get(name)
    if found is None or found.task is not task:
        fitting = ", ".join(metric.name for metric in METRICS.values() if metric.task is task)
        raise ConfigError(f"[gate] {name!r} is not a metric for {task.value}; write one of: {fitting}")
    return found


def loss_name(name: str, task: Task) -> str:
    """Name the loss by which a project compares models: its gate's metric where that is a mean over rows.

    A metric without losses by row (ROC AUC) cannot be compared in blocks: the task's own loss stands in. `log_loss`, the
    setting's default, becomes `squared_error` where the label is a number.
    """
    if task is Task.REGRESSION and name == DEFAULT_LOSS[Task.CLASSIFICATION]:
        return DEFAULT_LOSS[task]
    return name if metric_of(name, task).losses is not None else DEFAULT_LOSS[task]


def loss_rows(metric: str, y: Vector, *, p: Vector, threshold: float = 0.5) -> Vector:
    """Give the losses row by row, less is better: float64 (n,). ConfigError for a metric that is no mean over rows."""
    found = METRICS.get(metric)
    if found is None or found.losses is None:
        have = ", ".join(name for name, each in METRICS.items() if each.losses is not None)
        raise ConfigError(f"{metric!r} has no loss by row; use one of: {have}")
    return found.losses(y, p, threshold)
