"""Example rows as people and clients keep them beside a model: Parquet, CSV, JSON in MLflow's shapes, arrays as .npz.

Whatever the file, an example is named arrays: a column each of a table (n,), or arrays of any shape. Texts are objects.
"""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from kedge.errors import ModelRefused

MOST_ROWS = 200
ENDINGS = (".parquet", ".csv", ".json", ".npz")
_FAULTS = (ValueError, TypeError, KeyError, OSError, EOFError, pl.exceptions.PolarsError, RecursionError)


def read_example(name: str, data: bytes) -> dict[str, np.ndarray]:
    """Read example rows by the ending of their file's name, at most 200. Raises ModelRefused."""
    try:
        match name[name.rfind(".") :].lower():
            case ".parquet":
                found = columns_of(pl.read_parquet(io.BytesIO(data)))
            case ".csv":
                found = columns_of(pl.read_csv(io.BytesIO(data), infer_schema_length=None))
            case ".npz":
                with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                    found = {each: arrays[each] for each in arrays.files}
            case ".json":
                found = _of_json(json.loads(data))
            case ending:
                raise ModelRefused(f"example {name!r} ends in {ending!r}; write it as one of {', '.join(ENDINGS)}")
    except _FAULTS as error:
        raise ModelRefused(f"example {name!r} cannot be read: {type(error).__name__}: {error}") from error
    if not found or not all(array.size for array in found.values()):
        raise ModelRefused(f"example {name!r} has no rows; give some that the model may be asked")
    return {each: array[:MOST_ROWS] if array.ndim else array for each, array in found.items()}


def columns_of(frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """Take a frame apart: numbers as they are (with nulls as NaN), booleans, texts as objects. Raises ModelRefused."""
    return {name: _column(name, frame[name]) for name in frame.columns}


def _column(name: str, values: pl.Series) -> np.ndarray:
    if values.dtype == pl.Boolean and not values.null_count():
        return values.to_numpy().astype(bool)
    if values.dtype.is_integer() and not values.null_count():
        return values.cast(pl.Int64).to_numpy()
    if values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null):
        return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if values.dtype in (pl.String, pl.Categorical, pl.Enum):
        texts = np.empty(len(values), dtype=object)
        texts[:] = values.cast(pl.String).to_list()
        return texts
    raise ModelRefused(f"column {name!r} of the example is {values.dtype}; a model reads numbers, booleans and texts")


def _of_json(said: Any) -> dict[str, np.ndarray]:
    """Read what MLflow writes: a table in its "split" form, rows as objects, or arrays under "inputs"."""
    if isinstance(said, Mapping) and "dataframe_split" in said:
        said = said["dataframe_split"]
    if isinstance(said, Mapping) and "dataframe_records" in said:
        said = said["dataframe_records"]
    if isinstance(said, Mapping) and {"columns", "data"} <= said.keys():
        names = [str(name) for name in said["columns"]]
        return columns_of(pl.DataFrame(said["data"], schema=names, orient="row", infer_schema_length=None))
    if isinstance(said, list) and said and isinstance(said[0], Mapping):
        return columns_of(pl.DataFrame(said, infer_schema_length=None))
    inputs = said.get("inputs", said.get("instances")) if isinstance(said, Mapping) else said
    if isinstance(inputs, Mapping):
        return {str(name): _array(values) for name, values in inputs.items()}
    array = _array(inputs)
    if array.ndim != 2:
        raise ModelRefused(
            f"the example has shape {array.shape}, and columns have no names; give a table of rows and columns"
        )
    return {f"x{place}": np.ascontiguousarray(array[:, place]) for place in range(array.shape[1])}


def _array(values: Any) -> np.ndarray:
    array = np.array(values)
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind == "O":
        return array.astype(np.float64)  # nulls among numbers; anything else raises
    return array
