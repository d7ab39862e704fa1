"""Items: what a row is like in one column. Numbers in five parts of the gate's rows, categories one by one, and missing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np

from kedge.domain.data import Column, ColumnType

PARTS = 5
MOST_CATEGORIES = 12
FEW_VALUES = 6


class Items(msgspec.Struct, frozen=True, eq=False):
    """The items of all columns: `names` in order, `columns` the column of each; `rules` give those of each column: the
    borders between its parts, or its codes by themselves, and the first item's place."""

    names: tuple[str, ...]
    columns: tuple[int, ...]
    rules: tuple[tuple[int, np.ndarray, bool], ...]

    def codes(self, matrix: np.ndarray) -> np.ndarray:
        """Give the item of each row in each column: int (rows, columns), -1 where it has none."""
        found = np.full(matrix.shape, -1, dtype=np.intp)
        for column, (first, values, single) in enumerate(self.rules):
            given = matrix[:, column]
            missing = np.isnan(given)
            if single:
                place = np.searchsorted(values, given)
                near = np.minimum(place, max(0, len(values) - 1))
                known = ~missing & (values[near] == given) if len(values) else np.zeros(len(given), dtype=bool)
                found[known, column] = first + near[known]
                width = len(values)
            else:
                found[~missing, column] = first + np.searchsorted(values, given[~missing], side="right")
                width = len(values) + 1
            found[missing, column] = first + width
        return found


def items_of(columns: Sequence[Column], matrix: np.ndarray) -> Items:
    """Cut the columns of the gate's rows (as the model reads them) into items."""
    names: list[str] = []
    owners: list[int] = []
    rules = []
    for place, column in enumerate(columns):
        values = matrix[:, place]
        known = values[~np.isnan(values)]
        distinct, counts = np.unique(known, return_counts=True)
        first = len(names)
        if column.type is ColumnType.STRING or distinct.size <= FEW_VALUES:
            kept = np.sort(distinct[np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]])
            names += [f"{column.name}={_value(column, value)}" for value in kept.tolist()]
            rules.append((first, kept, True))
        else:
            borders = np.unique(np.quantile(known, np.arange(1, PARTS) / PARTS))
            names += _parts(column.name, borders.tolist())
            rules.append((first, borders, False))
        names.append(f"{column.name} missing")
        owners += [place] * (len(names) - first)
    return Items(tuple(names), tuple(owners), tuple(rules))


def _value(column: Column, value: float) -> str:
    if column.type is ColumnType.STRING and column.categories:
        return str(column.categories[int(value)])
    if column.type is ColumnType.BOOLEAN:
        return "true" if value else "false"
    return f"{value:.6g}"


def _parts(name: str, borders: Sequence[float]) -> list[str]:
    shown = [f"{border:.4g}" for border in borders]
    inner = [f"{low} <= {name} < {high}" for low, high in itertools.pairwise(shown)]
    return [f"{name} < {shown[0]}", *inner, f"{name} >= {shown[-1]}"]
