"""Decisions as they are made window after window: written once, read again after a kill, held back by hard limits."""

from datetime import timedelta

import msgspec
import pytest
from tests.unit.monitoring.world import DAY, MODEL, SPEC, START, SetClock, version

from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.evaluation import Finding, Gain, Outcome, Verdict
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import Digest, ExperimentId, RunId, digest_of
from kedge.domain.monitoring import Drift, Health, Risk, StepLosses, Window
from kedge.domain.project import Budget
from kedge.domain.registry import Candidate
from kedge.domain.retraining import Look, Price, Retrain, RetrainingRules, Wait
from kedge.domain.rollout import Deployment
from kedge.domain.tracking import Code, Environment, Experiment, Run, RunStatus, Usage
from kedge.errors import ConfigError, DataInvalid, TrainingFailed
from kedge.retraining.asking import RetrainRequests
from kedge.retraining.budget import recent_runs, spent
from kedge.retraining.ended import newest_end, turn_end
from kedge.retraining.ledger import Observation
from kedge.retraining.room import Retraining, history_note
from kedge.retraining.standing import standing
from kedge.storage.sql.store import open_store

REFUSED = Verdict(
    outcome=Outcome.REFUSED, findings=(Finding(check="baseline", outcome=Outcome.REFUSED, reason="worse than a constant"),)
)


def spec_of(policy="ledger", *, retrain=40.0, cpu_hour=0.0, budget=None, **rules):
    retraining = RetrainingRules(policy=policy, price=Price(retrain=retrain, cpu_hour=cpu_hour), **rules)
    training = msgspec.structs.replace(SPEC.training, budget=budget or Budget())
    return msgspec.structs.replace(SPEC, retraining=retraining, training=training)


class Loop:
    """A room with its store, and windows that follow one another."""

    def __init__(self, spec=None) -> None:
        self.spec = spec or spec_of()
        self.meta, self.clock = open_store("sqlite://"), SetClock()

    @property
    def room(self) -> Retraining:
        """A new one for each call: whatever it knows stands in the store."""
        return Retraining(
            ledgers=self.meta.ledgers,
            watches=self.meta.watches,
            deployments=self.meta.deployments,
            runs=self.meta.runs,
            events=self.meta.events,
            notes=self.meta.notes,
            asking=self.asking,
            clock=self.clock,
        )

    @property
    def asking(self) -> RetrainRequests:
        return RetrainRequests(
            triggers=self.meta.triggers, datasets=self.meta.datasets, notes=self.meta.notes, clock=self.clock
        )

    def deploy(self, champion=1, *, challenger=None, at=START) -> None:
        newest = self.meta.deployments.find(MODEL)
        revision = newest.revision + 1 if newest else 1
        deployment = Deployment(
            model=MODEL, revision=revision, champion=champion, challenger=challenger, since=at, actor="a", reason="r"
        )
        event = Event(key=digest_of(revision), kind=EventKind.MODEL_PROMOTED, at=at, subject=MODEL, actor="a", message="")
        self.meta.deployments.put(deployment, event)

    def health(self, day: int, *, labels=7000, loss=0.5, age=None, closes=None, **more) -> Health:
        window = Window(START + (day - 1) * DAY, START + day * DAY)
        self.clock.time = window.end
        step = None
        if closes if closes is not None else day % 7 == 0:
            age = day / 7 if age is None else age
            step = StepLosses(
                start=window.end - 7 * DAY,
                end=window.end,
                rows=labels,
                champion=1,
                losses={1: loss} if labels else {},
                ages={1: age},
                labels=labels,
            )
        known = {"rows": 1000, "labels": 1000, "versions": (), "blocks": (), "drift": (), "risk": None, "alerts": ()}
        known |= {"loss": loss, "step": step, "champion": 1, "fresh_labels": 1000 * day}
        return Health(model=MODEL, window=window, **{**known, **more})

    def decide(self, day: int, **more):
        return self.room.decide(self.spec, self.health(day, **more))

    def entry(self):
        return self.meta.ledgers.last(MODEL)


def loop(policy="ledger", **rules) -> Loop:
    made = Loop(spec_of(policy, **rules))
    made.deploy()
    return made


