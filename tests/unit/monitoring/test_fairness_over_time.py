"""Groups over time: every rate and difference as fairlearn has it, alarms that are sure, and groups of all kinds."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from tests.unit.monitoring.world import DAY, MODEL, SPEC, START, World, frame, with_rules

from kedge.domain.alerting import AlertKind
from kedge.domain.evaluation import Check, GateRules, Task
from kedge.domain.fairness import MISSING, OTHERS, crossed
from kedge.domain.ids import PredictionId
from kedge.domain.predictions import hashed
from kedge.domain.project import DataRules
from kedge.monitoring.groups.days import CHOSEN, MOST_GROUPS, ROWS, SUMS
from kedge.monitoring.groups.evidence import bounded_evidence, free_evidence
from kedge.monitoring.groups.gaps import gap_of
from kedge.monitoring.sequential import KEPT_DAYS, alarm_limit, mean_evidence, starts_of

peer = pytest.importorskip("fairlearn.metrics")


def watching(*groups: str, min_group: int = 20, serves: bool = True, **rules) -> World:
    spec = with_rules(SPEC, groups=groups, **rules)
    world = World(spec=msgspec.structs.replace(spec, gate=GateRules(min_group=min_group)))
    world.release(1)
    return world


def adult(seed: int, rows: int) -> dict[str, np.ndarray]:
    """Make people as the adult data has them: two attributes that go together, an income, an answer that leans."""
    random = np.random.default_rng(seed)
    sex = random.choice(["Male", "Female"], rows, p=[0.67, 0.33])
    race = random.choice(["White", "Black", "Asian", "Other"], rows, p=[0.8, 0.1, 0.07, 0.03])
    income = (random.random(rows) < np.where(sex == "Male", 0.3, 0.11)).astype(float)
    answer = np.clip(0.2 + 0.4 * income + 0.1 * (sex == "Male") + random.normal(0, 0.2, rows), 0.01, 0.99)
    return {"sex": sex, "race": race, "y": income, "p": answer}


def serve(world: World, day: int, data: dict[str, np.ndarray], *, names=("sex", "race"), told: bool = True, **batch) -> None:
    """Answer a day's rows in requests of 50, and tell what came true of them at its end."""
    for first in range(0, len(data["p"]), 50):
        part = {name: values[first : first + 50] for name, values in data.items()}
        name = f"{day}-{first}"
        columns = {**{each: part[each].tolist() for each in names}, "x": part["p"].tolist()}
        at = START + day * DAY + first * DAY / max(len(data["p"]), 1)
        world.ask(
            name, at, rows=len(part["p"]), columns=lambda _, columns=columns: columns, outputs=part["p"].tolist(), **batch
        )
        if told:
            rows = [PredictionId(f"flights-{name}.{row}") for row in range(len(part["p"]))]
            world.truth(rows, part["y"].tolist(), START + (day + 1) * DAY)


def rates(health, column: str) -> dict[str, object]:
    return {one.group: one for one in health.fairness.window if one.column == column}


def gap(health, measure: str, column: str, *, recent: bool = False):
    gaps = health.fairness.recent_gaps if recent else health.fairness.window_gaps
    return next(one for one in gaps if (one.measure, one.column) == (measure, column))


@pytest.mark.parametrize("seed", range(3))
def test_rates_and_differences_are_fairlearns(seed) -> None:
    world, data = watching("sex", "race", intersections=2, min_group=1), adult(seed, 2000)
    serve(world, 0, data)
    health = world.measure(0)
    chosen = data["p"] >= 0.5
    both = np.array([f"{a}, {b}" for a, b in zip(data["sex"], data["race"], strict=True)])
    by = {"sex": data["sex"], "race": data["race"], "sex+race": both}
    for column, values in by.items():
        theirs = peer.MetricFrame(
            metrics={
                "selection_rate": peer.selection_rate,
                "true_positive_rate": peer.true_positive_rate,
                "false_positive_rate": peer.false_positive_rate,
                "rows": peer.count,
            },
            y_true=data["y"],
            y_pred=chosen,
            sensitive_features=values,
        ).by_group
        ours = rates(health, column)
        assert set(ours) == set(theirs.index)
        for group, row in theirs.iterrows():
            for name, value in row.items():
                assert getattr(ours[group], name) == pytest.approx(value)
        told = {"sensitive_features": values}
        for measure, difference, ratio in (
            ("demographic_parity", peer.demographic_parity_difference, peer.demographic_parity_ratio),
            ("equalized_odds", peer.equalized_odds_difference, peer.equalized_odds_ratio),
            ("equal_opportunity", peer.equal_opportunity_difference, peer.equal_opportunity_ratio),
        ):
            found = gap(health, measure, column)
            if found.value is None:  # an intersection without any positive: fairlearn counts its rate as 0
                assert measure != "demographic_parity"
                continue
            if not found.unjudged:
                assert found.value == pytest.approx(difference(data["y"], chosen, **told))
                assert found.ratio == pytest.approx(ratio(data["y"], chosen, **told))


