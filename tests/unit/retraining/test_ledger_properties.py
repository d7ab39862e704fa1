"""What holds of the ledger whatever the losses are."""

import math
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.monitoring.world import START

from kedge.domain.evaluation import Gain
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import StepLosses
from kedge.domain.retraining import LedgerEntry
from kedge.retraining.ledger import (
    PRIOR_SLOPE,
    RETRAIN,
    Observation,
    advance,
    after_look,
    carried,
    look_due,
    opening,
    start_from,
    steps_left,
)

WEEK = timedelta(days=7)
LOSSES = st.just(0.0) | st.floats(1e-6, 5)  # no loss so small that another currency rounds it to nothing
STEPS = st.lists(
    st.tuples(st.integers(0, 2000), LOSSES, st.none() | LOSSES, st.none() | st.floats(-3, 3)), min_size=1, max_size=25
)


def walked(steps, *, price: float, phi: float, scale: float = 1.0) -> list[LedgerEntry]:
    """Take steps of (labels, loss, loss of an older model or none, gain of a look or none), training where S meets c."""
    entry, entries, age = opening(ModelName("m"), policy="ledger", price=price * scale), [], 0.0
    for number, (labels, loss, older, gain) in enumerate(steps):
        age += 1
        losses = {} if not labels else {2: loss * scale} | ({1: older * scale} if older is not None else {})
        step = StepLosses(
            start=START + number * WEEK,
            end=START + (number + 1) * WEEK,
            rows=labels,
            champion=2,
            losses=losses,
            ages={2: age, 1: age + 3},
            labels=labels,
        )
        entry = advance(entry, step, price=price * scale, phi=phi)
        if gain is not None and look_due(entry):
            entry = after_look(entry, step, gain=Gain(mean=gain * scale, rows=labels, gap=age - 1))
        if 0 < entry.regret >= entry.price:
            entry, age = msgspec.structs.replace(entry, decision=RETRAIN), 0.0
        entries.append(entry)
    return entries


@given(steps=STEPS, price=st.floats(0.1, 1e5), phi=st.sampled_from((0.0, 0.01, 0.2, 0.3)))
@settings(max_examples=150)
def test_the_regret_is_never_below_zero_nor_the_slope_below_its_floor(steps, price, phi) -> None:
    for entry in walked(steps, price=price, phi=phi):
        assert entry.regret >= 0
        assert entry.slope >= PRIOR_SLOPE * entry.level / 4 - 1e-12
        assert entry.gaps >= 0
        assert math.isfinite(entry.interval)
        assert entry.interval > 0
        assert not (phi > 0.25 and entry.looked)
        after = carried(entry)
        assert after.regret == (0 if entry.decision == RETRAIN else entry.regret)


@given(steps=STEPS, price=st.floats(0.1, 1e4), scale=st.sampled_from((1 / 64, 0.5, 8.0, 1024.0)))
@settings(max_examples=100)
def test_the_currency_does_not_matter(steps, price, scale) -> None:
    plain, scaled = walked(steps, price=price, phi=0.01), walked(steps, price=price, phi=0.01, scale=scale)
    assert [one.decision for one in plain] == [one.decision for one in scaled]
    assert [one.looked for one in plain] == [one.looked for one in scaled]
    assert [one.regret * scale for one in plain] == pytest.approx([one.regret for one in scaled])


@given(loss=st.floats(0.01, 5), labels=st.integers(1, 5000), price=st.floats(1, 1e5))
@settings(max_examples=80)
def test_the_steps_left_are_those_that_follow_where_nothing_new_is_seen(loss, labels, price) -> None:
    step = (labels, loss, None, None)
    entry = walked([step], price=price, phi=1.0)[0]
    left = steps_left(entry)
    if entry.decision == RETRAIN or left > 200:
        return
    entries = walked([step] * (math.ceil(left - 1e-6) + 1), price=price, phi=1.0)
    assert entries[-1].decision == RETRAIN
    assert all(one.decision != RETRAIN for one in entries[:-1])


@given(
    history=st.lists(st.tuples(st.integers(-400, 400), st.floats(-10, 10), st.floats(0, 8)), max_size=12),
    upto=st.integers(-400, 400),
)
def test_a_start_knows_nothing_of_what_is_not_over(history, upto) -> None:
    days = sorted(history)
    moment = START + upto * timedelta(days=1)
    told = [Observation(end=START + day * timedelta(days=1), gain=gain, gap=gap) for day, gain, gap in days]
    found = start_from(told, upto=moment)
    assert found == start_from([one for one in told if one.end <= moment], upto=moment)
    assert found.observations == sum(day <= upto for day, _, _ in days)
    assert 0 <= found.gaps <= sum(gap for _, _, gap in days) + 1e-9
