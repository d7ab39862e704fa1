"""Columns as they are compared: of which kind, and what of each side the tests need.

| both sides | compared as |
|---|---|
| integers, floats, decimals, durations | numbers |
| booleans | two categories; beside a number as 0 and 1 |
| dates and times | numbers (shown), hours of the day and days of the week |
| text | categories; free text (many words, hardly a value twice) by length, vocabulary and classifier |
| lists of numbers of one length | vectors |
| anything else, or two kinds that do not fit | categories of their text, or of their hash |
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from kedge.domain.comparing import ComparedKind

_LOOKED_AT = 1000
_FEW_LABELS = 5000
_FREE_WORDS = 4.0  # words in a value, on average, from which text is free
_FREE_SHARE = 0.5  # of the values that are distinct
_IDENTIFIERS = 100  # distinct values from which a text may be an identifier


class NumberSide(NamedTuple):
    """A column's finite values in order, float64, and how many rows hold none; `low` and `high` count the infinite."""

    values: np.ndarray
    rows: int
    missing: int
    low: int
    high: int
    integer: bool

    @property
    def infinite(self) -> int:
        """Count the infinite values."""
        return self.low + self.high


class LabelSides(NamedTuple):
    """A column's values on both sides as labels: aligned, those most frequent over both sides first; counts float64."""

    labels: pl.Series
    reference: np.ndarray
    current: np.ndarray
    rows: tuple[int, int]
    missing: tuple[int, int]


def plain_kind(dtype: pl.DataType) -> ComparedKind | None:
    """Tell how a type is compared; None where nothing is known of it (a column without any value)."""
    if dtype == pl.Null:
        return None
    if dtype.is_numeric() or dtype in (pl.Duration, pl.Time):
        return ComparedKind.NUMBER
    if dtype == pl.Boolean:
        return ComparedKind.BOOLEAN
    if dtype.is_temporal():
        return ComparedKind.TIME
    inner = getattr(dtype, "inner", None)
    if isinstance(dtype, pl.List | pl.Array) and isinstance(inner, pl.DataType) and inner.is_numeric():
        return ComparedKind.VECTOR
    return ComparedKind.CATEGORY


def kind_of(reference: pl.Series, current: pl.Series) -> tuple[ComparedKind, bool]:
    """Tell how a column of both sides is compared, and whether its type is another one."""
    was, now = (None if side.null_count() == len(side) else plain_kind(side.dtype) for side in (reference, current))
    one = was or now or plain_kind(reference.dtype) or plain_kind(current.dtype) or ComparedKind.CATEGORY
    if was is None or now is None or was is now:
        free = one is ComparedKind.CATEGORY and _is_free_text(reference if was else current)
        return (ComparedKind.TEXT if free else one), False
    numbers = {ComparedKind.NUMBER, ComparedKind.BOOLEAN}
    return (ComparedKind.NUMBER if {was, now} == numbers else ComparedKind.CATEGORY), True


def _is_free_text(values: pl.Series) -> bool:
    if values.dtype != pl.String:
        return False
    some = values.drop_nulls().head(_LOOKED_AT)
    if not len(some) or some.n_unique() < _FREE_SHARE * len(some):
        return False
    words = some.str.count_matches(r"\S+").mean()
    return isinstance(words, float) and words >= _FREE_WORDS


def number_side(column: pl.Series) -> NumberSide:
    """Sort a column's numbers; NaN counts as missing, infinite values are counted apart."""
    values = as_numbers(column)
    missing = values.null_count()
    array = np.sort((values.drop_nulls() if missing else values).to_numpy())
    end = int(np.searchsorted(array, np.nan))
    missing += array.size - end
    low = int(np.searchsorted(array[:end], -np.inf, side="right"))
    top = int(np.searchsorted(array[:end], np.inf, side="left"))
    return NumberSide(array[low:top], len(column), missing, low, end - top, column.dtype.is_integer())


