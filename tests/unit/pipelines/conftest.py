"""What surrounds a training in the tests: stores in memory, a project, a clock set by hand, jobs that run at once."""

import pickle
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any

import polars as pl
import pytest

from kedge.domain.evaluation import Task
from kedge.domain.ids import Digest, ModelName, digest_bytes, digest_of
from kedge.domain.project import DataRules, ProjectSpec
from kedge.domain.tracking import Code, Environment, Experiment, Metric, Run, RunStatus, Usage
from kedge.errors import NotFound
from kedge.features.frame import TrainingFrame
from kedge.pipelines.cache import Results
from kedge.pipelines.room import Pipelines
from kedge.pipelines.run import Made, Work
from kedge.ports import JobFailed
from kedge.tracking.room import Tracking

ROOT = str(PurePath(__file__).parent)
UPTO = datetime(2013, 3, 1, tzinfo=UTC)
SPEC = ProjectSpec(name=ModelName("delay"), data=DataRules(source="data.py:flights", time="at", label="late"))


def frame_of(rows: pl.DataFrame | None = None, *, task: Task = Task.CLASSIFICATION) -> TrainingFrame:
    """A frame of ten rows, one a day, the newest known at UPTO."""
    known = [UPTO - timedelta(days=9 - i) for i in range(10)]
    table = pl.DataFrame(
        {
            "at": known,
            "known_at__": known,
            "late": pl.Series([i % 2 for i in range(10)], dtype=pl.Int8),
            "wind": [float(i) for i in range(10)],
            "carrier": ["AA", "UA", None, "AA", "UA", "AA", "UA", "AA", "UA", "DL"],
        },
        schema_overrides={"at": pl.Datetime("us", "UTC"), "known_at__": pl.Datetime("us", "UTC")},
    )
    return TrainingFrame(
        rows=table if rows is None else rows,
        columns=("wind", "carrier"),
        time="at",
        label="late",
        key="",
        task=task,
        versions=(digest_of("flights"), digest_of("weather")),
        service="delay",
        service_digest=digest_of("service"),
        upto=UPTO,
        step=timedelta(days=7),
    )


class Clock:
    time = UPTO

    def now(self) -> datetime:
        return self.time


class Project:
    commit = "abc"

    def code(self) -> Code:
        return Code(commit=self.commit, dirty=False, digest=digest_of(self.commit))

    def environment(self) -> Environment:
        return Environment(python="3.11", platform="linux", packages=("numpy 2",), digest=Digest("e" * 64))


class Runs:
    """Runs, events and leases in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, Run] = {}
        self.events: set[str] = set()
        self.experiments = Experiments()
        self.leases: dict[str, tuple[str, datetime]] = {}
        self.points: dict[str, list[Metric]] = {}

    def log(self, run, *, metrics) -> None:
        assert self.get(run).status is RunStatus.RUNNING
        self.points.setdefault(run, []).extend(metrics)

    def put(self, run, event) -> None:
        if event.key not in self.events:
            self.events.add(event.key)
            self.rows[run.id] = run

    def get(self, run) -> Run:
        if run not in self.rows:
            raise NotFound(run)
        return self.rows[run]

    def find_key(self, key) -> Run | None:
        finished = (run for run in self.rows.values() if run.status is RunStatus.FINISHED)
        return next((run for run in finished if run.content_key == key), None)

    def list(self, experiment, *, limit=100):
        return sorted(self.rows.values(), key=lambda run: run.started_at, reverse=True)[:limit]

    def claim(self, key, owner, *, now, seconds) -> bool:
        holder, until = self.leases.get(key, (owner, now))
        if holder != owner and until > now:
            return False
        self.leases[key] = (owner, now + timedelta(seconds=seconds))
        return True

    def release(self, key, owner) -> None:
        if self.leases.get(key, (None,))[0] == owner:
            del self.leases[key]


class Experiments:
    """Experiments in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, Experiment] = {}

    def add(self, experiment, event) -> None:
        self.rows[experiment.name] = experiment

    def find(self, name) -> Experiment | None:
        return self.rows.get(name)

    def get(self, experiment) -> Experiment:
        return next(row for row in self.rows.values() if row.id == experiment)


class Blobs:
    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def put(self, data: bytes) -> Digest:
        self.kept[digest_bytes(data)] = data
        return digest_bytes(data)

    def get(self, digest: Digest) -> bytes:
        return self.kept[digest]

    def put_tree(self, files) -> Digest:
        name = digest_of({file: digest_bytes(data) for file, data in files.items()})
        self.kept[name] = dict(files)
        return name


class Jobs:
    """Runs functions here, with the work sent through pickle as to another process."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def call(self, function, *args, seconds):
        self.calls.append((*args, seconds))
        usage = Usage(cpu_seconds=1800.0, wall_seconds=2.0, peak_bytes=5)
        try:
            return function(*pickle.loads(pickle.dumps(args))), usage
        except Exception as error:
            return JobFailed(f"{type(error).__name__}: {error}", traceback.format_exc()), usage


class Notes:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def get(self, name: str) -> bytes | None:
        return self.kept.get(name)

    def put(self, name: str, value: bytes) -> None:
        self.kept[name] = value


class House:
    """One process on a store: `made` is what its jobs return or raise."""

    def __init__(self, *, runs: Runs, shared: Runs, blobs: Blobs, notes: Notes, owner: str = "here") -> None:
        self.runs, self.shared, self.blobs, self.notes = runs, shared, blobs, notes
        self.clock, self.wall, self.project, self.jobs = Clock(), Clock(), Project(), Jobs()
        self.experiments = runs.experiments
        self.paused: list[float] = []
        self.made: Callable[[Work], Made] = lambda work: Made(
            files={"model": b"tree"}, format="skops", metrics={"training_loss": 0.5}
        )
        self.while_paused: Callable[[], None] = lambda: None
        self.pipelines = Pipelines(
            tracking=Tracking(runs=runs, experiments=self.experiments, project=self.project, clock=self.clock),
            runs=runs,
            results=Results(notes=notes, runs=shared, wall=self.wall),
            jobs=self.jobs,
            blobs=blobs,
            project=self.project,
            clock=self.clock,
            execute=lambda root, reference, work: self.made(work),
            project_root=ROOT,
            owner=owner,
            pause=self._pause,
        )

    def _pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.wall.time += timedelta(seconds=seconds)
        self.while_paused()

    def beside(self, owner: str) -> "House":
        """Open another process on the same store."""
        return House(runs=self.runs, shared=self.shared, blobs=self.blobs, notes=self.notes, owner=owner)

    def twin(self) -> "House":
        """Open a house with runs of its own that shares what trainings made."""
        return House(runs=Runs(), shared=self.shared, blobs=self.blobs, notes=self.notes)

    def runs_by_age(self) -> list[Run]:
        return list(self.runs.rows.values())


@pytest.fixture
def house() -> House:
    runs = Runs()
    return House(runs=runs, shared=runs, blobs=Blobs(), notes=Notes())


@pytest.fixture
def spec() -> ProjectSpec:
    return SPEC


@pytest.fixture
def frame() -> TrainingFrame:
    return frame_of()


@pytest.fixture
def framed() -> Callable[..., TrainingFrame]:
    return frame_of
