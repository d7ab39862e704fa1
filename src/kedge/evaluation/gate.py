"""The gate: a list of checks, each a pure function from evidence to a finding, joined to a verdict.

    check in kedge.toml                      asks
    beats = "baseline"                       is the mean loss below that of the best constant answer?
    not_worse_than = "champion"              is it shown, or likely, that the champion loses less? (non-inferiority)
    metric, at_least / at_most               is the measure within the limit?
    slices, metric, worst_at_least / _most   is it within the limit on the worst group?
    fairness, by, at_most                    do decisions differ little between groups?
    parity = "compiled", at_most             does a compiled form give the same answers?
No evidence is "held", never "passed". To add a check: a field in `domain.evaluation.Check`, a function here and its lines
in `CHECKS` and `FORMS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kedge.domain.evaluation import Check, Finding, GateRules, Outcome, Task, Verdict, conclude
from kedge.errors import ConfigError
from kedge.evaluation.baseline import hardest_constant
from kedge.evaluation.compare import compare
from kedge.evaluation.fairness import FAIRNESS, difference_of
from kedge.evaluation.metrics import Vector, loss_name, loss_rows, metric_of
from kedge.evaluation.parity import ComparedForm
from kedge.evaluation.slices import measure_slices, some_of

FEWEST_DAYS = 7
CERTAINTY = 1.645  # one-sided 95 % of the normal distribution
MOST_WORSE = 0.05
DEFAULT_CHECKS = (Check(beats="baseline"), Check(not_worse_than="champion"))


@dataclass(frozen=True, eq=False, kw_only=True)
class Opponent:
    """The champion on the same rows: its number and answers (None, with the problem, where it cannot answer them).
    `unseen` marks the rows that came after its training data."""

    number: int
    answers: Vector | None
    unseen: NDArray[np.bool_]
    problem: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """All that the checks look at: labels, the candidate's answers and the block (day) of each row, the values of the
    columns that checks name, the champion on the same rows, and how a compiled form compared where a check asks."""

    task: Task
    y: Vector
    answers: Vector
    blocks: NDArray[np.int64]
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    champion: Opponent | None = None
    compiled: ComparedForm | None = None


def judge(evidence: Evidence, rules: GateRules) -> Verdict:
    """Say whether the candidate may go on, and why. Pure: same evidence and rules, same verdict."""
    answers = check_answers(evidence)
    if answers.outcome is not Outcome.PASSED:
        return conclude((answers,))
    checks = rules.checks or DEFAULT_CHECKS
    return conclude((answers, *(CHECKS[form_of(check)](evidence, rules, check) for check in checks)))


def check_answers(evidence: Evidence) -> Finding:
    """Find out whether there are rows at all, and whether each answer is a number that an answer can be."""
    rows = len(evidence.y)
    if rows == 0:
        return Finding(check="answers", outcome=Outcome.HELD, reason="there are no newly labelled rows to judge on")
    wrong = ~np.isfinite(evidence.answers)
    what = "not a finite number"
    if evidence.task is Task.CLASSIFICATION:
        wrong |= (evidence.answers < 0) | (evidence.answers > 1)
        what = "not a probability"
    bad = int(wrong.sum())
    reason = f"{bad} of {rows} answers are {what}" if bad else f"all {rows} answers are usable"
    outcome = Outcome.REFUSED if bad else Outcome.PASSED
    return Finding(check="answers", outcome=outcome, reason=reason, measured=float(bad), limit=0.0, rows=rows)


def beats_baseline(evidence: Evidence, rules: GateRules, check: Check) -> Finding:
    """Find out whether the candidate loses less than the best constant answer: can the data answer the question?"""
    metric = loss_name(rules.metric, evidence.task)
    if np.ptp(evidence.y) == 0:
        reason = f"all {len(evidence.y)} labels are {evidence.y[0]:g}: a constant cannot be beaten on them"
        return Finding(check="beats baseline", outcome=Outcome.HELD, reason=reason, rows=len(evidence.y))
    loss = float(np.mean(loss_rows(metric, evidence.y, p=evidence.answers, threshold=rules.threshold)))
    baseline = hardest_constant(metric, evidence.y, threshold=rules.threshold)
    better = loss < baseline.loss
    reason = (
        f"{metric} is {loss:.4g}, {'below' if better else 'not below'} the {baseline.loss:.4g}"
        f" of always answering {baseline.answer:.3g}"
    )
    return Finding(
        check="beats baseline",
        outcome=Outcome.PASSED if better else Outcome.REFUSED,
        reason=reason,
        measured=loss,
        limit=baseline.loss,
        rows=len(evidence.y),
    )


def not_worse_than_champion(evidence: Evidence, rules: GateRules, check: Check) -> Finding:
    """Find out whether the champion loses clearly less: refuse above 1.645 standard errors of the days' means, or above
    5 % (each alone), on rows that neither has seen. Fewer than 7 days are no evidence; no champion is nothing to lose to.
    """
    name, champion = "not worse than champion", evidence.champion
    if champion is None:
        return Finding(check=name, outcome=Outcome.PASSED, reason="there is no champion yet")
    if champion.answers is None:
        return Finding(check=name, outcome=Outcome.HELD, reason=champion.problem)
    metric, rows = loss_name(rules.metric, evidence.task), champion.unseen
    days = len(np.unique(evidence.blocks[rows]))
    if days < FEWEST_DAYS:
        reason = (
            f"only {days} {'day has' if days == 1 else 'days have'} labels that champion {champion.number} has not seen,"
            f" and {FEWEST_DAYS} are needed:"
            " wait for labels, or make [retraining] step longer"
        )
        return Finding(check=name, outcome=Outcome.HELD, reason=reason, rows=int(rows.sum()))
    losses, theirs = (
        loss_rows(metric, evidence.y[rows], p=answers[rows], threshold=rules.threshold)
        for answers in (evidence.answers, champion.answers)
    )
    found = compare(losses, theirs, blocks=evidence.blocks[rows])
    limit = min(CERTAINTY * found.error, MOST_WORSE * found.reference)
    worse = found.difference > limit
    reason = (
        f"mean {metric} is {abs(found.difference):.4g} {'above' if found.difference > 0 else 'below'} champion"
        f" {champion.number}'s {found.reference:.4g} ({found.relative:+.1%}, standard error {found.error:.2g} over"
        f" {found.blocks} days); {'more' if worse else 'not more'} than {limit:.2g} above"
    )
    outcome = Outcome.REFUSED if worse else Outcome.PASSED
    return Finding(check=name, outcome=outcome, reason=reason, measured=found.difference, limit=limit, rows=found.rows)


def within_limit(evidence: Evidence, rules: GateRules, check: Check) -> Finding:
    """Find out whether a metric over all rows is within its limit."""
    metric = metric_of(check.metric or "", evidence.task)
    name, rows = f"{metric.name} {_limits(check.at_least, check.at_most)}", len(evidence.y)
    value = metric(evidence.y, evidence.answers, rules.threshold)
    if np.isnan(value):
        reason = f"{metric.name} is not defined on these {rows} rows: their labels or decisions are all the same"
        return Finding(check=name, outcome=Outcome.HELD, reason=reason, rows=rows)
    breached = _breached(value, check.at_least, at_most=check.at_most)
    reason = f"{metric.name} is {value:.4g}, {_compared(breached, check.at_least, at_most=check.at_most)}"
    return _finding(name, reason, value=value, breached=breached, fallback=_first(check.at_least, check.at_most), rows=rows)


def worst_slice_within_limit(evidence: Evidence, rules: GateRules, check: Check) -> Finding:
    """Find out whether a metric is within its limit on the group where it is worst."""
    metric = metric_of(check.metric or rules.metric, evidence.task)
    columns = {column: evidence.columns[column] for column in check.slices}
    name = f"worst {metric.name} over {', '.join(check.slices)}"
    found = measure_slices(
        metric,
        evidence.y,
        p=evidence.answers,
        columns=columns,
        threshold=rules.threshold,
        min_group=rules.min_group,
    )
    unjudged = f"; too small to judge: {some_of(found.unjudged)}" if found.unjudged else ""
    if not found.judged:
        reason = f"no group has {rules.min_group} rows on which {metric.name} is defined{unjudged}"
        return Finding(check=name, outcome=Outcome.HELD, reason=reason, rows=len(evidence.y))
    low, high = (min(found.judged, key=lambda s: s.value), max(found.judged, key=lambda s: s.value))
    limits = (check.worst_at_least, check.worst_at_most)
    worst = high if limits[0] is None or _breached(high.value, None, at_most=limits[1]) is not None else low
    breached = _breached(worst.value, limits[0], at_most=limits[1])
    compared = _compared(breached, limits[0], at_most=limits[1])
    reason = f"{metric.name} is {worst.value:.4g} where {worst.group}, {compared}{unjudged}"
    return _finding(
        name, reason, value=worst.value, breached=breached, fallback=_first(*limits), group=worst.group, rows=worst.rows
    )


def fair_between_groups(evidence: Evidence, rules: GateRules, check: Check) -> Finding:
    """Find out whether decisions differ between groups by no more than the limit."""
    name, by = f"{check.fairness} by {check.by}", check.by or ""
    found = difference_of(
        check.fairness or "",
        evidence.y,
        p=evidence.answers,
        by=by,
        values=evidence.columns[by],
        threshold=rules.threshold,
        min_group=rules.min_group,
    )
    unjudged = f"; too small to judge: {some_of(found.unjudged)}" if found.unjudged else ""
    if np.isnan(found.value):
        reason = f"fewer than two groups of {by} have the {rules.min_group} rows that count{unjudged}"
        return Finding(check=name, outcome=Outcome.HELD, reason=reason, rows=len(evidence.y))
    breached = _breached(found.value, None, at_most=check.at_most)
    reason = (
        f"{check.fairness} differs by {found.value:.3g} between {found.highest} and {found.lowest},"
        f" {_compared(breached, None, at_most=check.at_most)}{unjudged}"
    )
    return _finding(
        name, reason, value=found.value, breached=breached, fallback=check.at_most, group=found.lowest, rows=found.rows
    )


def compiled_alike(evidence: Evidence, rules: GateRules, check: Check) -> Finding:
    """Find out whether a compiled form of the candidate gives its answers, over rows at every threshold of its trees."""
    name, found, limit = "parity of the compiled form", evidence.compiled, check.at_most or 0.0
    if found is None or found.fault:
        why = found.fault if found is not None else "no compiled form is made of such a model here"
        return Finding(check=name, outcome=Outcome.HELD, reason=why, limit=limit)
    passed = found.difference <= limit
    return Finding(
        check=name,
        outcome=Outcome.PASSED if passed else Outcome.REFUSED,
        reason=f"its answers in the form {found.form} differ by at most {found.difference:.3g}, {limit:.3g} is allowed",
        measured=found.difference,
        limit=limit,
        rows=found.rows,
    )


CHECKS: dict[str, Callable[[Evidence, GateRules, Check], Finding]] = {
    "beats": beats_baseline,
    "not_worse_than": not_worse_than_champion,
    "slices": worst_slice_within_limit,
    "fairness": fair_between_groups,
    "parity": compiled_alike,
    "metric": within_limit,
}
# form -> the fields that it needs, and its limits, of which it needs one at least
FORMS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "beats": (frozenset({"beats"}), frozenset()),
    "not_worse_than": (frozenset({"not_worse_than"}), frozenset()),
    "slices": (frozenset({"slices", "metric"}), frozenset({"worst_at_least", "worst_at_most"})),
    "fairness": (frozenset({"fairness", "by", "at_most"}), frozenset()),
    "parity": (frozenset({"parity", "at_most"}), frozenset()),
    "metric": (frozenset({"metric"}), frozenset({"at_least", "at_most"})),
}
FORMS_WRITTEN = (
    'beats = "baseline"; not_worse_than = "champion"; metric with at_least or at_most; '
    "slices with metric and worst_at_least or worst_at_most; fairness with by and at_most; "
    'parity = "compiled" with at_most'
)


def form_of(check: Check) -> str:
    """Name the form of a check: the first field of `CHECKS` that it sets. ConfigError where it sets none."""
    for form in CHECKS:
        if getattr(check, form):
            return form
    raise ConfigError(f"[gate] a check sets none of {', '.join(CHECKS)}; take it out or say what it checks")


def has_one_form(check: Check) -> bool:
    """Say whether a check is written in just one of the forms, nothing of it missing and nothing over."""
    given = {name for name in check.__struct_fields__ if getattr(check, name) not in (None, ())}
    return (
        any(needs <= given <= needs | limits and (not limits or bool(given & limits)) for needs, limits in FORMS.values())
        and check.beats in (None, "baseline")
        and check.not_worse_than in (None, "champion")
        and (check.fairness is None or check.fairness in FAIRNESS)
        and check.parity in (None, "compiled")
    )


def columns_of(rules: GateRules) -> tuple[str, ...]:
    """List the columns that the checks name, each once."""
    named = [column for check in rules.checks for column in (*check.slices, *((check.by,) if check.by else ()))]
    return tuple(dict.fromkeys(named))


def require_sensible(rules: GateRules, task: Task, *, columns: Sequence[str]) -> None:
    """Stop on a check that can never be judged: ConfigError naming it and what would be right."""
    loss_name(rules.metric, task)
    for missing in (column for column in columns_of(rules) if column not in columns):
        raise ConfigError(f"[gate] a check names column {missing!r}, which the rows lack; they have: {', '.join(columns)}")
    for check in rules.checks:
        _require_complete(check, form_of(check), task=task)


def _require_complete(check: Check, form: str, *, task: Task) -> None:
    """Stop on a check whose form lacks its limit, or names something that there is not."""
    if check.metric:
        metric_of(check.metric, task)
    if form == "fairness" and (check.fairness not in FAIRNESS or task is not Task.CLASSIFICATION or not check.by):
        raise ConfigError(f"[gate] fairness is one of {', '.join(FAIRNESS)}, of a classification, and needs `by = COLUMN`")
    if (check.beats or "baseline") != "baseline" or (check.not_worse_than or "champion") != "champion":
        raise ConfigError('[gate] write beats = "baseline" or not_worse_than = "champion"')
    needed = {
        "metric": (check.at_least, check.at_most),
        "slices": (check.worst_at_least, check.worst_at_most),
        "fairness": (check.at_most,),
    }
    if form in needed and all(limit is None for limit in needed[form]):
        raise ConfigError(
            f"[gate] the check on {check.metric or check.fairness or form} has no limit; add at_most or at_least"
        )


def _first(*limits: float | None) -> float | None:
    return next((limit for limit in limits if limit is not None), None)


def _breached(value: float, at_least: float | None, *, at_most: float | None) -> float | None:
    """Give the limit that a value breaks; None where it breaks none."""
    if at_least is not None and value < at_least:
        return at_least
    return at_most if at_most is not None and value > at_most else None


def _limits(at_least: float | None, at_most: float | None) -> str:
    parts = [f"at least {at_least:g}" if at_least is not None else "", f"at most {at_most:g}" if at_most is not None else ""]
    return " and ".join(part for part in parts if part)


def _compared(breached: float | None, at_least: float | None, *, at_most: float | None) -> str:
    return f"and must be {_limits(at_least, at_most)}" if breached is not None else f"within {_limits(at_least, at_most)}"


def _finding(
    name: str, reason: str, *, value: float, breached: float | None, fallback: float | None, rows: int, group: str = ""
) -> Finding:
    outcome = Outcome.PASSED if breached is None else Outcome.REFUSED
    limit = fallback if breached is None else breached
    return Finding(check=name, outcome=outcome, reason=reason, measured=value, limit=limit, group=group, rows=rows)
