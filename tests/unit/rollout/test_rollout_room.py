import itertools

import msgspec
import pytest
from tests.unit.evaluation.toys import Blobs, Clock, Tables, ToyFormat, candidate, spec
from tests.unit.registry.versions import version_of
from tests.unit.rollout.health import DAY, START, health, side

from kedge.domain.alerting import AlertKind
from kedge.domain.durations import span_of
from kedge.domain.events import EventKind
from kedge.domain.ids import ModelName, RunId
from kedge.domain.retraining import Retrain
from kedge.domain.rollout import Move, RolloutRules, Strategy
from kedge.errors import NotFound
from kedge.evaluation.load import ModelLoader
from kedge.evaluation.room import Evaluation
from kedge.registry.room import Registry
from kedge.rollout.room import Rollout
from kedge.storage.sql import open_store

MODEL = ModelName("flights")
BECAUSE = Retrain("regret 41 is over 40", "policy:ledger")


class Killed(BaseException):
    """The process dies here."""


class Ports:
    """Counts the writes that go through it, and dies just before or just after one of them."""

    def __init__(self, at=None, after=False):
        self.left, self.after = at, after

    def guard(self, port, *names):
        ports = self

        class Guarded:
            def __getattr__(self, name):
                call = getattr(port, name)
                return ports._dying(call) if name in names else call

        return Guarded()

    def _dying(self, call):
        def write(*args, **named):
            dies = self.left == 0
            self.left = None if self.left is None else self.left - 1
            if dies and not self.after:
                raise Killed
            call(*args, **named)
            if dies:
                raise Killed

        return write


class Notices:
    """The notices of what was raised, oldest first, as the outbox has them."""

    def __init__(self, store):
        self.store = store

    @property
    def alerts(self):
        return [notice.life.newest for _, notice in self.store.alerts.notices(limit=1000)]


class World:
    """A store with versions 1 to 4 registered, and rooms over it that may be killed and opened again."""

    def __init__(self):
        self.store, self.clock, self.blobs = open_store("sqlite://"), Clock(START), Blobs()
        self.notices = Notices(self.store)
        self.versions = {}
        self.open()
        for number in (1, 2, 3, 4):
            made = candidate(self.blobs, 1.0 / number, run=f"run-{number}")
            version = msgspec.structs.replace(version_of(made, number=number), run=RunId(f"run-{number}"))
            self.store.models.add(version, self.registry._registered(version))
            self.versions[number] = version

    def open(self, ports=None):
        ports = ports or Ports()
        evaluation = Evaluation(
            blobs=self.blobs,
            loader=ModelLoader(blobs=self.blobs, formats=(ToyFormat(),)),
            events=self.store.events,
            clock=self.clock,
        )
        models = ports.guard(self.store.models, "move")
        self.registry = Registry(models=models, blobs=self.blobs, tables=Tables(), evaluation=evaluation, clock=self.clock)
        self.rollout = Rollout(
            deployments=ports.guard(self.store.deployments, "put", "add_look"),
            registry=self.registry,
            watches=ports.guard(self.store.watches, "raise_alert"),
            clock=self.clock,
        )

    def start(self, number, rules=None):
        return self.rollout.start(spec(rollout=rules or RolloutRules()), self.versions[number], BECAUSE)

    def day(self, number, *sides, rules=None):
        """Let a day pass, and settle by what was seen in it."""
        self.clock.time = START + (number + 1) * DAY
        return self.rollout.settle(spec(rollout=rules or RolloutRules()), health(*sides, day=number))

    @property
    def now(self):
        return self.store.deployments.find(MODEL)

    @property
    def champion(self):
        return self.registry.champion(MODEL).number

    def kinds(self):
        return [event.kind for _, event in reversed(self.store.events.list(limit=200))][4:]

    def state(self):
        """All that must be the same however often the process was killed."""
        deployments = [msgspec.to_builtins(each) for each in self.store.deployments.list(MODEL)]
        alerts = [alert.key for alert in self.store.watches.alerts(MODEL)]
        moves = [(move.number, move.previous, move.actor, move.reason) for move in self.registry.history(MODEL)]
        return (
            deployments,
            [look.move for look in self.store.deployments.looks(MODEL)],
            alerts,
            moves,
            sorted(k.value for k in self.kinds()),
        )


@pytest.fixture
def world():
    made = World()
    yield made
    made.store.close()


GOOD = (side(1, 950), side(2, 50))


def test_the_first_version_is_champion_at_once_and_once(world):
    deployment = world.start(1)
    assert (deployment.revision, deployment.champion, deployment.challenger) == (1, 1, None)
    assert world.start(1) == deployment
    assert (world.champion, deployment.actor) == (1, "policy:ledger")
    assert world.kinds() == [EventKind.MODEL_PROMOTED, EventKind.ALIAS_MOVED]
    assert world.day(0, side(1)) is None


