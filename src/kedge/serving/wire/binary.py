"""The binary tensor extension: a request or an answer whose tensors lie behind the JSON, in the order of their names.

    Inference-Header-Content-Length: 142          | 142 bytes of JSON | tensor | tensor | ...
A tensor in JSON says `parameters.binary_data_size` instead of `data`. Numbers are little-endian and row-major, BOOL a byte
each; an element of BYTES is four bytes of length and so many bytes. What is read is not copied: arrays look at the body.
"""

import struct
import sys
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from kedge.serving.wire.datatypes import Datatype
from kedge.serving.wire.decoding import (
    InferBody,
    TensorFrame,
    body_of,
    known,
    read_frame,
    read_tensor,
    refuse,
    require_modest,
)
from kedge.serving.wire.questions import Tensor

SIZE = "binary_data_size"
_LENGTH = struct.Struct("<I")


def read_binary(body: bytes, *, header: int) -> InferBody:
    """Read a body of which the first `header` bytes are JSON. Raises RequestInvalid naming the input."""
    if not 0 < header <= len(body):
        refuse(f"Inference-Header-Content-Length is {header}, but the body has {len(body)} bytes")
    require_modest(head := body[:header])
    frame = read_frame(head)
    at, tensors = header, []
    for tensor in frame.inputs:
        size = (tensor.parameters or {}).get(SIZE)
        if size is None:
            tensors.append(read_tensor(tensor))
            continue
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            refuse(f"input {tensor.name!r}: {SIZE} is {size!r}; it is a number of bytes")
        if at + size > len(body):
            refuse(f"input {tensor.name!r}: {SIZE} is {size}, but only {len(body) - at} bytes are left of the body")
        tensors.append(_tensor(tensor, memoryview(body)[at : at + size]))
        at += size
    if at != len(body):
        refuse(f"{len(body) - at} bytes of the body belong to no input; each binary input says its {SIZE}")
    return body_of(frame, tensors)


def _tensor(tensor: TensorFrame, raw: memoryview) -> Tensor:
    if tensor.data is not UNSET:
        refuse(f"input {tensor.name!r} has data and {SIZE}; send one of them")
    shape = tuple(tensor.shape)
    return Tensor(tensor.name, tensor.datatype, shape, from_raw(tensor.name, known(tensor), shape=shape, raw=raw))


def from_raw(name: str, datatype: Datatype, *, shape: Sequence[int], raw: memoryview | bytes) -> NDArray[Any]:
    """Look at the bytes of a tensor as an array of its shape. Raises RequestInvalid where they do not agree."""
    count = prod(shape)
    if not datatype.code:
        return _texts(name, raw, count=count).reshape(shape)
    if len(raw) != count * datatype.dtype.itemsize:
        refuse(
            f"input {name!r}: shape {list(shape)} of {datatype.name} asks for {count * datatype.dtype.itemsize} bytes,"
            f" there are {len(raw)}"
        )
    if not count:
        return np.empty(shape, datatype.dtype) if max(shape) < 2**31 else refuse(f"input {name!r}: shape {list(shape)}")
    flat = np.frombuffer(raw, datatype.dtype.newbyteorder("<"))
    if datatype.dtype.kind == "b" and flat.view(np.uint8).max() > 1:
        refuse(f"input {name!r} (BOOL): a byte is neither 0 nor 1")
    if sys.byteorder == "big":
        flat = flat.astype(datatype.dtype)
    return flat.reshape(shape)


def _texts(name: str, raw: memoryview | bytes, *, count: int) -> NDArray[Any]:
    """Cut elements of BYTES: four bytes of length, and so many bytes, `count` times."""
    # Checked before anything is made of that many elements: each has four bytes at least.
    if count * 4 > len(raw):
        refuse(f"input {name!r} (BYTES): {count} elements take {count * 4} bytes at least, there are {len(raw)}")
    data, at = bytes(raw), 0
    texts = np.empty(count, object)
    for place in range(count):
        start = at + 4
        at = start + _LENGTH.unpack_from(data, at)[0] if start <= len(data) else start
        if at > len(data):
            refuse(f"input {name!r} (BYTES): element {place} ends after the {len(data)} bytes of the input")
        texts[place] = data[start:at]
    if at != len(data):
        refuse(f"input {name!r} (BYTES): {len(data) - at} bytes are left over after {count} elements")
    return texts


def to_raw(tensor: Tensor) -> bytes:
    """Write a tensor as the extension does."""
    if tensor.datatype != "BYTES":
        return tensor.data.astype(tensor.data.dtype.newbyteorder("<"), copy=False).tobytes()
    parts = []
    for each in tensor.data.reshape(-1):
        text = each if isinstance(each, bytes) else str(each).encode()
        parts += [_LENGTH.pack(len(text)), text]
    return b"".join(parts)
