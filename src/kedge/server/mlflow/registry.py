"""/api/2.0/mlflow/registered-models/... and model-versions/...: Kedge's own registry in MLflow's words.

A client's `champion` of a model that is deployed is a promotion: it goes through the rollout, like one from the UI.
"""

from collections.abc import Sequence

import msgspec

from kedge.domain.registry import CatalogVersion, RegisteredModel
from kedge.registry.catalog import Offered
from kedge.registry.names import check_alias, check_name, check_new_alias, check_number
from kedge.server.mlflow.entities import Pair, millis, pairs
from kedge.server.mlflow.errors import NOT_BUILT, ProtocolError
from kedge.server.mlflow.router import Ask, Handled, calls
from kedge.server.mlflow.wire import Long, Text
from kedge.tracking.search_models import model_versions_query, registered_models_query

REASON = "asked for by an MLflow client"
PROMPT = "mlflow.prompt.is_prompt"
MODELS, VERSIONS = "/api/2.0/mlflow/registered-models", "/api/2.0/mlflow/model-versions"


class OneRegistered(msgspec.Struct, frozen=True):
    """Name a registered model."""

    name: Text


class NewModel(msgspec.Struct, frozen=True):
    """Register a name."""

    name: Text
    tags: tuple[Pair, ...] = ()
    description: str = ""


class Renaming(msgspec.Struct, frozen=True):
    """Give a model another name."""

    name: Text
    new_name: Text


class Described(msgspec.Struct, frozen=True):
    """Write what a model is for."""

    name: Text
    description: str = ""


class ModelTag(msgspec.Struct, frozen=True):
    """Set a model's tag."""

    name: Text
    key: Text
    value: str = ""


class ModelAlias(msgspec.Struct, frozen=True):
    """Name an alias."""

    name: Text
    alias: Text


class NewAlias(msgspec.Struct, frozen=True):
    """Point an alias to a version."""

    name: Text
    alias: Text
    version: Text


class WantedStages(msgspec.Struct, frozen=True):
    """Ask for the newest version of each of some stages."""

    name: Text
    stages: tuple[str, ...] = ()


class ModelSearch(msgspec.Struct, frozen=True):
    """Search registered models."""

    filter: str = ""
    max_results: Long = 100
    order_by: tuple[str, ...] = ()
    page_token: str = ""


class NewVersion(msgspec.Struct, frozen=True):
    """Make a version of the files that a source names."""

    name: Text
    source: Text
    run_id: str | None = None
    tags: tuple[Pair, ...] = ()
    run_link: str = ""
    description: str = ""
    model_id: str | None = None


class OneVersion(msgspec.Struct, frozen=True):
    """Name a version."""

    name: Text
    version: Text


class VersionText(msgspec.Struct, frozen=True):
    """Write what a version is."""

    name: Text
    version: Text
    description: str | None = None


class VersionTag(msgspec.Struct, frozen=True):
    """Set, or name, a version's tag."""

    name: Text
    version: Text
    key: Text
    value: str = ""


class NewStage(msgspec.Struct, frozen=True):
    """Bring a version to a stage."""

    name: Text
    version: Text
    stage: Text
    archive_existing_versions: bool = False


class VersionSearch(msgspec.Struct, frozen=True):
    """Search versions."""

    filter: str = ""
    max_results: Long = 10_000
    order_by: tuple[str, ...] = ()
    page_token: str = ""


class ToldAlias(msgspec.Struct, frozen=True):
    """An alias and the version it points to."""

    alias: str
    version: str


class ToldVersion(msgspec.Struct, frozen=True, omit_defaults=True):
    """A version, as clients read it."""

    name: str
    version: str
    creation_timestamp: int
    last_updated_timestamp: int
    current_stage: str
    source: str
    run_id: str
    status: str
    run_link: str
    description: str | None = None
    tags: list[Pair] = []
    aliases: list[str] = []


class ToldRegistered(msgspec.Struct, frozen=True, omit_defaults=True):
    """A registered model, as clients read it."""

    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str = ""
    latest_versions: list[ToldVersion] = []
    tags: list[Pair] = []
    aliases: list[ToldAlias] = []


class GivenRegistered(msgspec.Struct, frozen=True):
    """A registered model."""

    registered_model: ToldRegistered


class GivenVersion(msgspec.Struct, frozen=True):
    """A version."""

    model_version: ToldVersion


