"""Alerts as pages and the API show them: the list of what is open and what was, and one alert whole."""

from datetime import datetime

import msgspec

from kedge.domain.alert_life import AlertLife, AlertMove, AlertState
from kedge.domain.alerting import AlertKind, AlertSeverity
from kedge.domain.channels import AlertDelivery, Mute
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Drift, Health
from kedge.server.house import House
from kedge.server.reading.state import Figure, Sentence, State
from kedge.web.addresses import address, part

SEVERITIES = {
    AlertSeverity.CRITICAL: State.ALARM,
    AlertSeverity.WARNING: State.WATCH,
    AlertSeverity.INFO: State.IDLE,
}
STATES = {
    AlertState.FIRING: State.ALARM,
    AlertState.ACKNOWLEDGED: State.TRIAL,
    AlertState.SNOOZED: State.HOLDS,
    AlertState.RESOLVED: State.WELL,
}
ACTS = {
    AlertMove.RAISED: State.ALARM,
    AlertMove.REOPENED: State.ALARM,
    AlertMove.WOKEN: State.ALARM,
    AlertMove.ESCALATED: State.ALARM,
    AlertMove.REMINDED: State.WATCH,
    AlertMove.ACKNOWLEDGED: State.TRIAL,
    AlertMove.SNOOZED: State.HOLDS,
    AlertMove.TESTED: State.IDLE,
    AlertMove.RESOLVED: State.WELL,
}
_TOLD = "Kedge changed nothing: alarms tell people. Retraining is decided by gain against cost."
DID = {
    AlertKind.DATA_DRIFT: _TOLD,
    AlertKind.PREDICTION_DRIFT: _TOLD,
    AlertKind.RISK: _TOLD,
    AlertKind.GATE_REFUSED: "The candidate was not released. What is live stays live.",
    AlertKind.ROLLED_BACK: "All traffic went back to the champion.",
    AlertKind.ROLLOUT_WAITS: "The trial stays on its step until a person decides.",
    AlertKind.TRAINING_FAILED: "What is live stays live.",
    AlertKind.DATA_INVALID: "Nothing was trained on these rows. What is live stays live.",
    AlertKind.SILENCE: "Kedge goes on to measure, and says so when they come again.",
}
MUTABLE = 6
"""How many models a page of alerts offers to mute; `kedge alerts mute` takes any."""
_NEWEST, _RESOLVED = 500, 100
NOTHING = "Kedge changed nothing; a person decides."
MEASURED = frozenset({AlertKind.RISK, AlertKind.BUSINESS, AlertKind.OPERATIONS, AlertKind.COST})
"""Their evidence is a measured value against its limit; that of all others is odds."""


class AlertList(msgspec.Struct, frozen=True, kw_only=True):
    """What is open, worst first; what was resolved, newest first; mutes that last, the channels, and the models that can be
    muted: those that have alerts, before there is any the project's own."""

    verdict: Sentence
    open: tuple[AlertLife, ...]
    resolved: tuple[AlertLife, ...]
    mutes: tuple[Mute, ...]
    channels: tuple[str, ...]
    models: tuple[ModelName, ...]
    now: datetime


class AlertWhole(msgspec.Struct, frozen=True, kw_only=True):
    """One alert: its life, what Kedge did, the figures of the window it came from, who was told, and what explains it."""

    verdict: Sentence
    alert: AlertLife
    did: str
    figures: tuple[Figure, ...]
    explained: tuple[tuple[str, str], ...]
    deliveries: tuple[AlertDelivery, ...]
    muted_until: datetime | None
    now: datetime


def alert_list(house: House) -> AlertList:
    """List alerts."""
    now, alerts = house.clock.now(), house.meta.alerts
    newest = alerts.list(limit=_NEWEST)
    unresolved = alerts.list(resolved=False)  # some of them may have been seen before the newest 500
    still = sorted(unresolved, key=lambda life: (_hidden(life), -life.severity.rank))
    return AlertList(
        verdict=_verdict(still),
        open=tuple(still),
        resolved=tuple(life for life in newest if not life.open)[:_RESOLVED],
        mutes=tuple(mute for mute in alerts.mutes() if mute.until > now),
        channels=tuple(house.alert_desk.channels()),
        models=tuple(sorted({life.model for life in (*still, *newest)}))[:MUTABLE] or (house.spec.name,),
        now=now,
    )


