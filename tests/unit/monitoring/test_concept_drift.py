"""Concept drift is named as such, and told apart from moved inputs: simulated streams with known causes."""

from datetime import timedelta

import numpy as np
import pytest
from tests.unit.monitoring.world import DAY, SPEC, START, World, frame, line

from kedge.domain.alerting import AlertKind
from kedge.domain.ids import PredictionId
from kedge.monitoring.quality.at_gate import Bias
from kedge.monitoring.quality.concept import BETS, BiasDays, add_biases, evidence_of, since_when, tolerance_of
from kedge.monitoring.references import References

HOURS, ROWS = 4, 60


@pytest.fixture
def world(monkeypatch) -> World:
    monkeypatch.setattr(References, "_candidate", lambda self, version: object())
    made = World()
    made.release(1)
    made.references().take(made.spec, made.registry.versions[1], frame(days=60, rows=400))
    return made


def play(world: World, day: int, *, truth, inputs=lambda random, rows: random.random(rows)) -> None:
    """A day's requests with inputs by a law, answered by the candidate's own line, their truths a day later."""
    for hour in range(HOURS):
        x = inputs(world.random, ROWS)
        world.ask(
            f"{day}-{hour}",
            START + day * DAY + hour * timedelta(hours=5),
            rows=ROWS,
            columns=lambda of, x=x: {"x": x.tolist(), "carrier": of["carrier"]},
            outputs=line(0, x).tolist(),
        )
        values = (world.random.random(ROWS) < truth(x)).astype(float).tolist()
        names = [PredictionId(f"flights-{day}-{hour}.{row}") for row in range(ROWS)]
        world.truth(names, values, START + (day + 2) * DAY)


def run(world: World, days: int, **law) -> list:
    monitoring = world.monitoring()
    seen = []
    for day in range(days):
        play(world, day, **(law if day >= 15 else {"truth": lambda x: line(0, x)}))
        seen.append(world.measure(day, monitoring))
    return seen


def kinds(seen: list) -> dict:
    return {alert.kind: alert for health in reversed(seen) for alert in health.alerts}


def test_without_drift_nothing_is_named_and_the_estimates_hold(world) -> None:
    seen = run(world, 60, truth=lambda x: line(0, x))
    assert AlertKind.CONCEPT_DRIFT not in kinds(seen)
    last = seen[-1].quality
    assert last.concept.evidence < last.concept.limit
    assert not last.concept.named
    checks = {check.metric: check for check in last.checks}
    assert set(checks) >= {"log_loss", "brier", "roc_auc", "accuracy", "average_precision"}
    assert checks["log_loss"].cohorts == 28
    assert abs(checks["log_loss"].bias) < 0.02
    assert checks["log_loss"].off < 0.06


def test_a_moved_relation_is_concept_drift_with_steady_inputs(world) -> None:
    seen = run(world, 45, truth=lambda x: np.clip(line(0, x) + 0.15, 0, 1))
    found = kinds(seen)
    assert AlertKind.DATA_DRIFT not in found
    alert = found[AlertKind.CONCEPT_DRIFT]
    assert "inputs and answers stayed as they were" in alert.message
    concept = next(each.quality.concept for each in seen if each.quality.concept.named)
    assert (concept.moved, concept.named) == ((), True)
    assert concept.since is not None
    assert timedelta(days=15) <= concept.since - START <= timedelta(days=18)
    assert concept.rise > 0
    assert concept.explained < 0.5
    told = [each for health in seen for each in health.alerts if each.kind is AlertKind.CONCEPT_DRIFT]
    assert len(told) == 1
    began = next(place for place, health in enumerate(seen) if told[0] in health.alerts)
    assert all(told[0].id in health.standing for health in seen[began:]), "it holds, though the bets start again"


def test_a_relation_turned_round_is_seen_by_the_risk_though_the_bias_stays(world) -> None:
    seen = run(world, 45, truth=lambda x: line(0, 1 - x))
    concept = next(each.quality.concept for each in seen if each.quality.concept.named)
    assert kinds(seen)[AlertKind.RISK].raised_at <= kinds(seen)[AlertKind.CONCEPT_DRIFT].raised_at
    assert abs(concept.recent - concept.accepted) < 0.05


def test_moved_inputs_with_the_same_relation_are_data_drift_only(world) -> None:
    seen = run(
        world, 45, truth=lambda x: line(0, x), inputs=lambda random, rows: np.clip(random.normal(0.75, 0.1, rows), 0, 1)
    )
    found = kinds(seen)
    assert AlertKind.DATA_DRIFT in found
    assert AlertKind.CONCEPT_DRIFT not in found


