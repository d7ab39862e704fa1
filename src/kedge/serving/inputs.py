"""What a request must carry for one model, and how its tensors become rows.

Expected are the service's entity keys, its request columns and the column that traffic is split by. The signature types
those that the model reads; a key or a column that is only derived from has no type there and is taken as it comes.

Where the model reads numbers and nothing is looked up or derived, the tensors become the model's matrix at once: no lists,
no frame. Everything else becomes columns of Python values, which the features room completes.
"""

from collections.abc import Iterable, Sequence
from math import isnan
from typing import Any, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from kedge.domain.data import ColumnType
from kedge.domain.features import FeatureService
from kedge.domain.monitoring import Value
from kedge.domain.registry import Signature
from kedge.errors import RequestInvalid
from kedge.serving.wire.questions import Tensor, TensorMetadata

Columns = dict[str, list[Value]]
Numbers = NDArray[np.float64]

MOST_ROWS = 100_000

_NUMBERS = (ColumnType.FLOAT, ColumnType.INTEGER)
_WIRE = {
    ColumnType.FLOAT: "FP64",
    ColumnType.INTEGER: "INT64",
    ColumnType.BOOLEAN: "BOOL",
    ColumnType.STRING: "BYTES",
    ColumnType.TIME: "BYTES",
}
_WHOLE = 2.0**63


