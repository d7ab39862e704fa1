"""Registered models: immutable versions, movable aliases, and the history of their moves."""

from datetime import datetime

import msgspec

from kedge.domain.data import Column
from kedge.domain.evaluation import Task, Verdict
from kedge.domain.ids import Digest, ModelName, RunId
from kedge.domain.tracking import Run

CHAMPION = "champion"
MODEL_ARTIFACT = "model"
"""The artifact of a run that holds the tree of its model's files."""


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What a model accepts and returns.

    Inputs become one float64 matrix, a column each in this order: numbers as they are, booleans 0 and 1, strings their
    index in `categories`; null and a string never seen become NaN. The output is one float64 per row: the probability
    of `positive` for classification, the value for regression.
    """

    inputs: tuple[Column, ...]
    task: Task
    output: str
    positive: str = ""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A trained model that is not registered: the run that made it and the tree of its files."""

    run: RunId
    digest: Digest
    format: str
    signature: Signature
    trained_upto: datetime
    cpu_seconds: float


def candidate_tags(form: str, signature: Signature, *, trained_upto: datetime) -> dict[str, str]:
    """Write what a candidate is as tags of its run."""
    return {
        "format": form,
        "signature": msgspec.json.encode(signature).decode(),
        "trained_upto": trained_upto.isoformat(),
    }


def candidate_of(run: Run) -> Candidate | None:
    """Read a candidate from the run that made it; None where the run made none."""
    if MODEL_ARTIFACT not in run.artifacts or not {"format", "signature", "trained_upto"} <= run.tags.keys():
        return None
    return Candidate(
        run=run.id,
        digest=run.artifacts[MODEL_ARTIFACT],
        format=run.tags["format"],
        signature=msgspec.json.decode(run.tags["signature"], type=Signature),
        trained_upto=datetime.fromisoformat(run.tags["trained_upto"]),
        cpu_seconds=run.usage.cpu_seconds,
    )


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable trained model. Aliases move; versions never change.

    `digest` names the tree of model files, `trained_upto` is when the newest row of its training data became known.
    `example` is a blob: Parquet of a few input rows with the answers that the model gave them in one batch at
    registration, in the column that the signature calls `output`.
    """

    model: ModelName
    number: int
    digest: Digest
    format: str
    run: RunId
    candidate_run: RunId
    signature: Signature
    service: str
    verdict: Verdict
    datasets: tuple[Digest, ...]
    example: Digest
    trained_upto: datetime
    registered_at: datetime


class AliasMove(msgspec.Struct, frozen=True, kw_only=True):
    """One move of an alias: to which version (None: taken away), from which, by whom and why. Never changed or deleted."""

    model: ModelName
    alias: str
    number: int | None
    previous: int | None
    serial: int
    moved_at: datetime
    actor: str
    reason: str
