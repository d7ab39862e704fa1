"""/api/2.0/mlflow/logged-models/...: models as runs leave them: create, get, finish, search, tag, delete."""

import msgspec

from kedge.domain.ids import LoggedModelId, RunId
from kedge.server.mlflow.entities import MODEL_STATUSES, Pair, ToldModel, state_of, told_model
from kedge.server.mlflow.errors import INVALID, ProtocolError
from kedge.server.mlflow.experiments import experiment_id
from kedge.server.mlflow.naming import made_up
from kedge.server.mlflow.router import Ask, Handled, calls
from kedge.server.mlflow.wire import Int, Text
from kedge.tracking.search_models import logged_models_query

PAGE = 50


class CreateModel(msgspec.Struct, frozen=True):
    """Announce a model, before its files are there."""

    experiment_id: Text
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: tuple[Pair, ...] = ()
    tags: tuple[Pair, ...] = ()


class OneModel(msgspec.Struct, frozen=True):
    """Name a logged model."""

    model_id: Text
    allow_deleted: bool = False


class GivenModel(msgspec.Struct, frozen=True):
    """A logged model."""

    model: ToldModel


class FinishModel(msgspec.Struct, frozen=True):
    """Say that a model's files are all there, or never will be."""

    model_id: Text
    status: str | int


class ModelPairs(msgspec.Struct, frozen=True):
    """Tags or params for a logged model."""

    model_id: Text
    tags: tuple[Pair, ...] = ()
    params: tuple[Pair, ...] = ()


class OneModelTag(msgspec.Struct, frozen=True):
    """Name a tag of a logged model."""

    model_id: Text
    tag_key: Text


class OnDataset(msgspec.Struct, frozen=True):
    """Look at metrics that were measured on this dataset."""

    dataset_name: Text
    dataset_digest: str = ""


class ModelOrder(msgspec.Struct, frozen=True):
    """Sort by a field, or by a metric measured on a dataset."""

    field_name: Text
    ascending: bool = True
    dataset_name: str = ""
    dataset_digest: str = ""


class SearchModels(msgspec.Struct, frozen=True):
    """Search logged models."""

    experiment_ids: tuple[str, ...]
    filter: str = ""
    datasets: tuple[OnDataset, ...] = ()
    max_results: Int | None = None
    order_by: tuple[ModelOrder, ...] = ()
    page_token: str = ""


class FoundModels(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page of logged models."""

    models: tuple[ToldModel, ...] = ()
    next_page_token: str = ""


def create(ask: Ask, sent: CreateModel) -> GivenModel:
    """Announce one."""
    made = ask.house.logging.create_model(
        experiment_id(sent.experiment_id),
        name=sent.name or made_up(),
        model_type=sent.model_type,
        run=RunId(sent.source_run_id) if sent.source_run_id else None,
        params={one.key: one.value for one in sent.params},
        tags={one.key: one.value for one in sent.tags},
        actor=ask.actor,
    )
    return GivenModel(told_model(made))


def get(ask: Ask, sent: OneModel) -> GivenModel:
    """Read one; a deleted one where the client asks for it."""
    read = ask.house.meta.logged_models.get if sent.allow_deleted else ask.house.logging.get_model
    return GivenModel(told_model(read(LoggedModelId(sent.model_id))))


def finish(ask: Ask, sent: FinishModel) -> GivenModel:
    """Say whether its files are there."""
    status = state_of(sent.status, MODEL_STATUSES, name="status")
    made = ask.house.logging.finalize_model(LoggedModelId(sent.model_id), status, actor=ask.actor)
    return GivenModel(told_model(made))


def delete(ask: Ask, sent: OneModel) -> None:
    """Delete."""
    ask.house.logging.delete_model(LoggedModelId(sent.model_id), actor=ask.actor)


def set_tags(ask: Ask, sent: ModelPairs) -> None:
    """Set tags."""
    ask.house.logging.set_model_tags(LoggedModelId(sent.model_id), {one.key: one.value for one in sent.tags})


def delete_tag(ask: Ask, sent: OneModelTag) -> None:
    """Take a tag away."""
    ask.house.logging.delete_model_tag(LoggedModelId(sent.model_id), sent.tag_key)


def log_params(ask: Ask, sent: ModelPairs) -> None:
    """Log params."""
    ask.house.logging.log_model_params(LoggedModelId(sent.model_id), {one.key: one.value for one in sent.params})


def search(ask: Ask, sent: SearchModels) -> FoundModels:
    """Search."""
    if not sent.experiment_ids:
        raise ProtocolError(INVALID, "Missing value for required parameter 'experiment_ids'.")
    query = logged_models_query(
        sent.filter,
        order=[msgspec.structs.asdict(one) for one in sent.order_by],
        datasets=[msgspec.structs.asdict(one) for one in sent.datasets],
        limit=sent.max_results or PAGE,
        page=sent.page_token,
        experiments=tuple(experiment_id(one) for one in sent.experiment_ids),
    )
    page = ask.house.logging.search_models(query)
    return FoundModels(tuple(told_model(one) for one in page.items), page.next)


_AT = "/api/2.0/mlflow/logged-models"
ROWS: tuple[Handled, ...] = (
    calls("POST", _AT, act=create, takes=CreateModel),
    calls("POST", f"{_AT}/search", act=search, takes=SearchModels, slow=True),
    calls("GET", f"{_AT}/{{model_id}}", act=get, takes=OneModel),
    calls("PATCH", f"{_AT}/{{model_id}}", act=finish, takes=FinishModel),
    calls("DELETE", f"{_AT}/{{model_id}}", act=delete, takes=OneModel),
    calls("POST", f"{_AT}/{{model_id}}/params", act=log_params, takes=ModelPairs),
    calls("PATCH", f"{_AT}/{{model_id}}/tags", act=set_tags, takes=ModelPairs),
    calls("DELETE", f"{_AT}/{{model_id}}/tags/{{tag_key:path}}", act=delete_tag, takes=OneModelTag),
)
