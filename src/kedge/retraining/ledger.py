"""The regret ledger: retrain once the regret summed since the last training has reached the price of a retraining.

This is ski rental, not a significance test: where models age linearly it retrains at the best interval sqrt(2 c / b),
and it never pays much more than the best fixed interval for the declared prices. All losses here are summed over a
step, so that they compare with c = price.retrain / price.loss.

    slope    b = max(b0 L / 4, (b0 L w0 + sum lambda^i gain_i) / (w0 + sum lambda^i gap_i))
    step     g = g + b, S = max(0, S + g)
    look     g = gain of a fresh candidate; S = S at the last look + steps since x mean of the last two g
    train    when S >= c; then S = g = 0
An observation (gain, gap) compares two models on rows that neither has seen: the retired champion in shadow, and each
look; where only a part of a step's rows could be scored, it counts as that part. Everything here is pure.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from kedge.domain.evaluation import Gain
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import StepLosses
from kedge.domain.retraining import LedgerEntry, RetrainingRules

PRIOR_SLOPE = 0.01
"""b0: before anything is seen, a model loses one percent of its loss per step of age."""
PRIOR_WEIGHT = 30.0
MEMORY = 0.98
RECENT = 0.2
LOOK_BUDGET = 0.25
"""Looks may cost this share of what the retraining they decide on costs."""
LONGEST_INTERVAL = 10_000.0
LEAST_GAP = 0.5
WAIT, RETRAIN, TURNED = "wait", "retrain", "turned"


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What one step of history told of ageing: the mean gain of a fresh model over those of the steps before on the step's
    rows, in summed loss, and the mean difference of their ages in steps."""

    end: datetime
    gain: float
    gap: float


class LedgerStart(msgspec.Struct, frozen=True, kw_only=True):
    """What a ledger's slope is started from: summed gains and gaps in age of pairs of models, and how many pairs they are.
    Nothing, unless the project's own history was replayed."""

    gains: float = 0.0
    gaps: float = 0.0
    observations: int = 0


def opening(model: ModelName, *, policy: str, price: float, start: LedgerStart | None = None) -> LedgerEntry:
    """Open a ledger: nothing is regretted, and nothing known but what it is started from."""
    start = start or LedgerStart()
    return LedgerEntry(
        model=model,
        step=0,
        window="",
        decided_at=datetime(1970, 1, 1, tzinfo=UTC),
        policy=policy,
        decision=WAIT,
        reason="",
        champion=0,
        rows=0,
        loss=0.0,
        slope=0.0,
        gain=0.0,
        regret=0.0,
        price=price,
        phi=0.0,
        interval=LONGEST_INTERVAL,
        level=0.0,
        gains=start.gains,
        gaps=start.gaps,
        since_look=0,
        started=start.observations,
    )


def start_from(history: Sequence[Observation], *, upto: datetime) -> LedgerStart:
    """Sum up what the steps of history that ended by a moment told: each counts once, older ones less."""
    known = [one for one in history if one.end <= upto]
    gains = gaps = 0.0
    for one in known:
        gains, gaps = gains * MEMORY + one.gain, gaps * MEMORY + one.gap
    return LedgerStart(gains=gains, gaps=gaps, observations=len(known))


def price_of(rules: RetrainingRules) -> float:
    """Give c: the price of a retraining in units of summed loss."""
    return rules.price.retrain / max(rules.price.loss, 1e-12)


def carried(last: LedgerEntry) -> LedgerEntry:
    """Give the ledger as it goes on after an entry: a training that was ordered or made pays the regret off."""
    rested = msgspec.structs.replace(last, bound="", looked=False)
    if last.decision not in (RETRAIN, TURNED):
        return rested
    return msgspec.structs.replace(
        rested, decision=WAIT, gain=0.0, regret=0.0, last_gain=None, regret_at_look=0.0, since_look=0
    )


