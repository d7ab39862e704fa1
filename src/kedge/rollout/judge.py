"""Judge a rollout: the gate proves, the rollout guards. Pure: same deployment, health, rules and looks, same decision.

harm shown by a guard                     -> roll back (also while paused or waiting for a person)
a person is asked for, or has paused it   -> hold
no traffic in this step                   -> hold      (no evidence is never "go on"; after `max_age` a person is asked)
another share of rows than was set        -> hold      (a fault of the split, not of the challenger)
the step has not lasted its hold          -> hold
what comes next waits for a person        -> ask
else                                      -> advance; after the last step, promote
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kedge.domain.durations import span_of
from kedge.domain.evaluation import Task
from kedge.domain.monitoring import Block, Health, VersionHealth
from kedge.domain.rollout import PROMOTE, Deployment, Move, RolloutLook, RolloutRules, Strategy, TrialQuestion
from kedge.rollout.evidence import stratified
from kedge.rollout.guards import FEWEST_LABELS, GUARDS, Seen, better_odds, cells_of, paired_days
from kedge.rollout.steps import hold_of, next_of, steps_of, waits_for_person

ALIKE_ROWS = 10  # rows of one entity go to one side: so many rows count as one draw in the check of the split
GUARD_COUNT = 11  # of the windows' looks and the live ones together: each has its part of the level


def limit_of(rules: RolloutRules) -> float:
    """Give the odds at which one guard ends a trial: all guards together pass theirs by chance with at most `alpha`."""
    return GUARD_COUNT / rules.alpha


@dataclass(frozen=True, kw_only=True)
class StepSeen:
    """What decides about a step that no guard accuses: when it is looked at, the challenger's rows in it so far, what is
    wrong with the split, and which evidence is lacking to go on: a person is asked where it does not come."""

    at: datetime
    traffic: int
    skew: str | None = None
    lacking: str | None = None


def judge(
    deployment: Deployment,
    health: Health,
    *,
    rules: RolloutRules,
    task: Task,
    metric: str,
    before: Sequence[RolloutLook],
    looked_at: datetime,
) -> RolloutLook:
    """Decide on a deployment on trial by one window's health; `before` are the looks at the same challenger so far."""
    if deployment.challenger is None:
        raise ValueError(f"revision {deployment.revision} of {deployment.model!r} has no challenger to judge")
    seen = Seen(
        challenger=_side(health, deployment.challenger),
        champion=_side(health, deployment.champion),
        before=before,
        blocks=health.blocks,
        rules=rules,
        task=task,
        metric=metric,
        groups=health.groups,
        shadow=deployment.strategy is Strategy.SHADOW,
    )
    limit = limit_of(rules)
    found = {name: odds for name, guard in GUARDS.items() if (odds := guard(seen)) is not None}
    harm = [
        f"{name}: {odds.reason} (odds {odds.odds:.3g}, limit {limit:.3g})"
        for name, odds in found.items()
        if odds.odds >= limit
    ]
    move, reason = (Move.ROLL_BACK, "; ".join(harm)) if harm else _without_harm(deployment, health, rules=rules, seen=seen)
    days = paired_days(health.blocks, seen.challenger.version, champion=seen.champion.version)
    return RolloutLook(
        model=deployment.model,
        revision=deployment.revision,
        window=health.window.id,
        challenger=deployment.challenger,
        step=deployment.step,
        share=deployment.share,
        move=move,
        reason=reason,
        looked_at=looked_at,
        rows=seen.challenger.rows,
        share_seen=_share_seen(deployment, seen),
        errors=seen.challenger.errors,
        days=len(days),
        difference=_difference(days),
        evidence=max((odds.odds for odds in found.values()), default=None),
        limit=limit,
        upto=health.window.end,
        champion_rows=seen.champion.rows,
        champion_errors=seen.champion.errors,
        labels=labels_of(seen),
        better=better_odds(seen) if rules.question is TrialQuestion.SUPERIORITY else None,
        value_difference=_value_difference(seen),
        guards=found,
    )


