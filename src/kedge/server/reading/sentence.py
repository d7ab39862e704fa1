"""The verdict sentence: is all well, and if not, what does Kedge do about it? Pure: the same scene says the same.

The first rule that holds speaks; those below it may add to the second line.

    nothing live -> nothing watched -> risk alarm -> silence -> loss unknown, above, within; on trial or not
"""

from kedge.domain.alerting import Alert, AlertKind, alert_id
from kedge.domain.rollout import Deployment, Move, RolloutLook, Strategy
from kedge.retraining.ledger import RETRAIN
from kedge.server.reading.scene import Scene
from kedge.server.reading.state import Sentence, State
from kedge.server.reading.weeks import Mean, last_week
from kedge.server.reading.wrongs import Wrong, wrongs
from kedge.web import words

_SHARES = {0.05: "a twentieth", 0.1: "a tenth", 0.25: "a quarter", 0.5: "half", 0.75: "three quarters", 1.0: "all"}
_FAILED = (AlertKind.TRAINING_FAILED, AlertKind.DATA_INVALID, AlertKind.GATE_REFUSED, AlertKind.ROLLED_BACK)


def verdict(scene: Scene) -> Sentence:
    """Say in one sentence whether all is well with a model."""
    for rule in (_nothing_live, _nothing_watched, _risk, _silence):
        spoken = rule(scene)
        if spoken is not None:
            return spoken
    return _served(scene)


def monitoring_verdict(scene: Scene) -> Sentence:
    """Say what is wrong with what is served, since when, how sure and how bad, what Kedge did, and what it will do."""
    for rule in (_nothing_live, _nothing_watched, _silence):
        spoken = rule(scene)
        if spoken is not None:
            return spoken
    found = wrongs(scene)
    if not found:
        return _served(scene)
    worst, more = found[0], found[1:]
    state = worst.state
    say = worst.say if worst.kind == "risk" else worst.say[:1].upper() + worst.say[1:]  # "v5" is a name
    say = f"{say}{_since(worst, scene)}: {worst.bad}"
    if state is not State.ALARM:
        live_state, live = _loss(scene)
        say = f"{say}; {live}" if live_state is not State.HOLDS else f"{say}; the loss is unknown yet"
    second = [words.sentence(f"How sure: {worst.sure}")]
    if more:
        second.append(words.sentence(f"Besides, {'; '.join(f'{one.say}{_since(one, scene)}' for one in more)}"))
    second += [_done(scene, worst), retraining_line(scene)]
    return Sentence(state=state, say=f"{say}.", sub=" ".join(line for line in second if line))


def _since(wrong: Wrong, scene: Scene) -> str:
    return f" since {words.day(wrong.since, scene.now)}" if wrong.since is not None else ""


def _done(scene: Scene, worst: Wrong) -> str:
    """Say what Kedge did: whom it told, what it put on trial."""
    done = [f"told people on {words.day(worst.told_at, scene.now)}"] if worst.told_at is not None else []
    deployment = scene.deployment
    if deployment is not None and deployment.challenger is not None:
        done.append(f"put v{deployment.challenger} on trial with {traffic(deployment)}")
    return words.sentence(f"Kedge {' and '.join(done)}") if done else ""


def _nothing_live(scene: Scene) -> Sentence | None:
    if scene.deployment is not None:
        return None
    failed = next((alert for alert in scene.alerts if alert.kind in _FAILED), None)
    if failed is not None:
        return Sentence(
            state=State.ALARM,
            say="Nothing is live: the first turn of the loop did not get through.",
            sub=words.sentence(failed.message),
        )
    return Sentence(
        state=State.IDLE,
        say="Nothing is live yet: the loop has not turned.",
        sub="A first turn reads the source, trains a model, judges it at the gate and puts it live.",
    )


