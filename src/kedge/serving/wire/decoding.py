"""An inference request in JSON, from bytes to tensors.

Most requests bring floats only: one typed decoder then reads the whole body in a single pass. Any other body, and whatever
that pass does not like, is read in two: first the frame with the data left raw, then each tensor's data by the decoder of
its datatype, which finds a wrong type or a number out of range, and its place. `null` and the literal `NaN` (which JSON
does not know, but Python and NumPy clients write) are a missing value; an infinity is refused. A key given twice is
refused, too: who reads the first and who reads the last would not agree on what was asked.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from math import prod
from typing import Annotated, Any, NoReturn

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType
from numpy.typing import NDArray

from kedge.errors import RequestInvalid
from kedge.serving.wire.datatypes import DATATYPES, MOST_AXES, Datatype, array, decoder
from kedge.serving.wire.questions import Tensor, Wanted

_Id = Annotated[str, Meta(max_length=200)]
_Shape = Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1, max_length=MOST_AXES)]
_Parameters = dict[str, Any] | UnsetType | None
_Floats = list[list[float | None] | float | None]


class WantedFrame(msgspec.Struct, frozen=True, gc=False):
    """An output as a body asks for it."""

    name: str
    parameters: _Parameters = UNSET


class TensorFrame(msgspec.Struct, frozen=True, gc=False):
    """An input with its data left raw; none where the data comes in binary."""

    name: str
    shape: _Shape
    datatype: str
    data: msgspec.Raw | UnsetType = UNSET
    parameters: _Parameters = UNSET


class RequestFrame(msgspec.Struct, frozen=True, gc=False):
    """The body of a request. Unknown keys are ignored, as the protocol's extensions ask."""

    inputs: list[TensorFrame]
    id: _Id | UnsetType | None = UNSET
    outputs: list[WantedFrame] | UnsetType | None = UNSET
    parameters: _Parameters = UNSET


class _FloatTensor(msgspec.Struct, frozen=True, gc=False):
    name: str
    shape: _Shape
    datatype: str
    data: _Floats
    parameters: _Parameters = UNSET


class _FloatFrame(msgspec.Struct, frozen=True, gc=False):
    inputs: list[_FloatTensor]
    id: _Id | UnsetType | None = UNSET
    outputs: list[WantedFrame] | UnsetType | None = UNSET
    parameters: _Parameters = UNSET


class InferBody(msgspec.Struct, frozen=True, gc=False):
    """What the body of a request says. `binary` is how its answer is wanted where `outputs` does not say."""

    inputs: Sequence[Tensor]
    id: str | None
    outputs: Sequence[Wanted] | None
    parameters: Mapping[str, Any]
    binary: bool = False


_read_frame = msgspec.json.Decoder(RequestFrame).decode
_read_floats = msgspec.json.Decoder(_FloatFrame).decode


class JsonReader:
    """Reads the bodies of one caller's kind, and expects the next body to be of the last one's form."""

    __slots__ = ("_floats",)

    def __init__(self) -> None:
        self._floats = True

    def read(self, body: bytes) -> InferBody:
        """Read a body. Raises RequestInvalid naming the input and what was expected."""
        if len(body) > _MODEST:
            require_modest(body)
        if self._floats and (known := _float_body(body)) is not None:
            return known
        frame = read_frame(body)
        tensors = [read_tensor(tensor) for tensor in frame.inputs]
        self._floats = all(tensor.datatype in _FLOATING for tensor in frame.inputs)
        return body_of(frame, tensors)


_FP64 = DATATYPES["FP64"]
_FLOATING = frozenset(name for name, each in DATATYPES.items() if each.floating)


def _float_body(body: bytes) -> InferBody | None:
    """Read a body of nothing but FP64 in one pass; None for any other, and for one with anything wrong."""
    try:
        frame = _read_floats(body)
        tensors = []
        for tensor in frame.inputs:
            shape, data = tuple(tensor.shape), tensor.data
            flat = _flattened(data, shape, depth=2) if len(shape) == 2 and data and type(data[0]) is list else data
            if tensor.datatype != "FP64" or tensor.parameters or len(flat) != prod(shape):
                return None
            tensors.append(Tensor(tensor.name, "FP64", shape, array(flat, _FP64, shape=shape), bounded=True))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError, TypeError):
        return None
    if len(body) < _SHORT and body.count(b":") == 1 + 4 * len(tensors):
        return InferBody(tensors, None, None, {})  # each tensor's four keys and no other, so none is there twice
    return body_of(frame, tensors) if _colons(body, most=(keys := _keys(frame))) == keys else None


def require_modest(body: bytes) -> None:
    """Raise RequestInvalid for a long body of next to nothing but brackets: each costs thirty times its byte in memory."""
    if len(body) > _MODEST:
        for bracket, most, what in ((b"[", _MOST_LISTS, "lists"), (b"{", _MOST_OBJECTS, "objects")):
            if body.count(bracket) > most:
                refuse(f"the body has more than {most} {what}; send data flat, in binary, or fewer rows at once")


