"""A monitor killed in the middle of measuring quality, groups or operations: every window counts once, nothing doubles."""

import signal
import subprocess
from pathlib import Path

import msgspec
import pytest
from tests.faults.apart import apart
from tests.faults.late_windows import opened
from tests.faults.measured_windows import WATCHED
from tests.unit.monitoring.world import DAY, MODEL, START

from kedge.domain.events import EventKind

DAYS, REQUESTS, ROWS = 3, 16, 5
KILLED_ON = 2
"""The day whose measurement is killed: it has the labels of the day before, and a state to add to."""


def serve(folder: Path) -> None:
    """Let a worker answer all days, and bring the truth of each at noon of the day after."""
    one = opened(folder, writer="one", spec=WATCHED)
    for day in range(DAYS):
        one.serve(day, requests=REQUESTS, rows=ROWS, errors={})
        if day:
            one.tell(day - 1, requests=REQUESTS, rows=ROWS, known=START + day * DAY + DAY / 2)
    one.predictions.close()
    one.truths.close()


def run(folder: Path, day: int, *die: str) -> subprocess.CompletedProcess[str]:
    return apart("-m", "tests.faults.measured_windows", folder, day, *die)


def measured(folder: Path) -> None:
    for day in range(DAYS):
        done = run(folder, day)
        assert done.returncode == 0, done.stderr


def kept(folder: Path) -> tuple[list, dict]:
    """Give the windows as they were written, and the monitors' state after them."""
    world = opened(folder, spec=WATCHED)
    healths = list(world.meta.watches.list(MODEL))
    return healths, msgspec.msgpack.decode(world.meta.watches.state(MODEL))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A world that nobody killed: its windows and its state."""
    folder = tmp_path_factory.mktemp("whole")
    opened(folder, spec=WATCHED)
    serve(folder)
    measured(folder)
    return kept(folder)


def test_each_thing_is_measured_at_all(whole) -> None:
    healths, _ = whole
    newest = healths[-1]
    assert [(one.rows, one.labels) for one in healths] == [(80, 0), (80, 80), (80, 80)]
    assert newest.quality.rows == 80
    assert {one.group for one in newest.fairness.window} == {"AA", "UA"}
    assert sum(one.rows for one in newest.fairness.window) == 80
    assert newest.operations.requests == REQUESTS
    assert {one.name for one in newest.operations.objectives} == {"p95", "errors"}


@pytest.mark.parametrize("room", ["quality", "groups", "operations", "put"])
def test_a_window_counts_once_wherever_its_measuring_dies(tmp_path, whole, room) -> None:
    opened(tmp_path, spec=WATCHED)
    serve(tmp_path)
    for day in range(KILLED_ON):
        assert run(tmp_path, day).returncode == 0
    if room == "put":
        places = [1, 2]
    else:
        rehearsal = tmp_path.with_name(f"{tmp_path.name}-rehearsal")
        subprocess.run(["cp", "-r", str(tmp_path), str(rehearsal)], check=True)
        calls = int(run(rehearsal, KILLED_ON, room, "0").stdout)
        assert calls > 10, "the room is at work"
        places = sorted({1, calls // 3, 2 * calls // 3, calls})
    for place in places:
        assert run(tmp_path, KILLED_ON, room, str(place)).returncode == -signal.SIGKILL
        written = {window.start for window in opened(tmp_path, spec=WATCHED).meta.watches.windows(MODEL)}
        done = room == "put" and place == 2
        assert (START + KILLED_ON * DAY in written) is done, "a window is written whole, or not at all"
    assert run(tmp_path, KILLED_ON).returncode == 0
    assert run(tmp_path, KILLED_ON).returncode == 0, "measured again it is read, not counted"
    healths, state = kept(tmp_path)
    assert healths == whole[0]
    assert state == whole[1]
    events = [event for _, event in opened(tmp_path, spec=WATCHED).meta.events.list(limit=100)]
    told = [event.key for event in events if event.kind is EventKind.WINDOW_MEASURED]
    assert len(told) == len(set(told)) == DAYS