def test_without_a_model_the_first_one_is_ordered_and_an_attempt_rests() -> None:
    empty = Loop()
    assert empty.decide(1) == Retrain("no model yet", "policy:ledger", START + DAY)
    empty.room.failed(empty.spec, Retrain("no model yet", "policy:ledger"), TrainingFailed("it raised"))
    assert "has ended" in empty.decide(1).reason
    assert isinstance(empty.decide(2), Wait)
    assert "cooldown" in empty.decide(2).reason
    assert isinstance(empty.decide(5), Retrain)


def test_nothing_is_written_until_a_step_closes() -> None:
    quiet = loop(retrain=4000.0, cpu_hour=0.0)
    for day in range(1, 7):
        assert isinstance(quiet.decide(day), Wait)
    assert quiet.entry() is None
    decision = quiet.decide(7)
    entry = quiet.entry()
    assert isinstance(decision, Wait)
    assert decision.reason == entry.reason == "regret 35.0 of 4000.0: retrains in about 95 days at this rate"
    assert (entry.window, entry.step, entry.policy, entry.decision) == (quiet.health(7).window.id, 1, "ledger", "wait")
    assert quiet.decide(7) == decision
    assert len(quiet.meta.ledgers.list(MODEL)) == 1


def test_the_ledger_trains_when_the_regret_meets_the_price() -> None:
    steady = loop(retrain=70.0, cpu_hour=1e9)  # looks would cost too much
    run_of(steady, cpu_seconds=3600.0)
    assert "regret 35.0 of 70.0" in steady.decide(7).reason
    decision = steady.decide(14)
    assert turn_end(steady.meta, steady.entry()) is None
    assert "it has not ended yet" in standing(steady.spec, steady.meta.ledgers.list(MODEL)).words
    assert decision == Retrain("regret 105.0 has reached the price of a retraining, 70.0", "policy:ledger", START + 14 * DAY)
    assert steady.entry().phi > 1
    assert steady.decide(14) == decision  # killed before the turn ended: the same order again
    outcome = steady.room.turned(steady.spec, decision, version(2, START))
    assert outcome.released == 2
    ended = turn_end(steady.meta, steady.entry())
    assert ended is not None
    assert (ended.outcome, ended.version) == ("released", 2)
    said = standing(steady.spec, steady.meta.ledgers.list(MODEL), ended=ended).words
    assert "; version 2 of it went on trial and did not become champion; the regret starts again" in said
    again = steady.decide(14)
    assert isinstance(again, Wait)
    assert "has ended" in again.reason
    assert steady.decide(21).reason.startswith("regret 35.0")


def run_of(made: Loop, *, cpu_seconds: float, name="run", at=START) -> None:
    if (home := made.meta.experiments.find(MODEL)) is None:
        home = Experiment(id=ExperimentId("7"), name=MODEL, created_at=START, updated_at=START)
        made.meta.experiments.add(
            home,
            Event(key=digest_of(MODEL), kind=EventKind.EXPERIMENT_CREATED, at=START, subject=MODEL, actor="a", message=""),
        )
    run = Run(
        id=RunId(name),
        experiment=home.id,
        name="n",
        content_key=Digest(name),
        status=RunStatus.FINISHED,
        code=Code(commit=None, dirty=False, digest=Digest("c")),
        environment=Environment(python="3", platform="p", packages=(), digest=Digest("e")),
        inputs=(),
        started_at=at,
        usage=Usage(cpu_seconds=cpu_seconds),
    )
    made.meta.runs.put(
        run, Event(key=digest_of(name), kind=EventKind.RUN_FINISHED, at=START, subject=MODEL, actor="a", message="")
    )


def test_a_look_is_decided_again_until_it_is_written() -> None:
    looking = loop(retrain=4000.0)
    assert isinstance(looking.decide(7), Wait)  # a candidate would be no newer than the champion
    look = looking.decide(14)
    assert isinstance(look, Look)
    assert looking.decide(14) == look
    assert len(looking.meta.ledgers.list(MODEL)) == 1
    health = looking.health(14)
    after = looking.room.looked(looking.spec, health, Gain(mean=0.02, rows=7000, gap=1.0))
    assert isinstance(after, Wait)
    entry = looking.entry()
    assert (entry.looked, entry.last_gain, entry.regret) == (True, pytest.approx(140.0), pytest.approx(140.0))
    assert looking.room.looked(looking.spec, health, Gain(mean=9.0, rows=7000, gap=1.0)) == after
    assert looking.decide(14) == after