class GivenVersions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Versions, and where the next page begins."""

    model_versions: list[ToldVersion] = []
    next_page_token: str = ""


class GivenModels(msgspec.Struct, frozen=True, omit_defaults=True):
    """Registered models, and where the next page begins."""

    registered_models: list[ToldRegistered] = []
    next_page_token: str = ""


class Location(msgspec.Struct, frozen=True):
    """Where the files of a version are read from."""

    artifact_uri: str


def told_version(version: CatalogVersion, *, aliases: bool = True) -> ToldVersion:
    """Write a version as clients read it; lists leave its aliases out, as MLflow's do."""
    return ToldVersion(
        name=version.model,
        version=str(version.number),
        creation_timestamp=millis(version.created_at),
        last_updated_timestamp=millis(version.updated_at),
        current_stage=version.stage.value,
        source=version.source,
        run_id=version.run or "",
        status="READY",
        run_link=version.run_link or "",
        description=version.description,
        tags=list(pairs(version.tags)),
        aliases=list(version.aliases) if aliases else [],
    )


def told_model(model: RegisteredModel, latest: Sequence[CatalogVersion]) -> ToldRegistered:
    """Write a registered model as clients read it, with the newest version of each stage."""
    return ToldRegistered(
        name=model.name,
        creation_timestamp=millis(model.created_at),
        last_updated_timestamp=millis(model.updated_at),
        description=model.description or "",
        latest_versions=[told_version(version, aliases=False) for version in latest],
        tags=list(pairs(model.tags)),
        aliases=[ToldAlias(alias, str(number)) for alias, number in model.aliases.items()],
    )


def create_model(ask: Ask, request: NewModel) -> GivenRegistered:
    """Register a name."""
    tags = _tags(request.tags)
    model = ask.house.catalog.create(request.name, actor=ask.actor, description=request.description, tags=tags)
    return GivenRegistered(told_model(model, ()))


def get_model(ask: Ask, request: OneRegistered) -> GivenRegistered:
    """Read a registered model."""
    return _given(ask, ask.house.catalog.get(request.name))


def rename_model(ask: Ask, request: Renaming) -> GivenRegistered:
    """Rename a model."""
    return _given(ask, ask.house.catalog.rename(request.name, request.new_name, actor=ask.actor))


def update_model(ask: Ask, request: Described) -> GivenRegistered:
    """Write what a model is for."""
    return _given(ask, ask.house.catalog.describe(request.name, request.description))


def delete_model(ask: Ask, request: OneRegistered) -> None:
    """Put a model away."""
    ask.house.catalog.delete(request.name, actor=ask.actor)


def search_models(ask: Ask, request: ModelSearch) -> GivenModels:
    """Find registered models."""
    query = registered_models_query(
        request.filter, order=request.order_by, limit=request.max_results, page=request.page_token
    )
    page = ask.house.catalog.search(query)
    latest = ask.house.catalog.latest_of([model.name for model in page.items])
    return GivenModels([told_model(model, latest[model.name]) for model in page.items], page.next)


def latest_versions(ask: Ask, request: WantedStages) -> GivenVersions:
    """List the newest version of each stage."""
    return GivenVersions([told_version(one) for one in ask.house.catalog.latest(request.name, request.stages)])


def set_model_tag(ask: Ask, request: ModelTag) -> None:
    """Set a model's tag."""
    ask.house.catalog.set_tag(request.name, request.key, value=request.value)


def delete_model_tag(ask: Ask, request: ModelTag) -> None:
    """Take a model's tag away."""
    ask.house.catalog.delete_tag(request.name, request.key)


def set_alias(ask: Ask, request: NewAlias) -> None:
    """Point an alias to a version."""
    check_name(request.name)
    check_new_alias(request.alias)
    number = check_number(request.version)
    ask.house.by_hand.set_alias(request.name, request.alias, number=number, actor=ask.actor, reason=REASON)


def delete_alias(ask: Ask, request: ModelAlias) -> None:
    """Take an alias away."""
    check_name(request.name)
    check_alias(request.alias)
    ask.house.by_hand.delete_alias(request.name, request.alias, actor=ask.actor, reason=REASON)


def by_alias(ask: Ask, request: ModelAlias) -> GivenVersion:
    """Read the version that an alias points to."""
    check_name(request.name)
    return GivenVersion(told_version(ask.house.catalog.by_alias(request.name, request.alias)))


def create_version(ask: Ask, request: NewVersion) -> GivenVersion:
    """Make a version."""
    offered = Offered(
        source=request.source,
        run=request.run_id,
        logged_model=request.model_id,
        run_link=request.run_link,
        description=request.description,
        tags=_tags(request.tags),
    )
    return GivenVersion(told_version(ask.house.catalog.register(request.name, offered, actor=ask.actor)))


def get_version(ask: Ask, request: OneVersion) -> GivenVersion:
    """Read a version."""
    return GivenVersion(told_version(ask.house.catalog.version(*_key(request))))


