"""A small world to monitor: a store in memory, journals in memory, a model that is one line of arithmetic."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from tests.unit.memory_journal import MemoryJournal

from kedge.domain.data import Column, ColumnType
from kedge.domain.evaluation import Outcome, Task, Verdict
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import Digest, ModelName, PredictionId, RequestId, RunId, digest_of
from kedge.domain.monitoring import Health, MonitoringRules, PredictionBatch, TruthBatch, Window
from kedge.domain.project import DataRules, ProjectSpec
from kedge.domain.records import encode_batch
from kedge.domain.registry import ModelVersion, Signature
from kedge.domain.rollout import Deployment, Strategy
from kedge.errors import NotFound
from kedge.features.frame import TrainingFrame
from kedge.monitoring.references import References
from kedge.monitoring.room import Monitoring
from kedge.storage.sql.store import open_store

START = datetime(2013, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MODEL = ModelName("flights")
SPEC = ProjectSpec(
    name=MODEL, data=DataRules(source="data.py:flights", time="at", label="late"), monitoring=MonitoringRules()
)


class SetClock:
    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time


class MemoryBlobs:
    def __init__(self) -> None:
        self.blobs = {}

    def put(self, data: bytes) -> Digest:
        name = digest_of(data.hex())
        self.blobs[name] = data
        return name

    def get(self, digest: Digest) -> bytes:
        return self.blobs[digest]


class Lines:
    """An evaluation room whose models are lines: version N answers 0.1 + 0.02 N + 0.5 x, whatever scores it."""

    def __init__(self) -> None:
        self.calls = 0

    def score(self, model, columns) -> np.ndarray:
        self.calls += 1
        x = columns["x"].to_numpy() if isinstance(columns, pl.DataFrame) else np.array(columns["x"], dtype=float)
        return line(getattr(model, "number", 0), x)

    def try_score(self, model, columns, *, task):
        return self.score(model, columns), ""


def line(version: int, x: np.ndarray) -> np.ndarray:
    return np.clip(0.1 + 0.02 * version + 0.5 * x, 0.01, 0.99)


class Versions:
    """A registry of versions and who is champion."""

    def __init__(self) -> None:
        self.versions, self.number = {}, None

    def champion(self, model):
        return self.versions.get(self.number)

    def find(self, model, number):
        return self.versions.get(number)


class NoRuns:
    def get(self, run):
        raise NotFound(run)

    def list(self, experiment, *, limit=100):
        return []


def version(number: int, trained_upto: datetime) -> ModelVersion:
    signature = Signature(
        inputs=(
            Column(name="x", type=ColumnType.FLOAT),
            Column(name="carrier", type=ColumnType.STRING, categories=("AA", "UA")),
        ),
        task=Task.CLASSIFICATION,
        output="late",
    )
    return ModelVersion(
        model=MODEL,
        number=number,
        digest=Digest(f"digest{number}"),
        format="line",
        run=RunId(f"run{number}"),
        candidate_run=RunId(f"candidate{number}"),
        signature=signature,
        service="all",
        verdict=Verdict(outcome=Outcome.PASSED, findings=()),
        datasets=(),
        example=Digest(""),
        trained_upto=trained_upto,
        registered_at=trained_upto,
    )


def frame(upto: datetime = START, *, days: int = 60, rows: int = 100, seed: int = 0) -> TrainingFrame:
    random = np.random.default_rng(seed)
    count = days * rows
    times = [upto - timedelta(days=days) + DAY * i / rows for i in range(count)]
    x = random.random(count)
    table = pl.DataFrame(
        {
            "at": times,
            "x": x,
            "carrier": np.where(random.random(count) < 0.4, "AA", "UA"),
            "late": (random.random(count) < line(0, x)).astype(np.int8),
            "known_at__": times,
        },
        schema_overrides={"at": pl.Datetime("us", "UTC"), "known_at__": pl.Datetime("us", "UTC")},
    )
    return TrainingFrame(
        rows=table,
        columns=("x", "carrier"),
        time="at",
        label="late",
        key="",
        task=Task.CLASSIFICATION,
        versions=(),
        service="all",
        service_digest=Digest("service"),
        upto=upto,
        step=timedelta(days=7),
    )


@dataclass
class World:
    """Everything that a Monitoring needs, with verbs to let time pass."""

    spec: ProjectSpec = SPEC
    clock: SetClock = field(default_factory=SetClock)
    predictions: MemoryJournal = field(default_factory=MemoryJournal)
    truths: MemoryJournal = field(default_factory=MemoryJournal)
    evaluation: Lines = field(default_factory=Lines)
    registry: Versions = field(default_factory=Versions)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    planes: object = None

    def __post_init__(self) -> None:
        self.meta = open_store("sqlite://")
        self.random = np.random.default_rng(1)
        self.revision = 0

    def monitoring(self) -> Monitoring:
        return Monitoring(
            watches=self.meta.watches,
            predictions=self.predictions,
            truths=self.truths,
            evaluation=self.evaluation,
            registry=self.registry,
            deployments=self.meta.deployments,
            runs=NoRuns(),
            references=self.references(),
            clock=self.clock,
            planes=self.planes,
        )

    def references(self) -> References:
        return References(
            evaluation=self.evaluation,
            runs=NoRuns(),
            watches=self.meta.watches,
            blobs=self.blobs,
            notes=self.meta.notes,
            clock=self.clock,
        )

    @property
    def raised(self) -> list:
        """Every alert so far, oldest first."""
        return list(reversed(self.meta.watches.alerts(MODEL)))

    def release(
        self,
        number: int,
        *,
        at: datetime = START,
        share: float = 0.0,
        champion: int | None = None,
        strategy: Strategy = Strategy.CANARY,
    ) -> ModelVersion:
        """Make a version champion (or, with `champion`, put it on trial beside that one)."""
        released = version(number, at)
        self.registry.versions[number] = released
        self.registry.number = champion or number
        self.revision += 1
        self.meta.deployments.put(
            Deployment(
                model=MODEL,
                revision=self.revision,
                champion=champion or number,
                challenger=number if champion else None,
                share=share,
                strategy=strategy,
                salt=f"rollout{number}",
                since=at,
                actor="policy:ledger",
                reason="test",
            ),
            Event(
                key=digest_of("deploy", self.revision),
                kind=EventKind.MODEL_PROMOTED,
                at=at,
                subject=MODEL,
                actor="policy:ledger",
                message="",
            ),
        )
        return released

    def window(self, day: int) -> Window:
        return Window(START + day * DAY, START + (day + 1) * DAY)

    def serve(self, day: int, *, requests: int = 24, rows: int = 4, columns=None, label_days: int = 1, **batch) -> None:
        """Answer the requests of a day and record the truth that becomes known in it (of `label_days` before)."""
        for hour in range(requests):
            self.ask(f"{day}-{hour}", START + day * DAY + hour * DAY / requests, rows=rows, columns=columns, **batch)

    def ask(self, name: str, at: datetime, *, rows: int = 4, columns=None, **batch) -> PredictionBatch:
        x = self.random.random(rows)
        features = {"x": x.tolist(), "carrier": ["AA" if v < 0.4 else "UA" for v in self.random.random(rows)]}
        features = columns(features) if columns else features
        answered = {
            "request": RequestId(f"flights-{name}"),
            "model": MODEL,
            "at": at,
            "revision": self.revision,
            "service": "all",
            "entities": [f"{name}.{i}" for i in range(rows)],
            "versions": [self.registry.number or 1] * rows,
            "features": features,
            "as_of": {},
            "outputs": line(self.registry.number or 1, x).tolist(),
            "batches": [],
            "seconds": {"features": 0.001, "predict": 0.002},
        }
        record = PredictionBatch(**{**answered, **batch})
        self.predictions.append(encode_batch(record))
        return record

    def tell(self, day: int, *, requests: int = 24, rows: int = 4, known: datetime | None = None) -> None:
        """Record the truth of a day's predictions, known a day later by default."""
        names = [PredictionId(f"flights-{day}-{hour}.{row}") for hour in range(requests) for row in range(rows)]
        values = (self.random.random(len(names)) < 0.4).astype(float).tolist()
        self.truth(names, values, known or START + (day + 2) * DAY)

    def truth(self, names, values, known: datetime) -> None:
        self.monitoring().record_truth(TruthBatch(model=MODEL, known_at=known, predictions=names, values=values))

    def measure(self, day: int, monitoring: Monitoring | None = None) -> Health:
        window = self.window(day)
        self.clock.time = window.end
        return (monitoring or self.monitoring()).measure(self.spec, window)


def with_rules(spec: ProjectSpec, **rules) -> ProjectSpec:
    import msgspec

    return msgspec.structs.replace(spec, monitoring=msgspec.structs.replace(spec.monitoring, **rules))


__all__ = ["DAY", "MODEL", "SPEC", "START", "World", "frame", "line", "replace", "version", "with_rules"]