def test_a_look_that_shows_enough_orders_a_training_and_one_that_failed_changes_nothing() -> None:
    looking = loop(retrain=100.0)
    looking.decide(7)
    health = looking.health(14)
    assert isinstance(looking.room.looked(looking.spec, health, Gain(mean=0.05, rows=7000, gap=1.0)), Retrain)
    blind = loop(retrain=4000.0)
    blind.decide(7)
    assert isinstance(blind.decide(14), Look)
    assert blind.room.failed(blind.spec, None, TrainingFailed("boom")).failed == "boom"
    assert isinstance(blind.room.looked(blind.spec, blind.health(14), None), Wait)
    assert not blind.entry().looked
    assert blind.entry().regret == pytest.approx(105.0)
    assert [alert.kind for alert in blind.meta.watches.alerts(MODEL)] == [AlertKind.TRAINING_FAILED]


@pytest.mark.parametrize(
    ("rules", "health", "named"),
    [
        ({"min_labels": 20_000}, {}, "only 14000 new labels"),
        ({"cooldown": "30d"}, {}, "cooldown is 30d"),
        ({"budget": Budget(runs_per_week=1)}, {}, "runs_per_week"),
    ],
)
def test_hard_limits_hold_back_and_are_named(rules, health, named) -> None:
    held = loop(retrain=70.0, longest="700d", **rules)
    held.decide(7)
    decision = held.decide(14, age=1.0)  # too young to be looked at
    assert isinstance(decision, Wait)
    assert named in decision.reason
    assert "has reached the price" in decision.reason
    assert named in held.entry().bound


def test_a_training_that_was_held_back_comes_when_the_limit_lifts() -> None:
    held = loop(retrain=70.0)
    held.decide(7)
    held.deploy(1, challenger=2)
    assert "version 2 is still on trial" in held.decide(14).reason
    assert isinstance(held.decide(15), Wait)
    held.deploy(1, at=START)
    assert isinstance(held.decide(16), Retrain)
    assert held.entry().window == held.health(16).window.id
    assert held.decide(16).actor == "policy:ledger"


def test_no_look_while_a_version_is_on_trial() -> None:
    held = loop(retrain=4000.0)
    held.decide(7)
    held.deploy(1, challenger=2)
    decision = held.decide(14)
    assert isinstance(decision, Wait)
    assert "no look: version 2 is still on trial" in decision.reason


def test_the_cpu_budget_of_the_month_binds() -> None:
    held = loop(retrain=70.0, budget=Budget(cpu_hours=1.0))
    run_of(held, cpu_seconds=7200.0)
    held.decide(7)
    assert "cpu_hours" in held.decide(14, age=1.0).reason


def test_each_level_of_a_budget_is_an_alert_of_its_own() -> None:
    held = loop(retrain=70.0, budget=Budget(cpu_hours=2.0))
    run_of(held, cpu_seconds=6000.0, name="one")
    held.decide(7)
    run_of(held, cpu_seconds=6000.0, name="two")
    held.decide(8)
    held.decide(9)
    told = [life for life in held.meta.alerts.list(model=MODEL) if life.kind is AlertKind.COST]
    assert sorted((life.newest.subject, life.count) for life in told) == [("80 % of cpu_hours", 1), ("all of cpu_hours", 1)]


def test_the_runs_of_a_week_bind_as_they_were_made() -> None:
    held = loop(retrain=70.0, budget=Budget(runs_per_week=3))
    held.decide(7)
    run_of(held, cpu_seconds=1.0, name="one", at=START + 8 * DAY)
    assert isinstance(held.decide(14, age=1.0), Retrain)
    held = loop(retrain=70.0, budget=Budget(runs_per_week=3))
    held.decide(7)
    for name in ("one", "two"):
        run_of(held, cpu_seconds=1.0, name=name, at=START + 8 * DAY)
    assert "2 runs in the last seven days and 2 needed, and the budget is 3" in held.decide(14, age=1.0).reason


def test_the_run_of_a_look_does_not_hold_back_the_decision_it_was_made_for() -> None:
    looking = loop(retrain=4000.0, budget=Budget(runs_per_week=1))
    looking.decide(7)
    look = looking.decide(14)
    assert isinstance(look, Look)
    run_of(looking, cpu_seconds=1.0, at=looking.clock.now())  # killed here: the same window is decided again
    assert looking.decide(14) == look


