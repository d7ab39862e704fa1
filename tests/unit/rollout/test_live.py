"""Live looks: what the log shows is judged at once, testers are left out, and each row counts once however often the
process is killed."""

import itertools

import msgspec
import numpy as np
import pytest
from tests.unit.evaluation.toys import spec
from tests.unit.memory_journal import MemoryJournal
from tests.unit.rollout.health import START
from tests.unit.rollout.test_rollout_room import MODEL, Killed, Ports, World

from kedge.domain.alerting import AlertKind
from kedge.domain.monitoring import COPIED, PredictionBatch
from kedge.domain.records import decode_batch, encode_batch
from kedge.domain.rollout import Move, RolloutRules, Strategy, TrialQuestion, takes_challenger
from kedge.domain.rows import taken
from kedge.rollout.forgetting import TrialRows
from kedge.rollout.guards import GUARDS
from kedge.rollout.judge import GUARD_COUNT
from kedge.rollout.live import LIVE_GUARDS, LiveLooks
from kedge.rollout.split import answer

SECOND = START.resolution * 1_000_000
BY = {"actor": "person:ada", "reason": "I looked"}


def better(version, rows):
    """Version 2 answers a little higher than version 1."""
    return np.asarray(rows["x"], dtype=np.float64) * 0.5 + 0.05 * (version - 1)


class Traffic:
    """A world with a log, and requests to it."""

    def __init__(self, score=better, **rules):
        self.world, self.log, self.score, self.sent = World(), MemoryJournal(), score, 0
        self.later = []
        self.rng = np.random.default_rng(5)
        self.world.start(1)
        self.world.rollout.deploy(self.world.versions[2], rules=RolloutRules(**rules), **BY)
        self.open()

    def open(self, ports=None):
        """Open the rooms anew, as a process does that starts."""
        self.world.open(ports)
        world, ports = self.world, ports or Ports()
        self.live = LiveLooks(
            deployments=ports.guard(world.store.deployments, "add_look"),
            notes=world.store.notes,
            journal=self.log,
            registry=world.registry,
            rollout=world.rollout,
            clock=world.clock,
        )

    def ask(self, requests=100, rows=1, seconds=0.01, variant="", entities=None, shift=False, slow=None, copied=None):
        """Send requests as the data plane answers and logs them; of those of a shadow the first `copied` are answered
        twice, in records of their own. None: in that of the answer, as a rehearsal does."""
        deployment = self.world.now
        for place in range(requests):
            name = f"r{self.sent}"
            self.sent += 1
            x = self.rng.random(rows)
            features = {"x": x.tolist(), "carrier": ["AA" if one < 0.5 else "UA" for one in x]}
            names = entities or [f"e{self.rng.integers(10_000)}" for _ in range(rows)]
            chosen = {"champion": 1, "challenger": 2}.get(variant)
            asked = msgspec.structs.replace(deployment, champion=chosen, challenger=None) if chosen else deployment
            found = answer(asked, features, entities=names, score=better if chosen else self.score)
            versions = [3 - version for version in found.versions] if shift else found.versions
            batch = PredictionBatch(
                request=name,
                model=MODEL,
                at=self.world.clock.time,
                revision=deployment.revision,
                service="",
                entities=names,
                versions=versions,
                features=features,
                as_of={},
                outputs=found.outputs,
                batches=found.batches,
                shadow=found.shadow,
                errors=found.errors,
                seconds=slow(found.versions) if slow else {"predict": seconds},
                variant=variant,
            )
            if copied is None:
                self.log.append(encode_batch(batch))
                continue
            self.log.append(encode_batch(msgspec.structs.replace(batch, shadow={}, errors={})))
            if place < copied:
                self.later.append(encode_batch(msgspec.structs.replace(batch, variant=COPIED)))

    def catch_up(self):
        """Log what the shadow answered."""
        for payload in self.later:
            self.log.append(payload)
        self.later.clear()

    def look(self, after=10.0):
        self.world.clock.time += after * SECOND
        return self.live.look(spec(), MODEL)

    @property
    def tally(self):
        return self.live.tally(MODEL)


def failing(version, rows):
    if version == 2:
        raise ValueError("no such column")
    return better(version, rows)


