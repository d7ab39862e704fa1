"""What happens in the training job's process: the steps run, and what they return is checked before it is relied on.

Pure but for the project's own code: numbers in, files of the model out. The answers are checked on the model as it was
written and loaded again, so that what cannot be kept or cannot answer fails here and not in front of users.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from kedge.domain.evaluation import Task
from kedge.domain.registry import Signature
from kedge.errors import TrainingFailed
from kedge.evaluation.metrics import DEFAULT_LOSS, loss_rows
from kedge.pipelines.boosting import boosting
from kedge.pipelines.graph import model_step, plan
from kedge.pipelines.measured import Measurement, measuring
from kedge.pipelines.step import DATA, Pipeline, TrainingData, as_pipeline

if TYPE_CHECKING:
    from kedge.ports import ModelFormat

CHECKED_ROWS = 20_000


class Work(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One training as it is sent to its process: the rows, and what the model will have to accept and return."""

    data: TrainingData
    signature: Signature


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a training gives back: the model's files, the format that wrote them, figures of the training, and the points
    that its own code logged."""

    files: dict[str, bytes]
    format: str
    metrics: dict[str, float]
    points: tuple[Measurement, ...] = ()


def execute_pipeline(pipeline: Pipeline, data: TrainingData) -> Any:
    """Run the steps in order and give what the model step returned. Whatever a step raises passes through."""
    made: dict[str, Any] = {DATA: data}
    for planned in plan(pipeline):
        made[planned.step.name] = planned.step.run(**{need: made[need] for need in planned.needs})
    return made[model_step(pipeline)]


def make(written: object | None, work: Work, *, formats: Sequence[ModelFormat]) -> Made:
    """Train, keep the model in the first format that takes it, and check its answers on training rows.

    `written` is the Pipeline or function that the project names; None stands for the built-in learner. Raises
    TrainingFailed saying what was returned and what would be right; ConfigError for a graph that cannot run.
    """
    pipeline = as_pipeline(boosting if written is None else written)
    with measuring() as measured:
        model = execute_pipeline(pipeline, work.data)
    kept_by = _format_for(model, formats, where=f"step {model_step(pipeline)!r} of pipeline {pipeline.name!r}")
    files = kept_by.dump(model)
    rows = sample_rows(len(work.data.y))
    answers = kept_by.load(files, work.signature).predict(work.data.x[rows])
    require_answers(answers, rows=len(rows), task=work.data.task)
    metrics = {
        "training_loss": float(np.mean(loss_rows(DEFAULT_LOSS[work.data.task], work.data.y[rows], p=answers))),
        "rows": float(len(work.data.y)),
        "columns": float(len(work.data.columns)),
    }
    if measured.dropped:
        metrics["points_dropped"] = float(measured.dropped)
    return Made(files=files, format=kept_by.name, metrics=metrics, points=measured.points())


def _format_for(model: Any, formats: Sequence[ModelFormat], *, where: str) -> ModelFormat:
    if model is None:
        raise TrainingFailed(f"{where} returned None; return the fitted estimator (is a `return` missing?)")
    for candidate in formats:
        if candidate.accepts(model):
            return candidate
    kind = f"{type(model).__module__}.{type(model).__qualname__}".removeprefix("builtins.")
    names = ", ".join(one.name for one in formats) or "none installed"
    raise TrainingFailed(
        f"{where} returned {kind}, which no model format can keep (formats: {names}); return a fitted estimator, for "
        "classification one with predict_proba"
    )


def sample_rows(rows: int) -> np.ndarray:
    """Pick at most 20,000 rows, evenly spaced, the first and the last among them: indices, int64."""
    return np.linspace(0, rows - 1, num=min(rows, CHECKED_ROWS)).astype(np.int64)


def require_answers(answers: np.ndarray, *, rows: int, task: Task) -> None:
    """Refuse answers that are not one finite float64 per row, or not a probability. Raises TrainingFailed."""
    if answers.shape != (rows,):
        raise TrainingFailed(f"the model answers {rows} rows with shape {answers.shape}; one number per row is right")
    broken = int(np.count_nonzero(~np.isfinite(answers)))
    if broken:
        raise TrainingFailed(
            f"the model answers {broken} of {rows} training rows with NaN or infinity; use a learner that takes "
            "missing values, or fill them in a step before it"
        )
    if task is Task.CLASSIFICATION and rows and (answers.min() < 0 or answers.max() > 1):
        raise TrainingFailed(
            f"the model answers from {answers.min():.4g} to {answers.max():.4g}; a classifier must answer with the "
            "probability of the positive class, from 0 to 1"
        )