def read_frame(body: bytes) -> RequestFrame:
    """Read a body but for its tensors' data. Raises RequestInvalid."""
    try:
        frame = _read_frame(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        if b"NaN" not in body:
            _not_a_request(body, error)
        body = plain_json(body, what=_WHAT)
        try:
            return _read_frame(body)
        except (msgspec.MsgspecError, RecursionError) as still:
            _not_a_request(body, still)
    if not _surely_unique(body, frame):
        require_unique(body, what=_WHAT)
    return frame


def _not_a_request(body: bytes, error: Exception) -> NoReturn:
    """Say what is wrong with a frame, and in which input where that can be told."""
    place = _IN_INPUT.search(str(error))
    try:
        name = msgspec.json.decode(body, type=_Names).inputs[int(place[1])].name if place else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        name = None
    refuse(f"the body is not {_WHAT}" if name is None else f"input {name!r}", error)


_MODEST, _SHORT = 2**20, 2**12
_MOST_LISTS = 1_000_000
_MOST_OBJECTS = 200_000
_WHAT = "an inference request"
_IN_INPUT = re.compile(r"`\$\.inputs\[(\d+)\]")


class _Name(msgspec.Struct):
    name: str


class _Names(msgspec.Struct):
    inputs: list[_Name]


def body_of(frame: RequestFrame | _FloatFrame, tensors: Sequence[Tensor]) -> InferBody:
    """Put together what a frame and its tensors say. Raises RequestInvalid for what is not offered here."""
    parameters = frame.parameters or {}
    binary = bool(parameters) and _flag(parameters, "binary_data_output")
    wanted = _wanted(frame.outputs, binary=binary) if frame.outputs else None
    return InferBody(tensors, frame.id or None, wanted, parameters, binary)


def _wanted(outputs: Iterable[WantedFrame], *, binary: bool) -> list[Wanted]:
    wanted = []
    for output in outputs:
        given = output.parameters or {}
        for extension in ("classification", "shared_memory_region"):
            if extension in given:
                refuse(f"output {output.name!r}: {extension} is not offered here; ask for the tensor")
        wanted.append(Wanted(output.name, _flag(given, "binary_data") if "binary_data" in given else binary))
    return wanted


def _flag(parameters: Mapping[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        refuse(f"parameter {name!r} is true or false, not {value!r}")
    return value


def read_tensor(tensor: TensorFrame) -> Tensor:
    """Decode the data of a tensor, nested as its shape says or flat. Raises RequestInvalid."""
    datatype, shape = known(tensor), tuple(tensor.shape)
    if tensor.data is UNSET:
        refuse(f"input {tensor.name!r} has no data")
    raw = bytes(tensor.data)
    if len(shape) == 1 and (data := _column(raw, datatype, shape=shape)) is not None:
        return Tensor(tensor.name, tensor.datatype, shape, data)
    depth = raw[: _opening(raw)].count(b"[")
    if depth not in (1, len(shape)):
        refuse(f"input {tensor.name!r}: data is nested {depth} deep; send it flat, or nested as shape {tensor.shape}")
    values = _decoded(raw, tensor, datatype=datatype, depth=depth, nulls=datatype.floating)
    missing = None
    if values is None:
        values = _decoded(raw, tensor, datatype=datatype, depth=depth, nulls=True)
    try:
        flat = _flattened(values, shape, depth=depth)
    except ValueError:
        refuse(f"input {tensor.name!r}: the nesting of data is not that of shape {tensor.shape}")
    require_count(tensor, len(flat))
    if not datatype.floating and None in flat:
        missing = np.array([value is None for value in flat]).reshape(shape)
        if datatype.code:
            flat = [0 if value is None else value for value in flat]
    try:
        return Tensor(tensor.name, tensor.datatype, shape, array(flat, datatype, shape=shape), missing)
    except ValueError:
        refuse(f"input {tensor.name!r} ({tensor.datatype}): an element is not {datatype.holds}")


def _column(raw: bytes, datatype: Datatype, *, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Read what most columns are, a flat list without null; None for any other, and for one with anything wrong."""
    try:
        flat = _read_column[datatype.name](raw)
        return array(flat, datatype, shape=shape) if len(flat) == shape[0] else None
    except (msgspec.MsgspecError, UnicodeError, ValueError):
        return None


_read_column = {name: decoder(name, 1, nulls=each.floating).decode for name, each in DATATYPES.items()}


def known(tensor: TensorFrame) -> Datatype:
    """Give the datatype of a tensor. Raises RequestInvalid for one that the protocol does not have."""
    if tensor.datatype not in DATATYPES:
        refuse(f"input {tensor.name!r}: datatype {tensor.datatype!r} is not one of {', '.join(DATATYPES)}")
    if tensor.parameters and "shared_memory_region" in tensor.parameters:
        refuse(f"input {tensor.name!r}: shared memory is not offered here; send the data")
    return DATATYPES[tensor.datatype]


def require_count(tensor: TensorFrame, count: int) -> None:
    """Raise RequestInvalid unless a tensor has as many elements as its shape asks for."""
    if count != prod(tensor.shape):
        refuse(f"input {tensor.name!r}: shape {tensor.shape} asks for {prod(tensor.shape)} values, data has {count}")


def _decoded(raw: bytes, tensor: TensorFrame, *, datatype: Datatype, depth: int, nulls: bool) -> Any:
    """Decode lists of a datatype; None where null is met and `nulls` does not allow it."""
    try:
        return decoder(datatype.name, depth, nulls=nulls).decode(raw)
    except msgspec.ValidationError as error:
        if not nulls and "got `null`" in str(error):
            return None
        refuse(f"input {tensor.name!r} ({tensor.datatype}): {_said(str(error), datatype)}")
    except (msgspec.MsgspecError, UnicodeError) as error:
        refuse(f"input {tensor.name!r} ({tensor.datatype})", error)


_JSON_WORDS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list"}
_MISMATCH = re.compile(r"^Expected `[^`]*`(?:, got `(\w+)`| [<>]= \S+)(?: - at `\$(.*)`)?$")


def _said(message: str, datatype: Datatype) -> str:
    """Put a decoder's complaint into the protocol's words."""
    match = _MISMATCH.match(message)
    if match is None:
        return message
    found = _JSON_WORDS.get(match[1], match[1]) if match[1] else "out of range"
    return f"element {match[2] or ''} is {found}; expected {datatype.holds}"


_OPENING = re.compile(rb"[\s\[]*")


def _opening(raw: bytes) -> int:
    match = _OPENING.match(raw)
    return match.end() if match else 0


def _flattened(values: list[Any], shape: Sequence[int], *, depth: int) -> list[Any]:
    """Flatten nested lists of a shape, flat ones as they are. Raises ValueError or TypeError for another nesting."""
    for axis in range(depth - 1):
        if len(values) != prod(shape[: axis + 1]) or not set(map(len, values)) <= {shape[axis + 1]}:
            raise ValueError
        values = list(chain.from_iterable(values))
    return values


def _keys(frame: RequestFrame | _FloatFrame) -> int:
    """Count the keys of a body that has none twice and none that are unknown, but for those of its parameters' values."""
    count = 1 + 4 * len(frame.inputs)
    if frame.id is not UNSET:
        count += 1
    if frame.parameters is not UNSET:
        count += 1 + len(frame.parameters or ())
    for tensor in frame.inputs:
        if tensor.data is UNSET:
            count -= 1
        if tensor.parameters is not UNSET:
            count += 1 + len(tensor.parameters or ())
    if frame.outputs is not UNSET:
        count += 1
        for output in frame.outputs or ():
            count += 1 if output.parameters is UNSET else 2 + len(output.parameters or ())
    return count


def _colons(body: bytes, *, most: int) -> int:
    """Count the colons of a body, up to one more than `most`. In a long one, skipping to the next beats counting."""
    if len(body) < _SHORT:
        return body.count(b":")
    found, at = 0, body.find(b":")
    while at >= 0 and found <= most:
        found, at = found + 1, body.find(b":", at + 1)
    return found


def _surely_unique(body: bytes, frame: RequestFrame) -> bool:
    """Tell, without reading the body again, that no key is there twice: each key has one colon, and each is accounted for.

    Colons in texts are counted where they are known; a body with others, or with unknown keys, is read again.
    """
    keys = _keys(frame)
    if _colons(body, most=keys) == keys:
        return True
    found = body.count(b":")
    keys += sum(bytes(tensor.data).count(b":") for tensor in frame.inputs if tensor.data is not UNSET)
    if frame.id and b"\\" not in body:
        keys += frame.id.count(":")
    return found == keys


def require_unique(body: bytes, *, what: str) -> None:
    """Raise RequestInvalid where an object of a JSON text has a key twice."""
    _loaded(body, what=what)


def plain_json(body: bytes, *, what: str) -> bytes:
    """Write JSON that holds NaN anew, with null in its place. Raises RequestInvalid."""
    value = _loaded(body, what=what)
    try:
        return msgspec.json.encode(value)
    except (ValueError, OverflowError, RecursionError) as error:
        refuse(f"the body is not {what}", error)


def _loaded(body: bytes, *, what: str) -> Any:
    try:
        return json.loads(body, parse_constant=_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        refuse(f"the body is not {what}", error)


def _constant(literal: str) -> None:
    if literal != "NaN":
        raise ValueError(f"{literal} is not a number that a model can read")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in known if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return known


def refuse(message: str, error: Exception | None = None) -> NoReturn:
    """Raise RequestInvalid with a message, and with what an error says."""
    raise RequestInvalid(f"{message}: {error}" if error else message) from error