def update_version(ask: Ask, request: VersionText) -> GivenVersion:
    """Write what a version is."""
    name, number = _key(request)
    return GivenVersion(told_version(ask.house.catalog.describe_version(name, number, description=request.description)))


def delete_version(ask: Ask, request: OneVersion) -> None:
    """Put a version away."""
    name, number = _key(request)
    ask.house.catalog.delete_version(name, number, actor=ask.actor)


def move_stage(ask: Ask, request: NewStage) -> GivenVersion:
    """Bring a version to a stage."""
    name, number = _key(request)
    moved = ask.house.catalog.move_stage(
        name,
        number,
        stage=request.stage,
        actor=ask.actor,
        archive=request.archive_existing_versions,
        reason=REASON,
    )
    return GivenVersion(told_version(moved))


def set_version_tag(ask: Ask, request: VersionTag) -> None:
    """Set a version's tag."""
    name, number = _key(request)
    ask.house.catalog.set_version_tag(name, number, key=request.key, value=request.value)


def delete_version_tag(ask: Ask, request: VersionTag) -> None:
    """Take a version's tag away."""
    name, number = _key(request)
    ask.house.catalog.delete_version_tag(name, number, key=request.key)


def download_uri(ask: Ask, request: OneVersion) -> Location:
    """Say where the files of a version are read from."""
    return Location(ask.house.catalog.version(*_key(request)).location)


def search_versions(ask: Ask, request: VersionSearch) -> GivenVersions:
    """Find versions."""
    query = model_versions_query(request.filter, order=request.order_by, limit=request.max_results, page=request.page_token)
    page = ask.house.catalog.search_versions(query)
    return GivenVersions([told_version(version, aliases=False) for version in page.items], page.next)


def _given(ask: Ask, model: RegisteredModel) -> GivenRegistered:
    return GivenRegistered(told_model(model, ask.house.catalog.latest(model.name)))


def _key(request: OneVersion | VersionText | VersionTag | NewStage) -> tuple[str, int]:
    return check_name(request.name), check_number(request.version)


def _tags(given: Sequence[Pair]) -> dict[str, str]:
    tags = {tag.key: tag.value for tag in given}
    if tags.get(PROMPT, "").lower() == "true":
        raise ProtocolError(NOT_BUILT, "prompts are not built: this registry keeps models")
    return tags


ROWS: tuple[Handled, ...] = (
    calls("POST", f"{MODELS}/create", act=create_model, takes=NewModel, slow=True),
    calls("GET", f"{MODELS}/get", act=get_model, takes=OneRegistered),
    calls("POST", f"{MODELS}/rename", act=rename_model, takes=Renaming, slow=True),
    calls("PATCH", f"{MODELS}/update", act=update_model, takes=Described, slow=True),
    calls("DELETE", f"{MODELS}/delete", act=delete_model, takes=OneRegistered, slow=True),
    calls("GET", f"{MODELS}/search", act=search_models, takes=ModelSearch, slow=True),
    calls("GET", f"{MODELS}/get-latest-versions", act=latest_versions, takes=WantedStages),
    calls("POST", f"{MODELS}/get-latest-versions", act=latest_versions, takes=WantedStages),
    calls("POST", f"{MODELS}/set-tag", act=set_model_tag, takes=ModelTag, slow=True),
    calls("DELETE", f"{MODELS}/delete-tag", act=delete_model_tag, takes=ModelTag, slow=True),
    calls("POST", f"{MODELS}/alias", act=set_alias, takes=NewAlias, slow=True),
    calls("GET", f"{MODELS}/alias", act=by_alias, takes=ModelAlias),
    calls("DELETE", f"{MODELS}/alias", act=delete_alias, takes=ModelAlias, slow=True),
    calls("POST", f"{VERSIONS}/create", act=create_version, takes=NewVersion, slow=True),
    calls("GET", f"{VERSIONS}/get", act=get_version, takes=OneVersion),
    calls("PATCH", f"{VERSIONS}/update", act=update_version, takes=VersionText, slow=True),
    calls("DELETE", f"{VERSIONS}/delete", act=delete_version, takes=OneVersion, slow=True),
    calls("POST", f"{VERSIONS}/transition-stage", act=move_stage, takes=NewStage, slow=True),
    calls("POST", f"{VERSIONS}/set-tag", act=set_version_tag, takes=VersionTag, slow=True),
    calls("DELETE", f"{VERSIONS}/delete-tag", act=delete_version_tag, takes=VersionTag, slow=True),
    calls("GET", f"{VERSIONS}/get-download-uri", act=download_uri, takes=OneVersion),
    calls("GET", f"{VERSIONS}/search", act=search_versions, takes=VersionSearch, slow=True),
)
