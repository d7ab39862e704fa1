"""The room's other door: registered models whole, as people and clients keep them, whoever made their versions.

    name -> version (number, digest, source: never changed) -> aliases and stages: moved, and each move kept for ever

A version is bound to the files that its source named at that moment: the digest of their tree is taken then and kept.
The words of a refusal are part of the MLflow protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from kedge.domain.artifacts import RunFile
from kedge.domain.events import Event, EventKind, Fact
from kedge.domain.finding import Page, Query
from kedge.domain.ids import Digest, LoggedModelId, ModelName, RunId, digest_of
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.domain.registry import (
    ACTIVE_STAGES,
    AliasMove,
    CatalogVersion,
    HistoryEntry,
    ModelFacts,
    RegisteredModel,
    StageMove,
)
from kedge.errors import AliasConflict, AliasMoved, Conflict, NotFound, RequestInvalid
from kedge.ports import Clock, Deployments, LoggedModels, Models, RegisteredModels, TakenAlias
from kedge.registry import names
from kedge.registry.mlmodel import FILE, LARGEST, read_mlmodel
from kedge.registry.moves import alias_moved, history_of, stage_moved
from kedge.registry.sources import NamedSource, SourceKind, foreign_source, read_source

TRIES = 20  # at an alias that others move at the same time
REASON = "no reason was given"
VERSIONS_TAG = "mlflow.modelVersions"


class FileTrees(Protocol):
    """The files of runs and logged models (the room `tracking.artifacts`)."""

    def tree(self, owner: str, folder: str = "") -> Digest:
        """Make one tree of all files below a folder. Raises NotFound where there is none."""
        ...

    def walk(self, owner: str, folder: str = "") -> Sequence[RunFile]:
        """List all files below a folder. Raises NotFound."""
        ...

    def read(self, file: RunFile, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Read a file's bytes, some at a time."""
        ...


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """What a client offers as a version: where its files are, the run and logged model it says they are of, labels."""

    source: str
    run: str | None = None
    logged_model: str | None = None
    run_link: str | None = None
    description: str | None = None
    tags: dict[str, str] = {}


class VersionNote(msgspec.Struct, frozen=True):
    """A version that was made of a logged model, as its tag names it."""

    name: str
    version: str


