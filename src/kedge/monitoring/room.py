"""The room's door: take ground truth in, measure a window of what is served against what its version calls normal.

`measure` is incremental and happens once per window: health, alerts, what people are to be told of them and the monitors'
state are one write. A process that was killed reads the state, reads back from the journals what the state refers to, and
goes on to the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import msgspec
import numpy as np

from kedge.domain.features import FeatureService
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Health, Profile, StepLosses, TruthBatch, Window
from kedge.domain.predictions import hashed
from kedge.domain.project import ProjectSpec
from kedge.domain.records import encode_truth
from kedge.domain.registry import ModelVersion, misfit
from kedge.domain.retraining import SHADOW_STEPS
from kedge.domain.rollout import standing_of
from kedge.errors import StoreBroken
from kedge.evaluation.metrics import loss_name
from kedge.evaluation.room import Evaluation
from kedge.monitoring.causes.recent import explain_recent, explainable
from kedge.monitoring.columns import Plain
from kedge.monitoring.drift.window import Watched, watched
from kedge.monitoring.measure import Arrived, View, features_read, measure_window
from kedge.monitoring.measured import measured_event
from kedge.monitoring.operations.plane import ToldOf, told_of
from kedge.monitoring.quality.at_gate import AtGate
from kedge.monitoring.quality.losses import Score, losses_of, step_losses
from kedge.monitoring.quality.skew import Rejoining
from kedge.monitoring.references import References
from kedge.monitoring.served import ServedRows
from kedge.monitoring.skewing import Replaying, sample_due, with_skew
from kedge.monitoring.state import MonitorState, decode_state, encode_state, steps_closed
from kedge.monitoring.truth.horizon import horizon_of
from kedge.monitoring.truth.join_labels import Answered, LabelJoin, Labelled
from kedge.monitoring.watchable import require_watchable
from kedge.ports import Clock, Deployments, Journal, PlaneReports, Runs, Watches
from kedge.registry.room import Registry

RUNS_COUNTED = 50
"""How many of the newest runs are looked through for those of a window."""


class Monitoring:
    """Watches what is served. Where it `serves` nobody (a rehearsal), only what decisions read is measured."""

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
        references: References,
        clock: Clock,
        serves: bool = True,
        secret: Callable[[], bytes] | None = None,
        parity: Callable[[], Rejoining] | None = None,
        planes: PlaneReports | None = None,
    ) -> None:
        self._watches, self._predictions, self._truths = watches, predictions, truths
        self._evaluation, self._registry, self._deployments, self._runs = evaluation, registry, deployments, runs
        self._references, self._clock = references, clock
        self._serves, self._secret, self._parity, self._planes = serves, secret, parity, planes
        self._watched: dict[tuple[ModelName, int], Watched | None] = {}
        self._gates: dict[tuple[ModelName, int], AtGate | None] = {}
        self._joins: dict[ModelName, tuple[bytes, LabelJoin]] = {}

    def record_truth(self, batch: TruthBatch) -> None:
        """Keep facts as they arrive. The same ids again count once: the first one wins when they are read."""
        self._truths.append(encode_truth(batch))

    def require_watchable(self, spec: ProjectSpec, service: FeatureService) -> None:
        """Check that what is to be watched by column is read or logged. Raises ConfigError."""
        require_watchable(spec.monitoring, spec.rollout, read=service.columns(), logged=service.logged())

    def newest_profile(self, model: ModelName) -> Profile | None:
        """Find the profile of the newest measured window, counted in the bins of the champion's reference."""
        written = self._watches.state(model)
        return decode_state(written).profile if written else None

    def measure(self, spec: ProjectSpec, window: Window) -> Health:
        """Measure one window of what is served: drift, versions, late labels, risk, and the losses of a closed step.

        Windows are measured in order. One that was measured before is read, not measured again.
        """
        return self._watches.find(spec.name, window.id) or self._measure(spec, window)

    # ---- measuring ----

    def _measure(self, spec: ProjectSpec, window: Window) -> Health:
        state, join = self._resume(spec, window)
        step = timedelta(seconds=spec.step_seconds)
        champion = self._registry.champion(spec.name)
        state.windows += 1
        state.crown(champion.number if champion else None, shadow_steps=SHADOW_STEPS)
        ceiling = max(window.end, self._clock.now()) + horizon_of(spec)
        odd = join.read(self._predictions, self._truths, floor=window.start - step, ceiling=ceiling)
        view = self._view(spec, window, champion=champion)
        metric = loss_name(spec.gate.metric, spec.data.task)
        served = ServedRows(join.answered(window.start, window.end))
        losses = losses_of(join.labelled(window.end), metric, threshold=spec.gate.threshold, names=_features_read(view))
        health = measure_window(view, state, arrived=Arrived(served, losses, odd, ServedRows(join.late())))
        if self._serves:
            health = self._explained(view, state, health=health, recent=join.recent())
            health = self._replayed(view, state, health=health, answers=served.requests)
        closed = steps_closed(state.first, window, step=step)
        if closed > state.steps:
            health = msgspec.structs.replace(
                health, step=self._close_step(spec, state, join=join, champion=champion, closed=closed)
            )
        state.age_out(window.end)
        state.standing = join.rest(window.end, floor=window.start - step, horizon=window.end - horizon_of(spec))
        written = encode_state(state)
        self._watches.put(health, written, event=measured_event(health, self._clock.now()))
        self._joins[spec.name] = (written, join)
        return health

    def _explained(self, view: View, state: MonitorState, *, health: Health, recent: Sequence[Labelled]) -> Health:
        """Say what moved and why it matters, once a step, where a window gives a reason to ask."""
        if view.champion is None or state.explained_step == state.steps or not explainable(health):
            return health
        state.explained_step = state.steps
        causes = explain_recent(view.spec, health, champion=view.champion, recent=recent, gate=view.gate)
        return msgspec.structs.replace(health, causes=causes)

    def _replayed(self, view: View, state: MonitorState, *, health: Health, answers: Sequence[Answered]) -> Health:
        """Replay a sample of what was answered, where one is due."""
        if self._parity is None or not sample_due(state):
            return health
        model = view.spec.name
        asked = Replaying(self._parity, lambda number: self._registry.find(model, number), self._evaluation.score)
        return with_skew(view.spec, state, health=health, answers=answers, replaying=asked, at=view.at)

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
        standing = standing_of(self._deployments.list(spec.name))
        return View(
            spec=spec,
            window=window,
            at=self._clock.now(),
            champion=champion,
            watch=self._watch_of(spec.name, champion.number) if champion else None,
            rollout_began=standing[0].revision if standing else 0,
            trial=standing[-1] if standing and standing[-1].challenger is not None else None,
            deployment_at=lambda revision: self._deployments.find(spec.name, revision),
            shown=self._serves,
            gate=self._gate_of(spec.name, champion.number) if champion and self._serves else None,
            unhashed=lambda column: self._unhashed(champion, column),
            told=self._told(spec.name, window),
            training_cpu_seconds=self._trained(spec.name, window) if self._serves else 0.0,
        )

    def _told(self, model: ModelName, window: Window) -> ToldOf | None:
        """Read what data planes told of themselves; damage there holds nothing up."""
        if self._planes is None or not self._serves:
            return None
        try:
            return told_of(model, window, reports=self._planes.read(window.start, window.end), now=self._clock.now())
        except StoreBroken as error:
            return ToldOf(fault=str(error))

    def _trained(self, model: ModelName, window: Window) -> float:
        """Sum the CPU seconds of the trainings that began in a window."""
        runs = self._runs.list(model, limit=RUNS_COUNTED)
        return sum(run.usage.cpu_seconds for run in runs if window.start <= run.started_at < window.end)

    def _unhashed(self, champion: ModelVersion | None, column: str) -> dict[str, str]:
        """Give the categories that the champion knows of a column by the hashes that the log has in their place."""
        if champion is None or self._secret is None:
            return {}
        key = self._secret()
        named = (one.categories or () for one in champion.signature.inputs if one.name == column)
        return {hashed(key, name) or "": str(name) for names in named for name in names}

    def _gate_of(self, model: ModelName, version: int) -> AtGate | None:
        """Read what a version's gate taught, once per process."""
        key = (model, version)
        if key not in self._gates:
            self._gates = {key: self._references.at_gate(model, version)}
        return self._gates[key]

    def _watch_of(self, model: ModelName, version: int) -> Watched | None:
        """Compile the bets on a version's reference, once per process."""
        key = (model, version)
        if key not in self._watched:
            reference = self._references.find(model, version)  # asked again where there is none: it may be taken meanwhile
            self._watched = {key: watched(reference)} if reference is not None else {}
        return self._watched.get(key)

    def _close_step(
        self, spec: ProjectSpec, state: MonitorState, *, join: LabelJoin, champion: ModelVersion | None, closed: int
    ) -> StepLosses | None:
        """Compare the champion with the retired one on what became known in the steps that end with this window."""
        step = timedelta(seconds=spec.step_seconds)
        start, end, steps = state.first + state.steps * step, state.first + closed * step, closed - state.steps
        rows = join.close_step(end)
        state.steps = closed
        if champion is None or misfit(champion, spec.data.task):
            return None
        return step_losses(
            rows,
            champion,
            others=self._retired(spec.name, state, champion=champion),
            start=start,
            end=end,
            step=step,
            steps=steps,
            score=self._scorer(spec),
            metric=loss_name(spec.gate.metric, spec.data.task),
            threshold=spec.gate.threshold,
        )

    def _retired(self, model: ModelName, state: MonitorState, *, champion: ModelVersion) -> list[ModelVersion]:
        """Find the champion before this one while it is to be scored in shadow, if it is the older model."""
        if state.retired is None or state.steps > state.retired_until:
            return []
        retired = self._registry.find(model, state.retired)
        fits = retired is not None and not misfit(retired, champion.signature.task)
        return [retired] if retired is not None and fits and retired.trained_upto < champion.trained_upto else []

    def _scorer(self, spec: ProjectSpec) -> Score:
        """Answer logged rows again: float64 (n,), NaN where a model that the loop has not made cannot answer them."""

        def scored(model: ModelVersion, columns: Mapping[str, Plain]) -> np.ndarray:
            answers, _ = self._evaluation.try_score(model, columns, task=spec.data.task)
            return answers if answers is not None else np.full(len(next(iter(columns.values()))), np.nan)

        return scored


def _features_read(view: View) -> frozenset[str] | None:
    """Name the features of labelled rows that anything reads; None for all."""
    rules = (view.trial.rules or view.spec.rollout) if view.trial is not None else None
    if rules is not None and (rules.slices or rules.value):
        return None
    return features_read(view.spec) if view.shown else frozenset()
