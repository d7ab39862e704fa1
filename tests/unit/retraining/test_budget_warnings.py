"""A budget that is nearly used up is told once a period and level."""

from datetime import UTC, datetime

from kedge.domain.project import Budget
from kedge.retraining.budget import Spent, warned

NOW = datetime(2026, 3, 20, tzinfo=UTC)
MONTH = datetime(2026, 3, 1, tzinfo=UTC)


def keys(runs: int, hours: float, **budget) -> list[str]:
    near = warned(Budget(**budget), Spent(runs=runs, cpu_hours=hours, month=MONTH), now=NOW)
    return [one.key for one in near]


def test_each_limit_is_told_at_80_percent_and_at_all() -> None:
    both = {"cpu_hours": 10.0, "runs_per_week": 5}
    assert keys(3, 7.9, **both) == []
    assert keys(4, 8.0, **both) == ["cpu_hours/2026-03/80 %", "runs_per_week/2026-W12/80 %"]
    assert keys(5, 12.0, **both) == ["cpu_hours/2026-03/all", "runs_per_week/2026-W12/all"]
    assert keys(50, 50.0) == []
