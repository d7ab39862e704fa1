"""From columns to the matrix that a model reads, the same for training, judging and serving.

Numbers stay as they are, booleans become 0 and 1, text its index among the signature's categories; null, infinities (no
training row has any) and text never seen become NaN. Categories are fixed by the training rows and kept in the signature.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from kedge.data.source import column_type
from kedge.domain.data import Column, ColumnType
from kedge.domain.registry import Signature
from kedge.errors import ConfigError, RequestInvalid
from kedge.features.frame import TrainingFrame

Coder = Callable[[Any], "np.ndarray[Any, Any] | list[float]"]


def signature_of(frame: TrainingFrame, *, positive: str) -> Signature:
    """Describe what a model trained on a frame accepts. Raises ConfigError for a time column: a model reads no times."""
    inputs = tuple(_column(frame, name) for name in frame.columns)
    return Signature(inputs=inputs, task=frame.task, output=frame.label, positive=positive)


def _column(frame: TrainingFrame, name: str) -> Column:
    values = frame.rows[name]
    kind = column_type(values.dtype)
    if kind is ColumnType.TIME:
        raise ConfigError(
            f"column {name!r} of service {frame.service!r} is a time, which no model reads; name it in `drop`, or in [data] "
            "ignore, and let `derive` make hours or ages of it"
        )
    if kind is not ColumnType.STRING:
        return Column(name=name, type=kind)
    return Column(name=name, type=kind, categories=tuple(sorted(values.drop_nulls().unique().to_list())))


def encode(signature: Signature, columns: Mapping[str, Sequence[Any] | np.ndarray | pl.Series]) -> np.ndarray:
    """Encode columns by name: float64 (n, inputs). Raises RequestInvalid for a missing column or a value of another type."""
    coders = _coders(signature)
    if missing := [name for name, _ in coders if name not in columns]:
        raise RequestInvalid(
            f"missing column {', '.join(map(repr, missing))}; the model reads {', '.join(n for n, _ in coders)}"
        )
    rows = len(next(iter(columns.values()))) if columns else 0
    matrix = np.empty((rows, len(coders)), dtype=np.float64)
    for place, (name, coder) in enumerate(coders):
        values = columns[name]
        try:
            matrix[:, place] = coder(values.to_list() if isinstance(values, pl.Series) else values)
        except (TypeError, ValueError) as error:
            raise RequestInvalid(
                f"column {name!r} does not fit its type {signature.inputs[place].type.value}: {error}"
            ) from error
    return _finite(matrix)


def encode_frame(signature: Signature, frame: pl.DataFrame) -> np.ndarray:
    """Encode a frame: float64 (n, inputs). Raises RequestInvalid as `encode` does."""
    if missing := [column.name for column in signature.inputs if column.name not in frame.columns]:
        raise RequestInvalid(f"missing column {', '.join(map(repr, missing))}")
    matrix = np.empty((len(frame), len(signature.inputs)), dtype=np.float64, order="F")
    for place, column in enumerate(signature.inputs):
        matrix[:, place] = _codes(column, frame[column.name]).to_numpy()
    return _finite(matrix)


def _finite(matrix: np.ndarray) -> np.ndarray:
    """Make infinities missing, in place: many learners take a missing value, few an infinite one."""
    matrix[np.isinf(matrix)] = np.nan
    return matrix


def _codes(column: Column, values: pl.Series) -> pl.Series:
    if column.type is ColumnType.STRING:
        text = values if values.dtype == pl.String else values.cast(pl.String)
        return text.cast(pl.Enum(column.categories), strict=False).to_physical().cast(pl.Float64)
    if not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)):
        raise RequestInvalid(f"column {column.name!r} is {values.dtype}, not {column.type.value}")
    return values.cast(pl.Float64)


@lru_cache(maxsize=64)
def _coders(signature: Signature) -> tuple[tuple[str, Coder], ...]:
    return tuple((column.name, _coder(column)) for column in signature.inputs)


def _coder(column: Column) -> Coder:
    if column.type is not ColumnType.STRING:
        return _numbers
    codes = {text: float(place) for place, text in enumerate(column.categories)}
    find, unseen = codes.get, float("nan")
    return lambda values: [find(value, unseen) for value in values]


def _numbers(values: Any) -> "np.ndarray[Any, Any]":
    """Read numbers; None becomes NaN. Text is refused even where it could be read as a number."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub" and values.ndim == 1:
        return values.astype(np.float64, copy=False)
    read = np.array(values, dtype=np.float64)
    if read.ndim != 1:
        raise TypeError("its values are lists")
    if str in set(map(type, values)):
        raise TypeError(f"{next(value for value in values if isinstance(value, str))!r} is text")
    return read
