"""The Open Inference Protocol v2 on the wire: bodies in, bodies out, and nothing of models.

A tensor's data stays raw bytes until its datatype is known, then one typed decoder reads and checks it in a single pass:
a wrong type or a number out of its datatype's range is found there, with the place. `null` and the literal `NaN` (which
JSON does not know, but Python and NumPy clients write) are a missing value; an infinity is refused.
"""

import json
from itertools import chain
from math import prod
from typing import Annotated, Any, NoReturn

import msgspec
import numpy as np
from msgspec import Meta

from kedge.domain.monitoring import Value
from kedge.errors import RequestInvalid
from kedge.serving.wire.questions import InferRequest, InferResponse, Tensor, Wanted

MOST_BYTES = 16 * 2**20
MOST_ROWS = 100_000
_ID = Annotated[str, Meta(max_length=200)]


class TensorBody(msgspec.Struct, frozen=True):
    """One input: row-major data, nested or flat, still undecoded."""

    name: str
    shape: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1)]
    datatype: str
    data: msgspec.Raw


class OutputBody(msgspec.Struct, frozen=True):
    """An output that the caller asks for by name."""

    name: str


class Request(msgspec.Struct, frozen=True):
    """The body of an inference request. Unknown keys are ignored, as the protocol's extensions ask."""

    inputs: list[TensorBody]
    id: _ID | None = None
    outputs: list[OutputBody] | None = None
    parameters: dict[str, Any] | None = None


class Output(msgspec.Struct, frozen=True):
    """One tensor of an answer: one float, int or str for each row, as its datatype says."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class Response(msgspec.Struct, frozen=True):
    """The body of an answer."""

    model_name: str
    model_version: str
    id: str
    parameters: dict[str, Any]
    outputs: list[Output]


_decode_request = msgspec.json.Decoder(Request).decode
encode = msgspec.json.Encoder().encode


def _typed(of: Any) -> tuple[msgspec.json.Decoder[list[Value]], msgspec.json.Decoder[list[list[Value]]]]:
    return msgspec.json.Decoder(list[of | None]), msgspec.json.Decoder(list[list[of | None]])


def _integer(low: int, high: int) -> Any:
    return Annotated[int, Meta(ge=low, le=high)]


def _float(most: float) -> Any:
    return Annotated[float, Meta(ge=-most, le=most)]


# A column holds int64, so UINT64 ends there too: larger keys travel as BYTES.
_DATATYPES = {
    "BOOL": bool,
    "INT8": _integer(-(2**7), 2**7 - 1),
    "INT16": _integer(-(2**15), 2**15 - 1),
    "INT32": _integer(-(2**31), 2**31 - 1),
    "INT64": _integer(-(2**63), 2**63 - 1),
    "UINT8": _integer(0, 2**8 - 1),
    "UINT16": _integer(0, 2**16 - 1),
    "UINT32": _integer(0, 2**32 - 1),
    "UINT64": _integer(0, 2**63 - 1),
    "FP16": _float(65504.0),
    "FP32": _float(3.4028234663852886e38),
    "FP64": float,
    "BYTES": str,
}
_DECODERS = {name: _typed(of) for name, of in _DATATYPES.items()}


def read_request(body: bytes) -> Request:
    """Decode a body. Raises RequestInvalid naming the place."""
    try:
        return _decode_request(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        if b"NaN" not in body:
            _refuse("the body is not an inference request", error)
    try:
        return _decode_request(_without_nan(body))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        _refuse("the body is not an inference request", error)


def _without_nan(body: bytes) -> bytes:
    return msgspec.json.encode(json.loads(body, parse_constant=_constant))


def _constant(literal: str) -> None:
    if literal != "NaN":
        raise ValueError(f"{literal} is not a number that a model can read")


def read_tensor(tensor: TensorBody) -> tuple[list[Value], int, int]:
    """Decode a tensor of shape [n] or [n, k]: its values row by row, n and k. Raises RequestInvalid."""
    if tensor.datatype not in _DECODERS:
        _refuse(f"input {tensor.name!r}: datatype {tensor.datatype!r} is not one of {', '.join(_DECODERS)}")
    shape = tensor.shape
    if len(shape) > 2:
        _refuse(f"input {tensor.name!r}: shape {shape} has {len(shape)} axes; a column has shape [rows] or [rows, 1]")
    rows, width = shape[0], shape[1] if len(shape) == 2 else 1
    values = _values(tensor, width)
    if len(values) != prod(shape):
        _refuse(f"input {tensor.name!r}: shape {shape} asks for {prod(shape)} values, data has {len(values)}")
    return values, rows, width


def _values(tensor: TensorBody, width: int) -> list[Value]:
    flat, nested = _DECODERS[tensor.datatype]
    raw = bytes(tensor.data)
    try:
        if not raw[1:].lstrip().startswith(b"["):
            return flat.decode(raw)
        lines = nested.decode(raw)
    except (msgspec.MsgspecError, UnicodeError) as error:
        _refuse(f"input {tensor.name!r} ({tensor.datatype})", error)
    if len(tensor.shape) != 2 or any(len(line) != width for line in lines):
        _refuse(f"input {tensor.name!r}: the nesting of data is not that of shape {tensor.shape}")
    return list(chain.from_iterable(lines))


def _refuse(message: str, error: Exception | None = None) -> NoReturn:
    raise RequestInvalid(f"{message}: {error}" if error else message) from error


def question_of(body: bytes, model: str, *, version: int | None) -> InferRequest:
    """Read a body as a question to a model. Raises RequestInvalid."""
    request = read_request(body)
    return InferRequest(
        model=model,
        version=version,
        id=request.id,
        parameters=request.parameters or {},
        inputs=[_tensor(each) for each in request.inputs],
        outputs=None if request.outputs is None else [Wanted(each.name) for each in request.outputs],
        body=body if request.id is not None else None,
    )


def _tensor(body: TensorBody) -> Tensor:
    values, _, _ = read_tensor(body)
    shape = tuple(body.shape)
    if body.datatype == "BYTES":
        data = np.empty(len(values), object)
        data[:] = values
        return Tensor(body.name, body.datatype, shape, data.reshape(shape))
    if body.datatype.startswith("FP"):
        return Tensor(body.name, body.datatype, shape, np.array(values, np.float64).reshape(shape))
    missing = np.array([value is None for value in values])
    data = np.array([0 if value is None else value for value in values], bool if body.datatype == "BOOL" else np.int64)
    return Tensor(body.name, body.datatype, shape, data.reshape(shape), missing.reshape(shape) if missing.any() else None)


def response_of(answer: InferResponse) -> Response:
    """Write an answer as the protocol does."""
    return Response(
        model_name=answer.model,
        model_version=answer.version,
        id=answer.id,
        parameters=dict(answer.parameters),
        outputs=[Output(each.name, each.datatype, [*each.shape], each.data.tolist()) for each in answer.outputs],
    )
