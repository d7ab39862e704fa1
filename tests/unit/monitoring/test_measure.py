"""What a window's measurement says: of versions, drift, labels, steps, silence; and of data that is not as it should be."""

from datetime import timedelta
from functools import partial

import msgspec
import numpy as np
import pytest
from tests.unit.monitoring.world import DAY, MODEL, SPEC, START, World, frame, line, with_rules

from kedge.domain.alert_life import AlertMove
from kedge.domain.alerting import AlertKind, alert_id
from kedge.domain.evaluation import Task
from kedge.domain.ids import PredictionId
from kedge.domain.monitoring import COPIED, Health
from kedge.domain.project import DataRules
from kedge.domain.records import decode_batch, decode_truth, encode_batch, encode_truth
from kedge.domain.rollout import Strategy
from kedge.monitoring import room as room_module
from kedge.monitoring.quality.risk import Accepted
from kedge.monitoring.served import parts_of
from kedge.monitoring.state import MonitorState


@pytest.fixture
def world() -> World:
    return released()


def released() -> World:
    made = World()
    made.release(1)
    made.references().take(made.spec, made.registry.versions[1], frame())
    return made


def test_records_come_back_as_they_were_written(world) -> None:
    odd = {"x": [float("inf"), None, 3], "carrier": ["Ü", None, "AA"]}
    batch = world.ask("1", START, rows=3, columns=lambda _: odd, as_of={"weather": [START, None, None]})
    assert decode_batch(encode_batch(batch)) == batch
    world.truth([PredictionId("flights-1.0")], [1.0], START)
    (_, payload), *_ = world.truths.scan()
    assert encode_truth(decode_truth(payload)) == payload


def test_each_version_is_summed_up(world) -> None:
    world.release(2, share=0.5, champion=1)
    world.ask("a", START, versions=[1, 2, 2, 1], outputs=[0.2, 0.4, 0.6, float("nan")])
    world.ask("b", START, versions=[1] * 4, outputs=[0.5] * 4, errors={0: "boom", 2: "boom"}, seconds={"predict": 0.1})
    one, two = world.measure(0).versions
    assert (one.version, one.rows, one.errors, one.mean_output) == (1, 6, 0, pytest.approx(2.2 / 5))
    assert (two.version, two.rows, two.errors, two.mean_output) == (2, 2, 2, 0.5)
    assert one.latency_seconds == pytest.approx((0.003 + 0.1) / 2)
    assert two.latency_seconds == pytest.approx(0.003)


def test_each_side_of_a_trial_is_timed_by_its_own_calls(world) -> None:
    world.release(2, share=0.5, champion=1)
    both = {"queue": 9.0, "features": 1.0, "predict": 5.0, "challenger": 3.0}
    world.ask("a", START, versions=[1, 2, 2, 1], outputs=[0.5] * 4, seconds=both)
    assert [seen.latency_seconds for seen in world.measure(0).versions] == [3.0, 4.0]


def test_a_shadow_that_is_slow_does_not_make_the_champion_slow(world) -> None:
    world.release(2, champion=1, strategy=Strategy.SHADOW)
    both = {"queue": 9.0, "features": 1.0, "predict": 2.0, "challenger": 7.0}
    world.ask("a", START, outputs=[0.5] * 4, shadow={2: [0.9] * 4}, seconds=both)
    assert [seen.latency_seconds for seen in world.measure(0).versions] == [3.0, 8.0]


@pytest.mark.parametrize("later", [False, True])
def test_answers_in_shadow_count_for_their_version(world, later) -> None:
    world.release(2, champion=1)
    if later:
        world.ask("a", START, outputs=[0.5] * 4)
    world.ask("a", START, outputs=[0.5] * 4, shadow={2: [0.9] * 4}, variant=COPIED if later else "")
    world.truth([PredictionId(f"flights-a.{row}") for row in range(4)], [1.0] * 4, START + DAY)
    health = world.measure(0)
    assert [(seen.version, seen.rows) for seen in health.versions] == [(1, 4), (2, 4)]
    assert [(block.version, block.rows, round(block.loss, 3)) for block in health.blocks] == [
        (1, 4, round(-4 * np.log(0.5), 3)),
        (2, 4, round(-4 * np.log(0.9), 3)),
    ]
    assert health.loss == pytest.approx(-np.log(0.5))


