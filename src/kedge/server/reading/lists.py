"""The plain lists: alerts and features watched, events. Each is a page and its JSON."""

from datetime import datetime

import msgspec

from kedge.domain.alerting import Alert
from kedge.domain.ids import DatasetName
from kedge.domain.monitoring import Health, Risk, VersionHealth
from kedge.ports import MetaStore
from kedge.server.reading.glance import Drifts, drifts
from kedge.server.reading.happened import happened
from kedge.server.reading.scene import Scene
from kedge.server.reading.sentence import verdict
from kedge.server.reading.state import Happened, Sentence


class AlertsPage(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched now, and the alerts, newest first."""

    verdict: Sentence
    window: str
    measured_at: datetime | None
    rows: int
    labels: int
    versions: tuple[VersionHealth, ...]
    risk: Risk | None
    drifts: Drifts
    alerts: tuple[Alert, ...]


class EventsPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of events, newest first; `next` is the token of the page after it, empty at the end."""

    events: tuple[Happened, ...]
    next: str


def alerts_page(scene: Scene) -> AlertsPage:
    """Describe what is watched, and every alert so far."""
    health: Health | None = scene.health
    return AlertsPage(
        verdict=verdict(scene),
        window=health.window.id if health else "",
        measured_at=health.window.end if health else None,
        rows=health.rows if health else 0,
        labels=health.labels if health else 0,
        versions=health.versions if health else (),
        risk=health.risk if health else None,
        drifts=drifts(scene, most=100),
        alerts=scene.alerts,
    )


def events_page(meta: MetaStore, dataset: DatasetName, *, before: int | None, subject: str | None, limit: int) -> EventsPage:
    """List a page of events."""
    page = meta.events.list(subject=subject, before=before, limit=limit + 1)
    shown = page[:limit]
    token = to_token(shown[-1][0]) if len(page) > limit else ""
    return EventsPage(events=tuple(happened(serial, event, dataset=dataset) for serial, event in shown), next=token)


def to_token(serial: int) -> str:
    """Make an opaque page token."""
    return f"e{serial:x}"


def from_token(token: str) -> int:
    """Read a page token. ValueError where it is none of ours."""
    if not token.startswith("e"):
        raise ValueError("not a page token; take the `next` of the page before, as it is")
    return int(token[1:], 16)
