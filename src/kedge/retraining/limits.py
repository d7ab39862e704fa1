"""The hard limits on training, over and above any policy. What binds is named in the decision."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from kedge.domain.durations import span_of
from kedge.domain.project import Budget
from kedge.domain.retraining import LedgerEntry, RetrainingRules
from kedge.domain.rollout import Deployment
from kedge.retraining.budget import Spent, exhausted
from kedge.retraining.ledger import RETRAIN, TURNED

RUNS_OF_A_TURN = 2
"""A candidate and its refit."""
RUNS_OF_A_LOOK = 1


class LimitFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the limits look at, at a moment. `labels` counts those newer than the champion's training data (None where
    there is no champion), `released_at` is when it became champion, `spent` what trainings took before this decision."""

    now: datetime
    rules: RetrainingRules
    budget: Budget
    deployment: Deployment | None
    released_at: datetime | None
    labels: int | None
    entries: Sequence[LedgerEntry]
    spent: Spent


def binds_training(facts: LimitFacts) -> str:
    """Name the limit that holds a training back; "" for none."""
    return (
        _in_flight(facts)
        or _labels(facts)
        or _cooldown(facts)
        or exhausted(facts.budget, facts.spent, needed=RUNS_OF_A_TURN)
    )


def binds_look(facts: LimitFacts) -> str:
    """Name the limit that holds a look back; "" for none."""
    return _in_flight(facts) or exhausted(facts.budget, facts.spent, needed=RUNS_OF_A_LOOK)


def tried_at(entries: Sequence[LedgerEntry]) -> datetime | None:
    """Tell when a training was last ordered; None for never."""
    return max((entry.decided_at for entry in entries if entry.decision in (RETRAIN, TURNED)), default=None)


def _in_flight(facts: LimitFacts) -> str:
    deployment = facts.deployment
    if deployment is None or deployment.challenger is None:
        return ""
    return f"version {deployment.challenger} is still on trial"


def _labels(facts: LimitFacts) -> str:
    least = facts.rules.min_labels
    if facts.labels is None or facts.labels >= least:
        return ""
    return f"only {facts.labels} new labels of at least {least} (min_labels)"


def _cooldown(facts: LimitFacts) -> str:
    rest = span_of(facts.rules.cooldown)
    tried = tried_at(facts.entries)
    for what, moment in (("a training was tried", tried), ("the champion was released", facts.released_at)):
        if moment is not None and facts.now < moment + rest:
            return f"{what} on {moment:%Y-%m-%d %H:%M}, and cooldown is {facts.rules.cooldown}"
    return ""
