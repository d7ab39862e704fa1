"""Count numbers in bins of any width, exactly, and many times faster than by a search for each value.

Values are first laid into a fine grid of cells of one width, which takes a multiplication. The place in the grid never
falls as a value rises, so whoever lies below the first border of its cell is in a known bin. The others, a few in a
hundred, are in the bin above, or searched for where borders share a cell (much skewed columns).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

_CELLS = 4096
_GRIDDED = 32_768  # values from which a grid is laid sooner than each is searched for
_PLACED = 256  # values that are placed by a grid sooner than by a search, where the grid is laid already
_PLACED_AT_ONCE = 16_384
_KEPT_CELLS = 1024
_AT_ONCE = 131_072  # values that stay in the processor's cache, and so many that threads seldom wait for each other
_CROWDED = 0.25  # share of the borders that are not alone in their cells from which a search is sooner done
_FEW = 4  # borders that are searched sooner than a grid is laid
_WHOLE = 2.0**52  # added to a number from 0 to this, it leaves the nearest whole number in the lowest bits
_WHOLE_BITS = int(np.float64(_WHOLE).view(np.int64))


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
        grid = _Grid.over(edges) if values.size > _GRIDDED else _Grid.bare(edges)
        counting, tally, missing = _Counting(grid, edges, room=min(values.size, _AT_ONCE)), _Tally(), 0
        for first in range(0, values.size, _AT_ONCE):
            some = values[first : first + _AT_ONCE]
            scaled = counting.scale(some)
            if tally.take(some, scaled):
                there = ~np.isnan(some)
                missing += int(some.size - there.sum())
                some = some[there]
                scaled = counting.scale(some)
            counting.add(some, scaled)
    return BinCounts(counting.bins(), missing, *tally.figures(grid))


def places_in(values: np.ndarray, edges: tuple[float, ...]) -> np.ndarray:
    """Give the bin of each number (any real dtype) between rising borders, as a search from the right does: int64
    (values,). NaN lies above all borders."""
    borders, grid = _kept_grid(edges)
    if values.size < _PLACED or grid.plain:
        return np.searchsorted(borders, values, side="right")
    found, counting = np.empty(values.size, dtype=np.int64), _Counting(grid, borders, room=min(values.size, _PLACED_AT_ONCE))
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, values.size, _PLACED_AT_ONCE):
            counting.place(values[first : first + _PLACED_AT_ONCE], found[first : first + _PLACED_AT_ONCE])
    return found


@lru_cache(maxsize=256)
def _kept_grid(edges: tuple[float, ...]) -> tuple[np.ndarray, "_Grid"]:
    """Lay a grid that is used again, window after window; a coarse one, of 16 kB."""
    borders = np.array(edges, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return borders, _Grid.over(borders, size=_KEPT_CELLS)


class _Counting:
    """Counts values block by block; what is written for each value is written over at the next block."""

    def __init__(self, grid: "_Grid", edges: np.ndarray, *, room: int) -> None:
        self._grid, self._edges = grid, edges
        self._scaled, self._border, self._beyond = np.empty(room), np.empty(room), np.empty(room, dtype=bool)
        self._cells, self._above = np.zeros_like(grid.bin), np.zeros_like(grid.bin)
        self._searched = np.zeros(edges.size + 1, dtype=np.int64)

    def scale(self, some: np.ndarray) -> np.ndarray:
        """Give values as they lie along the grid: float64."""
        scaled = self._scaled[: some.size]
        np.multiply(some, self._grid.scale, out=scaled, dtype=np.float64)
        scaled += self._grid.shift
        return scaled

    def add(self, some: np.ndarray, scaled: np.ndarray) -> None:
        """Count values, none of them NaN; where they lie along the grid is written over."""
        if self._grid.plain:
            self._search(some)
            return
        cells, beyond = self._parted(some, scaled)
        self._cells += np.bincount(cells, minlength=self._cells.size)
        self._above += np.bincount(cells[beyond], minlength=self._above.size)
        if not self._grid.alone:
            self._search(some[beyond])

    def place(self, some: np.ndarray, bins: np.ndarray) -> None:
        """Write the bin of each value into `bins`."""
        cells, beyond = self._parted(some, self.scale(some))
        np.take(self._grid.bin, cells, out=bins, mode="clip")
        if self._grid.alone:
            bins += beyond
        else:
            bins[beyond] = np.searchsorted(self._edges, some[beyond], side="right")
        missing = np.isnan(some, out=beyond)
        if missing.any():
            bins[missing] = self._edges.size

    def _parted(self, some: np.ndarray, scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give the cell of each value, and whether it lies at the first border of its cell or above."""
        cells, border, beyond = (
            _cells(scaled, last=self._grid.bin.size - 1),
            self._border[: some.size],
            self._beyond[: some.size],
        )
        np.take(self._grid.border, cells, out=border, mode="clip")
        return cells, np.greater_equal(some, border, out=beyond)

    def _search(self, some: np.ndarray) -> None:
        self._searched += np.bincount(np.searchsorted(self._edges, some, side="right"), minlength=self._searched.size)

    def bins(self) -> np.ndarray:
        """Give the count of each bin: int64 (borders + 1,)."""
        bins = self._searched.copy()
        if not self._grid.plain:
            np.add.at(bins, self._grid.bin, self._cells - self._above)
            if self._grid.alone:
                np.add.at(bins, self._grid.bin[self._above > 0] + 1, self._above[self._above > 0])
        return bins