def test_means_and_calibration_are_those_of_the_group() -> None:
    world, data = watching("sex"), adult(1, 1000)
    serve(world, 0, data)
    women = data["sex"] == "Female"
    found = rates(world.measure(0), "sex")["Female"]
    assert (found.rows, found.labelled, found.positives) == (women.sum(), women.sum(), data["y"][women].sum())
    assert found.answer == pytest.approx(data["p"][women].mean())
    assert found.truth == pytest.approx(data["y"][women].mean())
    assert found.error == pytest.approx((data["p"] - data["y"])[women].mean())
    assert sum(one.rows for one in found.bins) == women.sum()
    first = found.bins[0]
    inside = women & (np.clip((data["p"] * 10).astype(int), 0, 9) == int(data["p"][women].min() * 10))
    assert (first.rows, first.answer, first.truth) == (
        inside.sum(),
        pytest.approx(data["p"][inside].mean()),
        pytest.approx(data["y"][inside].mean()),
    )


def test_what_is_recent_is_all_days_with_the_older_weighing_less() -> None:
    world = watching("sex")
    days = [adult(seed, 400) for seed in range(3)]
    for day, data in enumerate(days):
        serve(world, day, data)
        health = world.measure(day)
    weights = np.repeat(0.5 ** (np.array([2, 1, 0]) / 28), 400)
    sex, chosen, y = (
        np.concatenate([np.asarray(each) for each in some])
        for some in ([d["sex"] for d in days], [d["p"] >= 0.5 for d in days], [d["y"] for d in days])
    )
    for one in health.fairness.recent:
        mask = sex == one.group
        assert one.rows == mask.sum()
        assert one.selection_rate == pytest.approx(np.average(chosen[mask], weights=weights[mask]), rel=1e-5)
        ones = mask & (y == 1)
        assert one.true_positive_rate == pytest.approx(np.average(chosen[ones], weights=weights[ones]), rel=1e-5)


def test_small_groups_are_named_and_not_judged() -> None:
    world, data = watching("race", min_group=150), adult(2, 1000)
    serve(world, 0, data)
    found = gap(world.measure(0), "demographic_parity", "race")
    assert found.value is None
    assert set(found.unjudged) == {"Black", "Asian", "Other"}


def test_rows_without_a_value_are_a_group_of_their_own() -> None:
    world = watching("sex")
    world.ask("a", START, rows=3, columns=lambda _: {"sex": [None, "Male", None]}, outputs=[0.9, 0.1, 0.2])
    found = rates(world.measure(0), "sex")
    assert {name: one.rows for name, one in found.items()} == {MISSING: 2, "Male": 1}
    assert found[MISSING].selection_rate == 0.5
    assert found["Male"].true_positive_rate is None


def test_thousands_of_groups_are_the_greatest_and_the_rest() -> None:
    world = watching("who")
    random = np.random.default_rng(0)
    for day in range(3):
        who = np.concatenate(
            [np.repeat([f"big{n}" for n in range(5)], 100), [f"p{n}" for n in random.integers(0, 5000, 1500)]]
        )
        data = {"who": who, "p": random.random(2000), "y": (random.random(2000) < 0.5) * 1.0}
        serve(world, day, data, names=("who",))
        health = world.measure(day)
        for groups in (health.fairness.window, health.fairness.recent):
            names = [one.group for one in groups]
            assert len(names) == len({*names}) == MOST_GROUPS + 1
            assert {*names} >= {OTHERS, *(f"big{n}" for n in range(5))}
    assert sum(one.rows for one in health.fairness.recent) == 6000
    assert len(world.meta.watches.state(MODEL)) < 400_000


def test_a_group_that_is_all_there_is_has_nothing_to_differ_from() -> None:
    world = watching("sex", fairness={"demographic_parity": 0.1})
    data = adult(0, 300)
    serve(world, 0, {**data, "sex": np.full(300, "Male")})
    health = world.measure(0)
    assert gap(health, "demographic_parity", "sex", recent=True).value is None
    assert gap(health, "demographic_parity", "sex", recent=True).evidence == 0.0
    assert [one.group for one in health.fairness.window] == ["Male"]


