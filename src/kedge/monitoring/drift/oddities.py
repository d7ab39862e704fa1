"""What is odd about the columns of a window, named: a note each, for people. Nothing here alarms."""

from collections import Counter
from collections.abc import Sequence

from kedge.domain.monitoring import ColumnProfile
from kedge.monitoring.drift.reference import Reference
from kedge.monitoring.served import Gathered

FEWEST_ALIKE = 10
"""So many values must lie in one cell before a column is called constant."""


class WindowSeen:
    """What was seen of a window's columns besides their counts."""

    def __init__(self) -> None:
        self.rows = 0
        self.came: dict[str, None] = {}
        self.hidden: set[str] = set()
        self.odd: Counter[str] = Counter()
        self.infinite: Counter[str] = Counter()

    def note(self, column: str, *, odd: int, infinite: int) -> None:
        """Note values of a column that are of another kind than the reference's, or infinite."""
        self.odd[column] += odd
        self.infinite[column] += infinite

    def add(self, part: Gathered) -> None:
        """Note which columns came with a part of the window."""
        self.rows += part.rows
        self.came |= dict.fromkeys(part.columns)
        self.hidden |= part.hidden


def notes_of(
    reference: Reference, columns: Sequence[ColumnProfile], *, seen: WindowSeen, untold: Sequence[str]
) -> tuple[str, ...]:
    """Name what is odd about a window's columns; and, where it has rows, what its reference leaves `untold`."""
    known = reference.profile.columns
    notes = [note for column, now in zip(known, columns, strict=True) for note in _odd(column, now, seen=seen)]
    notes += [f"{name}: personal, so its values are not in the log and it is not watched" for name in sorted(seen.hidden)]
    new = [name for name in seen.came if name not in {column.name for column in known}]
    notes += [f"{name}: the column appeared; version {reference.version} was not trained on it" for name in new]
    return (*notes, *(untold if seen.rows else ()))


def _odd(known: ColumnProfile, now: ColumnProfile, *, seen: WindowSeen) -> list[str]:
    """Name what is odd about a column of a window."""
    name, odd, infinite = known.name, seen.odd[known.name], seen.infinite[known.name]
    if not now.rows:
        return []
    if name not in seen.came:
        return [f"{name}: the column vanished; all {now.rows} rows count as missing"]
    notes = []
    if odd and known.labels:
        notes.append(f"{name}: {odd} of {now.rows} values are numbers where text was expected")
    elif odd:
        notes.append(f"{name}: {odd} of {now.rows} values are text where numbers were expected")
    elif now.missing == now.rows and known.missing < known.rows:
        notes.append(f"{name}: all {now.rows} values are missing")
    if infinite:
        notes.append(f"{name}: {infinite} of {now.rows} values are infinite")
    if now.others and not known.others and not odd:
        notes.append(f"{name}: {now.others} of {now.rows} values are in no category of the reference")
    if _alike(now) and not _alike(known):
        notes.append(f"{name}: the column became constant; all {now.rows - now.missing} values lie in one bin or category")
    return notes


def _alike(column: ColumnProfile) -> bool:
    """Say whether all values of a column lie in one cell."""
    present = column.rows - column.missing
    return present >= FEWEST_ALIKE and max((*column.counts, column.others)) >= present
