"""Profiles: one mergeable histogram per column, counted in the reference's bins. Merging two is adding their counts.

Numbers: at most 64 bins. The inner ones are quantile bins of the reference, closed on the left; the first and the last
hold what lies below and above everything the reference has seen, infinities included. NaN and null are missing.
Strings: the reference's 50 most frequent categories, and the others together.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from kedge.domain.monitoring import ColumnProfile, Profile, Value

CATEGORIES = 50


def count_numbers(name: str, values: np.ndarray, *, edges: tuple[float, ...]) -> ColumnProfile:
    """Count a column of float64 values in bins with these borders."""
    present = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
    return ColumnProfile(
        name=name,
        counts=tuple(counts.tolist()),
        missing=int(values.size - present.size),
        rows=int(values.size),
        edges=edges,
    )


def most_common(counted: Mapping[str, int]) -> tuple[str, ...]:
    """Choose the categories to count for a reference column: the 50 most frequent, in alphabetical order."""
    top = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:CATEGORIES]
    return tuple(sorted(label for label, _ in top))


def count_labels(name: str, values: Sequence[Value], *, labels: tuple[str, ...]) -> ColumnProfile:
    """Count a column of strings by these categories; all others are counted together. Numbers count by their text."""
    counted = _counter(values)
    missing = counted.pop(None, 0)
    counts = tuple(counted.pop(label, 0) for label in labels)
    return ColumnProfile(
        name=name, counts=counts, missing=missing, rows=len(values), labels=labels, others=sum(counted.values())
    )


def numbers_of(values: Sequence[Value]) -> tuple[np.ndarray, int]:
    """Read values as float64, null and text as NaN; and count the texts among them."""
    try:
        return np.array(values, dtype=np.float64), 0
    except (ValueError, TypeError):
        texts = sum(isinstance(value, str) for value in values)
        return np.array([None if isinstance(value, str) else value for value in values], dtype=np.float64), texts


def _counter(values: Sequence[Value]) -> Counter[str | None]:
    """Count values by their text; null and NaN together."""
    counted: Counter[str | None] = Counter()
    for value, rows in Counter(values).items():
        counted[value if value is None or isinstance(value, str) else _text(value)] += rows
    return counted


def _text(value: float | bool) -> str | None:
    return None if math.isnan(value) else str(value)


def count_like(reference: ColumnProfile, values: Sequence[Value]) -> tuple[ColumnProfile, int]:
    """Count values in a reference column's bins; and how many are text where numbers were expected."""
    if reference.labels:
        return count_labels(reference.name, values, labels=reference.labels), 0
    if not reference.edges:  # the reference has no value at all: all that can be told is whether there are any now
        present = len(values) - _counter(values)[None]
        counted = ColumnProfile(name=reference.name, counts=(present,), missing=len(values) - present, rows=len(values))
        return counted, 0
    numbers, texts = numbers_of(values)
    return count_numbers(reference.name, numbers, edges=reference.edges), texts


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
    )


def merge(left: Profile, right: Profile) -> Profile:
    """Add two profiles of the same columns. ValueError where columns or bins differ."""
    columns = tuple(merge_columns(a, b) for a, b in zip(left.columns, right.columns, strict=True))
    return Profile(columns=columns, rows=left.rows + right.rows)


def cells(column: ColumnProfile) -> np.ndarray:
    """Give a column's counts with the others (strings only) and the missing as the last cells: float64."""
    others = (column.others,) if column.labels else ()
    return np.array((*column.counts, *others, column.missing), dtype=np.float64)
