"""Profiles of whole tables, of any size: taken in one pass of bounded memory, and added up.

Bins and categories are chosen from an even sample of at most 50,000 rows (all, where they are no more); every row is then
counted in them, exactly. Text is told apart by a 64-bit hash. Columns are counted by as many threads as there are
processors.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np
import polars as pl

from kedge.data.source import every
from kedge.data.tables.binning import BinCounts, count_in
from kedge.data.tables.distances import number_borders
from kedge.domain.monitoring import ColumnProfile, Moments, Profile
from kedge.errors import RequestInvalid
from kedge.monitoring.drift.profile import merge, most_common

SAMPLED = 50_000
_BATCH = 262_144
_TEXTS = (pl.String, pl.Categorical, pl.Enum)
_SLOTS = 4096
_FEW = 16  # hashes that are sooner compared with each other one by one
_AT_ONCE = 131_072  # hashes that stay in the processor's cache
_SMALL = 16_384  # rows that are counted sooner than threads are started
_Item = TypeVar("_Item")


def take_profile(table: pl.DataFrame | pl.LazyFrame) -> Profile:
    """Profile a reference: choose the bins of each column, and count all rows in them. Lists and structs are left out.

    Raises RequestInvalid where there is no column to profile.
    """
    names = _profiled(table.collect_schema())
    if isinstance(table, pl.LazyFrame):
        return _counted(table, _bins(_sample(table.select(names))))
    step = max(-(-len(table) // SAMPLED), 1)

    def profiled(name: str) -> ColumnProfile:
        return _counter(_column_bins(table.get_column(name).gather_every(step)))(table)

    return Profile(columns=_each(profiled, names, rows=len(table)), rows=len(table))


def profile_like(reference: Profile, table: pl.DataFrame | pl.LazyFrame) -> Profile:
    """Count a table in a reference's bins, so that the two can be compared or added. A column that the table lacks is all
    missing; one that the reference lacks is left out."""
    return _counted(table, reference)


def _profiled(schema: pl.Schema) -> list[str]:
    names = [name for name, dtype in schema.items() if not dtype.is_nested() and dtype not in (pl.Binary, pl.Object)]
    if not names:
        raise RequestInvalid("there is no column of numbers, text, booleans or times to profile")
    return names


def _sample(table: pl.LazyFrame) -> pl.DataFrame:
    rows = int(table.select(pl.len()).collect(engine="streaming").item())
    return every(table, max(-(-rows // SAMPLED), 1)).collect(engine="streaming")


def _bins(sample: pl.DataFrame) -> Profile:
    """Choose bins: a profile of no rows."""
    return Profile(columns=tuple(_column_bins(series) for series in sample), rows=0)


def _column_bins(sample: pl.Series) -> ColumnProfile:
    """Choose the bins of a column: a profile of no rows."""
    name, dtype = sample.name, sample.dtype
    if isinstance(dtype, _TEXTS) or dtype in _TEXTS:
        found = sample.cast(pl.String).drop_nulls().value_counts(name="rows__")
        labels = most_common(dict(zip(found[name].to_list(), found["rows__"].to_list(), strict=True)))
        return ColumnProfile(name=name, counts=(0,) * max(len(labels), 1), missing=0, rows=0, labels=labels)
    edges = number_borders(_numbers(sample).astype(np.float64))
    return ColumnProfile(name=name, counts=(0,) * (len(edges) + 1), missing=0, rows=0, edges=edges)


def _counted(table: pl.DataFrame | pl.LazyFrame, bins: Profile) -> Profile:
    """Count all rows, batch by batch where the table is lazy."""
    counters = [_counter(column) for column in bins.columns]

    def counted(batch: pl.DataFrame) -> Profile:
        return Profile(columns=_each(lambda count: count(batch), counters, rows=len(batch)), rows=len(batch))

    if isinstance(table, pl.DataFrame):
        return counted(table)
    total = bins if not bins.rows else _emptied(bins)
    for batch in table.select(_there(table, [column.name for column in bins.columns])).collect_batches(chunk_size=_BATCH):
        total = merge(total, counted(batch))
    return total


def _each(work: Callable[[_Item], ColumnProfile], items: Sequence[_Item], *, rows: int) -> tuple[ColumnProfile, ...]:
    """Do the work of each column, on all processors where there are many rows."""
    if rows <= _SMALL:
        return tuple(map(work, items))
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        return tuple(threads.map(work, items))


def _emptied(profile: Profile) -> Profile:
    from msgspec.structs import replace

    columns = (
        replace(column, counts=(0,) * len(column.counts), missing=0, rows=0, others=0, moments=None)
        for column in profile.columns
    )
    return Profile(columns=tuple(columns), rows=0)


def _there(table: pl.LazyFrame, names: Sequence[str]) -> list[str]:
    schema = table.collect_schema()
    return [name for name in names if name in schema]


def _counter(column: ColumnProfile) -> Callable[[pl.DataFrame], ColumnProfile]:
    if column.labels:
        slots = cache(lambda: _Slots(pl.Series(column.labels, dtype=pl.String).hash().to_numpy()))
        return lambda batch: _count_text(column, batch, slots=slots)
    edges = np.array(column.edges, dtype=np.float64)
    return lambda batch: _count_numbers(column, batch, edges=edges)


def _count_numbers(column: ColumnProfile, batch: pl.DataFrame, *, edges: np.ndarray) -> ColumnProfile:
    rows, series = len(batch), batch.get_column(column.name, default=None)
    if series is None:
        return ColumnProfile(name=column.name, counts=(0,) * len(column.counts), missing=rows, rows=rows, edges=column.edges)
    found = count_in(_numbers(series.drop_nulls() if series.null_count() else series), edges)
    return ColumnProfile(
        name=column.name,
        counts=tuple(found.bins.tolist()),
        missing=found.missing + series.null_count(),
        rows=rows,
        edges=column.edges,
        moments=_moments(found),
    )


def _moments(found: BinCounts) -> Moments | None:
    if not found.rows or not np.isfinite(found.squares):
        return None
    return Moments(rows=found.rows, mean=found.mean, squares=found.squares, least=found.least, greatest=found.greatest)


def _numbers(series: pl.Series) -> np.ndarray:
    """Give a column as an array of numbers, without a copy where it is one: times in seconds since 1970; text is NaN."""
    dtype = series.dtype
    if dtype.is_float() or (dtype.is_integer() and not series.null_count()):
        return series.to_numpy()
    if dtype.is_temporal():
        from kedge.monitoring.comparing.columns import as_numbers

        series = as_numbers(series)
    return series.cast(pl.Float64, strict=False).to_numpy()


class _Slots:
    """A table of a few hashes, in which any number of others is looked up at once: each known one has a slot of its own."""

    def __init__(self, hashes: np.ndarray) -> None:
        self._size = _SLOTS
        while np.unique(hashes & np.uint64(self._size - 1)).size < hashes.size and self._size < 1 << 22:
            self._size *= 2
        self._mask = np.uint64(self._size - 1)
        self._known = np.full(self._size, ~hashes[0] if hashes.size else 0, dtype=np.uint64)
        self._places = (hashes & self._mask).astype(np.int64)
        self._known[self._places] = hashes
        self._alone = np.unique(self._places).size == hashes.size
        self._hashes = hashes

    def count(self, hashes: np.ndarray) -> np.ndarray:
        """Count how often each known hash comes: int64 (known,)."""
        counts, one_by_one = np.zeros(self._hashes.size, dtype=np.int64), self._hashes.size <= _FEW or not self._alone
        room = min(hashes.size, _AT_ONCE)
        slots, known, same = np.empty(room, np.int64), np.empty(room, np.uint64), np.empty(room, np.bool_)
        for first in range(0, hashes.size, _AT_ONCE):
            some = hashes[first : first + _AT_ONCE]
            slot, found = slots[: some.size], same[: some.size]
            if one_by_one:
                counts += [np.count_nonzero(np.equal(some, one, out=found)) for one in self._hashes]
                continue
            np.bitwise_and(some, self._mask, out=slot.view(np.uint64))
            np.equal(np.take(self._known, slot, out=known[: some.size], mode="clip"), some, out=found)
            counts += np.bincount(slot if found.all() else slot[found], minlength=self._size)[self._places]
        return counts


def _count_text(column: ColumnProfile, batch: pl.DataFrame, *, slots: Callable[[], _Slots]) -> ColumnProfile:
    rows, series = len(batch), batch.get_column(column.name, default=None)
    if series is None:
        return ColumnProfile(
            name=column.name, counts=(0,) * len(column.counts), missing=rows, rows=rows, labels=column.labels
        )
    present = (series.drop_nulls() if series.null_count() else series).cast(pl.String)
    if rows <= _SMALL:
        found = Counter(present.to_list())
        counts = np.array([found[label] for label in column.labels], dtype=np.int64)
    else:
        counts = slots().count(present.hash().to_numpy())
    return ColumnProfile(
        name=column.name,
        counts=tuple(counts.tolist()),
        missing=rows - len(present),
        rows=rows,
        labels=column.labels,
        others=len(present) - int(counts.sum()),
    )
