"""Which rows are trained on, what they weigh, and the labels that teach nothing."""

import numpy as np
import polars as pl
import pytest

from kedge.domain.evaluation import Task
from kedge.errors import TrainingFailed
from kedge.pipelines.rows import choose, require_labels, weights_of, work_of


def test_work(spec, frame) -> None:
    work = work_of(spec, frame)
    data = work.data
    assert (data.columns, data.categorical, data.seed) == (("wind", "carrier"), (1,), 0)
    assert data.x.dtype == data.y.dtype == data.weight.dtype == np.float64
    assert data.y.tolist() == [0, 1] * 5
    assert data.x[:, 1].tolist()[:2] == [0.0, 2.0]
    assert np.isnan(data.x[2, 1])
    assert data.weight[-1] == 1
    assert data.weight[2] == pytest.approx(0.5 ** (1 / 10))  # seven days are one step


def test_regression_has_no_positive_class(spec, framed) -> None:
    assert work_of(spec, framed(task=Task.REGRESSION)).signature.positive == ""


def test_a_window_counts_back_from_now(frame) -> None:
    assert choose(frame, "all") is frame
    assert choose(frame, "3d").rows["wind"].to_list() == [7, 8, 9]
    assert len(choose(frame, "365d")) == 10


def test_rows_without_a_label_teach_nothing(spec, frame, framed) -> None:
    gaps = frame.rows.with_columns(late=pl.when(pl.col("wind") > 5).then(None).otherwise("late").cast(pl.Int8))
    work = work_of(spec, framed(gaps))
    assert work.data.x.shape == (6, 2)
    assert len(work.data.weight) == len(work.data.y) == 6


@pytest.mark.parametrize(
    ("y", "task", "message"),
    [
        ([], Task.CLASSIFICATION, "no labelled row"),
        ([], Task.REGRESSION, "no labelled row"),
        ([1.0, 1.0], Task.CLASSIFICATION, "all 2 labels are 1; a classifier needs both"),
        ([1.0, np.inf], Task.REGRESSION, "NaN or infinity"),
        ([1.0, np.nan], Task.CLASSIFICATION, "NaN or infinity"),
    ],
)
def test_labels_that_teach_nothing(y, task, message) -> None:
    with pytest.raises(TrainingFailed, match=message):
        require_labels(np.array(y), task)


def test_a_constant_value_may_be_learnt() -> None:
    assert require_labels(np.array([2.0, 2.0]), Task.REGRESSION).tolist() == [2, 2]


def test_weights_halve() -> None:
    assert weights_of(np.array([0.0, 2.0, 4.0]), 2.0).tolist() == [1, 0.5, 0.25]
    assert weights_of(np.array([0.0, 2.0, 4.0]), None).tolist() == [1, 1, 1]