def _without_harm(deployment: Deployment, health: Health, *, rules: RolloutRules, seen: Seen) -> tuple[Move, str]:
    """Decide where no guard accuses: hold, ask, advance or promote."""
    traffic = seen.challenger.rows + seen.challenger.errors
    step = [look for look in seen.before if look.step == deployment.step]
    traffic += sum(look.rows + look.errors for look in step)
    skew = _skew(deployment, health, rules=rules, seen=seen)
    lacking = lacking_of(deployment, seen)
    return go_on(deployment, StepSeen(at=health.window.end, traffic=traffic, skew=skew, lacking=lacking), rules=rules)


def lacking_of(deployment: Deployment, seen: Seen) -> str | None:
    """Say which evidence that the rules ask for is not there: labels of this step, or that the challenger is better."""
    rules, labels = seen.rules, labels_of(seen)
    before = max((look.labels for look in seen.before if look.step < deployment.step), default=0)
    if rules.labels and labels - before < FEWEST_LABELS:
        return f"it has {labels - before} labelled rows in this step, and {FEWEST_LABELS} are asked for"
    last = next_of(rules, deployment) == PROMOTE
    if rules.question is TrialQuestion.SUPERIORITY and last and (odds := better_odds(seen)) < 1 / rules.alpha:
        return f"it is not shown to be better than the champion (odds {odds:.3g}, promoted at {1 / rules.alpha:.3g})"
    return None


def labels_of(seen: Seen) -> int:
    """Count the challenger's labelled rows."""
    return sum(block.rows for block in seen.blocks if block.version == seen.challenger.version)


def go_on(deployment: Deployment, situation: StepSeen, *, rules: RolloutRules) -> tuple[Move, str]:
    """Decide about a step that no guard accuses: hold, ask a person, advance or promote."""
    name, then = _named(deployment, rules), next_of(rules, deployment)
    if deployment.waiting:
        return Move.HOLD, f"{name} waits for a person: {_going(deployment.waiting)}"
    if deployment.paused_at is not None:
        return Move.HOLD, f"{name} is paused by {deployment.actor}: {deployment.reason}"
    if deployment.step < 0 or then in deployment.approved:
        return _next(then), f"{name}: {_going(then)}"
    return _by_evidence(deployment, situation, rules=rules)


def _by_evidence(deployment: Deployment, situation: StepSeen, *, rules: RolloutRules) -> tuple[Move, str]:
    """Decide by what the step has shown, where nobody has said otherwise."""
    name, then = _named(deployment, rules), next_of(rules, deployment)
    lasted, hold = lasted_of(deployment, situation.at), hold_of(rules, deployment.share)
    if situation.traffic and situation.skew is not None:
        return Move.HOLD, f"{name}: {situation.skew}"
    if situation.traffic and lasted < span_of(hold):
        return Move.HOLD, f"{name} shows no harm; it has lasted {_spelt(lasted)} of {hold}"
    if (lacking := situation.lacking if situation.traffic else "it has had no traffic") is not None:
        return _without_evidence(f"{name}: {lacking}", then, lasted=lasted, rules=rules)
    if waits_for_person(rules, deployment.strategy, name=then):
        return Move.ASK, f"{name} showed no harm in {_spelt(lasted)}; a person decides whether {_going(then)}"
    return _next(then), f"{name} showed no harm in {_spelt(lasted)}: {_going(then)}"


def lasted_of(deployment: Deployment, at: datetime) -> timedelta:
    """Tell how long a step has lasted at a moment; the time for which it was paused does not count."""
    end = at if deployment.paused_at is None else min(at, deployment.paused_at)
    return end - deployment.since - timedelta(seconds=deployment.paused_seconds)


