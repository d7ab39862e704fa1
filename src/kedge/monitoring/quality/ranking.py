"""Requests as rankings: their rows in the order of the answers, held against their truths, once all of them are known.

Rows with the same answer stand in no order, so each of their places counts as their mean gain (as scikit-learn does).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from kedge.domain.durations import floor_to
from kedge.domain.evaluation import Task
from kedge.evaluation.metrics import Vector
from kedge.monitoring.quality.losses import Losses
from kedge.monitoring.quality.tally import Sums, head_of
from kedge.monitoring.truth.join_labels import Answered

LEAST_ROWS = 2


def add_rankings(
    sums: Sums,
    losses: Losses,
    *,
    task: Task,
    starts: Sequence[datetime],
    unit: timedelta,
    at: int,
    upto: datetime,
) -> None:
    """Add the requests whose last truth is among newly known rows to the tallies of their blocks, in place: their number,
    their summed NDCG and precision at a place."""
    place = {start: index for index, start in enumerate(starts)}
    first = head_of(task).index("rankings")
    requests = losses.served.requests
    for request in np.unique(losses.request[losses.usable]).tolist():
        answered = requests[request]
        found = _complete(answered, upto)
        if found is None:
            continue
        y, p = found
        sums[place[floor_to(answered.at, unit)], first : first + 3] += (1.0, ndcg(y, p, at=at), precision_at(y, p, at=at))


def ndcg(y: Vector, p: Vector, *, at: int) -> float:
    """Give the discounted gain of the first places over the greatest there could be (Jaervelin, Kekaelaeinen, TOIS 20(4),
    2002); 0 where there is nothing to gain."""
    weights = 1 / np.log2(np.arange(2, min(at, len(y)) + 2))
    best = float(np.sort(y)[::-1][: len(weights)] @ weights)
    return float(gains(y, p)[: len(weights)] @ weights) / best if best > 0 else 0.0


def precision_at(y: Vector, p: Vector, *, at: int) -> float:
    """Give the mean gain of the first places; places that a short request has not count as none."""
    return float(gains(y, p)[:at].sum()) / at


def gains(y: Vector, p: Vector) -> Vector:
    """Give the gain of each place, the greatest answer first; places of the same answer share theirs."""
    _, group, counts = np.unique(-p, return_inverse=True, return_counts=True)
    means = np.bincount(group, weights=y) / counts
    shared: Vector = np.repeat(means, counts)
    return shared


def _complete(answered: Answered, upto: datetime) -> tuple[Vector, Vector] | None:
    """Give the truths and answers of a request all of whose rows are labelled by a time; None for others."""
    count = len(answered.versions)
    if count < LEAST_ROWS or len(answered.labels) < count:
        return None
    labels = [answered.labels[row] for row in range(count)]
    p = np.array(answered.outputs, dtype=np.float64)
    if any(label.known_at > upto for label in labels) or not np.isfinite(p).all():
        return None
    return np.array([max(0.0, label.value) for label in labels]), p
