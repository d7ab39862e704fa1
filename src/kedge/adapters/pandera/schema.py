"""Schemas of Pandera, of its Polars and its pandas kind, as expectations.

What Kedge has a rule for becomes that rule, and is asked in the one pass. Every other check stays the schema's own: its
function is called with the lazy table (of a pandas schema: with the columns in memory), and gives a flag for each row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from kedge.domain.data import ColumnType, Expectation, Rule, Severity
from kedge.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

Rows = Callable[["pl.LazyFrame"], "pl.LazyFrame"]
Read = tuple[Expectation, Rows | None]
_FLAG = "holds__"
# how types of Polars, pandas and numpy begin
_TYPES = {
    ("int", "uint"): ColumnType.INTEGER,
    ("float", "decimal"): ColumnType.FLOAT,
    ("bool",): ColumnType.BOOLEAN,
    ("str", "object", "categor", "enum"): ColumnType.STRING,
    ("date", "time", "duration"): ColumnType.TIME,
}


class PanderaSchemas:
    """Reads schemas of Pandera (port `ForeignSchemas`)."""

    def read(self, written: object, columns: Sequence[str]) -> Sequence[Read] | None:
        """Give a schema's expectations for a table of these columns; None for what is no schema of Pandera."""
        kind = written if isinstance(written, type) else type(written)
        homes = [base.__module__ for base in kind.__mro__ if base.__module__.startswith("pandera.")]
        if not homes:
            return None
        schema: Any = written.to_schema() if isinstance(written, type) and hasattr(written, "to_schema") else written
        if not hasattr(schema, "columns"):
            raise ConfigError(f"{kind.__name__} is of Pandera, but no schema of a table; write a DataFrameSchema or a model")
        pandas = "polars" not in type(schema).__module__
        if not pandas:
            from pandera.backends.polars.register import register_polars_backends

            register_polars_backends()
        return list(_Reading(schema, columns, pandas=pandas).all())


class _Reading:
    """One schema as it is read for one table."""

    def __init__(self, schema: Any, columns: Sequence[str], *, pandas: bool) -> None:
        self._schema, self._columns, self._pandas = schema, columns, pandas

    def all(self) -> Iterator[Read]:
        """Give the expectations of the table, then those of its columns in the schema's order."""
        schema, declared = self._schema, []
        for key, column in schema.columns.items():
            names = [key] if not column.regex else [name for name in self._columns if re.match(str(key), name)]
            declared += [(name, column) for name in names]
            if not names and column.required:
                raise ConfigError(f"the schema asks for columns that match {key!r}, and the table has none")
        if schema.strict is True:
            yield Expectation(rule=Rule.COLUMNS, columns=tuple(name for name, _ in declared)), None
        if schema.unique:
            yield Expectation(rule=Rule.UNIQUE, columns=tuple(schema.unique)), None
        for check in schema.checks or ():
            yield self._foreign(check, None, cast=None)
        for name, column in declared:
            if column.required or name in self._columns:
                yield from self._column(name, column)

    def _column(self, name: str, column: Any) -> Iterator[Read]:
        cast = column.dtype if (column.coerce or self._schema.coerce) and column.dtype is not None else None
        if cast is not None:
            yield self._castable(name, cast)
        elif (kind := _type_of(column.dtype)) is not None:
            yield Expectation(rule=Rule.TYPE, column=name, type=kind), None
        if not column.nullable:
            yield Expectation(rule=Rule.NOT_NULL, column=name), None
        if column.unique:
            yield Expectation(rule=Rule.UNIQUE, column=name), None
        for check in column.checks or ():
            own = _own(check, name) if cast is None and not check.groupby and check.ignore_na else None
            yield (own, None) if own is not None else self._foreign(check, name, cast=cast)

    def _castable(self, name: str, dtype: Any) -> Read:
        """Expect that each value can be converted, as a schema that coerces does it."""
        import polars as pl

        def rows(table: pl.LazyFrame) -> pl.LazyFrame:
            converted = pl.col(name).cast(_polars_type(dtype), strict=False)
            return table.select((converted.is_not_null() | pl.col(name).is_null()).alias(_FLAG))

        return Expectation(rule=Rule.HOLDS, column=name, says=f"{name} can be read as {dtype}"), rows

    def _foreign(self, check: Any, name: str | None, *, cast: Any) -> Read:
        """Keep a check as it is: its own function says of each row whether it holds."""
        if check.groupby:
            raise ConfigError(f"check {check.name!r} of the schema groups rows, which cannot be asked of a stream")
        says = check.error or check.name or "a check of the schema"
        says = f"{name}: {says}" if name is not None else str(says)
        expectation = Expectation(rule=Rule.HOLDS, column=name or "", says=says, severity=_severity(check))
        ask = _ask_pandas if self._pandas else _ask_polars
        return expectation, lambda table: ask(_converted(table, name, dtype=cast), check, name=name)


