"""The monitoring page: what is wrong, the loss over time, then what explains it, most decisive first, then the windows."""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from kedge.domain.alert_life import AlertState
from kedge.domain.alerting import Alert, AlertSeverity
from kedge.domain.causes import Causes
from kedge.domain.fairness import Fairness
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import ANSWERS, Drift, Health, JoinReport, Risk, VersionHealth, Window
from kedge.domain.operations import Operations, PlaneFigures
from kedge.domain.predictions import TruthStanding
from kedge.domain.quality import Cohort, ModelQuality
from kedge.domain.registry import Promotion
from kedge.domain.skew import Skew
from kedge.domain.worth import BusinessFound
from kedge.errors import NotFound, RequestInvalid
from kedge.ports import MetaStore
from kedge.server.reading.alerting import MEASURED
from kedge.server.reading.course import LossCourse, course_of
from kedge.server.reading.lanes import AlertHeld, Lane, lanes_of
from kedge.server.reading.model import Mark
from kedge.server.reading.scene import Scene
from kedge.server.reading.sentence import monitoring_verdict
from kedge.server.reading.shapes import Shape, shape_of
from kedge.server.reading.state import Sentence, State
from kedge.server.reading.watchlist import WatchedModel, state_of
from kedge.server.reading.wrongs import Wrong, wrongs
from kedge.web import words

ALERTS = 50
COHORTS = 14
COURSE = 60
FEATURES = 12
WINDOWS = 25
_STATES = {AlertSeverity.CRITICAL: State.ALARM, AlertSeverity.WARNING: State.WATCH, AlertSeverity.INFO: State.IDLE}


