"""The control plane's gauges in Prometheus text format: what the loop is at, not how this process feels."""

from collections.abc import Iterator

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
    deployment, health, entry = scene.deployment, scene.health, scene.entry
    if deployment is not None:
        yield "kedge_champion", "The champion's version.", [(model, float(deployment.champion))]
        yield (
            "kedge_challenger_share",
            "Share of traffic on trial.",
            [(model, deployment.share if deployment.challenger else 0.0)],
        )
    if health is not None:
        yield "kedge_window_end_seconds", "When the newest window closed.", [(model, health.window.end.timestamp())]
        yield "kedge_window_rows", "Predictions in the newest window.", [(model, float(health.rows))]
        yield "kedge_window_labels", "Labels that arrived in it.", [(model, float(health.labels))]
        yield (
            "kedge_drifting_features",
            "Features whose evidence alarms.",
            [(model, float(sum(one.alarm for one in scene.drift)))],
        )
        if health.risk is not None:
            yield "kedge_loss", "Mean live loss.", [(model, health.risk.mean)]
            yield "kedge_loss_limit", "The accepted limit.", [(model, health.risk.limit)]
            yield (
                "kedge_risk_alarm",
                "1 while the loss is above its limit with certainty.",
                [(model, float(health.risk.alarm))],
            )
    if entry is not None:
        yield "kedge_regret", "Regret in the ledger.", [(model, entry.regret)]
        yield "kedge_retraining_price", "Regret at which it retrains.", [(model, entry.price)]
