"""/api/2.0/mlflow/runs/...: create, get, update, delete, restore, search, and all that is logged in a run but its files."""

import json
from typing import Annotated

import msgspec

from kedge.domain.ids import RunId
from kedge.domain.tracking import NAME_TAG, RunDetail
from kedge.server.mlflow import checks
from kedge.server.mlflow.entities import (
    STATUSES,
    Pair,
    RunInfo,
    SentPoint,
    ToldInput,
    ToldModelInput,
    ToldModelOutput,
    ToldRun,
    dataset_input,
    model_outputs,
    moment,
    run_info,
    state_of,
    told_run,
)
from kedge.server.mlflow.errors import INVALID, ProtocolError
from kedge.server.mlflow.experiments import VIEWS, experiment_id
from kedge.server.mlflow.naming import made_up
from kedge.server.mlflow.router import Ask, Handled, calls
from kedge.server.mlflow.wire import Int, Long, Text
from kedge.tracking.search import runs_query

MODELS_TAG = "mlflow.log-model.history"
PAGE = 50_000


class CreateRun(msgspec.Struct, frozen=True):
    """Begin a run."""

    experiment_id: str = ""
    user_id: str = ""
    run_name: str = ""
    start_time: Long = 0
    tags: tuple[Pair, ...] = ()


class OneRunId(msgspec.Struct, frozen=True):
    """Name a run."""

    run_id: Text


class GivenRun(msgspec.Struct, frozen=True):
    """A run."""

    run: ToldRun


class UpdateRun(msgspec.Struct, frozen=True):
    """Change what is given of a run."""

    run_id: Text
    status: str | int | None = None
    end_time: Long | None = None
    run_name: str = ""


class UpdatedRun(msgspec.Struct, frozen=True):
    """What the run is now."""

    run_info: RunInfo


class SearchRuns(msgspec.Struct, frozen=True):
    """Search runs."""

    experiment_ids: tuple[str, ...] = ()
    filter: str = ""
    run_view_type: str | int = "ACTIVE_ONLY"
    max_results: Int = 1000
    order_by: tuple[str, ...] = ()
    page_token: str = ""