def as_numbers(column: pl.Series) -> pl.Series:
    """Give a column's values as float64: durations and times of day in seconds, times in seconds since 1970."""
    dtype = column.dtype
    if dtype == pl.Float64:
        return column
    if dtype == pl.Duration:
        return column.cast(pl.Duration("us")).cast(pl.Int64).cast(pl.Float64) / 1e6
    if dtype == pl.Time:
        return column.cast(pl.Int64).cast(pl.Float64) / 1e9
    if dtype.is_temporal():
        return column.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64) / 1e6
    return column.cast(pl.Float64, strict=False)


def label_sides(reference: pl.Series, current: pl.Series) -> LabelSides:
    """Count the values of both sides as labels."""
    rows, missing, tables = (len(reference), len(current)), [], []
    for side in (reference, current):
        present = as_labels(side)
        missing.append(len(side) - len(present))
        counted = present.value_counts(name="rows__")
        tables.append((counted[:, 0].cast(pl.String), counted["rows__"]))
    aligned = _few_aligned if max(len(labels) for labels, _ in tables) <= _FEW_LABELS else _aligned
    labels, was, now = aligned(*tables)
    alphabetical = np.empty(len(labels), dtype=np.int64)
    alphabetical[labels.arg_sort().to_numpy()] = np.arange(len(labels))
    order = np.lexsort((alphabetical, -(was + now)))
    return LabelSides(labels[order], was[order], now[order], rows, (missing[0], missing[1]))


_Counted = tuple[pl.Series, pl.Series]


def _few_aligned(reference: _Counted, current: _Counted) -> tuple[pl.Series, np.ndarray, np.ndarray]:
    counts = [dict(zip(labels.to_list(), rows.to_list(), strict=True)) for labels, rows in (reference, current)]
    every = list(counts[0] | counts[1])
    was, now = (np.array([side.get(label, 0) for label in every], dtype=np.float64) for side in counts)
    return pl.Series("label", every, dtype=pl.String), was, now


def _aligned(reference: _Counted, current: _Counted) -> tuple[pl.Series, np.ndarray, np.ndarray]:
    tables = [pl.DataFrame({"label": labels, "rows": rows}) for labels, rows in (reference, current)]
    both = tables[0].join(tables[1], on="label", how="full", coalesce=True)
    was, now = (both[name].fill_null(0).cast(pl.Float64).to_numpy() for name in ("rows", "rows_right"))
    return both["label"], was, now


def as_labels(column: pl.Series) -> pl.Series:
    """Give the values that are there as what can be counted: text as it is, other values as text, nested ones by hash."""
    dtype = column.dtype
    if dtype in (pl.String, pl.Boolean) or isinstance(dtype, pl.Categorical | pl.Enum):
        return column.drop_nulls()
    if dtype.is_float():
        return column.drop_nulls().drop_nans().cast(pl.String)
    if dtype.is_numeric() or dtype.is_temporal():
        return column.drop_nulls().cast(pl.String)
    return column.drop_nulls().to_frame().hash_rows(seed=0).cast(pl.String)


def is_running_number(side: NumberSide) -> bool:
    """Tell a running number: whole numbers, each once, with few gaps."""
    values = side.values
    if not side.integer or values.size < _IDENTIFIERS or values[-1] - values[0] >= 2 * values.size:
        return False
    return bool((np.diff(values) > 0).all())


def is_identifier(sides: LabelSides) -> bool:
    """Tell labels that name rows: in the reference hardly one of many comes twice."""
    present = sides.rows[0] - sides.missing[0]
    distinct = int((sides.reference > 0).sum())
    return distinct >= _IDENTIFIERS and distinct > 0.9 * present


def clock_part(column: pl.Series, part: str) -> pl.Series:
    """Give the hour (0 to 23) or the weekday (1 to 7, Monday first) of times, in UTC, as text of two signs."""
    take: dict[str, Callable[[pl.Series], pl.Series]] = {"hour": lambda c: c.dt.hour(), "weekday": lambda c: c.dt.weekday()}
    times = column
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone:
        times = column.dt.convert_time_zone("UTC")
    return take[part](times).cast(pl.String).str.zfill(2)
