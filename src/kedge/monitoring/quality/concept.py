"""Concept drift: the relation between input and truth moved. Seen by a bet on the bias (truth less answer) of each day,
and told apart from moved inputs by what the answers themselves led to expect.

    evidence of a day: M <- (M + 1) x exp(bet x (bias less the gate's, less the tolerance) - bet^2 x variance / 2), each way
    alarm where the mean of M over bets and ways reaches the run length (an e-detector, as those of drift)
The variance is that of a day with as many rows: what the gate's days strayed by themselves (its upper 95 % bound, as
there are few), and that of its rows over their number; a day's bias is taken to have no heavier tails than a normal.
What is beyond four standard deviations counts as four. The tolerance is the half-width of the gate's own band and the
risk tolerance's share of the mean truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

import msgspec
import numpy as np

from kedge.domain.quality import ConceptEvidence
from kedge.monitoring.quality.at_gate import AtGate, Bias
from kedge.monitoring.sums import summed
from kedge.monitoring.truth.days import DAY

BETS = (0.25, 0.5, 1.0, 2.0)
"""In units of one over a day's standard deviation."""
MOST_DEVIATIONS = 4.0
LATEST = 3
KEPT_DAYS = 60
EXPLAINED = 0.5


class BiasDay(msgspec.Struct, array_like=True):
    """A closed day of labels: its start and its mean of truth less answer."""

    day: datetime
    bias: float


class BiasDays(msgspec.Struct):
    """The champion's labels by the day they became known: the closed days, the sums of the open one, and the logs of the
    evidence, bets up and bets down. `told` says that the episode was told."""

    closed: list[BiasDay] = []
    day: datetime | None = None
    rows: int = 0
    total: float = 0.0
    logs: list[float] = []
    told: bool = False


def add_biases(
    state: BiasDays,
    biases: Mapping[datetime, np.ndarray],
    *,
    upto: datetime,
    known: Bias,
    tolerance: float,
) -> float:
    """Add newly known rows, by day and in order of days, and close the days that have ended; give the evidence, the
    greatest since the last."""
    evidence = 0.0
    for day, rows in biases.items():
        if state.day is None or day > state.day:
            evidence = max(evidence, _close(state, known, tolerance=tolerance))
            state.day = day
        state.rows += len(rows)
        state.total = summed(state.total, rows)
    if state.day is not None and state.day + DAY <= upto:
        evidence = max(evidence, _close(state, known, tolerance=tolerance))
    return max(evidence, evidence_of(state))


def tolerance_of(known: Bias, share: float) -> float:
    """Give the bias that is no drift: the gate's own error, and a share of what the bias is held against."""
    return known.error + share * abs(known.scale)


def deviation_of(known: Bias, rows: int) -> float:
    """Give the standard deviation of the bias of a day with so many rows."""
    return max(math.sqrt(known.between + known.row_variance / rows), 1e-9)


def _close(state: BiasDays, known: Bias, *, tolerance: float) -> float:
    if not state.rows or state.day is None:
        return 0.0
    bias, deviation = state.total / state.rows, deviation_of(known, state.rows)
    state.closed = [*state.closed, BiasDay(state.day, bias)][-KEPT_DAYS:]
    state.rows, state.total = 0, 0.0
    most = MOST_DEVIATIONS * deviation + tolerance
    moved = float(np.clip(bias - known.mean, -most, most))
    bets = np.array(BETS)
    each = [bets * (way * moved - tolerance) / deviation - np.square(bets) / 2 for way in (1.0, -1.0)]
    logs = np.array(state.logs) if len(state.logs) == 2 * len(BETS) else np.full(2 * len(BETS), -np.inf)
    state.logs = (np.logaddexp(logs, 0.0) + np.concatenate(each)).tolist()
    return evidence_of(state)


def evidence_of(state: BiasDays) -> float:
    """Give the evidence that the bias moved: the mean over bets and ways."""
    if not state.logs:
        return 0.0
    return float(math.exp(min(np.logaddexp.reduce(state.logs) - math.log(len(state.logs)), 700.0)))


def since_when(state: BiasDays, known: Bias, *, tolerance: float) -> datetime | None:
    """Find the day from which on the bias lay beyond the tolerance, and beyond half of what it is now (CUSUM)."""
    if not state.closed:
        return None
    latest = float(np.mean([each.bias for each in state.closed[-LATEST:]])) - known.mean
    way, least = (1.0 if latest > 0 else -1.0), max(tolerance, abs(latest) / 2)
    best, total, found = 0.0, 0.0, None
    for each in reversed(state.closed):
        total += way * (each.bias - known.mean) - least
        if total > best:
            best, found = total, each.day
    return found


def told_apart(gate: AtGate, *, actual: float | None, expected: float | None) -> tuple[float | None, float | None]:
    """Give the rise of the loss over the gate's, and the share of it that the inputs explain: what the answers themselves
    led to expect. None where either is not known, or where nothing rose."""
    if actual is None:
        return None, None
    rise = actual - gate.mean_loss
    if expected is None or rise <= 0:
        return rise, None
    return rise, min(1.0, max(0.0, (expected - gate.mean_loss) / rise))


def named(evidence: ConceptEvidence) -> bool:
    """Say whether what rose is concept drift: nothing moved, or what moved explains less than half of it. Where that is
    not known, only the bias itself says so."""
    if not evidence.moved:
        return True
    if evidence.explained is None:
        return evidence.evidence >= evidence.limit
    return evidence.explained < EXPLAINED
