"""Risk on late labels: is the live loss above what was accepted when the model was released?

After Podkopaev & Ramdas, "Tracking the risk of a deployed model and detecting harmful distribution shifts" (ICLR 2022):
a lower confidence sequence of the live mean loss is held against an upper bound of the accepted loss, raised by a
tolerance. Rows are not independent, so the unit is a day: its mean loss, each row's loss clipped to a declared bound.
The confidence sequence is by betting: a limit m is ruled out once the mixture capital, mean over bets c of
product over days of 1 + c (loss / m - 1), reaches 1 / alpha. Losses are not negative, so no bet c < 1 can ruin.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from kedge.domain.monitoring import Risk

ALPHA = 0.05
BETS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
LOSS_BOUNDS = {"log_loss": -math.log(0.01), "brier": 1.0, "accuracy": 1.0}
"""The greatest loss of one row that counts, where the metric says it. Others: 20 times the accepted mean."""
FEWEST_DAYS = 2
STEPS_OF_BISECTION = 25


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The loss that was accepted at the gate: mean of its days, upper 95 % bound of that, and the bound of one row."""

    mean: float
    upper: float
    bound: float
    days: int


def accept(metric: str, losses: np.ndarray, *, days: np.ndarray) -> Accepted | None:
    """Take the accepted loss from row losses and the day (any integer) of each; None with fewer than two days.

    The upper bound is Student's, over the days' means: mean + t(0.95, days - 1) x standard error.
    """
    finite = np.isfinite(losses)
    losses, days = losses[finite], days[finite]
    names, inverse = np.unique(days, return_inverse=True)
    if names.size < FEWEST_DAYS:
        return None
    bound = LOSS_BOUNDS.get(metric, 20 * float(losses.mean()))
    means = np.bincount(inverse, weights=np.minimum(losses, bound)) / np.bincount(inverse)
    from scipy.special import stdtrit

    error = float(stdtrit(names.size - 1, 1 - ALPHA)) * float(means.std(ddof=1)) / math.sqrt(names.size)
    mean = float(means.mean())
    return Accepted(mean=mean, upper=mean + error, bound=bound, days=int(names.size))


def log_capital(losses: np.ndarray, limit: float) -> float:
    """Give the log of the mixture capital against "the mean of each day, given the past, is at most `limit`" (> 0)."""
    each = np.log1p(np.asarray(BETS)[:, None] * (losses[None, :] / limit - 1)).sum(axis=1)
    return float(np.logaddexp.reduce(each) - math.log(len(BETS)))


def lower_bound(losses: Sequence[float]) -> float:
    """Give the greatest limit that the days' mean losses rule out at level 0.05, valid at every day; 0 for none."""
    days = np.asarray(losses, dtype=np.float64)
    low, high = 0.0, float(days.mean()) if days.size else 0.0
    if high <= 0.0:
        return 0.0
    for _ in range(STEPS_OF_BISECTION):  # the capital falls as the limit rises
        middle = (low + high) / 2
        if log_capital(days, middle) >= -math.log(ALPHA):
            low = middle
        else:
            high = middle
    return low


def judge(accepted: Accepted, tolerance: float, *, losses: Sequence[float]) -> Risk:
    """Hold the live days against the accepted loss."""
    lower = lower_bound(losses)
    limit = accepted.upper * (1 + tolerance)
    return Risk(
        accepted=accepted.upper,
        limit=limit,
        mean=float(np.mean(losses)) if losses else 0.0,
        lower=lower,
        days=len(losses),
        alarm=lower > limit,
    )
