"""All policies on one matrix, on the same terms: what each cost, and how sure the differences are."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from kedge.domain.backtest import PolicyCost, Worst
from kedge.errors import ConfigError
from kedge.retraining.backtest.intervals import interval
from kedge.retraining.backtest.matrix import LossMatrix, Vector
from kedge.retraining.backtest.oracle import oracle
from kedge.retraining.backtest.rules import RULES
from kedge.retraining.backtest.walk import Course, WalkTerms, by_policy, every, walk

NEVER_POLICY, LEDGER, ORACLE = "never", "ledger", "oracle"
TUNED, HINDSIGHT = "best interval of the first third", "best interval in hindsight"
SHOWN_INTERVALS = (1, 2, 4, 8, 13, 26, 52)
STRETCH_STEPS = 4
"""Losses are resampled in stretches of four steps."""


def interval_name(steps: int) -> str:
    """Name the policy that trains every so many steps."""
    return "every step" if steps == 1 else f"every {steps} steps"


def courses(matrix: LossMatrix, terms: WalkTerms) -> dict[str, Course]:
    """Walk every policy through a matrix."""
    fixed = {steps: every(steps, matrix, delay=terms.delay) for steps in range(matrix.steps)}
    found = {NEVER_POLICY: fixed[0]}
    found |= {interval_name(steps): fixed[steps] for steps in SHOWN_INTERVALS if steps < matrix.steps}
    found[TUNED] = fixed[_best(fixed, matrix, terms=terms, upto=max(1, matrix.steps // 3))]
    found[HINDSIGHT] = fixed[_best(fixed, matrix, terms=terms, upto=matrix.steps)]
    found |= {name: walk(matrix, terms, rule=rule) for name, rule in RULES.items()}
    if matrix.alarms is not None:
        found["drift"] = walk(matrix, terms, rule=by_policy("drift"))
    found["risk"] = walk(matrix, terms, rule=by_policy("risk"), risk=True)
    own = terms.rules.policy
    if own not in (*found, LEDGER, "manual"):
        found[own] = walk(matrix, terms, rule=by_policy(own))
    found[LEDGER] = walk(matrix, terms, rule=by_policy(LEDGER), looks=True)
    _, best = oracle([matrix.answered.by_step], terms.price, delay=terms.delay)
    found[ORACLE] = Course(champions=tuple(model for _, model in best))
    return found


def _best(fixed: dict[int, Course], matrix: LossMatrix, *, terms: WalkTerms, upto: int) -> int:
    """Find the interval that costs least up to a step."""
    losses, steps = matrix.answered.by_step, np.arange(upto)

    def cost(course: Course) -> float:
        served = np.asarray(course.champions[:upto])
        return float(losses[served, steps].sum()) + terms.price * sum(step < upto for step in course.trainings)

    return min(fixed, key=lambda interval: cost(fixed[interval]))


def compare(matrix: LossMatrix, terms: WalkTerms, *, against: str, begins: Sequence[datetime]) -> tuple[PolicyCost, ...]:
    """Price all policies; differences are to the policy `against`, with intervals over blocks of time. Raises ConfigError
    for one that is not walked."""
    walked = courses(matrix, terms)
    if against not in walked:
        raise ConfigError(f"{against!r} is not among the policies that are walked: {', '.join(walked)}")
    never = walked[NEVER_POLICY].cost(matrix, terms)
    rival = walked[against]
    lost, paid = rival.losses(matrix), rival.paid(terms)
    per_step = matrix.answered.borders[1:] - matrix.answered.borders[:-1]
    stretch = STRETCH_STEPS * max(1, round(float(per_step.mean())))
    return tuple(
        _cost(name, course, matrix=matrix, terms=terms, never=never, lost=lost, paid=paid, stretch=stretch, begins=begins)
        for name, course in walked.items()
    )


def _cost(
    name: str,
    course: Course,
    *,
    matrix: LossMatrix,
    terms: WalkTerms,
    never: float,
    lost: Vector,
    paid: float,
    stretch: int,
    begins: Sequence[datetime],
) -> PolicyCost:
    losses = course.losses(matrix)
    more = course.paid(terms) - paid
    low, high = interval(losses - lost, stretch=stretch)
    cost = float(losses.sum()) + course.paid(terms)
    trained = course.trainings
    by_step = np.bincount(matrix.answered.step, weights=losses, minlength=matrix.steps).astype(np.float64)
    by_step[list(trained)] += terms.price
    return PolicyCost(
        policy=name,
        hindsight=name in (HINDSIGHT, ORACLE),
        cost=cost,
        loss=float(losses.sum()),
        relative=cost / never,
        difference=(float((losses - lost).sum()) + more) / never,
        low=(low + more) / never,
        high=(high + more) / never,
        trainings=len(trained),
        looks=course.looks,
        trained=tuple(begins[step] for step in trained),
        worst_step=_worst_step(losses, matrix, begins=begins),
        worst_group=_worst_group(course, matrix),
        by_step=tuple((np.cumsum(by_step) / never).tolist()),
    )


def _worst_step(losses: Vector, matrix: LossMatrix, *, begins: Sequence[datetime]) -> Worst:
    rows = matrix.answered.rows_by_step
    sums = np.bincount(matrix.answered.step, weights=losses, minlength=matrix.steps)
    means = np.where(rows > 0, sums / np.maximum(rows, 1), -np.inf)
    step = int(np.argmax(means))
    within_a_day = len(begins) > 1 and begins[1] - begins[0] < timedelta(days=1)
    name = f"{begins[step]:%Y-%m-%d %H:%M}" if within_a_day else f"{begins[step]:%Y-%m-%d}"
    return Worst(name=name, loss=float(means[step]), rows=int(rows[step]))


def _worst_group(course: Course, matrix: LossMatrix) -> Worst | None:
    served, steps = np.asarray(course.champions), np.arange(matrix.steps)
    found = [
        Worst(name=name, loss=float(group.losses[served, steps].sum() / group.rows.sum()), rows=int(group.rows.sum()))
        for name, group in matrix.groups.items()
        if group.rows.sum() > 0
    ]
    return max(found, key=lambda one: one.loss, default=None)
