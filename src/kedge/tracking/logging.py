"""Logging: what a training script writes down, whoever carries it here: Kedge's own client, or a client of the MLflow
protocol. Both speak to this room, so that an experiment, a run or a logged model is one thing under two protocols.

    experiment  ACTIVE <--delete, restore--> DELETED      its runs go with it, and those that went come back
    run         RUNNING <--update--> SCHEDULED, FINISHED, FAILED, KILLED;  deleted runs take no writes until restored
    model       PENDING --finalize--> READY or FAILED

Changes of state write an event in the same transaction; points, params and tags do not. Params never change. A write
that was acknowledged and is sent again changes nothing: spools may be replayed.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from kedge.domain.events import Event, EventKind, Fact
from kedge.domain.finding import Page
from kedge.domain.ids import ExperimentId, RunId, digest_of
from kedge.domain.tracking import (
    DatasetInput,
    Experiment,
    Lifecycle,
    Metric,
    ModelOutput,
    Point,
    Run,
    RunCount,
    RunDetail,
    RunKeys,
    RunStatus,
    Series,
)
from kedge.errors import Conflict, RequestInvalid
from kedge.ports import Clock, MetaStore
from kedge.tracking import limits
from kedge.tracking.models import LoggedModelsRoom
from kedge.tracking.places import from_token, to_token
from kedge.tracking.searching import Searching
from kedge.tracking.thinning import thinned

_ENDS = {
    RunStatus.FINISHED: EventKind.RUN_FINISHED,
    RunStatus.FAILED: EventKind.RUN_FAILED,
    RunStatus.KILLED: EventKind.RUN_KILLED,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Logging(LoggedModelsRoom, Searching):
    """Keeps what clients log."""

    def __init__(self, *, meta: MetaStore, clock: Clock) -> None:
        super().__init__(models=meta.logged_models, experiments=meta.experiments, clock=clock)
        self._runs, self._points, self._finder = meta.runs, meta.points, meta.finder

    def create_experiment(self, name: str, *, tags: Mapping[str, str] | None = None, actor: str = "client") -> Experiment:
        """Create an experiment. Raises NameTaken, deleted experiments counted; RequestInvalid."""
        now = self._clock.now()
        experiment = Experiment(
            id=new_experiment_id(now),
            name=limits.check_text("name of an experiment", name, longest=limits.NAME, empty=False),
            created_at=now,
            updated_at=now,
            tags=limits.check_labels("tag", tags or {}, longest=limits.EXPERIMENT_TAG),
        )
        event = self._event(EventKind.EXPERIMENT_CREATED, experiment.id, subject=name, actor=actor)
        self._experiments.add(experiment, event)
        return experiment

    def get_experiment(self, experiment: ExperimentId) -> Experiment:
        """Read an experiment, deleted or not. Raises NotFound."""
        return self._experiments.get(experiment)

    def find_experiment(self, name: str) -> Experiment | None:
        """Find an experiment by name, deleted or not."""
        return self._experiments.find(name)

    def ensure_experiment(self, name: str, *, actor: str = "client") -> Experiment:
        """Find the experiment of this name, or create it, whoever else does so at the same time."""
        if (found := self._experiments.find(name)) is not None:
            return found
        try:
            return self.create_experiment(name, actor=actor)
        except Conflict:
            if (found := self._experiments.find(name)) is None:
                raise
            return found

    def rename_experiment(self, experiment: ExperimentId, name: str, *, actor: str = "client") -> None:
        """Give an active experiment another name. Raises NotFound, NameTaken, WasDeleted, RequestInvalid."""
        limits.check_text("name of an experiment", name, longest=limits.NAME, empty=False)
        event = self._event(EventKind.EXPERIMENT_RENAMED, experiment, subject=name, actor=actor)
        self._experiments.rename(experiment, name, event=event)

    def delete_experiment(self, experiment: ExperimentId, *, actor: str = "client") -> None:
        """Delete an experiment and its active runs. Raises NotFound."""
        subject = self._experiments.get(experiment).name
        event = self._event(EventKind.EXPERIMENT_DELETED, experiment, subject=subject, actor=actor)
        self._experiments.mark(experiment, Lifecycle.DELETED, event=event)

    def restore_experiment(self, experiment: ExperimentId, *, actor: str = "client") -> None:
        """Restore an experiment with the runs that were deleted with it. Raises NotFound."""
        subject = self._experiments.get(experiment).name
        event = self._event(EventKind.EXPERIMENT_RESTORED, experiment, subject=subject, actor=actor)
        self._experiments.mark(experiment, Lifecycle.ACTIVE, event=event)

    def retag_experiment(self, experiment: ExperimentId, tags: Mapping[str, str | None]) -> None:
        """Set tags of an active experiment; one of None is taken away. All of it or nothing.

        Raises NotFound, also for a tag to take away that is not there; WasDeleted, RequestInvalid.
        """
        fresh = {key: value for key, value in tags.items() if value is not None}
        limits.check_labels("tag", fresh, longest=limits.EXPERIMENT_TAG)
        self._experiments.tag(experiment, tags, at=self._clock.now())

    def set_experiment_tag(self, experiment: ExperimentId, key: str, *, value: str) -> None:
        """Set a tag of an active experiment. Raises NotFound, WasDeleted, RequestInvalid."""
        self.retag_experiment(experiment, {key: value})

    def delete_experiment_tag(self, experiment: ExperimentId, key: str) -> None:
        """Take a tag away. Raises NotFound where there is none, WasDeleted."""
        self.retag_experiment(experiment, {key: None})

    def count_runs(self, experiments: Sequence[ExperimentId]) -> Mapping[ExperimentId, RunCount]:
        """Count the active runs of experiments, and say when the newest of each started."""
        return self._experiments.counts(experiments)

    def keys(self, experiments: Sequence[ExperimentId]) -> RunKeys:
        """List the keys of metrics, params and tags that the runs of experiments have."""
        return self._experiments.keys(experiments)

    def create_run(
        self,
        experiment: ExperimentId,
        *,
        name: str = "",
        started_at: datetime | None = None,
        user: str = "",
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        actor: str = "client",
        run: RunId | None = None,
    ) -> Run:
        """Start a run; with an id of the client's choice, the run that is there under it. Raises NotFound, WasDeleted."""
        made = Run(
            id=RunId(secrets.token_hex(16)) if run is None else limits.check_run_id(run),
            experiment=experiment,
            name=limits.check_text("name of a run", name, longest=limits.NAME),
            status=RunStatus.RUNNING,
            started_at=started_at or self._clock.now(),
            user=limits.check_text("user of a run", user, longest=limits.NAME),
            params=limits.check_labels("param", params or {}, longest=limits.PARAM),
            tags=limits.check_labels("tag", tags or {}, longest=limits.TAG),
        )
        if run is not None and (known := self._known(run, experiment)) is not None:
            return known
        event = Event(
            key=digest_of(EventKind.RUN_STARTED.value, made.id),
            kind=EventKind.RUN_STARTED,
            at=self._clock.now(),
            subject=self._experiments.get(experiment).name,
            actor=actor,
            message=f"Run {made.id} ({name or 'without a name'}) started.",
            facts={"run": made.id, "name": name},
        )
        self._runs.add(made, event)
        return made

    def get_run(self, run: RunId) -> RunDetail:
        """Read a run, deleted or not. Raises NotFound."""
        return self._runs.detail(run)

    def get_runs(self, runs: Sequence[RunId]) -> Sequence[RunDetail]:
        """Read those that exist, in the order asked for."""
        return self._runs.details(runs)

    def update_run(
        self,
        run: RunId,
        *,
        status: RunStatus | None = None,
        ended_at: datetime | None = None,
        name: str | None = None,
        actor: str = "client",
    ) -> Run:
        """Change what is given of an active run, and give it as it then is. Raises NotFound, WasDeleted, RequestInvalid."""
        found = self._runs.detail(run).run
        if name is not None:
            limits.check_text("name of a run", name, longest=limits.NAME)
        kind = _change_of(found, status=status, name=name)
        if kind is None and ended_at in (None, found.ended_at) and found.lifecycle is Lifecycle.ACTIVE:
            return found
        event = None
        if kind is not None:
            facts: dict[str, Fact] = {"run": run, "name": name or found.name, **found.metrics}
            subject = self._experiments.get(found.experiment).name
            event = self._event(kind, run, subject=subject, actor=actor, facts=facts)
        self._runs.change(run, status=status, ended_at=ended_at, name=name, event=event)
        return self._runs.get(run)

    def delete_run(self, run: RunId, *, actor: str = "client") -> None:
        """Delete a run; it can be restored. Raises NotFound."""
        self._mark(run, Lifecycle.DELETED, kind=EventKind.RUN_DELETED, actor=actor)

    def restore_run(self, run: RunId, *, actor: str = "client") -> None:
        """Restore a deleted run. Raises NotFound."""
        self._mark(run, Lifecycle.ACTIVE, kind=EventKind.RUN_RESTORED, actor=actor)

    def log(
        self,
        run: RunId,
        *,
        metrics: Iterable[Metric] = (),
        params: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write all of it or nothing; the same point twice is one point.

        Raises NotFound, WasDeleted, ParamChanged for a param that has another value (in the run, or in this very call),
        RequestInvalid for what cannot be kept.
        """
        self._runs.log(
            run,
            metrics=limits.check_metrics(metrics),
            params=limits.check_labels("param", limits.one_of_each(run, params), longest=limits.PARAM),
            tags=limits.check_labels("tag", tags or {}, longest=limits.TAG),
        )

    def delete_tag(self, run: RunId, key: str) -> None:
        """Take a tag of a run away. Raises NotFound where there is none, WasDeleted."""
        self._runs.drop_tag(run, key)

    def log_inputs(self, run: RunId, *, datasets: Sequence[DatasetInput] = (), models: Sequence[ModelOutput] = ()) -> None:
        """Say what a run read. Raises NotFound, WasDeleted, RequestInvalid."""
        for one in datasets:
            limits.check_text("name of a dataset", one.name, longest=limits.NAME, empty=False)
            limits.check_text("digest of a dataset", one.digest, longest=limits.DIGEST, empty=False)
            for what in ("source_type", "source", "schema", "profile"):
                limits.check_text(f"{what} of dataset {one.name!r}", getattr(one, what), longest=limits.DESCRIPTION)
            limits.check_labels("tag", one.tags, longest=limits.TAG)
        self._runs.add_inputs(run, datasets=datasets, models=models)

    def log_outputs(self, run: RunId, models: Sequence[ModelOutput]) -> None:
        """Say which logged models a run made. Raises NotFound, WasDeleted."""
        self._runs.add_outputs(run, models)

    def history(self, run: RunId, key: str, *, limit: int, page: str = "") -> Page[Point]:
        """Read what a run measured under a key as plain (at, step, value), in that order, a page at a time.

        Raises NotFound for a run that does not exist, RequestInvalid for a token that is none.
        """
        if limits.check_whole("limit", limit) < 1:
            raise RequestInvalid(f"limit is {limit}; ask for at least 1 point")
        found = self._points.history(run, key, after=from_token(page), limit=limit + 1)
        if not found:
            self._runs.get(run)
        more = len(found) > limit
        items = tuple(found[:limit])
        return Page(items, to_token(items[-1]) if more else "")

    def sampled(
        self,
        runs: Sequence[RunId],
        keys: Sequence[str],
        *,
        count: int = 300,
        start_step: int | None = None,
        end_step: int | None = None,
    ) -> tuple[Series, ...]:
        """Thin what runs measured to about `count` points a series: the first, the last, and the extremes between."""
        found = []
        for run in runs:
            for key in keys:
                points = self._points.between(run, key, start_step=start_step, end_step=end_step)
                if points:
                    found.append(Series(run=run, key=key, points=thinned(points, count), total=len(points)))
        return tuple(found)

    def _known(self, run: RunId, experiment: ExperimentId) -> Run | None:
        found = next(iter(self._runs.details([run])), None)
        if found is not None and found.run.experiment != experiment:
            raise Conflict(f"run {run!r} is there already, in experiment {found.run.experiment!r}; choose another id")
        return None if found is None else found.run

    def _mark(self, run: RunId, lifecycle: Lifecycle, *, kind: EventKind, actor: str) -> None:
        found = self._runs.get(run)
        subject = self._experiments.get(found.experiment).name
        self._runs.mark(run, lifecycle, event=self._event(kind, run, subject=subject, actor=actor, facts={"run": run}))


def new_experiment_id(now: datetime) -> ExperimentId:
    """Make an id of 18 digits: seconds since 1970, then chance."""
    seconds = int((now - _EPOCH).total_seconds()) % 10**10
    return ExperimentId(f"{max(seconds, 10**9):010d}{secrets.randbelow(10**8):08d}")


def _change_of(run: Run, *, status: RunStatus | None, name: str | None) -> EventKind | None:
    """Name the change of state that an update makes, if it makes one."""
    if status is not None and status is not run.status:
        return _ENDS.get(status, EventKind.RUN_RESUMED)
    return EventKind.RUN_RENAMED if name is not None and name != run.name else None
