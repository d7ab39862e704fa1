"""Every strategy whole, pauses and approvals; and that a kill at any write leaves one champion and loses no order."""

import itertools
from contextlib import suppress

import msgspec
import pytest
from tests.unit.evaluation.toys import spec
from tests.unit.rollout.health import DAY, START, side
from tests.unit.rollout.test_rollout_room import MODEL, Killed, Ports, World

from kedge.domain.alerting import AlertKind
from kedge.domain.events import EventKind
from kedge.domain.rollout import Move, RolloutRules, RuleChanges, Strategy
from kedge.errors import Conflict, NotFound, RequestInvalid
from kedge.rollout.steps import check_rules

BOTH = (side(1, 500), side(2, 500))
BY = {"actor": "person:ada", "reason": "I looked"}


@pytest.fixture
def world():
    made = World()
    made.start(1)
    yield made
    made.store.close()


def deploy(world, number=2, **rules):
    return world.rollout.deploy(world.versions[number], rules=RolloutRules(**rules), **BY)


def approve(world):
    return world.rollout.approve(spec(), MODEL, actor="person:bob", reason="go")


def test_all_at_once_is_champion_at_once_in_the_name_of_who_asked(world):
    made = deploy(world, strategy=Strategy.ALL_AT_ONCE)
    assert (made.champion, made.challenger, world.champion, made.actor) == (2, None, 2, "person:ada")
    assert made.reason == "I looked; all at once"


def test_blue_green_switches_once_and_keeps_the_old_side_until_the_bake_ends(world):
    trial = deploy(world, strategy=Strategy.BLUE_GREEN, bake="2d", hold="1h")
    assert (trial.share, trial.loaded, world.champion) == (1.0, (1, 2), 1)
    assert world.day(0, side(2)).move is Move.HOLD
    back = world.rollout.roll_back(MODEL, actor="person:ada", reason="complaints")
    assert (back.champion, back.loaded) == (1, (1,))
    deploy(world, strategy=Strategy.BLUE_GREEN, bake="2d")
    assert [world.day(day, side(2)).move for day in (1, 2)] == [Move.HOLD, Move.PROMOTE]
    assert world.champion == 2


def test_the_rules_that_a_trial_began_with_are_those_that_judge_it(world):
    deploy(world, steps=("50%", "100%"), hold="3d")
    other = RolloutRules(hold="1h", steps=("1%", "100%"))
    assert [world.day(day, *BOTH, rules=other).move for day in range(3)] == [Move.HOLD, Move.HOLD, Move.ADVANCE]
    assert world.now.share == 1.0
    assert world.now.rules.hold == "3d"


def test_a_version_may_be_tried_again_by_hand_under_another_salt_and_its_old_looks_are_forgotten(world):
    first = deploy(world)
    assert world.day(0, side(1, 1000), side(2, 0, 50)).move is Move.ROLL_BACK
    again = deploy(world)
    assert again.salt != first.salt
    look = world.day(1, side(1, 950), side(2, 50))
    assert (look.move, look.evidence < 1) == (Move.ADVANCE, True)
    with pytest.raises(Conflict, match="on trial already"):
        deploy(world)
    with pytest.raises(Conflict, match="champion already"):
        deploy(world, 1)


@pytest.mark.parametrize(
    ("strategy", "approve_what", "share", "waiting"),
    [
        (Strategy.ALL_AT_ONCE, True, 0.0, "promote"),
        (Strategy.BLUE_GREEN, True, 0.0, "100%"),
        (Strategy.CANARY, ("5%",), 0.0, "5%"),
        (Strategy.CANARY, True, 0.05, ""),
        (Strategy.SHADOW, True, 0.0, ""),
    ],
)
def test_what_waits_for_a_person_does_not_begin(world, strategy, approve_what, share, waiting):
    trial = deploy(world, strategy=strategy, approve=approve_what)
    assert (trial.share, trial.waiting, world.champion) == (share, waiting, 1)
    if not waiting:
        return
    assert [alert.kind for alert in world.notices.alerts] == [AlertKind.ROLLOUT_WAITS]
    assert world.day(0, side(1)).move is Move.HOLD
    passed = approve(world)
    assert (world.champion == 2) is (waiting == "promote")
    assert passed.actor == "person:bob"
    if waiting != "promote":
        assert (passed.waiting, passed.step, passed.share) == ("", 0, float(waiting[:-1]) / 100)


def test_a_canary_asks_before_all_traffic_and_the_one_who_let_it_pass_stands_behind_it(world):
    deploy(world, steps=("50%", "100%"), approve=True)
    assert world.day(0, *BOTH).move is Move.ASK
    assert (world.now.waiting, world.now.share) == ("100%", 0.5)
    assert [world.day(day, *BOTH).move for day in (1, 2)] == [Move.HOLD, Move.HOLD]
    assert len([alert for alert in world.notices.alerts if alert.kind is AlertKind.ROLLOUT_WAITS]) == 1
    assert approve(world).share == 1.0
    with pytest.raises(Conflict, match="waits for nobody"):
        approve(world)
    assert world.day(3, side(2)).move is Move.PROMOTE
    assert (world.now.champion, world.now.actor) == (2, "person:bob")
    assert world.now.reason.startswith("I looked; go; version 2")
    assert EventKind.ROLLOUT_APPROVED in world.kinds()