def _own(check: Any, name: str) -> Expectation | None:
    """Give Kedge's rule for a check of Pandera's own; None where there is none that means the same."""
    told, severity = check.statistics or {}, _severity(check)
    if check.name == "isin" and all(isinstance(value, str | int | float | bool) for value in told["allowed_values"]):
        return Expectation(rule=Rule.ONE_OF, column=name, values=tuple(told["allowed_values"]), severity=severity)
    low, high = told.get("min_value"), told.get("max_value")
    inclusive = told.get("include_min", True) and told.get("include_max", True)
    numbers = all(isinstance(bound, int | float) or bound is None for bound in (low, high))
    if check.name in ("greater_than_or_equal_to", "less_than_or_equal_to", "in_range") and numbers and inclusive:
        return Expectation(rule=Rule.BETWEEN, column=name, at_least=low, at_most=high, severity=severity)
    return None


def _ask_polars(table: pl.LazyFrame, check: Any, *, name: str | None) -> pl.LazyFrame:
    import polars as pl
    from pandera.api.polars.types import PolarsData

    found = _asked(check, PolarsData(table, name or "*"))
    if isinstance(found, bool):
        return table.select(pl.repeat(found, pl.len(), dtype=pl.Boolean).alias(_FLAG))
    flags: pl.LazyFrame = found.select(pl.first().fill_null(bool(check.ignore_na)).alias(_FLAG))
    if _asks_rows(table, check, name=name):
        return flags
    return table.select(pl.repeat(flags.collect().item(), pl.len(), dtype=pl.Boolean).alias(_FLAG))


def _asked(check: Any, data: Any) -> Any:
    """Call a check's function: one flag, or a lazy table of flags in one column."""
    from pandera.api.function_dispatch import Dispatcher

    backend = check.get_backend(data.lazyframe)(check)
    if isinstance(check._check_fn, Dispatcher):  # a model's own copy may be older than the functions for Polars
        backend.check_fn = partial(type(check).CHECK_FUNCTION_REGISTRY[check.name], **check._check_kwargs)
    return backend.apply(data)


def _asks_rows(table: pl.LazyFrame, check: Any, *, name: str | None) -> bool:
    """Tell whether a check gives a flag for each row (of no rows: none) rather than one for all, as a mean does."""
    from pandera.api.polars.types import PolarsData

    found = _asked(check, PolarsData(table.clear(), name or "*"))
    return not isinstance(found, bool) and found.collect().height == 0


def _ask_pandas(table: pl.LazyFrame, check: Any, *, name: str | None) -> pl.LazyFrame:
    import polars as pl

    rows = (table if name is None else table.select(name)).collect().to_pandas()
    found = check(rows if name is None else rows[name]).check_output
    if isinstance(found, bool) or not hasattr(found, "__len__"):
        flags = pl.repeat(bool(found), len(rows), dtype=pl.Boolean, eager=True)
    else:
        whole = found.reindex(rows.index, fill_value=bool(check.ignore_na))  # missing values were not asked
        frame = pl.from_pandas(whole.to_frame("flag") if whole.ndim == 1 else whole)
        flags = frame.select(pl.all_horizontal(pl.all().cast(pl.Boolean))).to_series()
    return pl.LazyFrame({_FLAG: flags})


def _converted(table: pl.LazyFrame, name: str | None, *, dtype: Any) -> pl.LazyFrame:
    import polars as pl

    return table if dtype is None else table.with_columns(pl.col(name or "").cast(_polars_type(dtype), strict=False))


def _polars_type(dtype: Any) -> Any:
    import polars as pl

    found = getattr(dtype, "type", None)
    if isinstance(found, pl.DataType) or (isinstance(found, type) and issubclass(found, pl.DataType)):
        return found
    kinds = {
        ColumnType.INTEGER: pl.Int64,
        ColumnType.FLOAT: pl.Float64,
        ColumnType.BOOLEAN: pl.Boolean,
        ColumnType.TIME: pl.Datetime("us", "UTC"),
    }
    kind = _type_of(dtype)
    return pl.String if kind is None else kinds.get(kind, pl.String)


def _type_of(dtype: Any) -> ColumnType | None:
    said = str(dtype).lower()
    return next((kind for starts, kind in _TYPES.items() if said.startswith(starts)), None) if dtype is not None else None


def _severity(check: Any) -> Severity:
    return Severity.WARN if check.raise_warning else Severity.ERROR
