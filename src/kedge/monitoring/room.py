"""The room's door: take ground truth in, keep what each version calls normal, measure a window of what is served.

`measure` is incremental and happens once per window: health, alerts and the monitors' state are one write. A process
that was killed reads the state, reads back from the journals what the state refers to, and goes on to the same result.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from kedge.domain.data import KNOWN_AT
from kedge.domain.durations import span_of
from kedge.domain.events import Event, EventKind, Fact
from kedge.domain.ids import Digest, ModelName, digest_of
from kedge.domain.monitoring import Health, Profile, StepLosses, TruthBatch, Window
from kedge.domain.project import ProjectSpec
from kedge.domain.records import encode_truth
from kedge.domain.registry import Candidate, ModelVersion, candidate_of
from kedge.domain.rollout import Deployment
from kedge.errors import NotFound
from kedge.evaluation.metrics import loss_name, loss_rows
from kedge.evaluation.room import Evaluation
from kedge.monitoring.drifting import Watched, watched
from kedge.monitoring.horizon import horizon_of
from kedge.monitoring.join_labels import LabelJoin
from kedge.monitoring.losses import losses_of, step_losses
from kedge.monitoring.measure import Arrived, View, measure_window
from kedge.monitoring.reference import Reference, day_numbers, take
from kedge.monitoring.risk import Accepted, accept
from kedge.monitoring.state import MonitorState, decode_state, encode_state, steps_closed
from kedge.ports import BlobStore, Clock, Deployments, Journal, Notes, Notifier, Runs, Watches
from kedge.registry.room import Registry

if TYPE_CHECKING:
    from kedge.features.frame import TrainingFrame

SHADOW_STEPS = 8
"""How long a retired champion is scored beside the new one."""
ACTOR = "kedge"


class Monitoring:
    """Watches what is served."""

    def __init__(
        self,
        *,
        watches: Watches,
        predictions: Journal,
        truths: Journal,
        evaluation: Evaluation,
        registry: Registry,
        deployments: Deployments,
        runs: Runs,
        blobs: BlobStore,
        notes: Notes,
        notifier: Notifier,
        clock: Clock,
    ) -> None:
        self._watches, self._predictions, self._truths = watches, predictions, truths
        self._evaluation, self._registry, self._deployments, self._runs = evaluation, registry, deployments, runs
        self._blobs, self._notes, self._notifier, self._clock = blobs, notes, notifier, clock
        self._watched: dict[tuple[ModelName, int], Watched | None] = {}
        self._joins: dict[ModelName, tuple[bytes, LabelJoin]] = {}

    def record_truth(self, batch: TruthBatch) -> None:
        """Keep facts as they arrive. The same ids again count once: the first one wins when they are read."""
        self._truths.append(encode_truth(batch))

    def take_reference(self, spec: ProjectSpec, version: ModelVersion, frame: TrainingFrame) -> None:
        """Keep what a version calls normal: the profile and own movement of its training rows, and the answers and the
        loss of the candidate that went through its gate on the newest step's rows. Once per version."""
        note = _reference_note(spec.name, version.number)
        if self._notes.get(note) is not None:
            return
        answers, accepted = self._at_the_gate(spec, version, frame=frame)
        reference = take(
            frame,
            version=version.number,
            columns=[column.name for column in version.signature.inputs],
            window=span_of(spec.monitoring.window),
            tolerance=spec.monitoring.tolerance,
            answers=answers,
            accepted=accepted,
        )
        self._notes.put(note, self._blobs.put(msgspec.msgpack.encode(reference)).encode())

    def reference(self, model: ModelName, version: int) -> Reference | None:
        """Find what a version calls normal."""
        digest = self._notes.get(_reference_note(model, version))
        return msgspec.msgpack.decode(self._blobs.get(Digest(digest.decode())), type=Reference) if digest else None

    def newest_profile(self, model: ModelName) -> Profile | None:
        """Find the profile of the newest measured window, counted in the bins of the champion's reference."""
        written = self._watches.state(model)
        return decode_state(written).profile if written else None

    def measure(self, spec: ProjectSpec, window: Window) -> Health:
        """Measure one window of what is served: drift, versions, late labels, risk, and the losses of a closed step.

        Windows are measured in order. One that was measured before is read, not measured again.
        """
        health = self._watches.find(spec.name, window.id)
        if health is None:
            health = self._measure(spec, window)
        self._tell(health)
        return health

    # ---- measuring ----

    def _measure(self, spec: ProjectSpec, window: Window) -> Health:
        state, join = self._resume(spec, window)
        step = timedelta(seconds=spec.step_seconds)
        champion = self._registry.champion(spec.name)
        state.windows += 1
        state.crown(champion.number if champion else None, shadow_steps=SHADOW_STEPS)
        odd = join.read(self._predictions, self._truths, floor=window.start - step)
        metric = loss_name(spec.gate.metric, spec.data.task)
        answers = join.answered(window.start, window.end)
        arrived = Arrived(answers, losses_of(join.labelled(window.end), metric, threshold=spec.gate.threshold), odd)
        health = measure_window(self._view(spec, window, champion=champion), state, arrived=arrived)
        closed = steps_closed(state.first, window, step=step)
        if closed > state.steps:
            health = msgspec.structs.replace(
                health, step=self._close_step(spec, state, join=join, champion=champion, closed=closed)
            )
        state.age_out(window.end)
        state.standing = join.rest(window.end, floor=window.start - step, horizon=window.end - horizon_of(spec))
        written = encode_state(state)
        self._watches.put(health, written, event=_measured(health, self._clock.now()))
        self._joins[spec.name] = (written, join)
        return health

    def _resume(self, spec: ProjectSpec, window: Window) -> tuple[MonitorState, LabelJoin]:
        """Take up the state after the last window and what is remembered with it; read it back where it is not at hand.

        What is at hand is used only if nobody else has measured since.
        """
        written = self._watches.state(spec.name)
        state = decode_state(written) if written else MonitorState(first=window.start)
        known, join = self._joins.pop(spec.name, (None, None))
        if join is None or known != written:
            join = LabelJoin(spec.name, spec.data.task, standing=state.standing)
            join.restore(self._predictions, self._truths)
        return state, join

    def _view(self, spec: ProjectSpec, window: Window, *, champion: ModelVersion | None) -> View:
        return View(
            spec=spec,
            window=window,
            at=self._clock.now(),
            champion=champion,
            watch=self._watch_of(spec.name, champion.number) if champion else None,
            rollout_began=self._rollout_began(spec.name),
            trial=self._trial(spec.name),
            deployment_at=lambda revision: self._deployments.find(spec.name, revision),
        )

    def _watch_of(self, model: ModelName, version: int) -> Watched | None:
        """Compile the bets on a version's reference, once per process."""
        key = (model, version)
        if key not in self._watched:
            reference = self.reference(model, version)
            self._watched = {key: watched(reference)} if reference is not None else {}
        return self._watched.get(key)

    def _trial(self, model: ModelName) -> Deployment | None:
        """Find the deployment where a version is on trial now."""
        deployment = self._deployments.find(model)
        return deployment if deployment is not None and deployment.challenger is not None else None

    def _rollout_began(self, model: ModelName) -> int:
        """Find the first revision of the running rollout: same champion, challenger and salt as the newest one."""
        deployment = self._deployments.find(model)
        while deployment is not None:
            before = self._deployments.find(model, deployment.revision - 1)
            same = before is not None and (before.champion, before.challenger, before.salt) == (
                deployment.champion,
                deployment.challenger,
                deployment.salt,
            )
            if not same:
                return deployment.revision
            deployment = before
        return 0

    def _close_step(
        self, spec: ProjectSpec, state: MonitorState, *, join: LabelJoin, champion: ModelVersion | None, closed: int
    ) -> StepLosses | None:
        """Compare the champion with the retired one on what became known in the steps that end with this window."""
        step = timedelta(seconds=spec.step_seconds)
        start, end, steps = state.first + state.steps * step, state.first + closed * step, closed - state.steps
        rows = join.close_step(end)
        state.steps = closed
        if champion is None:
            return None
        return step_losses(
            rows,
            champion,
            others=self._retired(spec.name, state, champion=champion),
            start=start,
            end=end,
            step=step,
            steps=steps,
            score=self._evaluation.score,
            metric=loss_name(spec.gate.metric, spec.data.task),
            threshold=spec.gate.threshold,
        )

    def _retired(self, model: ModelName, state: MonitorState, *, champion: ModelVersion) -> list[ModelVersion]:
        """Find the champion before this one while it is to be scored in shadow, if it is the older model."""
        if state.retired is None or state.steps > state.retired_until:
            return []
        retired = self._registry.get(model, state.retired)
        return [retired] if retired.trained_upto < champion.trained_upto else []

    # ---- references and alerts ----

    def _at_the_gate(
        self, spec: ProjectSpec, version: ModelVersion, *, frame: TrainingFrame
    ) -> tuple[np.ndarray | None, Accepted | None]:
        """Score the newest step's rows by the candidate, which has not seen them: its answers, and its loss by days.

        The registered refit has seen them; where the candidate is gone, nothing is known.
        """
        newest, candidate = frame.newest(), self._candidate(version)
        if candidate is None or not len(newest):
            return None, None
        scores, facts = self._evaluation.score(candidate, newest.rows), newest.y()
        known = np.isfinite(facts) & np.isfinite(scores)
        metric = loss_name(spec.gate.metric, spec.data.task)
        losses = loss_rows(metric, facts[known], p=scores[known], threshold=spec.gate.threshold)
        return scores, accept(metric, losses, days=day_numbers(newest.rows[KNOWN_AT])[known])

    def _candidate(self, version: ModelVersion) -> Candidate | None:
        """Read the gate's candidate from its run; None where the run or its model is gone."""
        try:
            return candidate_of(self._runs.get(version.candidate_run))
        except NotFound:
            return None

    def _tell(self, health: Health) -> None:
        """Notify people of a window's alerts. Noted afterwards, so that a kill in between repeats and does not lose them."""
        note, mark = f"monitoring:{health.model}:told", health.window.end.isoformat().encode()
        if not health.alerts or (self._notes.get(note) or b"") >= mark:
            return
        for alert in health.alerts:
            self._notifier.notify(alert)
        self._notes.put(note, mark)


def _reference_note(model: ModelName, version: int) -> str:
    return f"monitoring:{model}:reference:{version}"


def _measured(health: Health, at: datetime) -> Event:
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
