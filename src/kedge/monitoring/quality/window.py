"""One window's quality: newly known truths to their cohorts, and what is then known of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from kedge.domain.durations import span_of
from kedge.domain.evaluation import Task
from kedge.domain.monitoring import Window
from kedge.domain.project import ProjectSpec
from kedge.domain.quality import Banded, Calibration, Cohort, ModelQuality, ReliabilityBin
from kedge.domain.registry import ModelVersion
from kedge.evaluation.metrics import Vector
from kedge.monitoring.quality.at_gate import AtGate
from kedge.monitoring.quality.bands import Spread, mean_over_days, over_days
from kedge.monitoring.quality.cohorts import (
    QualityDay,
    QualityState,
    add_tallies,
    age_out,
    count_answered,
    recent_days,
    starts_of,
    tallies_of,
    unit_of,
)
from kedge.monitoring.quality.estimates import check_estimates, take_estimates, weighted
from kedge.monitoring.quality.held_out import held_out_quality, take_held_out
from kedge.monitoring.quality.losses import Losses
from kedge.monitoring.quality.measures import bias_of, by_row, measured, reliability, slope_of
from kedge.monitoring.quality.ranking import add_rankings
from kedge.monitoring.quality.slicing import slices_of, take_slices
from kedge.monitoring.quality.tally import Ruler, Sums, tally, width_of
from kedge.monitoring.served import ServedRows
from kedge.monitoring.truth.days import DAY

MOST_COHORTS = 14


def quality_of(
    spec: ProjectSpec,
    window: Window,
    *,
    state: QualityState,
    served: ServedRows,
    losses: Losses,
    champion: ModelVersion | None = None,
    gate: AtGate | None = None,
) -> ModelQuality:
    """Take what a window brought into the cohorts, and measure those that changed, the recent days and their slices.
    Without what the `gate` taught, nothing is estimated."""
    unit = unit_of(span_of(spec.monitoring.window))
    count_answered(state, served, unit=unit)
    known = _known_rows(losses, unit)
    y, p, starts = known.y, known.p, known.starts
    state.ruler.fix(y, p)
    sums = _tallied(spec, y, p=p, ruler=state.ruler, groups=known.groups, count=len(starts))
    if spec.monitoring.rank_at > 0:
        add_rankings(
            sums, losses, task=spec.data.task, starts=starts, unit=unit, at=spec.monitoring.rank_at, upto=window.end
        )
    add_tallies(state, starts, sums=sums)
    take_slices(spec, state, losses=losses, places=known.places, starts=starts, groups=known.groups)
    held = take_held_out(spec, state, losses=losses, places=known.places, starts=starts, groups=known.groups)
    estimates = {}
    if champion is not None and gate is not None:
        estimates = take_estimates(spec, state, served=served, champion=champion, gate=gate, unit=unit)
    checks = check_estimates(state, spec.data.task)
    age_out(state, window.end, unit=unit)
    recent = recent_days(state, window.end)
    tallies = tallies_of(recent, spec.data.task)
    spread = Spread(spec.data.task, tallies, ruler=state.ruler)
    judged, unjudged = slices_of(spec, state, days=recent)
    labelled, answered = int(tallies[:, 0].sum()), sum(day.answered for day in recent)
    return ModelQuality(
        rows=len(y),
        known=_known(spec, sums, y=y, p=p, ruler=state.ruler, spread=spread),
        recent=over_days(spec.data.task, tallies, ruler=state.ruler),
        recent_rows=labelled,
        days=int((tallies[:, 0] > 0).sum()),
        arrived=min(1.0, labelled / answered) if answered else 0.0,
        cohorts=_cohorts(spec, state, spread=spread, changed=[*starts, *_in(state.days, window)], window=window),
        slices=judged,
        unjudged=unjudged,
        calibration=_calibration(spec.data.task, tallies),
        estimates=estimates,
        checks=checks,
        notes=_notes(state),
        held_out=held_out_quality(spec, state, losses=losses, places=held, days=recent),
    )


class _Known(NamedTuple):
    """The usable rows whose truth became known: their places, truths and answers, the blocks of time in which they were
    answered, and the place of each row's among those."""

    places: np.ndarray
    y: Vector
    p: Vector
    starts: list[datetime]
    groups: np.ndarray


