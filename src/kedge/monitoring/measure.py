"""One window, measured: from what was answered and what became known to a Health. No journal, no store is touched here.

The state is moved on by the same call: detectors, risk, blocks, silences. Same state and records, same health.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from kedge.domain.alerting import Alert, AlertKind, alert_id
from kedge.domain.channels import calm_windows
from kedge.domain.counts import count
from kedge.domain.monitoring import COMING, Health, JoinReport, Risk, Window
from kedge.domain.project import ProjectSpec
from kedge.domain.quality import ModelQuality
from kedge.domain.registry import ModelVersion
from kedge.domain.rollout import Deployment
from kedge.evaluation.metrics import loss_name
from kedge.monitoring.declared import declared_of
from kedge.monitoring.drift.window import Watched, WindowDrift, look
from kedge.monitoring.groups.fairness import read_by
from kedge.monitoring.operations.plane import ToldOf
from kedge.monitoring.quality.at_gate import AtGate
from kedge.monitoring.quality.losses import Losses, add_blocks, add_risk
from kedge.monitoring.quality.naming import concept_of, note_moved, quality_notes
from kedge.monitoring.quality.risk import judge
from kedge.monitoring.quality.slicing import slice_columns
from kedge.monitoring.quality.trial import add_groups
from kedge.monitoring.quality.window import quality_of
from kedge.monitoring.served import Gathered, ServedRows, versions_of
from kedge.monitoring.state import MonitorState
from kedge.monitoring.telling import alerts
from kedge.monitoring.telling.episodes import silence_declared
from kedge.monitoring.truth.join_labels import Answered
from kedge.monitoring.worth.business import read_by_worth

FIRST_SILENCE = {"predictions": timedelta(days=3), "labels": timedelta(days=8)}
"""How long nothing may come while no week has been seen: a weekend and a night, labels that are told once a week."""
LEAST_SILENCE = {"predictions": 0, "labels": 1}
"""For how many windows nothing may come in any case: labels come in lumps."""


class View(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a window is measured against: the rules, the champion and what it calls normal, and the deployments.

    What no policy, gate or rollout reads is left out where nothing is `shown` (a rehearsal); `unhashed` gives the
    categories of a personal column by their hashes, `gate` is what the gate's rows taught, `told` what data
    planes tell of themselves; the CPU seconds are those of trainings that began in the window.
    """

    spec: ProjectSpec
    window: Window
    at: datetime
    champion: ModelVersion | None
    watch: Watched | None
    rollout_began: int
    trial: Deployment | None
    deployment_at: Callable[[int], Deployment | None]
    shown: bool = True
    unhashed: Callable[[str], Mapping[str, str]] = lambda column: {}
    gate: AtGate | None = None
    told: ToldOf | None = None
    training_cpu_seconds: float = 0.0


class Arrived(msgspec.Struct, frozen=True, eq=False):
    """What a window brought: the requests answered in it, the rows whose truth became known, what was odd, and the
    requests of windows before that came after those were measured. Each is read once, for all that is measured."""

    served: ServedRows
    losses: Losses
    odd: JoinReport
    late: ServedRows

    @property
    def answers(self) -> Sequence[Answered]:
        """Give the requests answered."""
        return self.served.requests

    @property
    def rows(self) -> int:
        """Count the rows answered."""
        return len(self.served)

    @property
    def late_rows(self) -> int:
        """Count the rows that came late."""
        return len(self.late)

    @property
    def missing(self) -> int:
        """Count the rows answered that the log could not take."""
        return sum(one.missing for one in self.answers)

    @property
    def answered(self) -> int:
        """Estimate the rows answered, logged or not."""
        return round(float(self.served.sizes @ self.served.weights)) + self.missing


def features_read(spec: ProjectSpec) -> frozenset[str]:
    """Name the features of labelled rows that are read where no trial reads more."""
    return frozenset(slice_columns(spec)) | read_by(spec) | read_by_worth(spec)


