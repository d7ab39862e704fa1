"""All that is watched of a model at a glance: each thing a lane over the newest windows, the worst first.

A lane says how its thing stood in every window, and of the newest one what the evidence says: since when, how sure, how bad,
and what was done. What was not measured is a gap, never green.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from kedge.domain.alert_life import AlertState
from kedge.domain.monitoring import ANSWERS, Health
from kedge.domain.operations import Objective
from kedge.server.reading.scene import Scene
from kedge.server.reading.state import State
from kedge.server.reading.watchlist import above_unsure, skewed
from kedge.server.reading.wrongs import Wrong, wrongs
from kedge.web import words

WINDOWS = 60
Judge = Callable[[Health], State | None]
"""Says how a thing stood in a window; None where it was not measured."""
Tell = Callable[[Health], tuple[str, str]]
"""Says of a window in which nothing is wrong how sure and how bad it is; asked only where the thing was measured."""


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is watched. `kind` is that of its alerts; `marks` are its states window by window, oldest first;
    `sure`, `bad` and `done` are phrases, empty where nothing can be said; `since` is when it began to be wrong; `alert` the
    id of its open alert."""

    kind: str
    name: str
    anchor: str
    state: State
    word: str
    marks: tuple[State | None, ...]
    measured: int
    since: datetime | None = None
    sure: str = ""
    bad: str = ""
    done: str = ""
    alert: str = ""


class AlertHeld(msgspec.Struct, frozen=True, kw_only=True):
    """An open alert, as far as a lane tells of it."""

    id: str
    kind: str
    state: AlertState
    told_at: datetime


def lanes_of(scene: Scene, handled: Sequence[AlertHeld]) -> tuple[Lane, ...]:
    """Describe what is watched, the worst first; nothing where no window was measured."""
    if scene.health is None:
        return ()
    found = {wrong.kind: wrong for wrong in reversed(wrongs(scene))}
    alerts = {one.kind: one for one in reversed(handled)}
    made = [_lane(scene, watched, wrong=found.get(watched.kind), alert=alerts.get(watched.kind)) for watched in _WATCHED]
    return tuple(sorted(made, key=lambda one: _ORDER.index(one.state)))


class _Watched(NamedTuple):
    kind: str
    name: str
    anchor: str
    judge: Judge
    tell: Tell


def _lane(scene: Scene, watched: _Watched, *, wrong: Wrong | None, alert: AlertHeld | None) -> Lane:
    marks = tuple(watched.judge(health) for health in scene.healths[-WINDOWS:])
    sure, bad = watched.tell(scene.healths[-1]) if marks[-1] is not None else ("", "")
    state = wrong.state if wrong is not None else marks[-1] or State.HOLDS
    measured = sum(mark is not None for mark in marks)
    return Lane(
        kind=watched.kind,
        name=watched.name,
        anchor=wrong.anchor if wrong is not None else watched.anchor,
        state=state,
        word=_WORDS[state] if marks[-1] is not None or wrong is not None else "no evidence" if measured else "not measured",
        marks=marks,
        measured=measured,
        since=wrong.since if wrong is not None else None,
        sure=wrong.sure if wrong is not None else sure,
        bad=wrong.bad if wrong is not None else bad,
        done=_done(scene, wrong, alert=alert),
        alert=alert.id if alert is not None else "",
    )


def _done(scene: Scene, wrong: Wrong | None, *, alert: AlertHeld | None) -> str:
    if alert is None:
        return "" if wrong is None or wrong.told_at is None else f"told on {words.day(wrong.told_at, scene.now)}"
    said = f"{_HANDLED[alert.state]}, told on {words.day(alert.told_at, scene.now)}"
    return said if wrong is not None else f"an alert is open: {said}"


def _tell_loss(health: Health) -> tuple[str, str]:
    risk = health.risk
    if risk is None:
        return "", ""
    return f"at least {words.loss(risk.lower)}", f"{words.loss(risk.mean)} against {words.loss(risk.limit)}"


def _tell_fairness(health: Health) -> tuple[str, str]:
    gaps = [gap for gap in health.fairness.recent_gaps if gap.value is not None] if health.fairness else []
    if not gaps:
        return "", ""
    worst = max(gaps, key=lambda gap: (gap.limit is not None, (gap.value or 0.0) / (gap.limit or 1.0)))
    limit = f" of {words.loss(worst.limit)} accepted" if worst.limit is not None else ""
    sure = f"odds of {words.odds(worst.evidence)}" if worst.limit is not None else ""
    return sure, f"{words.metric(worst.measure)} by {worst.column} {words.loss(worst.value)}{limit}"


