"""CellCounts to count in: the monitors' profile of a column, the bins of other tools, and the bars of a picture.

All are exact counts: of sorted values by search, of labels by their own counts.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import chdtrc, kolmogorov

from kedge.data.tables.distances import DRIFT_TESTS, sorted_borders
from kedge.monitoring.comparing.columns import LabelSides, NumberSide

CATEGORIES = 50
_BARS, _SHOWN_LABELS = 24, 12
_LEAST_EXPECTED = 5.0
_FEW_VALUES = 20


class CellCounts(NamedTuple):
    """Counts of both sides in the same cells, float64; of a profile the last cell is the missing."""

    reference: np.ndarray
    current: np.ndarray

    def present(self) -> "CellCounts":
        """Leave out the last cell."""
        return CellCounts(self.reference[:-1], self.current[:-1])


class Picture(NamedTuple):
    """Bars of both sides, as shares of all rows: between borders, or one for each label."""

    borders: tuple[float, ...]
    labels: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]


def profile_of_numbers(reference: NumberSide, current: NumberSide) -> CellCounts:
    """Count both sides in the reference's bins, as monitors do: at most 64 and the missing."""
    edges = sorted_borders(reference.values)
    if not edges.size and reference.infinite:
        edges = np.array([np.finfo(np.float64).min, np.inf])  # what is finite lies between what is not
    return CellCounts(_profiled(reference, edges), _profiled(current, edges))


def _profiled(side: NumberSide, edges: np.ndarray) -> np.ndarray:
    counts = np.diff(np.searchsorted(side.values, edges, side="left"), prepend=0, append=side.values.size)
    counts[0] += side.low
    counts[-1] += side.high
    return np.append(counts, side.missing).astype(np.float64)


def profile_of_labels(sides: LabelSides) -> CellCounts:
    """Count both sides in the reference's 50 most frequent categories, all others, and the missing."""
    known = np.flatnonzero(sides.reference > 0)
    top = known[np.argsort(-sides.reference[known], kind="stable")[:CATEGORIES]]
    counted = []
    for counts, missing in zip((sides.reference, sides.current), sides.missing, strict=True):
        counted.append(np.array([*counts[top], counts.sum() - counts[top].sum(), missing], dtype=np.float64))
    return CellCounts(counted[0], counted[1])


def far(cells: CellCounts) -> float:
    """Give the Jensen-Shannon distance of two profiles, missing values included."""
    if not cells.reference.sum() or not cells.current.sum():
        return 0.0
    p, q = cells.reference / cells.reference.sum(), cells.current / cells.current.sum()
    return float(DRIFT_TESTS["jensen_shannon"](p[None, :], q[None, :])[0])


def chance(cells: CellCounts) -> float:
    """Give the chi-squared p-value of one distribution behind both profiles; neighbouring cells are put together until
    five rows are expected in each."""
    table = _gathered(np.vstack([cells.reference, cells.current]))
    totals, sums = table.sum(axis=1, keepdims=True), table.sum(axis=0, keepdims=True)
    if table.shape[1] < 2 or not totals.all():
        return 1.0
    expected = totals * sums / sums.sum()
    value = float(((table - expected) ** 2 / expected).sum())
    return float(chdtrc(table.shape[1] - 1, value))


def chance_in_order(cells: CellCounts) -> float:
    """Give the p-value of one distribution behind two profiles of numbers: chi-squared, which sees any difference, or
    Kolmogorov-Smirnov at the bins' borders, which sees moves along the values sooner; the smaller one, doubled."""
    n, m = cells.reference.sum(), cells.current.sum()
    if not n or not m:
        return 1.0
    apart = np.abs(cells.reference.cumsum() / n - cells.current.cumsum() / m).max()
    along = float(kolmogorov(apart * np.sqrt(n * m / (n + m))))
    return min(1.0, 2 * min(along, chance(cells)))


def _gathered(table: np.ndarray) -> np.ndarray:
    table = table[:, table.sum(axis=0) > 0]
    if not table.size:
        return table
    least = table.sum(axis=1).min() / table.sum() * table.sum(axis=0)  # expected on the smaller side
    if least.min() >= _LEAST_EXPECTED:
        return table
    groups, waiting, place = np.zeros(table.shape[1], dtype=np.int64), 0.0, 0
    for index, expected in enumerate(least.tolist()):
        groups[index] = place
        waiting += expected
        if waiting >= _LEAST_EXPECTED:
            place, waiting = place + 1, 0.0
    groups = np.minimum(groups, max(place - 1, 0))
    return np.vstack([np.bincount(groups, weights=row) for row in table])


