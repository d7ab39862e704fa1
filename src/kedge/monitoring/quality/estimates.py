"""Estimates of each day, made when its answers are given, kept with it, and held against its truth once that is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np

from kedge.domain.evaluation import Task
from kedge.domain.project import ProjectSpec
from kedge.domain.quality import EstimateCheck
from kedge.domain.registry import ModelVersion
from kedge.errors import RequestInvalid
from kedge.evaluation.metrics import Vector
from kedge.features.encode import encode
from kedge.monitoring.quality.at_gate import AtGate
from kedge.monitoring.quality.cohorts import QualityState, block_at, starts_of, tallies_of
from kedge.monitoring.quality.expected import estimated
from kedge.monitoring.quality.measures import measured
from kedge.monitoring.served import ServedRows

MOST_ASKED = 2000
CHECKED_FROM = 0.9
"""The share of a day's truths from which on its estimates are held against them."""
MOST_CHECKED = 28


def take_estimates(
    spec: ProjectSpec,
    state: QualityState,
    *,
    served: ServedRows,
    champion: ModelVersion,
    gate: AtGate,
    unit: timedelta,
) -> dict[str, float]:
    """Estimate the quality of a window's answers of the champion, day by day, and give that of the whole window."""
    starts, of_request = starts_of(served, unit)
    of_row, mine = served.per_row(of_request), served.versions == champion.number
    found: list[tuple[dict[str, float], int]] = []
    for place, start in enumerate(starts):
        rows = np.flatnonzero(mine & (of_row == place))
        if spec.data.task is Task.CLASSIFICATION:
            estimates, count = _of_classes(served.answers[rows], gate=gate, threshold=spec.gate.threshold)
        else:
            estimates, count = _of_numbers(served, rows, champion=champion, gate=gate)
        if estimates:
            day = block_at(state, start)
            day.estimates = weighted([(day.estimates, day.estimated), (estimates, count)])
            day.estimated += count
            found.append((estimates, count))
    return weighted(found)


def _of_classes(answers: Vector, *, gate: AtGate, threshold: float) -> tuple[dict[str, float], int]:
    answers = answers[np.isfinite(answers)]
    return estimated(answers, knots=(gate.answers, gate.truths), threshold=threshold), answers.size


def _of_numbers(
    served: ServedRows, rows: np.ndarray, *, champion: ModelVersion, gate: AtGate
) -> tuple[dict[str, float], int]:
    """Ask what errors to expect about at most 2,000 rows, evenly chosen."""
    if gate.absolute is None or gate.squared is None:
        return {}, 0
    asked = rows[:: -(-rows.size // MOST_ASKED) or 1]
    asked = asked[np.isfinite(served.answers[asked])]
    if not asked.size:
        return {}, 0
    try:
        matrix = encode(champion.signature, served.shown([column.name for column in champion.signature.inputs], asked))
    except RequestInvalid:  # a value that the model reads otherwise: the drift of the window names it
        return {}, 0
    outputs = served.answers[asked]
    squared = float(gate.squared.expect(matrix, outputs).mean())
    found = {
        "absolute_error": float(gate.absolute.expect(matrix, outputs).mean()),
        "squared_error": squared,
        "rmse": float(np.sqrt(squared)),
    }
    return found, rows.size


def weighted(parts: Sequence[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    """Put estimates of parts together, by their rows; what one part lacks is taken from the others."""
    names = dict.fromkeys(name for part, rows in parts if rows for name in part)
    whole = {}
    for name in names:
        have = [(part[name], rows) for part, rows in parts if rows and name in part]
        whole[name] = sum(value * rows for value, rows in have) / sum(rows for _, rows in have)
    return whole


def check_estimates(state: QualityState, task: Task) -> tuple[EstimateCheck, ...]:
    """Hold the estimates of the days whose truth has come against it; say how far those of the last 28 days were off."""
    due = [day for day in state.days if day.estimates and day.sums and not day.checked and day.answered]
    if due:
        sums = tallies_of(due, task)
        truths = measured(task, sums, ruler=state.ruler)
        for place, day in enumerate(due):
            if sums[place, 0] < CHECKED_FROM * day.answered:
                continue
            day.checked = True
            for name, estimate in day.estimates.items():
                truth = float(truths[name][place])
                if np.isfinite(truth):
                    state.offs[name] = [*state.offs.get(name, []), estimate - truth][-MOST_CHECKED:]
    return tuple(
        EstimateCheck(
            metric=name,
            cohorts=len(offs),
            bias=float(np.mean(offs)),
            off=float(np.mean(np.abs(offs))),
            worst=float(np.max(np.abs(offs))),
        )
        for name, offs in sorted(state.offs.items())
    )
