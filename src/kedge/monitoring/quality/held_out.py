"""Quality by the hold-out alone: rows that were served a coin, whose truths the model's own decisions have not changed.

The answers are the model's own, as they stand in the log. Where a project has no hold-out, no record is read for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from kedge.domain.project import ProjectSpec
from kedge.domain.quality import HeldOutQuality
from kedge.monitoring.quality.bands import Spread, over_days
from kedge.monitoring.quality.cohorts import QualityDay, QualityState, add_held_out, held_out_of
from kedge.monitoring.quality.losses import Losses
from kedge.monitoring.quality.measures import by_row
from kedge.monitoring.quality.tally import Sums, tally


def take_held_out(
    spec: ProjectSpec,
    state: QualityState,
    *,
    losses: Losses,
    places: np.ndarray,
    starts: Sequence[datetime],
    groups: np.ndarray,
) -> np.ndarray:
    """Add those of the labelled rows at some places that were served at random to their blocks (`groups`, among the
    starts); give their places."""
    if not spec.serving.holdout and not any(day.held_out for day in state.days):
        return places[:0]
    held = losses.served.held_out[losses.place[places]]
    add_held_out(state, starts, sums=_tallied(spec, state, losses=losses, places=places[held], groups=groups[held]))
    return np.asarray(places[held])


def held_out_quality(
    spec: ProjectSpec, state: QualityState, *, losses: Losses, places: np.ndarray, days: Sequence[QualityDay]
) -> HeldOutQuality | None:
    """Measure the hold-out: its rows at some places, whose truths became known now, and that of recent days. None where
    neither has a row."""
    task, tallies = spec.data.task, held_out_of(days, spec.data.task)
    if not places.size and not len(tallies):
        return None
    known = {}
    if places.size:
        sums = _tallied(spec, state, losses=losses, places=places, groups=np.zeros(places.size, dtype=np.intp))
        y, p = losses.facts[places], losses.answers[places]
        values = by_row(task, sums, y=y, p=p, ruler=state.ruler, threshold=spec.gate.threshold)
        known = Spread(task, tallies, ruler=state.ruler).banded(values, 0, days=1)
    return HeldOutQuality(
        rows=int(places.size),
        known=known,
        recent_rows=int(tallies[:, 0].sum()),
        recent=over_days(task, tallies, ruler=state.ruler),
        days=len(tallies),
    )


def _tallied(spec: ProjectSpec, state: QualityState, *, losses: Losses, places: np.ndarray, groups: np.ndarray) -> Sums:
    """Sum up rows by group, up to the last group that has one."""
    return tally(
        spec.data.task,
        losses.facts[places],
        p=losses.answers[places],
        ruler=state.ruler,
        threshold=spec.gate.threshold,
        groups=groups,
        count=int(groups.max(initial=-1)) + 1,
    )
