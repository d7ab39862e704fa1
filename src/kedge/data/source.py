"""A project's source as declared: the columns that it names, times in UTC, the label as a number.

One column is added: `known_at__`, when a row's label became known. A dataset version holds the rows known by its time.
"""

import difflib
from collections.abc import Collection, Sequence

import polars as pl

from kedge.data.times import as_times
from kedge.domain.data import KNOWN_AT, Column, ColumnType, Schema
from kedge.domain.durations import span_of
from kedge.domain.evaluation import Task
from kedge.domain.project import DataRules
from kedge.errors import SourceFailed

_MOST_CODES = 127
_MOST_STRAY, _MOST_NEITHER = 10, 0.2  # values, and share of rows, beyond which a number is no label of two classes


def declared(source: pl.DataFrame, rules: DataRules) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Give the source's rows in order of time, and the label's classes (none for regression).

    Raises SourceFailed for a source that is empty, lacks a column, or holds one that is neither number, text nor time.
    """
    where = f"source {rules.source!r}"
    _require_columns(source, rules, where=where)
    if source.is_empty():
        raise SourceFailed(f"{where} has no rows; check that it reads the table you mean")
    rows = typed(source.drop(name for name in rules.ignore if name in source.columns), where)
    rows = rows.with_columns(as_times(rows[rules.time], where))
    rows = rows.with_columns(_known_at(rows, rules, where=where).alias(KNOWN_AT))
    if not rows[rules.time].is_sorted(nulls_last=True):
        rows = rows.sort(rules.time, nulls_last=True, maintain_order=True)
    label, classes = _label(rows[rules.label], rules.task, where=where)
    return rows.with_columns(label), classes


def typed(frame: pl.DataFrame, where: str) -> pl.DataFrame:
    """Give every column one of the types that Kedge keeps; NaN becomes null."""
    return frame.select(_typed(frame[name], where) for name in frame.columns)


def schema_of(frame: pl.DataFrame) -> Schema:
    """Describe a typed frame's columns."""
    return Schema(tuple(Column(name=name, type=column_type(dtype)) for name, dtype in frame.schema.items()))


def column_type(dtype: pl.DataType) -> ColumnType:
    """Tell which of Kedge's types a Polars type is."""
    if dtype == pl.Boolean:
        return ColumnType.BOOLEAN
    if dtype.is_integer():
        return ColumnType.INTEGER
    if dtype.is_numeric() or dtype == pl.Null:
        return ColumnType.FLOAT
    return ColumnType.TIME if dtype.is_temporal() else ColumnType.STRING


def require_column(name: str, columns: Sequence[str], *, where: str) -> None:
    """Raise SourceFailed where a table lacks a column, with the names that it has and the nearest of them."""
    if name in columns:
        return
    hint = nearest(name, columns) or "."
    raise SourceFailed(f"{where} has no column {name!r}{hint} It has: {', '.join(columns) or 'no columns at all'}")


def spare(name: str, columns: Collection[str]) -> str:
    """Give a name for a column beside those of a user's table: as it is, or longer where the table has one of that name."""
    while name in columns:
        name += "_"
    return name


def every(rows: pl.LazyFrame, step: int) -> pl.LazyFrame:
    """Take one of so many rows, evenly, as they stream by."""
    if step == 1:
        return rows
    place = spare("row__", rows.collect_schema())
    return rows.with_row_index(place).filter(pl.col(place) % step == 0).drop(place)


def nearest(name: str, columns: Sequence[str]) -> str:
    """Ask whether the column that is most like a name was meant; nothing where none is."""
    near = difflib.get_close_matches(name, columns, n=1, cutoff=0.7)
    return f"; did you mean {near[0]!r}?" if near else ""


