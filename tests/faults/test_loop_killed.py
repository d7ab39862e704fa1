"""kill -9 at each step of the loop: the same call again ends in the same state as a run that was never killed."""

import signal
from pathlib import Path

import pytest
from tests.faults.apart import apart
from tests.loop.small import played, write

STEPS = [
    ("Data", "commit", 2),
    ("Data", "require_valid", 2),
    ("Features", "training_frame", 2),
    ("Pipelines", "train", 1),
    ("Pipelines", "train", 4),
    ("Evaluation", "gate", 2),
    ("Evaluation", "require_agreement", 1),
    ("Registry", "register", 2),
    ("References", "take", 2),
    ("Registry", "promote", 1),
    ("Rollout", "start", 1),
    ("Retraining", "turned", 1),
    ("Rollout", "start", 2),
    ("Monitoring", "record_truth", 5),
    ("Monitoring", "measure", 9),
    ("Rollout", "settle", 16),
    ("Retraining", "decide", 14),
    ("Retraining", "turned", 2),
]


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory) -> str:
    return played(write(tmp_path_factory.mktemp("unkilled") / "small")).digest


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("room", "method", "calls"), STEPS, ids=lambda value: str(value))
def test_a_kill_at_a_step_changes_nothing(unkilled, tmp_path, room, method, calls, when) -> None:
    folder = write(tmp_path / "small")
    died = die(folder, room, method, calls, when)
    assert died == -signal.SIGKILL, "the step was not reached often enough for this test to kill there"
    assert played(folder).digest == unkilled


def test_kills_one_after_another_change_nothing(unkilled, tmp_path) -> None:
    folder = write(tmp_path / "small")
    for room, method, calls in (STEPS[3], STEPS[5], STEPS[10], STEPS[12], STEPS[13]):
        die(folder, room, method, calls, "after")
    assert played(folder).digest == unkilled


def die(folder: Path, *words: object) -> int:
    return apart("-m", "tests.faults.killed", folder, *words).returncode
