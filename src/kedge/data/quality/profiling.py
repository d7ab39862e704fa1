"""Profiles: what a version of a table holds, column by column, read lazily in a few passes of bounded memory.

Counts, bounds, means and missing shares are exact. Up to a million rows so are quantiles and histograms; beyond, they
come from an even sample of half a million rows or more. Of more than 200,000 rows distinct values are estimated
(HyperLogLog).
"""

from collections.abc import Sequence
from datetime import datetime
from math import ceil, floor, isfinite, log10
from typing import Any

import numpy as np
import polars as pl
from msgspec.structs import replace

from kedge.data.quality.rules import as_moment
from kedge.data.source import column_type, every
from kedge.domain.data import Bar, ColumnSummary, ColumnType, Frequency, TableProfile
from kedge.domain.ids import DatasetName, Digest

QUANTILES = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)
EXACT_ROWS = 1_000_000
EXACT_DISTINCT = 200_000
_SAMPLE = 500_000
_BARS, _SINGLE = 20, 24
_TOP = 20
_FEW = 100_000  # distinct values that may be counted one by one
_AT_ONCE = 32  # columns whose sample is in memory at a time
_HASHES = 64_000_000  # of rows that are in memory at a time, eight bytes each
_NUMBERS = (ColumnType.FLOAT, ColumnType.INTEGER)


def profile(
    table: pl.LazyFrame,
    *,
    dataset: DatasetName,
    version: Digest,
    personal: frozenset[str],
    now: datetime,
) -> TableProfile:
    """Profile a table. Of personal columns only types, missing values and distinct values are counted."""
    schema = table.collect_schema()
    kinds = {name: column_type(dtype) for name, dtype in schema.items()}
    shown = [name for name in schema if name not in personal]
    rows = int(table.select(pl.len()).collect(engine="streaming").item())
    figures = _figures(table, schema, shown=shown, rows=rows)
    numbers = [name for name in shown if kinds[name] in _NUMBERS]
    words = [name for name in shown if kinds[name] in (ColumnType.STRING, ColumnType.BOOLEAN) and not _opaque(schema[name])]
    samples = _samples(table, numbers, rows=rows)
    tops = _tops(table, words, distinct={name: figures[f"distinct {name}"] for name in words}, rows=rows)
    columns = []
    for name, kind in kinds.items():
        missing, distinct = figures[f"missing {name}"], figures[f"distinct {name}"]
        plain = ColumnSummary(name=name, type=kind, missing=missing, distinct=min(distinct, rows - missing))
        if name in personal:
            columns.append(_with(plain, personal=True))
        elif kind in _NUMBERS:
            columns.append(_number(plain, figures, sample=samples[name], rows=rows))
        elif kind is ColumnType.TIME:
            least, greatest = (_seconds(figures[f"{end} {name}"]) for end in ("least", "greatest"))
            columns.append(_with(plain, least=least, greatest=greatest))
        else:
            lengths = {end: figures.get(f"{end} {name}") for end in ("shortest", "longest")}
            columns.append(_with(plain, top=tops.get(name, ()), **lengths))
    return TableProfile(
        dataset=dataset,
        version=version,
        rows=rows,
        columns=tuple(columns),
        created_at=now,
        duplicates=_duplicates(table, rows=rows),
    )


def _with(summary: ColumnSummary, **more: Any) -> ColumnSummary:
    return replace(summary, **more)


def _figures(table: pl.LazyFrame, schema: pl.Schema, *, shown: Sequence[str], rows: int) -> dict[str, Any]:
    """Ask for all statistics of all columns in one pass."""
    asked: dict[str, pl.Expr] = {}
    for name, dtype in schema.items():
        column = _plain(name, dtype)
        there = column.drop_nulls().hash() if _opaque(dtype) else column.drop_nulls()
        asked[f"missing {name}"] = column.null_count()
        asked[f"distinct {name}"] = there.n_unique() if rows <= EXACT_DISTINCT else there.approx_n_unique()
        if name not in shown:
            continue
        kind = column_type(dtype)
        if kind in _NUMBERS:
            number = _finite(name, dtype)
            asked |= {f"least {name}": number.min(), f"greatest {name}": number.max()}
            asked |= {f"mean {name}": number.mean(), f"deviation {name}": number.std()}
        elif kind is ColumnType.TIME:
            asked |= {f"least {name}": column.min(), f"greatest {name}": column.max()}
        elif dtype == pl.String:
            length = column.str.len_chars()
            asked |= {f"shortest {name}": length.min(), f"longest {name}": length.max()}
    short = {str(number): expression for number, expression in enumerate(asked.values())}
    return dict(zip(asked, table.select(**short).collect(engine="streaming").row(0), strict=True)) if asked else {}


def _opaque(dtype: pl.DataType) -> bool:
    """Tell whether a column holds lists, structs or bytes: they are counted, and not shown."""
    return dtype.is_nested() or dtype == pl.Binary


def _plain(name: str, dtype: pl.DataType) -> pl.Expr:
    """Read a column with NaN as missing, as versions keep it, and anything that is none of Kedge's types as text."""
    column = pl.col(name)
    if dtype.is_float():
        return column.fill_nan(None)
    return column.cast(pl.String) if isinstance(dtype, pl.Categorical | pl.Enum) else column


