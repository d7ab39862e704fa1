"""What moved and why it matters: planted causes are found, chance is not called sure, and bad input is said."""

from datetime import timedelta

import msgspec
import numpy as np
import pytest
from tests.unit.monitoring.world import DAY, START, World, frame, line, version

from kedge.domain.alerting import AlertKind
from kedge.domain.data import Column, ColumnType
from kedge.domain.ids import PredictionId
from kedge.domain.monitoring import Drift
from kedge.domain.registry import Signature
from kedge.errors import NotFound
from kedge.evaluation.metrics import log_losses
from kedge.monitoring.answer_log import AnswerLog
from kedge.monitoring.causes.asked import Explaining
from kedge.monitoring.causes.explain import LabelledRows, causes_of, features_of, since_window
from kedge.monitoring.causes.items import items_of
from kedge.monitoring.causes.search import stray_of
from kedge.monitoring.quality.at_gate import AtGate
from kedge.monitoring.references import References
from kedge.rollout.forgetting import TrialRows
from kedge.storage.log_folder import LogFolder
from kedge.storage.prediction_rows import PredictionRows
from kedge.storage.truth_rows import TruthRows

COLUMNS = (
    Column(name="x", type=ColumnType.FLOAT),
    Column(name="carrier", type=ColumnType.STRING, categories=("AA", "UA", "WN")),
    Column(name="wet", type=ColumnType.BOOLEAN),
    Column(name="noise", type=ColumnType.FLOAT),
)
CHAMPION = msgspec.structs.replace(
    version(1, START), signature=Signature(inputs=COLUMNS, task=version(1, START).signature.task, output="late")
)


