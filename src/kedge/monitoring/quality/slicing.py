"""Quality by declared slices: those of the gate's checks and of `[monitoring] slices`, by single columns.

A slice with fewer labelled rows than the gate's `min_group` is named, not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from kedge.domain.project import ProjectSpec
from kedge.domain.quality import Banded, SliceQuality
from kedge.monitoring.columns import sighted
from kedge.monitoring.quality.bands import mean_over_days
from kedge.monitoring.quality.cohorts import QualityDay, QualityState, add_slices, heads_of
from kedge.monitoring.quality.losses import Losses
from kedge.monitoring.quality.measures import bias_of, measured_heads
from kedge.monitoring.quality.tally import Sums, head_of, tally
from kedge.monitoring.served import ServedRows

MEANS = {"log_loss": "log_loss", "brier": "brier", "squared_error": "squared", "absolute_error": "absolute"}
"""Measures that are a mean over rows, and the sum of the head that they come from: these have a band."""


def slice_columns(spec: ProjectSpec) -> tuple[str, ...]:
    """List the columns whose values are slices."""
    of_checks = (name for check in spec.gate.checks for name in check.slices)
    return tuple(dict.fromkeys((*of_checks, *spec.monitoring.slices)))


def take_slices(
    spec: ProjectSpec,
    state: QualityState,
    *,
    losses: Losses,
    places: np.ndarray,
    starts: Sequence[datetime],
    groups: np.ndarray,
) -> None:
    """Add the labelled rows at some places to their slices; `groups` are those of their blocks among the starts. A row
    without the column is in none of its slices."""
    columns = slice_columns(spec)
    if not columns or not places.size:
        return
    slices, names = _slices(losses.served, losses.place[places], columns=columns)
    at, which = np.nonzero(slices >= 0)
    rows, count = places[at], len(names)
    sums = tally(
        spec.data.task,
        losses.facts[rows],
        p=losses.answers[rows],
        ruler=state.ruler,
        threshold=spec.gate.threshold,
        groups=groups[at] * count + slices[at, which],
        count=len(starts) * count,
        cells=False,
    )
    add_slices(state, starts, heads=sums.reshape(len(starts), count, -1), names=names)


def _slices(served: ServedRows, rows: np.ndarray, *, columns: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Give the slice of some rows in each column, int (rows, columns), -1 for none; and the slices' names."""
    names: list[str] = []
    place = np.full((rows.size, len(columns)), -1, dtype=np.intp)
    for which, name in enumerate(columns):
        column = served.feature(name)
        if column is None:
            continue
        shown = np.flatnonzero(~(served.lacks(name) | served.conceals(name))[rows])
        values, codes = sighted(column.take(rows[shown]))
        place[shown, which] = codes + len(names)
        names += [f"{name}={value}" for value in values]
    return place, names


def slices_of(
    spec: ProjectSpec, state: QualityState, *, days: Sequence[QualityDay]
) -> tuple[tuple[SliceQuality, ...], tuple[str, ...]]:
    """Measure the slices over recent days; and name those with too few rows."""
    if not state.slices or not days:
        return (), ()
    task, heads = spec.data.task, heads_of(days, state, task=spec.data.task)
    whole = heads.sum(axis=0)
    rows, values, bias = whole[:, 0], measured_heads(task, whole), bias_of(task, whole)
    judged, unjudged = [], []
    for place, name in enumerate(state.slices):
        if rows[place] < max(1, spec.gate.min_group):
            unjudged += [name] if rows[place] else []
            continue
        found = {each: float(value[place]) for each, value in values.items() if np.isfinite(value[place])}
        judged.append(
            SliceQuality(
                slice=name,
                rows=int(rows[place]),
                metrics={each: _banded(spec, each, value=value, heads=heads[:, place]) for each, value in found.items()},
                bias=float(bias[place]),
            )
        )
    return tuple(judged), tuple(unjudged)


def _banded(spec: ProjectSpec, name: str, *, value: float, heads: Sums) -> Banded:
    if name not in MEANS:
        return Banded(value)
    place = head_of(spec.data.task).index(MEANS[name])
    return mean_over_days(heads[:, place], heads[:, 0]) or Banded(value)
