"""Model quality as a page needs it: a series for each measure with its bands, cohorts, slices, calibration, estimates held
against the truth, drift by name, causes. Everything is read from the measured windows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from kedge.domain.causes import Causes
from kedge.domain.durations import floor_to
from kedge.domain.monitoring import ANSWERS, Health
from kedge.domain.quality import (
    Banded,
    Calibration,
    Cohort,
    ConceptEvidence,
    EstimateCheck,
    HeldOutQuality,
    ModelQuality,
    SliceQuality,
)
from kedge.errors import NotFound
from kedge.server.reading.scene import Scene

WINDOWS = 120
DAY = timedelta(days=1)


class QualityWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One window: what was answered, what became known, how much of its own answers' truths has come since (None: none
    was answered), the loss, and what alarmed."""

    window: str
    start: datetime
    end: datetime
    rows: int
    labels: int
    arrived: float | None
    loss: float | None
    moved: tuple[str, ...]
    alerts: tuple[str, ...]


class QualitySeries(msgspec.Struct, frozen=True, kw_only=True):
    """One measure over the windows, by the truths that became known in each (None: not defined there)."""

    metric: str
    known: tuple[Banded | None, ...]
    estimates: tuple[float | None, ...]


class QualityPage(msgspec.Struct, frozen=True, kw_only=True):
    """A model's quality. `points` and each of `series` have one place a window, oldest first; `cohorts` are told as the
    newest window to measure each told them; `causes` are the newest, of window `explained`."""

    model: str
    now: datetime
    metric: str
    threshold: float
    windows: int
    points: tuple[QualityWindow, ...]
    series: tuple[QualitySeries, ...]
    cohorts: tuple[Cohort, ...]
    recent: dict[str, Banded]
    recent_rows: int
    days: int
    arrived: float
    slices: tuple[SliceQuality, ...]
    unjudged: tuple[str, ...]
    calibration: Calibration | None
    checks: tuple[EstimateCheck, ...]
    concept: ConceptEvidence | None
    held_out: HeldOutQuality | None
    causes: Causes | None
    explained: str
    notes: tuple[str, ...]


def quality_page(scene: Scene, *, windows: int = WINDOWS) -> QualityPage:
    """Describe the quality of a model over its last windows. Raises NotFound where none was measured."""
    healths = scene.healths[-windows:]
    if not healths:
        raise NotFound(f"no window of {scene.model!r} was measured yet; measure those that have closed with: kedge watch")
    cohorts = scene.cohorts
    told = next((one.quality for one in reversed(healths) if one.quality is not None), ModelQuality(rows=0))
    caused = next((one for one in reversed(healths) if one.causes is not None), None)
    return QualityPage(
        model=scene.model,
        now=scene.now,
        metric=scene.metric,
        threshold=scene.spec.gate.threshold,
        windows=len(scene.healths),
        points=tuple(_point(one, cohorts) for one in healths),
        series=tuple(_series(name, healths) for name in _names(healths)),
        cohorts=tuple(cohorts[start] for start in sorted(cohorts) if cohorts[start].end > healths[0].window.start),
        recent=told.recent,
        recent_rows=told.recent_rows,
        days=told.days,
        arrived=told.arrived,
        slices=told.slices,
        unjudged=told.unjudged,
        calibration=told.calibration,
        checks=told.checks,
        concept=told.concept,
        held_out=told.held_out,
        causes=caused.causes if caused is not None else None,
        explained=caused.window.id if caused is not None else "",
        notes=healths[-1].notes,
    )


def _point(one: Health, cohorts: dict[datetime, Cohort]) -> QualityWindow:
    mine = cohorts.get(one.window.start)
    if mine is None:  # windows shorter than a day share their day's cohort
        mine = cohorts.get(floor_to(one.window.start, DAY))
    return QualityWindow(
        window=one.window.id,
        start=one.window.start,
        end=one.window.end,
        rows=one.rows,
        labels=one.labels,
        arrived=mine.arrived if mine is not None and one.rows else None,
        loss=one.loss,
        moved=tuple("answers" if each.column == ANSWERS else each.column for each in one.drift if each.alarm),
        alerts=tuple(dict.fromkeys(alert.kind.value for alert in one.alerts)),
    )


def _names(healths: Sequence[Health]) -> list[str]:
    told = [one.quality for one in healths if one.quality is not None]
    return list(dict.fromkeys(name for one in told for name in (*one.known, *one.estimates)))


def _series(name: str, healths: Sequence[Health]) -> QualitySeries:
    return QualitySeries(
        metric=name,
        known=tuple(one.quality.known.get(name) if one.quality is not None else None for one in healths),
        estimates=tuple(one.quality.estimates.get(name) if one.quality is not None else None for one in healths),
    )
