"""Alerts: what a person is told, how bad it is, and which of them are one.

Whatever is raised of one condition (a model, a kind, a subject) is one alert with one life. Severity comes with the kind.
"""

from datetime import datetime
from enum import Enum

import msgspec

from kedge.domain.events import Event, EventKind
from kedge.domain.ids import ModelName, digest_of

ID_DIGITS = 12


class AlertKind(Enum):
    """What an alert tells of."""

    DATA_DRIFT = "data_drift"
    PREDICTION_DRIFT = "prediction_drift"
    CONCEPT_DRIFT = "concept_drift"
    PREDICTION_SKEW = "prediction_skew"
    RISK = "risk"
    FAIRNESS = "fairness"
    BUSINESS = "business"
    OPERATIONS = "operations"
    COST = "cost"
    SILENCE = "silence"
    GATE_REFUSED = "gate_refused"
    ROLLED_BACK = "rolled_back"
    ROLLOUT_WAITS = "rollout_waits"
    TRAINING_FAILED = "training_failed"
    DATA_INVALID = "data_invalid"
    UNWATCHED = "unwatched"


class AlertSeverity(Enum):
    """How bad it is. Info: read it some day. Warning: look this week. Critical: people are harmed, look now."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Give its place in the order from 0, the mildest."""
        return list(AlertSeverity).index(self)


_CRITICAL = {AlertKind.RISK, AlertKind.FAIRNESS, AlertKind.OPERATIONS, AlertKind.SILENCE}
_INFO = {AlertKind.ROLLOUT_WAITS}
_ONE_PER_MODEL = {AlertKind.DATA_DRIFT, AlertKind.PREDICTION_SKEW, AlertKind.GATE_REFUSED}
"""Kinds whose subject says which columns or version it was this time, not what it is about."""


def severity_of(kind: AlertKind) -> AlertSeverity:
    """Say how bad alerts of a kind are, where they do not say it themselves."""
    return AlertSeverity.CRITICAL if kind in _CRITICAL else AlertSeverity.INFO if kind in _INFO else AlertSeverity.WARNING


def alert_id(model: ModelName, kind: AlertKind, *, subject: str) -> str:
    """Name a condition: 12 hex digits, the same each time it is raised."""
    return digest_of("alert", model, kind, "" if kind in _ONE_PER_MODEL else subject)[:ID_DIGITS]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something a person should know: since when, how sure, and what Kedge did. `key` makes it one alert, not many.

    `graded` is how bad it is where that differs from its kind; `window` the id of the window that it was seen in.
    """

    key: str
    model: ModelName
    kind: AlertKind
    message: str
    raised_at: datetime
    subject: str = ""
    evidence: float | None = None
    limit: float | None = None
    graded: AlertSeverity | None = None
    window: str = ""

    @property
    def severity(self) -> AlertSeverity:
        """Say how bad it is."""
        return self.graded or severity_of(self.kind)

    @property
    def id(self) -> str:
        """Name the condition that it tells of."""
        return alert_id(self.model, self.kind, subject=self.subject)

    @property
    def link(self) -> str:
        """Give the path of the page that explains it."""
        return f"/monitoring/alerts/{self.id}"


def raised(alert: Alert, actor: str = "kedge") -> Event:
    """Give the event of an alert that is raised by itself, not by a window."""
    return Event(
        key=digest_of("alert", alert.key),
        kind=EventKind.ALERT_RAISED,
        at=alert.raised_at,
        subject=alert.model,
        actor=actor,
        message=alert.message,
        facts={"kind": alert.kind.value, "about": alert.subject},
    )