class Catalog:
    """Keep registered models, their versions, aliases and stages."""

    def __init__(
        self,
        *,
        registered: RegisteredModels,
        models: Models,
        logged: LoggedModels,
        deployments: Deployments,
        files: FileTrees,
        clock: Clock,
    ) -> None:
        self._registered, self._models, self._logged = registered, models, logged
        self._deployments, self._files, self._clock = deployments, files, clock

    def create(
        self, name: str, *, actor: str, description: str | None = None, tags: Mapping[str, str] | None = None
    ) -> RegisteredModel:
        """Register a name. Raises Conflict where it is registered, RequestInvalid."""
        now = self._clock.now()
        model = RegisteredModel(
            name=ModelName(names.check_name(name)),
            created_at=now,
            updated_at=now,
            description=names.check_description(description),
            tags=names.check_tags(tags or {}),
        )
        event = self._event(EventKind.MODEL_CREATED, model.name, actor=actor, message=f"Model {name} is registered")
        if not self._registered.create(model, event):
            raise Conflict(f"Registered Model (name={name}) already exists.")
        return model

    def get(self, name: str) -> RegisteredModel:
        """Read a registered model. Raises NotFound, RequestInvalid."""
        found = self._registered.find(ModelName(names.check_name(name)))
        if found is None:
            raise _no_model(name)
        return found

    def search(self, query: Query) -> Page[RegisteredModel]:
        """Find registered models. Raises SearchInvalid."""
        return self._registered.search(query)

    def describe(self, name: str, description: str | None) -> RegisteredModel:
        """Write what a model is for. Raises NotFound, RequestInvalid."""
        found = names.check_description(description)
        if not self._registered.describe(ModelName(names.check_name(name)), found, at=self._clock.now()):
            raise _no_model(name)
        return self.get(name)

    def rename(self, name: str, new: str, *, actor: str) -> RegisteredModel:
        """Give a model another name; versions, aliases and history go with it. Raises NotFound, Conflict, RequestInvalid.

        A model of the loop keeps its name: it stands in the project file, in the log of predictions and in lineage.
        """
        names.check_name(new, parameter="new_name")
        old, fresh, now = ModelName(names.check_name(name)), ModelName(new), self._clock.now()
        self.get(name)
        if self._models.list(old) or self._deployments.find(old) is not None:
            raise RequestInvalid(
                f"Registered Model (name={name}) is a project's: its name stands in kedge.toml and in what was served, so"
                " it cannot be renamed; copy its versions to another model instead"
            )
        message = f"Model {old} is called {fresh} from now on"
        event = self._event(EventKind.MODEL_RENAMED, fresh, actor=actor, message=message, facts={"before": old})
        self._registered.rename(old, fresh, at=now, event=event)
        return self.get(new)

    def delete(self, name: str, *, actor: str) -> None:
        """Put a model and its versions away. Their numbers are never given again. Raises NotFound, RequestInvalid where it
        was deployed."""
        model = ModelName(names.check_name(name))
        self.get(name)
        if self._deployments.find(model) is not None:
            raise RequestInvalid(
                f"Registered Model (name={name}) is deployed: what it answered must stay answerable; archive its versions"
                " instead"
            )
        event = self._event(EventKind.MODEL_DELETED, model, actor=actor, message=f"Model {model} is deleted")
        taken = self._taker(actor=actor, reason="its model was deleted")
        self._registered.delete(model, at=event.at, event=event, taken=taken)

    def set_tag(self, name: str, key: str, *, value: str) -> None:
        """Set a model's tag. Raises NotFound, RequestInvalid."""
        names.check_tag(key, value)
        if not self._registered.set_tag(ModelName(names.check_name(name)), key, value=value):
            raise _no_model(name)

    def delete_tag(self, name: str, key: str) -> None:
        """Take a model's tag away, if it has it. Raises NotFound, RequestInvalid."""
        model = ModelName(names.check_name(name))
        if not self._registered.delete_tag(model, names.check_key(key)):
            raise _no_model(name)

    def require_files(self, offered: Offered) -> None:
        """Require that a source names files that are here now, before anything is made of it. Raises as `register` does."""
        if self._resolved(offered).digest is None:
            raise NotFound(
                f"there are no files at {offered.source!r}; name a run or logged model of this store, and its path"
            )

    def retag(self, name: str, tags: Mapping[str, str | None]) -> None:
        """Set tags of a model; one of None is taken away. Nothing is set where one cannot be. Raises NotFound,
        RequestInvalid."""
        names.check_tags({key: value for key, value in tags.items() if value is not None})
        for key, value in tags.items():
            if value is None:
                self.delete_tag(name, key)
            else:
                self.set_tag(name, key, value=value)

    def register(self, name: str, offered: Offered, *, actor: str) -> CatalogVersion:
        """Make a version of the files that a source names now. Raises NotFound, RequestInvalid for a source that is not of
        this server's own runs, logged models and versions."""
        model = ModelName(names.check_name(name))
        labels, text = names.check_tags(offered.tags), names.check_description(offered.description)
        made = self._resolved(offered)
        now = self._clock.now()
        version = msgspec.structs.replace(
            made,
            model=model,
            created_at=now,
            updated_at=now,
            run_link=offered.run_link,
            description=text,
            tags=labels,
            user=actor.partition(":")[2] or actor,
            actor=actor,
        )
        numbered = self._registered.add_version(version, _registered)
        self._tell_logged(numbered)
        return numbered

    def version(self, name: str, number: int) -> CatalogVersion:
        """Read a version. Raises NotFound, RequestInvalid."""
        found = self._registered.find_version(ModelName(names.check_name(name)), number)
        if found is None:
            raise _no_version(name, number)
        return found

    def named(self, name: str, which: str) -> CatalogVersion:
        """Read the version that a number, "latest", a stage or "@ALIAS" names. Raises NotFound, RequestInvalid."""
        if which.startswith("@"):
            return self.by_alias(name, which[1:])
        if which.isdecimal():
            return self.version(name, names.check_number(which))
        if which.lower() == "latest":
            return self.by_alias(name, which)
        found = self.latest(name, [which])
        if not found:
            raise NotFound(f"Model {name} has no version in stage {which}")
        return found[0]

    def versions(self, name: str) -> Sequence[CatalogVersion]:
        """List a model's versions, newest first. Raises NotFound."""
        return self._registered.versions(self.get(name).name)

    def search_versions(self, query: Query) -> Page[CatalogVersion]:
        """Find versions. Raises SearchInvalid."""
        return self._registered.search_versions(query)

    def latest(self, name: str, stages: Sequence[str] = ()) -> Sequence[CatalogVersion]:
        """List the newest version of each stage, or of those named. Raises NotFound, RequestInvalid."""
        model = self.get(name).name
        wanted = {names.check_stage(stage) for stage in stages}
        return [each for each in self._registered.latest([model]) if not wanted or each.stage in wanted]

    def latest_of(self, models: Sequence[ModelName]) -> Mapping[ModelName, Sequence[CatalogVersion]]:
        """List the newest version of each stage of many models."""
        found: dict[ModelName, list[CatalogVersion]] = {name: [] for name in models}
        for version in self._registered.latest(models):
            found[version.model].append(version)
        return found

    def by_alias(self, name: str, alias: str) -> CatalogVersion:
        """Read the version that an alias points to; `latest` is the newest. Raises NotFound, RequestInvalid."""
        names.check_alias(alias)
        model = self.get(name)
        if alias.lower() == "latest":
            found = self.latest(name)
            if not found:
                raise NotFound(f"Latest version not found for model {name}.")
            return max(found, key=lambda each: each.number)
        if alias not in model.aliases:
            raise RequestInvalid(f"Registered model alias {alias} not found.")
        return self.version(name, model.aliases[alias])

    def describe_version(self, name: str, number: int, *, description: str | None) -> CatalogVersion:
        """Write what a version is. Raises NotFound, RequestInvalid."""
        text = names.check_description(description)
        if not self._registered.describe_version(
            ModelName(names.check_name(name)), number, description=text, at=self._clock.now()
        ):
            raise _no_version(name, number)
        return self.version(name, number)

    def set_version_tag(self, name: str, number: int, *, key: str, value: str) -> None:
        """Set a version's tag. Raises NotFound, RequestInvalid."""
        names.check_tag(key, value)
        if not self._registered.set_version_tag(ModelName(names.check_name(name)), number, key=key, value=value):
            raise _no_version(name, number)

    def delete_version_tag(self, name: str, number: int, *, key: str) -> None:
        """Take a version's tag away, if it has it. Raises NotFound, RequestInvalid."""
        model = ModelName(names.check_name(name))
        if not self._registered.delete_version_tag(model, number, key=names.check_key(key)):
            raise _no_version(name, number)

    def retag_version(self, name: str, number: int, *, tags: Mapping[str, str | None]) -> None:
        """Set tags of a version, as `retag` does those of a model. Raises NotFound, RequestInvalid."""
        names.check_tags({key: value for key, value in tags.items() if value is not None})
        for key, value in tags.items():
            if value is None:
                self.delete_version_tag(name, number, key=key)
            else:
                self.set_version_tag(name, number, key=key, value=value)

    def delete_version(self, name: str, number: int, *, actor: str) -> None:
        """Put a version away and take away its aliases. Raises NotFound, RequestInvalid where it was ever deployed."""
        model = ModelName(names.check_name(name))
        self.version(name, number)
        if any(number in (each.champion, each.challenger) for each in self._deployments.list(model)):
            raise RequestInvalid(
                f"Model Version (name={name}, version={number}) was deployed: what it answered must stay answerable;"
                " archive it instead"
            )
        event = self._event(
            EventKind.MODEL_VERSION_DELETED,
            model,
            actor=actor,
            message=f"Version {number} of {model} is deleted",
            facts={"number": number},
        )
        taken = self._taker(actor=actor, reason="its version was deleted")
        self._registered.delete_version(model, number, at=event.at, event=event, taken=taken)

    def set_alias(
        self, name: str, alias: str, *, number: int, actor: str, reason: str = "", serial: int | None = None
    ) -> AliasMove:
        """Point an alias to a version: compare and set; where it points there already, nothing is moved.

        With `serial`, only where the alias has moved that many times: else AliasConflict. Raises NotFound, RequestInvalid.
        """
        names.check_new_alias(alias)
        self.version(name, number)
        return self._move(ModelName(name), alias, number=number, actor=actor, reason=reason, serial=serial)

    def delete_alias(self, name: str, alias: str, *, actor: str, reason: str = "") -> None:
        """Take an alias away, if it points anywhere. Raises NotFound, RequestInvalid."""
        names.check_alias(alias)
        model = self.get(name)
        if alias in model.aliases:
            self._move(model.name, alias, number=None, actor=actor, reason=reason, serial=None)

    def alias_moves(self, name: str) -> Sequence[AliasMove]:
        """List the moves of a model's aliases, oldest first. Raises NotFound."""
        return self._models.moves(self.get(name).name)

    def move_stage(
        self, name: str, number: int, *, stage: str, actor: str, archive: bool = False, reason: str = ""
    ) -> CatalogVersion:
        """Bring a version to a stage; with `archive` the others of that stage go to the archive. Raises NotFound,
        RequestInvalid."""
        wanted = names.check_stage(stage)
        if archive and wanted not in ACTIVE_STAGES:
            raise RequestInvalid(
                f"Model version transition cannot archive existing model versions because '{stage}' is not an Active stage. "
                f"Valid stages are {[one.value for one in ACTIVE_STAGES]}"
            )
        move = StageMove(
            model=ModelName(names.check_name(name)),
            number=number,
            serial=0,
            stage=wanted,
            previous=wanted,
            moved_at=self._clock.now(),
            actor=actor,
            reason=reason or REASON,
        )
        self._registered.move_stage(move, stage_moved, archive=archive)
        return self.version(name, number)

    def history(self, name: str) -> tuple[HistoryEntry, ...]:
        """List all that was moved, oldest first, with the gate's verdict on each version. Raises NotFound."""
        model = self.get(name).name
        verdicts = {each.number: each.verdict.outcome.value for each in self._models.list(model)}
        stages = self._registered.stage_moves(model)
        return history_of(self._models.moves(model), stages, verdict_of=lambda number: verdicts.get(number, ""))

    def _move(
        self, model: ModelName, alias: str, *, number: int | None, actor: str, reason: str, serial: int | None
    ) -> AliasMove:
        for left in reversed(range(TRIES)):
            found = self._models.alias(model, alias)
            at = found.serial if found else 0
            previous = found.number if found else None
            if serial is not None and serial != at:
                raise AliasMoved(alias, serial, found=at)
            if found is not None and previous == number:
                return found
            move = AliasMove(
                model=model,
                alias=alias,
                number=number,
                previous=previous,
                serial=at + 1,
                moved_at=self._clock.now(),
                actor=actor,
                reason=reason or REASON,
            )
            try:
                self._models.move(move, alias_moved(move))
            except AliasConflict:
                if serial is not None or not left:
                    raise
                continue
            return move
        raise AssertionError("the last try returns or raises")

    def _taker(self, *, actor: str, reason: str) -> TakenAlias:
        now = self._clock.now()

        def take(held: AliasMove) -> tuple[AliasMove, Event]:
            move = msgspec.structs.replace(
                held,
                number=None,
                previous=held.number,
                serial=held.serial + 1,
                moved_at=now,
                actor=actor,
                reason=reason,
            )
            return move, alias_moved(move)

        return take

    def _tell_logged(self, version: CatalogVersion) -> None:
        """Note on a logged model which versions were made of it, as MLflow's clients look for it."""
        if version.logged_model is None:
            return
        logged = next(iter(self._logged.read([version.logged_model])), None)
        if logged is not None:
            named = VersionNote(version.model, str(version.number))
            noted = [one for one in _notes(logged.tags.get(VERSIONS_TAG, "")) if one != named]
            told = msgspec.json.encode([*noted, named]).decode()
            self._logged.tag(logged.id, {VERSIONS_TAG: told}, at=version.created_at)

    def _resolved(self, offered: Offered) -> CatalogVersion:
        """Find what a source names: whose files, their digest and facts. Raises NotFound, RequestInvalid."""
        source = read_source(offered.source, model_id=offered.logged_model)
        match source.kind:
            case SourceKind.VERSION:
                return self._copied(offered, source)
            case SourceKind.LOGGED_MODEL:
                return self._of_logged(offered, source)
            case _:
                return self._of_run(offered, source)

    def _copied(self, offered: Offered, source: NamedSource) -> CatalogVersion:
        """Take over what a registered version is."""
        found = self.named(self.get(source.owner).name, source.rest)
        same_run = offered.run is None or offered.run == (found.run or "")
        same_model = offered.logged_model is None or offered.logged_model == (found.logged_model or "")
        if not (same_run and same_model):
            raise RequestInvalid(
                f"Invalid model version source: '{offered.source}'. The run_id and model_id request parameters must match "
                "the referenced model version."
            )
        return msgspec.structs.replace(
            found, source=f"models:/{found.model}/{found.number}", loop=None, servable=None, aliases=()
        )

    def _of_logged(self, offered: Offered, source: NamedSource) -> CatalogVersion:
        if offered.logged_model is not None and offered.logged_model != source.owner:
            raise foreign_source(offered.source, "model_id")
        if source.by_artifact and offered.logged_model is None:
            raise foreign_source(offered.source, "run_id")
        logged = next(iter(self._logged.read([LoggedModelId(source.owner)])), None)
        if logged is None:
            raise NotFound(f"Logged model with ID '{source.owner}' not found.")
        root = f"mlflow-artifacts:/{logged.experiment}/models/{logged.id}/artifacts"
        run = RunId(offered.run) if offered.run else logged.run
        return self._found(
            offered,
            source,
            location=f"{root}/{source.rest}".rstrip("/") if source.rest else root,
            run=run,
            logged=logged.id,
        )

    def _of_run(self, offered: Offered, source: NamedSource) -> CatalogVersion:
        if offered.logged_model:
            raise foreign_source(offered.source, "model_id")
        if offered.run != source.owner and (offered.run or source.by_artifact):
            raise foreign_source(offered.source, "run_id")
        return self._found(offered, source, location=offered.source, run=RunId(source.owner), logged=None)

    def _found(
        self,
        offered: Offered,
        source: NamedSource,
        *,
        location: str,
        run: RunId | None,
        logged: LoggedModelId | None,
    ) -> CatalogVersion:
        digest, facts = self._bound(source)
        return CatalogVersion(
            model=ModelName(""),
            number=0,
            source=offered.source,
            location=location,
            created_at=_NEVER,
            updated_at=_NEVER,
            digest=digest,
            run=run,
            logged_model=logged,
            facts=facts,
        )

    def _bound(self, source: NamedSource) -> tuple[Digest | None, ModelFacts]:
        """Bind the files that are there now; none where there are none yet."""
        try:
            digest = self._files.tree(source.owner, source.rest)
        except NotFound:
            return None, ModelFacts()
        files = self._files.walk(source.owner, source.rest)
        facts = ModelFacts()
        wanted = f"{source.rest}/{FILE}".lstrip("/")
        described = next((file for file in files if file.path == wanted), None)
        if described is not None:
            facts = read_mlmodel(b"".join(self._files.read(described, end=min(described.size, LARGEST + 1))))
        return digest, msgspec.structs.replace(facts, files=len(files), size=sum(file.size for file in files))

    def _event(
        self, kind: EventKind, model: ModelName, *, actor: str, message: str, facts: dict[str, Fact] | None = None
    ) -> Event:
        now = self._clock.now()
        return Event(
            key=digest_of(kind.value, model, actor, now.isoformat(), message),
            kind=kind,
            at=now,
            subject=model,
            actor=actor,
            message=message,
            facts=facts or {},
        )


