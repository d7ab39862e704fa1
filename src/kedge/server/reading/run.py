"""A run's page: what became of it, what it measured, what it was made of, and what was made of it."""

from collections.abc import Sequence
from datetime import datetime
from math import isfinite

import msgspec

from kedge.domain.data import DatasetVersion
from kedge.domain.ids import RunId
from kedge.domain.registry import candidate_of
from kedge.domain.tracking import (
    CONTEXT_TAG,
    NOTE_TAG,
    PARENT_TAG,
    Experiment,
    Lifecycle,
    LoggedModel,
    Metric,
    ModelOutput,
    Run,
    RunDetail,
    RunStatus,
)
from kedge.server.house import House
from kedge.server.reading.state import Figure, Sentence, State
from kedge.server.reading.table import HIDDEN, RUN_STATES, RunRow, row_of
from kedge.web import words

SYSTEM = "system/"
_SAID = {
    "mlflow.source.name": "Source",
    "mlflow.source.type": "Source type",
    "mlflow.source.git.commit": "Commit",
    "mlflow.source.git.branch": "Branch",
    "mlflow.source.git.repoURL": "Repository",
    "kedge.git.branch": "Branch",
    "kedge.git.dirty": "Files changed",
    "kedge.command": "Command",
    "kedge.host": "Host",
    "kedge.python": "Python",
    "kedge.platform": "Platform",
    "kedge.seed": "Seed",
    "kedge.gap": "Points lost",
}


class MetricLine(msgspec.Struct, frozen=True, kw_only=True):
    """The latest value of a metric, where it was measured; None for what is not finite, with the word for it in `text`."""

    key: str
    value: float | None
    text: str
    step: int
    at: datetime | None
    dataset: str = ""


