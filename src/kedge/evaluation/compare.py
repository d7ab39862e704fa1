"""Paired comparison of two models over blocks of time, because rows are not independent.

On flights the standard error of a paired difference over rows is 7 times too small. So losses are summed in blocks of a
day, aligned to the end of the known data, and the error comes from how the days differ: with d_b the summed difference
and n_b the rows of block b, the difference is D = sum d_b / sum n_b, and its variance that of a ratio estimator,
B / (B - 1) * sum (d_b - D n_b)^2 / (sum n_b)^2 (Cochran, Sampling Techniques, section 6.4). Where neighbouring days still
correlate, the variance grows by (1 + r) / (1 - r), the factor of a first-order autoregression, r their lag-1
correlation, taken from 0 to 0.5 (a week of days cannot show more).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kedge.evaluation.metrics import Vector

DAY_MICROSECONDS = 86_400_000_000
MOST_CORRELATION = 0.5


class Comparison(NamedTuple):
    """A paired comparison: mean difference of loss (above 0: the first is worse), its standard error, the second's mean
    loss, blocks, rows, and the lag-1 correlation that went into the error. The error is NaN with fewer than two blocks."""

    difference: float
    error: float
    reference: float
    blocks: int
    rows: int
    correlation: float

    @property
    def relative(self) -> float:
        """Tell the difference as a share of the second's loss."""
        if self.reference > 0:
            return self.difference / self.reference
        return 0.0 if self.difference <= 0 else float("inf")


def blocks_of(known_at: Sequence[datetime] | NDArray[np.datetime64], upto: datetime) -> NDArray[np.int64]:
    """Count the whole days from each time to `upto`: block 0 is the newest day, (upto - 1 day, upto]."""
    times = np.asarray(known_at, dtype="datetime64[us]").astype(np.int64)
    end = np.datetime64(upto.replace(tzinfo=None), "us").astype(np.int64)
    return np.asarray((end - times) // DAY_MICROSECONDS, dtype=np.int64)


def compare(losses: Vector, reference: Vector, *, blocks: NDArray[np.int64]) -> Comparison:
    """Compare the losses of two models on the same rows: arrays (n,), n > 0."""
    _, place, rows = np.unique(blocks, return_inverse=True, return_counts=True)
    sums = np.bincount(place, weights=losses - reference)
    difference = float(sums.sum() / rows.sum())
    scatter = sums - difference * rows
    count, total = len(rows), int(rows.sum())
    correlation = _lag_one(scatter)
    error = float("nan")
    if count > 1:
        variance = count / (count - 1) * float(np.sum(scatter**2)) / total**2
        error = float(np.sqrt(variance * (1 + correlation) / (1 - correlation)))
    return Comparison(difference, error, float(np.mean(reference)), count, total, correlation)


def _lag_one(scatter: Vector) -> float:
    """Estimate how neighbouring blocks correlate, from 0 to MOST_CORRELATION; 0 for fewer than four blocks."""
    power = float(np.sum(scatter**2))
    if len(scatter) < 4 or power == 0:
        return 0.0
    return float(np.clip(np.sum(scatter[1:] * scatter[:-1]) / power, 0.0, MOST_CORRELATION))
