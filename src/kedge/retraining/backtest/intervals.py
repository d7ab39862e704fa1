"""Intervals over blocks of time: losses of neighbouring days are alike, so whole stretches of them are resampled.

A moving-block bootstrap (Kuensch 1989): stretches of a few blocks are drawn with replacement and laid end to end.
"""

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000


def resampled(series: NDArray[np.float64], *, stretch: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Give the sums of a series (n,) over resamples of its moving blocks: (resamples,). Seeded."""
    count = len(series)
    stretch = min(stretch, count)
    draws = np.random.default_rng(0).integers(0, count - stretch + 1, size=(resamples, -(-count // stretch)))
    rows = (draws[:, :, None] + np.arange(stretch)).reshape(resamples, -1)[:, :count]
    return np.asarray(series[rows].sum(axis=1))


def interval(series: NDArray[np.float64], *, stretch: int) -> tuple[float, float]:
    """Bound the sum of a series (n,) by the 2.5 and 97.5 percentiles of its resamples."""
    low, high = np.percentile(resampled(series, stretch=stretch), [2.5, 97.5])
    return float(low), float(high)
