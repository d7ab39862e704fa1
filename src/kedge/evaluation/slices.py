"""The groups of rows that share a value of a column, and the one on which a model does worst.

A group with fewer rows than `min_group` is named, not judged: its measure would be noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kedge.evaluation.metrics import Measure, Vector

NAMED = 5


class Group(NamedTuple):
    """The rows (indices) with one value of a column, named COLUMN=VALUE."""

    name: str
    rows: NDArray[np.intp]


class Slice(NamedTuple):
    """A group and what was measured on it."""

    group: str
    rows: int
    value: float


class Slices(NamedTuple):
    """What was measured by group: those judged, and the names of those too small or without a defined measure."""

    judged: tuple[Slice, ...]
    unjudged: tuple[str, ...]


def groups_of(column: str, values: Sequence[str]) -> list[Group]:
    """Part the rows by value, values in order."""
    names, place = np.unique(np.asarray(values, dtype=np.str_), return_inverse=True)
    order = np.argsort(place, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(place, minlength=len(names)))[:-1]) if len(names) else []
    return [Group(f"{column}={name}", rows) for name, rows in zip(names, parts, strict=True)]


def measure_slices(
    metric: Measure,
    y: Vector,
    *,
    p: Vector,
    columns: Mapping[str, Sequence[str]],
    threshold: float,
    min_group: int,
) -> Slices:
    """Measure each group of each column on its own (columns are not crossed)."""
    judged: list[Slice] = []
    unjudged: list[str] = []
    for group in (group for column, values in columns.items() for group in groups_of(column, values)):
        value = metric(y[group.rows], p[group.rows], threshold) if len(group.rows) >= min_group else float("nan")
        if np.isnan(value):
            unjudged.append(group.name)
        else:
            judged.append(Slice(group.name, len(group.rows), value))
    return Slices(tuple(judged), tuple(unjudged))


def some_of(names: Sequence[str]) -> str:
    """Write out the first few of many names."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
