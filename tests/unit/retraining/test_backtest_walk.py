"""Walking a loss matrix: the oracle against brute force, the walk against the room that decides live, what things cost."""

from datetime import timedelta
from itertools import product

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.monitoring.world import MODEL, START, version
from tests.unit.retraining.test_retraining_room import Loop, spec_of

from kedge.domain.evaluation import Gain
from kedge.domain.monitoring import Health, StepLosses, Window
from kedge.domain.retraining import SHADOW_STEPS, Look, Retrain, RetrainingRules
from kedge.errors import ConfigError
from kedge.retraining.backtest.contest import compare, courses
from kedge.retraining.backtest.intervals import interval, resampled
from kedge.retraining.backtest.matrix import Blocks, GroupLosses, LossMatrix, square
from kedge.retraining.backtest.oracle import oracle
from kedge.retraining.backtest.walk import Course, WalkTerms, by_policy, every, walk
from kedge.retraining.ledger import RETRAIN

WEEK = timedelta(days=7)
FREE = RetrainingRules(min_labels=1, cooldown="1s")


def ageing(steps=30, *, slope=3.0, loss=100.0, noise=0.0, rows=1000, seed=0) -> LossMatrix:
    """Make a matrix whose models lose `slope` more in each step of their age."""
    random = np.random.default_rng(seed)
    age = np.maximum(0, np.arange(steps)[None, :] - np.arange(steps)[:, None])
    losses = loss + slope * age + noise * random.normal(size=steps)[None, :] + noise / 3 * random.normal(size=age.shape)
    return square(np.triu(losses), np.full(steps, float(rows)))


def cheapest(losses: np.ndarray, price: float, *, delay: int) -> float:
    """Try every set of trainings."""
    steps = losses.shape[1]
    best = np.inf
    for trains in product((False, True), repeat=steps - 1):
        champion, cost = 0, losses[0, 0]
        for step, trained in enumerate(trains, 1):
            if trained:
                champion, cost = max(0, step - delay), cost + price
            cost += losses[champion, step]
        best = min(best, cost)
    return float(best)


@given(seed=st.integers(0, 10**6), steps=st.integers(1, 8), price=st.floats(0, 5), delay=st.integers(0, 3))
@settings(max_examples=60)
def test_the_oracle_is_as_cheap_as_the_best_of_all_sets_of_trainings(seed, steps, price, delay) -> None:
    losses = np.triu(np.random.default_rng(seed).uniform(0, 10, size=(steps, steps)))
    losses[np.tril_indices(steps, -1)] = 0.0
    cost, course = oracle([losses], price, delay=delay)
    assert cost == pytest.approx(cheapest(losses, price, delay=delay))
    turned = sum(now != before for (_, now), (_, before) in zip(course[1:], course, strict=False))
    walked = sum(losses[model, step] for step, (_, model) in enumerate(course)) + price * turned
    assert walked == pytest.approx(cost)


def test_the_oracle_may_choose_rows_anew_at_each_training() -> None:
    old, new = np.triu(np.full((4, 4), 10.0)), np.triu(np.full((4, 4), 10.0))
    new[1, 1:] = 1.0
    cost, course = oracle([old, new], 2.0)
    assert (cost, course) == (10 + 2 + 3, [(0, 0), (1, 1), (1, 1), (1, 1)])


