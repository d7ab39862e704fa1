"""What an answer is worth to the business: a SQL expression of the project over `prediction`, `truth` and the features.

Polars' scalar SQL reads columns and computes; it opens no file and calls nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from kedge.errors import RequestInvalid
from kedge.evaluation.metrics import Vector


def check_value(expression: str) -> pl.Expr:
    """Read a value's expression. RequestInvalid where it cannot be read, or reads nothing of the answer."""
    read = read_value(expression)
    if "prediction" not in read.meta.root_names():
        raise RequestInvalid(f"value: {expression!r} does not read prediction, so all versions would be worth the same")
    return read


def read_value(expression: str) -> pl.Expr:
    """Read an expression that gives each row a number. RequestInvalid where it cannot be read, reads no column, or takes
    all rows together."""
    try:
        read = pl.sql_expr(expression)
    except PolarsError as error:
        raise RequestInvalid(
            f"value: {expression!r} is no SQL expression ({error}); write one such as"
            ' "CASE WHEN prediction > 0.5 AND truth = 1 THEN 10 ELSE 0 END"'
        ) from None
    if not read.meta.root_names():
        raise RequestInvalid(f"value: {expression!r} reads no column; it may read prediction, truth and the features")
    if _together(read):
        raise RequestInvalid(f"value: {expression!r} takes all rows together; write what one answer is worth")
    return read


def columns_read(expression: str) -> frozenset[str]:
    """Name the columns that an expression reads, `prediction` and `truth` among them. Raises RequestInvalid."""
    return frozenset(read_value(expression).meta.root_names())


def _together(read: pl.Expr) -> bool:
    """Say whether an expression gives one number for two rows, as a sum does; what needs text is tried with text."""
    for value in (1.0, "a"):
        try:
            given = pl.DataFrame({name: [value, value] for name in read.meta.root_names()}).select(read)
        except PolarsError:
            continue
        return given.height == 1
    return False


def value_rows(expression: str, columns: Mapping[str, Any], *, predictions: Vector, truths: Vector) -> Vector:
    """Give what each answer was worth: float64 (n,), NaN where the expression gives no number. Raises RequestInvalid."""
    frame = pl.DataFrame({**columns, "prediction": predictions, "truth": truths}, strict=False)
    try:
        worth = frame.select(read_value(expression).cast(pl.Float64, strict=False).alias("value"))["value"]
    except PolarsError as error:
        raise RequestInvalid(f"value: {expression!r} cannot be computed on the served rows: {error}") from None
    values = worth.fill_null(float("nan")).to_numpy()
    return np.broadcast_to(values, predictions.shape).astype(np.float64)
