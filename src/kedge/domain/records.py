"""The records of the two journals, as bytes: predictions as they were answered, and ground truth as it arrived.

MessagePack by msgspec; the structs in `monitoring.py` are the format. Times travel as UTC timestamps, so a record read
back equals the one that was written, NaN and infinities included. Who needs a part of a record reads that part alone:
the rest is skipped, not built. Every `decode_...` raises msgspec.DecodeError where the bytes are no such record.
"""

from datetime import datetime

import msgspec

from kedge.domain.ids import ModelName, RequestId
from kedge.domain.monitoring import PredictionBatch, TruthBatch, Value

_encoder = msgspec.msgpack.Encoder()
_predictions = msgspec.msgpack.Decoder(PredictionBatch)
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


class _Features(msgspec.Struct, frozen=True):
    features: dict[str, list[Value]]


class _Request(msgspec.Struct, frozen=True):
    request: RequestId


_answers = msgspec.msgpack.Decoder(Answers)
_features = msgspec.msgpack.Decoder(_Features)
_request = msgspec.msgpack.Decoder(_Request)


def encode_batch(batch: PredictionBatch) -> bytes:
    """Write one answered request as a journal record."""
    return _encoder.encode(batch)


def decode_batch(payload: bytes) -> PredictionBatch:
    """Read one answered request."""
    return _predictions.decode(payload)


def decode_answers(payload: bytes) -> Answers:
    """Read one answered request without its features."""
    return _answers.decode(payload)


def decode_features(payload: bytes) -> dict[str, list[Value]]:
    """Read only the features of one answered request."""
    return _features.decode(payload).features


def decode_request(payload: bytes) -> RequestId:
    """Read only the id of one answered request."""
    return _request.decode(payload).request


def encode_truth(batch: TruthBatch) -> bytes:
    """Write arrived ground truth as a journal record."""
    return _encoder.encode(batch)


def decode_truth(payload: bytes) -> TruthBatch:
    """Read arrived ground truth."""
    return _truths.decode(payload)
