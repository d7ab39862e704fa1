"""What a client told, record by record, carried into the rooms that keep it. Told again, it changes nothing."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Protocol

from kedge.domain.ids import DEFAULT_EXPERIMENT, RunId
from kedge.domain.told import (
    DataTold,
    FileTold,
    ModelTold,
    PointsTold,
    PointTold,
    RunBegan,
    RunEnded,
    Told,
    WordsTold,
)
from kedge.domain.tracking import (
    DELETED_TAG,
    DatasetInput,
    Lifecycle,
    LoggedModel,
    LoggedModelStatus,
    Metric,
    ModelOutput,
    Run,
    RunStatus,
)
from kedge.errors import NotFound
from kedge.tracking.logging import Logging


class FilesRoom(Protocol):
    """Keeps the files of runs and logged models."""

    def put(self, owner: str, path: str, *, pieces: Iterable[bytes]) -> object:
        """Write a file from its pieces."""
        ...


class Telling:
    """Takes what clients tell."""

    def __init__(self, *, logging: Logging, artifacts: FilesRoom) -> None:
        self._logging, self._artifacts = logging, artifacts

    def begin(self, told: RunBegan, *, actor: str) -> Run:
        """Begin a run, or find the one that is there, in whatever experiment; an experiment is made where it is not there.

        A training does not wait for an answer, and its run must be kept: where its experiment was deleted, the run goes
        into the default one, and its tag `kedge.experiment` says where it belongs.
        """
        known = self._logging.get_runs([told.run])
        run = known[0].run if known else self._create(told, actor=actor)
        if told.params.items() - run.params.items() or told.tags.items() - run.tags.items():
            self._logging.log(run.id, params=told.params, tags=told.tags)
        return run

    def _create(self, told: RunBegan, *, actor: str) -> Run:
        experiment, tags = self._logging.ensure_experiment(told.experiment, actor=actor), told.tags
        is_deleted = experiment.lifecycle is Lifecycle.DELETED
        return self._logging.create_run(
            DEFAULT_EXPERIMENT if is_deleted else experiment.id,
            name=told.name,
            started_at=told.started_at,
            user=told.user,
            params=told.params,
            tags=tags | {DELETED_TAG: told.experiment} if is_deleted else tags,
            actor=actor,
            run=told.run,
        )

    def take(self, records: Sequence[Told], *, pieces: Callable[[str], Iterable[bytes]], actor: str) -> None:
        """Take records in their order; `pieces` reads a kept file. What follows one another of one run is one write."""
        for (kind, run), told in groupby(records, key=lambda record: (_kind(record), record.run)):
            if kind is PointsTold:
                self._log(run, list(told))
            else:
                for record in told:
                    self._one(record, pieces=pieces, actor=actor)

    def end(self, told: RunEnded, *, actor: str) -> None:
        """End a run."""
        if told.if_running and self._logging.get_run(told.run).run.status is not RunStatus.RUNNING:
            return
        self._logging.update_run(told.run, status=told.status, ended_at=told.ended_at, actor=actor)

    def model(self, told: ModelTold, *, actor: str) -> LoggedModel:
        """Note a model that a run makes; with `whole`, that its files are all there."""
        try:
            model = self._logging.get_model(told.model)
        except NotFound:
            experiment = self._logging.get_run(told.run).run.experiment
            model = self._logging.create_model(
                experiment,
                name=told.name,
                model_type=told.model_type,
                run=told.run,
                params=told.params,
                tags=told.tags,
                actor=actor,
                id=told.model,
            )
        self._logging.log_outputs(told.run, [ModelOutput(model=told.model, step=told.step)])
        if told.whole and model.status is not LoggedModelStatus.READY:
            model = self._logging.finalize_model(told.model, LoggedModelStatus.READY, actor=actor)
        return model

    def log(
        self,
        run: RunId,
        *,
        points: Sequence[PointTold] = (),
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        datasets: Sequence[DatasetInput] = (),
    ) -> None:
        """Log to a run in one write; datasets in another."""
        self._logging.log(run, metrics=metrics_of(points), params=params or {}, tags=tags or {})
        if datasets:
            self._logging.log_inputs(run, datasets=datasets)

    def _log(self, run: RunId, records: Sequence[Told]) -> None:
        metrics: list[Metric] = []
        params: list[tuple[str, str]] = []
        tags: dict[str, str] = {}
        for record in records:
            if isinstance(record, PointsTold):
                metrics += metrics_of(record.points)
            elif isinstance(record, WordsTold):
                params += record.params.items()
                tags |= record.tags
        self._logging.log(run, metrics=metrics, params=params, tags=tags)

    def _one(self, told: Told, *, pieces: Callable[[str], Iterable[bytes]], actor: str) -> None:
        match told:
            case RunBegan():
                self.begin(told, actor=actor)
            case DataTold(run=run, datasets=datasets):
                self._logging.log_inputs(run, datasets=datasets)
            case FileTold(run=run, path=path, kept=kept, model=model):
                self._artifacts.put(model or run, path, pieces=pieces(kept))
            case ModelTold():
                self.model(told, actor=actor)
            case RunEnded():
                self.end(told, actor=actor)


def metrics_of(points: Iterable[PointTold]) -> list[Metric]:
    """Write points as metrics."""
    return [Metric(key=key, value=value, at=at, step=step) for key, value, at, step in map(_fields, points)]


def _fields(point: PointTold) -> tuple[str, float, int, int]:
    return point.key, point.value, point.at, point.step


def _kind(record: Told) -> type:
    """Name what may be written together: points, params and tags."""
    return PointsTold if isinstance(record, WordsTold) else type(record)