def test_a_request_under_the_name_of_a_forgotten_one_outlives_the_record_of_that_ones_shadow(world) -> None:
    world.release(2, champion=1, strategy=Strategy.SHADOW)
    one = world.monitoring()
    world.ask("a", START, outputs=[0.5] * 4)
    world.ask("open", START + timedelta(hours=1))
    world.ask("a", START, outputs=[0.5] * 4, shadow={2: [0.9] * 4}, variant=COPIED)
    a, waiting = ([PredictionId(f"flights-{name}.{row}") for row in range(4)] for name in ("a", "open"))
    world.truth(a, [1.0] * 4, START + DAY)
    for day in range(20):
        world.measure(day, one)
    world.ask("a", START + 20 * DAY, outputs=[0.5] * 4)
    world.truth(waiting, [1.0] * 4, START + 20 * DAY)
    for day in range(20, 24):
        world.measure(day, one)
    world.truth(a, [1.0] * 4, START + 24 * DAY)
    health = world.measure(24, one)
    assert (health.loss, health.join.unknown_labels, health.join.waiting_labels) == (pytest.approx(-np.log(0.5)), 0, 0)


def test_blocks_begin_with_the_rollout_and_are_cut_by_the_day_of_the_answer(world) -> None:
    world.serve(0, requests=4)
    world.tell(0, requests=4)
    world.measure(0)
    assert [(block.day, block.rows) for block in world.measure(1).blocks] == [(START, 16)]
    world.release(2, at=START + 2 * DAY, share=0.5, champion=1)
    for day in (2, 3):
        world.serve(day, requests=4, versions=[1, 1, 2, 2])
        world.tell(day, requests=4)
        world.measure(day)
    health = world.measure(4)
    assert [(block.day - START, block.version, block.rows) for block in health.blocks] == [
        (2 * DAY, 1, 8),
        (2 * DAY, 2, 8),
        (3 * DAY, 1, 8),
        (3 * DAY, 2, 8),
    ]
    world.measure(5)
    world.release(3, at=START + 6 * DAY, champion=1)
    assert world.measure(6).blocks == ()


def known(health: Health, *names: str) -> dict[str, float]:
    assert health.quality is not None
    return {name: health.quality.known[name].value for name in names if name in health.quality.known}


def test_loss_and_metrics_are_those_of_the_labels_that_arrived(world) -> None:
    world.ask("a", START, outputs=[0.8, 0.4, 0.6, 0.1])
    world.truth([PredictionId(f"flights-a.{row}") for row in range(4)], [1.0, 0.0, 0.0, 0.0], START + DAY)
    health = world.measure(0)
    assert health.labels == 4
    assert health.loss == pytest.approx(-np.log([0.8, 0.6, 0.4, 0.9]).mean())
    assert known(health, "log_loss", "brier", "roc_auc") == pytest.approx(
        {"log_loss": health.loss, "brier": (0.04 + 0.16 + 0.36 + 0.01) / 4, "roc_auc": 1.0}
    )


def test_labels_of_one_class_leave_out_what_they_do_not_define(world) -> None:
    world.ask("a", START)
    world.truth([PredictionId("flights-a.0")], [1.0], START + DAY)
    assert known(world.measure(0), "log_loss", "brier", "roc_auc").keys() == {"log_loss", "brier"}


