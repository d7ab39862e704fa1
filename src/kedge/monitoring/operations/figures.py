"""The operations of a window, by its log: latency by stage, errors, throughput, objectives, and what is less than usual.

A request that failed as a whole is in no log: those are in what the data planes tell of themselves (`plane.py`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from kedge.domain.durations import EPOCH, seconds_of, share_of
from kedge.domain.monitoring import Window
from kedge.domain.operations import Objective, Operations, OperationsRules, PlaneFigures
from kedge.monitoring.operations.burn import SLOT_SECONDS, BurnSlots, OperationsState, burn_of
from kedge.monitoring.operations.plane import ToldOf, counts_of, figures_of, middle_of
from kedge.monitoring.operations.rhythm import Heard, hear
from kedge.monitoring.operations.times import times_of, total_seconds
from kedge.monitoring.truth.join_labels import Answered, Labelled

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SLOT = timedelta(seconds=SLOT_SECONDS)
LATENCY = {"p50": 0.5, "p95": 0.05, "p99": 0.01}
"""The share of requests that may be slower."""


class PlaneView(NamedTuple):
    """What is known of a model's data planes: what they told, the price of an hour of CPU, the rows of the window that the
    log has (None: it is sampled), and the CPU seconds of trainings."""

    model: str = ""
    told: ToldOf | None = None
    cpu_hour: float = 0.0
    in_log: int | None = None
    training_cpu_seconds: float = 0.0


class Figures(NamedTuple):
    """What was found of a window, and what was heard of each thing that comes ("predictions", "labels")."""

    operations: Operations
    heard: Mapping[str, Heard]


def operations_of(
    rules: OperationsRules,
    state: OperationsState,
    *,
    window: Window,
    answers: Sequence[Answered],
    labels: Sequence[Labelled],
    run_length: int,
    plane: PlaneView,
) -> Figures:
    """Measure a window's operations and move the state on."""
    real = [one for one in answers if one.versions]
    weights = np.array([1.0 / one.share for one in real])
    minutes: dict[int, float] = defaultdict(float)
    hours: dict[str, dict[int, float]] = {"predictions": defaultdict(float), "labels": defaultdict(float)}
    for one, weight in zip(real, weights.tolist(), strict=True):
        minutes[(one.at - EPOCH) // MINUTE] += weight
        hours["predictions"][(one.at - EPOCH) // HOUR] += len(one.versions) * weight
    for gap in answers:
        if gap.missing:
            hours["predictions"][(gap.at - EPOCH) // HOUR] += gap.missing
    first = _hour(window.start)
    for moment, count in Counter(one.label.known_at for one in labels).items():
        hours["labels"][max(_hour(moment - timedelta(microseconds=1)), first)] += count
    heard = _heard(state, hours, window=window, run_length=run_length)
    length = (window.end - window.start).total_seconds()
    return Figures(
        Operations(
            requests=round(float(weights.sum())),
            rows=round(sum(len(one.versions) / one.share for one in real)),
            errors=sum(len(one.errors) for one in real),
            missing=sum(one.missing for one in answers),
            per_second=float(weights.sum()) / length,
            peak_minute=round(max(minutes.values(), default=0)),
            times=times_of(real),
            objectives=_objectives(rules, state, answers=real, window=window, plane=plane),
            usual={what: round(one.usual) for what, one in heard.items() if one.usual},
            plane=_plane(plane, window),
            training_cpu_seconds=plane.training_cpu_seconds,
        ),
        heard,
    )


def _plane(plane: PlaneView, window: Window) -> PlaneFigures | None:
    if plane.told is None:
        return None
    return figures_of(plane.model, window, reports=plane.told.reports, cpu_hour=plane.cpu_hour, in_log=plane.in_log)


def _hour(moment: datetime) -> int:
    return (moment - EPOCH) // HOUR


def _heard(
    state: OperationsState, hours: Mapping[str, Mapping[int, float]], *, window: Window, run_length: int
) -> dict[str, Heard]:
    """Listen to whole hours; windows that are no whole number of hours say nothing of the hour that they cut."""
    heard = {}
    for what, counts in hours.items():
        kept, found = hear(
            state.rhythms.get(what, b""), counts, start=_hour(window.start), end=_hour(window.end), run_length=run_length
        )
        state.rhythms[what], heard[what] = kept, found
    return heard


class _Declared(NamedTuple):
    """An objective, with what was counted in slots of time (float64 (n,)), and what was bad of it."""

    limit: float
    budget: float
    slots: np.ndarray
    counted: np.ndarray
    bad: np.ndarray


def _objectives(
    rules: OperationsRules, state: OperationsState, *, answers: Sequence[Answered], window: Window, plane: PlaneView
) -> tuple[Objective, ...]:
    start, end = (window.start - EPOCH) // SLOT, -((EPOCH - window.end) // SLOT)  # the last slot, even if the window cuts it
    declared = {**_logged_objectives(rules, answers), **_told_objectives(rules, plane)}
    kept = {name: state.burns.get(name) for name in declared}
    state.burns = {
        name: old if old is not None and old.limit == declared[name].limit else BurnSlots(declared[name].limit)
        for name, old in kept.items()
    }
    made = []
    for name, (limit, budget, slots, counted, bad) in declared.items():
        table = state.burns[name].add(slots, counted, bad=bad, start=start, end=end)
        found = burn_of(table, budget, slots=end - start)
        total = float(counted.sum())
        made.append(
            Objective(
                name=name,
                limit=limit,
                budget=budget,
                counted=round(total),
                bad=float(bad.sum()) / total if total else 0.0,
                burn=found.days,
                worst=found.worst,
                alarm=found.alarm,
            )
        )
    return tuple(made)


def _logged_objectives(rules: OperationsRules, answers: Sequence[Answered]) -> dict[str, _Declared]:
    """Count what the log knows: how long requests took, and rows that a version failed on."""
    slots = np.array([(one.at - EPOCH) // SLOT for one in answers], np.int64)
    timed = np.array([bool(one.seconds) for one in answers], np.float64)
    seconds = np.array([total_seconds(one) for one in answers], np.float64)
    declared = {}
    for name, budget in LATENCY.items():
        if text := getattr(rules, name):
            limit = seconds_of(text)
            declared[name] = _Declared(limit, budget, slots, timed, timed * (seconds > limit))
    if rules.errors:
        rows = np.array([len(one.versions) for one in answers], np.float64)
        share = share_of(rules.errors)
        declared["errors"] = _Declared(share, share, slots, rows, np.array([len(one.errors) for one in answers], np.float64))
    return declared


def _told_objectives(rules: OperationsRules, plane: PlaneView) -> dict[str, _Declared]:
    """Count what data planes told: requests, and those that failed by us."""
    if not rules.availability or plane.told is None:
        return {}
    reports = plane.told.reports
    counts = np.array([counts_of(one, plane.model) for one in reports], np.float64).reshape(-1, 3)
    slots = np.array([(middle_of(one) - EPOCH) // SLOT for one in reports], np.int64)
    share = share_of(rules.availability)
    return {"availability": _Declared(share, 1 - share, slots, counts[:, 0], counts[:, 1])}
