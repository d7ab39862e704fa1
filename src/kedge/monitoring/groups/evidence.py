"""Does a difference between two groups exceed what was declared, or was that chance? Sequential evidence, by days.

Rows of a day rise and fall together, so the unit is a closed day. A rate in [0, 1] is bet on as the risk is (Waudby-Smith
& Ramdas, JRSS-B 2024): "A is above B by more than the limit" is shown where, for each m, either A is shown to be above
m + limit or B below m; the two capitals are multiplied, and the least over m counts. That is valid where, given the past,
the two groups' days are independent or rise and fall together. Days with few rows are bet on less. What is not bounded
(errors, losses) is held by the day's difference of the groups, see `monitoring/sequential.py`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kedge.monitoring.sequential import GREATEST, mean_evidence

BETS = np.array([0.1, 0.3, 0.6, 0.9])
GRID = np.linspace(0.0, 1.0, 81)
FEW_ROWS = 10.0
"""A day with so many rows of a group is bet on by half."""


class PairEvidence(NamedTuple):
    """The strongest evidence that one group is above another by more than the limit, and which two."""

    evidence: float
    above: int
    below: int


def bounded_evidence(above: np.ndarray, below: np.ndarray, *, limit: float, starts: list[int]) -> np.ndarray:
    """Give the evidence for each ordered pair that the first's rate exceeds the second's by more than the limit.

    `above` / `below` are a rate's sums and counts (days, groups); `starts` are places of days. Float64 (groups, groups).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(below > 0, above / below, 0.0)
    bets = (below / (below + FEW_ROWS))[..., None, None] * BETS
    upper = GRID + limit
    rise = np.log1p(bets * (means[..., None, None] / upper[:, None] - 1.0))
    rise[:, :, upper >= 1.0] = 0.0
    lower = np.where(GRID < 1.0, GRID, 0.0)
    fall = np.log1p(bets * ((1.0 - means[..., None, None]) / (1.0 - lower)[:, None] - 1.0))
    fall[:, :, (GRID <= 0.0) | (GRID >= 1.0)] = 0.0
    total = np.zeros((above.shape[1],) * 2)
    for start in starts:
        up, down = (_mixed(each[start:].sum(axis=0)) for each in (rise, fall))
        # between two points of the grid, each capital is at least what it is at the worse one
        least = (up[:, None, 1:] + down[None, :, :-1]).min(axis=-1)
        total += np.exp(np.minimum(least, GREATEST))
    return total


def _mixed(logs: np.ndarray) -> np.ndarray:
    return np.asarray(np.logaddexp.reduce(logs, axis=-1) - math.log(BETS.size))


def free_evidence(above: np.ndarray, below: np.ndarray, *, limit: float, starts: list[int]) -> np.ndarray:
    """Give the same for a mean without bounds, from the days on which both groups have rows."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means = above / below
    beyond = means[:, :, None] - means[:, None, :] - limit
    total = np.zeros((above.shape[1],) * 2)
    for start in starts:
        total += mean_evidence(beyond[start:])
    return total


def strongest(pairs: np.ndarray, judged: np.ndarray) -> PairEvidence:
    """Find the pair with the strongest evidence among the judged groups."""
    held = np.where(judged[:, None] & judged[None, :] & ~np.eye(len(judged), dtype=bool), pairs, 0.0)
    above, below = np.unravel_index(int(np.argmax(held)), held.shape)
    return PairEvidence(float(held[above, below]), int(above), int(below))
