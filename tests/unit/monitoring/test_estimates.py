"""Estimates without truth: CBPE against its definition, the loss regressor against the truth, and when there is none."""

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

from kedge.evaluation.metrics import METRICS
from kedge.monitoring.quality.expected import (
    DEPTH,
    LossTrees,
    _levelled,
    _with_answers,
    calibration_of,
    estimated,
    train_losses,
)


def stream(seed, rows, *, miscalibrated=1.0):
    random = np.random.default_rng(seed)
    odds = random.normal(size=rows) * 1.4 - 0.5
    y = (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)
    return y, 1 / (1 + np.exp(-odds * miscalibrated))


@pytest.mark.parametrize("rows", [400, 8000])
@pytest.mark.parametrize("miscalibrated", [1.0, 2.0])
def test_the_estimates_of_calibrated_answers_are_near_the_truth(rows, miscalibrated) -> None:
    knots = calibration_of(*stream(0, rows, miscalibrated=miscalibrated))
    y, p = stream(1, 20_000, miscalibrated=miscalibrated)
    found = estimated(p, knots=knots, threshold=0.5)
    near = 0.02 if rows == 8000 else 0.05
    for name in ("log_loss", "brier", "roc_auc", "accuracy", "precision", "recall", "f1", "average_precision"):
        assert found[name] == pytest.approx(METRICS[name](y, p, 0.5), abs=near), name
    assert "calibration_error" not in found


def test_the_estimates_are_the_definitions() -> None:
    p = np.array([0.1, 0.4, 0.6, 0.9])
    found = estimated(p, knots=((0.0, 1.0), (0.0, 1.0)), threshold=0.5)
    assert found["accuracy"] == pytest.approx(np.mean([0.9, 0.6, 0.6, 0.9]))
    assert found["precision"] == pytest.approx(1.5 / 2)
    assert found["recall"] == pytest.approx(1.5 / 2.0)
    assert found["brier"] == pytest.approx(np.mean(p * (1 - p)))
    assert found["log_loss"] == pytest.approx(np.mean(-p * np.log(p) - (1 - p) * np.log(1 - p)))
    weights = np.outer(p, 1 - p)
    above = (p[:, None] > p[None, :]) + 0.5 * (p[:, None] == p[None, :])
    assert found["roc_auc"] == pytest.approx((weights * above).sum() / weights.sum())


@pytest.mark.parametrize(("rows", "ones"), [(99, 50), (500, 5), (500, 495), (500, 0)])
def test_too_little_to_calibrate_on_gives_none(rows, ones) -> None:
    y = np.zeros(rows)
    y[:ones] = 1
    assert calibration_of(y, np.linspace(0, 1, rows)) == ((), ())
    assert estimated(np.array([0.5]), knots=((), ()), threshold=0.5) == {}


def test_answers_that_are_no_number_are_left_out() -> None:
    knots = ((0.0, 1.0), (0.0, 1.0))
    assert estimated(np.array([np.nan, 0.5]), knots=knots, threshold=0.5)["brier"] == pytest.approx(0.25)
    assert estimated(np.array([np.nan]), knots=knots, threshold=0.5) == {}


def test_expected_losses_follow_where_errors_grow() -> None:
    random = np.random.default_rng(0)

    def rows(count, low=0.0):
        x = random.uniform(low, 1, size=(count, 3))
        answers = x[:, 0] * 3
        return x, answers, np.abs(random.normal(size=count)) * (0.5 + 3 * x[:, 1])

    x, answers, losses = rows(6000)
    trees = train_losses(x, answers, losses=losses)
    x, answers, losses = rows(4000)
    assert trees.expect(x, answers).mean() == pytest.approx(losses.mean(), rel=0.05)
    x, answers, losses = rows(4000, low=0.6)  # where errors are greater than on the whole
    assert trees.expect(x, answers).mean() == pytest.approx(losses.mean(), rel=0.08)
    assert train_losses(x[:100], answers[:100], losses=losses[:100]) is None


def test_a_tree_written_as_levels_answers_as_it_did() -> None:
    random = np.random.default_rng(1)
    x, y = random.normal(size=(300, 4)).astype(np.float32), random.normal(size=300)
    x[::7, 2] = np.nan
    answers = random.normal(size=300)
    for leaf in (1, 100, 200):  # the last ends at once
        seen = _with_answers(x, answers)
        grown = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=leaf, random_state=0).fit(seen, y)
        split, border, leaves = _levelled(grown.tree_)
        trees = LossTrees(
            10.0, split.astype("<i4").tobytes(), border.astype("<f8").tobytes(), leaves.astype("<f8").tobytes()
        )
        np.testing.assert_allclose(trees.expect(x, answers), np.maximum(10.0 + grown.predict(seen), 0))


def test_the_estimates_are_those_of_nannyml() -> None:
    """Recorded from NannyML 0.13.1's CBPE on the same rows: 8,000 of reference, one chunk of 5,000, twice too sure."""
    knots = calibration_of(*stream(0, 8000, miscalibrated=2.0))
    random = np.random.default_rng(1)
    odds = random.normal(size=5000) * 1.4
    found = estimated(1 / (1 + np.exp(-2 * odds)), knots=knots, threshold=0.5)
    theirs = {"roc_auc": 0.80722, "f1": 0.72967, "precision": 0.73085, "recall": 0.72851, "accuracy": 0.7352}
    assert {name: found[name] for name in theirs} == pytest.approx(theirs, abs=5e-5)
    assert found["average_precision"] == pytest.approx(0.79843, abs=2e-3)
