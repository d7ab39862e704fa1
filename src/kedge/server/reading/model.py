"""One model, and one of its versions: the year's live loss, verdicts, rollout, ledger, versions, moves of its aliases."""

from datetime import datetime

import msgspec

from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.evaluation import Finding, Verdict
from kedge.domain.features import ParityReport
from kedge.domain.predictions import TruthStanding
from kedge.domain.registry import CHAMPION, AliasMove, ModelVersion, Promotion
from kedge.domain.rollout import Deployment, Move
from kedge.domain.tracking import Run
from kedge.errors import NotFound
from kedge.retraining.ledger import RETRAIN
from kedge.rollout.steps import hold_of, rules_of, steps_of
from kedge.server.reading.glance import Trial, trial
from kedge.server.reading.scene import Scene
from kedge.server.reading.sentence import trial_verdict
from kedge.server.reading.state import Sentence, State
from kedge.server.reading.weeks import Mean, Week, life_of, weeks_of
from kedge.web import words

_MARKED = (AlertKind.RISK, AlertKind.SILENCE)


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm on the figure of the year."""

    at: datetime
    kind: str
    message: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A version in the table of versions. `served_seconds`: how long it was champion; `decided_by` moved the alias to it."""

    number: int
    state: State
    word: str
    alias: str
    digest: str
    registered_at: datetime
    trained_upto: datetime
    run: str
    metric: float | None
    live: Mean | None
    served_seconds: float | None
    cpu_seconds: float | None
    decided_by: str


class RolloutStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the rollout: its share, its state, and what the newest look at it said."""

    share: float
    state: State
    say: str
    sub: str


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The regret ledger: where S stands against the price c, its course, and the steps in which it trained."""

    regret: float
    price: float
    slope: float
    gain: float
    interval: float
    decision: str
    reason: str
    decided_at: datetime
    course: tuple[float, ...]
    trained: tuple[int, ...]


class ModelPage(msgspec.Struct, frozen=True, kw_only=True):
    """One model's page."""

    model: str
    now: datetime
    metric: str
    verdict: Sentence
    champion: int | None
    challenger: int | None
    revision: int | None
    weeks: tuple[Week, ...]
    promotions: tuple[Promotion, ...]
    alarms: tuple[Mark, ...]
    judged: int | None
    gate: Verdict | None
    trial: Trial | None
    rollout: tuple[RolloutStep, ...]
    ledger: Ledger | None
    inputs: tuple[str, ...]
    parity: ParityReport | None
    truth: TruthStanding
    versions: tuple[Row, ...]
    moves: tuple[AliasMove, ...]


class VersionPage(msgspec.Struct, frozen=True, kw_only=True):
    """One version's page: the verdict that let it in, how it was made, what it did since."""

    row: Row
    verdict: Sentence
    version: ModelVersion
    run: Run | None
    moves: tuple[AliasMove, ...]
    newest: int


class ModelLine(msgspec.Struct, frozen=True, kw_only=True):
    """A model in the list of models."""

    model: str
    state: State
    say: str
    champion: int | None
    versions: int


def model_page(scene: Scene) -> ModelPage:
    """Describe one model. Raises NotFound where no version and no deployment has its name."""
    if not scene.versions and scene.model != scene.spec.name:
        raise NotFound(f"no registered model is named {scene.model!r}; /api/v1/models lists them")
    deployment, newest = scene.deployment, scene.versions[0] if scene.versions else None
    return ModelPage(
        model=scene.model,
        now=scene.now,
        metric=scene.metric,
        verdict=trial_verdict(scene),
        champion=deployment.champion if deployment else None,
        challenger=deployment.challenger if deployment else None,
        revision=deployment.revision if deployment else None,
        weeks=weeks_of(scene),
        promotions=_promotions(scene),
        alarms=tuple(_mark(alert) for alert in reversed(scene.alerts) if alert.kind in _MARKED),
        judged=newest.number if newest else None,
        gate=newest.verdict if newest else None,
        trial=trial(scene),
        rollout=_rollout(scene),
        ledger=_ledger(scene),
        inputs=tuple(column.name for column in newest.signature.inputs) if newest else (),
        parity=scene.parity,
        truth=scene.truth,
        versions=rows(scene),
        moves=tuple(reversed(scene.moves)),
    )


def version_page(scene: Scene, number: int, *, run: Run | None) -> VersionPage:
    """Describe one version. Raises NotFound."""
    version = scene.version(number)
    if version is None:
        raise NotFound(f"model {scene.model!r} has no version {number}; /api/v1/models/{scene.model} lists those it has")
    row = next(row for row in rows(scene) if row.number == number)
    moves = tuple(move for move in reversed(scene.moves) if number in (move.number, move.previous))
    return VersionPage(
        row=row, verdict=_version_verdict(row), version=version, run=run, moves=moves, newest=scene.versions[0].number
    )


def _version_verdict(row: Row) -> Sentence:
    say = {
        "live": f"v{row.number} is live: it is the champion.",
        "on trial": f"v{row.number} is on trial.",
        "replaced": f"v{row.number} was champion for {words.duration(row.served_seconds)} and has been replaced.",
        "rolled back": f"v{row.number} was on trial and was rolled back.",
    }.get(row.word, f"v{row.number} passed the gate and was never live.")
    live = f"Live loss {words.loss(row.live.loss)} over {words.many(row.live.rows, 'labelled row')}. " if row.live else ""
    return Sentence(state=row.state, say=say, sub=f"{live}Trained on rows known by {words.utc(row.trained_upto)}.")


