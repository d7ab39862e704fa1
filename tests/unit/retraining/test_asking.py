"""What asks for a training besides the policy: once, within the limits, and one turn for all that wait."""

from datetime import timedelta

import msgspec
import pytest
from tests.contract import metastore as a
from tests.unit.monitoring.world import DAY, MODEL, START, version
from tests.unit.retraining.test_retraining_room import Loop, loop, spec_of

from kedge.domain.events import EventKind
from kedge.domain.ids import Digest
from kedge.domain.retraining import Retrain, Wait
from kedge.errors import TrainingFailed


def ask(made: Loop, key: str, kind="person") -> bool:
    return made.asking.ask(MODEL, kind, key=Digest(key), reason=f"because of {key}", actor=f"person:{key}")


@pytest.fixture
def asked() -> Loop:
    made = loop("never")
    made.clock.time = START + 30 * DAY
    return made


def test_the_same_key_asks_once(asked) -> None:
    assert ask(asked, "one")
    assert not ask(asked, "one")
    (event,) = [event for _, event in asked.meta.events.list() if event.kind is EventKind.RETRAINING_ASKED]
    assert event.message == "A training was asked for: because of one"


def test_all_that_wait_are_answered_by_one_turn_and_never_again(asked) -> None:
    assert asked.room.asked(asked.spec) is None
    ask(asked, "one")
    ask(asked, "two")
    assert asked.room.is_asked(asked.spec)
    order = asked.room.asked(asked.spec)
    assert order == Retrain("because of one; because of two", "person:one", asked.clock.time)
    assert asked.asking.of(MODEL) == ()
    asked.clock.time += timedelta(hours=5)
    assert asked.room.asked(asked.spec) == order, "killed in the middle of its turn: the same one again"
    asked.room.turned(asked.spec, order, version(2, START))
    assert asked.room.asked(asked.spec) is None
    assert not asked.room.is_asked(asked.spec)
    assert [one.taken_at for one in asked.meta.triggers.list(MODEL)] == [order.at, order.at]


def test_one_that_comes_during_the_turn_waits_for_the_next(asked) -> None:
    ask(asked, "one")
    order = asked.room.asked(asked.spec)
    ask(asked, "two")
    asked.room.failed(asked.spec, order, TrainingFailed("it raised"))
    assert asked.room.asked(asked.spec).reason == "because of two"


def test_killed_before_its_triggers_were_noted_as_taken(asked) -> None:
    ask(asked, "one")
    waiting = asked.asking.of(MODEL)
    take = asked.meta.triggers.take
    asked.meta.triggers.take = lambda *_, **__: (_ for _ in ()).throw(OSError("killed"))
    with pytest.raises(OSError, match="killed"):
        asked.asking.order(MODEL, waiting, at=asked.clock.time)
    asked.meta.triggers.take = take
    order = asked.room.asked(asked.spec)
    asked.room.turned(asked.spec, order, version(2, START))
    assert asked.room.asked(asked.spec) is None


def test_the_limits_hold_and_are_named() -> None:
    resting = loop("never", cooldown="30d")
    resting.clock.time = START + DAY
    ask(resting, "one")
    decided = resting.room.asked(resting.spec)
    assert isinstance(decided, Wait)
    assert decided.reason.startswith("because of one: a training was asked for, and waits: ")
    assert decided.reason.endswith(resting.room.held_by(resting.spec))
    assert "cooldown" in decided.reason
    assert not resting.room.is_asked(resting.spec), "nothing can be done now, so no process is started for it"
    resting.clock.time = START + 31 * DAY
    assert isinstance(resting.room.asked(resting.spec), Retrain)


def test_without_a_model_the_first_one_is_made_when_it_is_asked_for() -> None:
    empty = Loop()
    ask(empty, "one")
    assert isinstance(empty.room.asked(empty.spec), Retrain)


def test_a_new_version_of_a_dataset_that_is_listened_to_asks_once(asked) -> None:
    asked.spec = spec_of("never", triggers=("dataset:flights", "webhook:ci"))
    asked.meta.datasets.add(a.dataset(), a.event("first"))
    assert asked.room.asked(asked.spec) is None, "what was there before asks for nothing"
    second = msgspec.structs.replace(a.dataset(), number=2, digest=Digest("d" * 64))
    asked.meta.datasets.add(second, a.event("second"))
    order = asked.room.asked(asked.spec)
    assert (order.reason, order.actor) == ("dataset flights has version 2", "dataset:flights")
    asked.room.turned(asked.spec, order, version(2, START))
    assert asked.room.asked(asked.spec) is None