def _known_rows(losses: Losses, unit: timedelta) -> _Known:
    places = np.flatnonzero(losses.usable)
    starts, of_request = starts_of(losses.served, unit)
    used, groups = np.unique(of_request[losses.request[places]], return_inverse=True)
    return _Known(places, losses.facts[places], losses.answers[places], [starts[at] for at in used.tolist()], groups)


def _tallied(spec: ProjectSpec, y: Vector, *, p: Vector, ruler: Ruler, groups: np.ndarray, count: int) -> Sums:
    task, threshold = spec.data.task, spec.gate.threshold
    if not count:
        return np.zeros((0, width_of(task)))
    return tally(task, y, p=p, ruler=ruler, threshold=threshold, groups=groups, count=count)


def _known(spec: ProjectSpec, sums: Sums, *, y: Vector, p: Vector, ruler: Ruler, spread: Spread) -> dict[str, Banded]:
    """Measure the truths that became known in the window: by row where the rows' order counts."""
    if not len(sums):
        return {}
    whole = sums.sum(axis=0, keepdims=True)
    found = by_row(spec.data.task, whole, y=y, p=p, ruler=ruler, threshold=spec.gate.threshold)
    return spread.banded(found, 0, days=len(sums))


def _cohorts(
    spec: ProjectSpec, state: QualityState, *, spread: Spread, changed: Sequence[datetime], window: Window
) -> tuple[Cohort, ...]:
    """Measure the cohorts that have a changed block in them: the newest 14 of them."""
    length = max(DAY, window.end - window.start)
    spans = sorted({_span_of(start, window, length=length) for start in changed})[-MOST_COHORTS:]
    members = [[day for day in state.days if start <= day.start < start + length] for start in spans]
    found = [(start, days) for start, days in zip(spans, members, strict=True) if days]
    sums = [tallies_of(days, spec.data.task) for _, days in found]
    whole = np.stack([each.sum(axis=0) for each in sums]) if sums else np.zeros((0, width_of(spec.data.task)))
    values = measured(spec.data.task, whole, ruler=state.ruler)
    return tuple(
        Cohort(
            start=start,
            end=start + length,
            rows=sum(day.answered for day in days),
            labels=int(whole[place, 0]),
            metrics=spread.banded(values, place, days=int((sums[place][:, 0] > 0).sum())),
            estimates=weighted([(day.estimates, day.estimated) for day in days]),
        )
        for place, (start, days) in enumerate(found)
    )


def _span_of(start: datetime, window: Window, *, length: timedelta) -> datetime:
    """Give the start of the cohort that a block lies in: cohorts follow one another like the windows do."""
    first = window.start if length == window.end - window.start else start
    return first - -((start - first) // length) * length


def _in(days: Sequence[QualityDay], window: Window) -> list[datetime]:
    return [day.start for day in days if day.start < window.end and day.start + DAY > window.start]


def _calibration(task: Task, days: Sums) -> Calibration | None:
    """Hold what was answered against what came true, over the recent days."""
    days = days[days[:, 0] > 0]
    if not len(days):
        return None
    bias = mean_over_days(bias_of(task, days) * days[:, 0], days[:, 0])
    assert bias is not None, "there are rows"  # noqa: S101
    whole = days.sum(axis=0)
    if task is not Task.CLASSIFICATION:
        return Calibration(rows=int(whole[0]), bias=bias)
    error = over_days(task, days, ruler=Ruler()).get("calibration_error")
    bins = tuple(
        ReliabilityBin(round(rows), answers / rows, truths / rows)
        for rows, answers, truths in zip(*(each[0].tolist() for each in reliability(whole[None])), strict=True)
        if rows
    )
    return Calibration(rows=int(whole[0]), bias=bias, error=error, slope=slope_of(whole), bins=bins)


def _notes(state: QualityState) -> tuple[str, ...]:
    if not state.beyond:
        return ()
    return (f"quality: {len(state.slices)} slices are followed, no more; values that came later are left out",)