def model_line(scene: Scene) -> ModelLine:
    """Describe one model in a line."""
    spoken = trial_verdict(scene)
    champion = scene.deployment.champion if scene.deployment else None
    return ModelLine(model=scene.model, state=spoken.state, say=spoken.say, champion=champion, versions=len(scene.versions))


def _promotions(scene: Scene) -> tuple[Promotion, ...]:
    return tuple(
        Promotion(version=move.number, at=move.moved_at, actor=move.actor, reason=move.reason)
        for move in scene.promotions
        if move.number is not None
    )


def _mark(alert: Alert) -> Mark:
    return Mark(at=alert.raised_at, kind=alert.kind.value, message=alert.message)


def rows(scene: Scene) -> tuple[Row, ...]:
    """List the versions, newest first."""
    runs = {run.id: run for run in scene.runs}
    return tuple(_row(scene, version, run=runs.get(version.run)) for version in scene.versions)


def _row(scene: Scene, version: ModelVersion, *, run: Run | None) -> Row:
    state, word = _state(scene, version.number)
    move = next((move for move in reversed(scene.promotions) if move.number == version.number), None)
    return Row(
        number=version.number,
        state=state,
        word=word,
        alias={"live": CHAMPION, "on trial": "challenger"}.get(word, ""),
        digest=version.digest,
        registered_at=version.registered_at,
        trained_upto=version.trained_upto,
        run=version.run,
        metric=_gate_loss(scene, version, run=run),
        live=life_of(scene.blocks, version.number),
        served_seconds=_served(scene, version.number),
        cpu_seconds=run.usage.cpu_seconds if run else None,
        decided_by=move.actor if move else "",
    )


def _state(scene: Scene, number: int) -> tuple[State, str]:
    deployment = scene.deployment
    if deployment is not None and number == deployment.champion:
        return State.WELL, "live"
    if deployment is not None and number == deployment.challenger:
        return State.TRIAL, "on trial"
    if any(move.number == number for move in scene.promotions):
        return State.IDLE, "replaced"
    if any(look.challenger == number and look.move is Move.ROLL_BACK for look in scene.looks):
        return State.WATCH, "rolled back"
    return State.IDLE, "never live"


def _gate_loss(scene: Scene, version: ModelVersion, *, run: Run | None) -> float | None:
    metric = scene.metric
    if run is not None and metric in run.metrics:
        return run.metrics[metric]
    wanted: list[Finding] = [one for one in version.verdict.findings if one.check.startswith(("baseline", "beats", metric))]
    return wanted[0].measured if wanted else None


def _served(scene: Scene, number: int) -> float | None:
    """Sum the time that a version was champion; an open span runs to the end of the newest window, or to now."""
    total, found = 0.0, False
    until = scene.health.window.end if scene.health else scene.now
    for index, deployment in enumerate(scene.deployments):
        if deployment.champion == number:
            end = scene.deployments[index + 1].since if index + 1 < len(scene.deployments) else max(until, deployment.since)
            total, found = total + max(0.0, (end - deployment.since).total_seconds()), True
    return total if found else None


def _rollout(scene: Scene) -> tuple[RolloutStep, ...]:
    deployment = scene.deployment
    if deployment is None or deployment.challenger is None:
        return ()
    shares = steps_of(rules_of(deployment, scene.spec), deployment.strategy)
    return tuple(_step(scene, deployment, index=index, share=share) for index, share in enumerate(shares))


def _step(scene: Scene, deployment: Deployment, *, index: int, share: float) -> RolloutStep:
    looks = [look for look in scene.trial_looks if look.step == index]
    look = looks[-1] if looks else None
    if index > deployment.step:
        say = (
            f"Then v{deployment.challenger} is champion; v{deployment.champion} stays loaded" if share >= 1 else "Not begun"
        )
        return RolloutStep(
            share=share,
            state=State.IDLE,
            say=say,
            sub="one pointer swap back" if share >= 1 else f"hold {hold_of(rules_of(deployment, scene.spec), share)}",
        )
    if look is None:
        return RolloutStep(
            share=share, state=State.TRIAL, say="Running; no look yet", sub=f"since {words.utc(deployment.since)}"
        )
    seen = (
        f"{words.many(look.rows, 'prediction')}, {words.many(look.errors, 'error')}, {words.many(look.days, 'labelled day')}"
    )
    state = State.TRIAL if index == deployment.step else State.WELL
    return RolloutStep(share=share, state=state, say=words.sentence(look.reason), sub=seen)


def _ledger(scene: Scene) -> Ledger | None:
    entry = scene.entry
    if entry is None:
        return None
    return Ledger(
        regret=entry.regret,
        price=entry.price,
        slope=entry.slope,
        gain=entry.gain,
        interval=entry.interval,
        decision=entry.decision,
        reason=entry.reason,
        decided_at=entry.decided_at,
        course=tuple(one.regret for one in scene.entries),
        trained=tuple(index for index, one in enumerate(scene.entries) if one.decision == RETRAIN),
    )