def measure_window(view: View, state: MonitorState, *, arrived: Arrived) -> Health:
    """Measure a window and move the state on."""
    spec, losses = view.spec, arrived.losses
    state.episodes.quiet = calm_windows(spec.alerts, view.window.end - view.window.start)
    moments, places = losses.moments
    counts = np.bincount(places, minlength=len(moments)).tolist()
    state.count_labels(moments, counts, span=view.window.end - view.window.start)
    add_blocks(state, losses, metric=loss_name(spec.gate.metric, spec.data.task), threshold=spec.gate.threshold)
    faults = add_groups(state, losses, trial=view.trial, began=view.rollout_began, spec=spec)
    raised = _silences(view, state, rows=arrived.answered, labels=len(losses.rows))
    risk, risen = _risk(view, state, losses=losses)
    moved, drifted = _drift(view, state, arrived=arrived)
    declared = declared_of(view, state, arrived=arrived)
    quality, named = _quality(view, state, arrived=arrived, moved=moved, risen=bool(risen))
    return Health(
        model=spec.name,
        window=view.window,
        rows=arrived.rows,
        labels=len(losses.rows),
        versions=versions_of(arrived.served, view.deployment_at),
        blocks=state.blocks_since(view.rollout_began),
        groups=tuple(state.groups),
        standing=_standing(view, state, silent={"predictions": state.predictions.told, "labels": state.labels.told}),
        drift=moved.drift if moved else (),
        risk=risk,
        alerts=(*raised, *risen, *drifted, *named, *declared.alerts),
        fairness=declared.fairness,
        business=declared.business,
        operations=declared.operations,
        loss=losses.mean,
        champion=view.champion.number if view.champion else None,
        fresh_labels=state.labels_after(view.champion.trained_upto) if view.champion else 0,
        join=arrived.odd,
        evidence=moved.evidence if moved else {},
        evidence_limit=moved.limit if moved else 0.0,
        since=moved.since if moved else {},
        late=arrived.late_rows,
        answered=arrived.answered,
        missing=arrived.missing,
        notes=(
            *_notes(view, arrived),
            *faults,
            *(moved.notes if moved else ()),
            *(quality_notes(quality) if quality else ()),
        ),
        quality=quality,
    )


def _standing(view: View, state: MonitorState, *, silent: dict[str, bool]) -> tuple[str, ...]:
    """Name the alerts whose condition holds in this window, told now or before."""
    model, champion = view.spec.name, view.champion
    found = state.episodes.standing(model, state.windows)
    found += [alert_id(model, AlertKind.SILENCE, subject=what) for what, quiet in silent.items() if quiet]
    if champion is not None and state.risk.above:
        found.append(alert_id(model, AlertKind.RISK, subject=f"version {champion.number}"))
    return tuple(found)


def _silences(view: View, state: MonitorState, *, rows: int, labels: int) -> list[Alert]:
    """Hear whether predictions and labels still come."""
    raised, length = [], view.window.end - view.window.start
    for what, silence, came in zip(COMING, (state.predictions, state.labels), (rows, labels), strict=True):
        declared = silence_declared(view.spec.monitoring, what)
        if silence.heard(came, window=length, first=FIRST_SILENCE[what], least=LEAST_SILENCE[what], declared=declared):
            raised.append(
                alerts.silence_alert(
                    view.spec.name, view.window, at=view.at, what=what, windows=silence.quiet, declared=declared is not None
                )
            )
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
    sources = [arrived.late, arrived.served] if len(arrived.late) else [arrived.served]
    run_length = view.spec.monitoring.run_length
    moved = look(
        view.watch,
        state.drift,
        window=view.window,
        number=state.windows,
        parts=_parts(sources),
        outputs=np.concatenate([source.answers[source.versions == number] for source in sources]),
        run_length=run_length,
        quiet=state.episodes.quiet,
    )
    state.profile = moved.profile
    raised = []
    if moved.alarmed("data") and state.episodes.begins(AlertKind.DATA_DRIFT, state.windows):
        features = moved.drift[: len(view.watch.reference.profile.columns)]
        evidence = moved.evidence["data"]
        raised.append(
            alerts.drift_alert(
                model,
                view.window,
                at=view.at,
                drift=features,
                evidence=evidence,
                limit=moved.limit,
                since=moved.since["data"],
            )
        )
    if moved.alarmed("prediction") and state.episodes.begins(
        AlertKind.PREDICTION_DRIFT, state.windows, subject=f"version {number}"
    ):
        evidence = moved.evidence["prediction"]
        raised.append(
            alerts.answers_alert(
                model,
                view.window,
                at=view.at,
                version=number,
                evidence=evidence,
                limit=moved.limit,
                since=moved.since["prediction"],
            )
        )
    return moved, raised


