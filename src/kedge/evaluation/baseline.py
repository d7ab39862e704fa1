"""The trivial model that a candidate must beat: one and the same answer for every row.

The rows to judge on do not bring the training labels, so the constant is the one that is *best on these very rows*: the
hardest of all constants, harder than any that could have been known before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kedge.evaluation.metrics import Vector, loss_rows


class Baseline(NamedTuple):
    """The best constant answer and its mean loss."""

    answer: float
    loss: float


def hardest_constant(metric: str, y: Vector, *, threshold: float = 0.5) -> Baseline:
    """Find the constant with the least mean loss: of mean (best for log loss and squares), median (for absolute
    errors), least and greatest label (for decisions at a threshold)."""
    tried = [float(np.mean(y)), float(np.median(y)), float(np.min(y)), float(np.max(y))]
    losses = [float(np.mean(loss_rows(metric, y, p=np.full(len(y), answer), threshold=threshold))) for answer in tried]
    best = int(np.argmin(losses))
    return Baseline(tried[best], losses[best])