def test_each_guard_has_its_part_of_the_level():
    assert len(GUARDS) + len(LIVE_GUARDS) == GUARD_COUNT


def test_a_challenger_that_breaks_is_rolled_back_in_seconds_and_one_that_works_is_not():
    good = Traffic(steps=("50%", "100%"))
    good.ask(300)
    look = good.look()
    assert (look.move, look.errors, look.rows + look.champion_rows) == (Move.HOLD, 0, 300)
    assert max(found.odds for found in look.guards.values()) < 1.5
    good.score = failing
    good.ask(40)
    look = good.look()
    assert (look.move, "errors: it failed on" in look.reason) == (Move.ROLL_BACK, True)
    assert (good.world.now.challenger, good.world.champion) == (None, 1)
    assert good.look() is None
    assert len(good.world.notices.alerts) == 1


def test_a_slow_challenger_is_found_where_the_champions_requests_wait_for_its_calls():
    def answered_together(versions):
        ours = 2 in versions
        return {"queue": 0.1} | {"predict": 3.0, "challenger": 3.0} if ours else {"queue": 3.1, "predict": 0.01}

    traffic = Traffic(steps=("50%", "100%"))
    traffic.ask(300, slow=answered_together)
    look = traffic.look()
    assert look.move is Move.ROLL_BACK
    assert "latency" in look.reason or "over" in look.reason
    assert (traffic.tally.theirs.slow, traffic.tally.ours.slow) == (0, traffic.tally.ours.requests)


def test_a_shadow_is_timed_by_its_own_call():
    traffic = Traffic(strategy=Strategy.SHADOW)
    traffic.ask(20, slow=lambda versions: {"queue": 5.0, "predict": 0.01, "challenger": 3.0})
    traffic.ask(20, slow=lambda versions: {"queue": 5.0, "predict": 3.0, "challenger": 0.01})
    traffic.look()
    assert (traffic.tally.ours.slow, traffic.tally.ours.rows) == (20, 40)


def test_slow_requests_are_harm_and_a_slow_machine_is_not():
    traffic = Traffic(steps=("50%", "100%"), max_latency="100ms")
    traffic.ask(60, seconds=0.2)
    assert traffic.look().move is Move.HOLD, "both sides are slow"
    alone = Traffic(strategy=Strategy.BLUE_GREEN, max_latency="100ms")
    alone.ask(3, seconds=0.2)
    assert alone.look().move is Move.HOLD, "three slow requests prove nothing"
    alone.ask(60, seconds=0.2)
    look = alone.look()
    assert (look.move, "63 of 63 requests took over 100ms" in look.reason) == (Move.ROLL_BACK, True)


def test_answers_far_outside_are_harm():
    def sure(version, rows):
        return better(1, rows) if version == 1 else np.full(len(rows["x"]), 0.99)

    traffic = Traffic(sure, steps=("50%", "100%"))
    traffic.ask(400)
    look = traffic.look()
    assert (look.move, "answers: its mean answer is 0.99" in look.reason) == (Move.ROLL_BACK, True)


def test_a_step_advances_after_its_hold_and_holds_without_traffic():
    traffic = Traffic(steps=("50%", "100%"), hold="1min", bake="30s")
    assert "no traffic" in traffic.look().reason
    traffic.ask(50)
    assert "has lasted" in traffic.look().reason
    assert traffic.look(50).move is Move.ADVANCE
    assert (traffic.world.now.share, traffic.world.now.since) == (1.0, traffic.world.clock.time)
    assert "no traffic" in traffic.look(40).reason, "what came in the step before does not count"
    traffic.ask(10)
    assert traffic.look().move is Move.PROMOTE
    assert traffic.world.champion == traffic.world.now.champion == 2


