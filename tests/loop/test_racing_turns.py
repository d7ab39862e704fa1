"""Two turns of one project at the same time, in two processes' houses on one store: each ends with a version of its own,
or, where both would make the same, with the same one."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, local

import pytest
from tests.loop.small import PROJECT, opened, write

from kedge.app import House
from kedge.domain.events import EventKind
from kedge.domain.retraining import Retrain
from kedge.domain.turning import Turned
from kedge.loop import turn
from kedge.security.audit import verify
from kedge.storage.sql.deployments import SqlDeployments
from kedge.storage.sql.models import SqlModels

NOON = datetime(2024, 1, 20, 12, tzinfo=UTC)
UNCHECKED = PROJECT.replace("checks = [", "checks = [] # [")


def meeting(monkeypatch: pytest.MonkeyPatch, kind: type, method: str) -> None:
    """Let both turns come to their first write of a kind before either may write."""
    met, real, seen = Barrier(2, timeout=60), getattr(kind, method), local()

    def waiting(*args: object, **named: object) -> object:
        if not getattr(seen, "met", False):
            seen.met = True
            met.wait()
        return real(*args, **named)

    monkeypatch.setattr(kind, method, waiting)


def raced(folder: Path, *moments: datetime) -> tuple[list[Turned], House]:
    """Make two turns at once, and open the house once more to see what came of them."""

    def made(moment: datetime) -> Turned:
        house, clock = opened(folder)
        try:
            clock.set(max(moments))  # one time for both: each may write what the other has begun
            return turn(house, house.spec, Retrain("asked for by hand", "person:ada", moment))
        finally:
            house.close()

    opened(folder)[0].close()  # the store's tables are there before the race
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(made, moments))
    return ends, opened(folder)[0]


@pytest.mark.parametrize(
    ("kind", "method"),
    [(SqlModels, "add"), (SqlDeployments, "put")],
    ids=["a number", "a revision"],
)
def test_two_turns_that_learn_from_different_rows_both_release(tmp_path, monkeypatch, kind, method) -> None:
    folder = write(tmp_path / "small", project=UNCHECKED)
    meeting(monkeypatch, kind, method)
    ends, house = raced(folder, NOON, NOON + timedelta(days=1))
    try:
        assert sorted(end.released for end in ends) == [1, 2]
        assert [version.number for version in house.meta.models.list("small")] == [2, 1]
        first, *rest = house.meta.deployments.list("small")
        assert first.challenger is None
        assert [each.challenger for each in rest] == [3 - first.champion]
        assert house.registry.champion("small").number == first.champion
        assert len(told(house)) == 2
        assert verify(house.meta.events.chain()).holds
    finally:
        house.close()


def test_two_turns_that_learn_from_the_same_rows_release_the_same_version(tmp_path, monkeypatch) -> None:
    folder = write(tmp_path / "small", project=UNCHECKED)
    meeting(monkeypatch, SqlModels, "add")
    ends, house = raced(folder, NOON, NOON)
    try:
        assert [end.released for end in ends] == [1, 1]
        assert [version.number for version in house.meta.models.list("small")] == [1]
        assert [each.champion for each in house.meta.deployments.list("small")] == [1]
        assert len(told(house)) == 1
        assert verify(house.meta.events.chain()).holds
    finally:
        house.close()


def told(house: House) -> list[str]:
    events = house.meta.events.list(subject="small", limit=1000)
    return [event.message for _, event in events if event.kind is EventKind.TURN_ENDED]
