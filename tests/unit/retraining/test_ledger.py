"""The ledger's arithmetic, and what it does on streams whose drift is known."""

import math
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from tests.unit.monitoring.world import START

from kedge.domain.evaluation import Gain
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import StepLosses
from kedge.retraining.ledger import (
    LONGEST_INTERVAL,
    PRIOR_SLOPE,
    RETRAIN,
    advance,
    after_look,
    carried,
    interval_of,
    look_due,
    opening,
    slope_of,
    steps_left,
)

WEEK = timedelta(days=7)


def step(number=0, *, labels=1000, losses=None, ages=None, rows=None) -> StepLosses:
    return StepLosses(
        start=START + number * WEEK,
        end=START + (number + 1) * WEEK,
        rows=labels if rows is None else rows,
        champion=1,
        losses={1: 0.5} if losses is None else losses,
        ages=ages or {1: number + 1.0},
        labels=labels,
    )


def fresh(price=40.0):
    return opening(ModelName("m"), policy="ledger", price=price)


def test_the_first_step_knows_only_the_prior() -> None:
    entry = advance(fresh(), step(), price=40.0, phi=0.0)
    assert entry.level == 500.0
    assert entry.slope == pytest.approx(PRIOR_SLOPE * 500)
    assert entry.gain == entry.regret == entry.slope
    assert entry.interval == pytest.approx(math.sqrt(2 * 40 / 5))
    assert (entry.step, entry.champion, entry.rows, entry.since_look, entry.age) == (1, 1, 1000, 1, 1.0)


def test_the_level_follows_slowly() -> None:
    entry = advance(fresh(), step(), price=40.0, phi=0.0)
    assert advance(entry, step(1, losses={1: 1.0}), price=40.0, phi=0.0).level == pytest.approx(0.8 * 500 + 0.2 * 1000)


def test_a_step_without_labels_adds_no_regret() -> None:
    entry = advance(fresh(), step(), price=40.0, phi=0.0)
    empty = advance(entry, step(1, labels=0, losses={}), price=40.0, phi=0.0)
    assert (empty.regret, empty.level, empty.since_look) == (entry.regret, entry.level, 2)
    assert not look_due(msgspec.structs.replace(empty, age=9.0))


def test_the_retired_model_teaches_the_slope() -> None:
    pair = step(losses={1: 0.5, 7: 0.56}, ages={1: 1.0, 7: 4.0})
    entry = advance(fresh(), pair, price=40.0, phi=0.0)
    assert (entry.gains, entry.gaps) == pytest.approx((60.0, 3.0))
    assert entry.slope == pytest.approx((5 * 30 + 60) / (30 + 3))
    again = advance(entry, step(1), price=40.0, phi=0.0)
    assert (again.gains, again.gaps) == pytest.approx((60 * 0.98, 3 * 0.98))


def test_a_part_of_a_step_counts_as_that_part() -> None:
    pair = step(losses={1: 0.5, 7: 0.56}, ages={1: 1.0, 7: 4.0}, rows=100)
    entry = advance(fresh(), pair, price=40.0, phi=0.0)
    assert (entry.gains, entry.gaps) == pytest.approx((6.0, 0.3))


def test_a_newer_model_beside_the_champion_teaches_nothing() -> None:
    pair = step(losses={1: 0.5, 7: 0.4}, ages={1: 3.0, 7: 1.0})
    assert advance(fresh(), pair, price=40.0, phi=0.0).gaps == 0.0


def test_a_long_quiet_time_does_not_teach_that_nothing_ages() -> None:
    assert slope_of(500.0, gains=-1e6, gaps=100.0) == pytest.approx(PRIOR_SLOPE * 500 / 4)
    assert interval_of(40.0, 0.0) == LONGEST_INTERVAL


def test_a_training_pays_the_regret_off() -> None:
    entry = msgspec.structs.replace(advance(fresh(), step(), price=4.0, phi=0.0), decision=RETRAIN)
    rested = carried(entry)
    assert (rested.regret, rested.gain, rested.since_look, rested.last_gain) == (0.0, 0.0, 0, None)
    assert rested.slope == entry.slope
    assert advance(entry, step(1), price=4.0, phi=0.0).regret == pytest.approx(rested.slope, rel=0.1)