def equal_width(reference: NumberSide, current: NumberSide, *, bins: int) -> CellCounts:
    """Count both sides in so many bins of one width over both."""
    low = min(reference.values[0], current.values[0])
    high = max(reference.values[-1], current.values[-1])
    return _between(reference.values, current.values, edges=np.linspace(low, high, bins + 1))


def sturges(reference: NumberSide, current: NumberSide) -> CellCounts:
    """Count both sides in bins of one width over both, as many as Sturges' rule gives; each value of its own where the
    reference has at most twenty."""
    values = few(reference.values, _FEW_VALUES)
    if values is not None:
        return by_value(reference.values, current.values)
    n = reference.values.size + current.values.size
    low = min(reference.values[0], current.values[0])
    high = max(reference.values[-1], current.values[-1])
    width = (high - low) / (np.log2(n) + 1.0)
    if reference.integer and current.integer:
        width = max(width, 1.0)
    return _between(reference.values, current.values, edges=np.linspace(low, high, int(np.ceil((high - low) / width)) + 1))


def _between(reference: np.ndarray, current: np.ndarray, *, edges: np.ndarray) -> CellCounts:
    counts = []
    for side in (reference, current):
        places = np.searchsorted(side, edges, side="left")
        places[-1] = np.searchsorted(side, edges[-1], side="right")
        counts.append(np.diff(places).astype(np.float64))
    return CellCounts(counts[0], counts[1])


def by_value(reference: np.ndarray, current: np.ndarray) -> CellCounts:
    """Count each distinct value of either side, in order."""
    values = np.union1d(reference, current)
    counts = [
        (np.searchsorted(side, values, side="right") - np.searchsorted(side, values, side="left")).astype(np.float64)
        for side in (reference, current)
    ]
    return CellCounts(counts[0], counts[1])


def few(values: np.ndarray, most: int) -> np.ndarray | None:
    """Give the distinct of sorted values, if they are at most so many."""
    spread = values[np.arange(most + 1) * (values.size - 1) // most] if values.size > most else values[:0]
    if spread.size and (spread[1:] > spread[:-1]).all():
        return None
    found: list[float] = []
    place = 0
    while place < values.size:
        if len(found) == most:
            return None
        found.append(values[place])
        place = int(np.searchsorted(values, values[place], side="right"))
    return np.array(found)


def bars_of_numbers(reference: NumberSide, current: NumberSide) -> Picture:
    """Lay bars of one width over the middle 99 % of both; the first and the last reach to the least and the greatest."""
    sides = [side for side in (reference.values, current.values) if side.size]
    if not sides:
        return Picture((), (), (), ())
    least, greatest = min(side[0] for side in sides), max(side[-1] for side in sides)
    low = min(side[int(0.005 * (side.size - 1))] for side in sides)
    high = max(side[int(0.995 * (side.size - 1))] for side in sides)
    values, others = few(reference.values, _BARS), few(current.values, _BARS)
    inner = np.linspace(low, high, _BARS + 1)[1:-1] if high > low else np.array([])
    if reference.integer and current.integer and high > low:  # as many whole numbers in each bar
        inner = np.arange(low, high, max(np.ceil((high - low) / _BARS), 1.0))[1:]
    if values is not None and others is not None:
        inner = np.union1d(values, others)[1:]
    borders = np.unique(np.concatenate([[least], inner, [greatest]]))
    if borders.size == 1 or (values is not None and inner.size and inner[-1] == greatest):
        borders = np.append(borders, greatest)
    shares = []
    for side in (reference, current):
        places = np.searchsorted(side.values, borders, side="left")
        places[-1] = side.values.size
        shares.append(tuple((np.diff(places) / max(side.rows, 1)).tolist()))
    return Picture(tuple(borders.tolist()), (), shares[0], shares[1])


def bars_of_labels(sides: LabelSides, *, in_order: bool = False) -> Picture:
    """Take the most frequent labels over both sides (or all, in alphabetical order); the rest of the rows is not shown."""
    size = sides.labels.len()
    shown = np.argsort(sides.labels.to_numpy()) if in_order else np.arange(min(size, _SHOWN_LABELS))
    labels = tuple(str(sides.labels[int(place)])[:80] for place in shown)
    shares = [
        tuple((counts[shown] / max(rows, 1)).tolist())
        for counts, rows in zip((sides.reference, sides.current), sides.rows, strict=True)
    ]
    return Picture((), labels, shares[0], shares[1])
