"""Experiments, runs and logged models as the protocol writes them, made from Kedge's own values.

Times are milliseconds since 1970. A file's address is always `mlflow-artifacts:/...`: the client comes back here for it.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite, isnan
from typing import TypeVar

import msgspec

from kedge.domain.ids import ExperimentId, LoggedModelId, RunId
from kedge.domain.tracking import (
    NAME_TAG,
    DatasetInput,
    Experiment,
    LoggedModel,
    LoggedModelStatus,
    Metric,
    ModelOutput,
    Run,
    RunDetail,
    RunStatus,
)
from kedge.server.mlflow.errors import INVALID, ProtocolError
from kedge.server.mlflow.wire import Long, Text

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

STATUSES: dict[str | int, RunStatus] = {status.name: status for status in RunStatus}
STATUSES |= dict(enumerate((STATUSES[name] for name in ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")), start=1))
MODEL_STATUSES: dict[str | int, LoggedModelStatus] = {
    "LOGGED_MODEL_PENDING": LoggedModelStatus.PENDING,
    "LOGGED_MODEL_READY": LoggedModelStatus.READY,
    "LOGGED_MODEL_UPLOAD_FAILED": LoggedModelStatus.FAILED,
}
_MODEL_STATUS_NAMES = {status: str(name) for name, status in MODEL_STATUSES.items()}
MODEL_STATUSES |= dict(enumerate(tuple(MODEL_STATUSES.values()), start=1))


class Pair(msgspec.Struct, frozen=True):
    """A tag or a param."""

    key: Text
    value: str = ""


class SentPoint(Metric, frozen=True, kw_only=True, rename={"at": "timestamp", "model": "model_id"}):
    """A measured point as a client sends it: a metric whose key is not empty."""

    key: Text
    at: Long
    step: Long = 0
    model: LoggedModelId | None = None


class ToldPoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A measured point as it is given back; NaN and the infinities are written as text."""

    key: str
    value: float | str
    timestamp: int
    step: int
    dataset_name: str = ""
    dataset_digest: str = ""
    model_id: str = ""
    run_id: str = ""


class ToldDataset(msgspec.Struct, frozen=True, omit_defaults=True):
    """A dataset that a run read."""

    name: Text
    digest: Text
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""


class ToldInput(msgspec.Struct, frozen=True, omit_defaults=True):
    """A dataset with what it was read for."""

    dataset: ToldDataset
    tags: tuple[Pair, ...] = ()


class ToldModelInput(msgspec.Struct, frozen=True):
    """A logged model that a run read."""

    model_id: Text


class ToldModelOutput(msgspec.Struct, frozen=True):
    """A logged model that a run made, and at which step."""

    model_id: Text
    step: Long = 0


