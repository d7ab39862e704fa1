"""Distances between a column of a window and its reference, from their profiles alone. Shown; they never alarm.

The tests themselves are in `data/tables/distances.py`: a diff of two dataset versions measures by the same ones.
"""

from collections.abc import Sequence

import numpy as np

from kedge.data.tables.distances import DRIFT_TESTS, ORDERED_ONLY
from kedge.domain.monitoring import ColumnProfile
from kedge.monitoring.drift.profile import cells


def distances(references: Sequence[ColumnProfile], windows: Sequence[ColumnProfile]) -> list[dict[str, float]]:
    """Measure, for each column, all distances that make sense for it; none where either side has no rows."""
    p, q = _shares(references), _shares(windows)
    found = {name: test(p, q).tolist() for name, test in DRIFT_TESTS.items()}
    return [
        {name: values[place] for name, values in found.items() if name not in _senseless(reference, window)}
        if reference.rows and window.rows
        else {}
        for place, (reference, window) in enumerate(zip(references, windows, strict=True))
    ]


def _senseless(reference: ColumnProfile, window: ColumnProfile) -> frozenset[str]:
    """Name the tests that a column does not allow: categories have no order, a column without values no ranks."""
    empty = reference.missing == reference.rows or window.missing == window.rows
    return ORDERED_ONLY if reference.labels or empty else frozenset()


def _shares(columns: Sequence[ColumnProfile]) -> np.ndarray:
    """Lay columns side by side, the missing share of each in the last cell."""
    counts = [cells(column) for column in columns]
    table = np.zeros((len(columns), max((count.size for count in counts), default=1)))
    for row, count, column in zip(table, counts, columns, strict=True):
        row[: count.size - 1] = count[:-1] / max(column.rows, 1)
        row[-1] = count[-1] / max(column.rows, 1)
    return table
