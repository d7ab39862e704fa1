"""What the labels say of a trial, by days and random groups of entities: the sums that its judgement needs.

Entities, not rows, are drawn to a side, and rows of one day rise and fall together; so losses are kept by both. Slices
have a quarter of the groups.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kedge.domain.ids import prediction_id
from kedge.domain.monitoring import GroupLoss
from kedge.domain.project import ProjectSpec
from kedge.domain.records import decode_entities
from kedge.domain.rollout import Deployment, RolloutRules, Strategy, group_of
from kedge.errors import RequestInvalid
from kedge.evaluation.metrics import loss_name
from kedge.evaluation.value import columns_read, value_rows
from kedge.monitoring.columns import plain
from kedge.monitoring.quality.losses import Losses, row_losses
from kedge.monitoring.state import MonitorState
from kedge.monitoring.truth.days import day_of

SLICE_GROUPS = 8
MOST_SLICES = 50


def add_groups(
    state: MonitorState, losses: Losses, *, trial: Deployment | None, began: int, spec: ProjectSpec
) -> tuple[str, ...]:
    """Add labelled rows to the sums of the trial that began with revision `began`; without one there are none. Says what
    could not be computed."""
    if state.groups_since != began:
        state.groups, state.groups_since = [], began
    if trial is None or trial.challenger is None:
        state.groups = []
        return ()
    places = [place for place, one in enumerate(losses.rows) if one.answered.revision >= began and not one.answered.variant]
    if trial.strategy is Strategy.SHADOW:  # pairs alone: what it had to leave out is compared with nothing
        places = [place for place in places if trial.challenger in losses.rows[place].answered.shadow]
    if not places:
        return ()
    sums = {(one.day, one.slice, one.version, one.group): (one.rows, one.loss, one.value) for one in state.groups}
    rules = trial.rules or spec.rollout
    read, known = _Read(losses, places, rules=rules, spec=spec), {key[1] for key in sums}
    for place, one in enumerate(read.rows):
        day = day_of(one.answered.at)
        for version, loss, value in read.answers(place):
            if not np.isfinite(loss):
                continue
            for name, group in read.cells(place, known=known):
                known.add(name)
                key = (day, name, version, group)
                count, total, worth = sums.get(key, (0, 0.0, 0.0))
                sums[key] = (count + 1, total + loss, worth + (value if np.isfinite(value) else 0.0))
    state.groups = [
        GroupLoss(day=day, version=version, group=group, rows=count, loss=loss, value=worth, slice=name)
        for (day, name, version, group), (count, loss, worth) in sums.items()
    ]
    return tuple(dict.fromkeys(read.faults))


class _Read:
    """Labelled rows with what each version lost on them and was worth, their groups and slices."""

    def __init__(self, losses: Losses, places: list[int], *, rules: RolloutRules, spec: ProjectSpec) -> None:
        self.rows = rows = [losses.rows[place] for place in places]
        self.faults: list[str] = []
        self._rules, self._served, self._places = rules, losses.served, losses.place[places]
        requests = {one.answered.request: one.answered.payload for one in rows}
        self._entities = {request: decode_entities(payload) for request, payload in requests.items()}
        self._slices = {name: self._sliced(name) for name in rules.slices}
        metric, threshold = loss_name(spec.gate.metric, spec.data.task), spec.gate.threshold
        self._of: list[list[tuple[int, float, float]]] = [[] for _ in rows]
        for mine, answers, versions in self._sides():
            facts = np.array([rows[place].label.value for place in mine])
            lost = row_losses(metric, facts, answers=answers, threshold=threshold)
            worth = self._values(mine, answers, facts=facts)
            for index, place in enumerate(mine):
                self._of[place].append((versions[index], float(lost[index]), float(worth[index])))

    def answers(self, place: int) -> list[tuple[int, float, float]]:
        """Give (version, loss, value) of each version that answered a row."""
        return self._of[place]

    def cells(self, place: int, *, known: set[str]) -> Iterator[tuple[str, int]]:
        """Give the groups that a row belongs to: its own, and that of each of its slices."""
        one = self.rows[place]
        entities = self._entities[one.answered.request]
        entity = entities[one.row] if entities else prediction_id(one.answered.request, one.row)
        group = group_of(entity)
        yield "", group
        for names in self._slices.values():
            name = names[place]
            if name and (name in known or len(known) <= MOST_SLICES):
                yield name, group % SLICE_GROUPS

    def _sliced(self, name: str) -> list[str]:
        """Name the slice of each row in a column; "" where its request lacked the column."""
        column = self._served.feature(name)
        if column is None:
            return [""] * len(self.rows)
        lacks = self._served.lacks(name)[self._places].tolist()
        values = column.take(self._places).tolist()
        return ["" if lacking else f"{name}={value}" for value, lacking in zip(values, lacks, strict=True)]

    def _sides(self) -> Iterator[tuple[list[int], np.ndarray, list[int]]]:
        """Give the rows that were answered and the answers, then those of the shadows."""
        used = np.array([one.answered.outputs[one.row] for one in self.rows], dtype=np.float64)
        yield list(range(len(used))), used, [one.answered.versions[one.row] for one in self.rows]
        copied = [
            (place, float(answers[one.row]), version)
            for place, one in enumerate(self.rows)
            for version, answers in sorted(one.answered.shadow.items())
        ]
        if copied:
            yield [each[0] for each in copied], np.array([each[1] for each in copied]), [each[2] for each in copied]

    def _values(self, places: list[int], answers: np.ndarray, *, facts: np.ndarray) -> np.ndarray:
        if not self._rules.value:
            return np.zeros(len(places))
        rows = self._places[places]
        try:
            features = {name: self._served.feature(name) for name in columns_read(self._rules.value)}
            columns = {
                name: plain(column.take(rows))
                for name, column in features.items()
                if column is not None and not self._served.lacks(name)[rows].any()
            }
            return value_rows(self._rules.value, columns, predictions=answers, truths=facts)
        except RequestInvalid as error:
            self.faults.append(str(error))
            return np.zeros(len(places))
