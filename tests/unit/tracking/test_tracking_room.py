"""A run is made once for the same inputs, tried anew after a failure, and taken up again after a kill."""

import pytest

from kedge.domain.events import EventKind
from kedge.domain.ids import digest_of, run_id
from kedge.domain.lineage import NodeKind
from kedge.domain.tracking import Run, RunStatus, Usage
from kedge.errors import Conflict
from kedge.tracking.room import Tracking

KEY = digest_of("a training")
DATA = (digest_of("flights"), digest_of("weather"))


@pytest.fixture
def tracking(runs, experiments, project, clock) -> Tracking:
    return Tracking(runs=runs, experiments=experiments, project=project, clock=clock)


def start(tracking: Tracking) -> Run:
    return tracking.start(
        experiment="delay", name="train.py:model", content_key=KEY, inputs=DATA, params={"seed": "0"}, tags={"a": "b"}
    )


def finish(tracking: Tracking, run: Run) -> Run:
    usage = Usage(cpu_seconds=2.0, wall_seconds=1.0, peak_bytes=3)
    return tracking.finish(run, metrics={"loss": 0.5}, artifacts={"model": KEY}, usage=usage, tags={"format": "skops"})


def test_life_of_a_run(tracking, runs, clock) -> None:
    run = start(tracking)
    assert (run.id, run.status, run.code.commit) == (run_id(KEY), RunStatus.RUNNING, "abc")
    assert tracking.find(KEY) is None
    clock.tick(minutes=1)
    done = finish(tracking, run)
    assert tracking.find(KEY) == done == runs.get(run.id)
    assert done.status is RunStatus.FINISHED
    assert (done.params, done.metrics, done.artifacts) == ({"seed": "0"}, {"loss": 0.5}, {"model": KEY})
    assert done.tags == {"a": "b", "format": "skops"}
    assert (done.ended_at - done.started_at).total_seconds() == 60


def test_events_and_edges(tracking, runs) -> None:
    run = finish(tracking, start(tracking))
    started, finished = runs.events.values()
    assert (started.kind, started.edges) == (EventKind.RUN_STARTED, ())
    assert (finished.kind, finished.subject) == (EventKind.RUN_FINISHED, "delay")
    assert finished.facts["loss"] == 0.5
    assert {edge.made.id for edge in finished.edges} == {run.id}
    assert [(edge.source.kind, edge.source.id) for edge in finished.edges] == [
        (NodeKind.DATASET_VERSION, DATA[0]),
        (NodeKind.DATASET_VERSION, DATA[1]),
        (NodeKind.CODE, run.code.digest),
        (NodeKind.ENVIRONMENT, run.environment.digest),
        (NodeKind.PARAMS, digest_of({"seed": "0"})),
    ]


def test_everything_twice_is_once(tracking, runs, clock) -> None:
    first = start(tracking)
    clock.tick(days=1)
    assert start(tracking) == first
    done = finish(tracking, first)
    clock.tick(days=1)
    assert finish(tracking, first) == done
    assert start(tracking) == done
    assert len(runs.events) == 2


def test_failed_run_stays_and_is_tried_as_another(tracking, runs) -> None:
    failed = tracking.fail(start(tracking), error="it broke", usage=Usage(), artifacts={"traceback": KEY})
    assert (failed.status, failed.error, failed.artifacts) == (RunStatus.FAILED, "it broke", {"traceback": KEY})
    second = start(tracking)
    assert second.id != failed.id
    assert start(tracking) == second
    tracking.fail(second, error="again", usage=Usage())
    third = finish(tracking, start(tracking))
    assert len({failed.id, second.id, third.id}) == 3
    assert tracking.find(KEY) == third
    assert runs.get(failed.id) == failed
    assert [event.kind.value for event in runs.events.values()].count("run_failed") == 2


def test_late_attempt_takes_the_result_that_came_first(tracking, runs) -> None:
    slow = start(tracking)
    runs.rows[slow.id] = tracking.fail(slow, error="taken for dead", usage=Usage())
    quick = finish(tracking, start(tracking))
    assert finish(tracking, slow) == quick


def test_conflict_without_a_result_is_told(tracking, runs, monkeypatch) -> None:
    run = start(tracking)

    def refuse(*_: object) -> None:
        raise Conflict("someone was first")

    monkeypatch.setattr(runs, "put", refuse)
    with pytest.raises(Conflict, match="first"):
        finish(tracking, run)