def test_labels_are_counted_when_they_are_known_and_fresh_ones_apart(world) -> None:
    world.serve(0)
    world.tell(0, known=START + 3 * DAY)
    assert [world.measure(day).labels for day in range(4)] == [0, 0, 96, 0]
    world.release(2, at=START + 2 * DAY)
    assert world.measure(4).fresh_labels == 96
    world.release(3, at=START + 3 * DAY)  # it was trained on what was known at that very moment
    assert world.measure(5).fresh_labels == 0


def test_labels_of_short_windows_are_fresh_within_the_day() -> None:
    state, hour = MonitorState(first=START), timedelta(hours=1)
    for number in range(1, 4):
        state.count_labels([START + number * hour], [10], span=hour)  # at the end of a window: of that window
    assert [state.labels_after(START + number * hour) for number in range(4)] == [30, 20, 10, 0]
    state.age_out(START + 3 * DAY)
    assert state.labels_after(START + hour) == 20
    state.age_out(START + 9 * DAY)  # old ones are counted by days
    assert [one.rows for one in state.label_days] == [30]
    assert state.labels_after(START + hour) == 0
    state.age_out(START + 500 * DAY)
    assert state.label_days == []


def test_impossible_facts_are_counted_and_not_believed(world) -> None:
    world.ask("a", START)
    names = [PredictionId(f"flights-a.{row}") for row in (0, 1, 2, 9)]
    world.truth([*names, PredictionId("nonsense")], [0.5, float("nan"), 1.0, 1.0, 1.0], START + DAY)
    health = world.measure(0)
    assert (health.labels, health.join.invalid_labels, health.join.unknown_labels) == (1, 2, 2)
    assert any("no possible fact" in note for note in health.notes)


def test_regression_takes_any_finite_fact() -> None:
    world = World(spec=msgspec.structs.replace(SPEC, data=DataRules(source="s", time="at", label="y", task=Task.REGRESSION)))
    world.release(1)
    world.ask("a", START, outputs=[1.0, 2.0, 3.0, 4.0])
    world.truth([PredictionId(f"flights-a.{row}") for row in range(3)], [1.5, float("inf"), -3.0], START + DAY)
    health = world.measure(0)
    assert (health.labels, health.join.invalid_labels) == (2, 1)
    found = known(health, "squared_error", "absolute_error")
    assert found == pytest.approx({"squared_error": (0.25 + 36) / 2, "absolute_error": 3.25})


# ---- steps ----


def test_a_closed_step_compares_the_champion_with_the_retired_one_on_rows_neither_has_seen(world) -> None:
    two = None
    for day in range(21):
        if day == 9:
            two = world.release(2, at=START + 9 * DAY)
            world.references().take(world.spec, two, frame(START + 9 * DAY))
        world.serve(day, requests=6)
        if day:
            world.tell(day - 1, requests=6, known=START + (day + 1) * DAY)
        health = world.measure(day)
        assert (health.step is None) == ((day + 1) % 7 != 0)
        if day == 6:
            assert health.step.losses.keys() == {1}
            assert (health.step.rows, health.step.labels, health.step.ages) == (144, 144, {1: 1.0})
        if day == 13:
            assert (health.step.champion, health.step.labels) == (2, 168)
            assert health.step.rows == 120  # known after day 9, when version 2 was trained
            assert health.step.ages == {1: 2.0, 2: pytest.approx(5 / 7)}
    assert health.step.losses.keys() == {1, 2}
    assert (health.step.start, health.step.end) == (START + 14 * DAY, START + 21 * DAY)


def test_the_loss_of_a_step_is_that_of_the_logged_features(world) -> None:
    x, facts = [], []
    for day in range(7):
        batch = world.ask(str(day), START + day * DAY)
        x += batch.features["x"]
        values = [float(day % 2)] * 4
        facts += values
        world.truth([PredictionId(f"flights-{day}.{row}") for row in range(4)], values, START + (day + 1) * DAY)
        health = world.measure(day)
    answers = line(1, np.array(x))
    expected = -np.log(np.where(np.array(facts) > 0.5, answers, 1 - answers)).mean()
    assert health.step.losses == {1: pytest.approx(expected)}