def _without_evidence(what: str, then: str, *, lasted: timedelta, rules: RolloutRules) -> tuple[Move, str]:
    """Hold without evidence; after the greatest age ask a person."""
    if lasted < span_of(rules.max_age):
        return Move.HOLD, f"{what}; without evidence it holds"
    lasting = f"in {_spelt(lasted)}, over the {rules.max_age} allowed"
    return Move.ASK, f"{what} {lasting}; a person decides whether {_going(then)}"


def _next(then: str) -> Move:
    return Move.PROMOTE if then == PROMOTE else Move.ADVANCE


def _going(then: str) -> str:
    """Say in words what comes next."""
    return "it becomes champion" if then == PROMOTE else f"it goes on to {then}"


def _skew(deployment: Deployment, health: Health, *, rules: RolloutRules, seen: Seen) -> str | None:
    """Say how far the rows' split is from what was set, where that is beyond chance; None where it is not.

    A Chernoff bound on a tenth of the rows at level alpha, paid for over looks by 1 / (k (k + 1)).
    """
    share, seen_share = deployment.share, _share_seen(deployment, seen)
    if seen_share is None or not 0 < share < 1 or health.window.start < deployment.since:
        return None
    looks = len(seen.before) + 1
    if health.rows / ALIKE_ROWS * _divergence(seen_share, share) < math.log(2 * looks * (looks + 1) / rules.alpha):
        return None
    column = f"[rollout] sticky = {rules.sticky!r}" if rules.sticky else "the split"
    return (
        f"{seen_share:.1%} of the rows came to it where {share:.1%} was set; {column} has too few values or is not followed"
    )


def _divergence(seen: float, share: float) -> float:
    """Give the Kullback-Leibler divergence of two shares."""
    parts = ((seen, share), (1 - seen, 1 - share))
    return sum(a * math.log(a / b) for a, b in parts if a > 0)


def _side(health: Health, version: int) -> VersionHealth:
    """Find a version in the window; all zero where it was not there."""
    silent = VersionHealth(version=version, rows=0, errors=0, mean_output=0.0, latency_seconds=0.0)
    return next((each for each in health.versions if each.version == version), silent)


def _share_seen(deployment: Deployment, seen: Seen) -> float | None:
    """Give the share of rows that came to the challenger; rows it failed on were answered by the champion."""
    total = seen.challenger.rows + seen.champion.rows
    if not total or deployment.strategy is Strategy.SHADOW:
        return None
    return min((seen.challenger.rows + seen.challenger.errors) / total, 1.0)


def _difference(days: Sequence[tuple[Block, Block]]) -> float | None:
    """Give the challenger's mean loss less the champion's over the days that both have labels of."""
    if not days:
        return None
    ours, theirs = ([pair[side] for pair in days] for side in (0, 1))
    means = [sum(block.loss for block in side) / sum(block.rows for block in side) for side in (ours, theirs)]
    return means[0] - means[1]


def _value_difference(seen: Seen) -> float | None:
    """Give the challenger's mean value less the champion's within days; None where no value is defined or known."""
    cells = cells_of(seen, value=True) if seen.rules.value else None
    found = stratified(*cells, paired=seen.shadow, scale=0.0) if cells is not None else None
    return found.value if found is not None else None


def _spelt(span: timedelta) -> str:
    """Write a duration in days, below two days in hours, below two hours in minutes, below two minutes in seconds."""
    seconds = span.total_seconds()
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def _named(deployment: Deployment, rules: RolloutRules) -> str:
    """Name a version and its step: the share of traffic, or a copy of it."""
    steps = len(steps_of(rules, deployment.strategy))
    if deployment.step < 0:
        return f"version {deployment.challenger}, loaded and without traffic"
    what = "shadow" if deployment.strategy is Strategy.SHADOW else f"{deployment.share:.0%} of traffic"
    return f"version {deployment.challenger} at step {deployment.step + 1} of {steps} ({what})"
