"""Bands: how far a measure strays over blocks of time. Rows of one day rise and fall together, so days are what counts.

Many days: delete one day at a time (jackknife), Student's t over the days. One or a few days: their measures stray as
the days before did, so the spread of the recent days' own measures, over the root of their number.
"""

from __future__ import annotations

import numpy as np

from kedge.domain.evaluation import Task
from kedge.domain.quality import Banded
from kedge.evaluation.metrics import Vector
from kedge.monitoring.quality.measures import measured
from kedge.monitoring.quality.tally import Ruler, Sums

FEWEST_DAYS = 5
LEVEL = 0.975
LEAST_SHARE = 0.25
"""A day with a smaller share of the median day's rows says little of how days stray."""
BOUNDS = dict.fromkeys(
    (
        "brier",
        "accuracy",
        "precision",
        "recall",
        "f1",
        "roc_auc",
        "average_precision",
        "calibration_error",
        "ndcg",
        "precision_at",
    ),
    (0.0, 1.0),
) | dict.fromkeys(("log_loss", "squared_error", "rmse", "absolute_error"), (0.0, np.inf))


def quantile(days: int) -> float:
    """Give Student's 97.5 % quantile over so many days."""
    from scipy.special import stdtrit

    return float(stdtrit(days - 1, LEVEL))


def over_days(task: Task, days: Sums, *, ruler: Ruler) -> dict[str, Banded]:
    """Measure days together, float64 (days, width), each measure with its band; undefined ones are left out."""
    days = days[days[:, 0] > 0]
    if not len(days):
        return {}
    whole = measured(task, days.sum(axis=0, keepdims=True), ruler=ruler)
    count = len(days)
    if count < FEWEST_DAYS:
        return {name: Banded(float(value[0])) for name, value in whole.items() if np.isfinite(value[0])}
    without = measured(task, days.sum(axis=0) - days, ruler=ruler)
    return {
        name: _banded(name, float(value[0]), half=quantile(count) * _jackknife_error(without[name]))
        for name, value in whole.items()
        if np.isfinite(value[0])
    }


def _jackknife_error(without: Vector) -> float:
    kept = without[np.isfinite(without)]
    if kept.size < FEWEST_DAYS:
        return float("nan")
    return float(np.sqrt((kept.size - 1) / kept.size * np.square(kept - kept.mean()).sum()))


class Spread:
    """How far the measures of single days stray, learnt from recent days."""

    def __init__(self, task: Task, days: Sums, *, ruler: Ruler) -> None:
        rows = days[:, 0]
        kept = days[rows >= LEAST_SHARE * np.median(rows[rows > 0])] if (rows > 0).any() else days[:0]
        self._days = len(kept)
        self._measured = measured(task, kept, ruler=ruler) if self._days >= FEWEST_DAYS else {}

    def banded(self, values: dict[str, Vector], place: int, *, days: int) -> dict[str, Banded]:
        """Give the measures at a place with the band of so many days."""
        return {
            name: _banded(name, float(value[place]), half=self._half(name) / np.sqrt(max(days, 1)))
            for name, value in values.items()
            if np.isfinite(value[place])
        }

    def _half(self, name: str) -> float:
        found = self._measured.get(name, np.zeros(0))
        found = found[np.isfinite(found)]
        return quantile(found.size) * float(found.std(ddof=1)) if found.size >= FEWEST_DAYS else float("nan")


def _banded(name: str, value: float, *, half: float) -> Banded:
    if not np.isfinite(half):
        return Banded(value)
    low, high = BOUNDS.get(name, (-np.inf, np.inf))
    return Banded(value, float(max(low, value - half)), float(min(high, value + half)))


def mean_over_days(totals: Vector, rows: Vector) -> Banded | None:
    """Give a mean per row with its band over days: the ratio of sums, linearised. None without rows."""
    kept = rows > 0
    totals, rows = totals[kept], rows[kept]
    if not rows.size:
        return None
    value = float(totals.sum() / rows.sum())
    if rows.size < FEWEST_DAYS:
        return Banded(value)
    strayed = (totals - value * rows) / rows.mean()
    half = quantile(rows.size) * float(strayed.std(ddof=1)) / np.sqrt(rows.size)
    return Banded(value, float(value - half), float(value + half))