def test_harder_inputs_raise_the_loss_and_explain_it(world) -> None:
    """Inputs where the answer is near a half: the loss rises, the risk alarms, and the answers themselves said so."""
    seen = run(
        world, 60, truth=lambda x: line(0, x), inputs=lambda random, rows: np.clip(random.normal(0.8, 0.05, rows), 0, 1)
    )
    found = kinds(seen)
    assert AlertKind.CONCEPT_DRIFT not in found
    assert AlertKind.DATA_DRIFT in found
    risen = [each for each in seen if any(alert.kind is AlertKind.RISK for alert in each.alerts)]
    for each in risen:
        assert each.quality.concept.explained > 0.5
        assert any("they explain" in note for note in each.notes)


def test_where_both_moved_the_share_of_each_is_said(world) -> None:
    seen = run(
        world,
        45,
        truth=lambda x: np.clip(line(0, x) - 0.35, 0.01, 0.99),
        inputs=lambda random, rows: np.clip(random.normal(0.6, 0.2, rows), 0, 1),
    )
    found = kinds(seen)
    assert AlertKind.DATA_DRIFT in found
    assert "the inputs moved too (the answers, x)" in found[AlertKind.CONCEPT_DRIFT].message


def test_without_a_gate_there_is_no_estimate_and_no_name() -> None:
    world = World()
    world.release(1)
    play(world, 0, truth=lambda x: line(0, x))
    quality = world.measure(0).quality
    assert (quality.estimates, quality.checks, quality.concept) == ({}, (), None)


# ---- the bet ----


def bias(**changes) -> Bias:
    known = {"mean": 0.0, "error": 0.01, "between": 0.0004, "row_variance": 0.0, "days": 30, "scale": 0.3}
    return Bias(**known | changes)


def test_the_bet_alarms_about_as_seldom_as_declared() -> None:
    """Days that stray as the gate's did: in 200 runs of 250 days, far fewer than 50 runs reach 1,000 : 1."""
    known, alarms = bias(), 0
    tolerance = tolerance_of(known, 0.05)
    for seed in range(200):
        random, state, evidence = np.random.default_rng(seed), BiasDays(), 0.0
        for day in range(250):
            at = START + day * DAY
            evidence = max(
                evidence,
                add_biases(state, {at: random.normal(0.008, 0.02, 1)}, upto=at + DAY, known=known, tolerance=tolerance),
            )
        alarms += evidence >= 1000
    assert alarms <= 10


def test_a_day_of_few_rows_says_little() -> None:
    known, few, many = bias(row_variance=0.2), BiasDays(), BiasDays()
    for state, rows in ((few, 3), (many, 300)):
        for day in range(6):
            at = START + day * DAY
            add_biases(state, {at: np.full(rows, 0.2)}, upto=at + DAY, known=known, tolerance=0.02)
    assert evidence_of(few) < 100
    assert evidence_of(many) > 100_000


def test_a_day_is_closed_once_and_late_labels_count_on_the_open_one() -> None:
    known, state = bias(), BiasDays()
    days = {START: np.array([0.1, 0.2]), START + DAY: np.array([0.3])}
    add_biases(state, days, upto=START + DAY, known=known, tolerance=0.02)
    assert [(each.day, each.bias) for each in state.closed] == [(START, pytest.approx(0.15))]
    assert (state.rows, state.total) == (1, 0.3)
    add_biases(state, {START: np.array([0.5])}, upto=START + DAY, known=known, tolerance=0.02)
    assert (len(state.closed), state.rows, state.total) == (1, 2, 0.8)
    before = evidence_of(state)
    add_biases(state, {}, upto=START + DAY, known=known, tolerance=0.02)
    assert evidence_of(state) == before
    assert len(state.logs) == 2 * len(BETS)
    assert since_when(state, known, tolerance=0.02) == START


def test_a_gate_without_spread_or_truths_gives_no_infinite_bet() -> None:
    known, state = bias(error=0.0, between=0.0, row_variance=0.0, scale=0.0), BiasDays()
    for day in range(10):
        at = START + day * DAY
        evidence = add_biases(state, {at: np.array([0.5])}, upto=at + DAY, known=known, tolerance=0.0)
    assert np.isfinite(evidence)
    assert SPEC.monitoring.risk_tolerance > 0


def test_a_process_that_starts_again_comes_to_the_same_quality(world) -> None:
    """Killed after any window: estimates, bets, names and causes are what they would have been."""

    def played(*, fresh: bool) -> list:
        made = World()
        made.release(1)
        made.references().take(made.spec, made.registry.versions[1], frame(days=60, rows=400))
        monitoring, seen = made.monitoring(), []
        for day in range(24):
            play(made, day, truth=lambda x, day=day: np.clip(line(0, x) + (0.3 if day >= 8 else 0), 0, 1))
            seen.append(made.measure(day, made.monitoring() if fresh else monitoring))
        return seen

    whole = played(fresh=False)
    assert whole == played(fresh=True)
    assert any(each.causes is not None for each in whole)
    assert any(each.quality.concept.named for each in whole)
