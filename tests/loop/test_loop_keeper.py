"""The loop beside the control plane: one process at a time, whatever is due is done, a past that was played stays."""

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import OperationalError
from tests.loop.small import opened, write

from kedge import windows
from kedge.domain.alerting import AlertKind
from kedge.domain.ids import Digest
from kedge.domain.retraining import Retrain
from kedge.domain.turning import Turned
from kedge.loop import turn
from kedge.loop_keeper import LoopKeeper
from kedge.windows import LEASE_SECONDS, attend, is_due, leading

FIRST = Retrain("no model yet", "policy:ledger")


@pytest.fixture
def small(tmp_path):
    house, clock = opened(write(tmp_path / "small"))
    clock.set(datetime(2024, 1, 22, tzinfo=UTC))
    yield house, clock
    house.close()


def ask(house, key="k"):
    house.asking.ask(house.spec.name, "person", key=Digest(key), reason="asked for by hand: new", actor="person:ana")


def test_it_is_due_when_a_window_has_closed_or_a_training_was_asked_for(small):
    house, clock = small
    assert not is_due(house), "there is no model, and nothing is asked for"
    ask(house)
    assert is_due(house)
    assert attend(house)["asked"].released == 1
    assert not is_due(house)
    clock.set(datetime(2024, 1, 23, tzinfo=UTC))
    assert is_due(house)
    assert [*attend(house)] == ["2024-01-22T00:00/2024-01-23T00:00"]
    assert not is_due(house)


def test_a_past_that_was_played_stays_as_it_was(small):
    house, clock = small
    turn(house, house.spec, FIRST)
    clock.set(datetime(2024, 1, 23, tzinfo=UTC))
    attend(house)
    house.meta.notes.put(f"replay:{house.spec.name}", b"{}")
    clock.set(datetime(2026, 1, 1, tzinfo=UTC))
    assert not is_due(house)


def test_one_watches_at_a_time_and_a_lost_machine_is_followed(small):
    house, clock = small
    with leading(house) as mine:
        assert mine
        with leading(house) as other:
            assert not other
    lease = Digest(f"loop:{house.spec.name}")
    assert house.meta.runs.claim(lease, "another machine", now=clock.now(), seconds=LEASE_SECONDS)
    with leading(house) as mine:
        assert not mine
    clock.set(clock.now() + timedelta(seconds=LEASE_SECONDS + 1))
    with leading(house) as mine:
        assert mine


def test_a_store_that_is_gone_for_a_while_ends_neither_the_keeper_nor_the_lease(small, monkeypatch):
    house, _ = small
    back, gone = threading.Event(), iter(range(3))
    keeper = LoopKeeper(house, seconds=0.01)

    def due() -> bool:
        if next(gone, None) is not None:
            raise OperationalError("SELECT", {}, Exception("server closed the connection"))
        back.set()
        return False

    keeper.due = due
    keeper.start()
    assert back.wait(30), "it looks again"
    keeper.stop()

    monkeypatch.setattr(windows, "LEASE_SECONDS", 0.03)
    claim, renewed, calls = house.meta.runs.claim, threading.Event(), iter(range(100))

    def claimed(*about, **more) -> bool:
        call = next(calls)
        if call == 1:
            raise OperationalError("INSERT", {}, Exception("server closed the connection"))
        if call > 1:
            renewed.set()
        return claim(*about, **more)

    monkeypatch.setattr(house.meta.runs, "claim", claimed)
    with leading(house) as mine:
        assert mine
        assert renewed.wait(30), "it is renewed after the fault"


def test_the_child_makes_what_was_asked_for(small):
    house, _ = small
    ask(house)
    assert LoopKeeper(house).look()
    assert house.registry.champion(house.spec.name).number == 1
    assert [trigger.taken_at is None for trigger in house.meta.triggers.list(house.spec.name)] == [False]
    keeper = LoopKeeper(house)
    keeper.due = lambda: False
    assert not keeper.look()


def test_a_child_that_fails_is_told_and_rests_longer_each_time(small, caplog):
    house, _ = small
    (house.settings.project / "kedge.toml").write_text("[project\n")
    keeper = LoopKeeper(house)
    keeper.due = lambda: True
    for rest in (5.0, 10.0):
        assert keeper.look()
        assert keeper._rest == rest
    assert "a closed window was not watched: error:" in caplog.text
    (alert,) = house.meta.watches.alerts(house.spec.name)
    assert (alert.kind, alert.subject) == (AlertKind.UNWATCHED, "the loop")
    assert "closed windows are not watched: error: " in alert.message
    house.messenger.tick()
    assert house.meta.alerts.get(alert.id).open
    ask(house)
    attend(house)
    life = house.meta.alerts.get(alert.id)
    assert (life.open, life.acts[-1].reason) == (False, "closed windows are watched again")
    attend(house)
    assert house.meta.alerts.get(alert.id) == life


def test_the_command_says_that_another_one_watches(small):
    house, _ = small
    words = [sys.executable, "-m", "kedge", "watch", str(house.settings.project)]
    with leading(house):
        asked = subprocess.run(words, capture_output=True, text=True, check=True)
        told = subprocess.run([*words, "--json"], capture_output=True, text=True, check=True)
    assert "another process watches this project just now" in asked.stdout
    assert json.loads(told.stdout) == {}


def test_what_was_asked_for_and_is_held_back_says_by_what(small):
    house, _ = small
    turn(house, house.spec, FIRST)
    ask(house)
    (held,) = attend(house).values()
    assert isinstance(held, Turned)
    assert "waits: " in held.steady