def alert_whole(house: House, id: str) -> AlertWhole:
    """Describe one alert. Raises NotFound."""
    life, now = house.meta.alerts.get(id), house.clock.now()
    health = house.meta.watches.find(life.model, life.newest.window) if life.newest.window else None
    until = next((mute.until for mute in house.meta.alerts.mutes() if mute.model == life.model), now)
    return AlertWhole(
        verdict=_told(life),
        alert=life,
        did=DID.get(life.kind, NOTHING),
        figures=_figures(life, health),
        explained=_explained(life),
        deliveries=tuple(house.meta.alerts.deliveries(id)),
        muted_until=until if until > now else None,
        now=now,
    )


def _hidden(life: AlertLife) -> bool:
    return life.state is not AlertState.FIRING


def _verdict(still: list[AlertLife]) -> Sentence:
    firing = [life for life in still if life.state is AlertState.FIRING]
    if not still:
        return Sentence(
            state=State.WELL,
            say="No alert is open",
            sub="What moved, failed or fell silent is raised here, and told to the channels.",
        )
    if not firing:
        return Sentence(state=State.TRIAL, say=f"{_many(len(still))} open, and somebody has each in hand")
    worst = max(life.severity.rank for life in firing)
    severity = list(AlertSeverity)[worst]
    count = sum(life.severity is severity for life in firing)
    return Sentence(
        state=SEVERITIES[severity],
        say=f"{_many(len(firing))} firing, {count} of them {severity.value}",
        sub="Acknowledge what you look into; snooze what is known; resolve what is over.",
    )


def _told(life: AlertLife) -> Sentence:
    what = life.kind.value.replace("_", " ").capitalize()
    about = f" ({life.newest.subject})" if life.newest.subject else ""
    state = SEVERITIES[life.severity] if life.state is AlertState.FIRING else STATES[life.state]
    return Sentence(state=state, say=f"{what}{about} of {life.model}: {life.state.value}", sub=life.newest.message + ".")


def _figures(life: AlertLife, health: Health | None) -> tuple[Figure, ...]:
    """Give the figures that the alert came from."""
    alert = life.newest
    odds = alert.kind not in MEASURED
    found = []
    if alert.evidence is not None:
        found.append(
            Figure(name="Evidence" if odds else "Measured", text=_number(alert.evidence), unit=": 1" if odds else "")
        )
    if alert.limit is not None:
        found.append(Figure(name="Alarms at" if odds else "Limit", text=_number(alert.limit), unit=": 1" if odds else ""))
    if alert.window:
        found.append(Figure(name="Window", text=alert.window, unit="UTC"))
    if health is not None:
        found.append(Figure(name="Predictions in it", text=f"{health.rows:,}"))
        found.append(Figure(name="Labels that arrived", text=f"{health.labels:,}"))
        if health.loss is not None:
            found.append(Figure(name="Mean loss", text=_number(health.loss)))
        found += [
            Figure(name=f"{one.column} ({one.stream})", text=_number(one.evidence), unit=": 1")
            for one in _moved(life, health)
        ]
    return tuple(found)


def _moved(life: AlertLife, health: Health) -> list[Drift]:
    """Give the columns that drift, the loudest first, where the alert is about them."""
    if life.kind is not AlertKind.DATA_DRIFT:
        return []
    return sorted((one for one in health.drift if one.alarm), key=lambda one: -one.evidence)[:20]


def _explained(life: AlertLife) -> tuple[tuple[str, str], ...]:
    """Name the pages behind it."""
    home, watched = f"/models/{part(life.model)}", address("/monitoring", model=life.model)
    by_kind = {
        AlertKind.DATA_DRIFT: ("Drift by feature", f"{watched}#drift"),
        AlertKind.PREDICTION_DRIFT: ("Drift of the answers", f"{watched}#drift"),
        AlertKind.SILENCE: ("The newest window", f"{watched}#serving"),
        AlertKind.RISK: ("The model and its loss", home),
        AlertKind.ROLLED_BACK: ("The rollout", f"{home}/rollout"),
        AlertKind.ROLLOUT_WAITS: ("The trial that waits", f"{home}/rollout"),
        AlertKind.DATA_INVALID: ("The data", "/data"),
    }
    found = [by_kind.get(life.kind, ("Monitoring", watched))]
    if life.newest.subject.startswith("run "):
        found.append(("The run", f"/runs/{life.newest.subject.removeprefix('run ')}"))
    return (*found, ("What happened to the model", address("/events", subject=life.model)))


def _many(count: int) -> str:
    return "1 alert is" if count == 1 else f"{count} alerts are"


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.4g}"
