"""/api/v1/models/...: registered models whole: names, versions, aliases, stages, and the history of every move.

Each write that moves something names who and why. `serial` is how often the alias had moved when it was looked at:
another count refuses, so of many who saw the same one wins.
"""

from typing import Annotated

import msgspec
from litestar import Controller, Request, delete, get, patch, post, put
from litestar.datastructures import State as Shared
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from kedge.domain.ids import ModelName
from kedge.domain.lineage import VersionExplanation
from kedge.domain.normal import CalledNormal
from kedge.domain.registry import AliasMove, CatalogVersion, HistoryEntry, RegisteredModel, Servable
from kedge.registry.catalog import Offered
from kedge.registry.names import check_reason
from kedge.server import wire
from kedge.server.guard import actor_of
from kedge.server.reading.model import ModelPage, VersionPage, model_page
from kedge.server.reading.registered import (
    Registered,
    RegisteredVersion,
    find_registered,
    model_lines,
    registered_version,
)
from kedge.server.routes.given import ANSWERS, TheHouse, TheScenes
from kedge.server.routes.reads import describe_version
from kedge.tracking.search_models import registered_models_query

Asked = Request[None, None, Shared]
Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="How many at most.")]
Token = Annotated[str, QueryParameter(name="page", description="The `next` of the page before; opaque.")]
Filter = Annotated[str, QueryParameter(name="filter", description="name LIKE 'flights%' AND tags.team = 'air'.")]