class OpenAlert(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that is not resolved: what was raised of it last, how many windows showed it, since when, and whether
    somebody has it in hand ("firing", "acknowledged", "snoozed")."""

    id: str
    alert: Alert
    severity: AlertSeverity
    state: State
    since: datetime
    count: int
    standing: str
    until: datetime | None = None

    @property
    def odds(self) -> float | None:
        """Give how sure it is, where that is told as odds."""
        return None if self.alert.kind in MEASURED else self.alert.evidence


def _handled(one: OpenAlert) -> AlertHeld:
    return AlertHeld(id=one.id, kind=one.alert.kind.value, state=AlertState(one.standing), told_at=one.since)


class FeatureDrift(msgspec.Struct, frozen=True, kw_only=True):
    """A feature: how far it moved, the evidence window by window, its two shapes; `worth` is its share of all features'
    worth at the gate, where it is known."""

    drift: Drift
    course: tuple[float | None, ...]
    shape: Shape | None
    worth: float | None = None


class WindowLine(msgspec.Struct, frozen=True, kw_only=True):
    """One window in the history."""

    window: Window
    id: str
    rows: int
    labels: int
    loss: float | None
    limit: float | None
    moved: int
    watched: int
    errors: int
    missing: int
    alerts: tuple[str, ...]
    state: State
    word: str


class WindowHistory(msgspec.Struct, frozen=True, kw_only=True):
    """A page of windows, newest first; `next` is the token of the page after it, empty at the end."""

    windows: tuple[WindowLine, ...]
    next: str


class MonitoringPage(msgspec.Struct, frozen=True, kw_only=True):
    """One watched model."""

    model: str
    now: datetime
    metric: str
    verdict: Sentence
    models: tuple[WatchedModel, ...]
    wrongs: tuple[Wrong, ...]
    lanes: tuple[Lane, ...]
    window: str
    measured_at: datetime | None
    champion: int | None
    challenger: int | None
    course: LossCourse
    promotions: tuple[Promotion, ...]
    alarms: tuple[Mark, ...]
    alerts: tuple[OpenAlert, ...]
    risk: Risk | None
    quality: ModelQuality | None
    cohorts: tuple[Cohort, ...]
    drift: tuple[FeatureDrift, ...]
    watched: int
    answers: FeatureDrift | None
    together: dict[str, float]
    together_limit: float
    fairness: Fairness | None
    business: tuple[BusinessFound, ...]
    causes: Causes | None
    explained: str
    skew: Skew | None
    versions: tuple[VersionHealth, ...]
    rows: int
    answered: int
    missing: int
    labels: int
    operations: Operations | None
    latency: tuple[float | None, ...]
    failed: tuple[float | None, ...]
    busy: tuple[float | None, ...]
    memory: tuple[float | None, ...]
    requests: tuple[float | None, ...]
    truth: TruthStanding
    join: JoinReport
    notes: tuple[str, ...]
    history: WindowHistory


def monitoring_page(
    scene: Scene, meta: MetaStore, *, models: tuple[WatchedModel, ...], whole: bool = False, page: str = ""
) -> MonitoringPage:
    """Describe what is watched of one model. Raises NotFound for a model that is not deployed and not the project's."""
    if scene.deployment is None and scene.model != scene.spec.name:
        raise NotFound(f"no deployment of {scene.model!r} is watched; /monitoring lists those that are")
    health = scene.health
    deployment = scene.deployment
    kept = [one for _, one in sorted(scene.cohorts.items())]
    newest = [one.quality for one in scene.healths[-COURSE:] if one.quality is not None]
    windows = scene.healths[-COURSE:]
    caused = next((one for one in reversed(windows) if one.causes is not None), None)
    worth = {one.column: one for one in caused.causes.features} if caused and caused.causes else {}

    def rank(drift: Drift) -> tuple[bool, float, float, str]:
        weight = worth[drift.column].weight if drift.column in worth else 0.0
        return not drift.alarm, -weight, -drift.evidence, drift.column

    ranked = sorted(scene.drift, key=rank)
    told = open_alerts(meta, scene.model)
    return MonitoringPage(
        model=scene.model,
        now=scene.now,
        metric=scene.metric,
        verdict=monitoring_verdict(scene),
        models=models,
        wrongs=wrongs(scene),
        lanes=lanes_of(scene, [_handled(one) for one in told]),
        window=health.window.id if health else "",
        measured_at=health.window.end if health else None,
        champion=deployment.champion if deployment else None,
        challenger=deployment.challenger if deployment else None,
        course=course_of(scene, whole=whole),
        promotions=tuple(
            Promotion(version=move.number, at=move.moved_at, actor=move.actor, reason=move.reason)
            for move in scene.promotions
            if move.number is not None
        ),
        alarms=tuple(
            Mark(at=alert.raised_at, kind=alert.kind.value, message=alert.message)
            for alert in reversed(scene.alerts)
            if alert.severity is AlertSeverity.CRITICAL
        ),
        alerts=told,
        risk=health.risk if health else None,
        quality=newest[-1] if newest else None,
        cohorts=tuple(reversed(kept[-COHORTS:])),
        drift=tuple(
            feature(scene, one, worth=worth[one.column].share if one.column in worth else None) for one in ranked[:FEATURES]
        ),
        watched=len(ranked),
        answers=None if scene.answers is None else feature(scene, scene.answers),
        together=health.evidence if health else {},
        together_limit=health.evidence_limit if health else 0.0,
        fairness=health.fairness if health else None,
        business=health.business if health else (),
        causes=caused.causes if caused else None,
        explained=address_of(caused.window) if caused else "",
        skew=next((one.skew for one in reversed(windows) if one.skew is not None), None),
        versions=health.versions if health else (),
        rows=health.rows if health else 0,
        answered=(health.answered or health.rows) if health else 0,
        missing=health.missing if health else 0,
        labels=health.labels if health else 0,
        operations=health.operations if health else None,
        latency=tuple(_latency(one) for one in windows),
        failed=tuple(_failed(one) for one in windows),
        busy=tuple(_plane(one, lambda told: told.busy_most) for one in windows),
        memory=tuple(_plane(one, lambda told: float(told.memory_most)) for one in windows),
        requests=tuple(float(one.rows) for one in windows),
        truth=scene.truth,
        join=health.join if health else JoinReport(),
        notes=health.notes if health else (),
        history=history(scene.model, meta, page=page) if page else lines_of(scene.healths[-WINDOWS - 1 :], limit=WINDOWS),
    )


def open_alerts(meta: MetaStore, model: ModelName) -> tuple[OpenAlert, ...]:
    """List the conditions that are not resolved, the worst first, each once."""
    found = [
        OpenAlert(
            id=life.id,
            alert=life.newest,
            severity=life.severity,
            state=_STATES[life.severity] if life.state is AlertState.FIRING else State.HOLDS,
            since=life.opened_at,
            count=life.count,
            standing=life.state.value,
            until=life.until,
        )
        for life in meta.alerts.list(model=model, resolved=False, limit=ALERTS)
    ]
    return tuple(sorted(found, key=lambda one: (-one.severity.rank, -one.alert.raised_at.timestamp())))


def alert_line(alert: Alert) -> OpenAlert:
    """Describe an alert as a window raised it."""
    severity = alert.severity
    return OpenAlert(
        id=alert.id,
        alert=alert,
        severity=severity,
        state=_STATES[severity],
        since=alert.raised_at,
        count=1,
        standing="raised",
    )


def feature(scene: Scene, drift: Drift, *, worth: float | None = None) -> FeatureDrift:
    """Describe one feature's drift with its course over the newest windows."""
    return FeatureDrift(
        drift=drift,
        course=tuple(
            next((one.evidence for one in health.drift if one.column == drift.column), None)
            for health in scene.healths[-COURSE:]
        ),
        shape=shape_of(drift.column, scene.reference, now=scene.newest),
        worth=worth,
    )


def _latency(health: Health) -> float | None:
    """Give the mean seconds of a request; None where nobody timed it."""
    rows = sum(one.rows for one in health.versions)
    seconds = sum(one.rows * one.latency_seconds for one in health.versions)
    return seconds / rows if rows and seconds > 0 else None


def _failed(health: Health) -> float | None:
    """Give the share that failed by us: of the requests where data planes told, else of the logged rows."""
    plane = health.operations.plane if health.operations is not None else None
    if plane is not None and plane.requests:
        return plane.failed / plane.requests
    return sum(one.errors for one in health.versions) / health.rows if health.rows else None


def _plane(health: Health, of: Callable[[PlaneFigures], float]) -> float | None:
    return None if health.operations is None or health.operations.plane is None else of(health.operations.plane)


def history(model: ModelName, meta: MetaStore, *, page: str = "", limit: int = WINDOWS) -> WindowHistory:
    """List a page of windows, newest first. Raises RequestInvalid for a token that is none of ours."""
    before = window_of(page) if page else None
    return lines_of(meta.watches.list(model, limit=limit + 1, before=before), limit=limit)


def lines_of(found: Sequence[Health], *, limit: int) -> WindowHistory:
    """Describe windows that are read, newest first; what is above `limit` stands on the page after."""
    shown = list(reversed(found))[:limit]
    return WindowHistory(
        windows=tuple(line(health) for health in shown),
        next=address_of(shown[-1].window) if len(found) > limit else "",
    )


def line(health: Health) -> WindowLine:
    """Describe one window in a line."""
    features = [drift for drift in health.drift if drift.column != ANSWERS]
    state, word = state_of(health)
    return WindowLine(
        window=health.window,
        id=address_of(health.window),
        rows=health.rows,
        labels=health.labels,
        loss=health.loss,
        limit=health.risk.limit if health.risk else None,
        moved=sum(drift.alarm for drift in features),
        watched=len(features),
        errors=sum(version.errors for version in health.versions),
        missing=health.missing,
        alerts=tuple(dict.fromkeys(words.metric(alert.kind.value) for alert in health.alerts)),
        state=state,
        word=word,
    )


def address_of(window: Window) -> str:
    """Write a window's id as one part of a path: ISO 8601 lets two hyphens stand for the stroke."""
    return window.id.replace("/", "--")


def window_of(text: str) -> Window:
    """Read a window as it stands in an address. Raises RequestInvalid."""
    try:
        start, end = (datetime.strptime(f"{part}+0000", "%Y-%m-%dT%H:%M%z") for part in text.split("--"))
    except ValueError:
        raise RequestInvalid(f"{text!r} is no window; write START--END, as 2013-03-01T00:00--2013-03-02T00:00") from None
    return Window(start, end)
