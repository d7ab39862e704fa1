"""One window, measured: from what was answered and what became known to a Health. No journal, no store is touched here.

The state is moved on by the same call: detectors, risk, blocks, silences. Same state and records, same health.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec

from kedge.domain.monitoring import Alert, AlertKind, Health, JoinReport, Risk, Window
from kedge.domain.project import ProjectSpec
from kedge.domain.registry import ModelVersion
from kedge.domain.rollout import Deployment
from kedge.evaluation.metrics import loss_name
from kedge.monitoring import alerts
from kedge.monitoring.drifting import Watched, WindowDrift, look
from kedge.monitoring.join_labels import Answered
from kedge.monitoring.losses import Losses, add_blocks, add_risk, metrics_of
from kedge.monitoring.risk import judge
from kedge.monitoring.served import parts_of, versions_of
from kedge.monitoring.state import MonitorState
from kedge.monitoring.trial import add_groups

LABEL_PATIENCE = 2


class View(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a window is measured against: the rules, the champion and what it calls normal, and the deployments."""

    spec: ProjectSpec
    window: Window
    at: datetime
    champion: ModelVersion | None
    watch: Watched | None
    rollout_began: int
    trial: Deployment | None
    deployment_at: Callable[[int], Deployment | None]


class Arrived(msgspec.Struct, frozen=True, eq=False):
    """What a window brought: the requests answered in it, the rows whose truth became known, and what was odd."""

    answers: list[Answered]
    losses: Losses
    odd: JoinReport

    @property
    def rows(self) -> int:
        """Count the rows answered."""
        return sum(len(one.versions) for one in self.answers)

    @property
    def missing(self) -> int:
        """Count the rows answered that the log could not take."""
        return sum(one.missing for one in self.answers)

    @property
    def answered(self) -> int:
        """Estimate the rows answered, logged or not."""
        return round(sum(len(one.versions) / one.share for one in self.answers)) + self.missing


def measure_window(view: View, state: MonitorState, *, arrived: Arrived) -> Health:
    """Measure a window and move the state on."""
    spec, losses = view.spec, arrived.losses
    state.count_labels(one.label.known_at for one in losses.rows)
    add_blocks(state, losses, metric=loss_name(spec.gate.metric, spec.data.task), threshold=spec.gate.threshold)
    faults = add_groups(state, losses, trial=view.trial, began=view.rollout_began, spec=spec)
    raised = _silences(view, state, rows=arrived.answered, labels=len(losses.rows))
    risk, risen = _risk(view, state, losses=losses)
    moved, drifted = _drift(view, state, arrived=arrived)
    return Health(
        model=spec.name,
        window=view.window,
        rows=arrived.rows,
        labels=len(losses.rows),
        versions=versions_of(arrived.answers, view.deployment_at),
        blocks=state.blocks_since(view.rollout_began),
        groups=tuple(state.groups),
        drift=moved.drift if moved else (),
        risk=risk,
        alerts=(*raised, *risen, *drifted),
        loss=losses.mean,
        metrics=metrics_of(losses, spec.data.task, threshold=spec.gate.threshold),
        champion=view.champion.number if view.champion else None,
        fresh_labels=state.labels_after(view.champion.trained_upto) if view.champion else 0,
        join=arrived.odd,
        evidence=moved.evidence if moved else {},
        evidence_limit=moved.limit if moved else 0.0,
        answered=arrived.answered,
        missing=arrived.missing,
        notes=(*_notes(view, arrived), *faults, *(moved.notes if moved else ())),
    )


def _silences(view: View, state: MonitorState, *, rows: int, labels: int) -> list[Alert]:
    """Hear whether predictions and labels still come."""
    raised = []
    for what, silence, count, patience in (
        ("predictions", state.predictions, rows, 1),
        ("labels", state.labels, labels, LABEL_PATIENCE),
    ):
        if silence.heard(count, patience=patience):
            quiet = silence.quiet
            raised.append(alerts.silence_alert(view.spec.name, view.window, at=view.at, what=what, windows=quiet))
    return raised


def _risk(view: View, state: MonitorState, *, losses: Losses) -> tuple[Risk | None, list[Alert]]:
    """Track the champion's loss; tell once when it is shown to be above the limit, again only after it fell back."""
    accepted = view.watch.reference.accepted if view.watch else None
    if accepted is None or view.champion is None:
        return None, []
    add_risk(state, losses, bound=accepted.bound, upto=view.window.end)
    risk = judge(accepted, view.spec.monitoring.risk_tolerance, losses=state.risk.closed)
    begins = risk.alarm and not state.risk.above
    state.risk.above = risk.alarm
    number = view.champion.number
    alert = alerts.risk_alert(view.spec.name, view.window, at=view.at, version=number, risk=risk) if begins else None
    return risk, [alert] if alert else []


def _drift(view: View, state: MonitorState, *, arrived: Arrived) -> tuple[WindowDrift | None, list[Alert]]:
    """Hold the window against the champion's reference; tell once per episode."""
    if view.watch is None or view.champion is None:
        state.profile = None
        return None, []
    number, model = view.champion.number, view.spec.name
    outputs = [
        output
        for one in arrived.answers
        for version, output in zip(one.versions, one.outputs, strict=True)
        if version == number
    ]
    run_length = view.spec.monitoring.run_length
    moved = look(view.watch, state, parts=parts_of(arrived.answers), outputs=outputs, run_length=run_length)
    state.profile = moved.profile
    raised = []
    if moved.alarmed("data") and state.episodes.begins(AlertKind.DATA_DRIFT, state.windows):
        features = moved.drift[: len(view.watch.reference.profile.columns)]
        evidence = moved.evidence["data"]
        raised.append(
            alerts.drift_alert(model, view.window, at=view.at, drift=features, evidence=evidence, limit=moved.limit)
        )
    if moved.alarmed("prediction") and state.episodes.begins(AlertKind.PREDICTION_DRIFT, state.windows):
        evidence = moved.evidence["prediction"]
        raised.append(
            alerts.answers_alert(model, view.window, at=view.at, version=number, evidence=evidence, limit=moved.limit)
        )
    return moved, raised


def _notes(view: View, arrived: Arrived) -> list[str]:
    """Name what is odd about a window as a whole."""
    notes = []
    if not arrived.answered:
        notes.append("no predictions in this window")
    if view.champion is None:
        notes.append("nothing is deployed: there is no champion to measure against")
    elif view.watch is None:
        notes.append(f"version {view.champion.number} has no reference: drift and risk cannot be measured")
    elif view.watch.reference.accepted is None:
        notes.append(f"version {view.champion.number} has no accepted loss: risk cannot be measured")
    if arrived.missing:
        notes.append(f"{arrived.missing} answered rows are missing from the log, which could not be written")
    lost = len(arrived.losses.rows) - int(arrived.losses.usable.sum())
    if lost:
        notes.append(f"{lost} labelled answers were no finite number and are left out of the loss")
    odd = arrived.odd
    if odd.contradicting_labels:
        notes.append(f"{odd.contradicting_labels} labels contradict an earlier one for the same prediction; it stays")
    if odd.unknown_labels:
        notes.append(f"{odd.unknown_labels} labels name no prediction")
    if odd.invalid_labels:
        notes.append(f"{odd.invalid_labels} labels are no possible fact for {view.spec.data.task.value}")
    return notes