class FoundRuns(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page of runs."""

    runs: tuple[ToldRun, ...] = ()
    next_page_token: str = ""


class LogMetric(SentPoint, frozen=True, kw_only=True):
    """Log one measured point."""

    run_id: Text


class LogBatch(msgspec.Struct, frozen=True):
    """Log points, params and tags at once."""

    run_id: Text
    metrics: tuple[SentPoint, ...] = ()
    params: tuple[Pair, ...] = ()
    tags: tuple[Pair, ...] = ()


class LogPair(msgspec.Struct, frozen=True):
    """Log one param, or set one tag."""

    run_id: Text
    key: Text
    value: str = ""


class DeleteTag(msgspec.Struct, frozen=True):
    """Take a tag away."""

    run_id: Text
    key: Text


class LogInputs(msgspec.Struct, frozen=True):
    """Say what a run read."""

    run_id: Text
    datasets: tuple[ToldInput, ...] = ()
    models: tuple[ToldModelInput, ...] = ()


class LogOutputs(msgspec.Struct, frozen=True):
    """Say which logged models a run made."""

    run_id: Text
    models: Annotated[tuple[ToldModelOutput, ...], msgspec.Meta(min_length=1)]


class LogModel(msgspec.Struct, frozen=True):
    """Say which model a run made, the way of clients before logged models."""

    run_id: Text
    model_json: Text


def create(ask: Ask, sent: CreateRun) -> GivenRun:
    """Begin a run. Its name is the one given, else that of its tag, else one that is made up."""
    tags = checks.tags(sent.tags)
    tagged = tags.get(NAME_TAG, "")
    if sent.run_name and tagged and sent.run_name != tagged:
        raise ProtocolError(
            INVALID,
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values "
            f"(run_name='{sent.run_name}', mlflow.runName='{tagged}').",
        )
    name = sent.run_name or tagged or made_up()
    run = ask.house.logging.create_run(
        experiment_id(sent.experiment_id),
        name=name,
        started_at=moment(sent.start_time, "start_time"),
        user=sent.user_id,
        tags={**tags, NAME_TAG: name},
        actor=ask.actor,
    )
    return GivenRun(told_run(RunDetail(run=run)))


def get(ask: Ask, sent: OneRunId) -> GivenRun:
    """Read one, deleted or not."""
    return GivenRun(told_run(ask.house.logging.get_run(RunId(sent.run_id))))


def update(ask: Ask, sent: UpdateRun) -> UpdatedRun:
    """Change state, end or name."""
    run = ask.house.logging.update_run(
        RunId(sent.run_id),
        status=None if sent.status is None else state_of(sent.status, STATUSES, name="status"),
        ended_at=None if sent.end_time is None else moment(sent.end_time, "end_time"),
        name=sent.run_name or None,
        actor=ask.actor,
    )
    if sent.run_name:
        ask.house.logging.log(run.id, tags={NAME_TAG: sent.run_name})
    return UpdatedRun(run_info(run))


def delete(ask: Ask, sent: OneRunId) -> None:
    """Delete; it can be restored."""
    ask.house.logging.delete_run(RunId(sent.run_id), actor=ask.actor)


def restore(ask: Ask, sent: OneRunId) -> None:
    """Restore."""
    ask.house.logging.restore_run(RunId(sent.run_id), actor=ask.actor)


def search(ask: Ask, sent: SearchRuns) -> FoundRuns:
    """Search."""
    view = state_of(sent.run_view_type, VIEWS, name="run_view_type")
    checks.page_size(sent.max_results, most=PAGE)
    query = runs_query(
        sent.filter,
        order=sent.order_by,
        limit=sent.max_results,
        page=sent.page_token,
        experiments=tuple(experiment_id(one) for one in sent.experiment_ids),
        view=view,
    )
    page = ask.house.logging.search_runs(query)
    return FoundRuns(tuple(told_run(one) for one in page.items), page.next)


def log_metric(ask: Ask, sent: LogMetric) -> None:
    """Log one measured point."""
    checks.points((sent,), batch=False)
    ask.house.logging.log(RunId(sent.run_id), metrics=(sent,))


def log_batch(ask: Ask, sent: LogBatch) -> None:
    """Log points, params and tags: all of it, or nothing."""
    run = checks.run_id(sent.run_id)
    checks.points(sent.metrics, batch=True)
    params, tags = checks.params(sent.params, batch=True), checks.tags(sent.tags, batch=True)
    checks.batch(sent.metrics, params=sent.params, tags=sent.tags)
    ask.house.logging.log(RunId(run), metrics=sent.metrics, params=params, tags=tags)
    _rename(ask, RunId(run), tags=tags)


def log_param(ask: Ask, sent: LogPair) -> None:
    """Log one param."""
    params = checks.params((Pair(sent.key, sent.value),), batch=False)
    ask.house.logging.log(RunId(sent.run_id), params=params)


def set_tag(ask: Ask, sent: LogPair) -> None:
    """Set one tag; that of the name renames the run."""
    tags = checks.tags((Pair(sent.key, sent.value),))
    ask.house.logging.log(RunId(sent.run_id), tags=tags)
    _rename(ask, RunId(sent.run_id), tags=tags)


def _rename(ask: Ask, run: RunId, *, tags: dict[str, str]) -> None:
    """Let the tag of the name rename the run."""
    if tags.get(NAME_TAG):
        ask.house.logging.update_run(run, name=tags[NAME_TAG], actor=ask.actor)


def delete_tag(ask: Ask, sent: DeleteTag) -> None:
    """Take a tag away."""
    ask.house.logging.delete_tag(RunId(sent.run_id), sent.key)


def log_inputs(ask: Ask, sent: LogInputs) -> None:
    """Say what a run read."""
    ask.house.logging.log_inputs(
        RunId(sent.run_id), datasets=tuple(dataset_input(one) for one in sent.datasets), models=model_outputs(sent.models)
    )


def log_outputs(ask: Ask, sent: LogOutputs) -> None:
    """Say which logged models a run made."""
    ask.house.logging.log_outputs(RunId(sent.run_id), model_outputs(sent.models))


def log_model(ask: Ask, sent: LogModel) -> None:
    """Note a model in the run's tag, as clients before logged models read it."""
    try:
        model = json.loads(sent.model_json)
    except ValueError:
        raise ProtocolError(INVALID, f"Malformed model info. \n {sent.model_json[:500]} \n is not a valid JSON.") from None
    lacking = {"artifact_path", "flavors", "utc_time_created", "run_id"} - set(model if isinstance(model, dict) else ())
    if lacking:
        raise ProtocolError(INVALID, f"Model json is missing mandatory fields: {lacking}")
    run = RunId(sent.run_id)
    noted = ask.house.logging.get_run(run).run.tags.get(MODELS_TAG, "[]")
    known = json.loads(noted)
    if model not in known:
        ask.house.logging.log(run, tags={MODELS_TAG: json.dumps([*known, model])})


_AT = "/api/2.0/mlflow/runs"
ROWS: tuple[Handled, ...] = (
    calls("POST", f"{_AT}/create", act=create, takes=CreateRun),
    calls("GET", f"{_AT}/get", act=get, takes=OneRunId),
    calls("POST", f"{_AT}/update", act=update, takes=UpdateRun),
    calls("POST", f"{_AT}/delete", act=delete, takes=OneRunId),
    calls("POST", f"{_AT}/restore", act=restore, takes=OneRunId),
    calls("POST", f"{_AT}/search", act=search, takes=SearchRuns, slow=True),
    calls("POST", f"{_AT}/log-metric", act=log_metric, takes=LogMetric),
    calls("POST", f"{_AT}/log-batch", act=log_batch, takes=LogBatch),
    calls("POST", f"{_AT}/log-parameter", act=log_param, takes=LogPair),
    calls("POST", f"{_AT}/set-tag", act=set_tag, takes=LogPair),
    calls("POST", f"{_AT}/delete-tag", act=delete_tag, takes=DeleteTag),
    calls("POST", f"{_AT}/log-inputs", act=log_inputs, takes=LogInputs),
    calls("POST", f"{_AT}/outputs", act=log_outputs, takes=LogOutputs),
    calls("POST", f"{_AT}/log-model", act=log_model, takes=LogModel),
)
