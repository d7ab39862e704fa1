"""What people do about alerts: acknowledge, snooze, resolve, open again; mute a model; try a channel.

Each act is one write: the alert's next revision, its event, and the notice for the channels.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

import msgspec

from kedge.domain.alert_life import (
    AlertLife,
    AlertMove,
    AlertState,
    Moved,
    Notice,
    acknowledged,
    notice_of,
    reopened,
    resolved,
    snoozed,
)
from kedge.domain.alerting import Alert, AlertKind, AlertSeverity
from kedge.domain.channels import Message, Mute
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import ModelName, digest_of
from kedge.errors import ConfigError, Conflict, NotFound, NotTold, RequestInvalid
from kedge.ports import AlertChannel, Alerts, Clock
from kedge.security.redact import redact

TRIES = 5  # at a revision that a window may write first
KINDS = {
    AlertMove.ACKNOWLEDGED: EventKind.ALERT_ACKNOWLEDGED,
    AlertMove.SNOOZED: EventKind.ALERT_SNOOZED,
    AlertMove.WOKEN: EventKind.ALERT_WOKEN,
    AlertMove.ESCALATED: EventKind.ALERT_ESCALATED,
    AlertMove.REMINDED: EventKind.ALERT_REMINDED,
    AlertMove.RESOLVED: EventKind.ALERT_RESOLVED,
    AlertMove.REOPENED: EventKind.ALERT_REOPENED,
}


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What came of trying a channel: whether it took the message, and what it answered."""

    channel: str
    taken: bool
    answer: str


class AlertDesk:
    """Acts on alerts for people."""

    def __init__(
        self,
        *,
        alerts: Alerts,
        models: Callable[[], Collection[ModelName]],
        channels: Callable[[], Mapping[str, AlertChannel]],
        clock: Clock,
        project: ModelName,
    ) -> None:
        """`models` lists what the loop made or is deployed, `project` is what the loop makes, there or not."""
        self._alerts, self._channels, self._clock, self._project = alerts, channels, clock, project
        self._models = models

    def acknowledge(self, id: str, *, actor: str, reason: str) -> AlertLife:
        """Take an alert in hand. Raises NotFound, Conflict where it is resolved."""
        return self._act(id, lambda known, at: acknowledged(known, at=at, actor=actor, reason=reason))

    def snooze(self, id: str, *, until: datetime, actor: str, reason: str) -> AlertLife:
        """Say nothing of an alert until a time. Raises NotFound, Conflict, RequestInvalid for a time that is past."""
        return self._act(id, lambda known, at: snoozed(known, at=at, until=until, actor=actor, reason=reason))

    def resolve(self, id: str, *, actor: str, reason: str) -> AlertLife:
        """End an alert. It opens again where its condition still holds. Raises NotFound, Conflict."""
        return self._act(id, lambda known, at: resolved(known, at=at, actor=actor, reason=reason))

    def reopen(self, id: str, *, actor: str, reason: str) -> AlertLife:
        """Open a resolved alert again. Raises NotFound, Conflict."""
        return self._act(id, lambda known, at: reopened(known, at=at, actor=actor, reason=reason))

    def mute(self, model: ModelName, *, until: datetime, actor: str, reason: str) -> Mute:
        """Tell nobody of a model until a time. Raises NotFound for a model that is none here (else whoever misspells one
        believes it muted), RequestInvalid for a time that is past."""
        now, known = self._clock.now(), {*self._models(), self._project}
        if model not in known:
            raise NotFound(f"there is no model {model!r} to mute; there are: {', '.join(sorted(known))}")
        if until <= now:
            raise RequestInvalid(f"{until:%Y-%m-%d %H:%M} UTC is past; mute until a later time")
        mute = Mute(model=model, until=until, actor=actor, reason=reason, at=now)
        told = f"Alerts of {model} are muted until {until:%Y-%m-%d %H:%M} UTC: {reason}"
        self._alerts.mute(mute, self._muting(EventKind.ALERTS_MUTED, mute, told=told))
        return mute

    def unmute(self, model: ModelName, *, actor: str, reason: str) -> None:
        """End a mute. Raises NotFound."""
        now = self._clock.now()
        ended = Mute(model=model, until=now, actor=actor, reason=reason, at=now)
        self._alerts.unmute(
            model, self._muting(EventKind.ALERTS_UNMUTED, ended, told=f"Alerts of {model} are told again: {reason}")
        )

    def channels(self) -> list[str]:
        """Name the channels."""
        return list(self._channels())

    def test(self, name: str) -> Tried:
        """Send a test message to a channel, now, and give its answer. Raises NotFound."""
        channels = self._channels()
        if name not in channels:
            raise NotFound(f"there is no channel {name!r}; there are: {', '.join(channels) or 'none'}")
        now = self._clock.now()
        message = Message(id=digest_of("test", name, now)[:24], notice=_trial(self._project, now), project=self._project)
        try:
            answer = channels[name].send(message)
        except (NotTold, ConfigError) as error:
            return Tried(channel=name, taken=False, answer=redact(str(error)))
        return Tried(channel=name, taken=True, answer=redact(answer))

    def _act(self, id: str, change: Callable[[AlertLife, datetime], Moved]) -> AlertLife:
        for left in reversed(range(TRIES)):
            life, notice = change(self._alerts.get(id), self._clock.now())
            try:
                self._alerts.put(life, event_of(life), notice=notice)
                return life
            except Conflict:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _muting(self, kind: EventKind, mute: Mute, *, told: str) -> Event:
        return Event(
            key=digest_of(kind, mute),
            kind=kind,
            at=mute.at,
            subject=mute.model,
            actor=mute.actor,
            message=told,
            facts={"until": mute.until.isoformat()},
        )


def event_of(life: AlertLife) -> Event:
    """Give the event of an alert's newest act."""
    act = life.acts[-1]
    about = f" ({life.newest.subject})" if life.newest.subject else ""
    return Event(
        key=digest_of("alert moved", life.id, life.revision),
        kind=KINDS[act.move],
        at=act.at,
        subject=life.model,
        actor=act.actor,
        message=f"Alert {life.kind.value.replace('_', ' ')}{about} {act.move.value}: {act.reason}",
        facts={"alert": life.id, "kind": life.kind.value, "severity": life.severity.value, "state": life.state.value},
    )


def _trial(project: str, at: datetime) -> Notice:
    """Make a notice that tells of nothing."""
    alert = Alert(
        key=f"test/{at.isoformat()}",
        model=ModelName(project),
        kind=AlertKind.OPERATIONS,
        message="This is a test message. Nothing is wrong, and nothing is to be done",
        raised_at=at,
        subject="test",
        graded=AlertSeverity.INFO,
    )
    life = AlertLife(
        id=alert.id, newest=alert, state=AlertState.FIRING, severity=AlertSeverity.INFO, opened_at=at, seen_at=at, told_at=at
    )
    return notice_of(life, AlertMove.TESTED, at=at, reason=alert.message)
