"""The days of business metrics: small sums that can be added, and all that the next window needs."""

from collections.abc import Sequence

import msgspec
import numpy as np

from kedge.domain.worth import BusinessDay, BusinessRules
from kedge.monitoring.sequential import KEPT_DAYS

MOST_DAYS = KEPT_DAYS + 7
"""Two spans of evidence, and at least the whole of any month."""


class WorthDays(msgspec.Struct):
    """One metric's last days, the rules that they were computed by, and its first day."""

    rules: BusinessRules
    since: int
    days: list[BusinessDay] = []

    def add(self, day: int, rows: float, *, known: float, total: float) -> None:
        """Add rows to a day."""
        if self.days and self.days[-1].day == day:
            last = self.days.pop()
            rows, known, total = rows + last.rows, known + last.known, total + last.total
        self.days.append(BusinessDay(day, rows, known, total))
        self.days = [one for one in self.days if one.day > day - MOST_DAYS]


class WorthState(msgspec.Struct):
    """The business metrics by name."""

    metrics: dict[str, WorthDays] = {}


def table_of(days: Sequence[BusinessDay], first: int, *, last: int) -> np.ndarray:
    """Lay the days from `first` to `last` out: rows, known and total, float64 (days, 3); a day without rows is zeros."""
    table = np.zeros((max(last - first + 1, 0), 3))
    for one in days:
        if first <= one.day <= last:
            table[one.day - first] += (one.rows, one.known, one.total)
    return table