def test_a_budget_counts_every_run_of_the_month() -> None:
    busy = loop()
    for number in range(250):
        run_of(busy, cpu_seconds=36.0, name=f"run{number}", at=START + timedelta(minutes=number))
    run_of(busy, cpu_seconds=36.0, name="old", at=START - 40 * DAY)
    runs = recent_runs(busy.meta.runs, MODEL, now=START + DAY)
    assert len(runs) == 250
    assert spent(runs, START + DAY).cpu_hours == pytest.approx(2.5)


def test_what_a_failure_says_is_kept_without_its_secrets() -> None:
    made = loop()
    ended = made.room.failed(made.spec, None, TrainingFailed("postgresql://me:hunter2@db/x did not answer"))
    (alert,) = made.meta.watches.alerts(MODEL)
    assert "hunter2" not in ended.failed + alert.message
    assert "postgresql://me:***@db/x" in alert.message


def test_the_longest_age_trains_in_any_case() -> None:
    old = loop(retrain=1e9, longest="140d")
    assert "longest age" in old.decide(7, age=20.0).reason
    assert isinstance(old.decide(7, age=20.0), Retrain)


def test_every_so_often_counts_from_the_release() -> None:
    monthly = loop("every 28d")
    assert all(isinstance(monthly.decide(day), Wait) for day in range(1, 28))
    assert "2013-03-29" in monthly.decide(27).reason
    decision = monthly.decide(28)
    assert decision == Retrain("the champion was released 28 days ago", "policy:every 28d", START + 28 * DAY)
    monthly.room.refused(monthly.spec, decision, candidate(), REFUSED)
    assert isinstance(monthly.decide(40), Wait)  # a refused attempt is not repeated each window
    again = monthly.decide(56)
    assert again.reason == "a training was last tried 28 days ago", "the release was 56 days ago"


def test_drift_and_risk_train_while_they_alarm() -> None:
    moved = Drift(column="x", psi=1.0, jensen_shannon=0.5, shift=0.3, evidence=9e3, limit=1e3, alarm=True)
    drifting = loop("drift")
    assert isinstance(drifting.decide(5), Wait)
    assert drifting.decide(6, drift=(moved,)) == Retrain("drift: x", "policy:drift", START + 6 * DAY)
    assert drifting.entry().decision == "retrain"
    risky = loop("risk")
    risk = Risk(accepted=0.4, limit=0.42, mean=0.6, lower=0.5, days=20, alarm=True)
    assert isinstance(risky.decide(5, risk=msgspec.structs.replace(risk, alarm=False)), Wait)
    assert "at least 0.5" in risky.decide(6, risk=risk).reason
    assert "accepted at the gate on rows of two days" in loop("risk").decide(5).reason


def test_threshold_never_and_manual() -> None:
    over = loop("threshold", threshold=0.45)
    assert isinstance(over.decide(5), Wait)
    assert isinstance(over.decide(7), Retrain)
    unlabelled = loop("threshold", threshold=0.45)
    unlabelled.decide(7, labels=0)
    assert "no labels in this step" in unlabelled.entry().reason
    with pytest.raises(ConfigError, match="needs a loss"):
        loop("threshold").decide(7)
    for policy in ("never", "manual"):
        idle = loop(policy, retrain=1.0)
        assert isinstance(idle.decide(7), Wait)
        assert idle.entry().regret > 1.0  # the ledger is kept all the same


@pytest.mark.parametrize("policy", ["sometimes", "every", "every blue moon", ""])
def test_unknown_policies_say_what_there_is(policy) -> None:
    with pytest.raises(ConfigError, match=r"every|ledger"):
        loop(policy).decide(7)


def candidate(run="candidate1") -> Candidate:
    return Candidate(
        run=RunId(run),
        digest=Digest("d"),
        format="line",
        signature=version(1, START).signature,
        trained_upto=START,
        cpu_seconds=1.0,
    )


