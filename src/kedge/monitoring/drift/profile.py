"""Profiles: one mergeable histogram per column, counted in the reference's bins. Merging two is adding their counts.

Numbers: at most 64 bins. The inner ones are quantile bins of the reference, closed on the left; the first and the last
hold what lies below and above everything the reference has seen, infinities included. NaN and null are missing.
Strings: the reference's 50 most frequent categories, and the others together.
"""

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, NamedTuple

import msgspec
import numpy as np

from kedge.data.tables.binning import places_in
from kedge.domain.monitoring import ColumnProfile, Moments, Profile, Value
from kedge.monitoring.columns import Coded, Column, column_of

CATEGORIES = 50
Values = Column | Sequence[Value]
NUMBERS = {float, int, bool, NoneType}


def most_common(counted: Mapping[str, int]) -> tuple[str, ...]:
    """Choose the categories to count for a reference column: the 50 most frequent, in alphabetical order."""
    top = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:CATEGORIES]
    return tuple(sorted(label for label, _ in top))


class Placed(NamedTuple):
    """The cell of each value of a column, int64 (rows,), in the order of `cells`: the missing in the last. `odd` values
    are text where numbers were expected, or no text and no known category where text was; `infinite` ones are that."""

    cells: np.ndarray
    odd: int = 0
    infinite: int = 0


def place(reference: ColumnProfile, values: Values) -> Placed:
    """Find the cell of each value among a reference column's."""
    column = values if isinstance(values, np.ndarray | Coded) else column_of(values)
    if reference.labels:
        return _place_labels(column, reference.labels)
    if not reference.edges:  # the reference has no value at all: all that can be told is whether there are any now
        return Placed(_missing(column).astype(np.int64))
    numbers, odd = _numbers(column)
    found = places_in(numbers, reference.edges)
    finite = np.isfinite(numbers)
    if finite.all():
        return Placed(found, odd)
    missing = np.isnan(numbers)
    found[missing] = len(reference.edges) + 1
    return Placed(found, odd, int(numbers.size - np.count_nonzero(finite) - np.count_nonzero(missing)))


def _numbers(column: Column) -> tuple[np.ndarray, int]:
    """Read values as float64, what is no number as NaN; and count what is neither number nor null."""
    if isinstance(column, Coded):
        texts = np.array([value is not None for value in column.values], dtype=bool)
        return np.full(len(column), np.nan), int(np.count_nonzero(texts[column.codes]))
    if column.dtype != object:
        return np.asarray(column, dtype=np.float64), 0
    listed = column.tolist()
    if set(map(type, listed)) <= NUMBERS:
        return np.array(listed, dtype=np.float64), 0
    numbers = [value if type(value) in NUMBERS else None for value in listed]
    odd = sum(kept is None and value is not None for kept, value in zip(numbers, listed, strict=True))
    return np.array(numbers, dtype=np.float64), odd


def _missing(column: Column) -> np.ndarray:
    """Say which values are null or NaN."""
    if isinstance(column, Coded):
        return np.asarray(np.array([value is None for value in column.values], dtype=bool)[column.codes])
    if column.dtype == object:
        return np.array([value is None or value != value for value in column.tolist()], dtype=bool)  # noqa: PLR0124
    return np.asarray(np.isnan(column))


def _place_labels(column: Column, labels: tuple[str, ...]) -> Placed:
    others = len(labels)
    known: dict[Any, int] = {label: index for index, label in enumerate(labels)}
    known[None] = others + 1
    if isinstance(column, Coded):
        return Placed(np.array([known.get(value, others) for value in column.values], dtype=np.int64)[column.codes])
    listed = column.tolist()
    texts = [value if value is None or isinstance(value, str) else _text(value) for value in listed]
    cells = np.array([known.get(text, others) for text in texts], dtype=np.int64)
    strange = np.array([not isinstance(value, str) for value in listed], dtype=bool)
    return Placed(cells, int(np.count_nonzero(strange & (cells == others))))


def _text(value: float | bool) -> str | None:
    return None if value != value else str(value)  # noqa: PLR0124


def profile_like(reference: ColumnProfile, counts: np.ndarray) -> ColumnProfile:
    """Make a profile in a reference column's bins from the count of each cell: int (cells,)."""
    width = len(reference.labels) if reference.labels else len(reference.edges) + 1
    listed = counts.tolist()
    return ColumnProfile(
        name=reference.name,
        counts=tuple(listed[:width]),
        missing=listed[-1],
        rows=sum(listed),
        edges=reference.edges,
        labels=reference.labels,
        others=listed[width] if reference.labels else 0,
    )


def cell_count(reference: ColumnProfile) -> int:
    """Count the cells of a column: its bins, the others (strings only) and the missing."""
    return len(reference.labels) + 2 if reference.labels else len(reference.edges) + 2


def merge_columns(left: ColumnProfile, right: ColumnProfile) -> ColumnProfile:
    """Add two profiles of one column. ValueError where their bins differ."""
    if (left.name, left.edges, left.labels) != (right.name, right.edges, right.labels):
        raise ValueError(f"profiles of {left.name!r} and {right.name!r} were counted in different bins")
    return msgspec.structs.replace(
        left,
        counts=tuple(a + b for a, b in zip(left.counts, right.counts, strict=True)),
        missing=left.missing + right.missing,
        rows=left.rows + right.rows,
        others=left.others + right.others,
        moments=_together(left.moments, right.moments),
    )


def _together(left: Moments | None, right: Moments | None) -> Moments | None:
    """Add two columns' moments (Chan, Golub & LeVeque, 1983)."""
    if left is None or right is None:
        return left or right
    rows, apart = left.rows + right.rows, right.mean - left.mean
    return Moments(
        rows=rows,
        mean=left.mean + apart * right.rows / rows,
        squares=left.squares + right.squares + apart * apart * left.rows * right.rows / rows,
        least=min(left.least, right.least),
        greatest=max(left.greatest, right.greatest),
    )


def merge(left: Profile, right: Profile) -> Profile:
    """Add two profiles of the same columns. ValueError where columns or bins differ."""
    columns = tuple(merge_columns(a, b) for a, b in zip(left.columns, right.columns, strict=True))
    return Profile(columns=columns, rows=left.rows + right.rows)


def cells(column: ColumnProfile) -> np.ndarray:
    """Give a column's counts with the others (strings only) and the missing as the last cells: float64."""
    others = (column.others,) if column.labels else ()
    return np.array((*column.counts, *others, column.missing), dtype=np.float64)
