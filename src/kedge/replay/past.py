"""Measure a project's past for a backtest: one model a step, made as the loop does, scored once on what came later.

    history | live
    ... -2 -1  0  1  2 ... T-1      model m learns from what was known when step m began
Each model's row of the matrix is kept as a note, and its training by content key: a measurement that was killed goes on at
the next model, and a second one is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec
import numpy as np
import polars as pl

from kedge.app import House, rehearse
from kedge.domain.data import KNOWN_AT
from kedge.domain.durations import span_of
from kedge.domain.ids import digest_of
from kedge.domain.monitoring import Window
from kedge.domain.project import ProjectSpec
from kedge.domain.registry import Candidate
from kedge.errors import ConfigError, TrainingFailed
from kedge.evaluation.metrics import loss_name, loss_rows
from kedge.features.frame import TrainingFrame, known_by
from kedge.monitoring.drift.kept import DriftState
from kedge.monitoring.drift.reference import take
from kedge.monitoring.drift.window import look, watched
from kedge.monitoring.served import Gathered
from kedge.pipelines.cache import params_of
from kedge.replay.clock import SetClock
from kedge.replay.timeline import lay_out
from kedge.retraining.backtest.matrix import NEVER, Blocks, GroupLosses, LossMatrix
from kedge.retraining.ledger import Observation

FEWEST_STEPS = 8
HISTORY_STEPS = 6
"""How many models of the history before the first are made: they tell how fast models age."""
LEAST_HISTORY = 2
AGES_COMPARED = 8
MOST_GROUPS = 50
FORMAT = 1
DAY = timedelta(days=1)
Told = Callable[[int, int], None]


class ModelLosses(msgspec.Struct, frozen=True, kw_only=True):
    """One model's losses: summed by block as answered and as told (from its own step on), by group and step; the step in
    which drift alarms first, and what its training cost. Floats as float64 bytes."""

    answered: bytes
    told: bytes
    groups: bytes
    alarm: int
    cpu_seconds: float


@dataclass(frozen=True, eq=False)
class Past:
    """A project's past, measured: its matrix, when each step began, the mean CPU time of a training, what history told of
    ageing, and how many of its models were found and not made."""

    matrix: LossMatrix
    begins: tuple[datetime, ...]
    cpu_seconds: float
    history: tuple[Observation, ...]
    made: int
    found: int


def measure(house: House, spec: ProjectSpec, told: Told = lambda done, models: None) -> Past:
    """Measure a project's past, or read what was measured. Raises ConfigError where it is too short, TrainingFailed where
    the first model cannot be made."""
    rows = house.data.rows(spec)
    timeline = lay_out(spec, rows)
    step = timedelta(seconds=spec.step_seconds)
    steps = int((timeline.rows[spec.data.time][-1] - timeline.start) // step)
    before = int((timeline.start - timeline.begin) // step)
    if steps < FEWEST_STEPS:
        raise ConfigError(
            f"{spec.name!r} has {steps} whole steps of {spec.retraining.step} after {timeline.start:%Y-%m-%d}, and a "
            f"backtest needs {FEWEST_STEPS}: wait until {timeline.start + FEWEST_STEPS * step:%Y-%m-%d}, go live earlier "
            "(replay.live_from), or shorten retraining.step"
        )
    twin = rehearse(house, spec, clock=SetClock(timeline.end), jobs=house.jobs)
    try:
        frame = twin.features.training_frame(spec, twin.data.commit(spec))
        measurer = _Measurer(twin, house, spec, frame=frame, start=timeline.start, steps=steps)
        earliest = -min(HISTORY_STEPS, max(0, before - LEAST_HISTORY))
        return measurer.past(earliest, told)
    finally:
        twin.predictions.close()
        twin.truths.close()
        twin.meta.close()


class _Measurer:
    """Makes and scores the models of a past."""

    def __init__(
        self, twin: House, house: House, spec: ProjectSpec, *, frame: TrainingFrame, start: datetime, steps: int
    ) -> None:
        self._twin, self._notes, self._spec, self._frame = twin, house.meta.notes, spec, frame
        self._start, self._steps = start, steps
        self._step = frame.step
        self._block = min(self._step, DAY)
        self._per_step = -(-self._step // self._block)
        self._metric = loss_name(spec.gate.metric, frame.task)
        self._by_time = frame.rows.sort(frame.time)
        self._known = frame.rows.filter(pl.col(frame.label).is_not_null())
        self._answered_at = self._blocks(self._known[frame.time])
        self._told_at = self._blocks(self._known[KNOWN_AT])
        self._groups = self._grouped()
        self._key = digest_of(
            "backtest",
            FORMAT,
            frame.digest,
            house.project.code().digest,
            house.project.environment().digest,
            params_of(spec.training),
            (self._metric, spec.gate.threshold, [name for name, _ in self._groups]),
            (start, steps, self._step.total_seconds()),
            spec.monitoring,
        )

    def past(self, earliest: int, told: Told) -> Past:
        """Make or read every model's row, and lay them out."""
        rows: dict[int, ModelLosses] = {}
        found = 0
        for model in range(earliest, self._steps):
            kept = self._notes.get(self._note(model))
            if kept is None:
                made = self._made(model, rows)
                if made is not None:
                    rows[model] = made
                    self._notes.put(self._note(model), msgspec.msgpack.encode(made))
            else:
                rows[model] = msgspec.msgpack.decode(kept, type=ModelLosses)
                found += 1
            told(model - earliest + 1, self._steps - earliest)
        matrix = self._matrix(rows)
        begins = tuple(self._start + step * self._step for step in range(self._steps))
        cpu = [row.cpu_seconds for model, row in rows.items() if model >= 0]
        history = self._history(rows, earliest)
        return Past(matrix, begins, float(np.mean(cpu)), history, len(rows) - found, found)

    def _note(self, model: int) -> str:
        return f"backtest:{self._key}:{model}"

    def _blocks(self, times: pl.Series) -> np.ndarray:
        """Number the block of each time: 0 is the first of step 0, those of history are below it."""
        since = (times - self._start).dt.total_microseconds().to_numpy()
        step, inside = np.divmod(since, self._step // timedelta(microseconds=1))
        return np.asarray(step * self._per_step + inside // (self._block // timedelta(microseconds=1)), dtype=np.int64)

    def _grouped(self) -> list[tuple[str, np.ndarray]]:
        """Find the groups of rows that the gate's slices and fairness checks name: (name, flags)."""
        columns = dict.fromkeys(name for check in self._spec.gate.checks for name in (*check.slices, check.by or ""))
        found = []
        for column in columns:
            if column and column in self._known.columns:
                values = self._known[column].cast(str)
                counts = values.drop_nulls().value_counts(sort=True)
                large = counts.filter(pl.col("count") >= self._spec.gate.min_group)[column].to_list()
                found += [(f"{column}={value}", (values == value).fill_null(value=False).to_numpy()) for value in large]
        return found[:MOST_GROUPS]

    def _made(self, model: int, rows: dict[int, ModelLosses]) -> ModelLosses | None:
        """Train a model and score it on what came later. Where it cannot be trained the one before stays, as live; None
        where there is none before and history can do without."""
        at = self._start + model * self._step
        frame = replace(self._frame, rows=known_by(self._frame.rows, at), upto=at)
        try:
            candidate = self._twin.pipelines.train(self._spec, frame)
        except TrainingFailed:
            if model - 1 in rows:
                return rows[model - 1]
            if model < 0:
                return None
            raise
        return self._scored(model, candidate, frame=frame)

    def _scored(self, model: int, candidate: Candidate, *, frame: TrainingFrame) -> ModelLosses:
        first = self._rows_before(model)
        rows = self._known[first:] if model >= 0 else self._known[first : self._rows_before(0)]
        losses = np.empty(0)
        if len(rows):
            scores = self._twin.evaluation.score(candidate, rows)
            facts = rows[self._frame.label].cast(pl.Float64).to_numpy()
            losses = loss_rows(self._metric, facts, p=scores, threshold=self._spec.gate.threshold)
            losses = np.where(np.isfinite(losses), losses, 0.0)
        part = slice(first, first + len(rows))
        borders = model * self._per_step
        count = (self._steps if model >= 0 else 0) * self._per_step
        return ModelLosses(
            answered=_summed(losses, self._answered_at[part], first=borders, last=count),
            told=_summed(losses, self._told_at[part], first=borders, last=count),
            groups=self._by_group(losses, part) if model >= 0 else b"",
            alarm=self._alarm(model, frame) if model >= 0 else NEVER,
            cpu_seconds=candidate.cpu_seconds,
        )

    def _rows_before(self, model: int) -> int:
        """Count the rows that were known when a step began: the rest no model of it has seen."""
        return len(known_by(self._known, self._start + model * self._step))

    def _by_group(self, losses: np.ndarray, part: slice) -> bytes:
        made = np.zeros((len(self._groups), self._steps))
        step = self._answered_at[part] // self._per_step
        for place, (_, flags) in enumerate(self._groups):
            kept = flags[part] & (step >= 0) & (step < self._steps)
            made[place] = np.bincount(step[kept], weights=losses[kept], minlength=self._steps)
        return made.astype("<f8").tobytes()

    def _alarm(self, model: int, frame: TrainingFrame) -> int:
        """Find the step in which drift first alarms against a model's reference, window by window as live."""
        monitoring = self._spec.monitoring
        window = span_of(monitoring.window)
        reference = take(
            frame,
            version=1,
            columns=list(frame.columns),
            window=window,
            tolerance=monitoring.tolerance,
            answers=None,
            accepted=None,
        )
        watch, state = watched(reference), DriftState()
        since = self._start + model * self._step
        times = self._by_time[self._frame.time]
        for number in range(int((self._steps - model) * self._step / window)):
            span = Window(since + number * window, since + (number + 1) * window)
            first, last = (int(times.search_sorted(moment)) for moment in (span.start, span.end))
            shown = self._by_time[first:last]
            columns = {name: shown[name].to_list() for name in frame.columns}
            moved = look(
                watch,
                state,
                window=span,
                number=number,
                parts=[Gathered(len(shown), columns)],
                outputs=[],
                run_length=monitoring.run_length,
            )
            if moved.alarmed("data"):
                return model + int((number + 1) * window / self._step - 1e-9)
        return NEVER

    def _matrix(self, rows: dict[int, ModelLosses]) -> LossMatrix:
        answered, told = (self._laid_out(rows, kind) for kind in ("answered", "told"))
        steps = self._answered_at // self._per_step
        inside = (steps >= 0) & (steps < self._steps)
        groups = {}
        tables = np.stack(
            [
                np.frombuffer(rows[model].groups, dtype="<f8").reshape(len(self._groups), self._steps)
                for model in range(self._steps)
            ]
        )
        for place, (name, flags) in enumerate(self._groups):
            counts = np.bincount(steps[flags & inside], minlength=self._steps).astype(float)
            groups[name] = GroupLosses(tables[:, place], counts)
        gate = rows.get(-1)
        first = np.empty(0)
        if gate is not None:
            sums = np.frombuffer(gate.told, dtype="<f8")
            counts = self._counted(-len(sums), 0)
            first = sums[counts > 0] / counts[counts > 0]
        alarms = np.array([rows[model].alarm for model in range(self._steps)], dtype=np.int64)
        return LossMatrix(answered, told, alarms=alarms, groups=groups, first=first)

    def _counted(self, first: int, last: int, *, kind: str = "told") -> np.ndarray:
        """Count the labelled rows of the blocks from `first` up to, and not, `last`."""
        at = self._told_at if kind == "told" else self._answered_at
        inside = at[(at >= first) & (at < last)] - first
        return np.bincount(inside, minlength=last - first).astype(float)

    def _laid_out(self, rows: dict[int, ModelLosses], kind: str) -> Blocks:
        count = self._steps * self._per_step
        losses = np.zeros((self._steps, count))
        for model in range(self._steps):
            sums = np.frombuffer(getattr(rows[model], kind), dtype="<f8")
            losses[model, count - len(sums) :] = sums
        return Blocks(losses, self._counted(0, count, kind=kind), np.arange(count) // self._per_step, self._steps)

    def _history(self, rows: dict[int, ModelLosses], earliest: int) -> tuple[Observation, ...]:
        """Say what each step told of ageing: the fresh model against those of the steps before."""
        observed = []
        for step in range(earliest + 1, self._steps):
            fresh = self._told(rows, step, step=step)
            older = [m for m in range(max(earliest, step - AGES_COMPARED), step) if m in rows and (m < 0) == (step < 0)]
            if fresh is None or not older:
                continue
            gains = [(self._told(rows, model, step=step) or 0.0) - fresh for model in older]
            gaps = [float(step - model) for model in older]
            end = self._start + (step + 1) * self._step
            observed.append(Observation(end=end, gain=float(np.mean(gains)), gap=float(np.mean(gaps))))
        return tuple(observed)

    def _told(self, rows: dict[int, ModelLosses], model: int, *, step: int) -> float | None:
        """Sum a model's losses on what was told in a step."""
        if model not in rows:
            return None
        sums = np.frombuffer(rows[model].told, dtype="<f8")
        first = (step - (self._steps if model >= 0 else 0)) * self._per_step + len(sums)
        return float(sums[first : first + self._per_step].sum())


def _summed(losses: np.ndarray, blocks: np.ndarray, *, first: int, last: int) -> bytes:
    inside = (blocks >= first) & (blocks < last)
    made = np.bincount(blocks[inside] - first, weights=losses[inside], minlength=last - first)
    return made.astype("<f8").tobytes()