def test_two_refusals_in_a_row_point_at_a_broken_pipeline() -> None:
    stuck = loop(retrain=20.0, cooldown="1d")
    for day in (7, 14, 21):
        decision = stuck.decide(day, age=1.0)
        assert isinstance(decision, Retrain)
        outcome = stuck.room.refused(stuck.spec, decision, candidate(f"run{day}"), REFUSED)
        assert outcome.refused == REFUSED
        stuck.room.refused(stuck.spec, decision, candidate(f"run{day}"), REFUSED)  # called again after a kill
    told = [alert.message for alert in reversed(stuck.meta.watches.alerts(MODEL))]
    assert len(told) == 3
    assert ["broken" in message for message in told] == [False, True, True]
    assert "worse than a constant" in told[0]
    ends = [event for _, event in stuck.meta.events.list(subject=MODEL) if event.kind is EventKind.TURN_ENDED]
    assert len(ends) == 3
    assert all(event.facts["outcome"] == "refused" for event in ends)


def test_a_failed_turn_is_told_and_resets_the_ledger() -> None:
    failing = loop(retrain=30.0)
    decision = failing.decide(7)
    outcome = failing.room.failed(failing.spec, decision, DataInvalid("column x is missing"))
    assert outcome.failed == "column x is missing"
    assert [alert.kind for alert in failing.meta.watches.alerts(MODEL)] == [AlertKind.DATA_INVALID]
    assert "it failed" in failing.decide(7).reason
    assert isinstance(failing.decide(8), Wait)


def test_a_turn_by_hand_pays_the_regret_off_too() -> None:
    made = loop(retrain=4000.0)
    made.decide(7)
    made.room.turned(made.spec, Retrain("I want it", "ada"), version(2, START))
    made.room.turned(made.spec, Retrain("I want it", "ada"), version(2, START))
    entries = made.meta.ledgers.list(MODEL)
    assert [entry.decision for entry in entries] == ["wait", "turned"]
    assert turn_end(made.meta, entries[0]) is None
    assert turn_end(made.meta, entries[1]).version == 2
    made.decide(14, age=1.0)
    assert made.entry().regret == pytest.approx(35.0)


def test_who_asks_again_with_the_same_rows_is_told_what_came_of_it_and_the_regret_stays() -> None:
    made = loop(retrain=4000.0)
    made.decide(7)
    regret = made.entry().regret
    for day in (8, 9):
        asked = Retrain(f"asked on day {day}", "person:ada", START + day * DAY)
        outcome = made.room.turned(made.spec, asked, version(1, START))  # champion since START
        assert outcome.released is None
        assert made.room.turned(made.spec, asked, version(1, START)) == outcome  # killed before it was noted
        assert outcome.steady.startswith("rows and code are those of version 1")
    ends = [event for _, event in made.meta.events.list(subject=MODEL) if event.kind is EventKind.TURN_ENDED]
    assert [event.facts["outcome"] for event in ends] == ["unchanged", "unchanged"]
    assert newest_end(made.meta, MODEL).message.endswith("nothing new was made (asked on day 9)")
    assert made.entry().regret == regret


def test_who_asks_again_after_a_refusal_is_told_again() -> None:
    made = loop()
    made.decide(7)
    for day in (8, 9):
        asked = Retrain("again", "person:ada", START + day * DAY)
        made.room.refused(made.spec, asked, candidate("r"), REFUSED)
    ends = [event for _, event in made.meta.events.list(subject=MODEL) if event.kind is EventKind.TURN_ENDED]
    assert len(ends) == 2


def test_a_turn_by_hand_that_has_not_ended_is_ordered_as_it_was_for_a_window() -> None:
    made = Loop()
    made.clock.time = START
    ordered = made.room.by_hand(made.spec, "person:ada")
    assert ordered == Retrain("asked for by hand", "person:ada", START)
    made.clock.time = START + DAY / 2
    assert made.room.by_hand(made.spec, "person:bob") == ordered
    made.clock.time = START + DAY
    assert made.room.by_hand(made.spec, "person:bob").at == START + DAY
    made.room.turned(made.spec, ordered, version(1, START))
    made.clock.time = START + DAY + DAY / 2
    assert made.room.by_hand(made.spec, "person:bob").at == made.clock.time


def test_the_first_turn_of_all_needs_no_ledger() -> None:
    first = Loop()
    because = Retrain("no model yet", "policy:ledger")
    assert first.room.turned(first.spec, because, version(1, START)).released == 1
    first.room.turned(first.spec, because, version(1, START))
    ends = [event for _, event in first.meta.events.list(subject=MODEL) if event.kind is EventKind.TURN_ENDED]
    assert len(ends) == 1
    assert first.entry() is None