def _require_columns(source: pl.DataFrame, rules: DataRules, *, where: str) -> None:
    for name in (rules.key, rules.time, rules.label, rules.label_time):
        if name:
            require_column(name, source.columns, where=where)
    for name in {rules.key, rules.time, rules.label, rules.label_time} & set(rules.ignore):
        raise SourceFailed(f"column {name!r} of {where} is needed and cannot be in [data] ignore")
    if KNOWN_AT in source.columns:
        raise SourceFailed(f"column {KNOWN_AT!r} of {where} has a name that Kedge gives itself; rename it")


def _typed(column: pl.Series, where: str) -> pl.Series:
    dtype = column.dtype
    if dtype.is_float():
        return column.cast(pl.Float64).fill_nan(None)
    if dtype.is_decimal() or dtype == pl.Null:
        return column.cast(pl.Float64)
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return as_times(column, where)
    if dtype.is_integer():
        return column if dtype in (pl.Int64, pl.UInt64, pl.Int128) else column.cast(pl.Int64)
    if dtype in (pl.Boolean, pl.String):
        return column
    raise SourceFailed(
        f"column {column.name!r} of {where} is {dtype}; Kedge keeps numbers, booleans, text and times: "
        "convert it in the source, or name it in [data] ignore"
    )


def _known_at(rows: pl.DataFrame, rules: DataRules, *, where: str) -> pl.Series:
    """Say when each row's label became known. A row without any time counts as known when the row before it was:
    so it reaches validation, which sets it aside and counts it."""
    if rules.label_time:
        return as_times(rows[rules.label_time], where)
    times = rows[rules.time].fill_null(strategy="forward").fill_null(strategy="backward")
    return times + span_of(rules.label_delay) if rules.label_delay else times


def _label(label: pl.Series, task: Task, *, where: str) -> tuple[pl.Series, tuple[str, ...]]:
    if task is Task.REGRESSION:
        if not (label.dtype.is_numeric() or label.dtype == pl.Boolean):
            raise SourceFailed(f"label {label.name!r} of {where} is {label.dtype}; regression needs numbers")
        return label.cast(pl.Float64), ()
    if label.dtype.is_temporal():
        raise SourceFailed(f"label {label.name!r} of {where} is a time; classification needs two values")
    values = label.drop_nulls().unique(maintain_order=True).head(_MOST_CODES + 1).to_list()
    classes = _classes(values)
    if not values:
        return label.cast(pl.Int8, strict=False), tuple(_text(value) for value in classes)
    codes = {value: min(code, _MOST_CODES) for code, value in enumerate(classes)}
    coded = label.replace_strict(codes, default=_MOST_CODES, return_dtype=pl.Int8)
    _require_two(coded.filter(label.is_not_null()), label, where=where)
    known = coded.to_frame().select(pl.when(label.is_not_null()).then(pl.col(label.name)))
    return known[label.name], tuple(_text(value) for value in classes)


def _require_two(codes: pl.Series, label: pl.Series, *, where: str) -> None:
    """Refuse a number whose task was left at classification; a few stray values are for validation to set aside."""
    told = label.drop_nulls()
    if label.dtype.is_numeric() and told.n_unique() > _MOST_STRAY and (codes > 1).sum() > _MOST_NEITHER * len(told):
        raise SourceFailed(
            f"label {label.name!r} of {where} has {told.n_unique():,} values, and classification needs two: "
            'set data.task = "regression" in kedge.toml, or make a label of two values in the source'
        )


def _classes(values: list[str | bool | float]) -> list[str | bool | float]:
    """Order the label's values: the two classes, the greater one positive, then any that should not be there.

    The first two values in time are the classes (0 and 1 count as such even where only one was seen yet): what comes
    later cannot change them. A third gets the code 2, so that validation finds and names it.
    """
    first, later = values[:2], values[2:]
    if all(value in (0, 1) for value in first):
        kind = type(first[0]) if first else int
        return [kind(0), kind(1), *later]
    return [*sorted(first, key=lambda value: (isinstance(value, str), value)), *later]


def _text(value: str | float) -> str:
    return str(int(value)) if isinstance(value, bool | float) and float(value).is_integer() else str(value)