@pytest.mark.parametrize(
    ("asked", "then"),
    [({"labels": True}, "100%"), ({"question": TrialQuestion.SUPERIORITY, "steps": ("100%",)}, "promote"), ({}, "100%")],
)
def test_a_trial_without_the_evidence_it_asks_for_tells_people_at_its_greatest_age(asked, then):
    """Live looks are the only ones at a model that is no project's: they hold, and at last a person is asked, once."""
    traffic = Traffic(**{"steps": ("50%", "100%"), "hold": "1min", "max_age": "10min", **asked})
    if asked:  # else it is traffic that does not come
        traffic.ask(50)
    assert (traffic.look(120).move, traffic.world.notices.alerts) == (Move.HOLD, [])
    look = traffic.look(600)
    lacking = "labels have not let it go on" if asked else "it has had no traffic"
    assert (look.move, lacking in look.reason, "over the 10min allowed" in look.reason) == (Move.ASK, True, True)
    assert traffic.world.now.waiting == then
    traffic.open()
    assert traffic.look().move is Move.HOLD
    (alert,) = traffic.world.store.watches.alerts(MODEL)
    assert (alert.kind, len(traffic.world.notices.alerts)) == (AlertKind.ROLLOUT_WAITS, 1)
    assert f'kedge deploy approve {MODEL} --reason "' in alert.message
    passed = traffic.world.rollout.approve(spec(), MODEL, **BY)
    assert (passed.waiting, passed.champion if then == "promote" else passed.share) == ("", 2 if then == "promote" else 1.0)


def test_superiority_is_asked_of_the_last_step_alone():
    traffic = Traffic(steps=("50%", "100%"), hold="1min", question=TrialQuestion.SUPERIORITY)
    traffic.ask(50)
    assert traffic.look(61).move is Move.ADVANCE


def test_a_shadow_is_compared_row_by_row():
    def other(version, rows):
        x = np.asarray(rows["x"])
        return x if version == 1 else np.where(x > 0.9, 0.1, x)

    traffic = Traffic(other, strategy=Strategy.SHADOW, slices=("carrier",), min_group=50)
    traffic.ask(100, rows=4)
    look = traffic.look()
    compared = look.comparison
    assert (look.move, compared.pairs, look.share_seen) == (Move.HOLD, 400, None)
    assert 20 < compared.disagreed < 60
    assert compared.psi > 0.1
    assert compared.ks == pytest.approx(compared.disagreed / 400, abs=0.03)
    assert compared.largest[0].champion > 0.99
    assert compared.largest[0].features["carrier"] == "UA"
    assert compared.largest[0].features["x"] == compared.largest[0].champion
    by_value = {one.value: one for one in look.slices}
    assert (by_value["AA"].disagreed, by_value["UA"].disagreed) == (0, compared.disagreed)
    strict = Traffic(other, strategy=Strategy.SHADOW, max_disagreement="1%")
    strict.ask(100, rows=4)
    assert "it decides otherwise on" in strict.look().reason
    assert strict.world.now.challenger is None


def test_a_shadow_that_answers_later_and_not_all_is_compared_by_what_both_answered():
    def other(version, rows):
        x = np.asarray(rows["x"])
        return x if version == 1 else np.where(x > 0.9, 0.1, x)

    looks = []
    for copied in (None, 60):
        traffic = Traffic(other, strategy=Strategy.SHADOW, slices=("carrier",), min_group=50)
        traffic.ask(60, rows=4, copied=copied)
        traffic.ask(0 if copied is None else 40, rows=4, copied=0)
        first = traffic.look()
        traffic.catch_up()
        traffic.catch_up()
        traffic.open()
        looks.append(traffic.look())
    assert (first.comparison.rows, first.comparison.pairs, first.champion_rows) == (400, 0, 0)
    assert "has had no traffic" in first.reason, "nothing was compared yet"
    inline, later = looks
    assert (inline.comparison.rows, later.comparison.rows, later.comparison.pairs) == (240, 400, 240)
    same = {"looked_at": inline.looked_at, "comparison": msgspec.structs.replace(later.comparison, rows=240)}
    assert msgspec.structs.replace(later, **same) == inline


def test_a_record_of_a_copy_that_is_read_twice_counts_once():
    traffic = Traffic(failing, strategy=Strategy.SHADOW)
    traffic.ask(3, copied=3)
    twice = list(traffic.later)
    traffic.catch_up()
    for payload in twice:
        traffic.log.append(payload)
    look = traffic.look()
    assert (look.comparison.rows, look.errors, look.requests, look.overridden) == (3, 3, 3, 0)


