"""Logged models: what a run left behind, with params, tags and metrics of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from kedge.domain.events import Event
from kedge.domain.ids import ExperimentId, LoggedModelId, RunId
from kedge.domain.tracking import Lifecycle, LoggedModel, LoggedModelStatus, ModelMetric
from kedge.errors import NotFound, ParamChanged, WasDeleted
from kedge.storage.sql.chain import append
from kedge.storage.sql.experiments import require_experiment, write_tags
from kedge.storage.sql.hot import Hot
from kedge.storage.sql.session import Row, Session, chunks, from_us, places, to_us

_COLUMNS = (
    "SELECT id, experiment, name, model_type, run, status, message, lifecycle, created_at, updated_at FROM logged_models"
)
_ADD = (
    "INSERT INTO logged_models"
    " (id, experiment, name, model_type, run, status, message, lifecycle, created_at, updated_at, event)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_METRICS = (
    "SELECT model, key, at, step, CASE nan WHEN 0 THEN value END, run, dataset_name, dataset_digest"
    " FROM logged_model_metrics WHERE model IN"
)


class SqlLoggedModels:
    """Models that runs left behind (port `LoggedModels`)."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot

    def add(self, model: LoggedModel, event: Event) -> None:
        """Write a new one with its params and tags. Raises NotFound or WasDeleted for its experiment."""
        with self._hot.writing() as session:
            require_experiment(session, model.experiment)
            if (serial := append(session, event)) is None:
                return
            session.run(
                _ADD,
                model.id,
                model.experiment,
                model.name,
                model.model_type,
                model.run,
                model.status.value,
                model.message,
                model.lifecycle.value,
                to_us(model.created_at),
                to_us(model.updated_at),
                serial,
            )
            _write_params(session, model.id, params=model.params)
            write_tags(session, "logged model", owner=model.id, tags=model.tags)

    def get(self, model: LoggedModelId) -> LoggedModel:
        """Read one, deleted or not. Raises NotFound."""
        if found := self.read([model]):
            return found[0]
        raise _missing(model)

    def read(self, models: Sequence[LoggedModelId]) -> Sequence[LoggedModel]:
        """Read those that exist, in the order asked for."""
        found: dict[str, LoggedModel] = {}
        with self._hot.reading() as session:
            for some in chunks(models):
                found |= {model.id: model for model in _read(session, some)}
        return [found[model] for model in models if model in found]

    def finalize(self, model: LoggedModelId, status: LoggedModelStatus, *, message: str = "", event: Event) -> None:
        """Say whether its files are all there. Raises NotFound, WasDeleted."""
        with self._hot.writing() as session:
            _require_active(session, model)
            if (serial := append(session, event)) is not None:
                session.run(
                    "UPDATE logged_models SET status = ?, message = ?, updated_at = ?, event = ? WHERE id = ?",
                    status.value,
                    message,
                    to_us(event.at),
                    serial,
                    model,
                )

    def mark(self, model: LoggedModelId, lifecycle: Lifecycle, *, event: Event) -> None:
        """Delete or restore; nothing happens to a model that is there already. Raises NotFound."""
        with self._hot.writing() as session:
            if _lifecycle(session, model) != lifecycle.value and (serial := append(session, event)) is not None:
                session.run(
                    "UPDATE logged_models SET lifecycle = ?, updated_at = ?, event = ? WHERE id = ?",
                    lifecycle.value,
                    to_us(event.at),
                    serial,
                    model,
                )

    def tag(self, model: LoggedModelId, tags: Mapping[str, str | None], *, at: datetime) -> None:
        """Set tags, or drop those whose value is None. Raises NotFound, WasDeleted."""
        with self._hot.writing() as session:
            _require_active(session, model)
            write_tags(session, "logged model", owner=model, tags=tags)
            session.run("UPDATE logged_models SET updated_at = ? WHERE id = ?", to_us(at), model)

    def add_params(self, model: LoggedModelId, params: Mapping[str, str]) -> None:
        """Add params. Raises NotFound, WasDeleted, ParamChanged."""
        with self._hot.writing() as session:
            _require_active(session, model)
            _write_params(session, model, params=params)


def _read(session: Session, models: Sequence[str]) -> list[LoggedModel]:
    rows = session.rows(f"{_COLUMNS} WHERE id IN ({places(models)})", *models)
    params = _labels(session, "logged_model_params", models=models)
    tags = _labels(session, "logged_model_tags", models=models)
    metrics = _metrics(session, models)
    return [
        _model(row, params=params.get(row[0], {}), tags=tags.get(row[0], {}), metrics=metrics.get(row[0], ()))
        for row in rows
    ]


def _write_params(session: Session, model: str, *, params: Mapping[str, str]) -> None:
    session.many(
        "INSERT INTO logged_model_params (model, key, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(model, key, value) for key, value in sorted(params.items())],
    )
    kept: dict[str, str] = dict(session.rows("SELECT key, value FROM logged_model_params WHERE model = ?", model))
    for key, value in params.items():
        if kept[key] != value:
            raise ParamChanged(model, key, old=kept[key], new=value)


def _require_active(session: Session, model: str) -> None:
    if _lifecycle(session, model) != Lifecycle.ACTIVE.value:
        raise WasDeleted("logged model", model)


def _lifecycle(session: Session, model: str) -> str:
    row = session.row("SELECT lifecycle FROM logged_models WHERE id = ?", model)
    if row is None:
        raise _missing(model)
    return str(row[0])


def _missing(model: str) -> NotFound:
    return NotFound(f"logged model {model!r} does not exist; search the logged models of its experiment to see which do")


def _labels(session: Session, table: str, *, models: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    rows = session.rows(
        f"SELECT model, key, value FROM {table} WHERE model IN ({places(models)}) ORDER BY model, key", *models
    )
    for model, key, value in rows:
        found.setdefault(model, {})[key] = value
    return found


def _metrics(session: Session, models: Sequence[str]) -> dict[str, tuple[ModelMetric, ...]]:
    found: dict[str, list[ModelMetric]] = {}
    rows = session.rows(f"{_METRICS} ({places(models)}) ORDER BY model, key, at, step, run", *models)
    for model, key, at, step, value, run, dataset_name, dataset_digest in rows:
        one = ModelMetric(
            key=key,
            value=math.nan if value is None else value,
            at=at,
            step=step,
            dataset_name=dataset_name,
            dataset_digest=dataset_digest,
            model=LoggedModelId(model),
            run=RunId(run),
        )
        found.setdefault(model, []).append(one)
    return {model: tuple(metrics) for model, metrics in found.items()}


def _model(row: Row, *, params: dict[str, str], tags: dict[str, str], metrics: tuple[ModelMetric, ...]) -> LoggedModel:
    id, experiment, name, model_type, run, status, message, lifecycle, created, updated = row
    return LoggedModel(
        id=LoggedModelId(id),
        experiment=ExperimentId(experiment),
        name=name,
        created_at=from_us(created),
        updated_at=from_us(updated),
        model_type=model_type,
        run=None if run is None else RunId(run),
        status=LoggedModelStatus(status),
        message=message,
        lifecycle=Lifecycle(lifecycle),
        params=params,
        tags=tags,
        metrics=metrics,
    )
