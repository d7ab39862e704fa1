"""Live looks: judge a trial by the prediction log as it grows, without waiting for a window to close.

    log --read--> tally --guards--> odds --judge--> look and tally written together --> what it decided is done
A look is written when it decides something, and else at spans that grow with the step (2 % of its age), so a trial of a
day has a few hundred rows; in between what was read stays in memory, and is read again by whoever takes over. Labels are
not seen here: the windows' looks judge them (`room.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from kedge.domain.evaluation import Task
from kedge.domain.ids import ModelName
from kedge.domain.project import ProjectSpec
from kedge.domain.records import decode_answers
from kedge.domain.rollout import (
    PROMOTE,
    Clusters,
    Deployment,
    GuardOdds,
    Move,
    RolloutLook,
    RolloutRules,
    ShadowCompared,
    SliceLook,
    Strategy,
    TrialQuestion,
    trial_of,
)
from kedge.errors import KedgeError
from kedge.ports import Clock, Deployments, Journal, Notes
from kedge.registry.room import Registry
from kedge.rollout.evidence import (
    SURE,
    Estimate,
    difference_of,
    mixture_odds,
    paired_difference_of,
    split_odds,
    stability_of,
)
from kedge.rollout.judge import StepSeen, go_on, limit_of
from kedge.rollout.revisions import looked_event
from kedge.rollout.room import Rollout
from kedge.rollout.steps import next_of, rules_of, steps_of
from kedge.rollout.tally import Side, Tally, TallyReader, Terms

SPAN = 0.02  # of a step's age, between two looks that decide nothing
LEAST_SPAN = timedelta(seconds=5)


@dataclass(frozen=True)
class TrialSeen:
    """What a live guard looks at."""

    tally: Tally
    deployment: Deployment
    asked: Terms


def live_errors(judged: TrialSeen) -> GuardOdds | None:
    """Bet against "at most 1 % of a request's rows fail"; a row that the challenger fails on falls to the champion."""
    ours = judged.tally.ours
    if not ours.requests:
        return None
    reason = f"it failed on {ours.errors} of {ours.rows + ours.errors} rows; 1 % is allowed"
    return GuardOdds(odds=judged.tally.errors.odds, reason=reason)


def live_latency(judged: TrialSeen) -> GuardOdds | None:
    """Bet against "at most 5 % more of its requests are over the limit than of the champion's at about the same time".

    A shadow answers the champion's own requests, so nothing tells a slow shadow from a slow machine: it is shown only.
    """
    ours, limit = judged.tally.ours, judged.asked.rules.max_latency
    if not ours.requests or judged.deployment.strategy is Strategy.SHADOW:
        return None
    return GuardOdds(odds=judged.tally.latency.odds, reason=f"{ours.slow} of {ours.requests} requests took over {limit}")


def live_answers(judged: TrialSeen) -> GuardOdds | None:
    """Compare the mean answers by random groups of entities: harm is a mean far outside, not a new opinion.

    Forgiven is half a standard deviation of a yes-or-no fact with the champion's mean answer, and of numbers one standard
    deviation of the champion's own answers.
    """
    ours, theirs = judged.tally.ours, judged.tally.theirs
    shadow = judged.deployment.strategy is Strategy.SHADOW
    compare = paired_difference_of if shadow and ours.by_group == theirs.by_group else difference_of
    found = compare(_clusters(ours), _clusters(theirs))
    if found is None:
        return None
    forgiven = _forgiven(theirs, judged.asked.task)
    apart = Estimate(value=abs(found.value) - forgiven, variance=found.variance, freedom=found.freedom)
    reason = f"its mean answer is {ours.mean:.4g}, the champion's {theirs.mean:.4g}"
    return GuardOdds(odds=mixture_odds(apart, forgiven) / 2, reason=reason)


def live_disagreement(judged: TrialSeen) -> GuardOdds | None:
    """Bet against "it decides otherwise on at most so many rows"."""
    tally, most = judged.tally, judged.asked.max_disagreement
    if not most or not tally.pairs:
        return None
    reason = f"it decides otherwise on {tally.disagreed} of {tally.pairs} rows; {most} is allowed"
    return GuardOdds(odds=tally.disagreement.odds, reason=reason)


def live_slices(judged: TrialSeen) -> GuardOdds | None:
    """Bet on failures in each slice: the n-th slice seen has 1 / (n (n + 1)) of the capital, and is judged with enough
    rows."""
    least = judged.asked.rules.min_group
    found = [
        (kept.bets.odds / (place * (place + 1)), name, kept)
        for place, (name, kept) in enumerate(judged.tally.slices.items(), 1)
        if kept.rows + kept.errors >= least
    ]
    if not found:
        return None
    _, name, kept = max(found, key=lambda one: one[0])
    reason = f"where {name} it failed on {kept.errors} of {kept.rows + kept.errors} rows"
    return GuardOdds(odds=min(sum(one[0] for one in found), SURE), reason=reason)


LIVE_GUARDS: dict[str, Callable[[TrialSeen], GuardOdds | None]] = {
    "errors": live_errors,
    "latency": live_latency,
    "answers": live_answers,
    "disagreement": live_disagreement,
    "slices": live_slices,
}


class LiveLooks:
    """Look at trials by the log. One process at a time does (a lease says which); two would still count each row once."""

    def __init__(
        self, *, deployments: Deployments, notes: Notes, journal: Journal, registry: Registry, rollout: Rollout, clock: Clock
    ) -> None:
        self._deployments, self._notes, self._journal = deployments, notes, journal
        self._registry, self._rollout, self._clock = registry, rollout, clock
        self._kept: dict[ModelName, tuple[bytes | None, Tally]] = {}

    def look(self, spec: ProjectSpec, model: ModelName) -> RolloutLook | None:
        """Read what is new in the log, judge the trial, write the look where it is due and do what it decided.

        None where nothing is on trial; a look that was not due is given back and forgotten.
        """
        self._rollout.finish(spec, model)
        revisions = self._deployments.list(model)
        trial = trial_of(revisions)
        if not trial:
            self._kept.pop(model, None)
            return None
        current = trial[-1]
        asked = self._asked(spec, current)
        written, tally = self._resume(model, trial[0].revision)
        self._read(tally, asked, trial={each.revision: each for each in trial})
        self._kept[model] = (written, tally)
        look = judge_live(current, tally, asked=asked, at=self._clock.now())
        if look.move is Move.HOLD and not self._is_due(current, look):
            return look
        if self._notes.get(tally_note(model)) != written:  # another was first, or rows of it were erased: read it again
            self._kept.pop(model)
            return self.look(spec, model)
        numbered = msgspec.structs.replace(look, window=f"live-{tally.looks + 1:06d}")
        tally.looks += 1
        grown = msgspec.msgpack.encode(tally)
        event = looked_event(numbered, trial=trial[0].revision)
        self._deployments.add_look(numbered, event, note=(tally_note(model), grown))
        self._kept[model] = (grown, tally)
        self._rollout.finish(spec, model)
        return numbered

    def tally(self, model: ModelName) -> Tally | None:
        """Give what the newest written look had read; None where none was written."""
        return find_tally(self._notes, model)

    def _asked(self, spec: ProjectSpec, current: Deployment) -> Terms:
        """Say by what the rows are told apart: by the project's rules, or for another model by its own signature."""
        rules = rules_of(current, spec)
        if current.model == spec.name:
            return Terms(rules, spec.data.task, spec.gate.threshold)
        try:
            signature = self._registry.servable(current.model, current.champion).signature
        except KedgeError:
            signature = None
        return Terms(rules, signature.task if signature is not None else Task.REGRESSION)

    def _resume(self, model: ModelName, began: int) -> tuple[bytes | None, Tally]:
        """Take up the tally where the newest written look left it, or where this process has read on from there."""
        written = self._notes.get(tally_note(model))
        kept = self._kept.get(model)
        if kept is not None and kept[0] == written and kept[1].began == began:
            return kept
        tally = msgspec.msgpack.decode(written, type=Tally) if written is not None else Tally(began=began)
        # a new trial begins where the last one's looks stood: what came between belongs to no trial
        return written, tally if tally.began == began else Tally(began=began, places=tally.places)

    def _read(self, tally: Tally, asked: Terms, *, trial: dict[int, Deployment]) -> None:
        reader, first = TallyReader(tally, asked, trial=trial), next(iter(trial.values()))
        try:
            for position, payload in self._journal.scan(dict(tally.places), since=first.since):
                answers = decode_answers(payload)
                if answers.model == first.model:
                    reader.add(answers, payload)
                tally.places[position.segment] = position.end
        finally:
            reader.close()

    def _is_due(self, current: Deployment, look: RolloutLook) -> bool:
        """Say whether a look that decides nothing is to be written: the first of a revision, then at growing spans."""
        before = self._deployments.newest_look(current.model)
        if before is None or before.revision != current.revision:
            return True
        age = max(look.looked_at - current.since, timedelta())
        return look.looked_at - before.looked_at >= max(LEAST_SPAN, SPAN * age)