def test_a_canary_walks_its_steps_and_is_promoted_in_its_starters_name(world):
    world.start(1)
    first = world.start(2)
    assert (first.champion, first.challenger, first.share, first.strategy) == (1, 2, 0.05, Strategy.CANARY)
    assert world.start(2) == first
    moves = [world.day(0, *GOOD).move, world.day(1, side(1, 750), side(2, 250)).move, world.day(2, side(2, 1000)).move]
    assert moves == [Move.ADVANCE, Move.ADVANCE, Move.PROMOTE]
    shares = [each.share for each in world.store.deployments.list(MODEL)]
    assert shares == [0.0, 0.05, 0.25, 1.0, 0.0]
    assert (world.now.champion, world.now.challenger, world.champion, world.now.actor) == (2, None, 2, "policy:ledger")
    assert world.now.since == START + 3 * DAY
    assert world.kinds()[2:] == [
        EventKind.ROLLOUT_STARTED,
        EventKind.ROLLOUT_LOOKED,
        EventKind.ROLLOUT_ADVANCED,
        EventKind.ROLLOUT_LOOKED,
        EventKind.ROLLOUT_ADVANCED,
        EventKind.ROLLOUT_LOOKED,
        EventKind.ALIAS_MOVED,
        EventKind.MODEL_PROMOTED,
    ]
    assert world.start(1).revision == world.start(2).revision == 5, "what was deployed before is not tried again"


def test_one_look_a_window_even_where_the_clock_went_on(world):
    world.start(1)
    world.start(2)
    look = world.day(0, *GOOD)
    before = world.state()
    world.clock.time += DAY / 3
    assert world.rollout.settle(spec(), health(*GOOD)) == look
    assert world.state() == before
    assert world.now.since == START + DAY, "the next step counts from the window's end"


def test_a_window_from_before_the_trial_is_not_looked_at(world):
    world.start(1)
    world.clock.time = START + DAY
    world.start(2)
    assert world.rollout.settle(spec(), health(side(1))) is None
    assert world.rollout.settle(spec(), health(side(1), day=-1)) is None


def test_harm_brings_the_champion_back_and_tells_people_once(world):
    world.start(1)
    world.start(2)
    look = world.day(0, side(1, 1000), side(2, 0, 50))
    assert look.move is Move.ROLL_BACK
    assert (world.now.champion, world.now.challenger, world.champion, world.now.actor) == (1, None, 1, "policy:rollout")
    [alert] = world.store.watches.alerts(MODEL)
    assert (alert.kind, alert.subject, alert in world.notices.alerts) == (AlertKind.ROLLED_BACK, "flights@2", True)
    assert "failed on 50 of 50 rows" in alert.message
    assert world.day(1, side(1)) is None
    assert len(world.notices.alerts) == 1


def test_a_new_challenger_supersedes_the_one_on_trial_with_another_salt(world):
    world.start(1)
    salt = world.start(2).salt
    deployment = world.start(3)
    assert (deployment.champion, deployment.challenger, deployment.revision) == (1, 3, 4)
    assert deployment.salt != salt
    assert world.store.deployments.find(MODEL, 3).reason == "superseded by version 3"
    assert world.store.watches.alerts(MODEL) == []
    assert world.start(2) == deployment


def test_no_traffic_holds_the_step(world):
    world.start(1)
    world.start(2)
    assert [world.day(day, side(1, 1000)).move for day in range(3)] == [Move.HOLD] * 3
    assert world.now.step == 0


@pytest.mark.parametrize(("strategy", "share"), [(Strategy.SHADOW, 0.0), (Strategy.BLUE_GREEN, 1.0)])
def test_shadow_and_blue_green_promote_after_their_hold(world, strategy, share):
    rules = RolloutRules(strategy=strategy, hold="2d")
    world.start(1)
    assert world.start(2, rules).share == share
    assert world.day(0, side(1), side(2), rules=rules).move is Move.HOLD
    assert world.day(1, side(1), side(2), rules=rules).move is Move.PROMOTE
    assert world.champion == world.now.champion == 2


def test_a_person_may_promote_abort_and_go_back(world):
    world.start(1)
    for call in (world.rollout.promote, world.rollout.abort):
        with pytest.raises(NotFound, match="version 1 answers everything"):
            call(MODEL, actor="ada", reason="now")
    with pytest.raises(NotFound, match="nothing is deployed"):
        world.rollout.abort(ModelName("bikes"), actor="ada", reason="now")
    world.start(2)
    assert world.rollout.promote(MODEL, actor="ada", reason="I looked").champion == 2
    assert (world.champion, world.now.actor, world.now.reason) == (2, "ada", "I looked")
    world.start(3)
    aborted = world.rollout.abort(MODEL, actor="bob", reason="holiday")
    assert (aborted.champion, aborted.challenger, aborted.actor) == (2, None, "bob")
    back = world.rollout.roll_back(MODEL, actor="bob", reason="complaints")
    assert (back.champion, world.champion, back.actor) == (1, 1, "bob")
    assert world.kinds()[-1] is EventKind.MODEL_ROLLED_BACK


