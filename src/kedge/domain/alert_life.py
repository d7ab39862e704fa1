"""The life of an alert, as pure functions: what comes, what people do and what time does to it.

    firing -- a person --> acknowledged          not told again, unless it gets worse
      |    -- a person --> snoozed until         then firing again
      |    -- a person, or enough calm windows --> resolved -- it comes back --> firing again, another episode
    unacknowledged for too long: escalated; firing for long: reminded
Each change makes the next revision, notes an act (who, when, why), and may make a notice: what channels are to tell.
"""

from datetime import datetime, timedelta
from enum import Enum

import msgspec

from kedge.domain.alerting import Alert, AlertKind, AlertSeverity
from kedge.domain.ids import ModelName, digest_of
from kedge.errors import Conflict, RequestInvalid

KEDGE = "kedge"
ACTS_KEPT = 200
ONCE = frozenset(  # they tell of something that was done; no window shows that it is over
    {
        AlertKind.COST,
        AlertKind.GATE_REFUSED,
        AlertKind.ROLLED_BACK,
        AlertKind.ROLLOUT_WAITS,
        AlertKind.TRAINING_FAILED,
        AlertKind.DATA_INVALID,
        AlertKind.UNWATCHED,
    }
)


class AlertState(Enum):
    """What is done about an alert."""

    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


class AlertMove(Enum):
    """What happened to an alert."""

    RAISED = "raised"
    REOPENED = "reopened"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    WOKEN = "woken"
    ESCALATED = "escalated"
    REMINDED = "reminded"
    RESOLVED = "resolved"
    TESTED = "tested"


