"""Named arrays: their datatypes, how they are kept as bytes, whether they are what a signature says.

Kept as MessagePack of name, datatype, shape and raw little-endian bytes (BYTES: a list of texts, null where missing), so
that what is read back is bit for bit what was written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from kedge.domain.serving import TensorSignature, TensorSpec
from kedge.errors import ModelRefused, StoreBroken

DTYPES = {
    "BOOL": np.dtype(bool),
    **{f"{sign}INT{bits}": np.dtype(f"{sign.lower()}int{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    "BYTES": np.dtype(object),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
Arrays = Mapping[str, np.ndarray]


class _Packed(msgspec.Struct, frozen=True):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | list[str | None]


class Example(msgspec.Struct, frozen=True):
    """Example inputs, and the outputs that the model gave to them in one call."""

    inputs: Arrays
    outputs: Arrays


class _Kept(msgspec.Struct, frozen=True):
    inputs: list[_Packed]
    outputs: list[_Packed]


_decoder = msgspec.msgpack.Decoder(_Kept)


def pack_example(example: Example) -> bytes:
    """Write an example as bytes."""
    return msgspec.msgpack.encode(_Kept(_packed(example.inputs), _packed(example.outputs)))


def unpack_example(data: bytes) -> Example:
    """Read an example. Raises StoreBroken."""
    try:
        kept = _decoder.decode(data)
        return Example(_unpacked(kept.inputs), _unpacked(kept.outputs))
    except (msgspec.DecodeError, ValueError, KeyError) as error:
        raise StoreBroken(f"the example of a version cannot be read: {error}; register it anew") from error


def same_bits(one: Arrays, other: Arrays) -> bool:
    """Say whether arrays are equal bit for bit, names and shapes included."""
    return _packed(one) == _packed(other)


def datatype_of(array: np.ndarray) -> str:
    """Name the datatype of an array. Raises ModelRefused for one that the protocol has not."""
    if array.dtype.kind in "OUST":
        return "BYTES"
    name = _NAMES.get(array.dtype.newbyteorder("="))
    if name is None:
        raise ModelRefused(f"an array of {array.dtype} has no datatype here; use one of {', '.join(DTYPES)}")
    return name


def as_array(values: Any) -> np.ndarray:
    """Make an array of what a model gave: texts become objects of `str`, all else stays as it is."""
    array = np.asarray(values)
    if array.dtype.kind in "UST":
        return array.astype(object)
    if array.dtype.kind == "O":
        flat = [each.decode() if isinstance(each, bytes) else each for each in array.reshape(-1).tolist()]
        if not all(each is None or isinstance(each, str) for each in flat):
            raise ModelRefused("an array of objects holds other than texts; give arrays of numbers, or of texts")
        texts = np.empty(len(flat), dtype=object)
        texts[:] = flat
        return texts.reshape(array.shape)
    return np.ascontiguousarray(array)


def require_fitting(arrays: Arrays, specs: Sequence[TensorSpec], *, what: str) -> None:
    """Check names, datatypes and shapes. Raises ModelRefused naming the first that differs."""
    if arrays.keys() != {spec.name for spec in specs}:
        names = ", ".join(spec.name for spec in specs)
        raise ModelRefused(f"the {what} are {', '.join(arrays)}, and the signature names {names}")
    for spec in specs:
        array = arrays[spec.name]
        if array.dtype != DTYPES[spec.datatype]:
            raise ModelRefused(f"{what} {spec.name!r} has {array.dtype}, and the signature says {spec.datatype}")
        if len(array.shape) != len(spec.shape) or any(
            w not in (-1, n) for w, n in zip(spec.shape, array.shape, strict=True)
        ):
            raise ModelRefused(f"{what} {spec.name!r} has shape {array.shape}, and the signature says {spec.shape}")


def require_answers(answers: Arrays, signature: TensorSignature, *, rows: int | None) -> dict[str, np.ndarray]:
    """Give a model's answers in the signature's order. Raises ModelRefused where they are not what it says."""
    require_fitting(answers, signature.outputs, what="outputs")
    if rows is not None and signature.batched:
        for name, array in answers.items():
            if len(array) != rows:
                raise ModelRefused(f"output {name!r} has {len(array)} rows for the {rows} that were asked")
    return {spec.name: answers[spec.name] for spec in signature.outputs}


def _packed(arrays: Arrays) -> list[_Packed]:
    found = []
    for name, array in arrays.items():
        datatype = datatype_of(array)
        if datatype == "BYTES":
            data: bytes | list[str | None] = array.reshape(-1).tolist()
        else:
            data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        found.append(_Packed(name, datatype, array.shape, data))
    return found


def _unpacked(packed: Sequence[_Packed]) -> dict[str, np.ndarray]:
    found = {}
    for each in packed:
        dtype = DTYPES[each.datatype]
        if isinstance(each.data, bytes):
            array = np.frombuffer(each.data, dtype=dtype.newbyteorder("<")).astype(dtype)
        else:
            array = np.empty(len(each.data), dtype=object)
            array[:] = each.data
        found[each.name] = array.reshape(each.shape)
    return found
