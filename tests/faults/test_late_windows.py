"""Rows that come late, and a monitor that is killed around the write: each row counts in one window's drift."""

import signal
from pathlib import Path

import msgspec
import pytest
from tests.faults.apart import apart
from tests.faults.late_windows import opened
from tests.unit.monitoring.world import DAY, START

DAYS = 4


def serve(folder: Path, day: int) -> None:
    """Let two workers answer a day's requests; one of them brings some of the day before late."""
    one, two = opened(folder, writer="one"), opened(folder, writer="two")
    one.random, two.random = (type(one.random)(type(one.random.bit_generator)(10 * day + place)) for place in (1, 2))
    one.serve(day, requests=12)
    two.ask(f"two-{day}", START + day * DAY + DAY / 3, rows=7)
    if day:
        two.ask(f"late-{day}", START + day * DAY - DAY / 5, rows=day)
    one.predictions.close()
    two.predictions.close()


def measure(folder: Path, day: int, *when: str) -> int:
    return apart("-m", "tests.faults.late_windows", folder, day, *when).returncode


def seen(folder: Path) -> list:
    world = opened(folder)
    return [world.measure(day) for day in range(DAYS)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_late_rows_count_once_however_often_the_monitor_dies(tmp_path, when) -> None:
    for name, deaths in (("whole", ()), ("killed", (when, when))):
        folder = tmp_path / name
        opened(folder)
        for day in range(DAYS):
            serve(folder, day)
            for death in deaths[: 1 if when == "after" else 2]:
                assert measure(folder, day, death) == -signal.SIGKILL
            assert measure(folder, day) == 0
    whole, killed = seen(tmp_path / "whole"), seen(tmp_path / "killed")
    assert [(health.rows, health.late) for health in killed] == [(55, 0), (55, 1), (55, 2), (55, 3)]
    assert killed == whole
    states = [opened(tmp_path / name).meta.watches.state(whole[0].model) for name in ("whole", "killed")]
    assert msgspec.msgpack.decode(states[0])["drift"] == msgspec.msgpack.decode(states[1])["drift"]
    assert msgspec.msgpack.decode(states[0])["profile"]["rows"] == 58
