"""Which rows are meant: a condition (a Polars expression, or the same in SQL), or keys; and as of when.

Errors name columns and types, never values: a condition or a key may be a person's.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl

from kedge.data.source import require_column
from kedge.errors import RequestInvalid

Where = pl.Expr | str


def condition(where: Where, schema: Mapping[str, pl.DataType], *, table: str) -> pl.Expr:
    """Read a condition on rows: an expression, or text such as "country = 'DE' AND age < 18".

    Raises RequestInvalid where it is no condition, SourceFailed for a column that is not there.
    """
    if not isinstance(where, pl.Expr | str) or (isinstance(where, str) and not where.strip()):
        raise RequestInvalid(f'a condition is a Polars expression or text, such as "age < 18"; got {type(where).__name__}')
    try:
        meant = pl.sql_expr(where) if isinstance(where, str) else where
        needed = meant.meta.root_names()
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise RequestInvalid("the condition cannot be read; write it as in SQL: \"age < 18 AND country = 'DE'\"") from error
    for name in needed:
        require_column(name, [*schema], where=f"the condition cannot be used: table {table!r}")
    return meant


def mask(rows: pl.DataFrame, meant: pl.Expr) -> np.ndarray:
    """Say of each row whether a condition holds for it; where that is null, it does not. Raises RequestInvalid."""
    try:
        found = rows.select(meant.alias("holds"))["holds"]
    except pl.exceptions.PolarsError as error:
        raise unusable(error) from error
    if found.dtype != pl.Boolean:
        raise RequestInvalid(f"the condition gives {found.dtype}, not true or false for each row")
    if len(found) != len(rows):
        if len(found) != 1:
            raise RequestInvalid(f"the condition gives {len(found)} answers for {len(rows)} rows")
        found = found.new_from_index(0, len(rows))
    return found.fill_null(value=False).to_numpy()


def unusable(error: Exception) -> RequestInvalid:
    """Say that a condition does not fit a table, without what it says of values."""
    said = type(error).__name__.removesuffix("Error")
    return RequestInvalid(
        f"the condition cannot be used on this table ({said}); check the types that it compares, such as a date with"
        " DATE '2026-01-31'"
    )


def keyed(keys: Any, key: Sequence[str], *, schema: Mapping[str, pl.DataType], table: str) -> pl.DataFrame:
    """Read keys: values of the key column; tuples or dictionaries where it is several columns; or a frame with them.

    Raises RequestInvalid.
    """
    if not key:
        raise RequestInvalid(f"table {table!r} has no key; say which rows by a condition (where), or commit it with a key")
    rows = keys if isinstance(keys, pl.DataFrame) else _framed(keys, key, table=table)
    lacking = [name for name in key if name not in rows.columns]
    if lacking:
        raise RequestInvalid(f"keys of table {table!r} need the columns {', '.join(key)}; {', '.join(lacking)} is missing")
    try:
        return rows.select(pl.col(name).cast(schema[name]) for name in key).unique()
    except pl.exceptions.PolarsError as error:
        wanted = ", ".join(f"{name} ({schema[name]})" for name in key)
        raise RequestInvalid(f"these are no keys of table {table!r}: it wants {wanted}") from error


def among(rows: pl.DataFrame, keys: pl.DataFrame) -> np.ndarray:
    """Say of each row whether its key is among some."""
    wanted = keys.with_columns(found=pl.lit(value=True))
    found = rows.select(keys.columns).join(wanted, on=keys.columns, how="left", maintain_order="left")["found"]
    return found.fill_null(value=False).to_numpy()


def moment(as_of: datetime | date | str) -> datetime:
    """Read a time: a datetime, a date (its midnight) or ISO text; without a zone it is UTC. Raises RequestInvalid."""
    try:
        found = datetime.fromisoformat(as_of) if isinstance(as_of, str) else as_of
    except ValueError:
        raise RequestInvalid(f"as_of is {as_of!r}; write a time such as 2026-01-31 or 2026-01-31T10:00:00Z") from None
    if not isinstance(found, datetime):
        found = datetime(found.year, found.month, found.day)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _framed(keys: Any, key: Sequence[str], *, table: str) -> pl.DataFrame:
    if isinstance(keys, str | bytes | Mapping) or not hasattr(keys, "__iter__"):
        keys = [keys]
    try:
        rows = [*keys]
        if rows and isinstance(rows[0], Mapping):
            return pl.DataFrame(rows, infer_schema_length=None)
        if len(key) == 1:
            rows = [(row,) if not isinstance(row, tuple) else row for row in rows]
        return pl.DataFrame(rows, schema=list(key), orient="row", infer_schema_length=None)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise RequestInvalid(f"keys of table {table!r} are values of {', '.join(key)}, one for each row") from error
