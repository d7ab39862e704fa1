"""Changing registered models in a browser: names, notes and tags, aliases and stages; each move with who and why."""

from collections.abc import Mapping

import msgspec
from litestar import Controller, get, post
from litestar.params import FromPath, FromQuery, URLEncodedBody
from litestar.response import Redirect

from kedge.domain.registry import CatalogVersion, ModelStage, RegisteredModel
from kedge.errors import RequestInvalid
from kedge.registry.names import TEXT, check_reason
from kedge.server.forms import Asked, Asking, Field, Page, act, ask, changes, labels_of, lines_of
from kedge.server.guard import actor_of
from kedge.server.house import House
from kedge.server.routes.given import TheHouse, ThePages
from kedge.web.addresses import part

NOUN = "Models"
_HOME = ("Models", "/models")
Sent = URLEncodedBody[dict[str, str]]
_REASON = Field(name="reason", label="Reason, kept in the history", required=True)
_STANDS = "Your name and reason stand in the history"


class ModelsByHand(Controller):
    """Forms of registered models and their versions."""

    include_in_schema = False

    @get("/models/new", sync_to_thread=False)
    def ask_new(self, request: Asked, pages: ThePages) -> Page:
        """Ask for a new model's name."""
        return ask(request, pages, asking=_new())

    @post("/models/new", sync_to_thread=True)
    def do_new(self, request: Asked, pages: ThePages, house: TheHouse, data: Sent) -> Page | Redirect:
        """Register a name."""

        def do() -> str:
            note = data.get("note", "").strip() or None
            made = house.catalog.create(data.get("name", "").strip(), description=note, actor=actor_of(request))
            return f"/models/{part(made.name)}"

        return act(request, pages, asking=_new(), given=data, do=do)

    @get("/models/{model:str}/edit", sync_to_thread=True)
    def ask_edit(self, request: Asked, pages: ThePages, house: TheHouse, model: FromPath[str]) -> Page:
        """Ask for a model's new name, description and tags."""
        return ask(request, pages, asking=_edit(house, house.catalog.get(model)))

    @post("/models/{model:str}/edit", sync_to_thread=True)
    def do_edit(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Rename, describe and tag a model."""
        found = house.catalog.get(model)

        def do() -> str:
            return _change_model(house, found, data=data, actor=actor_of(request))

        return act(request, pages, asking=_edit(house, found), given=data, do=do)

    @get("/models/{model:str}/delete", sync_to_thread=True)
    def ask_delete(self, request: Asked, pages: ThePages, house: TheHouse, model: FromPath[str]) -> Page:
        """Ask before a model is deleted."""
        return ask(request, pages, asking=_delete(house.catalog.get(model)))

    @post("/models/{model:str}/delete", sync_to_thread=True)
    def do_delete(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Delete a model that is not deployed."""

        def do() -> str:
            house.catalog.delete(model, actor=actor_of(request))
            return "/models"

        return act(request, pages, asking=_delete(house.catalog.get(model)), given=data, do=do)

    @get("/models/{model:str}/alias", sync_to_thread=True)
    def ask_alias(
        self,
        request: Asked,
        pages: ThePages,
        house: TheHouse,
        *,
        model: FromPath[str],
        alias: FromQuery[str] = "",
        version: FromQuery[str] = "",
    ) -> Page:
        """Ask where an alias shall point."""
        return ask(request, pages, asking=_alias(house.catalog.get(model), alias=alias, version=version))

    @post("/models/{model:str}/alias", sync_to_thread=True)
    def do_alias(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Point an alias to a version, or take it away where no version is named."""
        found = house.catalog.get(model)
        alias, version = data.get("alias", "").strip(), data.get("version", "").strip().removeprefix("v")

        def do() -> None:
            reason, actor = check_reason(data.get("reason", "")), actor_of(request)
            if not version:
                house.by_hand.delete_alias(model, alias, actor=actor, reason=reason)
            elif version.isascii() and version.isdecimal():
                house.by_hand.set_alias(model, alias, number=int(version), actor=actor, reason=reason)
            else:
                raise RequestInvalid(
                    f"version {version!r} is no number; write one such as 3, or nothing to take the alias away"
                )

        return act(request, pages, asking=_alias(found, alias=alias, version=version), given=data, do=do)

    @get("/models/{model:str}/versions/{number:int}/edit", sync_to_thread=True)
    def ask_version(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], number: FromPath[int]
    ) -> Page:
        """Ask for a version's new description and tags."""
        return ask(request, pages, asking=_edit_version(house.catalog.version(model, number)))

    @post("/models/{model:str}/versions/{number:int}/edit", sync_to_thread=True)
    def do_version(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], number: FromPath[int], data: Sent
    ) -> Page | Redirect:
        """Describe and tag a version."""
        found = house.catalog.version(model, number)
        asking = _edit_version(found)
        return act(request, pages, asking=asking, given=data, do=lambda: _change_version(house, found, data=data))

    @get("/models/{model:str}/versions/{number:int}/stage", sync_to_thread=True)
    def ask_stage(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], number: FromPath[int]
    ) -> Page:
        """Ask to which stage a version shall go."""
        return ask(request, pages, asking=_stage(house.catalog.version(model, number)))

    @post("/models/{model:str}/versions/{number:int}/stage", sync_to_thread=True)
    def do_stage(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], number: FromPath[int], data: Sent
    ) -> Page | Redirect:
        """Bring a version to a stage."""

        def do() -> None:
            stage, reason = data.get("stage", "").strip(), check_reason(data.get("reason", ""))
            house.catalog.move_stage(model, number, stage=stage, actor=actor_of(request), reason=reason)

        return act(request, pages, asking=_stage(house.catalog.version(model, number)), given=data, do=do)

    @get("/models/{model:str}/versions/{number:int}/archive", sync_to_thread=True)
    def ask_archive(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], number: FromPath[int]
    ) -> Page:
        """Ask before a version is archived."""
        return ask(request, pages, asking=_archive(house.catalog.version(model, number)))

    @post("/models/{model:str}/versions/{number:int}/archive", sync_to_thread=True)
    def do_archive(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], number: FromPath[int], data: Sent
    ) -> Page | Redirect:
        """Take a version out of use."""

        def do() -> None:
            house.by_hand.archive(model, number, actor=actor_of(request), reason=check_reason(data.get("reason", "")))

        return act(request, pages, asking=_archive(house.catalog.version(model, number)), given=data, do=do)


