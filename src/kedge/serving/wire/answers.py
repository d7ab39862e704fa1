"""Answers on the wire: the protocol's JSON, with tensors in binary behind it where the caller wants them so.

Data is flat and row-major. A float that is not finite is null in JSON, which knows no other word for it.
"""

from typing import Any, NamedTuple

import msgspec

from kedge.errors import RequestInvalid
from kedge.serving.wire.binary import SIZE, to_raw
from kedge.serving.wire.questions import InferRequest, InferResponse, Tensor

_encode = msgspec.json.Encoder().encode


class Encoded(NamedTuple):
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
        said: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if binary if raw is None else tensor.name in raw:
            part = to_raw(tensor)
            said["parameters"] = {SIZE: len(part)}
            parts.append(part)
        else:
            said["data"] = plain(tensor)
        outputs.append(said)
    head = _encode(
        {
            "model_name": answer.model,
            "model_version": answer.version,
            "id": answer.id,
            "parameters": answer.parameters,
            "outputs": outputs,
        }
    )
    return Encoded(b"".join((head, *parts)), len(head)) if parts else Encoded(head)


def plain(tensor: Tensor) -> list[Any]:
    """Give the values of a tensor, flat, as JSON knows them. Raises RequestInvalid for bytes that are no text."""
    if tensor.datatype != "BYTES":
        flat: list[Any] = tensor.data.ravel().tolist()
        return flat
    try:
        return tensor.text().ravel().tolist()
    except RequestInvalid:
        raise RequestInvalid(f"output {tensor.name!r} holds bytes that are not text; ask for it with binary_data") from None
