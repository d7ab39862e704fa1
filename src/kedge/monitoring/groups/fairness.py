"""Fairness of a window: what each group got in it and lately, how far apart groups are, and which gap is beyond doubt.

Only the champion's answers count. The state is the last eight weeks' sums by day and group; with another champion it
starts anew. An alarm rings once, and again in another episode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from kedge.domain.evaluation import Task
from kedge.domain.fairness import CROSS, Fairness, Gap, GroupMeasure, crossed
from kedge.domain.project import ProjectSpec
from kedge.monitoring.context import ContextRows
from kedge.monitoring.groups.counts import bins_of, measures_of, sums_of
from kedge.monitoring.groups.days import (
    ANSWERS,
    CHOSEN,
    FALSE_ALARMS,
    HALF_LIFE_DAYS,
    HITS,
    LABELLED,
    LOSS,
    POSITIVES,
    ROWS,
    TOLD,
    TRUTH,
    FairnessState,
    GroupDays,
    folded,
)
from kedge.monitoring.groups.evidence import bounded_evidence, free_evidence, strongest
from kedge.monitoring.groups.gaps import RATES, gap_of, judged_by, over
from kedge.monitoring.groups.labels import Grouped
from kedge.monitoring.sequential import alarm_limit, starts_of

Unhashed = Callable[[str], Mapping[str, str]]
"""Gives, for a column, the names of its categories by their hashes."""

SHOWN = {
    Task.CLASSIFICATION: ("demographic_parity", "equal_opportunity", "equalized_odds", "calibration", "loss"),
    Task.REGRESSION: ("mean_error", "mean_answer", "loss"),
}


def limits_of(spec: ProjectSpec) -> dict[tuple[str, str], float]:
    """Give the declared limits by measure and column: those of the gate's fairness checks, then those of monitoring."""
    gate = {
        (check.fairness, check.by): check.at_most
        for check in spec.gate.checks
        if check.fairness is not None and check.by is not None and check.at_most is not None
    }
    declared = spec.monitoring.fairness
    own = {(measure, column): limit for column in columns_of(spec) for measure, limit in declared.items()}
    return {**gate, **own}


def columns_of(spec: ProjectSpec) -> tuple[str, ...]:
    """List the columns and intersections whose groups are watched."""
    by_gate = [check.by for check in spec.gate.checks if check.fairness is not None and check.by is not None]
    return crossed((*spec.monitoring.groups, *by_gate), spec.monitoring.intersections)


def read_by(spec: ProjectSpec) -> frozenset[str]:
    """Name the columns of the log that this reads."""
    return frozenset(name for column in columns_of(spec) for name in column.split(CROSS))


def fairness_of(
    spec: ProjectSpec,
    state: FairnessState,
    *,
    version: int,
    answered: ContextRows,
    labelled: ContextRows,
    first_day: int,
    last_day: int,
    unhashed: Unhashed,
) -> Fairness | None:
    """Measure a window that reaches from the day `first_day` to `last_day` (the newest that has closed); None where no
    groups are declared."""
    columns = columns_of(spec)
    if not columns:
        return None
    state.begin(version, first_day)
    state.columns = {name: state.columns.get(name) or GroupDays(name) for name in columns}
    limits, told = limits_of(spec), _Told(spec)
    hidden = {name: unhashed(name) for name in sorted(answered.hidden | labelled.hidden)}
    answered, labelled = answered.of(version), labelled.of(version).since(first_day)
    grouped = (Grouped(answered.columns, hidden), Grouped(labelled.columns, hidden))
    for column in columns:
        if absent := told.missing(column, answered, labelled):
            told.notes.append(absent)
            continue
        _measure(
            told,
            state,
            column=column,
            answered=answered,
            labelled=labelled,
            grouped=grouped,
            last_day=last_day,
            hidden=hidden,
        )
    compared = _compared(told, state, limits=limits, last_day=last_day)
    return Fairness(
        version=version,
        window=tuple(told.window),
        window_gaps=tuple(told.window_gaps),
        recent=tuple(told.recent),
        recent_gaps=tuple(compared),
        notes=tuple(dict.fromkeys(told.notes)),
    )


class _Told:
    """What is found of a window, column by column."""

    def __init__(self, spec: ProjectSpec) -> None:
        self.spec, self.task = spec, spec.data.task
        self.window: list[GroupMeasure] = []
        self.recent: list[GroupMeasure] = []
        self.window_gaps: list[Gap] = []
        self.recent_gaps: list[Gap] = []
        self.notes: list[str] = []

    def missing(self, column: str, *rows: ContextRows) -> str:
        """Say which part of a column is in no record, if any; where there are no rows, nothing is missing."""
        gone = [
            name
            for name in column.split(CROSS)
            if any(len(each) and name in each.absent for each in rows)
            and all(name in each.absent or not len(each) for each in rows)
        ]
        return (
            f"{', '.join(gone)}: not in the prediction log, so its groups cannot be measured; have requests bring it "
            "(`request` of the feature service; `drop` keeps it from the model), and a personal column hashed or kept"
            if gone
            else ""
        )