def _model_page(model: str) -> str:
    return f"/models/{part(model)}"


def _new() -> Asking:
    fields = (
        Field(name="name", label="Name", required=True),
        Field(name="note", label="What it is for", kind="area", longest=TEXT),
    )
    return Asking(
        heading="New registered model",
        button="Register",
        fields=fields,
        noun=NOUN,
        crumbs=(_HOME,),
        back="/models",
        keep="Back",
    )


def _form(model: str, *, heading: str, button: str, fields: tuple[Field, ...], version: int = 0) -> Asking:
    back = _model_page(model) + (f"/versions/{version}" if version else "")
    crumbs = (_HOME, (model, _model_page(model)), *(((f"v{version}", back),) if version else ()))
    crumb = "Edit" if button == "Save" else ""
    return Asking(heading=heading, button=button, crumb=crumb, fields=fields, noun=NOUN, crumbs=crumbs, back=back)


def _tags(tags: Mapping[str, str]) -> Field:
    return Field(
        name="tags", label="Tags, one a line", value=lines_of(tags), kind="area", hint="KEY = VALUE", longest=100_000
    )


def _note(text: str | None) -> Field:
    return Field(name="note", label="Description", value=text or "", kind="area", longest=TEXT)


def _edit(house: House, model: RegisteredModel) -> Asking:
    bound = house.by_hand.is_deployed(model.name)
    name = Field(name="model_name", label="Name", value=model.name, required=True)
    fields = (*(() if bound else (name,)), _note(model.description), _tags(model.tags))
    return _form(model.name, heading=f"Edit {model.name}", button="Save", fields=fields)


def _change_model(house: House, model: RegisteredModel, *, data: Mapping[str, str], actor: str) -> str:
    changed, note = changes(model.tags, labels_of(data.get("tags", ""))), data.get("note", "").strip() or None
    name = data.get("model_name", "").strip() or model.name
    if note != model.description:
        house.catalog.describe(model.name, note)
    house.catalog.retag(model.name, changed)
    if name != model.name:
        house.catalog.rename(model.name, name, actor=actor)
    return _model_page(name)


def _edit_version(version: CatalogVersion) -> Asking:
    fields = (_note(version.description), _tags(version.tags))
    heading = f"Edit {version.model} v{version.number}"
    return _form(version.model, heading=heading, button="Save", fields=fields, version=version.number)


def _change_version(house: House, version: CatalogVersion, *, data: Mapping[str, str]) -> None:
    changed, note = changes(version.tags, labels_of(data.get("tags", ""))), data.get("note", "").strip() or None
    if note != version.description:
        house.catalog.describe_version(version.model, version.number, description=note)
    house.catalog.retag_version(version.model, version.number, tags=changed)


def _delete(model: RegisteredModel) -> Asking:
    form = _form(
        model.name,
        heading=f"Delete {model.name}?",
        button="Delete",
        fields=(Field(name="name", label="delete", code=model.name, required=True),),
    )
    facts = ("Its versions and aliases are put away; runs and files stay", "Its versions' numbers are never given again")
    return _dangerous(form, facts, keep="Keep it")


def _dangerous(form: Asking, facts: tuple[str, ...], *, keep: str) -> Asking:
    return msgspec.structs.replace(form, keep=keep, consequences=(*facts, _STANDS), danger=True)


def _alias(model: RegisteredModel, *, alias: str, version: str) -> Asking:
    held = ", ".join(f"{name} is v{number}" for name, number in sorted(model.aliases.items())) or "none is set"
    fields = (
        Field(name="alias", label="Alias", value=alias, required=True, hint=f"Now {held}"),
        Field(name="version", label="Version", value=version, hint="A number; leave it empty to take the alias away"),
        _REASON,
    )
    facts = ("Whoever asks for the alias gets that version from now on", _STANDS)
    form = _form(model.name, heading=f"Set an alias of {model.name}", button="Set the alias", fields=fields)
    return msgspec.structs.replace(form, consequences=facts)


def _stage(version: CatalogVersion) -> Asking:
    stages = ", ".join(stage.value for stage in ModelStage)
    fields = (Field(name="stage", label="Stage", value=version.stage.value, required=True, hint=f"One of {stages}"), _REASON)
    heading = f"Bring {version.model} v{version.number} to a stage"
    return _form(version.model, heading=heading, button="Move", fields=fields, version=version.number)


def _archive(version: CatalogVersion) -> Asking:
    aliases = ", ".join(version.aliases)
    facts = ("Its stage is Archived then", *((f"Its aliases are taken away: {aliases}",) if aliases else ()))
    heading = f"Archive {version.model} v{version.number}?"
    form = _form(version.model, heading=heading, button="Archive", fields=(_REASON,), version=version.number)
    return _dangerous(form, (*facts, "Its files stay"), keep="Keep it in use")
