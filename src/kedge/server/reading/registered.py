"""Registered models as people and clients keep them: the list, one model's versions and history, one version."""

import msgspec

from kedge.domain.evaluation import Outcome
from kedge.domain.registry import CatalogVersion, HistoryEntry, ModelStage, RegisteredModel
from kedge.domain.rollout import Deployment
from kedge.errors import NotFound, SearchInvalid
from kedge.registry.telling import described
from kedge.server.house import House
from kedge.server.reading.looking import filter_of
from kedge.server.reading.model import ModelLine, model_line
from kedge.server.reading.scene import Scenes
from kedge.server.reading.sentence import trial_verdict
from kedge.server.reading.state import Sentence, State
from kedge.tracking.search_models import registered_models_query
from kedge.web import words

ROWS = 50
_VERDICTS = {Outcome.PASSED.value: State.WELL, Outcome.REFUSED.value: State.ALARM, Outcome.HELD.value: State.HOLDS}


class RegisteredRow(msgspec.Struct, frozen=True, kw_only=True):
    """A registered model in the list. `newest` is the number of its newest version, 0 where it has none."""

    model: RegisteredModel
    state: State
    say: str
    versions: int
    newest: int


class RegisteredList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of registered models, changed last first; `fault` says why the search could not be read."""

    say: str
    look: str
    fault: str
    models: tuple[RegisteredRow, ...]
    next: str


class MoveLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a model's history, with the state in which it is shown."""

    entry: HistoryEntry
    state: State
    say: str


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A registered model whole: its versions and its history, newest first. `serial` counts the champion's moves;
    `deployment` is what is served now, None where nothing is."""

    model: RegisteredModel
    verdict: Sentence
    deployment: Deployment | None
    versions: tuple[CatalogVersion, ...]
    history: tuple[MoveLine, ...]
    serial: int


class RegisteredVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a registered model with the part of the history that is its own. `triable` says whether it has files
    and is neither champion nor on trial."""

    model: RegisteredModel
    version: CatalogVersion
    verdict: Sentence
    deployed: bool
    triable: bool
    history: tuple[MoveLine, ...]
    served: tuple[tuple[str, str], ...]


def registered_list(house: House, scenes: Scenes, *, look: str = "", page: str = "") -> RegisteredList:
    """List registered models: those whose name has these words, or that a filter in the search grammar finds."""
    look = " ".join(look.split())
    try:
        query = registered_models_query(
            filter_of(look),
            order=("last_updated_timestamp DESC",),
            limit=ROWS,
            page=page,
            counted=True,
        )
        found = house.catalog.search(query)
    except SearchInvalid as error:
        return RegisteredList(say="0 registered models", look=look, fault=words.sentence(str(error)), models=(), next="")
    rows = tuple(_row(house, scenes, model=one) for one in found.items)
    return RegisteredList(
        say=words.many(len(rows) if found.total is None else found.total, "registered model"),
        look=look,
        fault="",
        models=rows,
        next=found.next,
    )


def _row(house: House, scenes: Scenes, *, model: RegisteredModel) -> RegisteredRow:
    versions = house.catalog.versions(model.name)
    spoken = _spoken(house, scenes, model=model, versions=len(versions))
    newest = versions[0].number if versions else 0
    return RegisteredRow(model=model, state=spoken.state, say=spoken.say, versions=len(versions), newest=newest)


def _spoken(house: House, scenes: Scenes, *, model: RegisteredModel, versions: int) -> Sentence:
    """Say how a model stands: a deployed one as its rollout says, another one by its champion."""
    if house.by_hand.is_deployed(model.name):
        return trial_verdict(scenes.of(model.name))
    champion = model.aliases.get("champion")
    if champion is not None:
        return Sentence(state=State.IDLE, say=f"v{champion} is champion; nothing of this model is deployed.")
    if not versions:
        return Sentence(state=State.HOLDS, say="No version is registered yet.")
    return Sentence(state=State.HOLDS, say=f"{words.many(versions, 'version')}, none is champion.")


def find_registered(house: House, scenes: Scenes, *, name: str) -> Registered | None:
    """Describe a registered model; None where there is none of this name."""
    try:
        model = house.catalog.get(name)
    except NotFound:
        return None
    versions = tuple(house.catalog.versions(name))
    moves = [move for move in house.catalog.alias_moves(name) if move.alias == "champion"]
    return Registered(
        model=model,
        verdict=_spoken(house, scenes, model=model, versions=len(versions)),
        deployment=house.meta.deployments.find(model.name),
        versions=versions,
        history=tuple(moved(one) for one in reversed(house.catalog.history(name))),
        serial=moves[-1].serial if moves else 0,
    )


def model_lines(house: House, scenes: Scenes, *, page: str, limit: int) -> tuple[tuple[ModelLine, ...], str]:
    """List models by name, whoever registered them, with the token of the next page. Raises SearchInvalid."""
    found = house.catalog.search(registered_models_query(limit=limit, page=page))
    loops = frozenset(house.meta.models.names())
    return tuple(
        model_line(scenes.of(one.name)) if one.name in loops else _line(house, scenes, model=one) for one in found.items
    ), found.next


def _line(house: House, scenes: Scenes, *, model: RegisteredModel) -> ModelLine:
    row, deployment = _row(house, scenes, model=model), house.meta.deployments.find(model.name)
    champion = deployment.champion if deployment else model.aliases.get("champion")
    return ModelLine(model=model.name, state=row.state, say=row.say, champion=champion, versions=row.versions)


def registered_version(house: House, name: str, *, number: int) -> RegisteredVersion:
    """Describe one version. Raises NotFound."""
    version = house.catalog.version(name, number)
    served = house.meta.deployments.find(version.model)
    own = [one for one in house.catalog.history(name) if number in (one.number, one.previous)]
    return RegisteredVersion(
        model=house.catalog.get(name),
        version=version,
        verdict=_version_verdict(version),
        deployed=house.by_hand.is_deployed(name),
        triable=version.digest is not None and (served is None or number not in served.loaded),
        history=tuple(moved(one) for one in reversed(own)),
        served=tuple(described(version.servable)) if version.servable is not None else (),
    )


def _version_verdict(version: CatalogVersion) -> Sentence:
    by = f" by {version.user or version.actor}" if version.user or version.actor else ""
    sub = f"Registered {words.utc(version.created_at)}{by} from {version.source}."
    if version.stage is ModelStage.ARCHIVED:
        return Sentence(state=State.IDLE, say=f"v{version.number} is archived.", sub=sub)
    if version.aliases:
        return Sentence(state=State.WELL, say=f"v{version.number} is {words.listed(version.aliases)}.", sub=sub)
    if version.stage is not ModelStage.NONE:
        return Sentence(state=State.IDLE, say=f"v{version.number} is in stage {version.stage.value}.", sub=sub)
    return Sentence(state=State.HOLDS, say=f"v{version.number} is registered; no alias points to it.", sub=sub)


def moved(entry: HistoryEntry) -> MoveLine:
    """Say one move in words."""
    if entry.kind == "stage":
        say = f"v{entry.number} went to stage {entry.name}" + (f" from {entry.before}" if entry.before else "")
    elif entry.number is None:
        say = f"{entry.name} was taken away" + (f" from v{entry.previous}" if entry.previous else "")
    else:
        say = f"{entry.name} moved to v{entry.number}" + (f" from v{entry.previous}" if entry.previous else "")
    return MoveLine(entry=entry, state=_VERDICTS.get(entry.verdict, State.IDLE), say=say)
