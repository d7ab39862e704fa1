"""The hard limits on training, checked before a training starts."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from kedge.domain.project import Budget
from kedge.domain.tracking import Run


def exhausted(budget: Budget, runs: Sequence[Run], *, now: datetime) -> str | None:
    """Say which limit is reached, or None. `runs` are the newest of the experiment.

    A run is one training: a release takes two of them (a candidate and its refit), a look one. Failed ones count.
    """
    week = sum(run.started_at > now - timedelta(days=7) for run in runs)
    if budget.runs_per_week is not None and week >= budget.runs_per_week:
        return (
            f"budget: {week} trainings in the last seven days, and training.budget.runs_per_week is "
            f"{budget.runs_per_week}; wait, or raise the limit"
        )
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    hours = sum(run.usage.cpu_seconds for run in runs if run.started_at >= month) / 3600
    if budget.cpu_hours is not None and hours >= budget.cpu_hours:
        return (
            f"budget: {hours:.2f} hours of CPU used since {month:%Y-%m-%d}, and training.budget.cpu_hours is "
            f"{budget.cpu_hours:g} a month; wait for the next month, or raise the limit"
        )
    return None
