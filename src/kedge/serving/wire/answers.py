"""Answers on the wire: the protocol's JSON, with tensors in binary behind it where the caller wants them so.

Data is flat and row-major. NaN is null in JSON; an infinity has no word there and would be taken for a missing value, so who
is to get one is told to ask in binary.
"""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, NoReturn

import msgspec
from msgspec import UNSET, UnsetType

from kedge.errors import RequestInvalid
from kedge.serving.wire.binary import SIZE, to_raw
from kedge.serving.wire.questions import InferRequest, InferResponse, Tensor

_encode = msgspec.json.Encoder().encode


class _Said(msgspec.Struct, omit_defaults=True, gc=False):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any] | UnsetType = UNSET
    parameters: dict[str, int] | UnsetType = UNSET


class _Answer(msgspec.Struct, gc=False):
    model_name: str
    model_version: str
    id: str
    parameters: Mapping[str, Any]
    outputs: list[_Said]


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """The body of an answer; `header` is the length of its JSON where binary tensors follow it."""

    body: bytes
    header: int | None = None


def encode_answer(answer: InferResponse, asked: InferRequest, *, binary: bool) -> Encoded:
    """Write an answer. `binary` is how its tensors are wanted where the request does not name its outputs.

    Raises RequestInvalid where bytes that are no text are asked for as JSON.
    """
    raw = {each.name for each in asked.outputs if each.binary} if asked.outputs is not None else None
    outputs, parts = [], []
    for tensor in answer.outputs:
        name, datatype, shape = tensor.name, tensor.datatype, tensor.shape
        if binary if raw is None else name in raw:
            part = to_raw(tensor)
            outputs.append(_Said(name, datatype, shape, parameters={SIZE: len(part)}))
            parts.append(part)
        else:
            outputs.append(_Said(name, datatype, shape, plain(tensor)))
    head = _encode(_Answer(answer.model, answer.version, answer.id, answer.parameters, outputs))
    return Encoded(b"".join((head, *parts)), len(head)) if parts else Encoded(head)


def require_sayable(name: str, flat: Sequence[Any]) -> None:
    """Raise RequestInvalid for an infinity, which JSON cannot say."""
    if inf in flat or -inf in flat:
        _unsayable(name)


def _unsayable(name: str) -> NoReturn:
    raise RequestInvalid(f"output {name!r} holds an infinity, which JSON cannot say; ask for it with binary_data")


def plain(tensor: Tensor) -> list[Any]:
    """Give the values of a tensor, flat, as JSON knows them. Raises RequestInvalid for bytes that are no text."""
    if tensor.datatype != "BYTES":
        flat: list[Any] = (tensor.data if tensor.data.ndim == 1 else tensor.data.ravel()).tolist()
        if inf in flat or -inf in flat:
            _unsayable(tensor.name)
        return flat
    try:
        return tensor.text().ravel().tolist()
    except RequestInvalid:
        raise RequestInvalid(f"output {tensor.name!r} holds bytes that are not text; ask for it with binary_data") from None
