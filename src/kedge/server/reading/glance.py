"""The loop at a glance: verdict, stations, what is live, on trial, drifting and paid for, what happened, what comes next."""

from calendar import monthrange
from datetime import datetime
from math import log

import msgspec

from kedge.domain.monitoring import Drift
from kedge.domain.rollout import Deployment, Strategy, champion_since
from kedge.domain.tracking import RunStatus
from kedge.ports import Events
from kedge.retraining.budget import spent
from kedge.rollout.judge import limit_of
from kedge.rollout.steps import rules_of, steps_of
from kedge.server.reading.ahead import ahead
from kedge.server.reading.happened import telling
from kedge.server.reading.scene import Scene
from kedge.server.reading.sentence import verdict
from kedge.server.reading.shapes import Shape, shape_of
from kedge.server.reading.state import Figure, Happened, Next, Sentence, State, Station
from kedge.server.reading.stations import stations
from kedge.server.reading.weeks import Mean, difference, last_week, weeks_of
from kedge.web import words

_SPARK_WEEKS = 16


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The champion: its loss over the newest seven labelled days, sixteen weeks of it, its figures of the last window."""

    version: int
    state: State
    metric: str
    recent: Mean | None
    limit: float | None
    weeks: tuple[float | None, ...]
    facts: tuple[Figure, ...]
    since: datetime


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """The version on trial: its share, how far its steps are, and the evidence of harm on its way to the declared odds.

    `evidence` of harm rolls back at `limit`; `way` is log(evidence) / log(limit), in [0, 1].
    """

    version: int
    champion: int
    strategy: str
    share: float
    step: int
    steps: int
    evidence: float | None
    limit: float
    way: float
    difference: Mean | None
    facts: tuple[Figure, ...]


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A feature that moved: what of it (rank, spread, missing share, a category), its shift in ranks, its evidence, and
    the evidence window by window."""

    column: str
    what: str
    shift: float
    evidence: float
    limit: float
    alarm: bool
    course: tuple[float | None, ...]
    shape: Shape | None


