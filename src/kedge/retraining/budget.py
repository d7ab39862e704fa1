"""The budget of training, counted in one way for whoever asks: the policy before it orders, the pipeline before it runs.

A run is one training: a release takes two of them (a candidate and its refit), a look one. Failed ones count: they cost.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from kedge.domain.project import Budget
from kedge.domain.tracking import Run
from kedge.ports import Runs

WEEK = timedelta(days=7)
_PAGE = 200


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent by a moment: runs of the last seven days, hours of CPU since the month began."""

    runs: int
    cpu_hours: float
    month: datetime


def spent(runs: Sequence[Run], now: datetime) -> Spent:
    """Count what runs spent; `runs` holds at least those of the month and of the last seven days."""
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Spent(
        runs=sum(run.started_at > now - WEEK for run in runs),
        cpu_hours=sum(run.usage.cpu_seconds for run in runs if run.started_at >= month) / 3600,
        month=month,
    )


def exhausted(budget: Budget, used: Spent, *, needed: int = 1) -> str:
    """Name the limit that `needed` more runs would break; "" for none."""
    limit = budget.runs_per_week
    if limit is not None and used.runs + needed > limit:
        return f"{used.runs} runs in the last seven days and {needed} needed, and the budget is {limit} (runs_per_week)"
    if budget.cpu_hours is not None and used.cpu_hours >= budget.cpu_hours:
        return (
            f"{used.cpu_hours:.2f} hours of CPU used since {used.month:%Y-%m-%d}, and the budget is "
            f"{budget.cpu_hours:g} a month (cpu_hours)"
        )
    return ""


def is_limited(budget: Budget) -> bool:
    """Say whether a budget limits anything."""
    return budget.runs_per_week is not None or budget.cpu_hours is not None


def recent_runs(runs: Runs, experiment: str, *, now: datetime) -> list[Run]:
    """Read all runs that a budget counts, however many there are, newest first."""
    since = min(now - WEEK, now.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
    limit = _PAGE
    while len(found := runs.list(experiment, limit=limit)) == limit and found[-1].started_at >= since:
        limit *= 4
    return [run for run in found if run.started_at >= since]
