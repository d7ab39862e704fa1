"""Quality by windows: cohorts that fill as labels arrive, slices, and what is odd about labels."""

from datetime import timedelta

import msgspec
import numpy as np
import pytest
from tests.unit.monitoring.world import DAY, SPEC, START, World, frame, with_rules

from kedge.domain.evaluation import Check, GateRules, Task
from kedge.domain.ids import PredictionId
from kedge.domain.monitoring import Window
from kedge.domain.project import DataRules
from kedge.evaluation.metrics import METRICS
from kedge.monitoring.quality.cohorts import KEPT
from kedge.monitoring.state import decode_state, encode_state


def world_of(**rules) -> World:
    made = World(spec=with_rules(SPEC, **rules))
    made.release(1)
    made.references().take(made.spec, made.registry.versions[1], frame())
    return made


def names(day: int, *, requests: int = 24, rows: int = 4) -> list[PredictionId]:
    return [PredictionId(f"flights-{day}-{hour}.{row}") for hour in range(requests) for row in range(rows)]


def test_a_cohort_fills_as_its_labels_arrive() -> None:
    world = world_of()
    world.serve(0)
    first = world.measure(0).quality
    assert [(one.start, one.rows, one.labels, one.arrived, one.metrics) for one in first.cohorts] == [
        (START, 96, 0, 0.0, {})
    ]
    assert (first.rows, first.known, first.arrived) == (0, {}, 0.0)
    world.truth(names(0)[:24], [0.0, 1.0] * 12, START + 2 * DAY)
    second = world.measure(1).quality
    assert [(one.start - START, one.labels, one.arrived) for one in second.cohorts] == [(timedelta(), 24, 0.25)]
    world.truth(names(0)[24:], [1.0] * 72, START + 9 * DAY)
    world.measure(2)
    late = world.measure(8).quality
    (cohort,) = [one for one in late.cohorts if one.start == START]
    assert (cohort.labels, cohort.arrived, late.rows, late.arrived) == (96, 1.0, 72, 1.0)
    assert cohort.metrics["recall"].value != second.cohorts[0].metrics["recall"].value


def test_newly_known_rows_are_measured_as_by_row_and_the_cohort_with_them() -> None:
    world = world_of()
    outputs = np.round(np.random.default_rng(0).random(400), 6)
    truths = (np.random.default_rng(1).random(400) < outputs).astype(float)
    world.ask("0-0", START, rows=400, outputs=outputs.tolist())
    world.truth(names(0, requests=1, rows=400), truths.tolist(), START + DAY)
    quality = world.measure(0).quality
    for name, banded in quality.known.items():
        assert banded.value == pytest.approx(METRICS[name](truths, outputs, 0.5)), name
        near = 0.02 if name == "calibration_error" else 5e-3  # few rows: bins of equal rows are cut elsewhere
        assert quality.cohorts[0].metrics[name].value == pytest.approx(banded.value, abs=near), name
    assert set(quality.known) == {name for name, metric in METRICS.items() if metric.task is Task.CLASSIFICATION}


def test_bands_come_with_the_fifth_day() -> None:
    world = world_of()
    for day in range(8):
        world.serve(day, requests=6)
        world.tell(day, requests=6, known=START + (day + 1) * DAY)
        quality = world.measure(day).quality
        assert (quality.recent["log_loss"].low is not None) == (day >= 4)
        assert (quality.known["log_loss"].low is not None) == (day >= 4)
    assert (quality.days, quality.recent_rows) == (8, 8 * 24)
    assert quality.recent["log_loss"].low < quality.recent["log_loss"].value < quality.recent["log_loss"].high
    assert sum(each.rows for each in quality.calibration.bins) == quality.calibration.rows == 8 * 24