class DatasetLine(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset that the run read; `version` names one of Kedge's own (NAME@NUMBER)."""

    name: str
    digest: str
    context: str
    source: str
    version: str = ""


class ModelUse(msgspec.Struct, frozen=True, kw_only=True):
    """A registered version that was made of this run."""

    model: str
    number: int


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `run` is the domain's own; the rest is what a page says beside it."""

    run: Run
    experiment: Experiment
    verdict: Sentence
    note: str
    metrics: tuple[MetricLine, ...]
    system: tuple[MetricLine, ...]
    tags: dict[str, str]
    facts: tuple[Figure, ...]
    datasets: tuple[DatasetLine, ...]
    models_in: tuple[LoggedModel, ...]
    models_out: tuple[LoggedModel, ...]
    versions: tuple[ModelUse, ...]
    parent: RunRow | None
    children: tuple[RunRow, ...]

    @property
    def alive(self) -> bool:
        """Tell whether more may come."""
        return self.run.status in (RunStatus.RUNNING, RunStatus.SCHEDULED) and self.run.lifecycle is Lifecycle.ACTIVE


def run_page(house: House, run: RunId, *, most: int = 100) -> RunPage:
    """Describe a run. Raises NotFound."""
    detail = house.logging.get_run(run)
    found = detail.run
    lines = tuple(metric_line(one) for one in sorted(detail.latest, key=lambda one: one.key))
    parent = found.tags.get(PARENT_TAG, "")
    wanted = [RunId(parent)] if parent else []
    now = house.clock.now()
    return RunPage(
        run=found,
        experiment=house.logging.get_experiment(found.experiment),
        verdict=run_sentence(found, now=now),
        note=found.tags.get(NOTE_TAG, ""),
        metrics=tuple(one for one in lines if not one.key.startswith(SYSTEM)),
        system=tuple(one for one in lines if one.key.startswith(SYSTEM)),
        tags=tags_of(found),
        facts=facts_of(found),
        datasets=_datasets(house, detail),
        models_in=_models(house, detail.models_in),
        models_out=_models(house, detail.models_out),
        versions=_versions(house, found),
        parent=next(iter(_rows(house, wanted, now=now)), None),
        children=_rows(house, house.meta.overviews.children(run, limit=most), now=now),
    )


def _rows(house: House, runs: Sequence[RunId], *, now: datetime) -> tuple[RunRow, ...]:
    return tuple(row_of(one, now=now) for one in house.meta.overviews.rows(runs, ()))


def _models(house: House, uses: tuple[ModelOutput, ...]) -> tuple[LoggedModel, ...]:
    return tuple(house.meta.logged_models.read([one.model for one in uses]))


def _versions(house: House, run: Run) -> tuple[ModelUse, ...]:
    """Find the registered versions that were made of this run."""
    found = house.meta.overviews.versions_of(run.id)
    return tuple(ModelUse(model=model, number=number) for model, number in found)


def _datasets(house: House, detail: RunDetail) -> tuple[DatasetLine, ...]:
    told = tuple(
        DatasetLine(
            name=one.name,
            digest=one.digest,
            context=one.tags.get(CONTEXT_TAG, ""),
            source=f"{one.source_type}: {words.source(one.source)}",
        )
        for one in detail.datasets
    )
    own = tuple(_own(house.meta.datasets.find_digest(digest), digest) for digest in detail.run.inputs)
    return (*own, *told)


def _own(version: DatasetVersion | None, digest: str) -> DatasetLine:
    if version is None:
        return DatasetLine(name="dataset version", digest=digest, context="training", source="of this store")
    name = f"{version.dataset}@{version.number}"
    return DatasetLine(name=version.dataset, digest=digest, context="training", source="of this store", version=name)


def metric_line(metric: Metric) -> MetricLine:
    """Describe the latest point of a metric."""
    on = f"{metric.dataset_name}@{words.short(metric.dataset_digest)}" if metric.dataset_name else ""
    return MetricLine(
        key=metric.key,
        value=metric.value if isfinite(metric.value) else None,
        text=words.value(metric.value),
        step=metric.step,
        at=words.from_ms(metric.at),
        dataset=on,
    )


def run_sentence(run: Run, *, now: datetime) -> Sentence:
    """Say what became of a run."""
    name = run.name or words.short(run.id)
    until = run.ended_at or now
    took = words.duration(run.usage.wall_seconds or max(0.0, (until - run.started_at).total_seconds()))
    say = {
        RunStatus.RUNNING: f"{name} has been running for {took}.",
        RunStatus.SCHEDULED: f"{name} is scheduled.",
        RunStatus.FINISHED: f"{name} finished in {took}.",
        RunStatus.FAILED: f"{name} failed after {took}.",
        RunStatus.KILLED: f"{name} was stopped after {took}.",
    }[run.status]
    by = f" by {run.user}" if run.user else ""
    used = f"; {words.duration(run.usage.cpu_seconds)} of CPU" if run.usage.cpu_seconds else ""
    sub = f"{words.sentence(run.error)} Started {words.utc(run.started_at)}{by}{used}.".strip()
    if run.lifecycle is Lifecycle.DELETED:
        when = f" on {words.utc(run.deleted_at)}" if run.deleted_at else ""
        return Sentence(state=State.IDLE, say=f"{name} was deleted{when}.", sub=f"It can be restored. {sub}")
    return Sentence(state=RUN_STATES[run.status], say=say, sub=sub)


def facts_of(run: Run) -> tuple[Figure, ...]:
    """List what a run depended on: code, environment, command, machine; what its client recorded as tags among it."""
    facts = [Figure(name="Run id", text=run.id)]
    if run.code is not None:
        facts.append(Figure(name="Commit", text=run.code.commit or "no repository"))
        facts.append(Figure(name="Files", text="changed since the commit" if run.code.dirty else "as committed"))
        facts.append(Figure(name="Digest of the code", text=run.code.digest))
    if run.environment is not None:
        facts.append(Figure(name="Python", text=run.environment.python))
        facts.append(Figure(name="Platform", text=run.environment.platform))
        facts.append(Figure(name="Digest of the environment", text=run.environment.digest))
    if run.usage.peak_bytes:
        facts.append(Figure(name="Peak memory", text=words.size(run.usage.peak_bytes)))
    known = {fact.name for fact in facts}
    for tag, name in _SAID.items():
        if run.tags.get(tag) and name not in known:
            facts.append(Figure(name=name, text=run.tags[tag]))
            known.add(name)
    return tuple(facts)


def tags_of(run: Run) -> dict[str, str]:
    """List the tags that people set, not those that clients keep for themselves. A digest is short, and of a model's
    signature stands what it reads and answers; all of it is in the JSON."""
    own = {key: value for key, value in run.tags.items() if not key.startswith(HIDDEN)}
    tags = {name: words.short(value) if name.endswith("_digest") else value for name, value in own.items()}
    made = candidate_of(run)
    if made is not None:
        columns = words.many(len(made.signature.inputs), "column")
        tags["signature"] = f"{columns} to {made.signature.output} ({made.signature.task.value})"
    return tags
