"""One model's rollout: what is on trial, on which step, what the looks found guard by guard, and what waits for whom."""

from datetime import datetime, timedelta

import msgspec

from kedge.domain.durations import span_of
from kedge.domain.rollout import (
    PROMOTE,
    Deployment,
    RolloutLook,
    RolloutRules,
    ShadowCompared,
    SliceLook,
    Strategy,
    newest_trial,
)
from kedge.errors import NotFound
from kedge.rollout.judge import limit_of
from kedge.rollout.steps import hold_of, next_of, rules_of, step_name, steps_of
from kedge.server.reading.scene import Scene
from kedge.server.reading.sentence import traffic, trial_verdict
from kedge.server.reading.state import Figure, Sentence, State
from kedge.web import words

LOOKS = 15
COURSE = 300


class TrialStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the trial: its name, its state with a word, when it began, how long it lasts, and who let it begin."""

    name: str
    state: State
    word: str
    hold: str
    began: datetime | None = None
    actor: str = ""
    reason: str = ""


class GuardLine(msgspec.Struct, frozen=True, kw_only=True):
    """One guard: its odds now, in words, and over the looks (None where it had nothing to say)."""

    name: str
    odds: float
    reason: str
    course: tuple[float | None, ...]


class RolloutPage(msgspec.Struct, frozen=True, kw_only=True):
    """One model's rollout. `running` tells whether the trial shown runs now; else it is the newest one that has ended."""

    model: str
    now: datetime
    verdict: Sentence
    revision: int
    champion: int
    challenger: int | None
    running: bool
    strategy: str
    waiting: str
    paused: bool
    limit: float
    steps: tuple[TrialStep, ...]
    guards: tuple[GuardLine, ...]
    facts: tuple[Figure, ...]
    comparison: ShadowCompared | None
    slices: tuple[SliceLook, ...]
    looks: tuple[RolloutLook, ...]
    looked: int
    rules: RolloutRules


def rollout_page(scene: Scene) -> RolloutPage:
    """Describe a model's rollout. Raises NotFound where nothing is deployed."""
    newest = scene.deployment
    if newest is None:
        raise NotFound(f"nothing is deployed for model {scene.model!r}; deploy a version with: kedge deploy {scene.model}@1")
    trial = newest_trial(scene.deployments)
    shown = trial[-1] if trial else newest
    began = trial[0].revision if trial else newest.revision
    ended = next((each.revision for each in scene.deployments if each.revision > shown.revision), None)
    looks = [look for look in scene.looks if look.revision >= began and (ended is None or look.revision < ended)]
    rules = rules_of(shown, scene.spec)
    running = newest.challenger is not None
    return RolloutPage(
        model=scene.model,
        now=scene.now,
        verdict=_verdict(scene, newest, rules=rules),
        revision=newest.revision,
        champion=shown.champion,
        challenger=shown.challenger,
        running=running,
        strategy=shown.strategy.value,
        waiting=newest.waiting,
        paused=newest.paused_at is not None,
        limit=next((each.limit for each in reversed(looks) if each.limit), limit_of(rules)),
        steps=_steps(trial, rules, running=running) if trial else (),
        guards=_guards(looks),
        facts=_facts(looks) if looks else (),
        comparison=next((each.comparison for each in reversed(looks) if each.comparison), None),
        slices=next((each.slices for each in reversed(looks) if each.slices), ()),
        looks=tuple(reversed(looks[-LOOKS:])),
        looked=len(looks),
        rules=rules,
    )


def _verdict(scene: Scene, newest: Deployment, *, rules: RolloutRules) -> Sentence:
    if newest.challenger is None:
        say = f"Nothing is on trial; v{newest.champion} answers everything."
        since = f"Since {words.utc(newest.since)}, by {newest.actor}: {newest.reason}."
        return Sentence(state=State.WELL, say=say, sub=since)
    if newest.waiting:
        what = "become champion" if newest.waiting == PROMOTE else f"go on to {newest.waiting} of the traffic"
        say = f"v{newest.challenger} waits for a person to let it {what}."
        return Sentence(state=State.HOLDS, say=say, sub=words.sentence(newest.reason))
    if newest.paused_at is not None:
        say = f"The trial of v{newest.challenger} is paused, with {traffic(newest)}."
        return Sentence(state=State.HOLDS, say=say, sub=f"By {newest.actor}: {newest.reason}. Harm still ends it.")
    spoken, hold = trial_verdict(scene), hold_of(rules, newest.share)
    ends = newest.since + span_of(hold) + timedelta(seconds=newest.paused_seconds)
    left = f"Its hold of {hold} ends {words.when(ends, scene.now)}." if ends > scene.now else f"Its hold of {hold} is over."
    return msgspec.structs.replace(spoken, sub=f"{left} {spoken.sub}")


