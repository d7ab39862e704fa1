"""Objectives and how fast their error budget burns: alarms by a long and a short span at once, as site reliability does.

    over 1 h and 5 min    14.4 times too fast    2 % of a month's budget in an hour
    over 6 h and 30 min    6 times               5 % in six hours
    over 3 d and 6 h       1 time                10 % in three days
(Google, "The Site Reliability Workbook", chapter 5.) The long span says that it matters, the short one that it still goes
on. What is declared is held plainly; with fewer than `FEWEST_BAD` bad ones in the long span nothing is said.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from kedge.monitoring.operations.plane import LastHeard

SLOT_SECONDS = 300
KEPT_SLOTS = 3 * 24 * 12
SPANS = ((12, 1, 14.4), (72, 6, 6.0), (KEPT_SLOTS, 72, 1.0))
FEWEST_BAD = 10


class BurnSlots(msgspec.Struct):
    """The last three days of one objective, in slots of five minutes: `first` counts slots since 1970, `counts` are float32
    (slots, 2): counted, and bad of those."""

    limit: float
    first: int = 0
    counts: bytes = b""

    def add(self, slots: np.ndarray, counted: np.ndarray, *, bad: np.ndarray, start: int, end: int) -> np.ndarray:
        """Add a window's requests, and give all slots up to the window's end, float64 (slots, 2); keep the last of them."""
        old = np.frombuffer(self.counts, "<f4").reshape(-1, 2).astype(np.float64)
        first = max(self.first, start - KEPT_SLOTS) if len(old) else start
        table = np.zeros((max(end - first, 1), 2))
        kept = old[first - self.first :] if len(old) else old
        table[: len(kept)] = kept[: len(table)]
        place = np.clip(slots - first, 0, len(table) - 1)
        np.add.at(table[:, 0], place, counted)
        np.add.at(table[:, 1], place, bad)
        last = table[-KEPT_SLOTS:]
        self.first, self.counts = first + len(table) - len(last), np.ascontiguousarray(last, dtype="<f4").tobytes()
        return table


class OperationsState(msgspec.Struct):
    """Objectives by name, the rhythms of what comes, and the processes of data planes that told of themselves."""

    burns: dict[str, BurnSlots] = {}
    rhythms: dict[str, bytes] = {}
    planes: dict[str, LastHeard] = {}


class Burn(NamedTuple):
    """How many times too fast a budget goes: over the last three days, over the worst hour; and whether it alarms."""

    days: float
    worst: float
    alarm: bool


def burn_of(table: np.ndarray, budget: float, *, slots: int) -> Burn:
    """Give how fast the budget burns: the worst hour is one of those that end in the last `slots`; it alarms where both
    spans of a pair burn too fast at the end of any of these slots."""
    sums = np.concatenate([np.zeros((1, 2)), np.cumsum(table, axis=0)])
    ends = np.arange(max(len(table) - slots, 0) + 1, len(table) + 1)

    def over(span: int) -> tuple[np.ndarray, np.ndarray]:
        inside = sums[ends] - sums[np.maximum(ends - span, 0)]
        return inside[:, 1] / np.maximum(inside[:, 0], 1e-12) / budget, inside[:, 1]

    alarm = np.zeros(len(ends), dtype=bool)
    for long, short, factor in SPANS:
        slow, bad = over(long)
        alarm |= (slow >= factor) & (over(short)[0] >= factor) & (bad >= FEWEST_BAD)
    hour, bad = over(12)
    worst = hour[bad >= FEWEST_BAD]
    return Burn(float(over(KEPT_SLOTS)[0][-1]), float(worst.max()) if worst.size else 0.0, bool(alarm.any()))
