"""What an answer is worth to the business: a SQL expression of the project over `prediction`, `truth` and the features.

Polars' scalar SQL reads columns and computes; it opens no file and calls nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from kedge.errors import RequestInvalid
from kedge.evaluation.metrics import Vector


def check_value(expression: str) -> pl.Expr:
    """Read a value's expression. RequestInvalid where it cannot be read, or reads nothing of the answer."""
    try:
        read = pl.sql_expr(expression)
    except PolarsError as error:
        raise RequestInvalid(
            f"value: {expression!r} is no SQL expression ({error}); write one such as"
            ' "CASE WHEN prediction > 0.5 AND truth = 1 THEN 10 ELSE 0 END"'
        ) from None
    if "prediction" not in read.meta.root_names():
        raise RequestInvalid(f"value: {expression!r} does not read prediction, so all versions would be worth the same")
    return read


def value_rows(expression: str, columns: Mapping[str, Sequence[Any]], *, predictions: Vector, truths: Vector) -> Vector:
    """Give what each answer was worth: float64 (n,), NaN where the expression gives no number. Raises RequestInvalid."""
    frame = pl.DataFrame({**columns, "prediction": predictions, "truth": truths}, strict=False)
    try:
        worth = frame.select(check_value(expression).cast(pl.Float64, strict=False).alias("value"))["value"]
    except PolarsError as error:
        raise RequestInvalid(f"value: {expression!r} cannot be computed on the served rows: {error}") from None
    values = worth.fill_null(float("nan")).to_numpy()
    return np.broadcast_to(values, predictions.shape).astype(np.float64)
