"""The budget of training, counted in one way for whoever asks: the policy before it orders, the pipeline before it runs.

A run is one training: a release takes two of them (a candidate and its refit), a look one. Failed ones count: they cost.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from kedge.domain.project import Budget
from kedge.domain.tracking import Run
from kedge.ports import Runs

WEEK = timedelta(days=7)
_PAGE = 200
WARNED_AT = 0.8
"""The share of a limit at which people are told."""


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


class NearLimit(NamedTuple):
    """A limit of which much is used: its name, the period, how much ("80 %" or "all"), and that as a sentence."""

    limit: str
    period: str
    level: str
    message: str

    @property
    def key(self) -> str:
        """Name it: another only with the period and the level."""
        return f"{self.limit}/{self.period}/{self.level}"


def warned(budget: Budget, used: Spent, *, now: datetime) -> list[NearLimit]:
    """Say of which limits 80 % or all is used."""
    week = now.isocalendar()
    limits = (
        ("cpu_hours", used.cpu_hours, budget.cpu_hours, f"{used.month:%Y-%m}", "this month"),
        ("runs_per_week", used.runs, budget.runs_per_week, f"{week.year}-W{week.week:02d}", "in the last seven days"),
    )
    told = []
    for name, so_far, most, period, when in limits:
        if most and so_far >= WARNED_AT * most:
            level, after = ("all", "nothing more is trained before that falls") if so_far >= most else ("80 %", "it goes on")
            message = f"{so_far:.4g} of {most:g} {name} are used {when}; {after}"
            told.append(NearLimit(name, period, level, message))
    return told


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
