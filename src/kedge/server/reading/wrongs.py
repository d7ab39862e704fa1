"""What is wrong with what is served: what, since when, how sure, how bad. Worst first. Pure: the same windows say the same.

    loss above the limit > an objective of the service missed > groups treated unlike > served otherwise than trained
        > a target missed > the relation moved > features moved > answers moved
Each stands in the newest window; `since` is when it began, as the evidence tells, or the first window of its run.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from kedge.domain.fairness import Gap
from kedge.domain.monitoring import ANSWERS, Health
from kedge.domain.worth import BusinessFound
from kedge.server.reading.scene import Scene
from kedge.server.reading.state import State
from kedge.server.reading.watchlist import skewed
from kedge.web import words


class Wrong(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong: `say` as a clause ("v5 loses more than you accepted"), `sure` and `bad` as phrases; `anchor`
    is the section that shows it, `told_at` when people were told."""

    kind: str
    state: State
    say: str
    sure: str
    bad: str
    since: datetime | None
    anchor: str
    told_at: datetime | None = None


def wrongs(scene: Scene) -> tuple[Wrong, ...]:
    """List what is wrong in the newest window, worst first."""
    if scene.health is None or scene.deployment is None:
        return ()
    rules = (_risk, _operations, _fairness, _skew, _business, _concept, _data, _answers)
    found = [wrong for rule in rules for wrong in rule(scene)]
    return tuple(sorted(found, key=lambda wrong: wrong.state is not State.ALARM))


def run_start(healths: Sequence[Health], holds: Callable[[Health], bool]) -> datetime | None:
    """Say when the newest unbroken run of windows began in which something holds; None where the newest window does not."""
    began = None
    for health in reversed(healths):
        if not holds(health):
            break
        began = health.window.start
    return began


def _told(scene: Scene, *kinds: str) -> datetime | None:
    return next((alert.raised_at for alert in scene.alerts if alert.kind.value in kinds), None)


def _risk(scene: Scene) -> tuple[Wrong, ...]:
    health, deployment = scene.health, scene.deployment
    risk = health.risk if health else None
    if risk is None or deployment is None or not risk.alarm:
        return ()
    return (
        Wrong(
            kind="risk",
            state=State.ALARM,
            say=f"v{deployment.champion} loses more than you accepted",
            sure=f"with the declared certainty its loss is at least {words.loss(risk.lower)}",
            bad=f"{words.loss(risk.mean)} against {words.loss(risk.limit)}",
            since=run_start(scene.healths, lambda one: one.risk is not None and one.risk.alarm),
            anchor="loss",
            told_at=_told(scene, "risk"),
        ),
    )


def _operations(scene: Scene) -> tuple[Wrong, ...]:
    found = scene.health.operations if scene.health else None
    missed = [one for one in found.objectives if one.alarm] if found is not None else []
    if not missed:
        return ()
    worst = max(missed, key=lambda one: one.burn)
    more = f", and {words.many(len(missed) - 1, 'more objective')}" if len(missed) > 1 else ""
    return (
        Wrong(
            kind="operations",
            state=State.ALARM,
            say=f"the service misses its objective for {worst.name}{more}",
            sure=f"its budget goes {words.number(worst.burn, 2)} times faster than allowed, over three days and now",
            bad=f"{words.percent(worst.bad)} % of {words.count(worst.counted)}, {words.percent(worst.budget)} % may be",
            since=run_start(scene.healths, lambda one: _burns(one, worst.name)),
            anchor="serving",
            told_at=_told(scene, "operations"),
        ),
    )


def _burns(health: Health, name: str) -> bool:
    found = health.operations.objectives if health.operations is not None else ()
    return any(one.alarm and one.name == name for one in found)


def _fairness(scene: Scene) -> tuple[Wrong, ...]:
    health = scene.health
    gaps = [gap for gap in health.fairness.recent_gaps if gap.alarm] if health and health.fairness else []
    if not gaps:
        return ()
    worst = max(gaps, key=lambda gap: gap.evidence)
    more = f", and {words.many(len(gaps) - 1, 'more gap')}" if len(gaps) > 1 else ""
    limit = f", where {words.loss(worst.limit)} is accepted" if worst.limit is not None else ""
    return (
        Wrong(
            kind="fairness",
            state=State.ALARM,
            say=f"groups by {worst.column} are treated unlike: {between(worst)}{more}",
            sure=f"odds of {words.odds(worst.evidence)}",
            bad=f"{words.metric(worst.measure)} differs by {words.loss(worst.value)}{limit}",
            since=run_start(scene.healths, lambda one: _alarms(one, worst)),
            anchor="fairness",
            told_at=_told(scene, "fairness"),
        ),
    )