class NewRegistered(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A registered model to make."""

    name: str
    description: str | None = None
    tags: dict[str, str] = {}


class ModelChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a model or version: a tag of null is taken away, what is left out stays."""

    description: str | msgspec.UnsetType | None = msgspec.UNSET
    tags: dict[str, str | None] = {}


class ToRegister(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version to make: `source` is runs:/RUN/PATH, models:/m-ID, models:/NAME/N or an mlflow-artifacts: URI."""

    source: str
    run: str | None = None
    logged_model: str | None = None
    description: str | None = None
    tags: dict[str, str] = {}


class Pointing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an alias shall point, and why."""

    version: int
    reason: str
    serial: int | None = None


class Staging(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which stage a version shall be in, and why."""

    stage: str
    reason: str
    archive_existing: bool = False


class Because(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why."""

    reason: str


class RegisteredPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of registered models."""

    models: tuple[RegisteredModel, ...]
    next: str


class VersionsOfModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model and its versions, newest first."""

    model: RegisteredModel
    versions: tuple[CatalogVersion, ...]


class ServedAs(msgspec.Struct, frozen=True, kw_only=True):
    """What answers ("original", or a compiled form), and all that serving needs."""

    form: str
    servable: Servable


class ModelHistory(msgspec.Struct, frozen=True, kw_only=True):
    """All moves of a model's aliases and stages, oldest first."""

    model: str
    moves: tuple[HistoryEntry, ...]


class Catalogs(Controller):
    """The native API of the registry."""

    path = "/api/v1"

    @get("/models", sync_to_thread=True, responses=ANSWERS)
    def models(self, scenes: TheScenes, house: TheHouse, page: Token = "", limit: Limit = 100) -> wire.ModelList:
        """List the models, of the loop and of clients, each in a line."""
        lines, after = model_lines(house, scenes, page=page, limit=limit)
        return wire.ModelList(models=lines, next=after)

    @get("/models/{model:str}", sync_to_thread=True, responses=ANSWERS)
    def model(self, scenes: TheScenes, house: TheHouse, model: FromPath[str]) -> ModelPage | Registered:
        """Describe one model: one of the loop with its year, another with its versions, deployment and history."""
        scene = scenes.of(ModelName(model))
        return (None if scene.versions else find_registered(house, scenes, name=model)) or model_page(scene)

    @get("/models/{model:str}/versions/{number:int}", sync_to_thread=True, responses=ANSWERS)
    def model_version(
        self, scenes: TheScenes, house: TheHouse, model: FromPath[str], number: FromPath[int]
    ) -> VersionPage | RegisteredVersion:
        """Describe one version: one of the loop with its verdict, another with what it is and how it moved."""
        if scenes.of(ModelName(model)).version(number) is None:
            return registered_version(house, model, number=number)
        return describe_version(scenes, house, model=model, number=number)

    @get("/registered-models", sync_to_thread=True, responses=ANSWERS)
    def search(self, house: TheHouse, filter: Filter = "", page: Token = "", limit: Limit = 100) -> RegisteredPage:
        """Find registered models, by name."""
        found = house.catalog.search(registered_models_query(filter, limit=limit, page=page))
        return RegisteredPage(models=found.items, next=found.next)

    @post("/models", sync_to_thread=True, responses=ANSWERS)
    def create(self, request: Asked, house: TheHouse, data: JSONBody[NewRegistered]) -> RegisteredModel:
        """Register a name."""
        made = house.catalog.create(data.name, actor=actor_of(request), description=data.description, tags=data.tags)
        return made

    @patch("/models/{model:str}", sync_to_thread=True, responses=ANSWERS)
    def change(self, house: TheHouse, model: FromPath[str], data: JSONBody[ModelChange]) -> RegisteredModel:
        """Change a model's description and tags."""
        if data.description is not msgspec.UNSET:
            house.catalog.describe(model, data.description)
        house.catalog.retag(model, data.tags)
        return house.catalog.get(model)

    @delete("/models/{model:str}", sync_to_thread=True, responses=ANSWERS)
    def remove(self, request: Asked, house: TheHouse, model: FromPath[str]) -> None:
        """Put a model and its versions away; refused for one that was deployed."""
        house.catalog.delete(model, actor=actor_of(request))

    @get("/models/{model:str}/versions", sync_to_thread=True, responses=ANSWERS)
    def versions(self, house: TheHouse, model: FromPath[str]) -> VersionsOfModel:
        """List a model's versions, of the loop and of clients."""
        return VersionsOfModel(model=house.catalog.get(model), versions=tuple(house.catalog.versions(model)))

    @post("/models/{model:str}/versions", sync_to_thread=True, responses=ANSWERS)
    def register(self, request: Asked, house: TheHouse, model: FromPath[str], data: JSONBody[ToRegister]) -> CatalogVersion:
        """Make a version of the files that a source names now."""
        offered = Offered(
            source=data.source,
            run=data.run,
            logged_model=data.logged_model,
            description=data.description,
            tags=data.tags,
        )
        return house.catalog.register(model, offered, actor=actor_of(request))

    @patch("/models/{model:str}/versions/{number:int}", sync_to_thread=True, responses=ANSWERS)
    def change_version(
        self, house: TheHouse, model: FromPath[str], number: FromPath[int], data: JSONBody[ModelChange]
    ) -> CatalogVersion:
        """Change a version's description and tags."""
        if data.description is not msgspec.UNSET:
            house.catalog.describe_version(model, number, description=data.description)
        house.catalog.retag_version(model, number, tags=data.tags)
        return house.catalog.version(model, number)

    @delete("/models/{model:str}/versions/{number:int}", sync_to_thread=True, responses=ANSWERS)
    def remove_version(self, request: Asked, house: TheHouse, model: FromPath[str], number: FromPath[int]) -> None:
        """Put a version away; refused for one that was deployed."""
        house.catalog.delete_version(model, number, actor=actor_of(request))

    @post("/models/{model:str}/versions/{number:int}/stage", sync_to_thread=True, status_code=200, responses=ANSWERS)
    def move_stage(
        self,
        request: Asked,
        house: TheHouse,
        model: FromPath[str],
        number: FromPath[int],
        data: JSONBody[Staging],
    ) -> CatalogVersion:
        """Bring a version to a stage."""
        return house.catalog.move_stage(
            model,
            number,
            stage=data.stage,
            actor=actor_of(request),
            archive=data.archive_existing,
            reason=check_reason(data.reason),
        )

    @post("/models/{model:str}/versions/{number:int}/archive", sync_to_thread=True, status_code=200, responses=ANSWERS)
    def archive(
        self,
        request: Asked,
        house: TheHouse,
        model: FromPath[str],
        number: FromPath[int],
        data: JSONBody[Because],
    ) -> CatalogVersion:
        """Take a version out of use; refused for one that is served."""
        return house.by_hand.archive(model, number, actor=actor_of(request), reason=check_reason(data.reason))

    @post("/models/{model:str}/versions/{number:int}/servable", sync_to_thread=True, status_code=200, responses=ANSWERS)
    def servable(self, house: TheHouse, model: FromPath[str], number: FromPath[int]) -> ServedAs:
        """Say what serving needs of a version, found out now if nobody has; refused with the reason why it cannot be."""
        found = house.registry.servable(ModelName(model), number)
        return ServedAs(form=found.form, servable=found)

    @get("/models/{model:str}/versions/{number:int}/why", sync_to_thread=True, responses=ANSWERS)
    def why(self, house: TheHouse, model: FromPath[str], number: FromPath[int]) -> VersionExplanation:
        """Walk from a version back to its run, code, params and datasets."""
        return house.lineage.why_version(house.catalog.version(model, number), house.catalog.history(model))

    @get("/models/{model:str}/versions/{number:int}/normal", sync_to_thread=True, responses=ANSWERS)
    def normal(self, house: TheHouse, model: FromPath[str], number: FromPath[int]) -> CalledNormal:
        """Say what a version calls normal: each column's tolerance, the error of its reference, what it cannot tell."""
        return house.references.normal(ModelName(model), number)

    @put("/models/{model:str}/aliases/{alias:str}", sync_to_thread=True, responses=ANSWERS)
    def set_alias(
        self, request: Asked, house: TheHouse, model: FromPath[str], alias: FromPath[str], data: JSONBody[Pointing]
    ) -> AliasMove:
        """Point an alias to a version; the champion of a deployed model is promoted by that."""
        return house.by_hand.set_alias(
            model,
            alias,
            number=data.version,
            actor=actor_of(request),
            reason=check_reason(data.reason),
            serial=data.serial,
        )

    @delete("/models/{model:str}/aliases/{alias:str}", sync_to_thread=True, responses=ANSWERS)
    def delete_alias(
        self, request: Asked, house: TheHouse, model: FromPath[str], alias: FromPath[str], reason: FromQuery[str]
    ) -> None:
        """Take an alias away."""
        house.by_hand.delete_alias(model, alias, actor=actor_of(request), reason=check_reason(reason))

    @get("/models/{model:str}/history", sync_to_thread=True, responses=ANSWERS)
    def history(self, house: TheHouse, model: FromPath[str]) -> ModelHistory:
        """List all moves of a model's aliases and stages, oldest first."""
        return ModelHistory(model=model, moves=house.catalog.history(model))
