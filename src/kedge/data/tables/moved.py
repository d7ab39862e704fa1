"""How far a column's distribution moved from one version to another: distances, and the same bars for both.

A column counts as moved where its PSI is at least 0.1, and more than chance gives: between two samples of n and m rows
of one distribution with k cells, PSI / (1/n + 1/m) is about chi-squared with k - 1 degrees of freedom (Yurdakul, 2018).
"""

import math

import numpy as np
import polars as pl

from kedge.data.source import column_type
from kedge.data.tables.distances import DRIFT_TESTS, ORDERED_ONLY, number_borders
from kedge.domain.data import Bar, ColumnType, Frequency
from kedge.domain.data_diff import MovedColumn

_SHOWN_BARS, _SHOWN_VALUES, _CATEGORIES, _LONGEST = 24, 12, 50, 80
_MUCH = 0.1
_NORMAL_99 = 2.326
_ORDERED = (ColumnType.FLOAT, ColumnType.INTEGER, ColumnType.TIME)


def moved(before: pl.Series, after: pl.Series) -> MovedColumn:
    """Compare the values of one column in two versions, or in samples of their rows."""
    kind = column_type(after.dtype)
    ordered = [_numbers(side) if column_type(side.dtype) in _ORDERED else None for side in (before, after)]
    if kind in _ORDERED and ordered[0] is not None and ordered[1] is not None:
        return _of_numbers(after.name, kind, before=ordered[0], after=ordered[1])
    return _of_values(after.name, kind, before=_texts(before), after=_texts(after))


def _of_numbers(name: str, kind: ColumnType, *, before: np.ndarray, after: np.ndarray) -> MovedColumn:
    edges = number_borders(before)
    counts = [_binned(side, edges) for side in (before, after)]
    bars = _bars(before, after)
    return MovedColumn(
        name=name,
        type=kind,
        distances=_distances(*counts, ordered=bool(edges)),
        rows_before=before.size,
        rows_after=after.size,
        missing_before=int(np.isnan(before).sum()),
        missing_after=int(np.isnan(after).sum()),
        mean_before=_mean(before),
        mean_after=_mean(after),
        bins_before=bars[0],
        bins_after=bars[1],
        moved=_is_moved(*counts),
    )


def _of_values(name: str, kind: ColumnType, *, before: pl.Series, after: pl.Series) -> MovedColumn:
    tables = [_counted(side) for side in (before, after)]
    labels = _most(tables[0], _CATEGORIES)
    counts = []
    for side, table in zip((before, after), tables, strict=True):
        known = [table.get(label, 0) for label in labels]
        missing = side.null_count()
        counts.append(np.array([*known, len(side) - missing - sum(known), missing], dtype=np.float64))
    both = {label: tables[0].get(label, 0) + tables[1].get(label, 0) for label in {*tables[0], *tables[1]}}
    shown = _most(both, _SHOWN_VALUES)
    tops = [tuple(Frequency(label[:_LONGEST], table.get(label, 0)) for label in shown) for table in tables]
    return MovedColumn(
        name=name,
        type=kind,
        distances=_distances(*counts, ordered=False),
        rows_before=len(before),
        rows_after=len(after),
        missing_before=before.null_count(),
        missing_after=after.null_count(),
        top_before=tops[0],
        top_after=tops[1],
        moved=_is_moved(*counts),
    )


def _numbers(values: pl.Series) -> np.ndarray:
    """Give numbers as float64, times as seconds since 1970; null as NaN."""
    if values.dtype.is_temporal():
        times = values if values.dtype in (pl.Time, pl.Duration) else values.cast(pl.Datetime("us"))
        scale = 1e9 if values.dtype == pl.Time else 1e6
        whole = times.cast(pl.Duration("us")) if values.dtype == pl.Duration else times
        return (whole.cast(pl.Int64).cast(pl.Float64) / scale).to_numpy()
    return values.cast(pl.Float64).fill_null(math.nan).to_numpy()


def _texts(values: pl.Series) -> pl.Series:
    if values.dtype in (pl.String, pl.Boolean) or isinstance(values.dtype, pl.Enum) or values.dtype.is_numeric():
        return values.cast(pl.String)
    if values.dtype.is_temporal():
        return values.cast(pl.String)
    # lists, structs, bytes: what counts is which of them are alike
    hashed = values.to_frame().hash_rows(seed=0).cast(pl.String)
    return pl.select(pl.when(values.is_not_null()).then(hashed).alias(values.name)).to_series()


def _counted(values: pl.Series) -> dict[str, int]:
    counted = values.drop_nulls().value_counts()
    return dict(zip(counted[:, 0].to_list(), counted[:, 1].to_list(), strict=True))


def _most(counted: dict[str, int], many: int) -> list[str]:
    return [label for label, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:many]]


def _binned(values: np.ndarray, edges: tuple[float, ...]) -> np.ndarray:
    present = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
    return np.append(counts, values.size - present.size).astype(np.float64)


def _bars(before: np.ndarray, after: np.ndarray) -> tuple[tuple[Bar, ...], tuple[Bar, ...]]:
    """Lay bars of one width over the middle 99 % of both; the first and the last reach to the least and the greatest."""
    both = np.concatenate([side[np.isfinite(side)] for side in (before, after)])
    if not both.size:
        return (), ()
    low, high = np.quantile(both, [0.005, 0.995])
    inner = np.linspace(low, high, _SHOWN_BARS + 1)[1:-1] if high > low else np.array([])
    borders = np.unique(np.concatenate([[both.min()], inner, [both.max()]]))
    if borders.size == 1:
        borders = np.append(borders, borders)
    shown = []
    for side in (before, after):
        finite = side[np.isfinite(side)]
        places = np.clip(np.searchsorted(borders, finite, side="right") - 1, 0, borders.size - 2)
        counts = np.bincount(places, minlength=borders.size - 1)
        spans = zip(borders[:-1].tolist(), borders[1:].tolist(), counts.tolist(), strict=True)
        shown.append(tuple(Bar(*span) for span in spans))
    return shown[0], shown[1]


def _mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None


def _distances(before: np.ndarray, after: np.ndarray, *, ordered: bool) -> dict[str, float]:
    if not before.sum() or not after.sum():
        return {}
    p, q = (before / before.sum())[None, :], (after / after.sum())[None, :]
    has_values = ordered and before[:-1].sum() and after[:-1].sum()
    return {name: float(test(p, q)[0]) for name, test in DRIFT_TESTS.items() if has_values or name not in ORDERED_ONLY}


def _is_moved(before: np.ndarray, after: np.ndarray) -> bool:
    n, m = before.sum(), after.sum()
    if not n or not m:
        return bool(n != m)
    found = float(DRIFT_TESTS["psi"]((before / n)[None, :], (after / m)[None, :])[0])
    free = max(int(((before > 0) | (after > 0)).sum()) - 1, 1)
    by_chance = free * (1 - 2 / (9 * free) + _NORMAL_99 * math.sqrt(2 / (9 * free))) ** 3  # Wilson & Hilferty, 1931
    return bool(found >= _MUCH and found > by_chance * (1 / n + 1 / m))
