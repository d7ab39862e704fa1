"""kill -9 in the middle of `kedge run`: the same command again ends that turn, and makes nothing twice."""

import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.faults.apart import apart
from tests.faults.test_loop_killed import die
from tests.loop.small import DATA, PROJECT, opened, write

from kedge.app import House
from kedge.domain.events import EventKind

LIVE = PROJECT.replace("checks = [", "checks = [] # [")
STEPS = [
    ("Data", "commit", "after"),
    ("Pipelines", "train", "after"),
    ("Registry", "register", "after"),
    ("Registry", "promote", "before"),
    ("Registry", "promote", "after"),
    ("Rollout", "start", "after"),
    ("Retraining", "turned", "before"),
]


def fresh(folder: Path) -> Path:
    """Write the small project with rows that end yesterday, as a project that is live has them."""
    start = datetime.now(UTC) - timedelta(days=60)
    data = DATA.replace("datetime(2024, 1, 1)", f"datetime({start.year}, {start.month}, {start.day})")
    return write(folder, project=LIVE, data=data)


def run(folder: Path) -> tuple[int, dict]:
    """Ask for a turn by hand, as a person does; the exit code and what it told."""
    asked = apart("-m", "kedge", "run", folder, "--json")
    return asked.returncode, json.loads(asked.stdout)


def ends(house: House) -> list[dict]:
    events = house.meta.events.list(subject="small", limit=1000)
    return [dict(event.facts) for _, event in events if event.kind is EventKind.TURN_ENDED]


@pytest.mark.parametrize(("room", "method", "when"), STEPS, ids=lambda value: str(value))
def test_a_first_turn_by_hand_that_was_killed_is_ended_by_the_next(tmp_path, room, method, when) -> None:
    folder = fresh(tmp_path / "small")
    assert die(folder, room, method, 1, when, "run") == -signal.SIGKILL
    code, told = run(folder)
    assert (code, told["released"]) == (0, 1), told
    house, _ = opened(folder)
    try:
        assert [version.number for version in house.meta.models.list("small")] == [1]
        assert [(each.champion, each.challenger) for each in house.meta.deployments.list("small")] == [(1, None)]
        assert [move.number for move in house.registry.history("small")] == [1]
        assert [end["outcome"] for end in ends(house)] == ["released"]
        assert len(house.meta.runs.list("small")) == 2
    finally:
        house.close()


def test_a_turn_that_has_ended_is_not_taken_up_again(tmp_path) -> None:
    folder = fresh(tmp_path / "small")
    assert run(folder)[1]["released"] == 1
    code, told = run(folder)
    assert (code, told["refused"]["outcome"]) == (3, "held"), "the champion has seen every row that there is"
    house, _ = opened(folder)
    try:
        assert sorted(end["outcome"] for end in ends(house)) == ["refused", "released"]
        assert house.meta.deployments.find("small").revision == 1
    finally:
        house.close()