def test_windows_without_rows_are_measured_too() -> None:
    world = watching("sex", fairness={"equal_opportunity": 0.1})
    assert world.measure(0).fairness.window == ()
    serve(world, 1, adult(0, 200))
    world.measure(1)
    health = world.measure(2)
    assert health.fairness.window == ()
    assert {one.group for one in health.fairness.recent} == {"Male", "Female"}
    for day in range(3, 3 + KEPT_DAYS + 2):
        health = world.measure(day)
    assert all(one.rows == 0 for one in health.fairness.recent)


def test_a_column_that_is_not_logged_is_said_to_be_missing() -> None:
    world = watching("faith", "sex")
    serve(world, 0, adult(0, 200))
    health = world.measure(0)
    assert "faith: not in the prediction log" in health.fairness.notes[0]
    assert {one.column for one in health.fairness.window} == {"sex"}


def test_a_column_that_the_model_does_not_read_is_taken_from_what_the_request_brought() -> None:
    world, data = watching("sex"), adult(0, 200)
    serve(world, 0, data, names=(), inputs={"sex": data["sex"][:50].tolist()})
    assert sum(one.rows for one in rates(world.measure(0), "sex").values()) == 200


def test_a_personal_column_is_grouped_by_its_hashes() -> None:
    key = b"k" * 32
    world = watching("carrier")
    for hour in range(4):
        world.ask(
            f"{hour}",
            START + hour * DAY / 24,
            rows=2,
            columns=lambda _: {"carrier": [hashed(key, "AA"), hashed(key, "??")]},
            hidden=["carrier"],
        )
    monitoring = world.monitoring()
    monitoring._secret = lambda: key
    health = world.measure(0, monitoring)
    assert {one.group for one in health.fairness.window} == {"AA", f"#{hashed(key, '??')[:8]}"}
    assert health.fairness.notes == ()


def test_nobody_is_told_in_a_rehearsal() -> None:
    world = watching("sex", fairness={"demographic_parity": 0.01})
    serve(world, 0, adult(0, 500))
    monitoring = world.monitoring()
    monitoring._serves = False
    assert world.measure(0, monitoring).fairness is None


def test_numbers_are_compared_by_their_errors() -> None:
    spec = with_rules(SPEC, groups=("sex",), fairness={"mean_error": 2.0})
    spec = msgspec.structs.replace(
        spec, data=DataRules(source="d", time="at", label="y", task=Task.REGRESSION), gate=GateRules(min_group=10)
    )
    world, random = World(spec=spec), np.random.default_rng(0)
    world.release(1)
    alerts = []
    for day in range(20):
        sex = random.choice(["a", "b"], 100)
        y = random.normal(50, 5, 100)
        p = y + random.normal(0, 3, 100) + np.where(sex == "a", 4.0, 0.0)
        serve(world, day, {"sex": sex, "y": y, "p": p}, names=("sex",))
        health = world.measure(day)
        alerts += health.alerts
    found = rates(health, "sex")
    assert found["a"].error - found["b"].error == pytest.approx(gap(health, "mean_error", "sex").value)
    assert found["a"].selection_rate is None
    assert gap(health, "mean_error", "sex", recent=True).between == ("a", "b")
    assert [alert.subject for alert in alerts if alert.kind is AlertKind.FAIRNESS] == ["mean_error by sex"]


def test_what_exceeds_the_gates_limit_is_told_once_and_names_the_groups() -> None:
    world = World(
        spec=msgspec.structs.replace(
            SPEC, gate=GateRules(min_group=20, checks=(Check(fairness="equal_opportunity", by="sex", at_most=0.1),))
        )
    )
    world.release(1)
    told = []
    for day in range(40):
        data = adult(day, 600)
        data["p"] = np.where((data["sex"] == "Female") & (data["y"] == 1), data["p"] - 0.25, data["p"])
        serve(world, day, data, names=("sex",))
        told += [alert for alert in world.measure(day).alerts if alert.kind is AlertKind.FAIRNESS]
    assert len(told) == 1
    assert told[0].subject == "equal_opportunity by sex"
    assert "for sex = Male is above that for Female by more than 0.1" in told[0].message
    world.release(2, at=START + 40 * DAY)
    world.measure(40)
    assert world.measure(41).fairness.recent == ()


def test_a_restart_gives_the_same_health() -> None:
    def played(*, again: bool):
        world = watching("sex", "race", fairness={"demographic_parity": 0.05}, intersections=2)
        monitoring, seen = world.monitoring(), []
        for day in range(4):
            serve(world, day, adult(day, 150))
            seen.append(world.measure(day, None if again else monitoring))
        return msgspec.json.encode([health.fairness for health in seen])

    assert played(again=True) == played(again=False)


# ---- evidence ----


