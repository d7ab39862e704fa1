"""Parity: what was served against what the point-in-time join says now, row by row and value by value."""

from collections.abc import Mapping, Sequence
from math import isclose, isnan

import msgspec
import polars as pl

from kedge.domain.monitoring import Value
from kedge.errors import NotFound


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One value that serving and the join do not agree on."""

    row: int
    column: str
    served: Value
    joined: Value


def compare(
    served: Mapping[str, Sequence[Value]], joined: pl.DataFrame, *, columns: Sequence[str], tolerance: float = 0.0
) -> list[Difference]:
    """List the values that differ between served rows and the same rows joined again, in the same order.

    `tolerance` is the greatest relative difference of two numbers that counts as none. NaN and null are the same: missing.
    Raises NotFound for a column that one side lacks, or another number of rows.
    """
    differences = []
    for name in columns:
        if name not in served or name not in joined.columns:
            raise NotFound(f"column {name!r} is not in the {'joined' if name in served else 'served'} rows")
        values = joined[name].to_list()
        if len(values) != len(served[name]):
            raise NotFound(f"{len(served[name])} rows were served, but {len(values)} were joined")
        differences += [
            Difference(row=row, column=name, served=one, joined=other)
            for row, (one, other) in enumerate(zip(served[name], values, strict=True))
            if not same(one, other, tolerance)
        ]
    return differences


def same(one: Value, other: Value, tolerance: float = 0.0) -> bool:
    """Tell whether two values are one: numbers within the tolerance, missing and missing, else equal."""
    if _missing(one) or _missing(other):
        return _missing(one) and _missing(other)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or isclose(one, other, rel_tol=tolerance, abs_tol=0.0)
    return one == other


def _missing(value: Value) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))