def _tell_operations(health: Health) -> tuple[str, str]:
    rows, errors = health.rows, sum(one.errors for one in health.versions)
    seconds = sum(one.rows * one.latency_seconds for one in health.versions)
    mean = f"mean {words.duration(seconds / rows)}, " if rows and seconds > 0 else ""
    lost = f", {words.count(health.missing)} missing from the log" if health.missing else ""
    return words.many(rows, "row"), f"{mean}{words.count(errors)} failed{lost}"


def _tell_concept(health: Health) -> tuple[str, str]:
    concept = health.quality.concept if health.quality is not None else None
    if concept is None:
        return "", ""
    return f"odds of {words.odds(concept.evidence)}", f"truth less answer {words.signed(concept.recent)}"


def _tell_business(health: Health) -> tuple[str, str]:
    targets = [one for one in health.business if one.target is not None]
    if not targets:
        return "", ""
    one = max(targets, key=lambda each: each.evidence)
    sure = f"odds of {words.odds(one.evidence)}" if one.evidence_limit else ""
    return sure, f"{one.name} {words.number(one.lately)} against {words.number(one.target)} a {one.per.value}"


def _tell_skew(health: Health) -> tuple[str, str]:
    if health.skew is None:
        return "", ""
    return f"odds of {words.odds(health.skew.evidence)}", f"{words.percent(health.skew.share)} % of the sampled rows"


def _tell_data(health: Health) -> tuple[str, str]:
    moved = [one.alarm for one in health.drift if one.column != ANSWERS]
    return f"odds of {words.odds(health.evidence.get('data'))}", f"{sum(moved)} of {len(moved)} features"


def _tell_answers(health: Health) -> tuple[str, str]:
    found = next((one for one in health.drift if one.column == ANSWERS), None)
    return ("", "") if found is None else (f"odds of {words.odds(found.evidence)}", f"{words.signed(found.shift)} in ranks")


def _loss(health: Health) -> State | None:
    risk = health.risk
    if risk is None or not risk.days:
        return None
    return State.ALARM if risk.alarm else State.WATCH if above_unsure(health) else State.WELL


def _fairness(health: Health) -> State | None:
    found = health.fairness
    if found is None or not found.recent_gaps:
        return None
    return State.ALARM if any(gap.alarm for gap in found.recent_gaps) else State.WELL


def missed_objectives(health: Health) -> tuple[Objective, ...]:
    """List the objectives of the service whose budget burns too fast."""
    return () if health.operations is None else tuple(one for one in health.operations.objectives if one.alarm)


def _operations(health: Health) -> State | None:
    if not health.rows and health.operations is None:
        return None
    return State.ALARM if missed_objectives(health) else State.WELL


def _skew(health: Health) -> State | None:
    return None if health.skew is None else State.WATCH if skewed(health.skew) else State.WELL


def _business(health: Health) -> State | None:
    targets = [one for one in health.business if one.target is not None]
    return None if not targets else State.WATCH if any(one.missed for one in targets) else State.WELL


def _concept(health: Health) -> State | None:
    concept = health.quality.concept if health.quality is not None else None
    return None if concept is None else State.WATCH if concept.named else State.WELL


def _data(health: Health) -> State | None:
    moved = [one.alarm for one in health.drift if one.column != ANSWERS]
    return None if not moved else State.WATCH if any(moved) else State.WELL


def _answers(health: Health) -> State | None:
    moved = [one.alarm for one in health.drift if one.column == ANSWERS]
    return None if not moved else State.WATCH if any(moved) else State.WELL


_WATCHED = (
    _Watched("risk", "loss", "loss", _loss, _tell_loss),
    _Watched("operations", "operations", "serving", _operations, _tell_operations),
    _Watched("fairness", "fairness", "fairness", _fairness, _tell_fairness),
    _Watched("concept_drift", "concept drift", "quality", _concept, _tell_concept),
    _Watched("business", "business metrics", "business", _business, _tell_business),
    _Watched("prediction_skew", "prediction skew", "skew", _skew, _tell_skew),
    _Watched("data_drift", "data drift", "drift", _data, _tell_data),
    _Watched("prediction_drift", "prediction drift", "drift", _answers, _tell_answers),
)
_ORDER = (State.ALARM, State.WATCH, State.WELL, State.HOLDS)
_WORDS = {State.ALARM: "alarm", State.WATCH: "watch", State.WELL: "well", State.HOLDS: "no evidence"}
_HANDLED = {
    AlertState.FIRING: "nobody has it in hand",
    AlertState.ACKNOWLEDGED: "somebody has it in hand",
    AlertState.SNOOZED: "snoozed",
}