def test_an_erased_row_does_not_come_back_from_what_a_process_has_read():
    traffic = Traffic(strategy=Strategy.SHADOW)
    traffic.ask(50, rows=4)
    worst = traffic.look().comparison.largest[0]
    assert worst.entity.startswith("e")
    traffic.ask(5)
    store = traffic.world.store
    rows = TrialRows(deployments=store.deployments, notes=store.notes)
    real, asked = store.notes.get, []

    def erased_in_between(name):
        """Erase when the look has read the log and is about to be written."""
        asked.append(name)
        if len(asked) == 2:
            assert rows.forget(lambda row, _: row.entity == worst.entity) == 1
        return real(name)

    store.notes.get = erased_in_between
    look = traffic.look()
    assert (look.rows, len(asked) > 2) == (205, True)
    for kept in (*store.deployments.looks(MODEL), look):
        assert worst.entity not in {one.entity for one in kept.comparison.largest}
        assert len(kept.comparison.largest) >= 5
    assert rows.forget(lambda row, _: row.entity == worst.entity, model=MODEL) == 0


def test_a_shadow_that_decides_the_other_way_is_ended_though_its_mean_is_the_same():
    def inverted(version, rows):
        x = np.asarray(rows["x"], dtype=np.float64)
        return x if version == 1 else 1 - x

    traffic = Traffic(inverted, strategy=Strategy.SHADOW)
    traffic.ask(100, rows=4)
    look = traffic.look()
    assert (look.move, traffic.world.now.challenger) == (Move.ROLL_BACK, None)
    assert "it decides otherwise on 400 of 400 rows; 25% is allowed" in look.reason
    free = Traffic(inverted, strategy=Strategy.SHADOW, max_disagreement="100%")
    free.ask(100, rows=4)
    assert free.look().move is Move.HOLD


def test_a_slice_that_breaks_is_found_and_a_small_one_is_named_not_judged():
    def breaks(version, rows):
        outputs = better(version, rows)
        return np.where(np.asarray(rows["x"]) < 0.1, np.nan, outputs) if version == 2 else outputs

    rules = {"steps": ("50%", "100%"), "slices": ("carrier",)}
    for least, judged in ((10, True), (100_000, False)):
        traffic = Traffic(breaks, **rules, min_group=least)
        traffic.ask(400)
        look = traffic.look()
        assert [one.judged for one in look.slices] == [judged] * 2
        assert ("slices" in look.guards) is judged
        assert {one.value: one.errors > 0 for one in look.slices} == {"AA": True, "UA": False}


def test_testers_rows_are_marked_and_left_out():
    traffic = Traffic(failing, steps=("50%", "100%"))
    traffic.ask(50, variant="challenger")
    traffic.ask(50, variant="champion")
    look = traffic.look()
    assert (look.move, look.overridden, look.rows, look.errors, look.misrouted) == (Move.HOLD, 100, 0, 0, 0)
    assert "no traffic" in look.reason


def test_rows_that_went_elsewhere_than_the_split_sends_them_hold_the_trial():
    traffic = Traffic(steps=("50%", "100%"), hold="1min")
    traffic.ask(20)
    traffic.ask(3, shift=True)
    look = traffic.look(100)
    assert (look.move, look.misrouted) == (Move.HOLD, 3)
    assert "3 rows did not go where the split, computed again, sends them" in look.reason


def test_hashed_entities_and_sampled_rows_are_read_as_they_were_logged():
    traffic = Traffic(failing, steps=("50%", "100%"))
    traffic.ask(1, rows=200)
    [(_, payload)] = traffic.log.scan()
    whole = decode_batch(payload)
    kept = taken(whole, [place for place in range(200) if place % 3 == 0])
    hashed = msgspec.structs.replace(whole, request="h", entities=[f"#{one}" for one in whole.entities], hidden=["plane"])
    for name, batch, rows in (("s", kept, 67), ("h", hashed, 200)):
        other = Traffic(steps=("50%", "100%"))
        again = msgspec.structs.replace(batch, request=name, revision=other.world.now.revision)
        other.log.append(encode_batch(again))
        look = other.look()
        assert (look.misrouted, look.rows, look.errors + look.champion_rows) == (0, 0, rows)
        assert look.errors == len(batch.errors) > 0


