"""/api/2.0/mlflow/experiments/...: create, get, search, rename, delete, restore, tag."""

import msgspec

from kedge.domain.finding import LifecycleView
from kedge.domain.ids import DEFAULT_EXPERIMENT, ExperimentId
from kedge.server.mlflow import checks
from kedge.server.mlflow.entities import Pair, ToldExperiment, state_of, told_experiment
from kedge.server.mlflow.errors import INVALID, MISSING, ProtocolError
from kedge.server.mlflow.router import Ask, Handled, calls
from kedge.server.mlflow.wire import Long, Text
from kedge.tracking.search import experiments_query

VIEWS: dict[str | int, LifecycleView] = {
    "ACTIVE_ONLY": LifecycleView.ACTIVE,
    "DELETED_ONLY": LifecycleView.DELETED,
    "ALL": LifecycleView.ALL,
    1: LifecycleView.ACTIVE,
    2: LifecycleView.DELETED,
    3: LifecycleView.ALL,
}
NAME_PAGE = 50_000


class CreateExperiment(msgspec.Struct, frozen=True):
    """Make an experiment."""

    name: Text
    artifact_location: str = ""
    tags: tuple[Pair, ...] = ()


class CreatedExperiment(msgspec.Struct, frozen=True):
    """The new experiment's id."""

    experiment_id: str


class OneExperiment(msgspec.Struct, frozen=True):
    """Name an experiment by its id."""

    experiment_id: Text


class ExperimentByName(msgspec.Struct, frozen=True):
    """Name an experiment by its name."""

    experiment_name: Text


class GivenExperiment(msgspec.Struct, frozen=True):
    """An experiment."""

    experiment: ToldExperiment


class SearchExperiments(msgspec.Struct, frozen=True):
    """Search experiments."""

    max_results: Long | None = None
    page_token: str = ""
    filter: str = ""
    order_by: tuple[str, ...] = ()
    view_type: str | int = "ACTIVE_ONLY"


class FoundExperiments(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page of experiments."""

    experiments: tuple[ToldExperiment, ...] = ()
    next_page_token: str = ""


class UpdateExperiment(msgspec.Struct, frozen=True):
    """Give an experiment another name."""

    experiment_id: Text
    new_name: Text


class SetExperimentTag(msgspec.Struct, frozen=True):
    """Set a tag of an experiment."""

    experiment_id: Text
    key: Text
    value: str = ""


class DeleteExperimentTag(msgspec.Struct, frozen=True):
    """Take a tag of an experiment away."""

    experiment_id: Text
    key: Text


def create(ask: Ask, sent: CreateExperiment) -> CreatedExperiment:
    """Make an experiment. Where its files are kept is this server's own affair: a client cannot name a place."""
    if sent.artifact_location:
        raise ProtocolError(
            INVALID,
            "artifact_location is not taken: Kedge keeps files in its own store, never where a client says; leave it out",
        )
    name, tags = checks.experiment_name(sent.name), checks.experiment_tags(sent.tags)
    made = ask.house.logging.create_experiment(name, tags=tags, actor=ask.actor)
    return CreatedExperiment(made.id)


def get(ask: Ask, sent: OneExperiment) -> GivenExperiment:
    """Read one, deleted or not."""
    return GivenExperiment(told_experiment(ask.house.logging.get_experiment(experiment_id(sent.experiment_id))))


def by_name(ask: Ask, sent: ExperimentByName) -> GivenExperiment:
    """Read one by name, deleted or not."""
    found = ask.house.logging.find_experiment(sent.experiment_name)
    if found is None:
        raise ProtocolError(MISSING, f"Could not find experiment with name '{sent.experiment_name}'")
    return GivenExperiment(told_experiment(found))


def search(ask: Ask, sent: SearchExperiments) -> FoundExperiments:
    """Search."""
    view = state_of(sent.view_type, VIEWS, name="view_type")
    checks.page_size(sent.max_results, most=NAME_PAGE)
    query = experiments_query(
        sent.filter, order=sent.order_by, limit=sent.max_results or 1000, page=sent.page_token, view=view
    )
    page = ask.house.logging.search_experiments(query)
    return FoundExperiments(tuple(told_experiment(one) for one in page.items), page.next)


def update(ask: Ask, sent: UpdateExperiment) -> None:
    """Rename."""
    name = checks.experiment_name(sent.new_name)
    ask.house.logging.rename_experiment(experiment_id(sent.experiment_id), name, actor=ask.actor)


def delete(ask: Ask, sent: OneExperiment) -> None:
    """Delete, with its runs."""
    ask.house.logging.delete_experiment(experiment_id(sent.experiment_id), actor=ask.actor)


def restore(ask: Ask, sent: OneExperiment) -> None:
    """Restore, with the runs that were deleted with it."""
    ask.house.logging.restore_experiment(experiment_id(sent.experiment_id), actor=ask.actor)


def set_tag(ask: Ask, sent: SetExperimentTag) -> None:
    """Set a tag."""
    ((key, value),) = checks.experiment_tags((Pair(sent.key, sent.value),)).items()
    ask.house.logging.set_experiment_tag(experiment_id(sent.experiment_id), key, value=value)


def delete_tag(ask: Ask, sent: DeleteExperimentTag) -> None:
    """Take a tag away."""
    ask.house.logging.delete_experiment_tag(experiment_id(sent.experiment_id), sent.key)


def experiment_id(text: str) -> ExperimentId:
    """Read an experiment's id; "" is the default one. Raises ProtocolError for what is no number."""
    if not text:
        return DEFAULT_EXPERIMENT
    if not (text.isascii() and text.isdecimal() and len(text) <= 40):
        raise ProtocolError(INVALID, f"Invalid experiment ID '{text[:100]}'. Experiment ID must be a valid integer.")
    return ExperimentId(str(int(text)))


_AT = "/api/2.0/mlflow/experiments"
ROWS: tuple[Handled, ...] = (
    calls("POST", f"{_AT}/create", act=create, takes=CreateExperiment),
    calls("GET", f"{_AT}/get", act=get, takes=OneExperiment),
    calls("GET", f"{_AT}/get-by-name", act=by_name, takes=ExperimentByName),
    calls("POST", f"{_AT}/search", act=search, takes=SearchExperiments, slow=True),
    calls("GET", f"{_AT}/search", act=search, takes=SearchExperiments, slow=True),
    calls("POST", f"{_AT}/update", act=update, takes=UpdateExperiment),
    calls("POST", f"{_AT}/delete", act=delete, takes=OneExperiment),
    calls("POST", f"{_AT}/restore", act=restore, takes=OneExperiment),
    calls("POST", f"{_AT}/set-experiment-tag", act=set_tag, takes=SetExperimentTag),
    calls("POST", f"{_AT}/delete-experiment-tag", act=delete_tag, takes=DeleteExperimentTag),
)