def test_slices_are_judged_from_the_least_rows_on() -> None:
    gate = GateRules(min_group=30, checks=(Check(slices=("carrier",), metric="roc_auc", worst_at_least=0.5),))
    world = World(spec=msgspec.structs.replace(with_rules(SPEC, slices=("x", "nothing")), gate=gate))
    world.release(1)
    carriers = ["AA"] * 40 + ["UA"] * 20
    world.ask("0-0", START, rows=60, outputs=[0.5] * 60, columns=lambda of: {"x": [1.0] * 60, "carrier": carriers})
    world.truth(names(0, requests=1, rows=60), [1.0] * 60, START + DAY)
    quality = world.measure(0).quality
    assert {(one.slice, one.rows, one.bias) for one in quality.slices} == {("carrier=AA", 40, 0.5), ("x=1.0", 60, 0.5)}
    assert quality.unjudged == ("carrier=UA",)
    assert quality.slices[0].metrics["log_loss"].value == pytest.approx(np.log(2))


def test_slices_beyond_the_most_are_named_as_left_out() -> None:
    world = world_of(slices=("x",))
    world.ask(
        "0-0", START, rows=150, columns=lambda of: {"x": [float(place) for place in range(150)], "carrier": ["AA"] * 150}
    )
    world.truth(names(0, requests=1, rows=150), [1.0] * 150, START + DAY)
    health = world.measure(0)
    assert len(health.quality.unjudged) == 100
    assert any("100 slices are followed" in note for note in health.notes)


def test_odd_labels_and_answers_spoil_nothing() -> None:
    world = world_of()
    world.truth([PredictionId("flights-0-0.0"), PredictionId("flights-never.0")], [1.0, 1.0], START + DAY)  # comes first
    world.ask("0-0", START, outputs=[0.9, float("nan"), 0.2, float("inf")])
    world.truth(names(0, requests=1), [0.0, 1.0, 0.0, 1.0], START + DAY)  # the first fact about row 0 stays
    quality = world.measure(0).quality
    assert (quality.rows, quality.cohorts[0].labels, quality.cohorts[0].rows) == (2, 2, 4)
    assert quality.known["log_loss"].value == pytest.approx(-np.log([0.9, 0.8]).mean())
    assert world.measure(1).quality.rows == 0


def test_one_class_and_constant_answers_are_measured_by_what_they_define() -> None:
    world = world_of()
    world.ask("0-0", START, outputs=[0.5] * 4)
    world.truth(names(0, requests=1), [1.0] * 4, START + DAY)
    known = world.measure(0).quality.known
    assert "roc_auc" not in known
    assert known["accuracy"].value == 1.0


def test_numbers_are_measured_with_bias_and_quantiles() -> None:
    spec = msgspec.structs.replace(SPEC, data=DataRules(source="s", time="at", label="y", task=Task.REGRESSION))
    world = World(spec=spec)
    world.release(1)
    random = np.random.default_rng(5)
    facts = random.normal(size=300) * 10 + 50
    answers = facts + random.normal(size=300)
    world.ask("0-0", START, rows=300, outputs=answers.tolist())
    world.truth(names(0, requests=1, rows=300), facts.tolist(), START + DAY)
    quality = world.measure(0).quality
    assert quality.known["rmse"].value == pytest.approx(np.sqrt(np.mean((facts - answers) ** 2)))
    assert quality.known["bias"].value == pytest.approx(np.mean(facts - answers))
    assert quality.known["absolute_error_p90"].value == pytest.approx(np.quantile(np.abs(facts - answers), 0.9), rel=0.05)
    assert quality.calibration.bins == ()
    assert quality.calibration.bias.value == pytest.approx(np.mean(facts - answers))