def _finite(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype.is_float():
        return pl.when(column.is_finite()).then(column).cast(pl.Float64)
    return column.cast(pl.Float64)


def _samples(table: pl.LazyFrame, names: Sequence[str], *, rows: int) -> dict[str, np.ndarray]:
    """Take the finite values of number columns, sorted: all of them, or those of every so many rows."""
    step = max(1, rows // _SAMPLE) if rows > EXACT_ROWS else 1
    schema = table.collect_schema()
    found: dict[str, np.ndarray] = {}
    some = every(table, step)
    for start in range(0, len(names), _AT_ONCE):
        block = names[start : start + _AT_ONCE]
        frame = some.select(_finite(name, schema[name]).alias(name) for name in block).collect(engine="streaming")
        found |= {name: np.sort(frame[name].drop_nulls().to_numpy()) for name in block}
    return found


def _number(plain: ColumnSummary, figures: dict[str, Any], *, sample: np.ndarray, rows: int) -> ColumnSummary:
    name = plain.name
    least, greatest = figures[f"least {name}"], figures[f"greatest {name}"]
    if least is None or not sample.size:
        return plain
    mean, deviation = figures[f"mean {name}"], figures[f"deviation {name}"]
    return _with(
        plain,
        least=least,
        greatest=greatest,
        mean=mean if isfinite(mean) else None,
        deviation=deviation if deviation is not None and isfinite(deviation) else None,
        quantiles=tuple(np.quantile(sample, QUANTILES).tolist()),
        bins=bars(sample, least=least, greatest=greatest, rows=rows - plain.missing),
    )


def bars(values: np.ndarray, *, least: float, greatest: float, rows: int) -> tuple[Bar, ...]:
    """Draw a histogram of sorted, finite values: a bar for each of a few values, else about twenty of one round width.

    What lies beyond the outer percents is one bar at each end, so that far values do not flatten the rest. `rows` is how
    many rows the values stand for.
    """
    single = np.unique(values)
    if len(single) <= _SINGLE:
        edges = [*single.tolist(), float(single[-1])]
        counts = np.diff([*np.searchsorted(values, single), values.size])
    else:
        low, high = np.quantile(values, (0.01, 0.99)).tolist()
        if not high > low:
            low, high = float(values[0]), float(values[-1])
        width = _round_width((high - low) / _BARS)
        inner = np.arange(floor(low / width), ceil(high / width) + 1) * width
        inner = inner[(inner > least) & (inner < greatest)]
        edges = [least, *inner.tolist(), greatest]
        counts = np.diff([0, *np.searchsorted(values, inner, side="left"), values.size])
    shares = _scaled(counts, rows)
    return tuple(Bar(one, other, int(count)) for one, other, count in zip(edges[:-1], edges[1:], shares, strict=True))


def _round_width(width: float) -> float:
    """Give the first of 1, 2, 2.5, 5 times a power of ten that is not below a width."""
    power = 10.0 ** floor(log10(width))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= width * (1 - 1e-9))


def _scaled(counts: np.ndarray, rows: int) -> np.ndarray:
    """Scale a sample's counts to all rows; their sum is the rows."""
    total = int(counts.sum())
    if not total or total == rows:
        return counts
    ends = np.round(np.cumsum(counts) * (rows / total)).astype(np.int64)
    return np.diff(ends, prepend=0)


def _tops(
    table: pl.LazyFrame, names: Sequence[str], *, distinct: dict[str, int], rows: int
) -> dict[str, tuple[Frequency, ...]]:
    """Count the most frequent values of each column; of columns with very many values, in a sample."""
    schema, queries, scales = table.collect_schema(), [], []
    step = max(1, rows // _SAMPLE)
    for name in names:
        many = distinct[name] > _FEW and rows > EXACT_ROWS
        some = every(table, step if many else 1)
        text = _plain(name, schema[name]).cast(pl.String).alias("value")
        counted = some.select(text).drop_nulls().group_by("value").len(name="rows")
        queries.append(counted.sort(["rows", "value"], descending=[True, False]).head(_TOP))
        scales.append(step if many else 1)
    found = pl.collect_all(queries, engine="streaming") if queries else []
    return {
        name: tuple(Frequency(value, count * scale) for value, count in frame.iter_rows())
        for name, frame, scale in zip(names, found, scales, strict=True)
    }


def _duplicates(table: pl.LazyFrame, *, rows: int) -> int:
    """Count the rows that are equal to an earlier one in all columns, told apart by 64-bit hashes."""
    names = table.collect_schema().names()
    if not names or not rows:
        return 0
    hashes = table.select(hash=pl.struct(names).hash())
    passes, different = -(-rows // _HASHES), 0
    for turn in range(passes):
        some = hashes if passes == 1 else hashes.filter(pl.col("hash") % passes == turn)
        found = np.sort(some.collect(engine="streaming")["hash"].to_numpy())
        different += int((found[1:] != found[:-1]).sum()) + (found.size > 0)
    return rows - different


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    return as_moment(value).timestamp() if hasattr(value, "year") else None
