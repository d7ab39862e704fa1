"""What each group got, as sums by day that can be added: the last eight weeks in a ring of days.

    sums = float64 (days, groups, SUMS)
At most `MOST_GROUPS` groups of a column are kept by name, the greatest; the rows of all others are one group.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from kedge.domain.fairness import OTHERS
from kedge.monitoring.sequential import KEPT_DAYS

HALF_LIFE_DAYS = 28.0
MOST_GROUPS = 30
BINS = 10
SUMS = 10
ROWS, CHOSEN, ANSWERS, LABELLED, POSITIVES, HITS, FALSE_ALARMS, LOSS, TOLD, TRUTH = range(SUMS)
"""Of answered rows: their number, those decided as 1, answers. Of labelled ones: their number, ones, ones decided as 1,
zeros decided as 1, losses, answers, truths."""


class GroupDays(msgspec.Struct):
    """The groups of one column over the last days: names, the first day, float32 sums (days, groups, SUMS) and bins."""

    column: str
    names: list[str] = []
    first: int = 0
    sums: bytes = b""
    bins: bytes = b""

    def read(self) -> np.ndarray:
        """Give the sums by day and group: float64 (days, groups, SUMS)."""
        groups = max(len(self.names), 1)
        return np.frombuffer(self.sums, "<f4").reshape(-1, groups, SUMS).astype(np.float64)

    def read_bins(self) -> np.ndarray:
        """Give the calibration's sums, older days weighing less: float64 (groups, BINS, 3)."""
        return np.frombuffer(self.bins, "<f4").reshape(-1, BINS, 3).astype(np.float64)

    def add(self, names: Sequence[str], sums: np.ndarray, *, bins: np.ndarray, days: np.ndarray, upto: int) -> None:
        """Add the sums of some groups on some days, and keep the days up to `upto`."""
        kept = self._with_days(upto)
        old, known = self.read_bins(), {name: place for place, name in enumerate(self.names)}
        taken = self._room(names, sums.sum(axis=0), kept=kept)
        order = [*dict.fromkeys((*taken, OTHERS))] if len(taken) < len({*known, *names}) or OTHERS in known else taken
        place_of = {name: place for place, name in enumerate(order)}
        made, made_bins = np.zeros((kept.shape[0], len(order), SUMS)), np.zeros((len(order), BINS, 3))
        for name, place in known.items():
            made[:, place_of.get(name, -1)] += kept[:, place]
            made_bins[place_of.get(name, -1)] += old[place]
        rows = np.clip(days - self.first, 0, made.shape[0] - 1)
        for place, name in enumerate(names):
            np.add.at(made[:, place_of.get(name, -1)], rows, sums[:, place])
            made_bins[place_of.get(name, -1)] += bins[place]
        self.names, self.sums, self.bins = order, _packed(made), _packed(made_bins)

    def _with_days(self, upto: int) -> np.ndarray:
        """Let the ring reach the day `upto`: forget the oldest days, and have older bins weigh less."""
        kept = self.read() if self.names else np.zeros((0, 0, SUMS))
        if not self.names:
            self.first = upto
        last = self.first + kept.shape[0] - 1
        if kept.shape[0] and upto > last:
            self.bins = _packed(self.read_bins() * 0.5 ** ((upto - last) / HALF_LIFE_DAYS))
        grown = max(upto - last, 0)
        kept = np.concatenate([kept, np.zeros((min(grown, KEPT_DAYS), *kept.shape[1:]))])[-KEPT_DAYS:]
        self.first = max(upto, last) - kept.shape[0] + 1
        return kept

    def _room(self, names: Sequence[str], rows: np.ndarray, *, kept: np.ndarray) -> list[str]:
        """Choose the groups that keep their names: those with most rows, in order of first sight."""
        sizes = {name: float(kept[:, place, [ROWS, LABELLED]].sum()) for place, name in enumerate(self.names)}
        for place, name in enumerate(names):
            sizes[name] = sizes.get(name, 0.0) + float(rows[place, [ROWS, LABELLED]].sum())
        sizes.pop(OTHERS, None)
        most = sorted(sizes, key=lambda name: (-sizes[name], name))[:MOST_GROUPS]
        return [name for name in sizes if name in {*most} and sizes[name] > 0]


def _packed(numbers: np.ndarray) -> bytes:
    return np.ascontiguousarray(numbers, dtype="<f4").tobytes()


def folded(names: Sequence[str], sums: np.ndarray, *, bins: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Keep the greatest groups of a window, and put all others together: names, sums (groups, SUMS), bins."""
    if len(names) <= MOST_GROUPS:
        return list(names), sums, bins
    order = np.argsort(-(sums[:, ROWS] + sums[:, LABELLED]), kind="stable")
    first, rest = np.sort(order[:MOST_GROUPS]), order[MOST_GROUPS:]
    kept = [names[place] for place in first.tolist()]
    return (
        [*kept, OTHERS],
        np.vstack([sums[first], sums[rest].sum(axis=0)]),
        np.concatenate([bins[first], bins[rest].sum(axis=0)[None]]),
    )


class FairnessState(msgspec.Struct):
    """Groups by day, of one version from day `since` on."""

    version: int | None = None
    since: int = 0
    columns: dict[str, GroupDays] = {}

    def begin(self, version: int, day: int) -> None:
        """Start anew where the version is another."""
        if version != self.version:
            self.version, self.since, self.columns = version, day, {}
