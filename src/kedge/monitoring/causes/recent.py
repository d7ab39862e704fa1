"""The causes that a window keeps where it alarms: from the labelled rows that are at hand, those of the step so far."""

from __future__ import annotations

from collections.abc import Sequence

from kedge.domain.alerting import AlertKind
from kedge.domain.causes import Causes
from kedge.domain.durations import span_of
from kedge.domain.ids import PredictionId, prediction_id
from kedge.domain.monitoring import Health
from kedge.domain.project import ProjectSpec
from kedge.domain.registry import ModelVersion
from kedge.evaluation.metrics import loss_name
from kedge.monitoring.causes.explain import LabelledRows, causes_of
from kedge.monitoring.quality.at_gate import AtGate
from kedge.monitoring.quality.losses import losses_of, with_features
from kedge.monitoring.truth.join_labels import Labelled

EXPLAINED = frozenset({AlertKind.DATA_DRIFT, AlertKind.PREDICTION_DRIFT, AlertKind.CONCEPT_DRIFT, AlertKind.RISK})


def explainable(health: Health) -> bool:
    """Say whether a window's alerts are of what causes can explain."""
    return any(alert.kind in EXPLAINED for alert in health.alerts)


def explain_recent(
    spec: ProjectSpec, health: Health, *, champion: ModelVersion, recent: Sequence[Labelled], gate: AtGate | None
) -> Causes:
    """Say what moved and why it matters, by the champion's labelled rows among the recent ones."""
    metric, threshold = loss_name(spec.gate.metric, spec.data.task), spec.gate.threshold
    mine = [one for one in recent if one.answered.versions[one.row] == champion.number]
    names = [column.name for column in champion.signature.inputs]
    losses = losses_of(mine, metric, threshold=threshold, names=names)
    places, columns = with_features(losses, names)
    rows = LabelledRows(
        columns=columns,
        losses=losses.losses[places],
        at=losses.served.seconds[losses.request[places]],
        ids=[prediction_of(mine[place]) for place in places.tolist()],
    )
    return causes_of(
        rows,
        champion,
        gate=gate,
        drift=health.drift,
        window=span_of(spec.monitoring.window),
        min_group=spec.gate.min_group,
        end=health.window.end,
    )


def prediction_of(one: Labelled) -> PredictionId:
    """Name the prediction of a labelled row."""
    return prediction_id(one.answered.request, one.answered.rows[one.row] if one.answered.rows else one.row)
