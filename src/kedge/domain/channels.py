"""Where people are told: channels and the rules of telling, as a project declares them; deliveries and mutes.

A secret is never written into a project file: a channel names the environment variable or the file that holds it.
"""

from datetime import datetime, time, timedelta
from enum import Enum
from math import ceil
from typing import Any

import msgspec

from kedge.domain.alert_life import AlertMove, Notice
from kedge.domain.alerting import AlertKind, AlertSeverity
from kedge.domain.durations import span_of
from kedge.domain.ids import ModelName, digest_of

CALM_WINDOWS = 7
_CALM_LEAST = timedelta(days=1)


class ChannelKind(Enum):
    """By what people are told."""

    LOG = "log"
    WEBHOOK = "webhook"
    SLACK = "slack"
    TEAMS = "teams"
    EMAIL = "email"
    PAGERDUTY = "pagerduty"


class MailSecurity(Enum):
    """How a mail server is spoken to."""

    STARTTLS = "starttls"
    SSL = "ssl"
    NONE = "none"


class ChannelRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One channel. `url` or `url_env` is its address (webhook, slack, teams, pagerduty); `secret_env` or `secret_file` names
    what holds its secret: the webhook's signing key, the mail password, PagerDuty's routing key. `severity` is the least
    that it takes, `kinds` the only ones (empty: all). `allow_private` lets it reach this machine and its network."""

    kind: ChannelKind
    url: str = ""
    url_env: str = ""
    secret_env: str = ""
    secret_file: str = ""
    severity: AlertSeverity = AlertSeverity.INFO
    kinds: tuple[AlertKind, ...] = ()
    allow_private: bool = False
    timeout: str = "10s"
    host: str = ""
    port: int | None = None
    security: MailSecurity = MailSecurity.STARTTLS
    user: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()


class AlertRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How people are told. `url` is where links lead; `calm` how long a condition must be gone until its alert resolves and
    is told anew ("": seven windows, and a day at least). What nobody acknowledged after `escalate_after` goes one severity
    up and to the next of `escalate_to`; what fires is told again each `remind`. In `quiet_hours` ("22:00-07:00" UTC) only
    what is critical is."""

    url: str = ""
    calm: str = ""
    escalate_after: str = ""
    escalate_to: tuple[str, ...] = ()
    remind: str = ""
    quiet_hours: str = ""
    channels: dict[str, ChannelRules] = {}


class DeliveryState(Enum):
    """How far a delivery is. Dropped: nobody needs it any more."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"


class AlertDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One notice on its way to one channel. `id` is the same at each attempt, so that a receiver can tell a second one.

    `held` is set where it waits for quiet hours or a mute to end; `owner` sends it now, until `owned_until`.
    """

    id: str
    serial: int
    alert: str
    episode: int
    channel: str
    move: AlertMove
    next_at: datetime
    state: DeliveryState = DeliveryState.WAITING
    held: bool = False
    attempts: int = 0
    answer: str = ""
    first_at: datetime | None = None
    ended_at: datetime | None = None
    owner: str = ""
    owned_until: datetime | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel sends: a notice under the id of its delivery, and the address of the page that explains it."""

    id: str
    notice: Notice
    url: str = ""
    project: str = ""


class Mute(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody is told of a model until a time: there is maintenance. What still fires then is told then."""

    model: ModelName
    until: datetime
    actor: str
    reason: str
    at: datetime


class AlertCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many alerts are open by (model, kind, severity, state), how many deliveries there are by (channel, state)."""

    open: dict[tuple[str, str, str, str], int]
    deliveries: dict[tuple[str, str], int]


def calm_windows(rules: AlertRules, window: timedelta) -> int:
    """Count the windows without a condition after which its episode is over: those of `calm`, one at least. Where it is not
    declared, seven, but those of a day where windows are short: what comes back each night is one episode."""
    if rules.calm:
        return max(1, ceil(span_of(rules.calm) / window))
    return max(CALM_WINDOWS, ceil(_CALM_LEAST / window))


def delivery_id(notice: str, channel: str) -> str:
    """Name the delivery of a notice to a channel: 24 hex digits."""
    return digest_of("delivery", notice, channel)[:24]


def quiet_hours(text: str) -> tuple[time, time]:
    """Read quiet hours such as "22:00-07:00": from, until. ValueError says what would be right."""
    start, dash, end = text.partition("-")
    try:
        if not dash:
            raise ValueError
        return _clock(start), _clock(end)
    except ValueError:
        raise ValueError(f'{text!r} are no hours; write them as "22:00-07:00", in UTC') from None


def short_form(text: str) -> tuple[ChannelKind, str] | None:
    """Read a channel written in place: "webhook:https://...", "slack:https://..."; None where it is a name."""
    kind, colon, rest = text.partition(":")
    known: dict[str, Any] = {one.value: one for one in (ChannelKind.WEBHOOK, ChannelKind.SLACK, ChannelKind.TEAMS)}
    return (known[kind], rest) if colon and kind in known else None


def channels_of(names: tuple[str, ...], rules: AlertRules) -> dict[str, ChannelRules]:
    """Give the channels that alerts go to first, by name: "log", declared ones, and those written in place.

    One written in place is named by its kind and a digest, for its address may be a secret.
    """
    found: dict[str, ChannelRules] = {}
    for name in names:
        if (written := short_form(name)) is not None:
            kind, url = written
            found[f"{kind.value}-{digest_of(url)[:6]}"] = ChannelRules(kind=kind, url=url)
        elif name == "log" and name not in rules.channels:
            found[name] = ChannelRules(kind=ChannelKind.LOG)
        else:
            found[name] = rules.channels[name]
    return found


def declared(names: tuple[str, ...], rules: AlertRules) -> dict[str, ChannelRules]:
    """Give every channel by its name: those that alerts go to first, and the others."""
    return {**rules.channels, **channels_of(names, rules)}


def _clock(text: str) -> time:
    hour, _, minute = text.strip().partition(":")
    return time(int(hour), int(minute))
