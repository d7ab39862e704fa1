"""Whether what rose is concept drift: the day's bets on the bias, what moved meanwhile, and which of both explains."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from kedge.domain.evaluation import Task
from kedge.domain.monitoring import ANSWERS, Window
from kedge.domain.project import ProjectSpec
from kedge.domain.quality import ConceptEvidence, ModelQuality
from kedge.domain.registry import ModelVersion
from kedge.monitoring.drift.window import WindowDrift
from kedge.monitoring.quality.at_gate import AtGate
from kedge.monitoring.quality.cohorts import QualityDay, QualityState, recent_days, tallies_of
from kedge.monitoring.quality.concept import add_biases, named, since_when, told_apart, tolerance_of
from kedge.monitoring.quality.losses import Losses
from kedge.monitoring.quality.measures import measured_heads
from kedge.monitoring.quality.tally import head_of
from kedge.monitoring.truth.days import DAY

LATEST_DAYS = 7
THE_ANSWERS = "the answers"
LOSSES = {"rmse": "squared_error"}
"""Losses that are measured under another name."""


def concept_of(
    spec: ProjectSpec,
    window: Window,
    *,
    state: QualityState,
    gate: AtGate,
    champion: ModelVersion,
    losses: Losses,
    risen: bool,
    number: int,
) -> ConceptEvidence | None:
    """Bet on the champion's newly closed days; once the bias or the risk (`risen`) alarms, say what explains it. `number`
    is the window's. None where the gate's days were too few."""
    if gate.bias is None:
        return None
    tolerance = tolerance_of(gate.bias, spec.monitoring.risk_tolerance)
    mine, missed = losses.usable & (losses.versions == champion.number), losses.facts - losses.answers
    evidence = add_biases(
        state.bias,
        {day: missed[places] for day, places in losses.by_day(mine).items()},
        upto=window.end,
        known=gate.bias,
        tolerance=tolerance,
    )
    limit = float(spec.monitoring.run_length)
    closed = [each.bias for each in state.bias.closed]
    found = ConceptEvidence(
        evidence=evidence,
        limit=limit,
        days=len(closed),
        accepted=gate.bias.mean,
        recent=float(np.mean(closed[-LATEST_DAYS:])) if closed else gate.bias.mean,
        tolerance=tolerance,
    )
    if not risen and evidence < limit:
        return found
    if evidence >= limit:
        state.bias.logs = []
    since = since_when(state.bias, gate.bias, tolerance=tolerance)
    return _explained(
        spec,
        found,
        gate=gate,
        days=_days_since(state, window, since=since, delay=_delay(losses)),
        since=since,
        moved=_moved(state, window, since=since, number=number),
    )


def note_moved(state: QualityState, moved: WindowDrift, *, number: int) -> None:
    """Note what the drift alarms of a window name: the columns listed, or the loudest; and the answers."""
    columns = [one for one in moved.drift if one.column != ANSWERS]
    if moved.alarmed("data"):
        listed = [one for one in columns if one.alarm] or sorted(columns, key=lambda one: -one.evidence)[:1]
        state.moved |= {one.column: number for one in listed}
    if moved.alarmed("prediction"):
        state.moved[THE_ANSWERS] = number


def quality_notes(quality: ModelQuality) -> tuple[str, ...]:
    """Say in a note what explains a rise that is not named concept drift."""
    concept = quality.concept
    if concept is None or concept.named or not concept.moved:
        return quality.notes
    names = ", ".join(concept.moved)
    share = (
        "it cannot be told how much of the rise they explain"
        if concept.explained is None
        else (f"they explain {concept.explained:.0%} of the rise of the loss")
    )
    return (*quality.notes, f"quality: the inputs moved ({names}); {share}, so this is not named concept drift")


def _explained(
    spec: ProjectSpec,
    found: ConceptEvidence,
    *,
    gate: AtGate,
    days: Sequence[QualityDay],
    since: datetime | None,
    moved: tuple[str, ...],
) -> ConceptEvidence:
    actual, expected = _means(spec, days, metric=gate.metric)
    rise, explained = told_apart(gate, actual=actual, expected=expected)
    whole = msgspec.structs.replace(found, since=since, rise=rise, explained=explained, moved=moved)
    return msgspec.structs.replace(whole, named=named(whole))


def _means(spec: ProjectSpec, days: Sequence[QualityDay], *, metric: str) -> tuple[float | None, float | None]:
    """Give the mean loss of the labelled answers of days, and what was estimated of the same days."""
    task, name = spec.data.task, LOSSES.get(metric, metric)
    sums = tallies_of(days, task)[:, : len(head_of(task))]
    rows = float(sums[:, 0].sum())
    if not rows:
        return None, None
    actual = float(measured_heads(task, sums.sum(axis=0, keepdims=True))[name][0])
    have = [(day.estimates[name], float(rows)) for day, rows in zip(days, sums[:, 0], strict=True) if name in day.estimates]
    weight = sum(rows for _, rows in have)
    expected = sum(value * rows for value, rows in have) / weight if weight else None
    if task is Task.CLASSIFICATION and name == "accuracy":
        return 1 - actual, None if expected is None else 1 - expected
    return actual, expected


def _delay(losses: Losses) -> timedelta:
    """Give the median time from an answer to its truth, in whole days."""
    waits = sorted(one.label.known_at - one.answered.at for one in losses.rows)
    return waits[len(waits) // 2] // DAY * DAY if waits else timedelta()


def _days_since(state: QualityState, window: Window, *, since: datetime | None, delay: timedelta) -> list[QualityDay]:
    """List the labelled days of answers whose truths came since a day; the last seven without one."""
    days = [day for day in recent_days(state, window.end) if day.sums]
    if since is None:
        return days[-LATEST_DAYS:]
    return [day for day in days if day.start >= since - delay - DAY] or days[-LATEST_DAYS:]


def _moved(state: QualityState, window: Window, *, since: datetime | None, number: int) -> tuple[str, ...]:
    """Name what drift alarms named since then, or in the last seven windows."""
    length = window.end - window.start
    back = max(LATEST_DAYS, -((since - window.end) // length) if since is not None else 0)
    return tuple(name for name, last in sorted(state.moved.items()) if number - last <= back)