def _alarms(health: Health, gap: Gap) -> bool:
    found = health.fairness.recent_gaps if health.fairness else ()
    return any(one.alarm and (one.measure, one.column) == (gap.measure, gap.column) for one in found)


def between(gap: Gap) -> str:
    """Name the two groups that a gap lies between."""
    pair = gap.between if any(gap.between) else (gap.highest, gap.lowest)
    return f"{pair[0]} and {pair[1]}"


def _skew(scene: Scene) -> tuple[Wrong, ...]:
    skew = scene.health.skew if scene.health else None
    if skew is None or not skewed(skew):
        return ()
    names = words.listed(sorted(skew.columns, key=lambda name: (-skew.columns[name], name)))
    return (
        Wrong(
            kind="prediction_skew",
            state=State.WATCH,
            say="answers are given on other values than training would read (prediction skew)",
            sure=f"odds of {words.odds(skew.evidence)}",
            bad=f"{words.percent(skew.share)} % of the sampled rows{f', in {names}' if names else ''}",
            since=run_start(scene.healths, lambda one: skewed(one.skew)),
            anchor="skew",
            told_at=_told(scene, "prediction_skew"),
        ),
    )


def _business(scene: Scene) -> tuple[Wrong, ...]:
    missed = [one for one in scene.health.business if one.missed] if scene.health else []
    return tuple(_missed(scene, one) for one in missed)


def _missed(scene: Scene, one: BusinessFound) -> Wrong:
    def misses(health: Health) -> bool:
        return any(each.name == one.name and each.missed for each in health.business)

    return Wrong(
        kind="business",
        state=State.WATCH,
        say=f"{one.name} misses its target",
        sure=f"odds of {words.odds(one.evidence)}" if one.evidence else f"its last {one.per.value} closed",
        bad=f"{words.number(one.lately)} against {words.number(one.target)} a {one.per.value}",
        since=run_start(scene.healths, misses),
        anchor="business",
        told_at=_told(scene, "business"),
    )


def _concept(scene: Scene) -> tuple[Wrong, ...]:
    concept = scene.health.quality.concept if scene.health and scene.health.quality else None
    if concept is None or not concept.named:
        return ()
    explained = "" if concept.explained is None else f", of which moved inputs explain {words.percent(concept.explained)} %"
    return (
        Wrong(
            kind="concept_drift",
            state=State.WATCH,
            say="the relation between input and truth moved (concept drift)",
            sure=f"odds of {words.odds(concept.evidence)}",
            bad="bias moved" if concept.rise is None else f"loss rose by {words.signed(concept.rise)} a row{explained}",
            since=concept.since,
            anchor="quality",
            told_at=_told(scene, "concept_drift"),
        ),
    )


def _data(scene: Scene) -> tuple[Wrong, ...]:
    moved = [drift for drift in scene.drift if drift.alarm]
    health = scene.health
    if not moved or health is None:
        return ()
    worst = max(moved, key=lambda drift: drift.evidence)
    number, verb = words.small(len(moved)), "drifts" if len(moved) == 1 else "drift"
    known = [drift.since for drift in moved if drift.since is not None]
    run = run_start(scene.healths, lambda one: any(drift.alarm for drift in one.drift if drift.column != ANSWERS))
    return (
        Wrong(
            kind="data_drift",
            state=State.WATCH,
            say=f"{number} of {len(scene.drift)} features {verb}",
            sure=f"odds of {words.odds(worst.evidence)} for {worst.column}",
            bad=f"{worst.column} by {words.signed(worst.shift)} in ranks",
            since=min(known) if known else run,
            anchor="drift",
            told_at=_told(scene, "data_drift"),
        ),
    )


def _answers(scene: Scene) -> tuple[Wrong, ...]:
    answers = scene.answers
    if answers is None or not answers.alarm:
        return ()
    alarmed = run_start(scene.healths, lambda one: any(drift.alarm for drift in one.drift if drift.column == ANSWERS))
    return (
        Wrong(
            kind="prediction_drift",
            state=State.WATCH,
            say="the model's own answers drift",
            sure=f"odds of {words.odds(answers.evidence)}",
            bad=f"by {words.signed(answers.shift)} in ranks",
            since=answers.since or alarmed,
            anchor="drift",
            told_at=_told(scene, "prediction_drift"),
        ),
    )
