"""Rules that a backtest walks beside the policies that a project can choose: what the field does, in its plain forms."""

import math

from kedge.retraining.backtest.walk import Evidenced, Rule
from kedge.retraining.ledger import PRIOR_SLOPE

DROP = 0.05
SLACK, BOUND = 0.5, 5.0
"""A CUSUM's slack and bound in standard deviations of a day: the textbook's choice (Page 1954; Montgomery)."""


def drop(seen: Evidenced) -> bool:
    """Train when the step's loss is more than 5 % above what was accepted."""
    loss = seen.situation.health.loss
    return loss is not None and seen.accepted is not None and loss > (1 + DROP) * seen.accepted.mean


def cusum(seen: Evidenced) -> bool:
    """Train when the days' losses have risen: C = max(0, C + (loss - accepted) / deviation - slack) reaches the bound."""
    accepted, days = seen.accepted, seen.told
    if accepted is None or not len(days):
        return False
    # the error of a mean of n days is deviation / sqrt(n), and the accepted upper bound is t errors above the mean
    from scipy.special import stdtrit

    spread = (accepted.upper - accepted.mean) / float(stdtrit(accepted.days - 1, 0.95)) * math.sqrt(accepted.days)
    if spread <= 0:
        return False
    reached = 0.0
    for rise in ((days - accepted.mean) / spread - SLACK).tolist():
        reached = max(0.0, reached + rise)
    return bool(reached >= BOUND)


def square_root(seen: Evidenced) -> bool:
    """Train at the age sqrt(2 c / b) with b one percent of the recent loss: the price alone decides, nothing is measured."""
    entry = seen.situation.entry
    return entry.level > 0 and seen.since >= math.sqrt(2 * entry.price / (PRIOR_SLOPE * entry.level))


RULES: dict[str, Rule] = {"performance drop": drop, "CUSUM": cusum, "square-root interval": square_root}
