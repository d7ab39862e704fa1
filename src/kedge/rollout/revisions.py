"""The writes of a rollout: the next revision of a deployment with its event, the champion alias before it, the alerts.

    alias moved (promotion only) -> next revision written -> alert told (roll back, and where a person is asked)
Each arrow may be where the process is killed. The champion alias of the registry is the truth: a deployment that lags
behind it follows (`follow`), so there is always one champion, the old one or the new.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from kedge.domain.alerting import Alert, AlertKind, raised
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import ModelName, digest_of
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.domain.rollout import Deployment, RolloutLook, RolloutRules, trial_of
from kedge.errors import NotFound, RevisionConflict
from kedge.ports import Clock, Deployments, Watches
from kedge.registry.room import Registry
from kedge.rollout.steps import next_of, steps_of, waits_for_person

ACTOR = "policy:rollout"
TRIES = 10  # at a revision that another process may write first


class Revisions:
    """Write revisions of deployments."""

    def __init__(self, *, deployments: Deployments, registry: Registry, watches: Watches, clock: Clock) -> None:
        self._deployments, self._registry, self._watches, self._clock = deployments, registry, watches, clock

    def newest(self, model: ModelName) -> Deployment:
        """Read what is served. Raises NotFound."""
        current = self._deployments.find(model)
        if current is None:
            raise NotFound(f"nothing is deployed for model {model!r}; deploy a first version")
        return current

    def settled(self, model: ModelName, since: datetime | None = None) -> Deployment:
        """Read the deployment as the champion alias has it; again where another process wrote that revision first."""
        for _ in range(TRIES - 1):
            try:
                return self.follow(self.newest(model), since=since)
            except RevisionConflict:
                continue
        return self.follow(self.newest(model), since=since)

    def follow(self, current: Deployment, since: datetime | None = None) -> Deployment:
        """Let the deployment follow the champion alias, which may have moved without it (a kill between the two)."""
        found = self._registry.champion(current.model)
        champion = found.number if found is not None else None
        if champion is None:
            self._registry.promote(current.model, current.champion, actor=current.actor, reason=current.reason)
        if champion is None or champion == current.champion:
            return current
        move = next(each for each in reversed(self._registry.history(current.model)) if each.number == champion)
        forward = champion == current.challenger or champion > current.champion
        steady = _steady(current, champion, actor=move.actor, reason=move.reason, since=since or self._clock.now())
        kind = EventKind.MODEL_PROMOTED if forward else EventKind.MODEL_ROLLED_BACK
        verb = "is promoted over" if forward else "is champion again, instead of"
        return self.put(steady, kind, message=f"Version {champion} {verb} {current.champion}: {move.reason}")

    def begin(self, current: Deployment, number: int, *, rules: RolloutRules, actor: str, reason: str) -> Deployment:
        """Put a version on trial by rules: on its first step, or waiting for a person before that one."""
        shares, now = steps_of(rules, rules.strategy), self._clock.now()
        again = any(number in (each.champion, each.challenger) for each in self._deployments.list(current.model))
        trial = Deployment(
            model=current.model,
            revision=current.revision + 1,
            champion=current.champion,
            challenger=number,
            strategy=rules.strategy,
            step=-1,
            # each trial has a salt of its own, so that the same entities are not always first
            salt=digest_of("salt", current.model, number, *([current.revision] if again else []))[:16],
            since=now,
            actor=actor,
            reason=reason,
            rules=rules,
        )
        first = next_of(rules, trial)
        if shares and not waits(rules, trial):
            trial = msgspec.structs.replace(trial, step=0, share=shares[0])
        elif waits(rules, trial):
            trial = msgspec.structs.replace(trial, waiting=first)
        how = f"{trial.strategy.value}, {trial.share:.0%}" + (f"; a person is asked before {first}" if trial.waiting else "")
        message = f"Version {number} on trial against {current.champion}: {how}"
        put = self.put(trial, EventKind.ROLLOUT_STARTED, message=message)
        if put.waiting:
            self.tell_waiting(put, message)
        return put

    def advance(self, current: Deployment, *, rules: RolloutRules, reason: str, since: datetime) -> Deployment:
        """Give the challenger the next step's share."""
        advanced = advanced_by(current, rules=rules, since=since)
        advanced = msgspec.structs.replace(advanced, reason=reason)
        message = f"Version {current.challenger} goes on to {advanced.share:.0%} of traffic"
        return self.put(advanced, EventKind.ROLLOUT_ADVANCED, message=message)

    def promote(
        self,
        current: Deployment,
        number: int,
        *,
        actor: str,
        reason: str,
        since: datetime,
        serial: int | None = None,
    ) -> Deployment:
        """Move the alias to a version, then the deployment."""
        self._registry.promote(current.model, number, actor=actor, reason=reason, serial=serial)
        return self.settled(current.model, since=since)

    def end(self, current: Deployment, *, actor: str, reason: str, since: datetime) -> Deployment:
        """End a trial: the champion stays."""
        steady = _steady(current, current.champion, actor=actor, reason=reason, since=since)
        message = f"The trial of version {current.challenger} has ended, {current.champion} stays champion: {reason}"
        return self.put(steady, EventKind.MODEL_ROLLED_BACK, message=message)

    def put(self, deployment: Deployment, kind: EventKind, *, message: str) -> Deployment:
        """Write the next revision with its event. Raises RevisionConflict."""
        made = Node(NodeKind.DEPLOYMENT, f"{deployment.model}#{deployment.revision}")
        event = Event(
            key=digest_of("deployment", deployment),
            kind=kind,
            at=self._clock.now(),
            subject=deployment.model,
            actor=deployment.actor,
            message=message,
            facts={
                "revision": deployment.revision,
                "champion": deployment.champion,
                "challenger": deployment.challenger,
                "share": deployment.share,
            },
            edges=tuple(
                Edge(made, Node(NodeKind.MODEL_VERSION, f"{deployment.model}@{number}"), role)
                for number, role in zip(deployment.loaded, ("champion", "challenger"), strict=False)
            ),
        )
        self._deployments.put(deployment, event)
        return deployment

    def tell_rolled_back(self, look: RolloutLook) -> None:
        """Tell people of a roll back."""
        self._tell(
            Alert(
                key=digest_of("rolled-back", look.model, look.revision),
                model=look.model,
                kind=AlertKind.ROLLED_BACK,
                message=f"Version {look.challenger} of {look.model} was rolled back: {look.reason}",
                raised_at=look.looked_at,
                subject=f"{look.model}@{look.challenger}",
                evidence=look.evidence,
                limit=look.limit,
            )
        )

    def tell_waiting(self, waiting: Deployment, why: str) -> None:
        """Tell people that a trial waits for one of them."""
        self._tell(
            Alert(
                key=digest_of("rollout-waits", waiting.model, waiting.revision),
                model=waiting.model,
                kind=AlertKind.ROLLOUT_WAITS,
                message=f'{why}. Decide with: kedge deploy approve {waiting.model} --reason "...", or abort in its place',
                raised_at=waiting.since if waiting.step < 0 else self._clock.now(),
                subject=f"{waiting.model}@{waiting.challenger}",
            )
        )

    def _tell(self, alert: Alert) -> None:
        """Raise an alert, once per key."""
        self._watches.raise_alert(alert, raised(alert, ACTOR))