def judge_live(current: Deployment, tally: Tally, *, asked: Terms, at: datetime) -> RolloutLook:
    """Decide on a trial by its tally. Pure: same deployment, tally, rules and time, same look."""
    rules, judged = asked.rules, TrialSeen(tally, current, asked)
    limit = limit_of(rules)
    found = {name: one for name, guard in LIVE_GUARDS.items() if (one := guard(judged)) is not None}
    harm = [
        f"{name}: {one.reason} (odds {one.odds:.3g}, limit {limit:.3g})" for name, one in found.items() if one.odds >= limit
    ]
    odds = split_odds(tally.fresh_ours, tally.fresh, share=current.share) if tally.step == current.step else None
    if harm:
        move, reason = Move.ROLL_BACK, "; ".join(harm)
    else:
        traffic = tally.step_rows if tally.step == current.step else 0
        skew = _skew(tally, current, odds=odds, rules=rules)
        last = next_of(rules, current) == PROMOTE
        waits = rules.labels or (last and rules.question is TrialQuestion.SUPERIORITY)
        lacking = "labels have not let it go on (the windows of a project's model judge them)" if waits else None
        step = StepSeen(at=at, traffic=traffic, skew=skew, lacking=lacking)
        move, reason = go_on(current, step, rules=rules)
    ours, theirs = tally.ours, tally.theirs
    split = ours.rows + ours.errors + theirs.rows
    return RolloutLook(
        model=current.model,
        revision=current.revision,
        window="live",
        challenger=current.challenger or 0,
        step=current.step,
        share=current.share,
        move=move,
        reason=reason,
        looked_at=at,
        rows=ours.rows,
        errors=ours.errors,
        champion_rows=theirs.rows,
        share_seen=(ours.rows + ours.errors) / split if split and current.strategy is not Strategy.SHADOW else None,
        evidence=max((one.odds for one in found.values()), default=None),
        limit=limit,
        guards=found,
        live=True,
        requests=ours.requests,
        slow=ours.slow,
        overridden=tally.overridden,
        misrouted=tally.misrouted,
        entities=tally.fresh,
        split_odds=odds,
        comparison=_comparison(tally) if current.strategy is Strategy.SHADOW else None,
        slices=_slices(tally, rules.min_group),
    )


