"""Rows as people and MLflow's scoring servers send them, from bytes to tensors, and answers as rows.

    {"rows": [{"distance": 229, ...}]}                 answered with one readable object a row
    {"instances": [...]}  {"dataframe_records": [...]}  {"dataframe_split": {"columns", "data"}}  {"inputs": ...}
    CSV with a header line                             answered with {"predictions": [...]}
Which datatype a value has is not said in these forms: the model's metadata says it.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from kedge.serving.wire.answers import plain, require_sayable
from kedge.serving.wire.decoding import TensorFrame, plain_json, read_tensor, refuse, require_modest, require_unique
from kedge.serving.wire.questions import OURS, InferResponse, ModelMetadata, Tensor, TensorMetadata, Wanted

_WHAT = "JSON of rows"


class Split(msgspec.Struct, frozen=True):
    """A table as pandas writes it in its orientation "split"; an index is not read."""

    columns: list[str]
    data: list[list[Any]]


class Sheet(msgspec.Struct, frozen=True):
    """A body of rows: one of the forms, and what may stand beside it."""

    rows: list[dict[str, Any]] | UnsetType = UNSET
    instances: list[Any] | UnsetType = UNSET
    inputs: dict[str, Any] | list[Any] | UnsetType = UNSET
    dataframe_records: list[dict[str, Any]] | UnsetType = UNSET
    dataframe_split: Split | UnsetType = UNSET
    id: str | None = None
    parameters: dict[str, Any] | None = None
    params: dict[str, Any] | None = None


class Rows(msgspec.Struct, frozen=True):
    """What a body of rows says; `readable` where a person sent it, and reads the answer."""

    inputs: Sequence[Tensor]
    id: str | None = None
    parameters: Mapping[str, Any] = {}
    readable: bool = False


_FORMS = ("rows", "instances", "inputs", "dataframe_records", "dataframe_split")
_read_sheet = msgspec.json.Decoder(Sheet).decode
_encode = msgspec.json.Encoder().encode


def read_rows(body: bytes, model: ModelMetadata) -> Rows:
    """Read rows in JSON. Raises RequestInvalid naming the row and the input, and what was expected."""
    sheet = _sheet(body)
    form = _form(sheet)
    given = getattr(sheet, form)
    if form == "dataframe_split":
        tensors = _table(given.columns, given.data, model=model)
    elif form == "inputs" and isinstance(given, dict):
        tensors = _columns(given, model)
    elif all(isinstance(row, dict) for row in given):
        tensors = _records(given, model)
    else:
        tensors = _listing(given, model, form=form)
    if sheet.id is not None and len(sheet.id) > 200:
        refuse("id has more than 200 characters")
    return Rows(tensors, sheet.id or None, sheet.parameters or sheet.params or {}, readable=form == "rows")


def _sheet(body: bytes) -> Sheet:
    require_modest(body)
    try:
        sheet = _read_sheet(body)
    except msgspec.ValidationError as error:
        refuse("the body's JSON has no rows as they are sent here", error)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        if b"NaN" not in body:
            refuse(f"the body is not {_WHAT}", error)
        try:
            return _read_sheet(plain_json(body, what=_WHAT))
        except (msgspec.MsgspecError, RecursionError) as still:
            refuse(f"the body is not {_WHAT}", still)
    require_unique(body, what=_WHAT)
    return sheet


def _form(sheet: Sheet) -> str:
    given = [form for form in _FORMS if getattr(sheet, form) is not UNSET]
    if len(given) != 1:
        found = f"has {' and '.join(given)}" if given else "has none"
        refuse(f"the body {found}; send one of {', '.join(_FORMS)}")
    return given[0]


def read_csv(body: bytes, model: ModelMetadata) -> Rows:
    """Read CSV with a header line; an empty cell is a missing value. Raises RequestInvalid naming the line."""
    try:
        reader = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        lines = [line for line in reader if line]
    except (UnicodeError, csv.Error) as error:
        refuse("the body is not CSV in UTF-8", error)
    if not lines:
        refuse("the body has no line; send a header line with the inputs' names, and the rows")
    types = {each.name: each.datatype for each in model.inputs}
    read = [_CELLS.get(types.get(name, "BYTES"), _number) for name in lines[0]]
    rows = [[read[place](cell) if place < len(read) else cell for place, cell in enumerate(line)] for line in lines[1:]]
    return Rows(_table(lines[0], rows, model=model))


_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def _number(cell: str) -> Any:
    text = cell.strip()
    if text.lower() in {"", "nan"}:
        return None
    if _NUMBER.fullmatch(text) is None:
        return cell
    value = int(text) if len(text) <= 20 and text.lstrip("+-").isdigit() else float(text)
    return value if isfinite(value) else cell


def _truth(cell: str) -> Any:
    return {"": None, "true": True, "false": False}.get(cell.strip().lower(), cell)


def _text(cell: str) -> Any:
    return cell or None


_CELLS = {"BOOL": _truth, "BYTES": _text}


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]], *, model: ModelMetadata) -> list[Tensor]:
    if len(set(names)) != len(names):
        refuse(f"column given twice: {_listed(dict.fromkeys(n for n in names if names.count(n) > 1))}")
    for place, row in enumerate(rows):
        if len(row) != len(names):
            refuse(f"row {place} has {len(row)} values for {len(names)} columns")
    return _columns({name: [row[place] for row in rows] for place, name in enumerate(names)}, model)


def _records(rows: Sequence[Mapping[str, Any]], model: ModelMetadata) -> list[Tensor]:
    names = {each.name: None for each in model.inputs if not each.optional}
    more: dict[str, None] = {}
    for place, row in enumerate(rows):
        if row.keys() == names.keys():
            continue
        known = dict.fromkeys(each.name for each in model.inputs)
        if unknown := [name for name in row if name not in known]:
            refuse(f"row {place}: unknown input {_listed(unknown)}; this model takes {_listed(known)}")
        if missing := [name for name in names if name not in row]:
            refuse(f"row {place}: missing input {_listed(missing)}; this model takes {_listed(names)}")
        more.update(dict.fromkeys(name for name in row if name not in names))
    return _columns({name: [row.get(name) for row in rows] for name in (*names, *more)}, model)


def _columns(columns: Mapping[str, Any], model: ModelMetadata) -> list[Tensor]:
    known = {each.name: each for each in model.inputs}
    if unknown := [name for name in columns if name not in known]:
        refuse(f"unknown input {_listed(unknown)}; this model takes {_listed(known)}")
    return [_tensor(known[name], values) for name, values in columns.items()]


def _listing(rows: Sequence[Any], model: ModelMetadata, *, form: str) -> list[Tensor]:
    """Read rows that are lists, not objects: those of the only input, a matrix of numbers, or a value for each input."""
    if len(asked := [each for each in model.inputs if not each.optional]) == 1:
        return [_tensor(asked[0], list(rows))]
    if not rows or not all(isinstance(row, list) for row in rows):
        refuse(f"{form}: each row is an object with the inputs by name, or a list of all of them in their order")
    if all(each.datatype in ("FP64", "INT64") and each.shape == (-1,) for each in asked):
        return [_tensor(TensorMetadata("input", "FP64", (-1, -1)), list(rows))]
    return _table([each.name for each in asked], rows, model=model)


def _tensor(told: TensorMetadata, values: Any) -> Tensor:
    """Make the tensor of an input out of nested lists. Raises RequestInvalid for a value that its datatype cannot hold."""
    if not isinstance(values, list):
        refuse(f"input {told.name!r} is a list with a value for each row, not {values!r:.80}")
    shape, inner = [len(values)], values
    while inner and isinstance(inner[0], list):
        inner = inner[0]
        shape.append(len(inner))
    datatype = told.datatype
    if "INT" in datatype and any(isinstance(value, float) for value in values):
        # A column with a missing value is held as floats by who knows no integer NaN. What is not whole the engine refuses.
        values = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
        datatype = "FP64" if any(isinstance(value, float) for value in values) else datatype
    try:
        data = msgspec.Raw(_encode(values))
    except OverflowError:
        refuse(f"input {told.name!r} ({datatype}): a whole number has more than 64 bits")
    return read_tensor(TensorFrame(told.name, shape, datatype, data))


def wanted(model: ModelMetadata, *, readable: bool) -> list[Wanted]:
    """Name the outputs that an answer in rows has: all there are for a person, else the model's own."""
    return [Wanted(each.name) for each in model.outputs if readable or each.name not in OURS]


def encode_rows(answer: InferResponse) -> bytes:
    """Write an answer for a person: which version gave it, and an object for each row."""
    said = {"model": answer.model, "version": answer.version, "id": answer.id}
    more = {"parameters": answer.parameters} if answer.parameters else {}
    return _encode({**said, "rows": _row_objects(answer.outputs), **more})


def encode_predictions(answer: InferResponse) -> bytes:
    """Write an answer as a scoring server does: a value for each row, or an object where a model has several outputs."""
    outputs = answer.outputs
    return _encode({"predictions": _nested(outputs[0]) if len(outputs) == 1 else _row_objects(outputs)})


def _row_objects(outputs: Iterable[Tensor]) -> list[dict[str, Any]]:
    columns = {output.name: _nested(output) for output in outputs}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _nested(tensor: Tensor) -> list[Any]:
    if tensor.datatype == "BYTES" and len(tensor.shape) == 1:
        return plain(tensor)
    if tensor.datatype != "BYTES":
        require_sayable(tensor.name, tensor.data.ravel().tolist() if tensor.data.ndim > 1 else tensor.data.tolist())
    values: list[Any] = (tensor.text() if tensor.datatype == "BYTES" else tensor.data).tolist()
    return values


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
