"""Columns as they stand in a record: blocks of columns that share a type.

    block = [names, tag, shape of one value, data]
    tag ""      data is a list of columns, each a list of values
    tag "<f8"   data is a buffer, little endian, row by row: NumPy's name of the type; so "<f4", "<i8", "|u1", "|b1" ...
A matrix of 20 columns is one copy of its memory, where lists are 20 objects for each row. Reading gives lists always.
NumPy is not needed to read, and to write only by who brings an array.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

Block = tuple[list[str], str, list[int], bytes | list[Any]]
HeldBlock = tuple[msgspec.Raw, str, msgspec.Raw, bytes | list[tuple[Any, ...]]]
"""A block as it is held: names and shape as their bytes, each list of values as a tuple."""
UnreadBlock = tuple[msgspec.Raw, str, msgspec.Raw, bytes | list[msgspec.Raw]]
"""The same with each list of values as its bytes."""

_CODES = {
    "<f8": "d",
    "<f4": "f",
    "<f2": "e",
    "<i8": "q",
    "<i4": "i",
    "<i2": "h",
    "|i1": "b",
    "<u8": "Q",
    "<u4": "I",
    "<u2": "H",
    "|u1": "B",
    "|b1": "?",
}
_encoder = msgspec.msgpack.Encoder()
_unread = msgspec.msgpack.Decoder(list[UnreadBlock])
_names: dict[tuple[str, ...], msgspec.Raw] = {}
_MOST_NAMES = 1000
_native: dict[Any, str] = {}


def blocks_of(columns: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Write columns (lists, or arrays whose first axis is the rows) as blocks, in their order."""
    values = list(columns.values())
    if all(type(each) is list for each in values):
        names = tuple(columns)
        return [(_names.get(names) or _raw(names), "", (), values)]
    blocks: list[tuple[Any, ...]] = []
    for name, each in columns.items():
        array = hasattr(each, "dtype") and _tag(each) in _CODES and each.size  # a buffer of nothing has no rows
        blocks.append(block_of((name,), each) if array else (_raw((name,)), "", (), [_listed(each)]))
    return blocks


def block_of(names: tuple[str, ...], values: Any) -> tuple[Any, ...]:
    """Write an array as one block: of shape (rows, len(names)), or of one name and any shape whose first axis is rows."""
    tag = _native.get(values.dtype)
    if tag is None:
        tag, values = _little(values)
    shape = () if len(names) > 1 or values.ndim == 1 else values.shape[1:]
    return (_names.get(names) or _raw(names), tag, shape, values.tobytes())


def matrix_block(names: tuple[str, ...], values: Any) -> tuple[Any, ...]:
    """Write an array of shape (rows, len(names)) as one block of plain columns."""
    tag = _native.get(values.dtype)
    if tag is None:
        tag, values = _little(values)
    return (_names.get(names) or _raw(names), tag, (), values.tobytes())


def columns_of(blocks: Sequence[Block]) -> dict[str, list[Any]]:
    """Read blocks as columns of one value per row; a value that has a shape is a list of lists. Raises DecodeError."""
    columns: dict[str, list[Any]] = {}
    for names, tag, shape, data in blocks:
        if isinstance(data, bytes):
            numbers = numbers_of(tag, data)
            if shape:
                columns[names[0]] = _shaped(numbers, shape)
            else:
                columns.update((name, numbers[place :: len(names)]) for place, name in enumerate(names))
        else:
            columns.update(zip(names, data, strict=False))
    return columns


def unread_blocks(raw: bytes | msgspec.Raw) -> list[UnreadBlock]:
    """Read blocks without their values. Raises msgspec.DecodeError where bytes are no blocks."""
    return _unread.decode(raw)


def numbers_of(tag: str, data: bytes) -> list[Any]:
    """Read a buffer of numbers. Raises msgspec.DecodeError for a type that is unknown, or half a number."""
    try:
        code = _CODES[tag]
        return list(struct.unpack(f"<{len(data) // struct.calcsize(f'<{code}')}{code}", data))
    except (KeyError, struct.error) as error:
        raise msgspec.DecodeError(f"a buffer of {len(data)} bytes is no array of {tag!r}") from error


def is_buffer_of(tag: str, data: bytes | list[Any]) -> bool:
    """Say whether data is a buffer of whole numbers of a known type."""
    return isinstance(data, bytes) and tag in _CODES and not len(data) % struct.calcsize(f"<{_CODES[tag]}")


def packed(tag: str, numbers: Sequence[Any]) -> bytes:
    """Write numbers as a buffer. Raises struct.error for what is no number of that type."""
    return struct.pack(f"<{len(numbers)}{_CODES[tag]}", *numbers)


def doubles(values: Any) -> bytes:
    """Write an array of numbers as a buffer of float64."""
    data: bytes = (values if _native.get(values.dtype) == "<f8" else values.astype("<f8")).tobytes()
    return data


def _little(values: Any) -> tuple[str, Any]:
    """Name the type of an array, and give it in little endian; a type that is so already is remembered."""
    tag = _tag(values)
    if tag not in _CODES:
        raise TypeError(f"an array of {values.dtype} has no place in a record; give lists")
    if values.dtype.str != tag:
        return tag, values.astype(tag)
    _native[values.dtype] = tag
    return tag, values


def _shaped(numbers: list[Any], shape: Sequence[int]) -> list[Any]:
    for size in reversed(shape):
        numbers = [numbers[start : start + size] for start in range(0, len(numbers), size)] if size else []
    return numbers


def _tag(values: Any) -> str:
    name: str = values.dtype.str
    return f"<{name[1:]}" if name.startswith(">") else name


def _listed(values: Any) -> list[Any]:
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _raw(names: tuple[str, ...]) -> msgspec.Raw:
    """Encode names once: each request of a model brings the same."""
    if len(_names) >= _MOST_NAMES:
        _names.clear()
    _names[names] = raw = msgspec.Raw(_encoder.encode(names))
    return raw
