"""The rows of a window that groups and business metrics are computed from: those that were answered, and those whose truth
became known, with what they brought.

Testers' requests, who chose a side, are left out, and so are rows whose answer is no finite number. What is personal is
there as it stands in the log: hashed, or not at all.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import numpy as np

from kedge.monitoring.columns import Column, nothing
from kedge.monitoring.quality.losses import Losses
from kedge.monitoring.served import ServedRows
from kedge.monitoring.truth.days import day_known, day_number


class ContextRows(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Rows, one place each: `columns` by name, float64 `answers`, `facts` and `losses` (NaN where not known), the number
    of the day (int64, days since 1970) on which each was answered or became known, the version, and the rows for which
    each stands where the log is sampled (`weights`). `hidden` are columns whose values are hashes; `absent` those asked
    for that are in no record."""

    columns: dict[str, Column]
    answers: np.ndarray
    facts: np.ndarray
    losses: np.ndarray
    days: np.ndarray
    versions: np.ndarray
    weights: np.ndarray
    hidden: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return int(self.answers.size)

    def of(self, version: int) -> ContextRows:
        """Take the rows that a version answered."""
        return self.kept(self.versions == version)

    def since(self, day: int) -> ContextRows:
        """Count what belongs to an earlier day on this one: what comes late counts on the day that is open."""
        return msgspec.structs.replace(self, days=np.maximum(self.days, day))

    def kept(self, mask: np.ndarray) -> ContextRows:
        """Take the rows of a mask."""
        if mask.all():
            return self
        places = np.flatnonzero(mask)
        return ContextRows(
            columns={name: column.take(places) for name, column in self.columns.items()},
            answers=self.answers[places],
            facts=self.facts[places],
            losses=self.losses[places],
            days=self.days[places],
            versions=self.versions[places],
            weights=self.weights[places],
            hidden=self.hidden,
            absent=self.absent,
        )


def answered_rows(served: ServedRows, names: Collection[str]) -> ContextRows:
    """Gather the rows answered, with the named columns."""
    places = np.flatnonzero(np.isfinite(served.answers) & ~served.per_row(served.testers))
    unknown = np.full(places.size, np.nan)
    return _gathered(served, names, places=places, facts=unknown, losses=unknown, days=served.per_row(served.days)[places])


def labelled_rows(losses: Losses, names: Collection[str]) -> ContextRows:
    """Gather the rows whose truth became known, with the named columns."""
    served = losses.served
    kept = np.flatnonzero(losses.usable & ~served.testers[losses.request])
    moments, of_row = losses.moments
    known = np.array([day_number(day_known(moment)) for moment in moments], np.int64)
    return _gathered(
        served,
        names,
        places=losses.place[kept],
        facts=losses.facts[kept],
        losses=losses.losses[kept],
        days=known[of_row[kept]],
    )


def _gathered(
    served: ServedRows,
    names: Collection[str],
    *,
    places: np.ndarray,
    facts: np.ndarray,
    losses: np.ndarray,
    days: np.ndarray,
) -> ContextRows:
    columns = served.known(names)
    return ContextRows(
        columns={
            name: column.take(places) if column is not None else nothing(places.size) for name, column in columns.items()
        },
        answers=served.answers[places],
        facts=facts,
        losses=losses,
        days=days,
        versions=served.versions[places],
        weights=served.per_row(served.weights)[places],
        hidden=served.hidden & columns.keys(),
        absent=frozenset(name for name, column in columns.items() if column is None) if len(served) else frozenset(),
    )
