"""The controller: one process looks at a time, whoever is killed is followed, and the command line looks as it does."""

from types import SimpleNamespace

import pytest
from tests.unit.evaluation.toys import spec
from tests.unit.rollout.health import DAY, START, health, side
from tests.unit.rollout.test_live import BY, SECOND, Traffic, failing
from tests.unit.rollout.test_rollout_room import MODEL

from kedge.controller import LEASE_SECONDS, Controller
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import Digest
from kedge.domain.rollout import Move


@pytest.fixture
def traffic():
    made = Traffic(steps=("50%", "100%"))
    yield made
    made.world.store.close()


def controller(traffic, owner, **named):
    house = SimpleNamespace(meta=traffic.world.store, live=traffic.live, clock=traffic.world.clock, spec=spec())
    return Controller(house, owner=owner, **named)


def test_one_looks_at_a_time_and_the_next_takes_over(traffic):
    first, second = controller(traffic, "first"), controller(traffic, "second")
    traffic.ask(20)
    assert [look.rows + look.champion_rows for look in first.tick()] == [20]
    assert second.tick() == []
    traffic.world.clock.time += (LEASE_SECONDS + 1) * SECOND  # the first was killed: its lease ends
    assert len(second.tick()) == 1
    assert first.tick() == []
    second.stop()
    assert len(first.tick()) == 1, "who stops lets go of the lease"


def test_without_a_trial_nothing_is_taken_or_imported(traffic):
    traffic.world.rollout.abort(MODEL, **BY)
    first, second = controller(traffic, "first"), controller(traffic, "second")
    assert first.tick() == second.tick() == []
    traffic.world.rollout.deploy(traffic.world.versions[3], rules=traffic.world.now.rules or spec().rollout, **BY)
    assert len(second.tick()) == 1, "the first had no need of the lease"


def test_its_thread_guards_a_trial_and_outlives_a_failure(traffic):
    told, fails = [], iter([True, False])
    look = traffic.live.look

    def once_failing(*args):
        if next(fails, False):
            raise OSError("the log is away")
        return look(*args)

    traffic.live.look = once_failing
    traffic.score = failing
    traffic.ask(40)
    running = controller(traffic, "first", seconds=0.01, told=told.append)
    running.start()
    while not told:
        pass
    running.stop()
    assert told[0].move is Move.ROLL_BACK
    assert traffic.world.now.challenger is None


def test_a_past_that_was_played_stays_as_it_was(traffic):
    first = controller(traffic, "first")
    traffic.world.store.notes.put(f"replay:{MODEL}", b"{}")
    assert len(first.tick()) == 1, "nothing was measured yet: it runs"
    event = Event(
        key=Digest("e" * 64), kind=EventKind.WINDOW_MEASURED, at=START, subject=MODEL, actor="kedge", message="measured"
    )
    traffic.world.store.watches.put(health(side(1)), b"state", event=event)
    traffic.world.clock.time = START + 2 * DAY
    assert len(first.tick()) == 1
    traffic.world.clock.time = START + 30 * DAY
    assert first.tick() == []
