"""Business metrics of a window: what its answers were worth, the mean of the last days, and whether a target is missed.

All answers that were used count, whichever version gave them. A metric that reads `truth` counts a row on the day its
truth became known, others on the day it was answered. The first day may be half a day and is no evidence of totals.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np

from kedge.domain.evaluation import Task
from kedge.domain.project import ProjectSpec
from kedge.domain.worth import Better, BusinessFound, BusinessRules, MissedWhen, Per
from kedge.errors import RequestInvalid
from kedge.evaluation.value import columns_read, value_rows
from kedge.monitoring.columns import plain
from kedge.monitoring.context import ContextRows
from kedge.monitoring.sequential import KEPT_DAYS, alarm_limit, interval_of, mean_evidence, starts_of
from kedge.monitoring.watchable import OWN
from kedge.monitoring.worth.days import WorthDays, WorthState, table_of

MONTH_DAYS = 365.25 / 12


def read_by_worth(spec: ProjectSpec) -> frozenset[str]:
    """Name the columns of the log that the business metrics read."""
    metrics = spec.monitoring.business.values()
    return frozenset(name for rules in metrics for name in columns_read(rules.value)) - OWN


def business_of(
    spec: ProjectSpec,
    state: WorthState,
    *,
    answered: ContextRows,
    labelled: ContextRows,
    first_day: int,
    last_day: int,
) -> tuple[BusinessFound, ...]:
    """Compute each metric of a window that reaches from the day `first_day`; `last_day` is the newest that has closed."""
    declared = spec.monitoring.business
    kept = {name: state.metrics.get(name) for name in declared}
    state.metrics = {
        name: old if old is not None and old.rules.value == rules.value else WorthDays(rules, since=first_day)
        for (name, rules), old in zip(declared.items(), kept.values(), strict=True)
    }
    held = sum(rules.target is not None and rules.alarm is MissedWhen.SURE for rules in declared.values())
    limit = alarm_limit(spec.monitoring.run_length, held)
    found = []
    for name, rules in declared.items():
        days = state.metrics[name]
        days.rules = rules
        late = labelled.since(first_day)
        worth, note = _worth(rules, answered, labelled=late)
        _add(days, worth, answered=answered, first_day=first_day)
        always = _always(rules, worth, task=spec.data.task)
        found.append(_found(name, days, worth=worth, last_day=last_day, limit=limit, always=always, note=note))
    return tuple(found)


class _Worth:
    """The rows that a metric counts in a window, and what each was worth (NaN where it is not known)."""

    def __init__(self, rows: ContextRows, values: np.ndarray) -> None:
        self.rows, self.values = rows, values
        self.known = np.isfinite(values)
        self.weights = rows.weights * self.known
        self.total = float(np.sum(np.where(self.known, values, 0.0) * rows.weights))

    @property
    def mean(self) -> float | None:
        """Give the mean of a row whose worth is known."""
        known = float(self.weights.sum())
        return self.total / known if known else None


def _worth(rules: BusinessRules, answered: ContextRows, *, labelled: ContextRows) -> tuple[_Worth, str]:
    rows = labelled if "truth" in columns_read(rules.value) else answered
    gone = sorted((columns_read(rules.value) - OWN) & rows.absent)
    if gone:
        return _Worth(rows, np.full(len(rows), np.nan)), f"{', '.join(gone)}: not in the prediction log"
    try:
        return _Worth(rows, _values(rules, rows, predictions=rows.answers)), ""
    except RequestInvalid as error:
        return _Worth(rows, np.full(len(rows), np.nan)), str(error)


def _values(rules: BusinessRules, rows: ContextRows, *, predictions: np.ndarray) -> np.ndarray:
    columns = {name: plain(rows.columns[name]) for name in columns_read(rules.value) - OWN}
    return value_rows(rules.value, columns, predictions=predictions, truths=rows.facts)


def _always(rules: BusinessRules, worth: _Worth, *, task: Task) -> dict[str, float]:
    """Give what the rows would have been worth on average, had each been answered 1, or 0."""
    if task is not Task.CLASSIFICATION or "prediction" not in columns_read(rules.value) or not worth.known.any():
        return {}
    fixed = ((name, np.full(len(worth.rows), answer)) for name, answer in (("1", 1.0), ("0", 0.0)))
    means = {name: _Worth(worth.rows, _values(rules, worth.rows, predictions=given)).mean for name, given in fixed}
    return {name: mean for name, mean in means.items() if mean is not None}


def _add(days: WorthDays, worth: _Worth, *, answered: ContextRows, first_day: int) -> None:
    """Add a window to the days."""
    rows = worth.rows
    for day in np.union1d(answered.days, rows.days).tolist():
        of, counted = answered.days == day, rows.days == day
        days.add(
            int(day),
            float(answered.weights[of].sum()),
            known=float(worth.weights[counted].sum()),
            total=float(np.where(worth.known, worth.values, 0.0)[counted] @ rows.weights[counted]),
        )


def _found(
    name: str, days: WorthDays, *, worth: _Worth, last_day: int, limit: float, always: Mapping[str, float], note: str
) -> BusinessFound:
    rules = days.rules
    first = max(days.since, last_day - KEPT_DAYS + 1)
    table = table_of(days.days, first, last=last_day)
    units = _units(rules.per, table)
    if rules.per is not Per.PREDICTION and first == days.since and len(units):
        units[0] = np.nan
    known = units[np.isfinite(units)]
    interval = interval_of(units)
    rows = table[:, 0].sum()
    evidence = 0.0
    if rules.target is not None and rules.alarm is MissedWhen.SURE:
        below = (rules.target - units) if rules.better is Better.HIGHER else (units - rules.target)
        starts = [start - first for start in starts_of(first, days.since, upto=last_day)] if len(below) else []
        evidence = float(sum(mean_evidence(below[start:, None])[0] for start in starts))
    sure = rules.alarm is MissedWhen.SURE and rules.target is not None and evidence >= limit
    return BusinessFound(
        name=name,
        per=rules.per,
        better=rules.better,
        rows=round(float(worth.rows.weights.sum())),
        total=worth.total if worth.known.any() else None,
        mean=worth.mean,
        known=min(float(table[:, 1].sum() / rows), 1.0) if rows else None,
        lately=float(known.mean()) if known.size else None,
        lower=interval[0] if interval else None,
        upper=interval[1] if interval else None,
        days=int(known.size),
        month=_month(days, last_day),
        target=rules.target,
        always=dict(always),
        evidence=evidence,
        evidence_limit=limit if rules.target is not None and rules.alarm is MissedWhen.SURE else 0.0,
        missed=sure or _plainly(days, units, last_day=last_day),
        note=note,
    )


def _units(per: Per, table: np.ndarray) -> np.ndarray:
    """Give each day in the target's unit: NaN for a day without a known row, where a mean of predictions is asked for."""
    if per is Per.PREDICTION:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(table[:, 2] / np.where(table[:, 1] > 0, table[:, 1], np.nan))
    return table[:, 2] * (1.0 if per is Per.DAY else MONTH_DAYS)


def _month(days: WorthDays, last_day: int) -> float | None:
    """Sum the month of the newest closed day up to it."""
    return float(table_of(days.days, _month_start(last_day), last=last_day)[:, 2].sum()) if days.days else None


def _closed_month(days: WorthDays, last_day: int) -> float | None:
    """Sum the newest month that has closed by a day; None where its first days were not counted."""
    ends = _month_start(last_day + 1) - 1
    starts = _month_start(ends)
    return _month(days, ends) if days.since <= starts else None


def _month_start(day: int) -> int:
    return day - (date(1970, 1, 1) + timedelta(days=day)).day + 1


def _plainly(days: WorthDays, units: np.ndarray, *, last_day: int) -> bool:
    """Say whether the newest closed day misses the target; of a month's target, whether the newest closed month does."""
    rules = days.rules
    if rules.target is None or rules.alarm is not MissedWhen.PLAIN or not len(units):
        return False
    value = _closed_month(days, last_day) if rules.per is Per.MONTH else float(units[-1])
    if value is None or not np.isfinite(value):
        return False
    return value < rules.target if rules.better is Better.HIGHER else value > rules.target