def test_going_back_ends_a_trial_first_and_then_goes_to_the_champion_before(world):
    world.start(1)
    world.start(2)
    world.rollout.promote(MODEL, actor="ada", reason="good")
    world.start(3)
    ended = world.rollout.roll_back(MODEL, actor="ada", reason="not this one")
    assert (ended.champion, ended.challenger) == (2, None)
    back = world.rollout.roll_back(MODEL, actor="ada", reason="bad after all")
    assert (back.champion, back.challenger, world.champion) == (1, None, 1)


def test_a_person_may_promote_any_version_by_its_number(world):
    with pytest.raises(NotFound, match="nothing is deployed"):
        world.rollout.promote(MODEL, 2, actor="ada", reason="now")
    world.start(1)
    world.start(2)
    newer = world.rollout.promote(MODEL, 4, actor="ada", reason="it is better")
    assert (newer.champion, newer.challenger, world.champion, world.kinds()[-1]) == (4, None, 4, EventKind.MODEL_PROMOTED)
    older = world.rollout.promote(MODEL, 1, actor="ada", reason="it was not")
    assert (older.champion, world.champion, world.kinds()[-1]) == (1, 1, EventKind.MODEL_ROLLED_BACK)
    world.start(3)
    kept = world.rollout.promote(MODEL, 1, actor="ada", reason="stay")
    assert (kept.champion, kept.challenger) == (1, None)
    with pytest.raises(NotFound, match="no version 9"):
        world.rollout.promote(MODEL, 9, actor="ada", reason="typo")


def test_a_champion_alias_moved_elsewhere_is_followed(world):
    world.start(1)
    world.registry.promote(MODEL, 4, actor="mlflow:ada", reason="by another door")
    assert world.day(0, side(1)) is None
    assert (world.now.champion, world.now.actor) == (4, "mlflow:ada")


def test_nothing_deployed_means_nothing_to_settle(world):
    assert world.day(0) is None


STORIES = {
    "promoted": [GOOD, (side(1, 750), side(2, 250)), (side(2, 1000),), (side(2, 1000),)],
    "rolled back": [GOOD, (side(1, 1000), side(2, 0, 250)), (side(1, 1000),)],
}


def play(world, days, kill=None):
    """Play a story; where the process dies, open the rooms anew and make the same call again."""
    died = False
    world.open(kill)
    steps = [lambda: world.start(1), lambda: world.start(2)]
    steps += [lambda day=day, sides=sides: world.day(day, *sides) for day, sides in enumerate(days)]
    for step in steps:
        try:
            step()
        except Killed:
            died = True
            world.open()
            step()
    return died


@pytest.mark.parametrize("after", [False, True], ids=["before a write", "after a write"])
@pytest.mark.parametrize("story", STORIES)
def test_killed_at_any_write_and_called_again_it_ends_in_the_same_state(story, after):
    calm = World()
    assert not play(calm, STORIES[story])
    expected = calm.state()
    for at in itertools.count():
        world = World()
        died = play(world, STORIES[story], Ports(at, after))
        assert world.state() == expected, f"killed at write {at}"
        assert {alert.key for alert in world.notices.alerts} == {alert.key for alert in calm.notices.alerts}
        world.store.close()
        if not died:
            break
    assert at >= 9


@pytest.mark.parametrize("after", [False, True])
def test_a_killed_decision_is_finished_by_the_next_window(after):
    """The window itself is not settled again: whoever comes next finds the look and does the rest."""
    for at in range(8):
        world = World()
        world.start(1)
        world.start(2, RolloutRules(strategy=Strategy.BLUE_GREEN))
        world.open(Ports(at, after))
        rules = RolloutRules(strategy=Strategy.BLUE_GREEN)
        try:
            world.day(0, side(2, 1000), rules=rules)
        except Killed:
            world.open()
        world.day(1, side(2, 1000), rules=rules)
        assert (world.now.champion, world.now.challenger, world.champion) == (2, None, 2)
        world.store.close()


def test_a_killed_hand_promotion_is_finished_by_settle():
    world = World()
    world.start(1)
    world.start(2)
    world.open(Ports(0, after=True))
    with pytest.raises(Killed):
        world.rollout.promote(MODEL, actor="ada", reason="I looked")
    world.open()
    world.day(0, *GOOD)
    assert (world.now.champion, world.now.challenger, world.now.actor) == (2, None, "ada")


def test_a_step_lasts_its_hold_in_days_of_windows(world):
    rules = RolloutRules(hold="2d", steps=("50%",))
    world.start(1)
    world.start(2, rules)
    assert span_of(rules.hold) == 2 * DAY
    assert [world.day(day, side(1, 500), side(2, 500), rules=rules).move for day in (0, 1)] == [Move.HOLD, Move.PROMOTE]