def test_a_look_corrects_regret_and_rate() -> None:
    entry = fresh()
    for number in range(3):
        entry = advance(entry, step(number), price=1000.0, phi=0.1)
    looked = after_look(entry, step(2), gain=Gain(mean=0.03, rows=1000, gap=2.0))
    assert looked.gain == looked.last_gain == pytest.approx(30.0)
    assert looked.regret == pytest.approx(3 * (0 + 30) / 2)
    assert (looked.since_look, looked.regret_at_look, looked.looked) == (0, looked.regret, True)
    again = after_look(advance(looked, step(3), price=1000.0, phi=0.1), step(3), gain=Gain(mean=0.05, rows=1000, gap=3.0))
    assert again.regret == pytest.approx(looked.regret + 50)  # one step: its own gain
    worse = after_look(advance(looked, step(3), price=1000.0, phi=0.1), step(3), gain=Gain(mean=-1.0, rows=1000, gap=3.0))
    assert worse.regret == 0.0


@pytest.mark.parametrize(
    ("phi", "since", "age", "due"),
    [(0.0, 1, 2.0, True), (0.0, 1, 1.0, False), (0.1, 1, 3.0, False), (0.1, 2, 3.0, True), (0.3, 50, 60.0, False)],
)
def test_looks_are_rationed_by_their_price(phi, since, age, due) -> None:
    entry = msgspec.structs.replace(fresh(), rows=10, phi=phi, since_look=since, age=age, interval=4.0)
    assert look_due(entry) is due


def test_the_time_left_is_when_the_regret_meets_the_price() -> None:
    entry = msgspec.structs.replace(fresh(), slope=2.0, gain=4.0, regret=10.0, price=40.0)
    left = steps_left(entry)
    assert 10 + 4 * left + left * (left + 1) == pytest.approx(40.0)
    assert steps_left(msgspec.structs.replace(entry, regret=41.0)) == 0.0
    assert steps_left(msgspec.structs.replace(entry, slope=0.0)) == pytest.approx(7.5)
    assert steps_left(msgspec.structs.replace(entry, slope=0.0, gain=0.0)) == math.inf


def simulate(loss_at_age, *, price: float, steps: int, rows: int = 1000, looks: bool = False, seed: int = 0) -> list[int]:
    """Play a stream where a model's mean loss depends on its age alone; give the steps at which the ledger trains."""
    random = np.random.default_rng(seed)
    entry, trained, retired, trainings = fresh(price), 0, None, []
    for number in range(1, steps + 1):
        age = float(number - trained)
        noise = random.normal(0, 0.005)  # what a week has in common for all models
        versions = {1: age} | ({7: float(number - retired)} if retired is not None and number - trained <= 8 else {})
        losses = {version: loss_at_age(old) + noise + random.normal(0, 0.002) for version, old in versions.items()}
        closed = step(number, labels=rows, losses=losses, ages=versions)
        entry = advance(entry, closed, price=price, phi=0.05 if looks else 1.0)
        if looks and look_due(entry):
            gain = losses[1] - loss_at_age(1.0) - noise - random.normal(0, 0.002)
            entry = after_look(entry, closed, gain=Gain(mean=gain, rows=rows, gap=age - 1))
        if entry.regret >= price:
            trainings.append(number)
            retired, trained = trained, number
            entry = msgspec.structs.replace(entry, decision=RETRAIN)
    return trainings


@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize("slope", [0.004, 0.01, 0.03])
def test_linear_ageing_is_retrained_at_the_square_root_interval(slope, looks) -> None:
    price, rows = 200.0, 1000
    best = math.sqrt(2 * price / (slope * rows))
    trainings = simulate(lambda age: 0.5 + slope * age, price=price, steps=400, looks=looks)
    later = np.diff([at for at in trainings if at > 200])
    assert best * 0.7 - 1 <= later.mean() <= best * 1.3 + 1


def test_without_drift_there_is_almost_never_a_reason() -> None:
    looked = simulate(lambda age: 0.5, price=2000.0, steps=400, looks=True)
    assert len(looked) <= 3
    blind = simulate(lambda age: 0.5, price=2000.0, steps=400)
    assert len(blind) <= 400 / (2 * math.sqrt(2 * 2000 / 5)) + 3  # the slope stays at a quarter of the prior at least


def test_a_cheap_retraining_comes_every_step_and_a_dear_one_never() -> None:
    assert len(simulate(lambda age: 0.5 + 0.02 * age, price=1.0, steps=50)) == 50
    assert simulate(lambda age: 0.5 + 0.02 * age, price=1e7, steps=50) == []
