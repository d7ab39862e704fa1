"""What a message says, in plain text: its headline, what happened, and the figures below it."""

from kedge.domain.alert_life import KEDGE, AlertMove, AlertState
from kedge.domain.alerting import AlertSeverity
from kedge.domain.channels import Message

WORDS = {
    AlertMove.RAISED: "fires",
    AlertMove.REOPENED: "fires again",
    AlertMove.ACKNOWLEDGED: "is acknowledged",
    AlertMove.SNOOZED: "is snoozed",
    AlertMove.WOKEN: "fires, its snooze ended",
    AlertMove.ESCALATED: "is escalated",
    AlertMove.REMINDED: "still fires",
    AlertMove.RESOLVED: "is resolved",
    AlertMove.TESTED: "is tested",
}
ICONS = {AlertSeverity.INFO: "ℹ️", AlertSeverity.WARNING: "⚠️", AlertSeverity.CRITICAL: "🛑"}
DONE = "✅"


def headline(message: Message) -> str:
    """Say in a line what happened to which alert."""
    life, move = message.notice.life, message.notice.move
    what = f"{life.model}: {life.kind.value.replace('_', ' ')}"
    if move is AlertMove.TESTED:
        return f"{what}: a test of this channel, nothing is wrong"
    return f"{what} {WORDS[move]}"


def icon(message: Message) -> str:
    """Give the sign of its severity, or that it is over."""
    over = message.notice.life.state is AlertState.RESOLVED
    return DONE if over else ICONS[message.notice.life.severity]


def said(message: Message) -> str:
    """Say what Kedge saw and did; for what a person did, who and why as well."""
    notice = message.notice
    told = notice.life.newest.message
    by = "" if notice.actor == KEDGE else f"{notice.actor.removeprefix('person:')}: "
    more = "" if notice.move in (AlertMove.RAISED, AlertMove.TESTED) or notice.reason == told else f"{by}{notice.reason}"
    return f"{more}. {told}" if more else told


def facts(message: Message) -> list[tuple[str, str]]:
    """List what is known in short: severity, since when, how often, the window."""
    life = message.notice.life
    found = [
        ("Severity", life.severity.value),
        ("Since", f"{life.opened_at:%Y-%m-%d %H:%M} UTC"),
        ("Seen", f"{life.count} time{'' if life.count == 1 else 's'}, last {life.seen_at:%Y-%m-%d %H:%M} UTC"),
    ]
    if life.newest.subject:
        found.append(("About", life.newest.subject))
    if life.newest.window:
        found.append(("Window", f"{life.newest.window} UTC"))
    return found