class ToldExperiment(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An experiment."""

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    last_update_time: int
    creation_time: int
    tags: tuple[Pair, ...] = ()


class RunInfo(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a run is."""

    run_uuid: str
    run_id: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    end_time: int | None = None
    artifact_uri: str
    lifecycle_stage: str


class RunData(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was logged in a run: the latest point of each metric, params, tags."""

    metrics: tuple[ToldPoint, ...] = ()
    params: tuple[Pair, ...] = ()
    tags: tuple[Pair, ...] = ()


class RunInputs(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run read."""

    dataset_inputs: tuple[ToldInput, ...] = ()
    model_inputs: tuple[ToldModelInput, ...] = ()


class RunOutputs(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run made."""

    model_outputs: tuple[ToldModelOutput, ...] = ()


class ToldRun(msgspec.Struct, frozen=True):
    """A run, whole."""

    info: RunInfo
    data: RunData
    inputs: RunInputs = RunInputs()
    outputs: RunOutputs = RunOutputs()


class ModelInfo(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a logged model is."""

    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: str
    model_type: str = ""
    source_run_id: str = ""
    status_message: str = ""
    tags: tuple[Pair, ...] = ()


class ModelData(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was logged of a logged model."""

    params: tuple[Pair, ...] = ()
    metrics: tuple[ToldPoint, ...] = ()


class ToldModel(msgspec.Struct, frozen=True):
    """A logged model, whole."""

    info: ModelInfo
    data: ModelData


def millis(moment: datetime) -> int:
    """Write a time as the protocol does."""
    return (moment - EPOCH) // MILLISECOND


def moment(millis: int, name: str) -> datetime:
    """Read a time. Raises ProtocolError where it is beyond the years 1 to 9999."""
    try:
        return EPOCH + timedelta(milliseconds=millis)
    except OverflowError:
        raise ProtocolError(INVALID, f"Invalid value {millis} for parameter '{name}' supplied: no such time.") from None


def run_folder(experiment: ExperimentId, run: RunId) -> str:
    """Name where a run's files are."""
    return f"mlflow-artifacts:/{experiment}/{run}/artifacts"


def model_folder(experiment: ExperimentId, model: LoggedModelId) -> str:
    """Name where a logged model's files are."""
    return f"mlflow-artifacts:/{experiment}/models/{model}/artifacts"


def told_value(value: float) -> float | str:
    """Write a number that JSON has no form for as Protobuf's JSON does."""
    if isfinite(value):
        return value
    return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"


def told_point(metric: Metric, *, run: RunId | None = None) -> ToldPoint:
    """Write a measured point."""
    return ToldPoint(
        key=metric.key,
        value=told_value(metric.value),
        timestamp=metric.at,
        step=metric.step,
        dataset_name=metric.dataset_name,
        dataset_digest=metric.dataset_digest,
        model_id=metric.model or "",
        run_id=run or "",
    )


def pairs(values: Mapping[str, str]) -> tuple[Pair, ...]:
    """Write tags or params."""
    return tuple(Pair(key, value) for key, value in values.items())


def told_experiment(experiment: Experiment) -> ToldExperiment:
    """Write an experiment."""
    return ToldExperiment(
        experiment_id=experiment.id,
        name=experiment.name,
        artifact_location=f"mlflow-artifacts:/{experiment.id}",
        lifecycle_stage=experiment.lifecycle.value,
        last_update_time=millis(experiment.updated_at),
        creation_time=millis(experiment.created_at),
        tags=pairs(experiment.tags),
    )


def run_info(run: Run) -> RunInfo:
    """Write what a run is."""
    return RunInfo(
        run_uuid=run.id,
        run_id=run.id,
        run_name=run.name,
        experiment_id=run.experiment,
        user_id=run.user,
        status=run.status.name,
        start_time=millis(run.started_at),
        end_time=millis(run.ended_at) if run.ended_at is not None else None,
        artifact_uri=run_folder(run.experiment, run.id),
        lifecycle_stage=run.lifecycle.value,
    )


def told_run(detail: RunDetail) -> ToldRun:
    """Write a run, whole."""
    run = detail.run
    return ToldRun(
        info=run_info(run),
        data=RunData(
            metrics=tuple(told_point(one) for one in detail.latest),
            params=pairs(run.params),
            tags=pairs({**run.tags, NAME_TAG: run.name}),
        ),
        inputs=RunInputs(
            dataset_inputs=tuple(_told_input(one) for one in detail.datasets),
            model_inputs=tuple(ToldModelInput(one.model) for one in detail.models_in),
        ),
        outputs=RunOutputs(model_outputs=tuple(ToldModelOutput(one.model, one.step) for one in detail.models_out)),
    )


def _told_input(dataset: DatasetInput) -> ToldInput:
    told = ToldDataset(
        name=dataset.name,
        digest=dataset.digest,
        source_type=dataset.source_type,
        source=dataset.source,
        schema=dataset.schema,
        profile=dataset.profile,
    )
    return ToldInput(told, pairs(dataset.tags))


def dataset_input(sent: ToldInput) -> DatasetInput:
    """Read a dataset that a run read."""
    one = sent.dataset
    return DatasetInput(
        name=one.name,
        digest=one.digest,
        source_type=one.source_type,
        source=one.source,
        schema=one.schema,
        profile=one.profile,
        tags={tag.key: tag.value for tag in sent.tags},
    )


def model_outputs(sent: Iterable[ToldModelOutput | ToldModelInput]) -> tuple[ModelOutput, ...]:
    """Read the logged models that a run read or made."""
    return tuple(ModelOutput(model=LoggedModelId(one.model_id), step=getattr(one, "step", 0)) for one in sent)


def told_model(model: LoggedModel) -> ToldModel:
    """Write a logged model, whole."""
    return ToldModel(
        info=ModelInfo(
            model_id=model.id,
            experiment_id=model.experiment,
            name=model.name,
            creation_timestamp_ms=millis(model.created_at),
            last_updated_timestamp_ms=millis(model.updated_at),
            artifact_uri=model_folder(model.experiment, model.id),
            status=_MODEL_STATUS_NAMES[model.status],
            model_type=model.model_type,
            source_run_id=model.run or "",
            status_message=model.message,
            tags=pairs(model.tags),
        ),
        data=ModelData(params=pairs(model.params), metrics=tuple(told_point(one, run=one.run) for one in model.metrics)),
    )


def state_of(sent: str | int, names: Mapping[str | int, T], *, name: str) -> T:
    """Read a state, by name or by number. Raises ProtocolError for one that there is not."""
    found = names.get(int(sent) if isinstance(sent, str) and sent.isdecimal() else sent)
    if found is None:
        known = ", ".join(one for one in names if isinstance(one, str))
        raise ProtocolError(INVALID, f"Invalid value {sent!r} for parameter '{name}' supplied: it is one of {known}.")
    return found
