"""What a request must carry for one model, and how its tensors become columns.

Expected are the service's entity keys, its request columns and the column that traffic is split by. The signature types
those that the model reads; a key or a column that is only derived from has no type there and is taken as it comes.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from kedge.domain.data import ColumnType
from kedge.domain.features import FeatureService
from kedge.domain.monitoring import Value
from kedge.domain.registry import Signature
from kedge.errors import RequestInvalid
from kedge.serving.protocol import MOST_ROWS, TensorBody, read_tensor

Columns = dict[str, list[Value]]

_NUMBERS = (ColumnType.FLOAT, ColumnType.INTEGER)
_WIRE = {
    ColumnType.FLOAT: "FP64",
    ColumnType.INTEGER: "INT64",
    ColumnType.BOOLEAN: "BOOL",
    ColumnType.STRING: "BYTES",
    ColumnType.TIME: "BYTES",
}


class Inputs:
    """The columns that a request must carry, in order, with the types that the signature gives them."""

    def __init__(self, service: FeatureService, sticky: str, *, signature: Signature) -> None:
        types = {column.name: column.type for column in signature.inputs}
        names = dict.fromkeys((*service.entities(), *service.request, *([sticky] if sticky else [])))
        self.types: dict[str, ColumnType | None] = {name: types.get(name) for name in names}
        self.numeric = all(kind in _NUMBERS for kind in self.types.values())

    def metadata(self) -> list[dict[str, Any]]:
        """Describe the inputs as the protocol's metadata does; an untyped key shows as BYTES."""
        return [
            {"name": name, "datatype": _WIRE[kind] if kind else "BYTES", "shape": [-1]} for name, kind in self.types.items()
        ]

    def columns(self, tensors: Sequence[TensorBody]) -> Columns:
        """Read tensors as columns, all of the same positive length. Raises RequestInvalid saying what is wrong where."""
        columns = self._matrix(tensors[0]) if self._is_matrix(tensors) else self._columns(tensors)
        lengths = {name: len(values) for name, values in columns.items()}
        rows = max(lengths.values(), default=0)
        if min(lengths.values(), default=0) != rows:
            raise RequestInvalid(f"inputs differ in their rows: {_listed(f'{name} {n}' for name, n in lengths.items())}")
        if not 0 < rows <= MOST_ROWS:
            raise RequestInvalid(f"a request has from 1 to {MOST_ROWS} rows, not {rows}")
        return columns

    def _is_matrix(self, tensors: Sequence[TensorBody]) -> bool:
        return self.numeric and len(tensors) == 1 and len(tensors[0].shape) == 2 and tensors[0].name not in self.types

    def _matrix(self, tensor: TensorBody) -> Columns:
        values, _, width = read_tensor(tensor)
        if width != len(self.types):
            raise RequestInvalid(
                f"input {tensor.name!r}: {width} columns, not {len(self.types)}: {_listed(self.types)} in this order"
            )
        return {
            name: _typed(name, tensor.datatype, values=values[place::width], kind=kind)
            for place, (name, kind) in enumerate(self.types.items())
        }

    def _columns(self, tensors: Sequence[TensorBody]) -> Columns:
        given = [tensor.name for tensor in tensors]
        if unknown := [name for name in given if name not in self.types]:
            raise RequestInvalid(f"unknown input {_listed(unknown)}; this model takes {_listed(self.types)}")
        if missing := [name for name in self.types if name not in given]:
            raise RequestInvalid(f"missing input {_listed(missing)}; this model takes {_listed(self.types)}")
        if len(given) > len(self.types):
            raise RequestInvalid(f"input given twice: {_listed(dict.fromkeys(n for n in given if given.count(n) > 1))}")
        columns: Columns = {}
        for tensor in tensors:
            values, _, width = read_tensor(tensor)
            if width != 1:
                raise RequestInvalid(f"input {tensor.name!r}: a column has shape [rows] or [rows, 1], not {tensor.shape}")
            columns[tensor.name] = _typed(tensor.name, tensor.datatype, values=values, kind=self.types[tensor.name])
        return columns


def _typed(name: str, datatype: str, *, values: list[Value], kind: ColumnType | None) -> list[Value]:
    """Check that values of a datatype can stand in a column, and give them the column's own Python type."""
    if kind is None or datatype == _WIRE[kind]:
        return values
    if kind is ColumnType.FLOAT and "INT" in datatype:
        return [None if value is None else float(value) for value in values]
    if kind is ColumnType.FLOAT and datatype.startswith("FP"):
        return values
    if kind is ColumnType.INTEGER and "INT" in datatype:
        return values
    if kind is ColumnType.INTEGER and datatype.startswith("FP"):
        return _whole(name, values)
    if all(value is None for value in values):
        return values
    raise RequestInvalid(f"input {name!r}: {datatype} cannot stand in a column of {kind.value}s; send {_WIRE[kind]}")


def _whole(name: str, values: list[Value]) -> list[Value]:
    # A client whose column has a missing value often holds all of it as floats (NumPy, pandas).
    for row, value in enumerate(values):
        if isinstance(value, float) and not (value.is_integer() and abs(value) < 2**63):
            raise RequestInvalid(f"input {name!r}: row {row}: {value!r} is not a whole number")
    return [int(value) if isinstance(value, float) else value for value in values]


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