class Drifts(msgspec.Struct, frozen=True, kw_only=True):
    """The features that drift, or those that moved most; and whether the model's own answers did."""

    state: State
    alarms: int
    watched: int
    answers: Moved | None
    moved: tuple[Moved, ...]


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """What training took in the month of now: hours of CPU, beside the budget and the month that is gone."""

    month: datetime
    state: State
    cpu_hours: float
    budget: float | None
    gone: float
    facts: tuple[Figure, ...]


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the first page."""

    project: str
    model: str
    now: datetime
    measured_at: datetime | None
    played: bool
    verdict: Sentence
    stations: tuple[Station, ...]
    live: Live | None
    trial: Trial | None
    drifts: Drifts
    cost: Spending
    happened: tuple[Happened, ...]
    next: tuple[Next, ...]


def glance(scene: Scene, events: Events) -> Glance:
    """Look at the whole loop once."""
    deployment = scene.deployment
    return Glance(
        project=scene.spec.name,
        model=scene.model,
        now=scene.now,
        measured_at=scene.health.window.end if scene.health else None,
        played=scene.played,
        verdict=verdict(scene),
        stations=stations(scene),
        live=None if deployment is None else _live(scene, deployment),
        trial=trial(scene),
        drifts=drifts(scene, most=3),
        cost=_cost(scene),
        happened=telling(events, scene.spec.dataset),
        next=ahead(scene),
    )


def _live(scene: Scene, deployment: Deployment) -> Live:
    risk = scene.health.risk if scene.health else None
    recent = last_week(scene, deployment.champion)
    weeks = weeks_of(scene)[-_SPARK_WEEKS:]
    return Live(
        version=deployment.champion,
        state=_live_state(recent, risk.limit if risk else None, alarm=bool(risk and risk.alarm)),
        metric=scene.metric,
        recent=recent,
        limit=risk.limit if risk else None,
        weeks=tuple(week.live.loss if week.live else None for week in weeks),
        facts=_serving(scene, deployment.champion, share=1 - _canary_share(deployment)),
        since=champion_since(scene.deployments) or deployment.since,
    )


def _live_state(recent: Mean | None, limit: float | None, *, alarm: bool) -> State:
    if alarm:
        return State.ALARM
    if recent is None:
        return State.HOLDS
    return State.WATCH if limit is not None and recent.loss > limit else State.WELL


def _canary_share(deployment: Deployment) -> float:
    return 0.0 if deployment.challenger is None or deployment.strategy is Strategy.SHADOW else deployment.share


def _serving(scene: Scene, version: int, *, share: float) -> tuple[Figure, ...]:
    facts = [Figure(name="Traffic", text=words.percent(share), unit="%")]
    health = scene.health
    seen = next((one for one in health.versions if one.version == version), None) if health else None
    if seen is None:
        return tuple(facts)
    per_window = words.duration(scene.window.total_seconds())
    latency, unit = words.duration(seen.latency_seconds).rsplit(" ", 1)
    return (
        *facts,
        Figure(name="Predictions", text=words.count(seen.rows), unit=f"in {per_window}"),
        Figure(name="Mean latency", text=latency, unit=unit),
        Figure(name="Errors", text=words.count(seen.errors), unit=""),
    )


def trial(scene: Scene) -> Trial | None:
    """Describe the version on trial, if one is."""
    deployment = scene.deployment
    if deployment is None or deployment.challenger is None:
        return None
    looks = scene.trial_looks
    look = looks[-1] if looks else None
    compared = next((each.difference for each in reversed(looks) if each.difference is not None), None)
    rules = rules_of(deployment, scene.spec)
    limit = limit_of(rules)
    steps = len(steps_of(rules, deployment.strategy))
    evidence = look.evidence if look else None
    facts = [Figure(name="Step", text=f"{deployment.step + 1} of {steps}")]
    if look is not None:
        labelled = Figure(name=f"Loss against v{deployment.champion}", text=words.signed(compared))
        seen = Figure(name="Share seen", text=words.percent(look.share_seen), unit="%")
        facts += [
            labelled,
            Figure(name="Predictions", text=words.count(look.rows)),
            seen,
            Figure(name="Errors", text=words.count(look.errors)),
        ]
    return Trial(
        version=deployment.challenger,
        champion=deployment.champion,
        strategy=deployment.strategy.value,
        share=deployment.share,
        step=deployment.step,
        steps=steps,
        evidence=evidence,
        limit=limit,
        way=0.0 if not evidence or evidence <= 1 else min(1.0, log(evidence) / log(limit)),
        difference=difference(scene, deployment.champion, challenger=deployment.challenger),
        facts=tuple(facts),
    )


def drifts(scene: Scene, *, most: int) -> Drifts:
    """Rank the watched features: those that alarm first, then by evidence; with the course of their evidence."""
    features = scene.drift
    ranked = sorted(features, key=lambda drift: (not drift.alarm, -drift.evidence, drift.column))
    answers = scene.answers
    alarms = sum(drift.alarm for drift in features)
    watch = alarms or (answers is not None and answers.alarm)
    return Drifts(
        state=State.WATCH if watch else State.WELL if features else State.HOLDS,
        alarms=alarms,
        watched=len(features),
        answers=None if answers is None else _moved(scene, answers),
        moved=tuple(_moved(scene, drift) for drift in ranked[:most]),
    )


def _moved(scene: Scene, drift: Drift) -> Moved:
    course = []
    for health in scene.healths[-60:]:
        found = next((one for one in health.drift if one.column == drift.column), None)
        course.append(found.evidence if found else None)
    return Moved(
        column=drift.column,
        what=drift.stream,
        shift=drift.shift,
        evidence=drift.evidence,
        limit=drift.limit,
        alarm=drift.alarm,
        course=tuple(course),
        shape=shape_of(drift.column, scene.reference, now=scene.newest),
    )


def _cost(scene: Scene) -> Spending:
    taken = spent(scene.runs, scene.now)
    month, hours = taken.month, taken.cpu_hours
    runs = [run for run in scene.runs if run.started_at >= month]
    budget = scene.spec.training.budget.cpu_hours
    gone = (scene.now - month).total_seconds() / 86400 / monthrange(month.year, month.month)[1]
    used = hours / budget if budget else 0.0
    peak = max((run.usage.peak_bytes for run in runs), default=0)
    failed = sum(run.status is RunStatus.FAILED for run in runs)
    price = scene.spec.retraining.price
    memory, unit = words.size(peak).rsplit(" ", 1)
    return Spending(
        month=month,
        state=State.ALARM if used >= 1 else State.WATCH if used >= 0.8 else State.WELL,
        cpu_hours=hours,
        budget=budget,
        gone=gone,
        facts=(
            Figure(name="Training runs", text=words.count(len(runs))),
            Figure(name="Failed", text=words.count(failed)),
            Figure(name="Peak memory", text=memory, unit=unit),
            Figure(name="Price of a retraining", text=words.number(price.retrain), unit="loss"),
        ),
    )
