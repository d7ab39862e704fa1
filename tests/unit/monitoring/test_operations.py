"""Latency, errors, throughput, objectives and far fewer rows than usual, by the log alone."""

from datetime import timedelta

import msgspec
import numpy as np
import pytest
from tests.unit.monitoring.world import DAY, MODEL, SPEC, START, World, with_rules

from kedge.domain.alerting import AlertKind, alert_id
from kedge.domain.monitoring import Window
from kedge.domain.operations import OperationsRules
from kedge.monitoring.operations.burn import KEPT_SLOTS, BurnSlots, OperationsState, burn_of
from kedge.monitoring.operations.figures import PlaneView, operations_of
from kedge.monitoring.operations.rhythm import hear
from kedge.monitoring.operations.times import BINS, added, bins_of_seconds, quantile_of
from kedge.monitoring.truth.join_labels import Answered


def running(**rules) -> World:
    world = World(spec=with_rules(SPEC, operations=OperationsRules(**rules)))
    world.release(1)
    return world


def test_quantiles_are_within_a_bin_and_windows_add_up() -> None:
    seconds = np.random.default_rng(0).lognormal(-5, 1, 20_000)
    one, two = bins_of_seconds(seconds[:9000]), bins_of_seconds(seconds[9000:])
    for share in (0.5, 0.95, 0.99):
        assert quantile_of(one + two, share) == pytest.approx(np.quantile(seconds, share), rel=0.06)
    assert quantile_of(np.zeros(BINS), 0.5) == 0.0
    odd = bins_of_seconds(np.array([0.0, -1.0, np.inf, np.nan, 1e9]))
    assert odd.sum() == 5


def test_stages_and_totals_are_told_by_version() -> None:
    world = running()
    for request in range(10):
        world.ask(f"a{request}", START + request * timedelta(seconds=5), seconds={"queue": 0.001, "predict": 0.009})
    world.ask("b", START, versions=[2] * 4, seconds={"predict": 0.1, "challenger": 0.05}, errors={0: "x"}, share=0.5)
    found = world.measure(0).operations
    assert (found.requests, found.rows, found.errors, found.peak_minute) == (12, 48, 1, 12)
    assert found.per_second == pytest.approx(12 / 86400)
    times = {(one.version, one.stage): one for one in found.times}
    assert set(times) == {(1, "queue"), (1, "predict"), (1, "total"), (2, "predict"), (2, "total")}
    assert times[1, "total"].p99 == pytest.approx(0.01, rel=0.06)
    assert times[2, "total"].mean == pytest.approx(0.1)
    assert added(found.times).sum() == 32


def slow(world: World, day: int, share: float, *, errors: int = 0) -> list:
    random = np.random.default_rng(day)
    for request in range(288):
        took = 0.2 if random.random() < share else 0.01
        at = START + day * DAY + request * timedelta(minutes=5)
        world.ask(f"{day}-{request}", at, seconds={"predict": took}, errors=dict.fromkeys(range(errors), "x"))
    return [alert for alert in world.measure(day).alerts if alert.kind is AlertKind.OPERATIONS]


def test_an_objective_that_burns_too_fast_is_told_once_and_stands() -> None:
    world = running(p99="50ms")
    assert [slow(world, day, 0.005) for day in range(3)] == [[], [], []]
    (alert,) = slow(world, 3, 0.5)
    assert alert.subject == "objective p99"
    assert "took more than 50 ms, 1.00% may" in alert.message
    assert slow(world, 4, 0.5) == []
    health = world.measure(4)
    assert alert_id(MODEL, AlertKind.OPERATIONS, subject="objective p99") in health.standing
    (objective,) = health.operations.objectives
    assert (objective.alarm, objective.counted) == (True, 288)
    assert objective.burn > 20


def test_errors_have_a_budget_too() -> None:
    world = running(errors="1%")
    assert slow(world, 0, 0.0) == []
    (alert,) = slow(world, 1, 0.0, errors=1)
    assert "25.00% of the rows failed, 1.00% may" in alert.message


def test_a_few_bad_requests_are_no_alarm_whatever_their_share() -> None:
    table = np.zeros((KEPT_SLOTS, 2))
    table[-1] = (5, 5)
    assert not burn_of(table, 0.01, slots=12).alarm
    table[-1] = (20, 20)
    assert burn_of(table, 0.01, slots=12).alarm


