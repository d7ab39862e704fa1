"""What comes next: when windows and steps close, when a trial's hold ends, when the ledger will ask for a retraining."""

from datetime import datetime, timedelta

from kedge.domain.durations import roughly, span_of
from kedge.domain.rollout import Deployment
from kedge.retraining.ledger import RETRAIN, steps_left
from kedge.rollout.steps import hold_of, rules_of, steps_of
from kedge.server.reading.scene import Scene
from kedge.server.reading.state import Next
from kedge.web import words

_FAR_STEPS = 520.0


def ahead(scene: Scene) -> tuple[Next, ...]:
    """List what is to come, the people's part first."""
    if scene.deployment is None:
        return ()
    listed = (
        _waiting(scene),
        _window(scene),
        _hold(scene, scene.deployment),
        _step(scene),
        _retraining(scene),
        _cooldown(scene),
    )
    return tuple(item for item in listed if item is not None)


def _waiting(scene: Scene) -> Next:
    entry = scene.entry
    if scene.spec.retraining.policy == "manual" and entry is not None and entry.regret >= entry.price > 0:
        return Next(what="Waiting for a person", then=entry.reason)
    return Next(what="Waiting for a person", then="nothing")


def _window(scene: Scene) -> Next | None:
    if scene.health is None or scene.missed >= 3:
        return None
    closes = scene.health.window.end + scene.window * (scene.missed + 1)
    return Next(what=f"Window of {words.day(closes - scene.window, scene.now)}", then=_closes(closes, scene.now), at=closes)


def _closes(at: datetime, now: datetime) -> str:
    return f"closes at {at:%H:%M} UTC, {words.when(at, now)}"


def _hold(scene: Scene, deployment: Deployment) -> Next | None:
    if deployment.challenger is None:
        return None
    rules = rules_of(deployment, scene.spec)
    ends = deployment.since + span_of(hold_of(rules, deployment.share)) + timedelta(seconds=deployment.paused_seconds)
    steps = steps_of(rules, deployment.strategy)
    last = deployment.step + 1 >= len(steps)
    then = (
        "it takes all traffic"
        if last or steps[deployment.step + 1] >= 1
        else f"it goes to {words.percent(steps[deployment.step + 1])} %"
    )
    when = "at the next window" if ends <= scene.now else f"{words.day(ends, scene.now)} {ends:%H:%M} UTC"
    return Next(what=f"Hold of v{deployment.challenger} ends", then=f"{when}; {then} unless harm is shown", at=ends)


def _step(scene: Scene) -> Next | None:
    entry = scene.entry
    if entry is None or scene.spec.retraining.policy != "ledger":
        return None
    closes = entry.decided_at + timedelta(seconds=scene.spec.step_seconds)
    if closes + 3 * scene.window < scene.now:
        return None
    return Next(what=f"Step {entry.step + 1} of the ledger", then=_closes(closes, scene.now), at=closes)


def _retraining(scene: Scene) -> Next | None:
    entry, rules = scene.entry, scene.spec.retraining
    if entry is None or rules.policy != "ledger" or scene.missed >= 3:
        return None
    steps = steps_left(entry)
    ledger = f"regret {words.number(entry.regret)} of {words.number(entry.price)}"
    if steps == 0:
        return Next(what="Retraining", then=f"due: {ledger}{f'; {entry.bound}' if entry.bound else ''}")
    if steps > _FAR_STEPS:
        return Next(what="Retraining", then=f"not at this rate: {ledger}, and nothing is lost by waiting")
    span = timedelta(seconds=steps * scene.spec.step_seconds)
    return Next(
        what="Retraining",
        then=f"in about {roughly(span.total_seconds())} at this rate: {ledger}",
        at=entry.decided_at + span,
    )


def _cooldown(scene: Scene) -> Next | None:
    turned = next((entry for entry in reversed(scene.entries) if entry.decision == RETRAIN), None)
    if turned is None:
        return None
    ends = turned.decided_at + span_of(scene.spec.retraining.cooldown)
    if ends <= scene.now:
        return None
    return Next(what="Cool-down ends", then=f"{words.when(ends, scene.now)}; before, nothing is retrained", at=ends)