def test_a_step_without_labels_or_with_other_columns_scores_nothing(world) -> None:
    for day in range(7):
        world.serve(day, requests=2, columns=lambda features: {"carrier": features["carrier"]})
        if day:
            world.tell(day - 1, requests=2, known=START + (day + 1) * DAY)
        health = world.measure(day)
    assert (health.step.rows, health.step.labels, health.step.losses) == (0, 48, {})
    for day in range(7, 14):
        health = world.measure(day)
    assert (health.step.rows, health.step.labels, health.step.losses) == (0, 0, {})


def test_windows_longer_than_a_step_close_several(world) -> None:
    world.spec = msgspec.structs.replace(world.spec, retraining=msgspec.structs.replace(world.spec.retraining, step="12h"))
    world.serve(0)
    health = world.measure(0)
    assert (health.step.steps, health.step.end - health.step.start) == (2, DAY)


def test_the_retired_version_is_scored_for_eight_steps(world, monkeypatch) -> None:
    monkeypatch.setattr(room_module, "SHADOW_STEPS", 2)
    scored = []
    for day in range(35):
        if day == 7:
            world.release(2, at=START + 7 * DAY)
        world.serve(day, requests=2)
        if day:
            world.tell(day - 1, requests=2, known=START + (day + 1) * DAY)
        health = world.measure(day)
        if health.step is not None:
            scored.append(sorted(health.step.losses))
    assert scored == [[1], [1, 2], [1, 2], [2], [2]]


def test_after_a_roll_back_the_newer_version_is_not_scored(world) -> None:
    world.release(2, at=START)
    world.registry.versions[2] = msgspec.structs.replace(world.registry.versions[2], trained_upto=START + DAY)
    world.measure(0)
    world.registry.number = 1
    for day in range(1, 7):
        world.serve(day, requests=2)
        world.tell(day, requests=2, known=START + (day + 1) * DAY)
        health = world.measure(day)
    assert health.step.losses.keys() == {1}


# ---- odd data ----


def test_an_empty_window_is_measured_and_a_silence_told_once(world) -> None:
    for day in range(7):
        world.serve(day, requests=2)
        assert world.measure(day).alerts == ()
    first, second = world.measure(7), world.measure(8)
    assert (first.rows, first.loss, first.notes[0]) == (0, None, "no predictions in this window")
    assert [(alert.kind, alert.subject) for alert in first.alerts] == [(AlertKind.SILENCE, "predictions")]
    assert first.alerts[0].message.startswith("no predictions for 1 window, longer than is usual here; the last window")
    assert second.alerts == ()
    assert first.standing == second.standing == (alert_id(MODEL, AlertKind.SILENCE, subject="predictions"),)
    assert first.drift
    assert all(not one.distances and not one.alarm for one in first.drift)
    world.serve(9)
    assert (world.measure(9).alerts, world.measure(9).standing) == ((), ())


def test_a_silence_that_is_usual_is_no_alert_and_stands_for_none(world) -> None:
    for day in range(28):
        if day % 7 < 5:
            world.serve(day, requests=2)
        health = world.measure(day)
        assert (health.alerts, health.standing) == ((), ())


def test_a_declared_silence_is_told_when_it_is_reached(world) -> None:
    world.spec = with_rules(world.spec, silence={"predictions": "2d"})
    world.serve(0, requests=2)
    told = [[alert.message[:65] for alert in world.measure(day).alerts] for day in range(4)]
    assert told == [[], [], ["no predictions for 2 windows, as long as monitoring.silence allows"[:65]], []]


def test_labels_that_stop_are_a_silence_too(world) -> None:
    told = []
    for day in range(20):
        world.serve(day, requests=2)
        if 1 <= day < 15 and day not in (3, 10):
            world.tell(day - 1, requests=2, known=START + (day + 1) * DAY)
        told += [(day, alert.subject) for alert in world.measure(day).alerts]
    assert told == [(17, "labels")]  # one quiet day is usual; the third in a row is told