_NEVER = datetime.min


def _notes(text: str) -> list[VersionNote]:
    """Read the versions that a logged model's tag names; none where the tag is not what this room wrote."""
    try:
        return msgspec.json.decode(text, type=list[VersionNote], strict=False)
    except msgspec.DecodeError:
        return []


def _registered(version: CatalogVersion) -> Event:
    """Make the event of a client's registration, with the edges that `why` walks."""
    made = Node(NodeKind.MODEL_VERSION, f"{version.model}@{version.number}")
    edges = [Edge(made, Node(NodeKind.RUN, version.run), "made by")] if version.run else []
    if version.source.startswith("models:/") and "/" in (named := version.source.removeprefix("models:/")):
        name, _, number = named.rpartition("/")
        edges.append(Edge(made, Node(NodeKind.MODEL_VERSION, f"{name}@{number}"), "copy of"))
    return Event(
        key=digest_of("model-registered", version.model, version.number, version.source, version.created_at.isoformat()),
        kind=EventKind.MODEL_REGISTERED,
        at=version.created_at,
        subject=version.model,
        actor=version.actor,
        message=f"Version {version.number} of {version.model} registered from {version.source}",
        facts={"number": version.number, "digest": version.digest, "run": version.run, "source": version.source},
        edges=tuple(edges),
    )


def _no_model(name: str) -> NotFound:
    return NotFound(f"Registered Model with name={name} not found")


def _no_version(name: str, number: int) -> NotFound:
    return NotFound(f"Model Version (name={name}, version={number}) not found")