def _skew(tally: Tally, current: Deployment, *, odds: float | None, rules: RolloutRules) -> str | None:
    """Say what is wrong with the split: rows that did not go where it sends them, or another share of the entities."""
    if tally.misrouted:
        return f"{tally.misrouted} rows did not go where the split, computed again, sends them"
    steps = max(len(steps_of(rules, current.strategy)), 1)
    if odds is None or odds < steps / rules.alpha:
        return None
    return (
        f"{tally.fresh_ours} of {tally.fresh} entities came to it where {current.share:.1%} was set"
        f" (odds {odds:.3g}): the split is not followed, or is by too few values"
    )


def _comparison(tally: Tally) -> ShadowCompared:
    apart = stability_of([ours for _, ours in tally.sample], [theirs for theirs, _ in tally.sample])
    return ShadowCompared(
        rows=tally.answered,
        pairs=tally.pairs,
        disagreed=tally.disagreed,
        mean_difference=tally.ours.mean - tally.theirs.mean,
        psi=apart[0] if apart else None,
        ks=apart[1] if apart else None,
        largest=tuple(tally.largest),
    )


def _slices(tally: Tally, least: int) -> tuple[SliceLook, ...]:
    found = []
    for name, kept in tally.slices.items():
        column, _, value = name.partition("=")
        found.append(
            SliceLook(
                column=column,
                value=value,
                rows=kept.rows,
                champion_rows=kept.champion_rows,
                errors=kept.errors,
                disagreed=kept.disagreed,
                judged=kept.rows + kept.errors >= least,
            )
        )
    return tuple(found)


def _clusters(side: Side) -> Clusters:
    return Clusters(rows=side.by_group, sums=side.outputs)


def _forgiven(theirs: Side, task: Task) -> float:
    mean = theirs.mean
    if task is Task.CLASSIFICATION:
        return 0.5 * math.sqrt(max(mean * (1 - mean), 1e-6))
    return math.sqrt(max(theirs.squares / max(theirs.rows, 1) - mean * mean, 0.0))


def find_tally(notes: Notes, model: ModelName) -> Tally | None:
    """Find what the newest written live look had read."""
    written = notes.get(tally_note(model))
    return None if written is None else msgspec.msgpack.decode(written, type=Tally)


def tally_note(model: ModelName) -> str:
    """Name the note that keeps a model's tally."""
    return f"rollout:{model}:tally"
