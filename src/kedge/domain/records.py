"""The records of the two journals, as bytes: predictions as they were answered, and ground truth as it arrived.

MessagePack by msgspec. A prediction's record is an array whose first elements are what the label join needs, so that
who needs a part reads that part alone: the rest is skipped, not built. Columns stand in blocks, see `buffers.py`. The
records of older stores are maps and stay readable: the first byte tells which it is. Times travel as UTC timestamps, so
a record read back equals the one that was written, NaN and infinities included. Every `decode_...` raises
msgspec.DecodeError where the bytes are no such record.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from kedge.domain.buffers import Block, HeldBlock, UnreadBlock, blocks_of, columns_of, doubles, matrix_block, numbers_of
from kedge.domain.ids import ModelName, RequestId
from kedge.domain.monitoring import PredictionBatch, TruthBatch, Value

_encoder = msgspec.msgpack.Encoder()
_truths = msgspec.msgpack.Decoder(TruthBatch)


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction record without its features: what the label join needs, read without building the rest."""

    request: RequestId
    model: ModelName
    at: datetime
    revision: int
    versions: list[int]
    outputs: list[float]
    shadow: dict[int, list[float]] = {}
    errors: dict[int, str] = {}
    seconds: dict[str, float] = {}
    rows: list[int] = []
    share: float = 1.0
    missing: int = 0
    variant: str = ""
    hidden: list[str] = []


class _Id(msgspec.Struct, frozen=True, array_like=True):
    """The start of a record. `format` is 2; a reader that meets another is older than the record."""

    format: int
    request: RequestId


class _Answered(_Id, frozen=True, array_like=True):
    """The part of a record that `Answers` is made of. One version for all rows stands as a number."""

    model: ModelName
    at: datetime
    revision: int
    count: int
    versions: int | list[int]
    outputs: bytes | list[float]
    shadow: dict[int, list[float]]
    errors: dict[int, str]
    seconds: dict[str, float]
    rows: list[int]
    share: float
    missing: int
    variant: str
    hidden: list[str]


class _Named(_Answered, frozen=True, array_like=True):
    """A record up to its entities."""

    entities: list[str]


class _Served(_Named, frozen=True, array_like=True):
    """A record up to its features."""

    features: list[Block]


class PredictionRecord(_Served, frozen=True, array_like=True):
    """The whole record as it stands in the log, columns in blocks."""

    service: str
    as_of: dict[str, list[datetime | None]]
    batches: list[tuple[int, list[int]]]
    inputs: dict[str, list[Value]]
    roles: dict[int, str]
    forms: dict[int, str]
    calls: dict[int, tuple[str, int, int]]
    tensors: list[Block]


