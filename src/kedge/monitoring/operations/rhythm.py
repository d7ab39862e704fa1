"""How much usually comes in each hour of the week, and whether far less comes now: silence that is not yet complete.

"Far less" is less than half. Each closed hour in which at least `FEWEST` are usual is a bet: x = min(count / usual, 1)
has a mean of 1/2 or more, given the past. Bets are summed as Shiryaev and Roberts do, and alarm at so many hours that a
false alarm comes once in the declared run length. Hours are usual after two weeks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

WEEK = 168
FEWEST = 5.0
WEEKS_KNOWN = 2
WEEKS_REMEMBERED = 8
BETS = np.array([0.2, 0.5, 0.9])
GREATEST = 690.0


class Heard(NamedTuple):
    """What a window's hours say: how many came and were usual where that is known, the evidence, and its limit."""

    came: float
    usual: float
    evidence: float
    limit: float

    @property
    def alarm(self) -> bool:
        """Say whether far less came than usual."""
        return self.evidence >= self.limit

    @property
    def holds(self) -> bool:
        """Say whether less than half of what is usual came, which alone is no alarm."""
        return self.came < self.usual / 2


def hear(state: bytes, hours: Mapping[int, float], *, start: int, end: int, run_length: int) -> tuple[bytes, Heard]:
    """Take the hours from `start` to `end` (counted since 1970) with what came in each; gives the state after them.

    The state is float32: the usual count and the weeks seen of each hour of the week, then log M of each bet.
    """
    numbers = np.frombuffer(state, "<f4").astype(np.float64)
    if numbers.size != 2 * WEEK + BETS.size:
        numbers = np.concatenate([np.zeros(2 * WEEK), np.full(BETS.size, -np.inf)])
    usual, seen, logs = numbers[:WEEK].copy(), numbers[WEEK : 2 * WEEK].copy(), numbers[2 * WEEK :].copy()
    known = (seen >= WEEKS_KNOWN) & (usual >= FEWEST)
    limit = run_length * max(float(known.sum()) / 7, 1.0)
    came = expected = strongest = 0.0
    for hour in range(start, end):
        cell, count = hour % WEEK, hours.get(hour, 0.0)
        if seen[cell] >= WEEKS_KNOWN and usual[cell] >= FEWEST:
            came, expected = came + count, expected + usual[cell]
            share = min(count / usual[cell], 1.0)
            logs = np.minimum(np.logaddexp(logs, 0.0) + np.log1p(BETS * (1.0 - 2.0 * share)), GREATEST)
            strongest = max(strongest, float(np.exp(logs).mean()))
            if strongest >= limit:
                logs = np.full(BETS.size, -np.inf)
        usual[cell] += (count - usual[cell]) / min(seen[cell] + 1, WEEKS_REMEMBERED)
        seen[cell] = min(seen[cell] + 1, WEEKS_REMEMBERED)
    kept = np.concatenate([usual, seen, logs]).astype("<f4").tobytes()
    return kept, Heard(came, expected, strongest, limit)