def test_before_anything_came_nothing_is_silent(world) -> None:
    assert [world.measure(day).alerts for day in range(3)] == [(), (), ()]


def test_columns_that_vanish_appear_or_are_empty_are_named(world) -> None:
    world.serve(0, columns=lambda features: {"x": features["x"], "tail": ["N1"] * 4})
    health = world.measure(0)
    assert "carrier: the column vanished; all 96 rows count as missing" in health.notes
    assert "tail: the column appeared; version 1 was not trained on it" in health.notes
    assert [alert.kind for alert in health.alerts] == [AlertKind.DATA_DRIFT]
    assert health.alerts[0].subject == "carrier"
    assert health.alerts[0].message.startswith("carrier (missing) moved away from the training data")
    world.serve(1, columns=lambda features: features | {"x": [None] * 4})
    assert "x: all 96 values are missing" in world.measure(1).notes


def test_infinities_text_and_unseen_categories_do_no_harm(world) -> None:
    odd = {"x": [float("inf"), float("-inf"), "much", 0.5], "carrier": ["ZZ", 7, None, "AA"]}
    world.serve(0, columns=lambda _: odd)
    health = world.measure(0)
    assert "x: 24 of 96 values are text where numbers were expected" in health.notes
    assert all(np.isfinite([one.psi, one.shift, one.evidence]).all() for one in health.drift)


def test_a_request_without_rows_and_a_tiny_window(world) -> None:
    world.ask("none", START, rows=0)
    world.ask("one", START, rows=1)
    assert world.measure(0).rows == 1


def test_records_of_another_model_are_not_ours(world) -> None:
    world.ask("a", START, model="trains")
    assert world.measure(0).rows == 0


def test_without_a_champion_or_a_reference_a_window_is_measured_all_the_same() -> None:
    world = World()
    world.ask("a", START, versions=[1] * 4)
    health = world.measure(0)
    assert (health.rows, health.champion, health.drift) == (4, None, ())
    assert any("no champion" in note for note in health.notes)
    world.release(1)
    assert any("no reference" in note for note in world.measure(1).notes)


# ---- alarms ----


def test_drift_is_told_once_per_episode_and_detectors_start_again_with_a_new_champion(world) -> None:
    def moved(features):
        return features | {"x": [value / 4 for value in features["x"]]}

    told, evidence = [], []
    for day in range(12):
        if day == 8:
            two = world.release(2, at=START + 8 * DAY)
            world.references().take(world.spec, two, frame(START + 8 * DAY))
        world.serve(day, rows=40, columns=moved if day >= 2 else None)
        health = world.measure(day)
        told += [(day, alert.kind, alert.subject) for alert in health.alerts]
        evidence.append(health.evidence["data"])
    assert told == [(2, AlertKind.DATA_DRIFT, "x"), (8, AlertKind.DATA_DRIFT, "x")]
    assert max(evidence[:2]) < 100
    assert min(evidence[2:]) >= health.evidence_limit
    alarmed = next(one for one in health.drift if one.column == "x")
    assert alarmed.alarm
    assert alarmed.shift < -0.2
    assert alarmed.distances["wasserstein"] > 0.2
    assert len(world.raised) == 2


def test_a_declared_tolerance_is_taken_as_it_is() -> None:
    world = World(spec=with_rules(SPEC, tolerance=0.3))
    world.release(1)
    world.references().take(world.spec, world.registry.versions[1], frame())
    assert set(world.references().find(MODEL, 1).tolerances["x"]) == {0.3}


def test_a_reference_is_taken_once(world) -> None:
    first = world.references().find(MODEL, 1)
    world.references().take(world.spec, world.registry.versions[1], frame(seed=9))
    assert world.references().find(MODEL, 1) == first
    assert world.references().find(MODEL, 7) is None