def test_slots_go_on_over_windows_and_are_bounded() -> None:
    slots = BurnSlots(0.05)
    for start in range(0, 4000, 288):
        slots.add(np.array([start]), np.array([3.0]), bad=np.array([1.0]), start=start, end=start + 288)
    kept = np.frombuffer(slots.counts, "<f4").reshape(-1, 2)
    assert (len(kept), kept[:, 0].sum()) == (KEPT_SLOTS, 9.0)


def week(state: bytes, weeks: range, rate: float, seed: int = 0) -> tuple[bytes, list]:
    random, heard = np.random.default_rng(seed), []
    for day in range(weeks.start * 7, weeks.stop * 7):
        hours = {day * 24 + hour: float(random.poisson(rate * (40 if 8 <= hour < 20 else 0))) for hour in range(24)}
        state, found = hear(state, hours, start=day * 24, end=day * 24 + 24, run_length=1000)
        heard.append(found)
    return state, heard


def test_usual_hours_are_quiet_and_nights_are_learnt() -> None:
    state, heard = week(b"", range(30), 1.0)
    assert not any(one.alarm for one in heard)
    assert heard[0].usual == 0
    assert heard[-1].usual == pytest.approx(480, rel=0.15)
    assert not any(one.alarm for one in week(state, range(30, 34), 0.7)[1])


def test_far_fewer_than_usual_is_heard_within_days() -> None:
    state, _ = week(b"", range(6), 1.0)
    days = [one.alarm for one in week(state, range(6, 7), 0.1)[1]]
    assert any(days[:4])


def test_predictions_that_become_few_are_told() -> None:
    world = running()
    told = []
    for day in range(24):
        for hour in range(0, 24, 2 if day < 21 else 24):
            world.ask(f"{day}-{hour}", START + day * DAY + hour * timedelta(hours=1), rows=30)
        told += [alert for alert in world.measure(day).alerts if alert.kind is AlertKind.SILENCE]
    assert [alert.subject for alert in told] == ["fewer predictions"]
    assert "where 360 are usual" in told[0].message


def test_a_log_that_could_not_be_written_is_told() -> None:
    world = running()
    world.ask("a", START, rows=50)
    world.ask("gap", START, rows=0, missing=30)
    health = world.measure(0)
    (alert,) = [alert for alert in health.alerts if alert.kind is AlertKind.SILENCE]
    assert alert.subject == "the prediction log"
    assert "lacks 30 of 80 rows" in alert.message
    assert health.operations.missing == 30


def test_empty_windows_and_restarts_give_the_same() -> None:
    def seen(*, again: bool) -> bytes:
        world = running(p99="50ms", errors="1%")
        monitoring, found = world.monitoring(), []
        for day in range(5):
            if day != 2:
                world.serve(day)
            found.append(world.measure(day, None if again else monitoring).operations)
        return msgspec.json.encode(found)

    assert seen(again=True) == seen(again=False)


def test_windows_within_one_slot_add_up_to_it() -> None:
    rules, state = OperationsRules(p99="50ms"), OperationsState()
    found = []
    for minute in range(0, 12, 2):
        start = START + minute * timedelta(minutes=1)
        answers = [
            Answered(
                **{"record": None, "request": f"{minute}-{second}", "revision": 1, "payload": b"", "labels": {}, "open": 0},
                **{
                    "at": start + second * timedelta(seconds=1),
                    "versions": [1],
                    "outputs": [0.5],
                    "shadow": {},
                    "errors": {},
                },
                seconds={"predict": 0.2},
            )
            for second in range(20)
        ]
        window = Window(start=start, end=start + timedelta(minutes=2))
        figures = operations_of(rules, state, window=window, answers=answers, labels=[], run_length=100, plane=PlaneView())
        found.append(figures.operations.objectives[0])
    assert [one.counted for one in found] == [20] * 6
    assert all(one.burn == pytest.approx(100) and one.alarm for one in found)
    kept = np.frombuffer(state.burns["p99"].counts, "<f4").reshape(-1, 2)
    assert kept.tolist() == [[60, 60], [40, 40], [20, 20]]