def counts(seed: int, days: int, *, high: float, low: float, sway: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    rows = random.integers(10, 200, (days, 2))
    mood = random.normal(0, sway, (days, 1)) if sway else np.zeros((days, 1))
    rate = np.clip(np.array([high, low]) + mood, 0.01, 0.99)
    return random.binomial(rows, rate).astype(float), rows.astype(float)


@pytest.mark.parametrize("sway", [0.0, 0.1])
def test_a_difference_within_the_limit_is_no_alarm(sway) -> None:
    limit = alarm_limit(1000, 2)
    worst = [
        bounded_evidence(*counts(seed, 56, high=0.5, low=0.4, sway=sway), limit=0.1, starts=[0, 28]) for seed in range(200)
    ]
    assert sum(one.max() >= limit for one in worst) == 0
    assert np.mean([one[0, 1] for one in worst]) <= 2.0 + 0.5  # each of the two starts is worth 1 on average at most


def test_a_difference_beyond_the_limit_is_shown_within_weeks() -> None:
    limit = alarm_limit(1000, 2)
    found = [bounded_evidence(*counts(seed, 28, high=0.7, low=0.4), limit=0.1, starts=[0]) for seed in range(20)]
    assert sum(one[0, 1] >= limit for one in found) >= 19
    assert all(one[1, 0] < 1 for one in found)


def test_means_of_normal_days_are_held_at_the_level_at_any_time() -> None:
    random = np.random.default_rng(3)
    days = random.normal(0, 5, (28, 4000))
    ever = np.max([mean_evidence(days[:count]) for count in range(2, 29)], axis=0)
    assert np.mean(ever >= 20) <= 0.05
    assert np.mean(mean_evidence(days + 5.0) >= 20) > 0.9
    assert mean_evidence(np.full((3, 1), np.nan)) == pytest.approx(1.0)


def test_unbounded_means_are_compared_on_the_days_that_both_have() -> None:
    random = np.random.default_rng(0)
    rows = np.full((28, 2), 30.0)
    rows[3, 1] = rows[4, 0] = 0.0
    sums = random.normal([7.0, 4.0], 0.5, (28, 2)) * rows
    found = free_evidence(sums, rows, limit=2.0, starts=[0])
    assert found[0, 1] > alarm_limit(1000, 2)
    assert found[1, 0] < 1


def test_evidence_starts_anew_each_four_weeks_and_counts_for_eight() -> None:
    assert starts_of(0, 0, upto=0) == [0]
    assert starts_of(0, 0, upto=28) == [0, 28]
    assert starts_of(100, 30, upto=30 + 100) == [86 + 28]
    for one, two in pairwise(starts_of(0, 5, upto=400)):
        assert two - one == 28


def days_of_two(random: np.random.Generator, *, days: int, sway: float) -> np.ndarray:
    """Make the sums of days on which two groups are chosen at 0.3 and 0.2, and each group's days stray by `sway`."""
    made = np.zeros((days, 2, SUMS))
    made[:, :, ROWS] = random.integers(40, 120, (days, 2))
    rate = np.clip(np.array([0.3, 0.2]) + random.normal(0, sway, (days, 2)), 0, 1)
    made[:, :, CHOSEN] = random.binomial(made[:, :, ROWS].astype(int), rate)
    return made


@pytest.mark.parametrize("sway", [0.0, 0.08])
def test_the_interval_of_a_gap_covers_the_truth(sway) -> None:
    random, held, runs = np.random.default_rng(5), 0, 400
    for _ in range(runs):
        days = days_of_two(random, days=20, sway=sway)
        found = gap_of("demographic_parity", "c", names=["a", "b"], days=days, counted=days.sum(axis=0), min_group=20)
        assert (found.highest, found.lowest) == ("a", "b")
        assert found.low < found.value < found.high
        held += found.low <= 0.1 <= found.high
    assert 0.92 <= held / runs <= 0.98


def test_a_few_days_give_a_gap_no_interval() -> None:
    days = days_of_two(np.random.default_rng(1), days=4, sway=0.0)
    found = gap_of("demographic_parity", "c", names=["a", "b"], days=days, counted=days.sum(axis=0), min_group=20)
    assert found.value is not None
    assert (found.low, found.high) == (None, None)


def test_intersections_are_crossed_once() -> None:
    assert crossed(("sex", "race"), 1) == ("sex", "race")
    assert crossed(("sex", "race", "race+sex"), 2) == ("sex", "race", "race+sex")
    assert crossed(("a", "b", "c"), 3) == ("a", "b", "c", "a+b", "a+c", "b+c", "a+b+c")


def test_the_reference_does_not_matter_to_groups() -> None:
    world = watching("carrier")
    world.references().take(world.spec, world.registry.versions[1], frame())
    world.serve(0)
    assert {one.group for one in world.measure(0).fairness.window} == {"AA", "UA"}