def advanced_by(current: Deployment, *, rules: RolloutRules, since: datetime) -> Deployment:
    """Make the next revision on the next step, not yet written."""
    shares = steps_of(rules, current.strategy)
    step = min(current.step + 1, len(shares) - 1)
    return msgspec.structs.replace(
        current,
        revision=current.revision + 1,
        step=step,
        share=shares[step],
        since=since,
        waiting="",
        paused_at=None,
        paused_seconds=0.0,
    )


def waits(rules: RolloutRules, deployment: Deployment) -> bool:
    """Say whether what comes next waits for a person."""
    return waits_for_person(rules, deployment.strategy, name=next_of(rules, deployment))


def behind(revisions: Sequence[Deployment]) -> tuple[str, str]:
    """Name who stands behind a trial's promotion and why: the person who let it pass, else who ordered it."""
    trial = trial_of(revisions)
    ordered, actor, reason = trial[0], trial[0].actor, trial[0].reason
    before = ordered.approved
    for revision in trial:
        if revision.approved != before:
            actor, reason = revision.actor, f"{ordered.reason}; {revision.reason}"
        before = revision.approved
    return actor, reason


def challenger_of(current: Deployment) -> int:
    """Give the version on trial. Raises NotFound."""
    if current.challenger is None:
        raise NotFound(f"no version of {current.model!r} is on trial; version {current.champion} answers everything")
    return current.challenger


def _steady(current: Deployment, champion: int, *, actor: str, reason: str, since: datetime) -> Deployment:
    """Make the next revision without a challenger."""
    return Deployment(
        model=current.model,
        revision=current.revision + 1,
        champion=champion,
        since=since,
        actor=actor,
        reason=reason,
        strategy=current.strategy,
    )


def looked_event(look: RolloutLook, *, trial: int | None = None) -> Event:
    """Make the event of a look; a live one happens once in the trial that began with revision `trial`."""
    return Event(
        key=digest_of("rollout-looked", look.model, look.revision if trial is None else trial, look.window),
        kind=EventKind.ROLLOUT_LOOKED,
        at=look.looked_at,
        subject=look.model,
        actor=ACTOR,
        message=f"Rollout: {look.move.value.replace('_', ' ')}. {look.reason}",
        facts={
            "window": look.window,
            "move": look.move.value,
            "challenger": look.challenger,
            "rows": look.rows,
            "errors": look.errors,
            "difference": look.difference,
            "evidence": look.evidence,
        },
    )
