"""A training's own code logs points; they reach its run once, and every run that shares its result."""

import math
import threading
from datetime import UTC, datetime

import numpy as np
import pytest
from tests.unit.pipelines.test_make import Constant, ConstantFormat, work

from kedge.domain.tracking import Metric
from kedge.errors import KedgeError, RequestInvalid
from kedge.pipelines import measured
from kedge.pipelines.measured import current_training, measuring, pack, unpack
from kedge.pipelines.run import Made, make

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)


def learning(data):
    """Train, logging a loss for each of three rounds."""
    for loss in (0.5, 0.25, math.nan):
        current_training().log(loss=loss)
    current_training().log({"accuracy": np.float32(0.5)}, step=7)
    return Constant(0.5)


def test_points_come_back_with_the_model() -> None:
    made = make(learning, work(), formats=[ConstantFormat()])
    assert [(key, step) for key, _, step, _ in made.points] == [("loss", 0), ("loss", 1), ("loss", 2), ("accuracy", 7)]
    assert [value for *_, value in made.points[:2]] == [0.5, 0.25]
    assert math.isnan(made.points[2][3])
    assert made.points[3][3] == 0.5
    assert all(0 <= after < 60_000 for _, after, *_ in made.points)
    assert current_training() is None


def test_a_failed_training_leaves_none_open() -> None:
    def failing(data):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        make(failing, work(), formats=[ConstantFormat()])
    assert current_training() is None


def test_points_are_written_and_read_as_they_are() -> None:
    points = (("loss", 1500, 0, 0.5), ("loss", 2500, 1, math.inf), ("loss", 3500, 2, math.nan))
    read = unpack(pack(points), began=BEGAN)
    start = int(BEGAN.timestamp() * 1000)
    assert read[:2] == [
        Metric(key="loss", value=0.5, at=start + 1500, step=0),
        Metric(key="loss", value=math.inf, at=start + 2500, step=1),
    ]
    assert math.isnan(read[2].value)


def test_a_time_of_ones_own() -> None:
    with measuring() as open_one:
        open_one.log(loss=1.0, at=datetime(2001, 1, 1, tzinfo=UTC))
        open_one.log(loss=2.0, at=978307201.5)
    (_, first, *_), (_, second, *_) = open_one.points()
    assert second - first == 1500


@pytest.mark.parametrize("value", ["0.5", b"1", True, None, [1.0, 2.0], np.ones(3)])
def test_what_is_no_number_is_refused(value) -> None:
    with measuring() as open_one, pytest.raises(RequestInvalid, match="loss"):
        open_one.log(loss=value)
    assert open_one.points() == ()


def test_keys_and_steps_are_checked() -> None:
    with measuring() as open_one:
        for broken in ({"": 1.0}, {"k" * 251: 1.0}):
            with pytest.raises(RequestInvalid, match="key of a metric"):
                open_one.log(broken)
        with pytest.raises(RequestInvalid, match="step"):
            open_one.log(loss=1.0, step=2**63)


def test_a_thread_of_the_training_logs_too() -> None:
    def train(data):
        thread = threading.Thread(target=lambda: current_training().log(loss=1.0))
        thread.start()
        thread.join()
        return Constant(0.5)

    assert len(make(train, work(), formats=[ConstantFormat()]).points) == 1


def test_what_is_beyond_the_most_is_counted(monkeypatch) -> None:
    monkeypatch.setattr(measured, "MOST_POINTS", 2)
    made = make(learning, work(), formats=[ConstantFormat()])
    assert len(made.points) == 2
    assert made.metrics["points_dropped"] == 2.0


def test_what_the_loop_keeps_itself_is_said() -> None:
    with measuring() as open_one, pytest.raises(KedgeError, match="log_artifact is for runs of your own"):
        open_one.log_artifact("a.txt")


def test_every_run_that_shares_a_training_has_its_points(house, spec, frame) -> None:
    points = (("loss", 1000, 0, 0.5), ("loss", 2000, 1, 0.25))
    house.made = lambda work: Made(files={"model": b"tree"}, format="skops", metrics={"training_loss": 0.5}, points=points)
    candidate, twin = house.pipelines.train(spec, frame), house.twin()
    shared = twin.pipelines.train(spec, frame)
    assert twin.jobs.calls == []
    for one, run in ((house, candidate.run), (twin, shared.run)):
        began = int(one.runs.get(run).started_at.timestamp() * 1000)
        assert [(p.at - began, p.step, p.value) for p in one.runs.points[run]] == [(1000, 0, 0.5), (2000, 1, 0.25)]
    house.pipelines.train(spec, frame)
    assert len(house.runs.points[candidate.run]) == 2
