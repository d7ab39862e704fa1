"""The policies: each says whether to train now, and why. To add one: a function and a line in `POLICIES`.

All but `ledger` are there for those who want them, and as what the ledger is compared with. Whatever a policy wishes,
the hard limits (`limits.py`) come after it.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from kedge.domain.alerting import AlertKind
from kedge.domain.durations import roughly, seconds_of, span_of
from kedge.domain.monitoring import Health
from kedge.domain.retraining import LedgerEntry, RetrainingRules
from kedge.errors import ConfigError
from kedge.retraining.ledger import steps_left


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy decides from: the window's health, the ledger after it, when the champion was released, and when
    the last training was tried (None: never)."""

    health: Health
    entry: LedgerEntry
    rules: RetrainingRules
    released_at: datetime
    tried_at: datetime | None


class Wish(msgspec.Struct, frozen=True):
    """What a policy wants, and the reason as a sentence."""

    train: bool
    reason: str


Policy = Callable[[Situation], Wish]


def by_ledger(situation: Situation) -> Wish:
    """Train when the regret has reached the price, or at the longest age."""
    entry = situation.entry
    step = seconds_of(situation.rules.step)
    if entry.price <= entry.regret and entry.regret > 0:
        return Wish(True, f"regret {entry.regret:.1f} has reached the price of a retraining, {entry.price:.1f}")
    if entry.age * step >= seconds_of(situation.rules.longest):
        return Wish(True, f"the champion's data is {entry.age:.0f} steps old, the longest age allowed")
    if entry.window and not entry.rows:
        return Wish(False, f"no labels in this step; regret stays at {entry.regret:.1f} of {entry.price:.1f}")
    left = steps_left(entry) * step
    when = f"retrains in about {roughly(left)} at this rate" if left < 10 * 366 * 86400 else "does not rise"
    if left <= step:
        when = "retrains after the next step at this rate"
    return Wish(False, f"regret {entry.regret:.1f} of {entry.price:.1f}: {when}")


def by_drift(situation: Situation) -> Wish:
    """Train while inputs or answers alarm."""
    health = situation.health
    moved = [one.column for one in health.drift if one.alarm]
    loud = [name for name, value in health.evidence.items() if value >= health.evidence_limit > 0]
    if moved or loud:
        return Wish(True, f"drift: {', '.join(moved) or ' and '.join(loud)}")
    return Wish(False, "no drift alarm")


def by_risk(situation: Situation) -> Wish:
    """Train while the live loss is shown to be above what was accepted."""
    risk = situation.health.risk
    if risk is not None and risk.alarm:
        return Wish(True, f"risk: the live loss is at least {risk.lower:.4g}, the limit is {risk.limit:.4g}")
    if risk is None:
        return Wish(False, "no risk is known: it takes labels, and a loss accepted at the gate on rows of two days or more")
    return Wish(False, f"no risk alarm; mean loss {risk.mean:.4g}")


def by_threshold(situation: Situation) -> Wish:
    """Train when the champion's mean loss over a closed step is above the declared threshold."""
    limit, step = situation.rules.threshold, situation.health.step
    if limit is None:
        raise ConfigError('[retraining] policy = "threshold" needs a loss to compare with; write threshold = 0.5 or so')
    if step is None:
        return Wish(False, "no step has closed")
    loss = step.losses.get(step.champion)
    if loss is None:
        return Wish(False, "no labels in this step: there is no loss to compare with the threshold")
    over = loss > limit
    return Wish(over, f"the step's mean loss is {loss:.4g}, {'above' if over else 'within'} {limit:.4g}")


def by_hand(situation: Situation) -> Wish:
    """Leave it to a person, with the ledger's figures."""
    return Wish(False, f"policy manual: a person decides; {by_ledger(situation).reason}")


def never(situation: Situation) -> Wish:
    """Never train."""
    return Wish(False, "policy never")


def every(age: timedelta) -> Policy:
    """Make the policy that trains when the champion was released, or a training was last tried, so long ago."""

    def by_age(situation: Situation) -> Wish:
        tried, released, end = situation.tried_at, situation.released_at, situation.health.window.end
        last, what = released, "the champion was released"
        if tried is not None and tried > released:
            last, what = tried, "a training was last tried"
        due = last + age
        if end >= due:
            return Wish(True, f"{what} {roughly((end - last).total_seconds())} ago")
        return Wish(False, f"the next training is due {due:%Y-%m-%d %H:%M}")

    return by_age


POLICIES: dict[str, Policy] = {
    "ledger": by_ledger,
    "drift": by_drift,
    "risk": by_risk,
    "threshold": by_threshold,
    "manual": by_hand,
    "never": never,
}


ALARMS_OF = {"risk": (AlertKind.RISK,), "drift": (AlertKind.DATA_DRIFT, AlertKind.PREDICTION_DRIFT)}
"""The alarms that may bring a look forward, by their names in `retraining.look_on`."""
ASKED_AT_STEPS = ("ledger", "threshold", "manual", "never")
"""The policies that have nothing to decide between steps."""


def policy_of(name: str) -> Policy:
    """Find a policy by its name, or make that of "every 30d". ConfigError lists what there is."""
    if name in POLICIES:
        return POLICIES[name]
    word, _, length = name.partition(" ")
    if word == "every":
        with suppress(ValueError):  # no duration: said below, with what would be right
            return every(span_of(length))
    raise ConfigError(f'retraining.policy is {name!r}; choose one of {", ".join(POLICIES)} or "every 30d"')
