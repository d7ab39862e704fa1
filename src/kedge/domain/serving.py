"""What a model of named arrays accepts and returns, and how a compiled form of a model compared with the original."""

from datetime import datetime

import msgspec

from kedge.domain.ids import Digest

DATATYPES = (
    "BOOL",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
)
"""The datatypes of the Open Inference Protocol v2."""


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One named input or output. `shape` has -1 for an axis of any length; BYTES are texts.

    `nullable` says whether an input may hold NaN (a float) or nothing (BYTES); no other datatype can. `labels` name the
    places along the last axis of an output, such as the classes of probabilities.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    nullable: bool = False
    labels: tuple[str, ...] = ()


class TensorSignature(msgspec.Struct, frozen=True, kw_only=True):
    """What a model of named arrays accepts and returns.

    With `batched`, the first axis of every input and output counts rows that do not know of one another: requests may be
    joined along it. `watched` names the output that has one number a row, which the log and monitoring look at; "" for
    none.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool = True
    watched: str = ""


class ParityRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a compiled form compared with the original over the reference rows, when the version was registered.

    `form` is "treelite" or "onnx", `digest` the tree of its files, `rows` how many were compared, `difference` the
    greatest absolute difference of two answers; it serves where that is at most `tolerance`. `answers` are its own to the
    example rows, in one batch. `fault` says why there is no compiled form that could be compared.
    """

    form: str
    digest: Digest | None
    rows: int
    difference: float
    tolerance: float
    libraries: dict[str, str]
    made_at: datetime
    answers: tuple[float, ...] = ()
    fault: str = ""

    @property
    def holds(self) -> bool:
        """Say whether the form may answer in the original's place."""
        return not self.fault and self.digest is not None and self.difference <= self.tolerance