class Live:
    """The room that decides live, fed step by step from a matrix, its trials over at once."""

    def __init__(self, matrix: LossMatrix, *, price: float, cpu_hour=0.0) -> None:
        self.matrix = matrix
        self.loop = Loop(spec_of(retrain=price, cpu_hour=cpu_hour, min_labels=1, cooldown="1s"))
        self.loop.deploy(1, at=START)
        self.champion, self.retired, self.released = 0, None, 0
        self.trained: list[int] = []

    def step(self, number: int) -> None:
        """Close one step: model m of the matrix is version m + 1."""
        told, champion, loop = self.matrix.told, self.champion, self.loop
        rows = int(told.rows_by_step[number])
        models = [champion]
        if self.retired is not None and number - self.released < SHADOW_STEPS:
            models.append(self.retired)
        window = Window(START + number * WEEK, START + (number + 1) * WEEK)
        loop.clock.time = window.end
        step = StepLosses(
            start=window.start,
            end=window.end,
            rows=rows,
            champion=champion + 1,
            losses={model + 1: float(told.by_step[model, number]) / rows for model in models},
            ages={model + 1: float(number + 1 - model) for model in models},
            labels=rows,
        )
        known = {"rows": rows, "labels": rows, "versions": (), "blocks": (), "drift": (), "risk": None, "alerts": ()}
        health = Health(
            model=MODEL, window=window, loss=0.0, step=step, champion=champion + 1, fresh_labels=rows * 99, **known
        )
        decision = loop.room.decide(loop.spec, health)
        if isinstance(decision, Look):
            gain = None
            if number > champion:
                mean = float(told.by_step[champion, number] - told.by_step[number, number]) / rows
                gain = Gain(mean=mean, rows=rows, gap=float(number - champion))
            decision = loop.room.looked(loop.spec, health, gain)
        if isinstance(decision, Retrain):
            loop.room.turned(loop.spec, decision, version(number + 2, window.end))
            loop.deploy(number + 2, at=window.end)
            self.retired, self.champion, self.released = champion, number + 1, number + 1
            self.trained.append(number + 1)


@pytest.mark.parametrize(("seed", "price"), [(0, 40.0), (1, 150.0), (2, 15.0), (3, 90.0)])
def test_the_walk_decides_as_the_room_does_live(seed, price) -> None:
    matrix = ageing(25, slope=4.0, noise=6.0, seed=seed)
    live = Live(matrix, price=price)
    for number in range(matrix.steps - 1):
        live.step(number)
    terms = WalkTerms(price=price, rules=msgspec.structs.replace(FREE, policy="ledger"))
    walked = walk(matrix, terms, rule=by_policy("ledger"), looks=True)
    assert list(walked.trainings) == live.trained
    assert len(live.trained) > 1
    entries = [entry for entry in live.loop.meta.ledgers.list(MODEL) if not entry.window.startswith("turn/")]
    assert [entry.regret for entry in entries] == pytest.approx([entry.regret for entry in walked.entries[:-1]])
    assert [entry.decision for entry in entries] == [entry.decision for entry in walked.entries[:-1]]


def test_without_looks_linear_ageing_is_met_at_the_best_interval() -> None:
    price, slope = 300.0, 3.0
    matrix = ageing(80, slope=slope)
    walked = walk(matrix, WalkTerms(price=price, phi=1.0, rules=FREE), rule=by_policy("ledger"), looks=True)
    gaps = np.diff(walked.trainings)
    assert walked.looks == 0
    assert gaps[-1] == pytest.approx(np.sqrt(2 * price / slope), abs=2)
    best = min(every(k, matrix).cost(matrix, WalkTerms(price=price)) for k in range(80))
    assert walked.cost(matrix, WalkTerms(price=price)) < 1.03 * best


def test_later_labels_mean_older_models_and_later_evidence() -> None:
    matrix = ageing(20, slope=5.0)
    late = walk(matrix, WalkTerms(price=10.0, delay=3, rules=FREE), rule=by_policy("ledger"), looks=True)
    assert all(model == max(0, step - 3) for step, model in enumerate(late.champions) if step in late.trainings)
    assert [entry.rows for entry in late.entries[:3]] == [0, 0, 0]
    assert late.cost(matrix, WalkTerms(price=10.0)) > walk(
        matrix, WalkTerms(price=10.0, rules=FREE), rule=by_policy("ledger"), looks=True
    ).cost(matrix, WalkTerms(price=10.0))


def test_what_a_course_costs() -> None:
    matrix = square([[1.0, 2.0, 4.0], [0.0, 1.5, 2.5], [0.0, 0.0, 1.0]], [10, 10, 10])
    course = Course(champions=(0, 1, 1), looks=2)
    assert course.trainings == (1,)
    assert course.losses(matrix).tolist() == [1.0, 1.5, 2.5]
    assert course.cost(matrix, WalkTerms(price=2.0, phi=0.1)) == pytest.approx(5 + 2 * (1 + 0.2))
    assert every(2, matrix).champions == (0, 0, 2)
    assert every(0, matrix).trainings == ()