def test_windows_shorter_and_longer_than_a_day_have_cohorts_of_a_day_and_of_the_window() -> None:
    for window, spans in (("12h", [DAY, DAY]), ("2d", [2 * DAY]), ("36h", [1.5 * DAY, 1.5 * DAY])):
        world = world_of(window=window)
        world.ask("0-0", START + timedelta(hours=1))
        world.ask("0-1", START + timedelta(hours=37))
        length = {"12h": DAY / 2, "2d": 2 * DAY, "36h": 1.5 * DAY}[window]
        monitoring, starts = world.monitoring(), {}
        for count in range(int(2 * DAY // length) + 1):
            begin = START + count * length
            world.clock.time = begin + length
            for cohort in monitoring.measure(world.spec, Window(begin, begin + length)).quality.cohorts:
                starts[cohort.start] = cohort
        assert [one.end - one.start for one in starts.values() if one.rows] == spans, window


def test_what_is_kept_stays_small() -> None:
    world = world_of(slices=("carrier",))
    for day in range(KEPT + 10):
        world.serve(day, requests=2, rows=200)
        world.tell(day, requests=2, rows=200, known=START + (day + 1) * DAY)
        world.measure(day)
    state = decode_state(world.meta.watches.state(SPEC.name))
    assert len(state.quality.days) == KEPT
    assert len(encode_state(state)) < 120_000


def test_a_state_from_before_is_read() -> None:
    fresh = msgspec.msgpack.encode({"first": START})
    assert decode_state(fresh).quality.days == []


def test_a_rehearsal_measures_no_quality() -> None:
    world = world_of()
    room = world.monitoring()
    room._serves = False
    world.serve(0)
    assert world.measure(0, room).quality is None


def holding_out(world: World, share: str = "10%") -> World:
    world.spec = msgspec.structs.replace(world.spec, serving=msgspec.structs.replace(world.spec.serving, holdout=share))
    return world


def test_the_hold_out_is_measured_by_itself() -> None:
    world, random = holding_out(world_of()), np.random.default_rng(4)
    every: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for day in range(7):
        p, held = random.random(300).round(6), random.random(300) < 0.3
        y = (random.random(300) < p).astype(float)
        told = np.where(held, y, 0.0)  # whom the model decides on never turns out a 1
        coins = np.where(held, random.integers(0, 2, 300), np.nan)
        tensors = {"holdout": coins.tolist(), "propensity": np.where(held, 0.05, 0.9).tolist()}
        world.ask(f"{day}-0", START + day * DAY, rows=300, outputs=p.tolist(), tensors=tensors)
        world.ask(f"{day}-1", START + day * DAY + DAY / 2, rows=4)  # a request of which nothing was drawn
        world.truth(names(day, requests=1, rows=300), told.tolist(), START + (day + 1) * DAY)
        quality = world.measure(day).quality
        every[day] = y[held], p[held]
        found = quality.held_out
        assert found.rows == held.sum()
        for name, banded in found.known.items():
            assert banded.value == pytest.approx(METRICS[name](y[held], p[held], 0.5)), name
    assert set(found.known) == set(quality.known)
    assert (found.days, found.recent_rows) == (7, sum(len(y) for y, _ in every.values()))
    y, p = (np.concatenate([each[place] for each in every.values()]) for place in (0, 1))
    assert found.recent["log_loss"].value == pytest.approx(METRICS["log_loss"](y, p, 0.5))
    assert found.recent["log_loss"].low < found.recent["log_loss"].value < quality.recent["log_loss"].value


def test_a_hold_out_that_ended_is_measured_as_long_as_its_days_are() -> None:
    world = holding_out(world_of())
    world.ask("0-0", START, tensors={"holdout": [1.0, float("nan"), 0.0, float("nan")], "propensity": [0.5] * 4})
    world.truth(names(0, requests=1)[:2], [1.0, 0.0], START + DAY)
    assert world.measure(0).quality.held_out.rows == 1
    holding_out(world, "")
    world.truth(names(0, requests=1)[2:], [1.0, 0.0], START + 2 * DAY)
    found = world.measure(1).quality.held_out
    assert (found.rows, found.recent_rows, found.days) == (1, 2, 1)


def test_without_a_hold_out_there_is_no_figure_of_it() -> None:
    world = holding_out(world_of())
    world.serve(0)
    world.tell(0)
    world.measure(0)
    assert world.measure(1).quality.held_out is None