def _cells(scaled: np.ndarray, *, last: int) -> np.ndarray:
    """Give the cell of each place along the grid, in its own memory: int64, from 0 to the last."""
    np.clip(scaled, 0.0, last, out=scaled)
    scaled += _WHOLE
    cells = scaled.view(np.int64)
    cells -= _WHOLE_BITS
    return cells


class _Grid(NamedTuple):
    """A grid over the borders: a value's cell is `value * scale + shift`, bounded and rounded. `border` is the first in
    each cell (NaN: none), `bin` that of what lies below it; `alone` says that no cell has a second one. A `plain`
    grid has too few borders to be worth it, or borders that no grid parts."""

    scale: float
    shift: float
    border: np.ndarray
    bin: np.ndarray
    plain: bool
    alone: bool = True

    @classmethod
    def over(cls, edges: np.ndarray, *, size: int = _CELLS) -> "_Grid":
        """Lay the grid between the second and the last but one border: what is rare lies outside."""
        low, high = (float(edges[1]), float(edges[-2])) if edges.size >= _FEW else (0.0, 0.0)
        scale = (size - 3) / (high - low) if high > low else 0.0
        shift = 1.0 - low * scale
        if not (scale > 0 and np.isfinite(scale) and np.isfinite(shift) and abs(shift) < 1e12):
            return cls.bare(edges)
        cells = _cells(edges * scale + shift, last=size - 1)
        many = np.bincount(cells, minlength=size)
        if many[many > 1].sum() > _CROWDED * edges.size:
            return cls.bare(edges)
        border = np.full(size, np.nan)
        border[cells[::-1]] = edges[::-1]
        return cls(scale, shift, border, np.cumsum(many) - many, False, bool(many.max() <= 1))

    @classmethod
    def bare(cls, edges: np.ndarray) -> "_Grid":
        """Lay no grid: each value is searched for. The scale is still there, for the moments."""
        none = np.zeros(0, dtype=np.int64)
        middle = float(edges[edges.size // 2]) if edges.size else 0.0
        wide = float(edges[-2] - edges[1]) if edges.size >= _FEW else 1.0
        scale = 1.0 / wide if 1e-100 < wide < 1e100 else 1.0
        shift = -middle * scale
        return cls(scale, shift if np.isfinite(shift) else 0.0, none.astype(np.float64), none, True)


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
