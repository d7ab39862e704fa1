"""Typed ids and content digests.

Whatever is made from content is named by a digest of it, so that the same step made twice has one name.
"""

import hashlib
from typing import NewType

import msgspec

Digest = NewType("Digest", str)
DatasetName = NewType("DatasetName", str)
RunId = NewType("RunId", str)
ExperimentId = NewType("ExperimentId", str)
LoggedModelId = NewType("LoggedModelId", str)
ModelName = NewType("ModelName", str)
PredictionId = NewType("PredictionId", str)
RequestId = NewType("RequestId", str)

DEFAULT_EXPERIMENT = ExperimentId("0")  # named "Default"; there from the start

_canonical = msgspec.json.Encoder(order="sorted")


def digest_of(*parts: object) -> Digest:
    """Name a value: 256-bit BLAKE2b, in hex, over its canonical JSON (keys sorted; NaN becomes null)."""
    return Digest(hashlib.blake2b(_canonical.encode(parts), digest_size=32).hexdigest())


def digest_bytes(data: bytes) -> Digest:
    """Name bytes: 256-bit BLAKE2b in hex. Blobs are named by the store (BLAKE3); this is for keys made of bytes."""
    return Digest(hashlib.blake2b(data, digest_size=32).hexdigest())


def run_id(content_key: Digest) -> RunId:
    """Name the run of a training: the first 16 hex digits of its content key."""
    return RunId(content_key[:16])


def experiment_id(name: str, attempt: int = 0) -> ExperimentId:
    """Name the experiment of a project: 18 digits that its name decides; another attempt where that id is in use."""
    text = name if attempt == 0 else f"{name}\x00{attempt}"
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return ExperimentId(str(10**17 + number % (9 * 10**17)))


def prediction_id(request: RequestId, row: int) -> PredictionId:
    """Name one row of a request: `REQUEST.ROW`, rows counted from 0."""
    return PredictionId(f"{request}.{row}")


def split_prediction_id(prediction: PredictionId) -> tuple[RequestId, int] | None:
    """Take a prediction's name apart; None where it is not of the form `REQUEST.ROW`."""
    request, dot, row = prediction.rpartition(".")
    return (RequestId(request), int(row)) if dot and request and row.isdecimal() else None
