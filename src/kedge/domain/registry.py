"""Registered models: immutable versions, movable aliases and stages, and the history of their moves.

A version comes from the loop or from a client. Both are a `CatalogVersion`, in one row of numbers under one name; what
the loop alone knows of a version (gate verdict, signature, example, service) is its `loop`, a `ModelVersion`.
"""

from collections.abc import Collection
from datetime import datetime
from enum import Enum

import msgspec

from kedge.domain.data import Column
from kedge.domain.evaluation import Outcome, Task, Verdict
from kedge.domain.ids import Digest, LoggedModelId, ModelName, RunId
from kedge.domain.serving import ParityRecord, TensorSignature
from kedge.domain.tracking import Run

CHAMPION = "champion"
ORIGINAL = "original"
"""The form in which a model was registered, beside the compiled ones."""
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
    """One immutable trained model as the loop made it. Aliases move; versions never change.

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


class Servable(msgspec.Struct, frozen=True, kw_only=True):
    """A version as the data plane needs it, whether the loop made it, a client registered it or a person did.

    It answers a table (columns to one float64 a row: `signature`) or named arrays (`tensors`); one of the two is there.
    `digest` is the tree of the model's files, which `format` reads. `example` is a blob of a few input rows with the
    answers that the model gave in one batch at registration: Parquet for a table, packed arrays else. `service` is the
    feature service that completes what a request brings, "" where it brings all. `signer` names the key that signed it.
    `required` are the columns of a table that must have a value; what is missing elsewhere is the model's to handle.
    """

    model: ModelName
    number: int
    digest: Digest
    format: str
    example: Digest
    signature: Signature | None = None
    tensors: TensorSignature | None = None
    service: str = ""
    run: RunId | None = None
    required: tuple[str, ...] = ()
    parity: ParityRecord | None = None
    signer: str = ""

    @property
    def form(self) -> str:
        """Say what answers: "original", or the compiled form whose parity holds."""
        return self.parity.form if self.parity is not None and self.parity.holds else ORIGINAL

    @property
    def table(self) -> Signature:
        """Give the signature of what answers tables. Raises TypeError for a model of tensors."""
        if self.signature is None:
            raise TypeError(f"version {self.number} of {self.model!r} answers tensors, not tables")
        return self.signature


def servable_of(version: ModelVersion) -> Servable:
    """Make of the loop's version what serving needs; it answers in its original form."""
    return Servable(
        model=version.model,
        number=version.number,
        digest=version.digest,
        format=version.format,
        example=version.example,
        signature=version.signature,
        service=version.service,
        run=version.run,
    )


def taken_up(served: Servable, registered_at: datetime) -> ModelVersion:
    """Describe a version that a person or a client registered as the loop sees its champion: no run, no verdict, no data.

    It can have seen whatever was known when it was registered. One that answers tensors has no inputs here.
    """
    return ModelVersion(
        model=served.model,
        number=served.number,
        digest=served.digest,
        format=served.format,
        run=RunId(""),
        candidate_run=RunId(""),
        signature=served.signature or Signature(inputs=(), task=Task.REGRESSION, output=""),
        service=served.service,
        verdict=Verdict(outcome=Outcome.HELD, findings=()),
        datasets=(),
        example=served.example,
        trained_upto=registered_at,
        registered_at=registered_at,
    )


def misfit(version: ModelVersion, task: Task, *, columns: Collection[str] | None = None) -> str:
    """Say why a version cannot answer a project's rows; "" where nothing is known against it."""
    signature = version.signature
    if not signature.inputs:
        return "it answers tensors, not rows of named columns"
    if signature.task is not task:
        return f"it is made for {signature.task.value}, the project for {task.value}"
    if columns is not None and (lacking := [one.name for one in signature.inputs if one.name not in columns]):
        return f"it reads columns that these rows lack: {', '.join(lacking)}"
    return ""


class Promotion(msgspec.Struct, frozen=True):
    """A version that became champion: when, by whom, and why."""

    at: datetime
    version: int
    actor: str
    reason: str


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


class ModelStage(Enum):
    """Where a version stands for those who work with stages: one stage to a version, any number of versions to a stage."""

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"


ACTIVE_STAGES = (ModelStage.STAGING, ModelStage.PRODUCTION)
"""The stages whose other versions a transition may archive."""


class StageMove(msgspec.Struct, frozen=True, kw_only=True):
    """One transition of a version from stage to stage, by whom and why. `serial` counts the transitions of a model."""

    model: ModelName
    number: int
    serial: int
    stage: ModelStage
    previous: ModelStage
    moved_at: datetime
    actor: str
    reason: str


class RegisteredModel(msgspec.Struct, frozen=True, kw_only=True):
    """A name that versions are registered under. `aliases` says which version each alias points to now."""

    name: ModelName
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    tags: dict[str, str] = {}
    aliases: dict[str, int] = {}


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was read from a version's files when it was registered, the file MLmodel first of all.

    `signature` is a JSON object of texts (inputs, outputs, params), `example` the file of example rows, `fault` says why
    MLmodel could not be read.
    """

    files: int = 0
    size: int = 0
    flavors: tuple[str, ...] = ()
    signature: dict[str, str] = {}
    example: str = ""
    made_with: str = ""
    fault: str = ""


class CatalogVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a registered model, whoever registered it.

    `source` is what was registered as its client wrote it, `location` where its files are read from. `digest` names the
    tree of its files as they were at registration; None where there were none yet. `servable` is None until it was found
    out what serving needs. All else but description, tags, stage and aliases never changes.
    """

    model: ModelName
    number: int
    source: str
    location: str
    created_at: datetime
    updated_at: datetime
    digest: Digest | None = None
    run: RunId | None = None
    run_link: str | None = None
    logged_model: LoggedModelId | None = None
    user: str | None = None
    actor: str = ""
    description: str | None = None
    stage: ModelStage = ModelStage.NONE
    tags: dict[str, str] = {}
    aliases: tuple[str, ...] = ()
    facts: ModelFacts = msgspec.field(default_factory=ModelFacts)
    loop: ModelVersion | None = None
    servable: Servable | None = None


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a model's history: an alias or a stage (`kind`) named `name` moved to a version, or was taken away.

    `verdict` is the gate's word on the version: "passed", or "" for a version that no gate has judged.
    """

    kind: str
    name: str
    number: int | None
    previous: int | None
    before: str
    serial: int
    at: datetime
    actor: str
    reason: str
    verdict: str = ""
