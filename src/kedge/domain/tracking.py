"""Experiments, runs, measured points and logged models: what training leaves behind.

An experiment gathers the runs of one purpose. A run is one execution: params and tags that were said of it, metrics
measured in it point by point, files, the datasets it read and the models it made. The loop's own trainings are runs
like those that a client logs; they live in the experiment named after the project.
"""

from datetime import datetime
from enum import Enum

import msgspec

from kedge.domain.ids import Digest, ExperimentId, LoggedModelId, RunId

# tags that clients of the MLflow protocol and Kedge's own set alike, and what they say
NAME_TAG = "mlflow.runName"
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"
DELETED_TAG = "kedge.experiment"  # of a run that was told for an experiment that is deleted: where it belongs
CONTEXT_TAG = "mlflow.data.context"  # of a dataset: what it was read for

# a measured point as plain values: milliseconds since 1970, step, value
Point = tuple[int, int, float]


class RunStatus(Enum):
    """Where a run stands."""

    RUNNING = "running"
    SCHEDULED = "scheduled"
    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"


class Lifecycle(Enum):
    """Whether an experiment, run or logged model is in use or was put away; what is deleted can be restored."""

    ACTIVE = "active"
    DELETED = "deleted"


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """A purpose that runs are made for. Its name is unique, deleted experiments counted."""

    id: ExperimentId
    name: str
    lifecycle: Lifecycle = Lifecycle.ACTIVE
    created_at: datetime
    updated_at: datetime
    tags: dict[str, str] = {}


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One measured point: `at` in milliseconds since 1970; NaN and infinities are values like others.

    A point may name the dataset it was measured on, and the logged model it was measured of.
    """

    key: str
    value: float
    at: int
    step: int = 0
    dataset_name: str = ""
    dataset_digest: str = ""
    model: LoggedModelId | None = None


class DatasetInput(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset that a run read, as its client describes it; `tags` say what for (context: training)."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str = ""
    profile: str = ""
    tags: dict[str, str] = {}


class ModelOutput(msgspec.Struct, frozen=True, kw_only=True):
    """A logged model that a run read or made, and the step at which it made it."""

    model: LoggedModelId
    step: int = 0


class LoggedModelStatus(Enum):
    """Whether the files of a logged model are all there."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


class ModelMetric(Metric, frozen=True, kw_only=True):
    """A point measured of a logged model, and the run that measured it."""

    run: RunId


class LoggedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as a run left it: files, params and metrics of its own. Registering it makes it a model version."""

    id: LoggedModelId
    experiment: ExperimentId
    name: str
    created_at: datetime
    updated_at: datetime
    model_type: str = ""
    run: RunId | None = None
    status: LoggedModelStatus = LoggedModelStatus.PENDING
    message: str = ""
    lifecycle: Lifecycle = Lifecycle.ACTIVE
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: tuple[ModelMetric, ...] = ()


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """The code that ran: git commit (None outside a repository), whether files differed from it, digest of the files."""

    commit: str | None
    dirty: bool
    digest: Digest


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What the code ran in: the interpreter, the machine's kind and every installed distribution with its version."""

    python: str
    platform: str
    packages: tuple[str, ...]
    digest: Digest


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a job used: seconds of CPU and of wall time, peak resident memory in bytes."""

    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_bytes: int = 0


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One execution. `content_key` names its inputs: a run with the same key has the same result and is not repeated.

    `inputs` are the digests of the dataset versions read; `artifacts` maps a name to a blob (or tree of blobs);
    `metrics` has the latest value of each key. A run that a client logs has no content key, code or environment.
    """

    id: RunId
    experiment: ExperimentId
    name: str
    status: RunStatus
    started_at: datetime
    content_key: Digest | None = None
    code: Code | None = None
    environment: Environment | None = None
    inputs: tuple[Digest, ...] = ()
    user: str = ""
    params: dict[str, str] = {}
    metrics: dict[str, float] = {}
    artifacts: dict[str, Digest] = {}
    tags: dict[str, str] = {}
    usage: Usage = Usage()
    ended_at: datetime | None = None
    lifecycle: Lifecycle = Lifecycle.ACTIVE
    deleted_at: datetime | None = None
    error: str = ""


class RunDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A run with all that a client may ask of it: the latest point of each metric, datasets read, models read and made."""

    run: Run
    latest: tuple[Metric, ...] = ()
    datasets: tuple[DatasetInput, ...] = ()
    models_in: tuple[ModelOutput, ...] = ()
    models_out: tuple[ModelOutput, ...] = ()


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """What a run measured under one key, thinned to be drawn: points by step, and how many there are in truth."""

    run: RunId
    key: str
    points: tuple[Point, ...]
    total: int


class RunKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that the runs of some experiments have, in order."""

    metrics: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class RunCount(msgspec.Struct, frozen=True):
    """How many active runs an experiment has, how many of them run and have failed, when the newest of them started."""

    runs: int = 0
    newest_at: datetime | None = None
    running: int = 0
    failed: int = 0