def _steps(trial: tuple[Deployment, ...], rules: RolloutRules, *, running: bool) -> tuple[TrialStep, ...]:
    newest = trial[-1]
    names = ["shadow" if newest.strategy is Strategy.SHADOW else step_name(one) for one in steps_of(rules, newest.strategy)]
    found = []
    for index, (name, part) in enumerate(zip(names, steps_of(rules, newest.strategy), strict=True)):
        first = next((each for each in trial if each.step == index), None)
        state, word = _state(index, newest, running=running)
        waits = newest.waiting and newest.step + 1 == index
        found.append(
            TrialStep(
                name=name,
                state=State.HOLDS if waits else state,
                word="waits for a person" if waits else word,
                hold=hold_of(rules, part),
                began=first.since if first else None,
                actor=first.actor if first else "",
                reason=first.reason if first else "",
            )
        )
    waits = next_of(rules, newest) == PROMOTE and bool(newest.waiting)
    word = "waits for a person" if waits else "not yet"
    if running:
        found.append(TrialStep(name="champion", state=State.HOLDS if waits else State.IDLE, word=word, hold=""))
    return tuple(found)


def _state(index: int, newest: Deployment, *, running: bool) -> tuple[State, str]:
    if index > newest.step:
        return State.IDLE, "not yet" if running else "not reached"
    if index < newest.step:
        return State.WELL, "passed"
    if not running:
        return State.IDLE, "ended here"
    return (State.HOLDS, "paused") if newest.paused_at is not None else (State.TRIAL, "on trial")


def _guards(looks: list[RolloutLook]) -> tuple[GuardLine, ...]:
    """Follow each guard over the looks, the greatest odds first; of many looks every so many."""
    every = max(1, len(looks) // COURSE)
    kept = [*looks[:-1:every], *looks[-1:]]
    newest = {name: found for look in looks for name, found in look.guards.items()}
    lines = [
        GuardLine(
            name=name,
            odds=found.odds,
            reason=found.reason,
            course=tuple(look.guards[name].odds if name in look.guards else None for look in kept),
        )
        for name, found in newest.items()
    ]
    return tuple(sorted(lines, key=lambda line: (-line.odds, line.name)))


def _facts(looks: list[RolloutLook]) -> tuple[Figure, ...]:
    """Name what was seen: the traffic by the newest live look, what the labels say by the newest window's."""
    look = next((each for each in reversed(looks) if each.live), looks[-1])
    facts = [
        Figure(name="Rows it answered", text=words.count(look.rows)),
        Figure(name="Rows it failed on", text=words.count(look.errors)),
        Figure(name="Rows of the champion", text=words.count(look.champion_rows)),
    ]
    if look.share_seen is not None:
        facts.append(Figure(name="Share seen", text=words.percent(look.share_seen), unit="%"))
    if look.live:
        facts += [
            Figure(name="Requests, over the limit", text=f"{words.count(look.requests)}, {words.count(look.slow)}"),
            *(_split(look) if look.share else ()),
            Figure(name="Rows of testers, left out", text=words.count(look.overridden)),
        ]
    return (*facts, *_labelled(next((each for each in reversed(looks) if each.days), None)))


def _split(look: RolloutLook) -> tuple[Figure, ...]:
    """Tell how traffic was split; a shadow splits none."""
    return (
        Figure(name="Entities in this step", text=words.count(look.entities)),
        Figure(name="Odds of another split", text=words.odds(look.split_odds)),
        Figure(name="Rows that went elsewhere", text=words.count(look.misrouted)),
    )


def _labelled(look: RolloutLook | None) -> list[Figure]:
    if look is None:
        return []
    facts = [Figure(name=f"Loss against the champion, {words.many(look.days, 'day')}", text=words.signed(look.difference))]
    if look.better is not None:
        facts.append(Figure(name="Odds that it is better", text=words.odds(look.better)))
    if look.value_difference is not None:
        facts.append(Figure(name="Value against the champion", text=words.signed(look.value_difference)))
    return facts