def test_harm_ends_a_trial_that_waits_or_is_paused(world):
    deploy(world, steps=("50%", "100%"), approve=True)
    world.day(0, *BOTH)
    assert world.day(1, side(1, 500), side(2, 0, 500)).move is Move.ROLL_BACK
    deploy(world, 3)
    world.rollout.pause(MODEL, **BY)
    assert world.day(2, side(1, 950), side(3, 0, 50)).move is Move.ROLL_BACK


def test_a_pause_keeps_the_step_and_does_not_count_for_its_hold(world):
    deploy(world, hold="2d")
    world.clock.time = START + DAY
    paused = world.rollout.pause(MODEL, **BY)
    assert (paused.share, paused.challenger) == (0.05, 2)
    assert "paused by person:ada" in world.day(4, side(1, 950), side(2, 50)).reason
    with pytest.raises(Conflict, match="paused already"):
        world.rollout.pause(MODEL, **BY)
    world.rollout.resume(MODEL, **BY)
    with pytest.raises(Conflict, match="not paused"):
        world.rollout.resume(MODEL, **BY)
    assert world.now.paused_seconds == 4 * 86400
    assert world.day(5, side(1, 950), side(2, 50)).move is Move.ADVANCE


def test_a_trial_without_evidence_asks_a_person_after_its_greatest_age(world):
    deploy(world, max_age="3d")
    assert [world.day(day, side(1, 1000)).move for day in range(4)] == [Move.HOLD, Move.HOLD, Move.ASK, Move.HOLD]
    assert (world.now.waiting, world.now.share) == ("25%", 0.05)
    assert "no traffic in 3 d, over the 3d allowed" in world.notices.alerts[0].message
    assert approve(world).share == 0.25


def test_verbs_without_a_trial_say_so(world):
    for call in (world.rollout.pause, world.rollout.resume, world.rollout.abort):
        with pytest.raises(NotFound, match="version 1 answers everything"):
            call(MODEL, **BY)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"hold": "soon"}, "hold: 'soon'"),
        ({"steps": ("25%", "5%", "100%")}, "steps must rise"),
        ({"steps": ("x",)}, "steps: 'x'"),
        ({"approve": ("30%",)}, "approve names 30%"),
        ({"approve": ("true",)}, "approve: 'true' is neither a step"),
        ({"alpha": 2.0}, "alpha is 2"),
        ({"bake": "-1d"}, "bake: '-1d'"),
        ({"max_disagreement": "some"}, "max_disagreement: 'some'"),
        ({"min_group": 0}, "min_group is 0"),
        ({"value": "prediction +"}, "value: 'prediction \\+' is no SQL expression"),
        ({"value": "truth * 2"}, "does not read prediction"),
        ({"value": "read_csv('/etc/passwd')"}, "unsupported function"),
    ],
)
def test_rules_that_cannot_be_followed_are_named(world, rules, said):
    with pytest.raises(RequestInvalid, match=said):
        check_rules(RolloutRules(**rules))
    with pytest.raises(RequestInvalid, match=said):
        deploy(world, **rules)


def test_changes_leave_the_other_rules_as_they_are():
    base = RolloutRules(hold="2d", sticky="flight_id")
    assert RuleChanges(bake="3d", approve=False).of(base) == msgspec.structs.replace(base, bake="3d")


def story(world):
    """Deploy, wait, pause, resume, approve, promote; and a version all at once after it."""
    rules = {"steps": ("50%", "100%"), "approve": ("100%", "promote")}
    yield lambda: world.store.deployments.find(MODEL).challenger == 2 or deploy(world, **rules)
    yield lambda: world.day(0, *BOTH)
    yield lambda: world.now.paused_at or world.now.waiting == "" or world.rollout.pause(MODEL, **BY)
    yield lambda: world.now.paused_at is None or world.rollout.resume(MODEL, **BY)
    yield lambda: world.now.waiting != "100%" or approve(world)
    yield lambda: world.day(1, side(2))
    yield lambda: world.now.waiting != "promote" or approve(world)
    yield lambda: world.day(2, side(2))
    yield lambda: world.now.champion == 3 or deploy(world, 3, strategy=Strategy.ALL_AT_ONCE)
    yield lambda: world.day(3, side(3))


@pytest.mark.parametrize("after", [False, True], ids=["before a write", "after a write"])
def test_killed_at_any_write_there_is_one_champion_and_the_story_ends_the_same(after):
    for at in itertools.count():
        world = World()
        world.start(1)
        world.open(Ports(at, after))
        died = False
        for step in story(world):
            try:
                step()
            except Killed:
                died = True
                world.open()
                served, alias = world.now, world.champion
                assert alias in served.loaded, "what answers is loaded, whether it is the old one or the new"
                with suppress(Conflict):  # it had been done
                    step()
        assert (world.now.champion, world.now.challenger, world.champion) == (3, None, 3), f"killed at write {at}"
        promoted = [move.number for move in world.registry.history(MODEL)]
        assert promoted == [1, 2, 3], "each promotion once"
        assert len({alert.key for alert in world.notices.alerts}) == 2
        world.store.close()
        if not died:
            break
    assert at >= 15