def test_limits_hold_in_a_walk_too() -> None:
    matrix = ageing(12, slope=50.0, rows=100)
    rules = msgspec.structs.replace(FREE, min_labels=350)
    walked = walk(matrix, WalkTerms(price=1.0, rules=rules), rule=lambda seen: True)
    assert walked.trainings == (4, 8)  # 100 labels a step
    rested = walk(matrix, WalkTerms(price=1.0, rules=msgspec.structs.replace(FREE, cooldown="15d")), rule=lambda seen: True)
    assert set(np.diff(rested.trainings).tolist()) == {3}


def test_every_policy_is_walked_and_priced() -> None:
    blocks = 4
    matrix = ageing(24, slope=8.0, noise=4.0)
    parts = Blocks(
        np.repeat(matrix.told.losses, blocks, axis=1) / blocks,
        np.repeat(matrix.told.rows, blocks) / blocks,
        np.repeat(np.arange(24), blocks),
        24,
    )
    half = GroupLosses(matrix.told.losses * 0.75, matrix.told.rows / 2)
    whole = LossMatrix(
        parts, parts, alarms=np.arange(24) + 2, groups={"site=a": half}, first=np.array([24.0, 25.0, 26.0, 25.0]) / 250
    )
    begins = [START + step * WEEK for step in range(24)]
    terms = WalkTerms(price=60.0, rules=msgspec.structs.replace(FREE, policy="every 21d"))
    costs = {one.policy: one for one in compare(whole, terms, against="every 4 steps", begins=begins)}
    assert costs["never"].relative == 1.0
    assert costs["never"].trained == ()
    assert costs["every 4 steps"].difference == costs["every 4 steps"].low == 0.0
    assert costs["every 21d"].trainings == pytest.approx(costs["every 4 steps"].trainings, abs=3)
    assert costs["drift"].trainings >= 6  # it alarms in the third step of each model
    for name in ("risk", "CUSUM", "performance drop"):
        assert costs[name].trainings > 0, name
    least = min(one.relative for one in costs.values())
    assert costs["oracle"].relative == least
    assert costs["best interval in hindsight"].relative <= costs["best interval of the first third"].relative
    assert {name for name, one in costs.items() if one.hindsight} == {"oracle", "best interval in hindsight"}
    assert costs["ledger"].low <= costs["ledger"].difference <= costs["ledger"].high
    assert costs["ledger"].worst_group.name == "site=a"
    assert costs["never"].worst_step.name == f"{begins[-1]:%Y-%m-%d}"
    short = [START + step * WEEK / 2016 for step in range(24)]
    within = {one.policy: one for one in compare(whole, terms, against="never", begins=short)}
    assert within["never"].worst_step.name == f"{short[-1]:%Y-%m-%d %H:%M}"
    assert costs["never"].by_step[-1] == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="'monthly' is not among the policies"):
        compare(whole, terms, against="monthly", begins=begins)


def test_a_walk_writes_no_training_that_nothing_would_be_served_by() -> None:
    walked = walk(ageing(6, slope=500.0), WalkTerms(price=1.0, rules=FREE), rule=by_policy("ledger"))
    assert walked.entries[-1].decision != RETRAIN
    assert set(courses(ageing(9), WalkTerms(price=1.0, rules=FREE))) >= {"never", "ledger", "oracle", "risk"}


def test_resamples_keep_the_length_and_the_mean() -> None:
    series = np.random.default_rng(1).normal(2.0, 1.0, size=90)
    sums = resampled(series, stretch=7)
    assert sums.shape == (2000,)
    assert sums.mean() == pytest.approx(series.sum(), abs=4)
    low, high = interval(series, stretch=7)
    assert low < series.sum() < high
    assert interval(np.full(5, 3.0), stretch=7) == (15.0, 15.0)