def test_the_newest_profile_is_at_hand(world) -> None:
    assert world.monitoring().newest_profile(MODEL) is None
    world.serve(0)
    world.measure(0)
    profile = world.monitoring().newest_profile(MODEL)
    assert [column.name for column in profile.columns] == ["x", "carrier"]
    assert profile.rows == 96
    assert profile.columns[0].edges == world.references().find(MODEL, 1).profile.columns[0].edges


def accepting(world: World, upper: float) -> None:
    """Let version 1 have an accepted loss, as if its gate's candidate were at hand."""
    references = world.references()
    reference = msgspec.structs.replace(
        references.find(MODEL, 1), accepted=Accepted(mean=upper, upper=upper, bound=4.6, days=7)
    )
    references.point(MODEL, 1, to=references.write(reference))


def test_a_risen_loss_is_told_once(world) -> None:
    accepting(world, 0.3)
    told = []
    for day in range(30):
        world.serve(day, requests=6)
        if day:
            world.tell(day - 1, requests=6, known=START + (day + 1) * DAY)
        health = world.measure(day)
        told += [(alert.kind, alert.subject) for alert in health.alerts]
    assert told == [(AlertKind.RISK, "version 1")]
    assert health.risk.alarm
    assert health.risk.days == 29
    assert health.risk.limit == pytest.approx(0.315)
    assert health.risk.mean > health.risk.lower > health.risk.limit


def test_risk_counts_the_champions_rows_only(world) -> None:
    accepting(world, 0.3)
    world.release(2, champion=1, share=0.5)
    world.ask("a", START, versions=[1, 2, 2, 2], outputs=[0.8, 0.01, 0.01, 0.01])
    world.truth([PredictionId(f"flights-a.{row}") for row in range(4)], [1.0] * 4, START + DAY - timedelta(hours=1))
    assert world.measure(0).risk.mean == pytest.approx(-np.log(0.8))


def test_what_people_are_to_be_told_is_written_once_with_the_window(world) -> None:
    world.spec = with_rules(world.spec, silence="1d")
    world.serve(0)
    world.measure(0)

    world.measure(1)
    world.measure(1)
    assert [alert.kind for alert in world.raised] == [AlertKind.SILENCE]
    ((_, notice),) = world.meta.alerts.notices()
    assert (notice.life.kind, notice.move) == (AlertKind.SILENCE, AlertMove.RAISED)


def test_every_window_leaves_one_event(world) -> None:
    world.serve(0)
    world.measure(0)
    world.measure(0)
    ((_, event),) = [
        (serial, event) for serial, event in world.meta.events.list(subject=MODEL) if event.kind.value == "window_measured"
    ]
    assert event.message == "Window 2013-03-01T00:00/2013-03-02T00:00: 96 predictions, 0 labels"
    assert event.facts["rows"] == 96


def test_a_window_counted_in_parts_is_the_window_counted_at_once(monkeypatch) -> None:
    def health_of(most: int):
        monkeypatch.setattr("kedge.monitoring.served.parts_of", partial(parts_of, most=most))
        world = released()
        world.serve(0, columns=lambda features: features | {"x": [1.0, "much", None, 0.5], "new": [1] * 4})
        return world.measure(0)

    whole = health_of(1000)
    assert "x: 24 of 96 values are text where numbers were expected" in whole.notes
    assert [health_of(most) for most in (1, 10, 96)] == [whole] * 3


def test_one_odd_label_is_told_of_as_one(world) -> None:
    world.serve(0)
    world.truth([PredictionId("flights-0-0.0")], [1.0], START + DAY)
    world.measure(0)
    world.truth([PredictionId("flights-0-0.0"), PredictionId("flights-0-0.1")], [0.0, 2.5], START + DAY)
    notes = world.measure(1).notes
    assert "1 label contradicts an earlier one for the same prediction; it stays" in notes
    assert "1 label is no possible fact for classification" in notes