def advance(last: LedgerEntry, step: StepLosses, *, price: float, phi: float) -> LedgerEntry:
    """Take one closed step into the ledger. A step without labels adds no regret: nothing is known of it."""
    before = carried(last)
    loss = step.losses.get(step.champion)
    level = before.level if loss is None else _mixed(before.level, loss * step.labels / step.steps)
    gain, gap = _shadow(step)
    gains, gaps = before.gains * MEMORY**step.steps + gain, before.gaps * MEMORY**step.steps + gap
    slope = slope_of(level, gains, gaps=gaps)
    regret_rate, regret = before.gain, before.regret
    for _ in range(step.steps if step.labels else 0):
        regret_rate += slope
        regret = max(0.0, regret + regret_rate)
    return msgspec.structs.replace(
        before,
        step=before.step + step.steps,
        champion=step.champion,
        rows=step.labels,
        loss=loss if loss is not None else 0.0,
        slope=slope,
        gain=regret_rate,
        regret=regret,
        price=price,
        phi=phi,
        interval=interval_of(price, slope),
        level=level,
        gains=gains,
        gaps=gaps,
        since_look=before.since_look + step.steps,
        age=step.ages.get(step.champion, before.age),
    )


def after_look(entry: LedgerEntry, step: StepLosses, *, gain: Gain) -> LedgerEntry:
    """Correct a step's entry by what a fresh candidate gained on the step's rows."""
    measured = gain.mean * step.labels / step.steps
    rate = (measured + (entry.last_gain or 0.0)) / 2 if entry.since_look > 1 else measured
    regret = max(0.0, entry.regret_at_look + entry.since_look * rate)
    gains, gaps = entry.gains, entry.gaps
    if gain.gap > 0:
        gains += gain.mean * gain.rows / step.steps
        gaps += gain.gap * gain.rows / max(step.labels, 1)
    slope = slope_of(entry.level, gains, gaps=gaps)
    return msgspec.structs.replace(
        entry,
        gain=measured,
        regret=regret,
        last_gain=measured,
        regret_at_look=regret,
        since_look=0,
        gains=gains,
        gaps=gaps,
        slope=slope,
        interval=interval_of(entry.price, slope),
        looked=True,
    )


def slope_of(level: float, gains: float, *, gaps: float) -> float:
    """Estimate b: the loss gained per step, per step of age. It never falls below a quarter of the prior: a long quiet
    time must not teach the ledger that nothing ages."""
    prior = PRIOR_SLOPE * level
    return max(prior / 4, (prior * PRIOR_WEIGHT + gains) / (PRIOR_WEIGHT + gaps))


def interval_of(price: float, slope: float) -> float:
    """Give n = sqrt(2 c / b) in steps: the best interval if models age at this slope."""
    return min(LONGEST_INTERVAL, math.sqrt(2 * price / slope)) if slope > 0 else LONGEST_INTERVAL


def look_due(entry: LedgerEntry, *, called: bool = False) -> bool:
    """Say whether it is time to compare a fresh candidate: every ceil(phi n / beta) steps, at least one; at once where an
    alarm `called` for it.

    Never where looks would cost more than they may (phi > beta), and not while the candidate, which must not see the
    newest step, would be no newer than the champion.
    """
    every = max(1, math.ceil(entry.phi * entry.interval / LOOK_BUDGET))
    in_time = called or (entry.phi <= LOOK_BUDGET and entry.since_look >= every)
    return entry.rows > 0 and in_time and entry.age - 1 >= LEAST_GAP


def steps_left(entry: LedgerEntry) -> float:
    """Tell in how many steps k the regret reaches the price at the present rate g and slope b: where
    k g + k (k + 1) b / 2 is what is missing; infinite if it never does."""
    missing, slope = entry.price - entry.regret, entry.slope
    rate = entry.gain + slope / 2
    if missing <= 0:
        return 0.0
    if slope <= 0:
        return missing / rate if rate > 0 else math.inf
    return (math.sqrt(rate**2 + 2 * slope * missing) - rate) / slope


def _mixed(level: float, loss: float) -> float:
    return loss if level == 0.0 else (1 - RECENT) * level + RECENT * loss


def _shadow(step: StepLosses) -> tuple[float, float]:
    """Give the gain of the champion over an older model on the step's rows, and their gap in age, as observations."""
    if step.champion not in step.losses or not step.labels:
        return 0.0, 0.0
    gain = gap = 0.0
    for version, loss in step.losses.items():
        older = step.ages[version] - step.ages[step.champion]
        if older > 0:
            gain += (loss - step.losses[step.champion]) * step.rows / step.steps
            gap += older * step.rows / step.labels
    return gain, gap