class AlertAct(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an alert's life: who did what, when and why."""

    move: AlertMove
    at: datetime
    actor: str
    reason: str = ""


class AlertLife(msgspec.Struct, frozen=True, kw_only=True):
    """All that was raised of one condition, and what was done about it.

    `count` is how many windows (or turns) showed it since `opened_at`, `calm` how many in a row since then could have and
    did not. `episode` counts its openings, `level` its escalations in this one. `newest` is what was raised last.
    """

    id: str
    newest: Alert
    state: AlertState
    severity: AlertSeverity
    opened_at: datetime
    seen_at: datetime
    told_at: datetime
    count: int = 1
    calm: int = 0
    episode: int = 1
    level: int = 0
    revision: int = 1
    until: datetime | None = None
    acts: tuple[AlertAct, ...] = ()

    @property
    def model(self) -> ModelName:
        """Name the model."""
        return self.newest.model

    @property
    def kind(self) -> AlertKind:
        """Say what it tells of."""
        return self.newest.kind

    @property
    def open(self) -> bool:
        """Say whether it is not resolved."""
        return self.state is not AlertState.RESOLVED


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What channels are to tell: a move of an alert, and the alert as it was then (without its acts)."""

    id: str
    move: AlertMove
    at: datetime
    life: AlertLife
    reason: str = ""
    actor: str = KEDGE


class EscalationRules(msgspec.Struct, frozen=True, kw_only=True):
    """What time does: calm windows that resolve; seconds after which it escalates (none: never), how often at most; seconds
    between two reminders."""

    calm: int = 7
    escalate: float | None = None
    levels: int = 1
    remind: float | None = None


Moved = tuple[AlertLife, Notice | None]


def raised(known: AlertLife | None, alert: Alert) -> Moved:
    """Take an alert: it opens a life, opens it again, or adds to its count. One that got worse is told again."""
    at = alert.raised_at
    if at.tzinfo is None:
        raise RequestInvalid(f"alert {alert.key!r} was raised at {at}, a time without a zone; give it in UTC")
    if known is None:
        life = AlertLife(
            id=alert.id,
            newest=alert,
            state=AlertState.FIRING,
            severity=alert.severity,
            opened_at=at,
            seen_at=at,
            told_at=at,
            acts=(AlertAct(move=AlertMove.RAISED, at=at, actor=KEDGE, reason=alert.message),),
        )
        return life, notice_of(life, AlertMove.RAISED, at=at, reason=alert.message)
    if not known.open or alert.kind is AlertKind.ROLLOUT_WAITS:  # a trial that waits again asks another question
        return _reopen(known, alert=alert, at=at, reason=alert.message)
    life = _next(known, newest=alert, seen_at=max(known.seen_at, at), count=known.count + 1, calm=0)
    if alert.severity.rank <= known.severity.rank:
        return life, None
    worse = msgspec.structs.replace(life, severity=alert.severity, state=AlertState.FIRING, until=None)
    return _told(worse, AlertMove.ESCALATED, at=at, reason=f"it got worse: {alert.message}")


def looked(known: AlertLife, *, at: datetime, holds: bool) -> Moved:
    """Take one more window that could show the condition: it holds, or it does not.

    One that a person resolved and that still holds is open again; a silence is not, for nights are silent, too.
    """
    if known.kind in ONCE or (known.open is False and not (holds and _by_person(known))):
        return known, None
    if not known.open:
        if known.kind is AlertKind.SILENCE:
            return known, None
        return _reopen(known, alert=known.newest, at=at, reason="it was resolved, and still holds")
    if holds:
        return _next(known, seen_at=max(known.seen_at, at), count=known.count + 1, calm=0), None
    return _next(known, calm=known.calm + 1), None


def acknowledged(known: AlertLife, *, at: datetime, actor: str, reason: str) -> Moved:
    """A person has it in hand. Raises Conflict where it is resolved."""
    _require_open(known, "acknowledged")
    life = _next(known, state=AlertState.ACKNOWLEDGED, until=None)
    return _told(life, AlertMove.ACKNOWLEDGED, at=at, actor=actor, reason=reason)


def snoozed(known: AlertLife, *, at: datetime, until: datetime, actor: str, reason: str) -> Moved:
    """Say nothing of it until a time. Raises Conflict where it is resolved, RequestInvalid for a time that is past."""
    _require_open(known, "snoozed")
    if until <= at:
        raise RequestInvalid(f"{until:%Y-%m-%d %H:%M} UTC is past; snooze until a later time")
    life = _next(known, state=AlertState.SNOOZED, until=until)
    why = f"until {until:%Y-%m-%d %H:%M} UTC: {reason}"
    return _acted(life, AlertMove.SNOOZED, at=at, actor=actor, reason=why), None


def resolved(known: AlertLife, *, at: datetime, actor: str, reason: str) -> Moved:
    """It is over. Raises Conflict where it is already."""
    _require_open(known, "resolved again")
    life = _next(known, state=AlertState.RESOLVED, until=None)
    return _told(life, AlertMove.RESOLVED, at=at, actor=actor, reason=reason)


def reopened(known: AlertLife, *, at: datetime, actor: str, reason: str) -> Moved:
    """A person says that it is not over. Raises Conflict where it is open."""
    if known.open:
        raise Conflict(f"alert {known.id} is {known.state.value}, not resolved; there is nothing to open again")
    return _reopen(known, alert=known.newest, at=at, reason=reason, actor=actor)


def calmed_down(known: AlertLife, at: datetime, *, rules: EscalationRules) -> Moved:
    """Resolve what enough windows in a row did not show."""
    if not known.open or known.kind in ONCE or known.calm < rules.calm:
        return known, None
    return resolved(known, at=at, actor=KEDGE, reason=f"{known.calm} windows in a row did not show it")


def passed(known: AlertLife, now: datetime, *, rules: EscalationRules) -> Moved:
    """Let time do what is due: end a snooze, resolve after calm windows, escalate, remind. One thing at a time."""
    calmed, notice = calmed_down(known, now, rules=rules)
    if calmed is not known:
        return calmed, notice
    if known.state is AlertState.SNOOZED and known.until is not None and known.until <= now:
        life = _next(known, state=AlertState.FIRING, until=None)
        return _told(life, AlertMove.WOKEN, at=now, reason="the snooze ended, and it is not resolved")
    if known.state is AlertState.FIRING:
        return _waited(known, now, rules=rules)
    return known, None


def _waited(known: AlertLife, now: datetime, *, rules: EscalationRules) -> Moved:
    """Escalate what nobody acknowledged, or remind of what fires."""
    waited = (now - known.told_at) / timedelta(seconds=1)
    if rules.escalate is not None and known.level < rules.levels and waited >= rules.escalate:
        life = _next(known, level=known.level + 1, severity=_worse(known.severity))
        return _told(life, AlertMove.ESCALATED, at=now, reason="nobody acknowledged it")
    if rules.remind is not None and waited >= rules.remind:
        return _told(_next(known), AlertMove.REMINDED, at=now, reason=f"it fires since {known.opened_at:%Y-%m-%d %H:%M} UTC")
    return known, None


def notice_of(life: AlertLife, move: AlertMove, *, at: datetime, reason: str = "", actor: str = KEDGE) -> Notice:
    """Make the notice of a move; its id is the same each time it is made."""
    name = digest_of("notice", life.id, life.revision, move)[:24]
    plain = msgspec.structs.replace(life, acts=())
    return Notice(id=name, move=move, at=at, life=plain, reason=reason, actor=actor)


def _reopen(known: AlertLife, *, alert: Alert, at: datetime, reason: str, actor: str = KEDGE) -> Moved:
    life = _next(
        known,
        newest=alert,
        state=AlertState.FIRING,
        severity=alert.severity,
        opened_at=at,
        seen_at=max(known.seen_at, at),
        count=1,
        calm=0,
        level=0,
        episode=known.episode + 1,
    )
    return _told(life, AlertMove.REOPENED, at=at, actor=actor, reason=reason)


def _told(life: AlertLife, move: AlertMove, *, at: datetime, reason: str, actor: str = KEDGE) -> Moved:
    """Note an act that people are told of."""
    told = msgspec.structs.replace(life, told_at=at)
    return _acted(told, move, at=at, actor=actor, reason=reason), notice_of(told, move, at=at, reason=reason, actor=actor)


def _acted(life: AlertLife, move: AlertMove, *, at: datetime, actor: str, reason: str) -> AlertLife:
    act = AlertAct(move=move, at=at, actor=actor, reason=reason)
    return msgspec.structs.replace(life, acts=(*life.acts[1 - ACTS_KEPT :], act))


def _next(life: AlertLife, **changed: object) -> AlertLife:
    return msgspec.structs.replace(life, revision=life.revision + 1, **changed)


def _require_open(life: AlertLife, verb: str) -> None:
    if not life.open:
        raise Conflict(f"alert {life.id} is resolved and cannot be {verb}; open it again first")


def _by_person(life: AlertLife) -> bool:
    """Say whether it was a person who resolved it."""
    last = next((act for act in reversed(life.acts) if act.move is AlertMove.RESOLVED), None)
    return last is not None and last.actor != KEDGE


def _worse(severity: AlertSeverity) -> AlertSeverity:
    every = list(AlertSeverity)
    return every[min(severity.rank + 1, len(every) - 1)]