def _nothing_watched(scene: Scene) -> Sentence | None:
    deployment, health = scene.deployment, scene.health
    if deployment is None or (health is not None and scene.missed < 3):
        return None
    if health is None:
        return Sentence(
            state=State.HOLDS,
            say=f"v{deployment.champion} is live; its first window has not closed.",
            sub=f"A window lasts {_span(scene)}. Until one has closed there is no evidence for or against this version.",
        )
    return Sentence(
        state=State.WATCH,
        say=f"Nobody watches v{deployment.champion}: the last window closed on {words.long_day(health.window.end)}.",
        sub=f"{words.many(scene.missed, 'window')} should have closed since. The figures below are from that day; "
        "they say nothing of today.",
    )


def _risk(scene: Scene) -> Sentence | None:
    risk, deployment = scene.health.risk if scene.health else None, scene.deployment
    if risk is None or deployment is None or not risk.alarm:
        return None
    say = f"v{deployment.champion} loses more than you accepted: {words.loss(risk.mean)} against {words.loss(risk.limit)}"
    return Sentence(
        state=State.ALARM,
        say=f"{say}{_relief(scene)}.",
        sub=f"With the declared certainty its loss is at least {words.loss(risk.lower)}. An alarm tells people; "
        f"it retrains nothing. {retraining_line(scene)}",
    )


def _relief(scene: Scene) -> str:
    deployment = scene.deployment
    if deployment is None or deployment.challenger is None:
        return ""
    return f"; v{deployment.challenger} is on trial to replace it"


def _silence(scene: Scene) -> Sentence | None:
    health, deployment = scene.health, scene.deployment
    if health is None or deployment is None or health.rows:
        return None
    plane = health.operations.plane if health.operations is not None else None
    if health.answered or (plane is not None and plane.rows):
        return Sentence(
            state=State.ALARM,
            say=f"v{deployment.champion} answers, and the prediction log has nothing of the last window.",
            sub="What is in no log is in no figure, so rollouts and retraining hold. See the server's own log for why.",
        )
    told = alert_id(health.model, AlertKind.SILENCE, subject="predictions") in health.standing
    loud = told or scene.recent(AlertKind.SILENCE) is not None
    rest = "" if loud else " A silence as long as this is usual here, or none was seen yet to tell: nobody was told."
    return Sentence(
        state=State.ALARM if loud else State.HOLDS,
        say=f"v{deployment.champion} is loaded but nobody asks it: no prediction in the last window.",
        sub=f"Without predictions there is no evidence, so rollouts and retraining hold.{rest}",
    )


def _served(scene: Scene) -> Sentence:
    state, live = _loss(scene)
    failed = scene.recent(*_FAILED)
    second = [words.sentence(failed.message)] if failed else []
    found = wrongs(scene)
    if state is State.WELL and (failed or found):
        state = State.WATCH
    second += [_besides(scene, found), retraining_line(scene)]
    opening = "All is well: " if state is State.WELL else ""
    say = f"{opening}{live}{_trial(scene)}"
    return Sentence(
        state=state,
        say=f"{say[:1].upper() if say[:1] not in 'v' else 'v'}{say[1:]}.",
        sub=" ".join(line for line in second if line),
    )


def _loss(scene: Scene) -> tuple[State, str]:
    deployment, risk = scene.deployment, scene.health.risk if scene.health else None
    version = f"v{deployment.champion}" if deployment else "the model"
    recent = last_week(scene, deployment.champion) if deployment else None
    if recent is None:
        return State.HOLDS, f"{version} answers, but no ground truth has come yet, so its loss is unknown"
    if risk is None:
        return State.WELL, f"{version} answers at a loss of {words.loss(recent.loss)}; a limit is still being learnt"
    if recent.loss > risk.limit:
        return (
            State.WATCH,
            f"{version} is above the loss you accepted, {_beside(recent, risk.limit)}, but not yet with certainty",
        )
    return State.WELL, f"{version} is within the loss you accepted, {_beside(recent, risk.limit)}"


