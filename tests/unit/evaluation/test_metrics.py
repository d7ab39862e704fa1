import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer

from kedge.domain.evaluation import Task
from kedge.errors import ConfigError
from kedge.evaluation.baseline import hardest_constant
from kedge.evaluation.metrics import METRICS, loss_name, loss_rows, metric_of

PEERS = {
    "log_loss": lambda y, p, t: peer.log_loss(y, np.clip(p, 1e-6, 1 - 1e-6), labels=[0, 1]),
    "brier": lambda y, p, t: peer.brier_score_loss(y, p),
    "roc_auc": lambda y, p, t: peer.roc_auc_score(y, p),
    "average_precision": lambda y, p, t: peer.average_precision_score(y, p),
    "accuracy": lambda y, p, t: peer.accuracy_score(y, p >= t),
    "precision": lambda y, p, t: peer.precision_score(y, p >= t),
    "recall": lambda y, p, t: peer.recall_score(y, p >= t),
    "f1": lambda y, p, t: peer.f1_score(y, p >= t),
    "squared_error": lambda y, p, t: peer.mean_squared_error(y, p),
    "rmse": lambda y, p, t: peer.root_mean_squared_error(y, p),
    "absolute_error": lambda y, p, t: peer.mean_absolute_error(y, p),
    "r2": lambda y, p, t: peer.r2_score(y, p),
}


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000), count=st.integers(4, 200), ties=st.booleans(), threshold=st.sampled_from([0.1, 0.5, 0.8])
)
def test_every_metric_agrees_with_scikit_learn(seed, count, ties, threshold):
    rng = np.random.default_rng(seed)
    y = np.concatenate([[0.0, 1.0], (rng.random(count) < 0.3).astype(float)])
    p = np.concatenate([[0.05, 0.95], rng.random(count)])
    p = np.round(p, 1) if ties else p
    for name, measure in PEERS.items():
        assert METRICS[name](y, p, threshold) == pytest.approx(measure(y, p, threshold), abs=1e-9), name


def test_every_metric_but_one_has_a_peer():
    assert set(METRICS) - set(PEERS) == {"calibration_error"}


def test_calibration_error_is_the_gap_of_a_biased_model():
    p = np.linspace(0, 0.5, 1000)
    y = (np.arange(1000) % 2 == 0).astype(float)
    assert METRICS["calibration_error"](y, p) == pytest.approx(0.25, abs=0.01)
    assert METRICS["calibration_error"](np.array([1.0]), np.array([0.7])) == pytest.approx(0.3)


def test_losses_by_row_have_the_metric_as_their_mean():
    rng = np.random.default_rng(0)
    y, p = (rng.random(50) < 0.5).astype(float), rng.random(50)
    for name in ("log_loss", "brier", "squared_error", "absolute_error"):
        assert loss_rows(name, y, p=p).mean() == pytest.approx(METRICS[name](y, p))
    assert loss_rows("accuracy", y, p=p, threshold=0.3).mean() == pytest.approx(1 - METRICS["accuracy"](y, p, 0.3))
    assert np.sqrt(loss_rows("rmse", y, p=p).mean()) == pytest.approx(METRICS["rmse"](y, p))


def test_a_sure_and_wrong_answer_costs_a_finite_loss():
    assert loss_rows("log_loss", np.array([1.0, 0.0]), p=np.array([0.0, 0.0])) == pytest.approx([13.8155, 1e-6], rel=1e-4)


@pytest.mark.parametrize("name", ["roc_auc", "r2", "precision", "recall", "f1", "average_precision"])
def test_what_the_rows_cannot_define_is_nan(name):
    assert np.isnan(METRICS[name](np.zeros(5), np.zeros(5), 0.5))


@pytest.mark.parametrize("name", METRICS)
def test_no_rows_define_nothing(name):
    assert np.isnan(METRICS[name](np.empty(0), np.empty(0)))


def test_a_metric_of_the_other_task_is_refused_with_those_that_fit():
    with pytest.raises(ConfigError, match="write one of: squared_error, rmse, absolute_error, r2"):
        metric_of("roc_auc", Task.REGRESSION)
    with pytest.raises(ConfigError, match="log_loss"):
        metric_of("mse", Task.CLASSIFICATION)
    with pytest.raises(ConfigError, match="no loss by row"):
        loss_rows("roc_auc", np.zeros(1), p=np.zeros(1))


@pytest.mark.parametrize(
    ("name", "task", "loss"),
    [
        ("log_loss", Task.CLASSIFICATION, "log_loss"),
        ("log_loss", Task.REGRESSION, "squared_error"),
        ("roc_auc", Task.CLASSIFICATION, "log_loss"),
        ("r2", Task.REGRESSION, "squared_error"),
        ("absolute_error", Task.REGRESSION, "absolute_error"),
        ("brier", Task.CLASSIFICATION, "brier"),
    ],
)
def test_models_are_compared_by_a_loss_that_has_rows(name, task, loss):
    assert loss_name(name, task) == loss


def test_the_baseline_is_the_best_constant_on_the_rows():
    y = np.array([0.0, 0.0, 0.0, 1.0])
    assert hardest_constant("log_loss", y).answer == 0.25
    assert hardest_constant("brier", y) == (0.25, 0.1875)
    assert hardest_constant("accuracy", y).loss == 0.25
    assert hardest_constant("accuracy", 1 - y).loss == 0.25
    assert hardest_constant("absolute_error", np.array([0.0, 1.0, 100.0])).answer == 1.0
