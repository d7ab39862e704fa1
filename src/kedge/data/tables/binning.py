"""Count numbers in bins of any width, exactly, and several times faster than by a search for each value.

Values are first laid into a fine grid of cells of one width, which takes a multiplication. The place in the grid never
falls as a value rises, so whoever lies in a cell without a border is in a known bin, and in a cell with one border one
comparison decides. Only values in a cell with several borders (much skewed columns) are searched for.
"""

from typing import NamedTuple

import numpy as np

_CELLS = 4096
_AT_ONCE = 32_768  # values that stay in the processor's cache, and enough that threads seldom wait for each other
_CROWDED = 0.25  # share of the borders in crowded cells from which a search is sooner done
_FEW = 4  # borders that are searched sooner than a grid is laid


class BinCounts(NamedTuple):
    """How many values lie in each bin, int64 (borders + 1,), and how many are NaN; and of the finite values their number,
    mean, sum of squared distances from it, least and greatest (0, 0, 0, infinity and -infinity where there are none)."""

    bins: np.ndarray
    missing: int
    rows: int
    mean: float
    squares: float
    least: float
    greatest: float


def count_in(values: np.ndarray, edges: np.ndarray) -> BinCounts:
    """Count numbers (any real dtype) in bins closed on the left, between rising borders, float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        grid = _Grid.over(edges) if values.size > _AT_ONCE else _Grid.bare(edges)
    tally, inside = _Tally(), np.empty(min(_AT_ONCE, values.size))
    place, base = np.empty(inside.size, dtype=np.int64), np.zeros(grid.bin.size, dtype=np.int64)
    bins, missing = np.zeros(edges.size + 1, dtype=np.int64), 0
    with np.errstate(invalid="ignore", over="ignore"):
        for first in range(0, values.size, _AT_ONCE):
            some = values[first : first + _AT_ONCE]
            scaled, cell = inside[: some.size], place[: some.size]
            np.multiply(some, grid.scale, out=scaled, dtype=np.float64)
            scaled += grid.shift
            if tally.take(some, scaled):
                there = ~np.isnan(some)
                missing += int(some.size - there.sum())
                some, scaled = some[there], scaled[there]
                cell = place[: some.size]
            if grid.plain:
                bins += np.bincount(np.searchsorted(edges, some, side="right"), minlength=bins.size)
                continue
            np.maximum(scaled, 0.0, out=scaled)
            np.minimum(scaled, _CELLS - 1, out=scaled)
            cell[:] = scaled
            if grid.is_crowded:
                searched = grid.crowded[cell]
                bins += np.bincount(np.searchsorted(edges, some[searched], side="right"), minlength=bins.size)
                some, cell = some[~searched], cell[~searched]
            beyond = some >= grid.border[cell]
            cell <<= 1
            cell += beyond
            base += np.bincount(cell, minlength=2 * _CELLS)
    if not grid.plain:
        bins += np.bincount(grid.bin, weights=base, minlength=bins.size).astype(np.int64)
    return BinCounts(bins, missing, *tally.figures(grid))


class _Grid(NamedTuple):
    """A grid over the borders: a value's cell is `value * scale + shift`, bounded and cut to a whole number. `border` is
    that of a cell with one (infinite: none), `crowded` marks cells with more, `bin` is that of both halves of each cell.
    A `plain` one has too few borders to be worth it, or borders that no grid parts."""

    scale: float
    shift: float
    border: np.ndarray
    crowded: np.ndarray
    bin: np.ndarray
    plain: bool
    is_crowded: bool = False

    @classmethod
    def over(cls, edges: np.ndarray) -> "_Grid":
        """Lay the grid between the second and the last but one border: what is rare lies outside."""
        low, high = (float(edges[1]), float(edges[-2])) if edges.size >= _FEW else (0.0, 0.0)
        scale = (_CELLS - 3) / (high - low) if high > low else 0.0
        shift = 1.0 - low * scale
        if not (scale > 0 and np.isfinite(scale) and np.isfinite(shift) and abs(shift) < 1e12):
            return cls.bare(edges)
        cells = np.minimum(np.fmax(edges * scale + shift, 0.0), _CELLS - 1).astype(np.int64)
        many = np.bincount(cells, minlength=_CELLS)
        border = np.full(_CELLS, np.inf)
        border[cells] = edges
        crowded = many > 1
        if many[crowded].sum() > _CROWDED * edges.size:
            return cls.bare(edges)
        below = np.concatenate([[0], np.cumsum(many)[:-1]])
        return cls(
            scale, shift, border, crowded, np.stack([below, below + (many > 0)], axis=1).ravel(), False, bool(crowded.any())
        )

    @classmethod
    def bare(cls, edges: np.ndarray) -> "_Grid":
        """Lay no grid: each value is searched for. The scale is still there, for the moments."""
        none = np.zeros(0, dtype=np.int64)
        middle = float(edges[edges.size // 2]) if edges.size else 0.0
        wide = float(edges[-2] - edges[1]) if edges.size >= _FEW else 1.0
        scale = 1.0 / wide if 1e-100 < wide < 1e100 else 1.0
        shift = -middle * scale
        return cls(scale, shift if np.isfinite(shift) else 0.0, none.astype(np.float64), none.astype(bool), none, True)


class _Tally:
    """Adds up moments of the scaled values, which lie near 0 whatever the column's unit: nothing cancels."""

    def __init__(self) -> None:
        self.rows, self.mean, self.squares = 0, 0.0, 0.0
        self.least, self.greatest = np.inf, -np.inf

    def take(self, some: np.ndarray, scaled: np.ndarray) -> bool:
        """Take some values; tell whether one of them may be NaN or infinite."""
        total = float(scaled.sum())
        odd = not np.isfinite(total)
        if odd:
            there = np.isfinite(some)
            some, scaled = some[there], scaled[there]
            total = float(scaled.sum())
        if not some.size:
            return odd
        mean = total / some.size
        # not `scaled @ scaled`: BLAS would start threads of its own for it, in each of ours
        squares = max(float(np.einsum("i,i->", scaled, scaled)) - total * mean, 0.0)
        rows, apart = self.rows + some.size, mean - self.mean
        self.squares += squares + apart * apart * self.rows * some.size / rows
        self.mean += apart * some.size / rows
        self.rows = rows
        self.least, self.greatest = min(self.least, float(some.min())), max(self.greatest, float(some.max()))
        return odd

    def figures(self, grid: _Grid) -> tuple[int, float, float, float, float]:
        """Give number, mean, sum of squares, least and greatest in the column's own unit."""
        if not self.rows:
            return 0, 0.0, 0.0, np.inf, -np.inf
        return (
            self.rows,
            (self.mean - grid.shift) / grid.scale,
            self.squares / grid.scale / grid.scale,
            self.least,
            self.greatest,
        )