class _Ahead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What stands before the features in a record, in the form that takes least to read."""

    format: int
    request: str
    model: str
    at: msgspec.Raw
    revision: int
    count: int
    versions: msgspec.Raw
    outputs: msgspec.Raw
    shadow: msgspec.Raw
    errors: msgspec.Raw
    seconds: msgspec.Raw
    rows: msgspec.Raw
    share: float
    missing: int
    variant: str
    hidden: msgspec.Raw
    entities: msgspec.Raw


class AsLogged(_Ahead, frozen=True, array_like=True, gc=False):
    """The columns of a record as the bytes they stand in, and all before them: told apart, but not built. `features` and
    `tensors` are blocks, `inputs` a map of lists."""

    features: msgspec.Raw
    service: msgspec.Raw
    as_of: msgspec.Raw
    batches: msgspec.Raw
    inputs: msgspec.Raw
    roles: msgspec.Raw
    forms: msgspec.Raw
    calls: msgspec.Raw
    tensors: msgspec.Raw


class _Held(_Ahead, frozen=True, array_like=True, gc=False):
    """A record up to its features, as blocks that are held."""

    features: list[HeldBlock]


class _Unread(_Ahead, frozen=True, array_like=True, gc=False):
    """A record up to its features, as blocks that are not read."""

    features: list[UnreadBlock]


Read = TypeVar("Read", bound="_Id | _Ahead")


class _OldFeatures(msgspec.Struct, frozen=True):
    features: dict[str, list[Value]]


class _OldEntities(msgspec.Struct, frozen=True):
    entities: list[str]


class _OldRequest(msgspec.Struct, frozen=True):
    request: RequestId


FORMAT = 2
_LONG_ARRAY = b"\xdc"  # the first byte of an array of 16 elements or more, as a record of today is

_id, _answered = msgspec.msgpack.Decoder(_Id), msgspec.msgpack.Decoder(_Answered)
_named, _old_entities = msgspec.msgpack.Decoder(_Named), msgspec.msgpack.Decoder(_OldEntities)
_served, _record = msgspec.msgpack.Decoder(_Served), msgspec.msgpack.Decoder(PredictionRecord)
_old_batch, _old_answers = msgspec.msgpack.Decoder(PredictionBatch), msgspec.msgpack.Decoder(Answers)
_as_logged = msgspec.msgpack.Decoder(AsLogged)
_held, _unread = msgspec.msgpack.Decoder(_Held), msgspec.msgpack.Decoder(_Unread)
_old_features, _old_request = msgspec.msgpack.Decoder(_OldFeatures), msgspec.msgpack.Decoder(_OldRequest)


def encode_batch(batch: PredictionBatch) -> bytes:
    """Write one answered request as a journal record."""
    versions, outputs = batch.versions, batch.outputs
    count = len(versions)
    same = count and versions.count(versions[0]) == count
    return _encoder.encode(
        (
            FORMAT,
            batch.request,
            batch.model,
            batch.at,
            batch.revision,
            count,
            versions[0] if same else versions,
            outputs if isinstance(outputs, list) else doubles(outputs),
            batch.shadow,
            batch.errors,
            batch.seconds,
            batch.rows,
            batch.share,
            batch.missing,
            batch.variant,
            batch.hidden,
            batch.entities,
            blocks_of(batch.features) if batch.matrix is None else [matrix_block(batch.matrix.names, batch.matrix.values)],
            batch.service,
            batch.as_of,
            batch.batches,
            batch.inputs,
            batch.roles,
            batch.forms,
            batch.calls,
            blocks_of(batch.tensors) if batch.tensors else (),
        )
    )


def encode_record(record: PredictionRecord) -> bytes:
    """Write a record that was read as it stands."""
    return _encoder.encode(record)


def decode_record(payload: bytes) -> PredictionRecord:
    """Read a record as it stands; one of an older store has no such form (`is_old`)."""
    return _checked(_record.decode(payload))


def is_old(payload: bytes) -> bool:
    """Say whether a record is a map, as records were before they were arrays."""
    return bool(payload) and (payload[0] & 0xF0 == 0x80 or payload[0] in (0xDE, 0xDF))


def decode_batch(payload: bytes) -> PredictionBatch:
    """Read one answered request."""
    if is_old(payload):
        return _old_batch.decode(payload)
    read = decode_record(payload)
    return PredictionBatch(
        **_common(read),
        features=columns_of(read.features),
        service=read.service,
        entities=read.entities,
        as_of=read.as_of,
        batches=read.batches,
        inputs=read.inputs,
        roles=read.roles,
        forms=read.forms,
        calls=read.calls,
        tensors=columns_of(read.tensors),
    )


def decode_answers(payload: bytes) -> Answers:
    """Read one answered request without its features."""
    return _old_answers.decode(payload) if is_old(payload) else Answers(**_common(_checked(_answered.decode(payload))))


def decode_features(payload: bytes) -> dict[str, list[Value]]:
    """Read only the features of one answered request."""
    if is_old(payload):
        return _old_features.decode(payload).features
    return columns_of(_checked(_served.decode(payload)).features)


def as_logged(payload: bytes) -> AsLogged:
    """Tell the columns of one answered request apart, without building any; one of an older store is written anew."""
    return _checked(_as_logged.decode(_renewed(payload)))


def held_features(payloads: Iterable[bytes]) -> Iterator[list[HeldBlock]]:
    """Read the features of answered requests one after the other, as blocks that are held."""
    decode = _held.decode
    for payload in payloads:
        read = decode(payload if payload[:1] == _LONG_ARRAY else _renewed(payload))
        yield read.features if read.format == FORMAT else _checked(read).features


def unread_features(payloads: Iterable[bytes]) -> Iterator[list[UnreadBlock]]:
    """Read the features of answered requests one after the other, as blocks that are not read."""
    for payload in payloads:
        yield _checked(_unread.decode(_renewed(payload))).features


def _renewed(payload: bytes) -> bytes:
    return encode_batch(_old_batch.decode(payload)) if is_old(payload) else payload


def decode_entities(payload: bytes) -> list[str]:
    """Read only what each row of one answered request was split by; empty where each row is its own."""
    return _old_entities.decode(payload).entities if is_old(payload) else _checked(_named.decode(payload)).entities


def decode_request(payload: bytes) -> RequestId:
    """Read only the id of one answered request."""
    return _old_request.decode(payload).request if is_old(payload) else _checked(_id.decode(payload)).request


def encode_truth(batch: TruthBatch) -> bytes:
    """Write arrived ground truth as a journal record."""
    return _encoder.encode(batch)


def decode_truth(payload: bytes) -> TruthBatch:
    """Read arrived ground truth."""
    return _truths.decode(payload)


def _checked(read: Read) -> Read:
    if read.format != FORMAT:
        raise msgspec.DecodeError(f"a record of format {read.format}; this release of Kedge reads {FORMAT} and older")
    return read


def _common(read: _Answered) -> dict[str, Any]:
    versions, outputs = read.versions, read.outputs
    return {
        "request": read.request,
        "model": read.model,
        "at": read.at,
        "revision": read.revision,
        "versions": [versions] * read.count if isinstance(versions, int) else versions,
        "outputs": outputs if isinstance(outputs, list) else numbers_of("<f8", outputs),
        "shadow": read.shadow,
        "errors": read.errors,
        "seconds": read.seconds,
        "rows": read.rows,
        "share": read.share,
        "missing": read.missing,
        "variant": read.variant,
        "hidden": read.hidden,
    }
