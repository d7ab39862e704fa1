"""What answers were worth: totals, means with intervals, baselines, targets missed beyond doubt or plainly."""

from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from tests.unit.monitoring.world import DAY, SPEC, START, World, with_rules

from kedge.domain.alerting import AlertKind
from kedge.domain.ids import PredictionId
from kedge.domain.worth import Better, BusinessRules, MissedWhen, Per
from kedge.errors import RequestInvalid
from kedge.evaluation.value import columns_read, read_value
from kedge.monitoring.sequential import interval_of, mean_evidence

MONEY = "CASE WHEN prediction >= 0.5 THEN CASE WHEN truth = 1 THEN amount ELSE -20 END ELSE 0 END"


def selling(**metrics: BusinessRules) -> World:
    world = World(spec=with_rules(SPEC, business=metrics))
    world.release(1)
    return world


def serve(world: World, day: int, *, amount=10.0, good: float = 0.8, rows: int = 40, told: bool = True, **batch):
    """Answer a day's rows in four requests, all at once half of them with 0.9; tell what came true at its end."""
    random = np.random.default_rng(day)
    truths = (random.random(rows) < good).astype(float)
    for part in range(4):
        own = slice(part * rows // 4, (part + 1) * rows // 4)
        count = len(truths[own])
        outputs = [0.9 if row % 2 else 0.1 for row in range(count)]
        columns = {"amount": [amount] * count, "x": outputs}
        world.ask(
            f"{day}-{part}", START + day * DAY + part * DAY / 4, rows=count, columns=lambda _, c=columns: c, outputs=outputs,
            **batch,
        )  # fmt: skip
        if told:
            names = [PredictionId(f"flights-{day}-{part}.{row}") for row in range(count)]
            world.truth(names, truths[own].tolist(), START + (day + 1) * DAY)
    return truths


def test_money_is_counted_as_its_truth_becomes_known() -> None:
    world = selling(money=BusinessRules(value=MONEY), decisions=BusinessRules(value="prediction >= 0.5"))
    truths = serve(world, 0)
    chosen = np.tile([False, True], 20)
    worth = np.where(chosen, np.where(truths == 1, 10.0, -20.0), 0.0)
    money, decisions = world.measure(0).business
    assert (money.name, money.rows, money.known) == ("money", 40, 1.0)
    assert (money.total, money.mean, money.month) == pytest.approx((worth.sum(), worth.mean(), worth.sum()))
    assert money.always["1"] == pytest.approx(np.where(truths == 1, 10.0, -20.0).mean())
    assert money.always["0"] == 0.0
    assert (decisions.total, decisions.mean) == (20.0, 0.5)


def test_what_needs_no_truth_is_counted_at_once_and_the_rest_as_it_comes() -> None:
    world = selling(money=BusinessRules(value=MONEY), decisions=BusinessRules(value="prediction >= 0.5"))
    serve(world, 0, told=False)
    money, decisions = world.measure(0).business
    assert (money.total, money.mean, money.known, money.lately) == (None, None, 0.0, None)
    assert decisions.total == 20.0
    serve(world, 1)
    money, _ = world.measure(1).business
    assert money.known == 0.5


def test_a_sampled_log_is_weighed() -> None:
    world = selling(decisions=BusinessRules(value="prediction >= 0.5", per=Per.DAY))
    for day in range(3):
        serve(world, day, share=0.5)
        found = world.measure(day).business[0]
    assert (found.rows, found.total, found.mean, found.lately) == (80, 40.0, 0.5, 40.0)


def test_all_versions_that_answered_count_and_testers_do_not() -> None:
    world = selling(decisions=BusinessRules(value="prediction >= 0.5"))
    world.ask("a", START, versions=[1, 2, 1, 2], outputs=[0.9] * 4)
    world.ask("b", START, versions=[1] * 4, outputs=[0.9] * 4, variant="champion")
    assert world.measure(0).business[0].total == 4.0


def played(world: World, days: int, **how):
    alerts = []
    for day in range(days):
        serve(world, day, **how)
        health = world.measure(day)
        alerts += [alert for alert in health.alerts if alert.kind is AlertKind.BUSINESS]
    return health.business[0], alerts


def test_a_target_that_is_missed_beyond_doubt_is_told_once() -> None:
    found, alerts = played(selling(money=BusinessRules(value=MONEY, target=4.0)), 30)
    assert found.missed
    assert found.lower < found.lately < found.upper < 4.0
    assert [alert.subject for alert in alerts] == ["money"]
    assert "money misses its target" in alerts[0].message
    assert "below the target 4" in alerts[0].message
    assert found.evidence >= found.evidence_limit > 1


def test_a_target_that_is_met_is_quiet_from_either_side() -> None:
    for better, target in ((Better.HIGHER, 1.0), (Better.LOWER, 4.0)):
        found, alerts = played(selling(money=BusinessRules(value=MONEY, target=target, better=better)), 30)
        assert (found.missed, alerts) == (False, [])


def test_a_plain_target_is_told_when_a_closed_day_misses_it() -> None:
    rules = BusinessRules(value="truth", per=Per.DAY, target=30.0, alarm=MissedWhen.PLAIN)
    world = selling(sold=rules)
    _, alerts = played(world, 1)
    assert alerts == []
    serve(world, 1, good=0.2)
    health = world.measure(1)
    assert health.business[0].missed
    assert "a single day may be chance" in health.alerts[0].message
    assert health.business[0].evidence_limit == 0.0
    never = BusinessRules(value="truth", per=Per.DAY, target=1e6, alarm=MissedWhen.NEVER)
    assert played(selling(sold=never), 3)[1] == []


def test_a_months_target_is_judged_when_a_whole_month_has_closed_and_missed_until_the_next_has() -> None:
    assert datetime(2013, 3, 1, tzinfo=UTC) == START
    rules = BusinessRules(value="truth", per=Per.MONTH, target=5000.0, alarm=MissedWhen.PLAIN)
    world, missed, told = selling(sold=rules), [], []
    for day in range(63):
        serve(world, day, good=1.0, rows=40 if day < 31 else 200)
        health = world.measure(day)
        found = health.business[0]
        missed.append(found.missed)
        told += [day for alert in health.alerts if alert.kind is AlertKind.BUSINESS]
        if day == 9:
            assert found.month == 400.0
            assert found.lately == pytest.approx(40.0 * 365.25 / 12)
    assert [day for day, one in enumerate(missed) if one] == list(range(30, 60))  # April ends with day 60, and meets it
    assert told == [30]
    assert found.month == 400.0


def test_an_expression_that_cannot_be_computed_is_said_and_costs_nothing_else() -> None:
    world = selling(odd=BusinessRules(value="truth * weight"), text=BusinessRules(value="truth * STRPTIME(carrier, '%Y')"))
    world.serve(0)
    world.tell(0, known=START + DAY)
    odd, text = world.measure(0).business
    assert odd.note == "weight: not in the prediction log"
    assert "cannot be computed on the served rows" in text.note
    assert odd.total is text.total is None


def test_other_words_start_a_metric_anew_and_empty_windows_are_no_evidence() -> None:
    world = selling(money=BusinessRules(value="truth", target=0.1))
    serve(world, 0)
    world.measure(0)
    assert world.measure(1).business[0].total is None
    world.spec = with_rules(SPEC, business={"money": BusinessRules(value="truth * 2", target=0.1)})
    found = world.measure(2).business[0]
    assert (found.known, found.lately, found.days) == (None, None, 0)


def test_a_killed_process_goes_on_with_the_same_figures() -> None:
    def seen(*, again: bool) -> bytes:
        world = selling(money=BusinessRules(value=MONEY, target=2.0), day=BusinessRules(value="truth", per=Per.DAY))
        monitoring, found = world.monitoring(), []
        for day in range(4):
            serve(world, day)
            found.append(world.measure(day, None if again else monitoring).business)
        return msgspec.json.encode(found)

    assert seen(again=True) == seen(again=False)


def test_expressions_are_read_before_anything_runs() -> None:
    assert columns_read(MONEY) == {"prediction", "truth", "amount"}
    assert columns_read("carrier || 'x' = 'y'") == {"carrier"}
    for wrong in ("SUM(truth)", "1 + 1", "truth +"):
        with pytest.raises(RequestInvalid):
            read_value(wrong)


def test_the_interval_holds_the_mean_however_often_one_looks() -> None:
    random = np.random.default_rng(5)
    wrong = 0
    for _ in range(300):
        days = random.normal(3.0, 2.0, 40)
        bounds = [interval_of(days[:count]) for count in range(2, 41)]
        wrong += any(one is not None and not one[0] <= 3.0 <= one[1] for one in bounds)
    assert wrong <= 15 + 5
    low, high = interval_of(random.normal(3.0, 2.0, 56))
    assert high - low < 3.0
    assert interval_of(np.array([1.0])) is None
    # the interval ends where the evidence against a mean reaches 1 / 0.05
    days = random.normal(0.0, 1.0, 20)
    low, _ = interval_of(days)
    assert mean_evidence((days - low)[:, None])[0] == pytest.approx(20.0, rel=1e-6)