def _measure(
    told: _Told,
    state: FairnessState,
    *,
    column: str,
    answered: ContextRows,
    labelled: ContextRows,
    grouped: tuple[Grouped, Grouped],
    last_day: int,
    hidden: Mapping[str, Mapping[str, str]],
) -> None:
    """Measure the groups of one column in the window, and add them to the days."""
    spec, task, kept = told.spec, told.task, state.columns[column]
    names, codes = _coded(column, grouped[0], labelled=grouped[1])
    days = np.unique(np.concatenate([answered.days, labelled.days]))
    sums = sums_of(answered, labelled, codes=codes, groups=len(names), days=days, threshold=spec.gate.threshold, task=task)
    bins = bins_of(labelled, codes[1], groups=len(names))
    if any(name in hidden and not hidden[name] for name in column.split(CROSS)):
        told.notes.append(f"{column} is personal and logged as a hash: its groups go by the first letters of their hashes")
    shown, totals, shown_bins = folded(names, sums.sum(axis=0), bins=bins)
    told.window += measures_of(column, shown, sums=totals, bins=shown_bins, task=task)
    told.window_gaps += [
        gap_of(measure, column, names=shown, days=totals[None], counted=totals, min_group=spec.gate.min_group)
        for measure in _measures(told, column)
    ]
    upto = max(last_day, int(days[-1]) if days.size else last_day)
    kept.add(names, sums, bins=bins, days=days, upto=upto)


def _coded(column: str, answered: Grouped, *, labelled: Grouped) -> tuple[list[str], tuple[np.ndarray, np.ndarray]]:
    """Number the rows answered and those labelled by one list of groups."""
    names, first = answered.by(column)
    more, second = labelled.by(column)
    place_of = {name: place for place, name in enumerate(names)}
    places = np.array([place_of.setdefault(name, len(place_of)) for name in more], np.int64)
    return list(place_of), (first, places[second] if len(second) else second)


def _measures(told: _Told, column: str) -> tuple[str, ...]:
    """Name the measures that are shown of a column: the task's own, and those with a limit."""
    limited = [measure for measure, of in limits_of(told.spec) if of == column and measure in RATES]
    return tuple(dict.fromkeys((*SHOWN[told.task], *limited)))


def _compared(told: _Told, state: FairnessState, *, limits: Mapping[tuple[str, str], float], last_day: int) -> Sequence[Gap]:
    """Compare the groups of the last weeks, and hold what has a limit against it."""
    found: list[tuple[Gap, int]] = []
    min_group = told.spec.gate.min_group
    for column, kept in state.columns.items():
        if not kept.names:
            continue
        days = kept.read()
        age = np.arange(days.shape[0])[::-1]
        weighted, counted = days * (0.5 ** (age / HALF_LIFE_DAYS))[:, None, None], days.sum(axis=0)
        told.recent += measures_of(
            column, kept.names, sums=_shown(weighted.sum(axis=0), counted), bins=kept.read_bins(), task=told.task
        )
        for measure in _measures(told, column):
            gap = gap_of(measure, column, names=kept.names, days=weighted, counted=counted, min_group=min_group)
            limit = limits.get((measure, column))
            pairs = 0
            if limit is not None:
                gap, pairs = _held(gap, kept, days=days, limit=limit, since=state.since, upto=last_day, min_group=min_group)
            found.append((gap, pairs))
    least = alarm_limit(told.spec.monitoring.run_length, sum(pairs for _, pairs in found))
    return [
        msgspec.structs.replace(gap, evidence_limit=least, alarm=gap.evidence >= least) if gap.limit is not None else gap
        for gap, _ in found
    ]


def _shown(weighted: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Give sums whose ratios are those of the weighted days, and whose counts of rows are the plain ones."""
    made = weighted.copy()
    for below, above in (
        (over(ROWS), (ROWS, CHOSEN, ANSWERS)),
        (over(POSITIVES), (POSITIVES, HITS)),
        (over(LABELLED, minus=POSITIVES), (FALSE_ALARMS,)),
        (over(LABELLED), (LABELLED, LOSS, TOLD, TRUTH)),
    ):
        plain, weight = counted @ below, weighted @ below
        made[:, above] *= np.divide(plain, weight, out=np.ones_like(plain), where=weight > 0)[:, None]
    return made


def _held(
    gap: Gap, kept: GroupDays, *, days: np.ndarray, limit: float, since: int, upto: int, min_group: int
) -> tuple[Gap, int]:
    """Hold a gap against its limit by the days that have closed: with its evidence, and how many pairs were compared."""
    closed = days[: max(upto - kept.first + 1, 0)]
    starts = [start - kept.first for start in starts_of(kept.first, since, upto=upto)]
    rates = RATES[gap.measure]
    judged = judged_by(rates, days.sum(axis=0), min_group=min_group)
    pairs = int(judged.sum() * (judged.sum() - 1)) * len(rates)
    gap = msgspec.structs.replace(gap, limit=limit, days=min(len(closed), upto - since + 1))
    if not pairs or not len(closed):
        return gap, pairs
    best = max(
        (
            strongest(
                (bounded_evidence if rate.bounded else free_evidence)(
                    closed @ rate.above, closed @ rate.below, limit=limit, starts=starts
                ),
                judged,
            )
            for rate in rates
        ),
        key=lambda one: one.evidence,
    )
    between = (kept.names[best.above], kept.names[best.below])
    return msgspec.structs.replace(gap, evidence=best.evidence, between=between), pairs