def _parts(sources: Sequence[ServedRows]) -> list[Gathered]:
    """Give the features of a window in parts; what any request of it hides is hidden, wherever parts begin."""
    hidden = frozenset[str]().union(*(source.hidden for source in sources))
    return [part._replace(hidden=hidden) for source in sources for part in source.parts]


def _quality(
    view: View, state: MonitorState, *, arrived: Arrived, moved: WindowDrift | None, risen: bool
) -> tuple[ModelQuality | None, list[Alert]]:
    """Measure the quality, and tell once per episode where the relation between input and truth moved."""
    if not view.shown:
        return None, []
    spec, losses, champion, gate = view.spec, arrived.losses, view.champion, view.gate
    quality = quality_of(
        spec,
        view.window,
        state=state.quality,
        served=arrived.served,
        losses=losses,
        champion=champion,
        gate=gate,
    )
    if champion is None or gate is None:
        return quality, []
    if moved is not None:
        note_moved(state.quality, moved, number=state.windows)
    concept = concept_of(
        spec,
        view.window,
        state=state.quality,
        gate=gate,
        champion=champion,
        losses=losses,
        risen=risen,
        number=state.windows,
    )
    quality = msgspec.structs.replace(quality, concept=concept)
    if concept is None:
        return quality, []
    kind, subject = AlertKind.CONCEPT_DRIFT, f"version {champion.number}"
    if concept.apart or state.risk.above:
        state.episodes.goes_on(kind, state.windows, subject=subject)
    if not concept.named or not state.episodes.begins(kind, state.windows, subject=subject):
        return quality, []
    alert = alerts.concept_alert(spec.name, view.window, at=view.at, version=champion.number, concept=concept)
    return quality, [alert]


def _unread(view: View) -> list[str]:
    fault = view.told.fault if view.told is not None else ""
    return [f"what data planes told of themselves cannot be read: {fault}"] if fault else []


def _said(number: int, one: str, *, verb: tuple[str, str]) -> str:
    """Write how many do what: "1 label is", "2 labels are"."""
    return f"{count(number, one)} {verb[number != 1]}"


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
        lacks = f"version {view.champion.number} has no accepted loss, which takes a gate with labels of two days"
        notes.append(f"{lacks}: risk cannot be measured")
    if arrived.missing:
        notes.append(
            f"{_said(arrived.missing, 'answered row', verb=('is', 'are'))} missing from the log, which could not be written"
        )
    if arrived.late_rows:
        notes.append(f"{count(arrived.late_rows, 'row')} of windows before came late, counted in this window's drift alone")
    lost = len(arrived.losses.rows) - int(arrived.losses.usable.sum())
    if lost:
        notes.append(f"{lost} labelled answers were no finite number and are left out of the loss")
    odd = arrived.odd
    if odd.lost_predictions:
        notes.append(f"{count(odd.lost_predictions, 'row')} came more than a step after their window, not counted")
    if odd.future_predictions:
        notes.append(
            _said(odd.future_predictions, "row", verb=("bears", "bear"))
            + " a time too far ahead, not counted: a wrong clock?"
        )
    if odd.contradicting_labels:
        notes.append(
            _said(odd.contradicting_labels, "label", verb=("contradicts", "contradict"))
            + " an earlier one for the same prediction; it stays"
        )
    if odd.unknown_labels:
        notes.append(f"{_said(odd.unknown_labels, 'label', verb=('names', 'name'))} no prediction")
    if odd.invalid_labels:
        notes.append(
            f"{_said(odd.invalid_labels, 'label', verb=('is', 'are'))} no possible fact for {view.spec.data.task.value}"
        )
    return [*notes, *_unread(view)]