def test_few_entities_are_told_from_a_split_that_is_not_followed():
    one = Traffic(steps=("50%", "100%"), hold="1min")
    one.ask(500, entities=["the same"])
    look = one.look(100)
    assert (look.entities, look.split_odds < 10) == (1, True), "one entity is one draw, however many rows it sends"
    many = Traffic(steps=("50%", "100%"), hold="1min")
    names = [name for name in (f"e{n}" for n in range(400)) if takes_challenger(many.world.now, name)]
    many.ask(1, rows=len(names), entities=names)
    look = many.look(100)
    assert (look.move, "entities came to it where 50.0% was set" in look.reason) == (Move.HOLD, True)


def test_a_request_sent_again_and_rows_of_another_trial_do_not_count():
    traffic = Traffic(steps=("50%", "100%"))
    traffic.ask(20)
    for _, payload in list(traffic.log.scan()):
        traffic.log.append(payload)
    assert traffic.look().rows + traffic.look().champion_rows == 20
    traffic.world.rollout.abort(MODEL, **BY)
    traffic.ask(10)
    traffic.world.rollout.deploy(traffic.world.versions[3], rules=RolloutRules(), **BY)
    traffic.ask(5)
    look = traffic.look()
    assert (look.challenger, look.rows + look.champion_rows) == (3, 5)


def test_looks_are_written_when_they_decide_and_else_at_growing_spans():
    traffic = Traffic(steps=("50%", "100%"), hold="1h", bake="1h")
    for _ in range(240):
        traffic.ask(1)
        traffic.look(15)
    looks = traffic.world.store.deployments.looks(MODEL)
    assert 40 < len(looks) < 200
    spans = [(after.looked_at - before.looked_at).total_seconds() for before, after in itertools.pairwise(looks)]
    assert (min(spans), max(spans) > 50) == (15.0, True)
    assert looks[-1].move is Move.ADVANCE
    assert looks[-1].rows + looks[-1].champion_rows == 240


def test_two_processes_that_look_count_each_row_once():
    traffic = Traffic(steps=("50%", "100%"), hold="1min")
    other = LiveLooks(
        deployments=traffic.world.store.deployments,
        notes=traffic.world.store.notes,
        journal=traffic.log,
        registry=traffic.world.registry,
        rollout=traffic.world.rollout,
        clock=traffic.world.clock,
    )
    for turn in range(12):
        traffic.ask(10)
        traffic.look()
        second = other.look(spec(), MODEL)
        assert second is None or second.rows + second.champion_rows == 10 * (turn + 1)
    assert [each.share for each in traffic.world.store.deployments.list(MODEL)] == [0.0, 0.5, 1.0, 0.0]


@pytest.mark.parametrize("after", [False, True], ids=["before a write", "after a write"])
@pytest.mark.parametrize("breaks", [False, True], ids=["promoted", "rolled back"])
def test_killed_at_any_write_every_row_counts_once_and_no_act_happens_twice(after, breaks):
    for at in itertools.count():
        traffic = Traffic(steps=("50%", "100%"), hold="20s")
        traffic.open(Ports(at, after))
        died, sent = False, 0
        for turn in range(7):
            if traffic.world.now.challenger is not None:
                traffic.score = failing if breaks and turn > 0 else better
                traffic.ask(10)
                sent += 10
            try:
                look = traffic.look()
            except Killed:
                died = True
                traffic.open()
                look = traffic.look(0)
            if look is not None:
                assert look.rows + look.errors + look.champion_rows == sent, f"killed at write {at}, turn {turn}"
        deployments = traffic.world.store.deployments.list(MODEL)
        champion = 1 if breaks else 2
        assert (traffic.world.now.champion, traffic.world.now.challenger, traffic.world.champion) == (
            champion,
            None,
            champion,
        )
        assert [each.share for each in deployments] == ([0.0, 0.5, 0.0] if breaks else [0.0, 0.5, 1.0, 0.0])
        assert len({alert.key for alert in traffic.world.notices.alerts}) == int(breaks)
        traffic.world.store.close()
        if not died:
            break
    assert at >= 4


def test_the_windows_look_does_not_take_live_looks_for_its_own():
    traffic = Traffic(steps=("50%", "100%"))
    traffic.ask(100)
    traffic.look()
    looks = traffic.world.store.deployments.looks(MODEL)
    assert [look.live for look in looks] == [True]