class ModelRows(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A request's rows: `matrix`, as the model reads it (n, inputs), or `columns`; `keys` is what the traffic is split by,
    a value a row, None where no column says so."""

    count: int
    matrix: Numbers | None
    columns: Columns
    keys: Sequence[object] | None


class Inputs:
    """The columns that a request must carry, in order, with the types that the champion's signature gives them.

    `trial` is what the version on trial reads: its own columns may be carried, too, and are never asked for.
    """

    def __init__(
        self,
        service: FeatureService,
        sticky: str,
        *,
        signature: Signature,
        required: Sequence[str] = (),
        trial: Signature | None = None,
    ) -> None:
        types = {column.name: column.type for column in signature.inputs}
        names = dict.fromkeys((*service.entities(), *service.request, *([sticky] if sticky else [])))
        self.types: dict[str, ColumnType | None] = {name: types.get(name) for name in names}
        also = {column.name: column.type for column in trial.inputs} if trial is not None else {}
        given = {*names, *service.columns()}
        self.optional: dict[str, ColumnType | None] = {name: kind for name, kind in also.items() if name not in given}
        self.names = tuple(column.name for column in signature.inputs)
        self.direct = (
            bool(self.names)
            and not service.views
            and service.derive is None
            and tuple(service.columns()) == self.names
            and all(kind in (*_NUMBERS, ColumnType.BOOLEAN) for kind in types.values())
            and (trial is None or [*also.items()] == [*types.items()])
        )
        self._sticky = sticky
        self._required = tuple(name for name in required if name in self.types)
        self._numeric = all(kind in _NUMBERS for kind in self.types.values())
        self._places = {name: place for place, name in enumerate(self.names)}
        self._whole = [place for place, column in enumerate(signature.inputs) if column.type is ColumnType.INTEGER]
        self._in_order = self.direct and tuple(self.types) == self.names

    def metadata(self) -> tuple[TensorMetadata, ...]:
        """Describe the inputs as the protocol's metadata does; an untyped key shows as BYTES."""
        return tuple(
            TensorMetadata(name, _WIRE[kind] if kind else "BYTES", (-1,), optional=name in self.optional)
            for name, kind in {**self.types, **self.optional}.items()
        )

    def rows(self, tensors: Sequence[Tensor]) -> ModelRows:
        """Read tensors as rows, from 1 to MOST_ROWS. Raises RequestInvalid saying what is wrong where."""
        if len(tensors) == 1 and self._numeric and len(tensors[0].shape) == 2 and tensors[0].name not in self.types:
            rows = self._of_matrix(tensors[0])
        else:
            rows = self._of_columns(tensors)
        for name in self._required:
            column = rows.columns.get(name) if rows.matrix is None else rows.matrix[:, self._places[name]]
            if (row := _first_missing(column)) is not None:
                raise RequestInvalid(f"input {name!r}: row {row} has no value, and this model needs one")
        return rows

    def _of_columns(self, tensors: Sequence[Tensor]) -> ModelRows:
        """Read tensors that are a column each."""
        count = self._check(tensors)
        if self.direct:
            return self._direct(tensors, count)
        kinds = {**self.types, **self.optional}
        columns = {tensor.name: _typed(tensor, kinds[tensor.name]) for tensor in tensors}
        return ModelRows(count, None, columns, columns[self._sticky] if self._sticky else None)

    def _of_matrix(self, tensor: Tensor) -> ModelRows:
        """Read one tensor (rows, columns) whose columns are all that the model takes, in their order."""
        count, width = tensor.shape
        if width != len(self.types):
            raise RequestInvalid(
                f"input {tensor.name!r}: {width} columns, not {len(self.types)}: {_listed(self.types)} in this order"
            )
        if tensor.data.dtype.kind not in "fiu":
            raise RequestInvalid(f"input {tensor.name!r}: {tensor.datatype} cannot stand in a matrix of numbers; send FP64")
        if not 0 < count <= MOST_ROWS:
            _refuse_rows(count)
        if self._in_order and (not self._sticky or self._sticky in self._places):
            matrix = tensor.data if tensor.bounded else _floats(tensor)
            if self._whole and tensor.data.dtype.kind == "f":
                for place in self._whole:
                    require_whole(self.names[place], matrix[:, place])
            return ModelRows(count, matrix, {}, self._keys(matrix) if self._sticky else None)
        columns = {}
        for place, (name, kind) in enumerate(self.types.items()):
            columns[name] = _typed(column_of(tensor, name, place=place), kind)
        return ModelRows(count, None, columns, columns[self._sticky] if self._sticky else None)

    def _keys(self, matrix: Numbers) -> list[Value]:
        """Take the column that the traffic is split by out of a matrix, as the values that it stands for."""
        values = matrix[:, self._places[self._sticky]].tolist()
        whole = self.types[self._sticky] is ColumnType.INTEGER
        return [None if isnan(value) else int(value) if whole else value for value in values]

    def _check(self, tensors: Sequence[Tensor]) -> int:
        """Check names and shapes of tensors that are a column each; give how many rows they have."""
        if not tensors:
            raise RequestInvalid(f"no inputs; this model takes {_listed(self.types)}")
        given = [tensor.name for tensor in tensors]
        if unknown := [name for name in given if name not in self.types and name not in self.optional]:
            raise RequestInvalid(f"unknown input {_listed(unknown)}; this model takes {_listed(self.types)}")
        if len(set(given)) < len(given):
            raise RequestInvalid(f"input given twice: {_listed(dict.fromkeys(n for n in given if given.count(n) > 1))}")
        if missing := [name for name in self.types if name not in given]:
            raise RequestInvalid(f"missing input {_listed(missing)}; this model takes {_listed(self.types)}")
        count = tensors[0].shape[0]
        for tensor in tensors:
            shape = tensor.shape
            if len(shape) != 1 and (len(shape) != 2 or shape[1] != 1):
                axes = f" has {len(shape)} axes" if len(shape) > 2 else ""
                raise RequestInvalid(
                    f"input {tensor.name!r}: shape {[*shape]}{axes}; a column has shape [rows] or [rows, 1]"
                )
            if shape[0] != count:
                lengths = _listed(f"{each.name} {each.shape[0]}" for each in tensors)
                raise RequestInvalid(f"inputs differ in their rows: {lengths}")
        if not 0 < count <= MOST_ROWS:
            _refuse_rows(count)
        return count

    def _direct(self, tensors: Sequence[Tensor], count: int) -> ModelRows:
        matrix = np.empty((count, len(self.names)))
        keys: Sequence[object] | None = None
        for tensor in tensors:
            place = self._places.get(tensor.name)
            if place is not None:
                kind = self.types[tensor.name]
                _require_fit(tensor, kind)
                column = _floats(tensor).reshape(count) if tensor.data.dtype.kind != "O" else np.full(count, np.nan)
                if kind is ColumnType.INTEGER and tensor.data.dtype.kind == "f":
                    require_whole(tensor.name, column)
                matrix[:, place] = column
            if tensor.name == self._sticky:
                keys = _values(tensor)
        return ModelRows(count, matrix, {}, keys)


def _first_missing(column: Numbers | list[Value] | None) -> int | None:
    """Find the first row without a value."""
    if isinstance(column, np.ndarray):
        missing = np.isnan(column)
        return int(missing.argmax()) if missing.any() else None
    return next((row for row, value in enumerate(column or ()) if value is None), None)


def _refuse_rows(count: int) -> NoReturn:
    raise RequestInvalid(f"a request has from 1 to {MOST_ROWS} rows, not {count}")


def _floats(tensor: Tensor) -> Numbers:
    """Take numbers as float64; missing ones are NaN. Raises RequestInvalid for an infinity."""
    data = tensor.data
    if data.dtype != np.float64:
        data = data.astype(np.float64)
    if not tensor.bounded and b"\x01" in np.isinf(data).tobytes():  # on a single row five times as fast as any()
        raise RequestInvalid(f"input {tensor.name!r}: an infinity is no number that a model can read; null says missing")
    if tensor.missing is not None and tensor.missing.any():
        data = np.where(tensor.missing, np.nan, data)
    return data


def column_of(tensor: Tensor, name: str, *, place: int) -> Tensor:
    """Cut one column out of a matrix."""
    missing = None if tensor.missing is None else tensor.missing[:, place]
    return Tensor(name, tensor.datatype, tensor.shape[:1], tensor.data[:, place], missing)


def _values(tensor: Tensor) -> list[Value]:
    """Take a tensor's elements as Python values; missing ones, NaN among them, are None."""
    if tensor.datatype == "BYTES":
        texts: list[Value] = tensor.text().reshape(-1).tolist()
        return texts
    values: list[Value] = tensor.data.reshape(-1).tolist()
    if tensor.data.dtype.kind == "f":
        _floats(tensor)
        return [None if isnan(value) else value for value in values]  # type: ignore[arg-type]
    if tensor.data.dtype == np.uint64 and max(values, default=0) >= 2**63:  # type: ignore[type-var,operator]
        raise RequestInvalid(f"input {tensor.name!r}: a column holds integers below 2**63; send larger keys as BYTES")
    if tensor.missing is not None and tensor.missing.any():
        gone = tensor.missing.reshape(-1).tolist()
        return [None if none else value for value, none in zip(values, gone, strict=True)]
    return values


def _typed(tensor: Tensor, kind: ColumnType | None) -> list[Value]:
    """Check that a tensor can stand in a column, and give its values the column's own Python type."""
    _require_fit(tensor, kind)
    values = _values(tensor)
    if kind is ColumnType.FLOAT and tensor.data.dtype.kind in "iu":
        return [None if value is None else float(value) for value in values]
    if kind is ColumnType.INTEGER and tensor.data.dtype.kind == "f":
        # A client whose column has a missing value often holds all of it as floats (NumPy, pandas).
        require_whole(tensor.name, tensor.data.reshape(-1))
        return [None if value is None else int(value) for value in values]
    return values


def _require_fit(tensor: Tensor, kind: ColumnType | None) -> None:
    """Check a datatype against a column's type; a column that is missing altogether may come as any."""
    if kind is None or tensor.datatype == _WIRE[kind] or (kind in _NUMBERS and tensor.data.dtype.kind in "fiu"):
        return
    if any(value is not None for value in _values(tensor)):
        raise RequestInvalid(
            f"input {tensor.name!r}: {tensor.datatype} cannot stand in a column of {kind.value}s; send {_WIRE[kind]}"
        )


def require_whole(name: str, column: NDArray[Any]) -> None:
    """Check that floats are whole numbers of 64 bits, or missing. Raises RequestInvalid."""
    wrong = ~(np.isnan(column) | ((column == np.floor(column)) & (np.abs(column) < _WHOLE)))
    if wrong.any():
        row = int(wrong.argmax())
        raise RequestInvalid(f"input {name!r}: row {row}: {float(column[row])!r} is not a whole number")


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
