"""The job's side of a training: run the steps, refuse what cannot be kept or cannot answer, give files and figures."""

import json
import pickle

import numpy as np
import pytest

from kedge.domain.data import Column, ColumnType
from kedge.domain.evaluation import Task
from kedge.domain.registry import Signature
from kedge.errors import ConfigError, TrainingFailed
from kedge.pipelines.boosting import boosting
from kedge.pipelines.run import CHECKED_ROWS, Work, make, sample_rows
from kedge.pipelines.step import Pipeline, TrainingData


class Constant:
    """A model that answers always the same."""

    def __init__(self, answer: float, shape=None) -> None:
        self.answer, self.shape = answer, shape

    def predict(self, matrix):
        return np.full(self.shape or len(matrix), self.answer)


class ConstantFormat:
    name = "constant"

    def accepts(self, model) -> bool:
        return isinstance(model, Constant)

    def dump(self, model) -> dict[str, bytes]:
        return {"model.json": json.dumps([model.answer, model.shape]).encode()}

    def load(self, files, signature):
        return Constant(*json.loads(files["model.json"]))


class Never(ConstantFormat):
    name = "never"

    def accepts(self, model) -> bool:
        return False


def work(*, rows: int = 4, task: Task = Task.CLASSIFICATION) -> Work:
    columns = (Column(name="a", type=ColumnType.FLOAT),)
    return Work(
        data=TrainingData(
            x=np.arange(rows, dtype=float).reshape(-1, 1),
            y=np.arange(rows, dtype=float) % 2,
            weight=np.ones(rows),
            columns=("a",),
            categorical=(),
            task=task,
            seed=3,
        ),
        signature=Signature(inputs=columns, task=task, output="late", positive="1"),
    )


def returning(value):
    def train(data):
        return value

    return train


def made(value, **how):
    return make(returning(value), work(**how), formats=[Never(), ConstantFormat()])


def test_files_format_and_figures() -> None:
    result = made(Constant(0.5))
    assert result.format == "constant"
    assert result.files == {"model.json": b"[0.5, null]"}
    assert result.metrics == {"training_loss": pytest.approx(np.log(2)), "rows": 4.0, "columns": 1.0}
    assert pickle.loads(pickle.dumps(result)) == result


def test_steps_are_fed_by_name() -> None:
    def share(data):
        return float(data.y.mean())

    def model(share, *, data):
        assert data.seed == 3
        return Constant(share)

    def after(model):
        return "not the model"

    assert make(Pipeline("p", [model, share, after]), work(), formats=[ConstantFormat()]).files == {
        "model.json": b"[0.5, null]"
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "step 'train' of pipeline 'train' returned None; return the fitted estimator"),
        ("a", r"returned str, which no model format can keep \(formats: never, constant\)"),
        (Constant, "returned type"),
        (np.zeros(3), "returned numpy.ndarray"),
        (Constant(float("nan")), "answers 4 of 4 training rows with NaN"),
        (Constant(float("inf")), "answers 4 of 4 training rows with NaN"),
        (Constant(1.5), "answers from 1.5 to 1.5"),
        (Constant(-0.1), "answers from -0.1"),
        (Constant(0.5, (4, 2)), r"shape \(4, 2\); one number per row"),
        (Constant(0.5, 3), r"answers 4 rows with shape \(3,\)"),
    ],
)
def test_what_cannot_be_used_is_named(value, message) -> None:
    with pytest.raises(TrainingFailed, match=message):
        made(value)


def test_without_formats() -> None:
    with pytest.raises(TrainingFailed, match="formats: none installed"):
        make(returning("a"), work(), formats=[])


def test_regression_may_answer_any_finite_number() -> None:
    assert made(Constant(-7.5), task=Task.REGRESSION).metrics["training_loss"] == 64.25


def test_what_a_step_raises_passes_through() -> None:
    def train(data):
        raise ZeroDivisionError("theirs")

    with pytest.raises(ZeroDivisionError, match="theirs"):
        make(train, work(), formats=[])
    with pytest.raises(ConfigError, match="must be a function"):
        make("train", work(), formats=[])


@pytest.mark.parametrize("rows", [1, 2, CHECKED_ROWS, CHECKED_ROWS + 1, 3 * CHECKED_ROWS])
def test_checked_rows_are_spread_over_all(rows) -> None:
    picked = sample_rows(rows)
    assert len(picked) == min(rows, CHECKED_ROWS)
    assert (picked[0], picked[-1]) == (0, rows - 1)
    assert (np.diff(picked) > 0).all()


@pytest.mark.parametrize("task", list(Task))
def test_the_built_in_learner(task) -> None:
    dice = np.random.default_rng(0)
    x = dice.normal(size=(400, 2))
    x[::7, 1] = np.nan
    data = TrainingData(
        x=x,
        y=(x[:, 0] > 0).astype(float),
        weight=np.ones(400),
        columns=("a", "b"),
        categorical=(),
        task=task,
        seed=1,
    )
    one, two = boosting(data), boosting(data)
    answer = (lambda m: m.predict_proba(x)[:, 1]) if task is Task.CLASSIFICATION else (lambda m: m.predict(x))
    assert np.array_equal(answer(one), answer(two))
    assert np.mean((answer(one) - data.y) ** 2) < 0.01


def test_the_built_in_learner_does_not_learn_the_noise_of_a_small_table() -> None:
    dice = np.random.default_rng(0)
    x = dice.normal(size=(2400, 3))
    chance = 1 / (1 + np.exp(-x[:, 0]))
    y = (dice.uniform(size=len(x)) < chance).astype(float)
    fitted = boosting(
        TrainingData(
            x=x[:1200],
            y=y[:1200],
            weight=np.ones(1200),
            columns=("a", "b", "c"),
            categorical=(),
            task=Task.CLASSIFICATION,
            seed=0,
        )
    )
    answers, constant = fitted.predict_proba(x[1200:])[:, 1], y[:1200].mean()
    assert np.mean((answers - y[1200:]) ** 2) < 0.95 * np.mean((constant - y[1200:]) ** 2)
