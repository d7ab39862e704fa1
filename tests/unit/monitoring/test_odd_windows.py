"""Windows that are late, repeated, out of order, huge, or stamped by a wrong clock: every row counts once, and what is odd
is named."""

from datetime import timedelta

import numpy as np
import pytest
from tests.unit.monitoring.test_measure import released
from tests.unit.monitoring.world import DAY, START, World

from kedge.domain.ids import PredictionId
from kedge.domain.monitoring import Matrix, Profile
from kedge.monitoring.drift import joint
from kedge.monitoring.drift.profile import merge
from kedge.monitoring.drift.window import _count
from kedge.monitoring.served import parts_of


@pytest.fixture
def world() -> World:
    return released()


def profiled(health) -> int:
    """Count the rows in the drift of a window's first column."""
    return health.rows + health.late


def test_rows_that_come_late_are_folded_into_the_next_window_once(world) -> None:
    world.serve(0)
    world.measure(0)
    world.ask("late", START + 3 * DAY / 4, rows=5)
    world.serve(1)
    second = world.measure(1)
    assert (second.rows, second.late, second.join.late_predictions) == (96, 5, 5)
    assert world.monitoring().newest_profile(world.spec.name).rows == 101
    assert "5 rows of windows before came late, counted in this window's drift alone" in second.notes
    world.serve(2)
    third = world.measure(2)  # by a new process
    assert (third.rows, third.late) == (96, 0)
    assert world.monitoring().newest_profile(world.spec.name).rows == 96


def test_the_truth_of_a_late_row_counts(world) -> None:
    world.measure(0)
    world.ask("late", START + DAY / 2)
    world.truth([PredictionId("flights-late.0")], [1.0], START + 2 * DAY)
    assert world.measure(1).labels == 1


def test_rows_out_of_order_make_the_same_window(world) -> None:
    hours = [START + hour * DAY / 24 for hour in range(24)]
    rows = [{"x": [0.01 * hour, 0.5], "carrier": ["AA", "UA"]} for hour in range(24)]
    other = released()
    for hour in range(24):
        world.ask(str(hour), hours[hour], rows=2, columns=lambda _, hour=hour: rows[hour], outputs=[0.1, 0.2])
    for hour in reversed(range(24)):
        other.ask(str(hour), hours[hour], rows=2, columns=lambda _, hour=hour: rows[hour], outputs=[0.1, 0.2])
    assert world.measure(0) == other.measure(0)


def test_rows_of_the_far_past_and_of_the_future_are_named_and_not_counted(world) -> None:
    world.serve(0)
    world.ask("past", START - 5000 * DAY)
    world.ask("future", START + 5000 * DAY)
    world.ask("forecast", START + 3 * DAY)
    first = world.measure(0)
    assert (first.rows, first.join.lost_predictions, first.join.future_predictions) == (96, 4, 4)
    assert "4 rows came more than a step after their window, not counted" in first.notes
    assert "4 rows bear a time too far ahead, not counted: a wrong clock?" in first.notes
    assert [world.measure(day).rows for day in (1, 2, 3)] == [0, 0, 4]


def test_a_wrong_clock_does_not_make_the_monitor_remember_for_ever(world) -> None:
    world.ask("future", START + 5000 * DAY)
    for day in range(220):
        world.serve(day, requests=1)
        health = world.measure(day)
    _, join = world.monitoring()._resume(world.spec, world.window(220))
    assert health.rows == 4
    assert len(join._requests) < 200


def test_a_clock_that_goes_back_measures_each_window_once(world) -> None:
    world.serve(0)
    first = world.measure(0)
    world.clock.time = START - DAY
    assert world.monitoring().measure(world.spec, world.window(0)) == first
    world.serve(1)
    world.clock.time = START + DAY / 2  # the clock is behind the window's end
    second = world.monitoring().measure(world.spec, world.window(1))
    assert (second.rows, second.join.future_predictions) == (96, 0)


def test_columns_that_change_type_become_constant_or_infinite_are_named(world) -> None:
    world.serve(0, columns=lambda features: {"x": [str(value) for value in features["x"]], "carrier": [1, 2, 3, 4]})
    notes = world.measure(0).notes
    assert "x: 96 of 96 values are text where numbers were expected" in notes
    assert "carrier: 96 of 96 values are numbers where text was expected" in notes
    world.serve(1, columns=lambda features: {"x": [0.25] * 4, "carrier": ["AA"] * 4})
    notes = world.measure(1).notes
    assert "x: the column became constant; all 96 values lie in one bin or category" in notes
    assert "carrier: the column became constant; all 96 values lie in one bin or category" in notes
    world.serve(2, columns=lambda features: {"x": [float("inf"), float("-inf"), 0.1, 0.2], "carrier": ["AA", "ZZ"] * 2})
    health = world.measure(2)
    assert "x: 48 of 96 values are infinite" in health.notes
    assert "carrier: 48 of 96 values are in no category of the reference" in health.notes
    assert all(np.isfinite([one.evidence, one.psi, *one.distances.values()]).all() for one in health.drift)


def test_a_huge_window_is_counted_in_bounded_parts(world) -> None:
    for hour in range(6):
        values = np.random.default_rng(hour).random((30_000, 1))
        world.ask(
            f"big-{hour}",
            START + hour * DAY / 24,
            rows=30_000,
            features={},
            matrix=Matrix(("x",), values),
            entities=[],
        )
    _, join = world.monitoring()._resume(world.spec, world.window(0))
    join.read(world.predictions, world.truths, floor=START)
    sizes = [part.rows for part in parts_of(join.answered(START, START + DAY))]
    assert (sum(sizes), max(sizes)) == (180_000, 60_000)
    health = world.measure(0)
    assert health.rows == 180_000
    assert not health.drift[0].alarm
    assert health.drift[1].alarm  # the carrier vanished


def test_the_profiles_of_workers_add_up_to_that_of_one(world) -> None:
    segments = [f"{worker}-{hour}" for hour in range(9) for worker in range(3)]
    for place, name in enumerate(segments):
        world.ask(name, START + place * timedelta(minutes=7), rows=3)
    _, join = world.monitoring()._resume(world.spec, world.window(0))
    join.read(world.predictions, world.truths, floor=START)
    everything = join.answered(START, START + DAY)
    watch = world.monitoring()._watch_of(world.spec.name, 1)
    known = watch.reference.profile.columns
    planned = joint.plan(watch.data, joint.start(watch.data))

    def count(answers) -> Profile:
        return _count(known, parts_of(answers), width=watch.data.width, planned=planned).profile

    parts = [count([one for one in everything if one.request.startswith(f"flights-{worker}-")]) for worker in range(3)]
    assert merge(merge(parts[0], parts[1]), parts[2]) == count(everything)
    assert merge(parts[2], merge(parts[1], parts[0])) == count(everything)