def test_alerts_reach_the_store() -> None:
    made = loop()
    made.room.failed(made.spec, None, TrainingFailed("boom"))
    alerts = made.meta.watches.alerts(MODEL)
    assert [(type(alert), alert.message) for alert in alerts] == [(Alert, "boom. What is live stays live")]


def test_a_window_without_a_closed_step_or_labels_says_so() -> None:
    made = loop(retrain=4000.0)
    assert made.decide(7, labels=0).reason == "no labels in this step; regret stays at 0.0 of 4000.0"
    assert made.entry().decided_at == START + timedelta(days=7)


def risen(day: int, kind=AlertKind.RISK) -> Alert:
    at = START + day * DAY
    return Alert(key=f"{kind.value}/{day}", model=MODEL, kind=kind, message="it rose", raised_at=at)


def test_an_alarm_brings_the_next_look_forward_only_where_the_project_says_so() -> None:
    for wanted, kind, looks in (
        ((), AlertKind.RISK, False),
        (("risk",), AlertKind.RISK, True),
        (("risk",), AlertKind.DATA_DRIFT, False),
        (("drift",), AlertKind.PREDICTION_DRIFT, True),
    ):
        made = loop(retrain=4000.0, cpu_hour=1000.0, look_on=wanted)
        run_of(made, cpu_seconds=3600.0)  # phi = 1/4: a look every 15 steps
        early = made.health(9, alerts=(risen(9, kind),), age=2.0)
        made.meta.watches.put(early, b"", event=measured_event(early))
        assert isinstance(made.decide(9, alerts=(risen(9, kind),)), Wait)  # no step has closed
        decision = made.decide(14, age=2.0)
        assert isinstance(decision, Look) is looks, (wanted, kind)
        if looks:
            assert f"an alarm ({wanted[0]}, in look_on)" in decision.reason


def measured_event(health: Health) -> Event:
    return Event(
        key=digest_of("measure", health.window.id),
        kind=EventKind.WINDOW_MEASURED,
        at=START,
        subject=MODEL,
        actor="a",
        message="",
    )


def test_policies_that_are_asked_at_each_window_write_why_they_wait() -> None:
    moved = loop("drift")
    for day in (1, 2, 2):
        assert moved.decide(day) == Wait("no drift alarm")
    waits = moved.room.newest_waits(MODEL)
    assert [(one.at, one.message) for one in waits] == [
        (START + 2 * DAY, "Wait: no drift alarm"),
        (START + 1 * DAY, "Wait: no drift alarm"),
    ]
    assert moved.entry() is None
    quiet = loop("ledger")
    quiet.decide(1)
    assert quiet.room.newest_waits(MODEL) == ()


def test_a_ledger_starts_from_what_history_told_by_then() -> None:
    made = loop(retrain=4000.0)
    history = [Observation(end=START + day * DAY, gain=30.0, gap=2.0) for day in (-7, 0, 30)]
    made.meta.notes.put(history_note(MODEL), msgspec.json.encode(history))
    made.decide(7)
    entry = made.entry()
    assert entry.started == 2  # the third is not over yet
    gains, gaps = (30 * 0.98 + 30) * 0.98, (2 * 0.98 + 2) * 0.98
    assert (entry.gains, entry.gaps) == pytest.approx((gains, gaps))
    assert entry.slope == pytest.approx((35 * 30 + gains) / (30 + gaps))


def test_where_retraining_stands_is_said_in_words() -> None:
    assert standing(spec_of(), []).words == "no step has closed yet: nothing was decided"
    made = loop(retrain=4000.0)
    made.decide(7)
    found = standing(made.spec, made.meta.ledgers.list(MODEL))
    assert found.words.startswith("regret 35.0 of 4000.0, the price of a retraining; retrains in about 95 days")
    assert "every 15.1 steps would be best; 0 % of that slope is measured here, the rest is the prior of 1 %" in found.words
    assert found.days_left == pytest.approx(95, abs=0.5)
    quick = standing(spec_of("ledger", step="5min"), made.meta.ledgers.list(MODEL))
    assert "retrains in about 68 minutes at this rate" in quick.words
    assert (found.course, len(found.decisions)) == ((35.0,), 1)
    by_hand = spec_of("manual")
    assert standing(by_hand, found.decisions).days_left is None
    assert standing(by_hand, found.decisions).words.startswith("policy manual: regret 35.0")
