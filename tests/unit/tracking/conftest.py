"""Small stand-ins for what surrounds runs: a store in memory, a project, a clock that is set by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from kedge.domain.events import Event
from kedge.domain.ids import Digest
from kedge.domain.tracking import Code, Environment, Experiment, Run, RunStatus
from kedge.errors import Conflict, NotFound


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2013, 3, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def tick(self, **span: float) -> None:
        self.time += timedelta(**span)


class Project:
    def code(self) -> Code:
        return Code(commit="abc", dirty=False, digest=Digest("c" * 64))

    def environment(self) -> Environment:
        return Environment(python="3.11", platform="linux", packages=("numpy 2",), digest=Digest("e" * 64))


class Runs:
    def __init__(self) -> None:
        self.rows: dict[str, Run] = {}
        self.events: dict[str, Event] = {}

    def put(self, run: Run, event: Event) -> None:
        if event.key in self.events:
            return
        done = self.find_key(run.content_key)
        if run.status is RunStatus.FINISHED and done is not None and done.id != run.id:
            raise Conflict("another run with this content key has finished")
        self.events[event.key] = event
        self.rows[run.id] = run

    def get(self, run: str) -> Run:
        if run not in self.rows:
            raise NotFound(run)
        return self.rows[run]

    def find_key(self, key: str) -> Run | None:
        finished = (run for run in self.rows.values() if run.status is RunStatus.FINISHED)
        return next((run for run in finished if run.content_key == key), None)


class Experiments:
    def __init__(self) -> None:
        self.rows: dict[str, Experiment] = {}

    def add(self, experiment: Experiment, event: Event) -> None:
        self.rows[experiment.name] = experiment

    def find(self, name: str) -> Experiment | None:
        return self.rows.get(name)

    def get(self, experiment: str) -> Experiment:
        return next(row for row in self.rows.values() if row.id == experiment)


@pytest.fixture
def experiments() -> Experiments:
    return Experiments()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def project() -> Project:
    return Project()


@pytest.fixture
def runs() -> Runs:
    return Runs()
