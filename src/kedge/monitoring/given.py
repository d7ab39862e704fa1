"""What a version calls normal where the loop has not trained it: taken from rows that somebody gives, or from the first
rows that it answered itself.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
import numpy as np
import polars as pl

from kedge.domain.durations import span_of
from kedge.domain.evaluation import Task
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import digest_of
from kedge.domain.monitoring import ANSWERS
from kedge.domain.project import ProjectSpec
from kedge.domain.registry import ModelVersion, misfit
from kedge.errors import DataInvalid
from kedge.evaluation.metrics import loss_name, loss_rows
from kedge.evaluation.room import Evaluation
from kedge.monitoring.answer_log import AnswerLog, PredictionQuery
from kedge.monitoring.drift.reference import MOST_ROWS, Reference, day_numbers, take_given
from kedge.monitoring.gate_rows import AskedAtGate
from kedge.monitoring.quality.risk import Accepted, accept
from kedge.monitoring.references import References
from kedge.ports import Clock, Events

FEWEST_ROWS = 30
OWN_ROWS, OWN_WINDOWS = 1000, 3
"""A version that nobody gave rows for takes its first windows as normal, once they are so many and have so many rows."""
OWN, TIME = "kedge", "time__"


class GivenRows(msgspec.Struct, frozen=True, kw_only=True):
    """Where rows come from: a few words (`source`), who gives them, and the names of their columns of time, label and
    answers ("": there is none)."""

    source: str
    actor: str
    time: str = ""
    label: str = ""
    answers: str = ""


class GivenReferences:
    """Takes references from rows that are given."""

    def __init__(self, *, references: References, evaluation: Evaluation, events: Events, clock: Clock) -> None:
        self._references, self._evaluation, self._events, self._clock = references, evaluation, events, clock

    def take(self, spec: ProjectSpec, version: ModelVersion, *, rows: pl.DataFrame, given: GivenRows) -> Reference:
        """Take what a version calls normal, in place of what was taken before; its answers are asked for where they are not
        given. With labels and times, the loss on them is what is accepted; with labels, later rows are held against
        these, and what each feature is worth is asked. Raises DataInvalid."""
        _check(version, rows, given=given)
        if len(rows) > MOST_ROWS:
            rows = rows.gather_every(-(-len(rows) // MOST_ROWS))
        answers = self._answers(version, rows, given=given)
        reference = take_given(
            rows,
            version=version.number,
            columns=_columns(version, rows, given=given),
            time=given.time,
            window=span_of(spec.monitoring.window),
            tolerance=spec.monitoring.tolerance,
            answers=answers,
            accepted=_accepted(spec, version, rows=rows, given=given, answers=answers),
        )
        digest = self._references.write(reference)
        self._events.append(self._event(version, given, rows=len(rows), key=digest))
        self._references.point(spec.name, version.number, to=digest)
        if given.label and answers is not None and not misfit(version, version.signature.task, columns=rows.columns):
            days = _days(rows, given) if given.time else np.zeros(len(rows), np.int64)
            asked = AskedAtGate(version, rows, answers, _numbers(rows, given.label), days)
            self._references.learn(spec, version, asked=asked)
        return reference

    def take_own(self, spec: ProjectSpec, version: ModelVersion, *, upto: datetime, answers: AnswerLog) -> Reference | None:
        """Take the windows that a version answered before a moment as normal, if it has no reference and they are enough;
        None where not."""
        if self._references.has(spec.name, version.number):
            return None
        rows = answers.select(PredictionQuery(model=spec.name, version=version.number, until=upto))
        if len(rows) < OWN_ROWS:
            return None
        window = f"{int(span_of(spec.monitoring.window).total_seconds())}s"
        if rows["answered_at"].dt.truncate(window).n_unique() < OWN_WINDOWS:
            return None
        read = {name: name.removeprefix("feature_") for name in rows.columns if name.startswith("feature_")}
        given = GivenRows(source="its first answers", actor=OWN, time=TIME, answers=ANSWERS)
        rows = rows.select(
            pl.col("answered_at").alias(TIME), pl.col("output").alias(ANSWERS), *(pl.col(n).alias(read[n]) for n in read)
        )
        return self.take(spec, version, rows=rows, given=given)

    def _answers(self, version: ModelVersion, rows: pl.DataFrame, *, given: GivenRows) -> np.ndarray | None:
        """Give the answers to rows; None for a version that answers tensors, which is not asked."""
        if given.answers:
            return _numbers(rows, given.answers)
        return self._evaluation.score(version, rows) if version.signature.inputs else None

    def _event(self, version: ModelVersion, given: GivenRows, *, rows: int, key: str) -> Event:
        return Event(
            key=digest_of("reference", version.model, version.number, key),
            kind=EventKind.REFERENCE_TAKEN,
            at=self._clock.now(),
            subject=version.model,
            actor=given.actor,
            message=f"What version {version.number} calls normal was taken from {given.source}: {rows:,} rows",
            facts={"version": version.number, "rows": rows},
        )


def _check(version: ModelVersion, rows: pl.DataFrame, *, given: GivenRows) -> None:
    """Check that rows can be what a version calls normal. Raises DataInvalid."""
    for what, name in (("time", given.time), ("label", given.label), ("answers", given.answers)):
        if name and name not in rows.columns:
            raise DataInvalid(f"{given.source} has no column {name!r} for the {what}; it has {', '.join(rows.columns)}")
    if len(rows) < FEWEST_ROWS:
        raise DataInvalid(f"{given.source} has {len(rows)} rows; what is normal is taken from {FEWEST_ROWS} or more")
    if given.time and not isinstance(rows.schema[given.time], pl.Datetime | pl.Date):
        raise DataInvalid(f"{given.source}: column {given.time!r} holds {rows.schema[given.time]}, not times")
    if given.label:
        _check_label(version, rows, given=given)
    if (
        version.signature.inputs
        and not given.answers
        and (lacks := misfit(version, version.signature.task, columns=rows.columns))
    ):
        raise DataInvalid(f"version {version.number} of {version.model!r} cannot answer the rows of {given.source}: {lacks}")


def _check_label(version: ModelVersion, rows: pl.DataFrame, *, given: GivenRows) -> None:
    """Check that labels are facts that the version's answers can be held against. Raises DataInvalid."""
    facts = _numbers(rows, given.label)
    facts = facts[np.isfinite(facts)]
    if not facts.size:
        raise DataInvalid(f"{given.source}: column {given.label!r} holds no number, so no loss can be told by it")
    if version.signature.inputs and version.signature.task is Task.CLASSIFICATION:
        odd = facts[(facts != 0) & (facts != 1)]
        if odd.size:
            raise DataInvalid(
                f"{given.source}: column {given.label!r} holds {odd[0]:g}, but version {version.number} of {version.model!r}"
                " answers the probability of 1: its label is 0 or 1"
            )


