"""Records that are alike, written without encoding again what all of them say.

The requests that one version answers differ in their ids, times, numbers and seconds; all else stands in their records in
the same bytes. A stencil has those bytes, cut out of the record of one of them, with room for the rest between them:

    ... request ... at ... outputs ... seconds ... entities ... matrix ... calls ...
What is written with it is, byte for byte, what `encode_batch` writes: nobody who reads can tell.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec

from kedge.domain.ids import ModelName, RequestId
from kedge.domain.monitoring import Matrix, PredictionBatch
from kedge.domain.records import FORMAT, AsLogged, encode_batch

_encode = msgspec.msgpack.Encoder().encode
_Blocks = list[tuple[msgspec.Raw, str, list[int], bytes]]
_FIELDS = AsLogged.__struct_fields__[1:]
_HEAD = _encode((FORMAT, *(None,) * len(_FIELDS)))[: -len(_FIELDS)]


class LikeRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as what it has of its own, beside what its stencil has. `outputs` is an array of float64 (rows,), `values`
    one of (rows, columns): those of its matrix."""

    stencil: "Stencil"
    request: RequestId
    at: datetime
    outputs: Any
    seconds: dict[str, float]
    entities: list[str]
    values: Any
    calls: dict[int, tuple[str, int, int]]

    @property
    def model(self) -> ModelName:
        """Name the model that answered."""
        return self.stencil.example.model

    @property
    def revision(self) -> int:
        """Tell by which revision of its deployment."""
        return self.stencil.example.revision

    @property
    def variant(self) -> str:
        """Tell its variant, as a batch does."""
        return self.stencil.example.variant

    @property
    def count(self) -> int:
        """Count the rows."""
        return self.stencil.count

    def batch(self) -> PredictionBatch:
        """Give it as the batch that it stands for."""
        example = self.stencil.example
        return msgspec.structs.replace(
            example,
            request=self.request,
            at=self.at,
            outputs=self.outputs,
            seconds=self.seconds,
            entities=self.entities,
            matrix=None if example.matrix is None else Matrix(example.matrix.names, self.values),
            calls=self.calls,
        )


Loggable = PredictionBatch | LikeRecord


class Stencil:
    """What the records like `example` share: all but what a `LikeRecord` names. It has a matrix, and an array of answers."""

    def __init__(self, example: PredictionBatch) -> None:
        self.example, self.count = example, len(example.versions)

    def write(self, record: LikeRecord) -> bytes:
        """Write a record. Raises what `encode_batch` raises."""
        shared = self._shared
        return encode_batch(record.batch()) if shared is None else _filled(shared, record)

    @cached_property
    def _shared(self) -> tuple[msgspec.Raw, ...] | None:
        """Give the runs of bytes between what differs; None where that is not all there is to it: numbers of another type,
        or another order of bytes."""
        example, whole = self.example, encode_batch(self.example)
        if example.matrix is None or not hasattr(example.outputs, "dtype"):
            return None
        raw = dict(zip(_FIELDS, msgspec.msgpack.decode(whole, type=list[msgspec.Raw])[1:], strict=True))
        ((names, tag, shape, _),) = msgspec.msgpack.decode(raw["features"], type=_Blocks)
        shared = (
            _run(raw, ("model", "model")),
            _run(raw, ("revision", "versions")),
            _run(raw, ("shadow", "errors")),
            _run(raw, ("rows", "hidden")),
            msgspec.Raw(_encode([(names, tag, shape, b"")]).removesuffix(_encode(b""))),
            _run(raw, ("service", "forms")),
            _run(raw, ("tensors", "tensors")),
        )
        more = (example.seconds, example.entities, example.matrix.values, example.calls)
        same = LikeRecord(self, example.request, example.at, example.outputs, *more)
        return shared if _filled(shared, same) == whole else None


def encode(record: Loggable) -> bytes:
    """Write one answered request as a journal record, whichever way it is given."""
    return record.stencil.write(record) if isinstance(record, LikeRecord) else encode_batch(record)


def batch_of(record: Loggable) -> PredictionBatch:
    """Give one answered request as a batch, whichever way it is given."""
    return record.batch() if isinstance(record, LikeRecord) else record


def _filled(shared: tuple[msgspec.Raw, ...], record: LikeRecord) -> bytes:
    model, versions, shadow, rows, names, service, tensors = shared
    some = (
        record.request,
        model,
        record.at,
        versions,
        record.outputs.tobytes(),
        shadow,
        record.seconds,
        rows,
        record.entities,
        names,
        record.values.tobytes(),
        service,
        record.calls,
        tensors,
    )
    # The encoder counts runs, not elements: its head of one byte makes way for that of a record.
    return _HEAD + _encode(some)[1:]


def _run(raw: Mapping[str, msgspec.Raw], ends: tuple[str, str]) -> msgspec.Raw:
    """Give the bytes of the elements from one to another."""
    first, last = map(_FIELDS.index, ends)
    return msgspec.Raw(b"".join(bytes(raw[name]) for name in _FIELDS[first : last + 1]))
