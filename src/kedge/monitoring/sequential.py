"""Is the mean of days beyond a bound, or was that chance? Evidence that holds however often one looks, and intervals.

A t-test by a mixture of effect sizes: valid at any time for days that are normal around their mean, with a spread that
nobody has to know (Wang & Ramdas, "Anytime-valid t-tests", 2024). Evidence starts anew every `RESTART_DAYS` and is kept
for two such spans; what counts is the sum over the starts, so that with the limit run_length / RESTART_DAYS a false
alarm comes once in `run_length` days at most (an e-detector: Shin, Ramdas & Rinaldo, 2023).
"""

from __future__ import annotations

import math

import numpy as np

RESTART_DAYS = 28
KEPT_DAYS = 2 * RESTART_DAYS
LEAST_LIMIT = 20.0
PRIOR = 1.0
"""The mixture's prior days: effects of about one standard deviation of a day."""
GREATEST = 690.0
ALPHA = 0.05


def alarm_limit(run_length: int, comparisons: int) -> float:
    """Give the evidence at which one of so many comparisons alarms."""
    return max(run_length / RESTART_DAYS, LEAST_LIMIT) * max(comparisons, 1)


def starts_of(first: int, since: int, *, upto: int) -> list[int]:
    """List the days at which the evidence that counts on day `upto` began: each `RESTART_DAYS` from `since` on."""
    newest = since + (upto - since) // RESTART_DAYS * RESTART_DAYS
    return [start for start in (newest - RESTART_DAYS, newest) if start >= max(since, first)]


def mean_evidence(values: np.ndarray) -> np.ndarray:
    """Give the evidence that the mean of days is above 0, over the first axis; NaN is no day."""
    known = np.isfinite(values)
    values = np.where(known, values, 0.0)
    days, sums, squares = known.sum(axis=0), values.sum(axis=0), np.square(values).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        fit = np.where(squares > 0, np.square(sums) / ((days + PRIOR) * squares), 0.0)
        logs = 0.5 * np.log(PRIOR / (days + PRIOR)) - days / 2 * np.log1p(-np.minimum(fit, 1 - 1e-12))
    logs = np.where(sums > 0, logs, 0.5 * np.log(PRIOR / (days + PRIOR)))
    return np.asarray(np.exp(np.minimum(logs, GREATEST)))


def interval_of(values: np.ndarray, *, alpha: float = ALPHA) -> tuple[float, float] | None:
    """Give the means that days do not rule out at a level, at any time; None where they are too few to say."""
    days = values[np.isfinite(values)]
    count, mean = days.size, float(days.mean()) if days.size else 0.0
    if count < 2:
        return None
    kept = 1.0 - (alpha**2 * PRIOR / (count + PRIOR)) ** (1.0 / count)
    room = count - kept * (count + PRIOR)
    if room <= 0:
        return None
    half = math.sqrt(kept * (count + PRIOR) / room * float(days.var()))
    return mean - half, mean + half