def rows_of(seed: int, count: int, *, days: int = 7, hurt=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Encoded rows, their losses, and their times; `hurt` marks rows that lose a half more."""
    random = np.random.default_rng(seed)
    matrix = np.column_stack(
        [random.random(count), random.integers(0, 3, count), random.integers(0, 2, count), random.normal(size=count)]
    ).astype(float)
    losses = random.exponential(0.4, count)
    at = START.timestamp() + np.sort(random.random(count)) * days * 86400
    if hurt is not None:
        losses = losses + np.where(hurt(matrix, at), 0.5, 0.0)
    return matrix, losses, at


def labelled(matrix, losses, at) -> LabelledRows:
    columns = {
        "x": matrix[:, 0].tolist(),
        "carrier": [COLUMNS[1].categories[int(code)] for code in matrix[:, 1]],
        "wet": [bool(each) for each in matrix[:, 2]],
        "noise": matrix[:, 3].tolist(),
    }
    return LabelledRows(columns=columns, losses=losses, at=at, ids=[PredictionId(f"r.{i}") for i in range(len(losses))])


def gate(seed=99, count=5000, **changes) -> AtGate:
    matrix, losses, _ = rows_of(seed, count)
    made = {
        "version": 1,
        "metric": "log_loss",
        "rows": count,
        "mean_loss": float(losses.mean()),
        "worth": {"x": 0.3, "carrier": 0.1, "wet": 0.0, "noise": -0.001},
        "columns": tuple(column.name for column in COLUMNS),
        "matrix": matrix.astype("<f4").tobytes(),
        "row_losses": losses.astype("<f8").tobytes(),
    }
    return AtGate(**made | changes)


def explained(rows, **changes):
    asked = {"gate": gate(), "drift": (), "window": DAY, "min_group": 200, "end": START + 7 * DAY}
    return causes_of(rows, CHAMPION, **asked | changes)


def drift(column: str, moved: float, *, alarm: bool = False) -> Drift:
    return Drift(column=column, psi=0.0, jensen_shannon=moved, shift=0.0, evidence=0.0, limit=1.0, alarm=alarm)


def test_a_planted_slice_of_one_column_is_found_first() -> None:
    found = explained(labelled(*rows_of(1, 3000, hurt=lambda m, at: m[:, 1] == 1)))
    assert found.slices[0].slice == "carrier=UA"
    assert found.slices[0].sure
    assert found.slices[0].low < 0.5 < found.slices[0].high
    assert found.slices[0].share == pytest.approx(1.0, abs=0.15)
    assert (found.gate_rows, found.rows) == (5000, 3000)


def test_a_planted_pair_is_found_as_a_pair() -> None:
    found = explained(labelled(*rows_of(2, 4000, hurt=lambda m, at: (m[:, 1] == 2) & (m[:, 2] == 1))))
    assert found.slices[0].slice == "carrier=WN and wet=true"
    assert found.slices[0].sure


def test_a_part_of_a_number_is_found_and_when_it_began() -> None:
    began = START.timestamp() + 4 * 86400
    found = explained(labelled(*rows_of(3, 6000, hurt=lambda m, at: (m[:, 0] > 0.8) & (at > began))))
    assert found.slices[0].slice.startswith("x >= 0.7") or found.slices[0].slice.startswith("x >= 0.8")
    assert found.slices[0].since == START + 4 * DAY


def test_the_examples_are_the_worst_rows_of_the_slice() -> None:
    matrix, losses, at = rows_of(4, 2000, hurt=lambda m, at: m[:, 1] == 0)
    first = explained(labelled(matrix, losses, at)).slices[0]
    worst = np.argsort(np.where(matrix[:, 1] == 0, -losses, 0))[:5]
    assert first.examples == tuple(f"r.{place}" for place in worst)


def test_chance_alone_is_seldom_called_sure() -> None:
    """50 weeks without any cause: a slice that is called sure in at most a few of them (5 % is promised)."""
    sure = sum(any(one.sure for one in explained(labelled(*rows_of(seed, 1500))).slices) for seed in range(200, 250))
    assert sure <= 5


def test_a_loss_that_rose_alike_everywhere_has_no_slice() -> None:
    matrix, losses, at = rows_of(5, 1500)
    found = explained(labelled(matrix, losses + 1.0, at))
    assert not any(one.sure for one in found.slices)
    assert found.loss - found.gate_loss == pytest.approx(1.0, abs=0.05)


def test_days_that_stray_widen_the_bands() -> None:
    random, days = np.random.default_rng(0), np.repeat(np.arange(20), 50)
    still = random.normal(size=1000)
    assert stray_of(still, days) < 2
    assert stray_of(still + random.normal(size=20)[days], days) > 10
    assert stray_of(np.ones(10), days[:10]) == stray_of(np.ones(1000), days) == 1.0


def test_features_are_ranked_by_drift_times_worth() -> None:
    moved = [drift("noise", 0.9), drift("x", 0.2, alarm=True), drift("carrier", 0.3), drift("prediction__", 0.8)]
    ranked = features_of(moved, gate().worth)
    assert [one.column for one in ranked] == ["x", "carrier", "noise"]
    assert (ranked[0].share, ranked[0].weight, ranked[0].listed) == (pytest.approx(0.75), pytest.approx(0.15), True)
    assert [one.column for one in features_of(moved, {})] == ["noise", "carrier", "x"]


@pytest.mark.parametrize(
    ("rows", "changes", "said"),
    [
        (10, {}, "10 labelled rows are too few"),
        (0, {}, "0 labelled rows are too few"),
        (100, {"gate": None}, "nothing kept of a gate of the loop"),
        (100, {"gate": gate(worth={})}, "what each feature is worth is not known"),
    ],
)
def test_what_cannot_be_known_is_said(rows, changes, said) -> None:
    assert any(said in note for note in explained(labelled(*rows_of(6, rows)), **changes).notes)


def test_text_among_numbers_and_a_lacking_column_are_said() -> None:
    rows = labelled(*rows_of(7, 100))
    rows.columns["x"][3] = "five"
    assert any("'x' does not fit its type" in note for note in explained(rows).notes)
    del rows.columns["x"]
    assert any("missing column 'x'" in note for note in explained(rows).notes)


def test_missing_and_unseen_values_are_items_or_none() -> None:
    matrix, *_ = rows_of(8, 500)
    items = items_of(COLUMNS, matrix)
    assert {"x missing", "carrier=AA", "wet=true", "wet=false"} <= set(items.names)
    odd = np.array([[np.nan, 7.0, np.nan, 1e9]])
    codes = items.codes(odd)[0]
    assert [items.names[code] if code >= 0 else None for code in codes][:3] == ["x missing", None, "wet missing"]
    assert items.names[codes[3]].startswith("noise >=")
    constant = items_of(COLUMNS[:1], np.full((50, 1), 2.0))
    assert constant.names == ("x=2", "x missing")
    nothing = items_of(COLUMNS[:1], np.full((50, 1), np.nan))
    assert nothing.codes(np.array([[1.0], [np.nan]])).tolist() == [[-1], [0]]


def test_since_is_the_start_of_the_last_stretch() -> None:
    at = START.timestamp() + np.arange(10) * 86400.0
    risen = np.array([0, 1, 0, 0, 0, 0, 1, 1, 1, 1.0])
    assert since_window(at, risen, window=DAY, rise=1.0) == START + 6 * DAY
    assert since_window(at, -risen, window=DAY, rise=1.0) is None


# ---- in a window, and on demand ----


def hurt_world(monkeypatch) -> World:
    monkeypatch.setattr(References, "_candidate", lambda self, version: object())
    world = World()
    world.release(1)
    world.references().take(world.spec, world.registry.versions[1], frame(days=60, rows=400))
    return world


def play(world: World, day: int, *, hurt: bool) -> None:
    x = world.random.random(200)
    carriers = np.where(world.random.random(200) < 0.4, "AA", "UA")
    world.ask(
        f"{day}-0",
        START + day * DAY + timedelta(hours=3),
        rows=200,
        columns=lambda of: {"x": x.tolist(), "carrier": carriers.tolist()},
        outputs=line(0, x).tolist(),
    )
    truth = np.where((carriers == "AA") & hurt, 1 - line(0, x), line(0, x))
    values = (world.random.random(200) < truth).astype(float).tolist()
    names = [PredictionId(f"flights-{day}-0.{row}") for row in range(200)]
    world.truth(names, values, START + (day + 1) * DAY)


def test_causes_come_with_an_alarm_and_once_a_step(monkeypatch) -> None:
    world = hurt_world(monkeypatch)
    seen = []
    for day in range(35):
        play(world, day, hurt=day >= 10)
        seen.append(world.measure(day))
    with_causes = [place for place, each in enumerate(seen) if each.causes is not None]
    alarmed = [
        place
        for place, each in enumerate(seen)
        if {alert.kind for alert in each.alerts} & {AlertKind.RISK, AlertKind.CONCEPT_DRIFT}
    ]
    assert with_causes
    assert with_causes[0] == alarmed[0]
    assert len({place // 7 for place in with_causes}) == len(with_causes)
    found = seen[with_causes[0]].causes
    assert any("carrier=AA" in one.slice for one in found.slices)
    assert found.features[0].column in ("x", "carrier")
    assert found.slices[0].examples


def test_a_window_is_explained_on_demand_from_the_log(monkeypatch, tmp_path) -> None:
    world = hurt_world(monkeypatch)
    predictions = LogFolder(tmp_path / "p", PredictionRows(), rules=world.spec.predictions)
    truths = LogFolder(tmp_path / "t", TruthRows(), rules=world.spec.predictions)
    world.predictions, world.truths = predictions.journal("w"), truths.journal("w")
    for day in range(8):
        play(world, day, hurt=day >= 4)
        world.measure(day)
    log = AnswerLog(
        predictions=predictions.archive,
        truths=truths.archive,
        events=world.meta.events,
        trials=TrialRows(deployments=world.meta.deployments, notes=world.meta.notes),
        secret=lambda: b"k",
        clock=world.clock,
    )
    asked = Explaining(answers=log, references=world.references(), registry=world.registry, watches=world.meta.watches)
    found = asked.explain(world.spec, windows=4)
    assert (found.rows, found.version) == (800, 1)
    assert any("carrier=AA" in one.slice for one in found.slices)
    world.measure(8)  # nobody asked anything in it
    assert asked.explain(world.spec, windows=4).end == found.end
    early = asked.explain(world.spec, "2013-03-03", windows=2)
    assert early.end == START + 3 * DAY
    assert early.rows == 400
    assert early.loss < found.loss
    with pytest.raises(NotFound, match="window '2099' was not measured"):
        asked.explain(world.spec, "2099")


def test_the_gate_teaches_what_features_are_worth(monkeypatch) -> None:
    world = hurt_world(monkeypatch)
    learnt = world.references().at_gate(world.spec.name, 1)
    assert learnt.worth["x"] > 0.01
    assert learnt.worth["carrier"] == 0.0  # the line reads x alone
    matrix, losses = learnt.sample()
    newest = frame(days=60, rows=400).newest()
    assert matrix.shape == (len(losses), 2)
    assert learnt.mean_loss == pytest.approx(log_losses(newest.y(), line(0, newest.rows["x"].to_numpy())).mean())