def _beside(recent: Mean, limit: float) -> str:
    return f"{words.loss(recent.loss)} against {words.loss(limit)}"


def _trial(scene: Scene) -> str:
    deployment = scene.deployment
    if deployment is None or deployment.challenger is None:
        return ", and nothing is on trial"
    if deployment.strategy is Strategy.SHADOW:
        return f", and v{deployment.challenger} is on trial in its shadow"
    return f", and v{deployment.challenger} is on trial with {traffic(deployment)}"


def share(part: float) -> str:
    """Write a share of traffic as a sentence does."""
    return _SHARES.get(round(part, 4), f"{words.percent(part)} %")


def traffic(deployment: Deployment) -> str:
    """Say what of the traffic a version on trial gets: a share, or as a shadow a copy."""
    return f"{'a copy' if deployment.strategy is Strategy.SHADOW else share(deployment.share)} of the traffic"


def _besides(scene: Scene, found: tuple[Wrong, ...]) -> str:
    """Name what else is wrong; that features moved is no reason to train."""
    if not found:
        return ""
    said = words.sentence("; ".join(f"{one.say}{_since(one, scene)}" for one in found))
    only = found[0].kind == "data_drift" and len(found) == 1
    return f"{said[:-1]}; drift alone retrains nothing." if only else said


def retraining_line(scene: Scene) -> str:
    """Say where retraining stands, in one sentence."""
    entry = scene.entry
    policy = scene.spec.retraining.policy
    if policy in ("never", "manual"):
        return "Retraining waits for a person." if policy == "manual" else "This project never retrains."
    if entry is None:
        return ""
    if entry.decision == RETRAIN:
        if scene.stopped:
            return f"Retraining was ordered, {_stopped(scene.stopped)}."
        return f"Retraining was ordered: {scene.ended.words}." if scene.ended else "Retraining was ordered."
    if policy == "ledger" and entry.price > 0:
        return f"Retraining holds: regret stands at {words.number(entry.regret)} of {words.number(entry.price)}."
    return words.sentence(entry.reason)


def _stopped(alert: Alert) -> str:
    said = {
        AlertKind.GATE_REFUSED: "but the gate let no candidate pass",
        AlertKind.DATA_INVALID: "but the data is not valid",
    }
    return said.get(alert.kind, "but the training failed")


def _span(scene: Scene) -> str:
    return words.duration(scene.window.total_seconds())


def trial_verdict(scene: Scene) -> Sentence:
    """Say how a model's trial stands; without a trial, how its champion does."""
    deployment = scene.deployment
    if deployment is None or deployment.challenger is None:
        return verdict(scene)
    looks = scene.trial_looks
    look = looks[-1] if looks else None
    opening = f"v{deployment.challenger} is on trial with {traffic(deployment)}"
    if look is None:
        say = f"{opening}; nobody has looked at it yet."
    elif look.move is Move.ROLL_BACK:
        say = f"v{look.challenger} is being rolled back: {look.reason}."
    else:
        say = f"{opening}; {_so_far(looks, deployment.champion)}."
    return Sentence(
        state=State.TRIAL,
        say=say,
        sub=f"v{deployment.champion} stays loaded, so going back is one pointer swap. "
        f"{words.sentence(look.reason) if look else ''}".strip(),
    )


def _so_far(looks: tuple[RolloutLook, ...], champion: int) -> str:
    difference = next((look.difference for look in reversed(looks) if look.difference is not None), None)
    if difference is None:
        labels = next((look.labels for look in reversed(looks) if not look.live), 0)
        return (
            f"{words.many(labels, 'label')} so far, too few beside v{champion} to compare"
            if labels
            else "no labels have come for it yet"
        )
    if difference < 0:
        return f"so far it loses {words.loss(-difference)} less than v{champion}"
    return f"so far it loses {words.loss(difference)} more than v{champion}, no harm shown"
