"""What the gate's rows teach about a version, once, when it is registered: how its answers are calibrated, how far days
stray, which errors to expect, what its features are worth, and a sample to hold later rows against.

The rows are those of the newest step, answered by the candidate that has not seen them. Kept beside the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import polars as pl

from kedge.domain.evaluation import Task
from kedge.domain.registry import Signature
from kedge.errors import KedgeError
from kedge.evaluation.metrics import Vector, loss_rows
from kedge.features.encode import encode_frame
from kedge.monitoring.quality.bands import quantile
from kedge.monitoring.quality.expected import LossTrees, calibration_of, train_losses

MOST_SAMPLED = 5000
MOST_PERMUTED, MOST_ASKED, LEAST_PERMUTED = 1000, 200_000, 100
"""The rows that a column is shuffled over; fewer where there are so many columns that more would be asked in all."""
FEWEST_DAYS = 3
FEWEST_ROWS = 30
SEED = 0
Answer = Callable[[pl.DataFrame], Vector]


class Bias(msgspec.Struct, frozen=True, kw_only=True):
    """The mean of truth less answer at the gate: its mean over days, the half-width of the 95 % band of that; the variance
    between days (the upper 95 % bound), the variance of one row within its day, the number of days; and the size that a
    bias is held against (mean truth, or mean error size)."""

    mean: float
    error: float
    between: float
    row_variance: float
    days: int
    scale: float


class AtGate(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate's rows taught. `answers` and `truths` are the knots of the calibration (classes; empty: unknown),
    `absolute` and `squared` expect the size of an error (numbers; None: unknown). `worth` is how much the loss rises when
    a feature is shuffled. `matrix` (float32 (rows, columns), as the model reads it), `row_losses` and `row_answers`
    (float64) are the sample."""

    version: int
    metric: str
    rows: int
    mean_loss: float
    bias: Bias | None = None
    answers: tuple[float, ...] = ()
    truths: tuple[float, ...] = ()
    absolute: LossTrees | None = None
    squared: LossTrees | None = None
    worth: dict[str, float] = {}
    columns: tuple[str, ...] = ()
    matrix: bytes = b""
    row_losses: bytes = b""
    row_answers: bytes = b""

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the sample: the matrix, float32 (n, columns), and the losses, float64 (n,)."""
        losses = np.frombuffer(self.row_losses, dtype="<f8")
        return np.frombuffer(self.matrix, dtype="<f4").reshape(losses.size, len(self.columns)), losses


def learn_at_gate(
    signature: Signature,
    rows: pl.DataFrame,
    *,
    version: int,
    metric: str,
    threshold: float,
    facts: Vector,
    answers: Vector,
    days: np.ndarray,
    answer: Answer,
) -> AtGate | None:
    """Learn from the gate's rows; None with fewer than 30 that are labelled and answered. `days` numbers each row's day;
    `answer` asks the candidate."""
    usable = np.isfinite(facts) & np.isfinite(answers)
    if int(usable.sum()) < FEWEST_ROWS:
        return None
    rows, facts, answers, days = rows.filter(usable), facts[usable], answers[usable], days[usable]
    losses = loss_rows(metric, facts, p=answers, threshold=threshold)
    matrix = encode_frame(signature, rows)
    knots: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    absolute = squared = None
    if signature.task is Task.CLASSIFICATION:
        knots = calibration_of(facts, answers)
    else:
        absolute = train_losses(matrix, answers, losses=np.abs(facts - answers))
        squared = train_losses(matrix, answers, losses=np.square(facts - answers))
    kept = np.linspace(0, len(facts) - 1, min(len(facts), MOST_SAMPLED)).astype(np.intp)
    return AtGate(
        version=version,
        metric=metric,
        rows=len(facts),
        mean_loss=float(losses.mean()),
        bias=_bias(signature.task, facts, answers=answers, days=days),
        answers=knots[0],
        truths=knots[1],
        absolute=absolute,
        squared=squared,
        worth=_worth(
            rows,
            [column.name for column in signature.inputs],
            answer=answer,
            lost=lambda index, given: loss_rows(metric, facts[index], p=given, threshold=threshold),
        ),
        columns=tuple(column.name for column in signature.inputs),
        matrix=np.ascontiguousarray(matrix[kept], dtype="<f4").tobytes(),
        row_losses=np.ascontiguousarray(losses[kept], dtype="<f8").tobytes(),
        row_answers=np.ascontiguousarray(answers[kept], dtype="<f8").tobytes(),
    )


def _bias(task: Task, facts: Vector, *, answers: Vector, days: np.ndarray) -> Bias | None:
    """Give the bias by days; None with fewer than three."""
    names, place, rows = np.unique(days, return_inverse=True, return_counts=True)
    if names.size < FEWEST_DAYS:
        return None
    from scipy.special import chdtri

    missed = facts - answers
    means = np.bincount(place, weights=missed) / rows
    within = float(np.square(missed - means[place]).sum()) / max(1, len(missed) - names.size)
    free = names.size - 1
    spread = float(means.var(ddof=1)) * free / float(chdtri(free, 0.95))
    scale = float(facts.mean()) if task is Task.CLASSIFICATION else float(np.abs(missed).mean())
    return Bias(
        mean=float(means.mean()),
        error=quantile(names.size) * float(means.std(ddof=1)) / float(np.sqrt(names.size)),
        between=max(0.0, spread - within * float(np.mean(1 / rows))),
        row_variance=within,
        days=int(names.size),
        scale=scale,
    )


def _worth(
    rows: pl.DataFrame, columns: Sequence[str], *, answer: Answer, lost: Callable[[np.ndarray, Vector], Vector]
) -> dict[str, float]:
    """Give how much the mean loss rises when a column is shuffled over at most 1,000 rows (permutation importance;
    Breiman, Machine Learning 45, 2001). Empty where the candidate cannot be asked."""
    most = max(LEAST_PERMUTED, min(MOST_PERMUTED, MOST_ASKED // max(1, len(columns))))
    kept = np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.intp)
    order = np.random.default_rng(SEED).permutation(len(kept))
    part = rows[kept]
    try:
        base = float(np.nanmean(lost(kept, answer(part))))
        return {name: float(np.nanmean(lost(kept, answer(part.with_columns(part[name][order]))))) - base for name in columns}
    except KedgeError:
        return {}