def _accepted(
    spec: ProjectSpec, version: ModelVersion, *, rows: pl.DataFrame, given: GivenRows, answers: np.ndarray | None
) -> Accepted | None:
    """Give the loss on labelled rows by days; None where there are no labels, times or answers."""
    if not given.label or not given.time or answers is None:
        return None
    facts = _numbers(rows, given.label)
    known = np.isfinite(facts) & np.isfinite(answers)
    metric = loss_name(spec.gate.metric, version.signature.task)
    losses = loss_rows(metric, facts[known], p=answers[known], threshold=spec.gate.threshold)
    return accept(metric, losses, days=_days(rows, given)[known])


def _days(rows: pl.DataFrame, given: GivenRows) -> np.ndarray:
    return day_numbers(rows[given.time].cast(pl.Datetime))


def _columns(version: ModelVersion, rows: pl.DataFrame, *, given: GivenRows) -> list[str]:
    """Name what is watched: what a version reads, or, of one that answers tensors, whatever columns there are."""
    special = (given.time, given.label, given.answers)
    return [column.name for column in version.signature.inputs] or [name for name in rows.columns if name not in special]


def _numbers(rows: pl.DataFrame, name: str) -> np.ndarray:
    return np.asarray(rows[name].cast(pl.Float64, strict=False).to_numpy())
