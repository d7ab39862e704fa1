"""What is written down of a measured window, for people: one event."""

from datetime import datetime

from kedge.domain.events import Event, EventKind, Fact
from kedge.domain.ids import digest_of
from kedge.domain.monitoring import Health

ACTOR = "kedge"


def measured_event(health: Health, at: datetime) -> Event:
    """Give the event of a measured window."""
    told = "; ".join(alert.message for alert in health.alerts)
    loss = f", mean loss {health.loss:.4f}" if health.loss is not None else ""
    facts: dict[str, Fact] = {
        "rows": health.rows,
        "labels": health.labels,
        "loss": health.loss,
        "champion": health.champion,
        "alerts": len(health.alerts),
        **{f"evidence_{name}": value for name, value in health.evidence.items()},
    }
    return Event(
        key=digest_of("measure", health.model, health.window.id),
        kind=EventKind.WINDOW_MEASURED,
        at=at,
        subject=health.model,
        actor=ACTOR,
        message=f"Window {health.window.id}: {health.rows} predictions, {health.labels} labels{loss}"
        + (f". {told}" if told else ""),
        facts=facts,
    )
