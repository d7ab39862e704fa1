"""The control plane's gauges in Prometheus text format: what the loop is at, not how this process feels."""

from collections.abc import Iterator

from kedge.domain.monitoring import Health
from kedge.domain.tracking import RunStatus
from kedge.ports import MetaStore
from kedge.prometheus import Sample, family
from kedge.server.reading.scene import Scene
from kedge.server.stream import newest

Gauge = tuple[str, str, list[Sample]]


def exposition(scene: Scene, meta: MetaStore) -> str:
    """Write all gauges."""
    gauges = (family(name, "gauge", told=told, samples=samples) for name, told, samples in _gauges(scene, meta))
    return "\n".join(line for gauge in gauges for line in gauge) + "\n"


def _gauges(scene: Scene, meta: MetaStore) -> Iterator[Gauge]:
    model: dict[str, str] = {"model": scene.model}
    yield "kedge_events", "Events written so far.", [({}, float(newest(meta)))]
    yield "kedge_model_versions", "Registered versions.", [(model, float(len(scene.versions)))]
    states = [(status.value, float(sum(run.status is status for run in scene.runs))) for status in RunStatus]
    yield "kedge_runs", "Newest runs by state.", [({**model, "state": state}, value) for state, value in states]
    yield from _told(meta)
    deployment, health, entry = scene.deployment, scene.health, scene.entry
    if deployment is not None:
        yield "kedge_champion", "The champion's version.", [(model, float(deployment.champion))]
        yield (
            "kedge_challenger_share",
            "Share of traffic on trial.",
            [(model, deployment.share if deployment.challenger else 0.0)],
        )
    if health is not None:
        yield "kedge_windows", "Windows measured, the newest of them at most.", [(model, float(len(scene.healths)))]
        yield "kedge_window_end_seconds", "When the newest window closed.", [(model, health.window.end.timestamp())]
        yield "kedge_window_rows", "Predictions in the newest window.", [(model, float(health.rows))]
        yield "kedge_window_labels", "Labels that arrived in it.", [(model, float(health.labels))]
        yield (
            "kedge_drifting_features",
            "Features whose evidence alarms.",
            [(model, float(sum(one.alarm for one in scene.drift)))],
        )
        yield from _evidence(health)
        if health.risk is not None:
            yield "kedge_loss", "Mean live loss.", [(model, health.risk.mean)]
            yield "kedge_loss_lower", "Lower bound of the mean live loss, certain at any time.", [(model, health.risk.lower)]
            yield "kedge_loss_limit", "The accepted limit.", [(model, health.risk.limit)]
            yield (
                "kedge_risk_alarm",
                "1 while the loss is above its limit with certainty.",
                [(model, float(health.risk.alarm))],
            )
    if entry is not None:
        yield "kedge_regret", "Regret in the ledger.", [(model, entry.regret)]
        yield "kedge_retraining_price", "Regret at which it retrains.", [(model, entry.price)]


def _told(meta: MetaStore) -> Iterator[Gauge]:
    """Write what is open, and how telling of it goes: two counts by the store's indexes."""
    counts = meta.alerts.counts()
    names = ("model", "kind", "severity", "state")
    samples: list[Sample] = [
        (dict(zip(names, key, strict=True)), float(count)) for key, count in sorted(counts.open.items())
    ]
    yield "kedge_alerts_open", "Alerts that are not resolved.", samples
    sent: list[Sample] = [
        ({"channel": key[0], "state": key[1]}, float(count)) for key, count in sorted(counts.deliveries.items())
    ]
    yield "kedge_alert_deliveries", "Messages to channels so far, by how far they are.", sent


def _evidence(health: Health) -> Iterator[Gauge]:
    """Write the evidence that alarms look at, of the inputs and of the answers, and where they alarm."""
    model: dict[str, str] = {"model": health.model}
    samples: list[Sample] = [({**model, "of": of}, value) for of, value in sorted(health.evidence.items())]
    yield "kedge_drift_evidence", "Evidence of drift, as odds against the reference.", samples
    yield "kedge_drift_evidence_limit", "Odds at which drift alarms.", [(model, health.evidence_limit)]
