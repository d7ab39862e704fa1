"""What newly known truth says: losses by row, by block of time and by version; and the comparison that closes a step."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import itemgetter

import msgspec
import numpy as np

from kedge.domain.evaluation import Task
from kedge.domain.monitoring import StepLosses, Value
from kedge.domain.records import decode_features
from kedge.domain.registry import ModelVersion
from kedge.evaluation.metrics import METRICS, loss_rows
from kedge.monitoring.days import day_known, day_of
from kedge.monitoring.join_labels import Answered, Labelled
from kedge.monitoring.state import BlockKey, MonitorState

SHOWN = {
    Task.CLASSIFICATION: ("log_loss", "brier", "roc_auc"),
    Task.REGRESSION: ("squared_error", "absolute_error"),
}
Score = Callable[[ModelVersion, Mapping[str, list[Value]]], np.ndarray]


class Losses(msgspec.Struct, frozen=True, eq=False):
    """Rows with their facts, the answers they got, and what each lost. A loss is NaN where the answer was no number."""

    rows: list[Labelled]
    facts: np.ndarray
    answers: np.ndarray
    losses: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """Mark the rows with a loss."""
        return np.asarray(np.isfinite(self.losses))

    @property
    def mean(self) -> float | None:
        """Give the mean loss of the usable rows; None without any."""
        kept = self.losses[self.usable]
        return float(kept.mean()) if kept.size else None


def losses_of(rows: list[Labelled], metric: str, *, threshold: float) -> Losses:
    """Give the loss of each labelled row by the answer that was given."""
    facts = np.array([one.label.value for one in rows], dtype=np.float64)
    answers = np.array([one.answered.outputs[one.row] for one in rows], dtype=np.float64)
    return Losses(rows, facts, answers, _losses(metric, facts, answers=answers, threshold=threshold))


def _losses(metric: str, facts: np.ndarray, *, answers: np.ndarray, threshold: float) -> np.ndarray:
    losses = np.full(facts.size, np.nan)
    known = np.isfinite(answers)
    if known.any():
        losses[known] = loss_rows(metric, facts[known], p=answers[known], threshold=threshold)
    return losses


def metrics_of(losses: Losses, task: Task, *, threshold: float) -> dict[str, float]:
    """Measure the metrics that are shown; those that the rows do not define are left out."""
    usable = losses.usable
    if not usable.any():
        return {}
    facts, answers = losses.facts[usable], losses.answers[usable]
    measured = {name: METRICS[name](facts, answers, threshold) for name in SHOWN[task]}
    return {name: value for name, value in measured.items() if np.isfinite(value)}


def add_blocks(state: MonitorState, losses: Losses, *, metric: str, threshold: float) -> None:
    """Add rows to the blocks of their revision, day and version; the answers in shadow to those of their version."""
    used = [
        (_block(one.answered, one.answered.versions[one.row]), loss)
        for one, loss in zip(losses.rows, losses.losses.tolist(), strict=True)
        if not one.answered.variant  # a tester's choice of a side is no draw
    ]
    state.add_losses(used)
    copied = [
        (_block(one.answered, version), one.label.value, answers[one.row])
        for one in losses.rows
        if one.answered.shadow
        for version, answers in sorted(one.answered.shadow.items())
    ]
    facts, answers = (np.array([one[place] for one in copied], dtype=np.float64) for place in (1, 2))
    shadow = _losses(metric, facts, answers=answers, threshold=threshold).tolist()
    state.add_losses(zip((key for key, _, _ in copied), shadow, strict=True))


def _block(answered: Answered, version: int) -> BlockKey:
    return answered.revision, day_of(answered.at), version


def add_risk(state: MonitorState, losses: Losses, *, bound: float, upto: datetime) -> None:
    """Add the champion's rows to the days that the risk is tracked by, each loss clipped to the bound."""
    inside = [
        (day_known(losses.rows[index].label.known_at), min(float(losses.losses[index]), bound))
        for index in np.flatnonzero(losses.usable).tolist()
        if losses.rows[index].answered.versions[losses.rows[index].row] == state.champion
    ]
    for day, loss in sorted(inside, key=lambda one: one[0]):
        state.risk.add(day, loss)
    state.risk.close(upto)


def step_losses(
    rows: Sequence[Labelled],
    champion: ModelVersion,
    *,
    others: Sequence[ModelVersion],
    start: datetime,
    end: datetime,
    step: timedelta,
    steps: int,
    score: Score,
    metric: str,
    threshold: float,
) -> StepLosses:
    """Score the champion and others on the rows of a closed step that none of them was trained on.

    Rows that lack a column that one of them reads, and rows on which one gives no number, are left out for all.
    """
    models = (champion, *others)
    seen = max(model.trained_upto for model in models)
    unseen = [one for one in rows if one.label.known_at > seen]
    names = {column.name for model in models for column in model.signature.inputs}
    columns, kept = _columns(unseen, names)
    facts = np.array([one.label.value for one in kept], dtype=np.float64)
    found = {}
    if kept:
        found = {
            model.number: _losses(metric, facts, answers=score(model, columns), threshold=threshold) for model in models
        }
    usable = np.logical_and.reduce([np.isfinite(losses) for losses in found.values()]) if found else np.zeros(0, bool)
    count = int(usable.sum())
    return StepLosses(
        start=start,
        end=end,
        rows=count,
        champion=champion.number,
        losses={number: float(losses[usable].mean()) for number, losses in found.items()} if count else {},
        ages={model.number: (end - model.trained_upto) / step for model in models},
        labels=len(rows),
        steps=steps,
    )


def _columns(rows: Sequence[Labelled], names: set[str]) -> tuple[dict[str, list[Value]], list[Labelled]]:
    """Gather the logged features of rows, without the requests that lack a wanted column; and the rows in that order."""
    grouped: dict[str, list[Labelled]] = {}
    for one in rows:
        grouped.setdefault(one.answered.request, []).append(one)
    features = {request: _features(kept[0].answered) for request, kept in grouped.items()}
    complete = {request: kept for request, kept in grouped.items() if names <= features[request].keys()}
    columns: dict[str, list[Value]] = {name: [] for name in names}
    for request, kept in complete.items():
        pick = itemgetter(*(one.row for one in kept)) if len(kept) > 1 else None
        for name, column in columns.items():
            values = features[request][name]
            column.extend(pick(values) if pick else (values[kept[0].row],))
    return columns, [one for kept in complete.values() for one in kept]


def _features(answered: Answered) -> dict[str, list[Value]]:
    """Read a request's features; those that are hidden are not there."""
    return {name: values for name, values in decode_features(answered.payload).items() if name not in answered.hidden}
