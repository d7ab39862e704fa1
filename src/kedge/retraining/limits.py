"""The hard limits on training, over and above any policy. What binds is named in the decision."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from kedge.domain.durations import span_of
from kedge.domain.project import Budget
from kedge.domain.retraining import LedgerEntry, RetrainingRules
from kedge.domain.rollout import Deployment
from kedge.domain.tracking import Run
from kedge.retraining.ledger import RETRAIN, TURNED

RUNS_OF_A_TURN = 2
"""A candidate and its refit."""
RUNS_OF_A_LOOK = 1
WEEK = timedelta(days=7)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the limits look at, at a moment. `labels` counts those newer than the champion's training data (None where
    there is no champion), `released_at` is when it became champion."""

    now: datetime
    rules: RetrainingRules
    budget: Budget
    deployment: Deployment | None
    released_at: datetime | None
    labels: int | None
    entries: Sequence[LedgerEntry]
    runs: Sequence[Run]


def binds_training(standing: Standing) -> str:
    """Name the limit that holds a training back; "" for none."""
    return _in_flight(standing) or _labels(standing) or _cooldown(standing) or _budget(standing, needed=RUNS_OF_A_TURN)


def binds_look(standing: Standing) -> str:
    """Name the limit that holds a look back; "" for none."""
    return _in_flight(standing) or _budget(standing, needed=RUNS_OF_A_LOOK)


def tried_at(entries: Sequence[LedgerEntry]) -> datetime | None:
    """Tell when a training was last ordered; None for never."""
    return max((entry.decided_at for entry in entries if entry.decision in (RETRAIN, TURNED)), default=None)


def _in_flight(standing: Standing) -> str:
    deployment = standing.deployment
    if deployment is None or deployment.challenger is None:
        return ""
    return f"version {deployment.challenger} is still on trial"


def _labels(standing: Standing) -> str:
    least = standing.rules.min_labels
    if standing.labels is None or standing.labels >= least:
        return ""
    return f"only {standing.labels} new labels of at least {least} (min_labels)"


def _cooldown(standing: Standing) -> str:
    rest = span_of(standing.rules.cooldown)
    tried = tried_at(standing.entries)
    for what, moment in (("a training was tried", tried), ("the champion was released", standing.released_at)):
        if moment is not None and standing.now < moment + rest:
            return f"{what} on {moment:%Y-%m-%d %H:%M}, and cooldown is {standing.rules.cooldown}"
    return ""


def _budget(standing: Standing, *, needed: int) -> str:
    limit, week = standing.budget.runs_per_week, standing.now - WEEK
    used = sum(_runs_of(entry) for entry in standing.entries if entry.window and entry.decided_at > week)
    if limit is not None and used + needed > limit:
        return f"{used} runs in the last seven days and {needed} needed, and the budget is {limit} (runs_per_week)"
    month = standing.now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    hours = sum(run.usage.cpu_seconds for run in standing.runs if run.started_at >= month) / 3600
    if standing.budget.cpu_hours is not None and hours >= standing.budget.cpu_hours:
        return f"{hours:.2f} hours of CPU used this month, and the budget is {standing.budget.cpu_hours:g} (cpu_hours)"
    return ""


def _runs_of(entry: LedgerEntry) -> int:
    """Count the runs behind an entry. A look's candidate serves the turn that follows it."""
    if entry.decision in (RETRAIN, TURNED):
        return RUNS_OF_A_TURN
    return RUNS_OF_A_LOOK if entry.looked else 0
