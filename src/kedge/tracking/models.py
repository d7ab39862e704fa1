"""Logged models: the part of the logging room that keeps what runs leave behind."""

import re
import secrets
from collections.abc import Iterable, Mapping

from kedge.domain.events import Event, EventKind, Fact
from kedge.domain.ids import ExperimentId, LoggedModelId, RunId, digest_of
from kedge.domain.tracking import Lifecycle, LoggedModel, LoggedModelStatus
from kedge.errors import NotFound, RequestInvalid
from kedge.ports import Clock, Experiments, LoggedModels
from kedge.tracking import limits

_ID = re.compile(r"m-[0-9a-f]{32}")


class LoggedModelsRoom:
    """Keeps logged models."""

    def __init__(self, *, models: LoggedModels, experiments: Experiments, clock: Clock) -> None:
        self._models, self._experiments, self._clock = models, experiments, clock

    def create_model(
        self,
        experiment: ExperimentId,
        *,
        name: str,
        model_type: str = "",
        run: RunId | None = None,
        params: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        tags: Mapping[str, str] | None = None,
        actor: str = "client",
        id: LoggedModelId | None = None,
    ) -> LoggedModel:
        """Create a logged model; its files come after it. Raises NotFound, WasDeleted, RequestInvalid."""
        now = self._clock.now()
        id = id or LoggedModelId(f"m-{secrets.token_hex(16)}")
        if not _ID.fullmatch(id):
            raise RequestInvalid(f"{id!r} is no id of a logged model; it is m- and 32 small hex digits")
        model = LoggedModel(
            id=id,
            experiment=experiment,
            name=limits.check_text("name of a logged model", name, longest=limits.NAME, empty=False),
            created_at=now,
            updated_at=now,
            model_type=limits.check_text("type of a logged model", model_type, longest=limits.NAME),
            run=run,
            params=limits.check_labels("param", limits.one_of_each(id, params), longest=limits.PARAM),
            tags=limits.check_labels("tag", tags or {}, longest=limits.TAG),
        )
        subject = self._experiments.get(experiment).name
        facts: dict[str, Fact] = {"model": id, "name": name, "run": run}
        self._models.add(model, self._event(EventKind.MODEL_LOGGED, id, subject=subject, actor=actor, facts=facts))
        return model

    def get_model(self, model: LoggedModelId) -> LoggedModel:
        """Read a logged model. Raises NotFound, also for one that is deleted."""
        found = self._models.get(model)
        if found.lifecycle is Lifecycle.DELETED:
            raise NotFound(f"logged model {model!r} is deleted")
        return found

    def finalize_model(
        self, model: LoggedModelId, status: LoggedModelStatus, *, message: str = "", actor: str = "client"
    ) -> LoggedModel:
        """Say that the files of a model are all there, or that they failed to come. Raises NotFound, WasDeleted."""
        limits.check_text("message", message, longest=limits.TAG)
        subject = self._subject(model)
        facts: dict[str, Fact] = {"model": model, "status": status.value}
        event = self._event(EventKind.LOGGED_MODEL_FINALIZED, model, subject=subject, actor=actor, facts=facts)
        self._models.finalize(model, status, message=message, event=event)
        return self._models.get(model)

    def delete_model(self, model: LoggedModelId, *, actor: str = "client") -> None:
        """Delete a logged model. Raises NotFound."""
        subject = self._subject(model)
        event = self._event(EventKind.LOGGED_MODEL_DELETED, model, subject=subject, actor=actor, facts={"model": model})
        self._models.mark(model, Lifecycle.DELETED, event=event)

    def set_model_tags(self, model: LoggedModelId, tags: Mapping[str, str]) -> LoggedModel:
        """Set tags of a logged model. Raises NotFound, WasDeleted, RequestInvalid."""
        self._models.tag(model, limits.check_labels("tag", tags, longest=limits.TAG), at=self._clock.now())
        return self._models.get(model)

    def delete_model_tag(self, model: LoggedModelId, key: str) -> None:
        """Take a tag away. Raises NotFound where there is none, WasDeleted."""
        self._models.tag(model, {key: None}, at=self._clock.now())

    def log_model_params(self, model: LoggedModelId, params: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        """Add params to a logged model. Raises NotFound, WasDeleted, ParamChanged, RequestInvalid."""
        once = limits.one_of_each(model, params)
        self._models.add_params(model, limits.check_labels("param", once, longest=limits.PARAM))

    def _subject(self, model: LoggedModelId) -> str:
        return self._experiments.get(self._models.get(model).experiment).name

    def _event(self, kind: EventKind, id: str, *, subject: str, actor: str, facts: dict[str, Fact] | None = None) -> Event:
        """Make the event of a change that may happen to a thing many times: its key is chance."""
        return Event(
            key=digest_of(kind.value, id, secrets.token_hex(16)),
            kind=kind,
            at=self._clock.now(),
            subject=subject,
            actor=actor,
            message=_MESSAGES[kind].format(id=id, subject=subject),
            facts=facts or {},
        )


_MESSAGES = {
    EventKind.EXPERIMENT_CREATED: "Experiment {subject} was created.",
    EventKind.EXPERIMENT_RENAMED: "Experiment {id} is now called {subject}.",
    EventKind.EXPERIMENT_DELETED: "Experiment {subject} was deleted with its runs.",
    EventKind.EXPERIMENT_RESTORED: "Experiment {subject} was restored.",
    EventKind.RUN_FINISHED: "Run {id} of {subject} finished.",
    EventKind.RUN_FAILED: "Run {id} of {subject} failed.",
    EventKind.RUN_KILLED: "Run {id} of {subject} was killed.",
    EventKind.RUN_RESUMED: "Run {id} of {subject} was taken up again.",
    EventKind.RUN_RENAMED: "Run {id} of {subject} got another name.",
    EventKind.RUN_DELETED: "Run {id} of {subject} was deleted.",
    EventKind.RUN_RESTORED: "Run {id} of {subject} was restored.",
    EventKind.MODEL_LOGGED: "Model {id} was logged in {subject}.",
    EventKind.LOGGED_MODEL_FINALIZED: "Logged model {id} of {subject} is complete.",
    EventKind.LOGGED_MODEL_DELETED: "Logged model {id} of {subject} was deleted.",
}
