"""What newly known truth says: losses by row, by block of time and by version; and the comparison that closes a step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np

from kedge.domain.monitoring import StepLosses
from kedge.domain.registry import ModelVersion
from kedge.evaluation.metrics import loss_rows
from kedge.monitoring.columns import Plain, plain
from kedge.monitoring.served import ServedRows
from kedge.monitoring.state import MonitorState
from kedge.monitoring.truth.days import day_at, day_known, day_number, day_of
from kedge.monitoring.truth.join_labels import Labelled

Score = Callable[[ModelVersion, Mapping[str, Plain]], np.ndarray]


class Losses:
    """Labelled rows with their facts, the answers they got, and what each lost (NaN where the answer was no number): float64
    (rows,) each. Rows of one request follow one another; `served` are the requests, with their features."""

    def __init__(self, rows: list[Labelled], metric: str, *, threshold: float, names: Collection[str] | None = None) -> None:
        self.rows = rows
        answered = [one.answered for one in rows]
        ids = np.fromiter(map(id, answered), np.int64, count=len(rows))
        firsts = np.flatnonzero(np.diff(ids, prepend=-1))
        self.served = ServedRows([answered[first] for first in firsts.tolist()], names=names)
        self.request = np.cumsum(np.diff(ids, prepend=-1) != 0) - 1
        """The place of each row's request: int64 (rows,)."""
        self.place = self.served.firsts[self.request] + np.fromiter((one.row for one in rows), np.int64, count=len(rows))
        """The place of each row among the requests' rows: int64 (rows,)."""
        self.facts = np.fromiter((one.label.value for one in rows), np.float64, count=len(rows))
        self.answers = self.served.answers[self.place]
        self.losses = row_losses(metric, self.facts, answers=self.answers, threshold=threshold)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def usable(self) -> np.ndarray:
        """Mark the rows with a loss."""
        return np.asarray(np.isfinite(self.losses))

    @cached_property
    def versions(self) -> np.ndarray:
        """Give the version that answered each row: int64 (rows,)."""
        return np.asarray(self.served.versions[self.place])

    @cached_property
    def moments(self) -> tuple[list[datetime], np.ndarray]:
        """Give the moments at which truths became known, and the place of each row's among them: int64 (rows,)."""
        known = [one.label.known_at for one in self.rows]
        places = {moment: place for place, moment in enumerate(dict.fromkeys(known))}
        return list(places), np.fromiter(map(places.__getitem__, known), np.int64, count=len(known))

    @property
    def mean(self) -> float | None:
        """Give the mean loss of the usable rows; None without any."""
        kept = self.losses[self.usable]
        return float(kept.mean()) if kept.size else None

    def by_day(self, mask: np.ndarray) -> dict[datetime, np.ndarray]:
        """Give the days on which the rows of a mask became known, in order, and the places of the rows of each."""
        moments, place = self.moments
        days = np.array([day_number(day_known(moment)) for moment in moments], np.int64)[place]
        kept = np.flatnonzero(mask)
        return {day_at(day): kept[days[kept] == day] for day in np.unique(days[kept]).tolist()}


def losses_of(rows: list[Labelled], metric: str, *, threshold: float, names: Collection[str] | None = None) -> Losses:
    """Give the loss of each labelled row by the answer that was given; of the features those of `names` are read, or all."""
    return Losses(rows, metric, threshold=threshold, names=names)


def row_losses(metric: str, facts: np.ndarray, *, answers: np.ndarray, threshold: float) -> np.ndarray:
    """Give what each row lost, float64 (rows,): NaN where the answer was no number."""
    losses = np.full(facts.size, np.nan)
    known = np.isfinite(answers)
    if known.any():
        losses[known] = loss_rows(metric, facts[known], p=answers[known], threshold=threshold)
    return losses


def add_blocks(state: MonitorState, losses: Losses, *, metric: str, threshold: float) -> None:
    """Add rows to the blocks of their revision, day and version; the answers in shadow to those of their version."""
    served = losses.served
    counted = losses.usable & ~served.testers[losses.request]  # a tester's choice of a side is no draw
    asked = [(one.revision, day) for one, day in zip(served.requests, served.days.tolist(), strict=True)]
    times = {time: place for place, time in enumerate(dict.fromkeys(asked))}
    of_request = np.fromiter(map(times.__getitem__, asked), np.int64, count=len(asked))
    versions, version = np.unique(losses.versions[counted], return_inverse=True)
    block, place = np.unique(of_request[losses.request[counted]] * versions.size + version, return_inverse=True)
    keys = [(revision, day_at(day), number) for revision, day in times for number in versions.tolist()]
    state.add_losses([keys[each] for each in block.tolist()], place, losses=losses.losses[counted])
    copied = [
        ((one.answered.revision, day_of(one.answered.at), version), one.label.value, answers[one.row])
        for one in (losses.rows if any(one.shadow for one in served.requests) else ())
        for version, answers in sorted(one.answered.shadow.items())
    ]
    facts, answers = (np.array([one[column] for one in copied], dtype=np.float64) for column in (1, 2))
    shadow = row_losses(metric, facts, answers=answers, threshold=threshold)
    known = np.isfinite(shadow)
    shadowed = {block: place for place, block in enumerate(dict.fromkeys(block for block, _, _ in copied))}
    places = np.array([shadowed[block] for block, _, _ in copied], dtype=np.int64)
    state.add_losses(list(shadowed), places[known], losses=shadow[known])


def add_risk(state: MonitorState, losses: Losses, *, bound: float, upto: datetime) -> None:
    """Add the champion's rows to the days that the risk is tracked by, each loss clipped to the bound."""
    for day, places in losses.by_day(losses.usable & (losses.versions == state.champion)).items():
        state.risk.add(day, np.minimum(losses.losses[places], bound))
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
    known = losses_of(unseen, metric, threshold=threshold, names=names)
    kept, columns = with_features(known, names)
    facts = known.facts[kept]
    found = {}
    if kept.size:
        found = {
            model.number: row_losses(metric, facts, answers=score(model, columns), threshold=threshold) for model in models
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


def with_features(losses: Losses, names: Collection[str]) -> tuple[np.ndarray, dict[str, Plain]]:
    """Find the rows whose requests had all features of some names, and hid none: their places, and the features."""
    served = losses.served
    without = np.logical_or.reduce([served.lacks(name) | served.conceals(name) for name in names] or [np.zeros(1, bool)])
    places = np.flatnonzero(~np.broadcast_to(without, len(served))[losses.place])
    features = {name: served.feature(name) for name in names} if places.size else {}
    taken = losses.place[places]
    return places, {name: plain(column.take(taken)) for name, column in features.items() if column is not None}
