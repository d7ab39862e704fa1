"""Which rows a training takes, how much each weighs, and the matrix that they become."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kedge.domain.data import KNOWN_AT, ColumnType
from kedge.domain.durations import span_of
from kedge.domain.evaluation import Task
from kedge.domain.project import ProjectSpec
from kedge.errors import TrainingFailed
from kedge.features.encode import encode_frame, signature_of
from kedge.pipelines.run import Work
from kedge.pipelines.step import TrainingData

if TYPE_CHECKING:
    from kedge.features.frame import TrainingFrame

POSITIVE = "1"


def work_of(spec: ProjectSpec, frame: TrainingFrame) -> Work:
    """Encode the rows that the project's rules choose. Raises TrainingFailed where they cannot teach anything."""
    chosen = choose(frame, spec.training.rows)
    y = require_labels(chosen.y(), chosen.task)
    classes = chosen.task is Task.CLASSIFICATION
    signature = signature_of(chosen, positive=POSITIVE if classes else "")
    data = TrainingData(
        x=encode_frame(signature, chosen.rows),
        y=y,
        weight=weights_of(chosen.ages(), spec.training.half_life),
        columns=tuple(column.name for column in signature.inputs),
        categorical=tuple(i for i, column in enumerate(signature.inputs) if column.type is ColumnType.STRING),
        task=chosen.task,
        seed=spec.training.seed,
    )
    return Work(data=data, signature=signature)


def choose(frame: TrainingFrame, rows: str) -> TrainingFrame:
    """Keep the labelled rows, all of them or those that became known within a window before now ("180d")."""
    import polars as pl

    kept = frame.rows.drop_nulls(frame.label)
    if rows != "all":
        kept = kept.filter(pl.col(KNOWN_AT) > frame.upto - span_of(rows))
    return frame if len(kept) == len(frame.rows) else replace(frame, rows=kept)


def require_labels(y: np.ndarray, task: Task) -> np.ndarray:
    """Refuse labels that nothing can be learnt from: none, infinite ones, or a single class. Raises TrainingFailed."""
    if not len(y):
        raise TrainingFailed(
            "there is no labelled row to learn from: the newest step (retraining.step) is kept for the gate, and a "
            "candidate learns from what was known before it; wait for ground truth, widen training.rows, or go live later "
            "in a replay (replay.live_from)"
        )
    if not np.isfinite(y).all():
        raise TrainingFailed("labels hold NaN or infinity; correct the source, or expect `finite` of the label column")
    if task is Task.CLASSIFICATION and (y == y[0]).all():
        raise TrainingFailed(
            f"all {len(y)} labels are {y[0]:g}; a classifier needs both classes: wait for more ground truth, or widen "
            "training.rows"
        )
    return y


def weights_of(ages: np.ndarray, half_life: float | None) -> np.ndarray:
    """Weigh rows by age in steps: 0.5 ** (age / half_life), float64 (n,); all 1 without a half-life."""
    if half_life is None:
        return np.ones(len(ages), dtype=np.float64)
    return np.asarray(0.5 ** (ages / half_life), dtype=np.float64)
