"""Which group each row is in: the value of a column, or the values of several (an intersection), as names.

A row without a value is in the group "missing". A column that is personal stands in the log as a keyed hash: its groups
go by the name whose hash it is, where the model's signature names its categories, else by the hash's first letters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from kedge.domain.fairness import CROSS, MISSING
from kedge.domain.monitoring import Value
from kedge.monitoring.columns import Column, sighted

HASH_LETTERS = 8


def names_of(column: Column, unhashed: Mapping[str, str] | None) -> tuple[list[str], np.ndarray]:
    """Number the rows by value: the names in order of first sight, and the place of each row's name (int64).

    `unhashed` gives the names of hashes where the values are hashes.
    """
    values, codes = sighted(column)
    numbers: dict[str, int] = {}
    places = [numbers.setdefault(_name(value, unhashed), len(numbers)) for value in values]
    return list(numbers), np.array(places, dtype=np.int64)[codes]


def _name(value: Value, unhashed: Mapping[str, str] | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if unhashed is not None:
        return unhashed.get(str(value)) or f"#{str(value)[:HASH_LETTERS]}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


class Grouped:
    """Rows by their groups; each column is read once, however many intersections it is in. `hidden` has the names of the
    hashed columns' hashes."""

    def __init__(self, columns: Mapping[str, Column], hidden: Mapping[str, Mapping[str, str]]) -> None:
        self._columns, self._hidden = columns, hidden
        self._read: dict[str, tuple[list[str], np.ndarray]] = {}

    def by(self, column: str) -> tuple[list[str], np.ndarray]:
        """Number the rows by the groups of a column, or of an intersection "a+b"."""
        for name in column.split(CROSS):
            if name not in self._read:
                self._read[name] = names_of(self._columns[name], self._hidden.get(name))
        return _crossed([self._read[name] for name in column.split(CROSS)])


def _crossed(parts: Sequence[tuple[list[str], np.ndarray]]) -> tuple[list[str], np.ndarray]:
    names, codes = parts[0]
    for more, inner in parts[1:]:
        both = codes * len(more) + inner
        used, codes = np.unique(both, return_inverse=True)
        names = [f"{names[one // len(more)]}, {more[one % len(more)]}" for one in used.tolist()]
    return names, codes
