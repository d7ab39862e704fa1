"""The room's door: put a version on trial, look at the trial after each window, and carry out what the look decided.

    look written -> alias moved (promotion only) -> next revision written -> alert told (roll back only)
Each arrow may be where the process is killed. The look is a row, so the next `settle` finds what was decided and not yet
done, and does the rest; every write carries a key that makes it happen once. The champion alias of the registry is the
truth: a deployment that lags behind it follows.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from kedge.domain.events import Event, EventKind
from kedge.domain.ids import ModelName, digest_of
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.domain.monitoring import Alert, AlertKind, Health
from kedge.domain.project import ProjectSpec
from kedge.domain.registry import ModelVersion
from kedge.domain.retraining import Retrain
from kedge.domain.rollout import Deployment, Move, RolloutLook
from kedge.errors import NotFound, RevisionConflict
from kedge.evaluation.metrics import loss_name
from kedge.ports import Clock, Deployments, Notifier, Watches
from kedge.registry.room import Registry
from kedge.rollout.judge import judge, steps_of

ACTOR = "policy:rollout"
TRIES = 10  # at a revision that another process may write first


class Rollout:
    """Replace one version by another, step by step, and go back where harm shows."""

    def __init__(
        self, *, deployments: Deployments, registry: Registry, watches: Watches, notifier: Notifier, clock: Clock
    ) -> None:
        self._deployments, self._registry, self._watches = deployments, registry, watches
        self._notifier, self._clock = notifier, clock

    def start(self, spec: ProjectSpec, challenger: ModelVersion, because: Retrain) -> Deployment:
        """Put a version on trial by the project's strategy; a version that was deployed before is not tried again.

        Where nothing is deployed yet it becomes champion at once. A trial that runs is ended: superseded. Where another
        process was first to a revision, the trial comes after it; RevisionConflict if that goes on.
        """
        for _ in range(TRIES - 1):
            try:
                return self._start(spec, challenger, because=because)
            except RevisionConflict:
                continue
        return self._start(spec, challenger, because=because)

    def _start(self, spec: ProjectSpec, challenger: ModelVersion, *, because: Retrain) -> Deployment:
        revisions = self._deployments.list(spec.name)
        if not revisions:
            first = _first(spec.name, challenger.number, because=because, now=self._clock.now())
            # the alias comes after: a turn that was killed between the two must find no champion, as it did before
            return self._follow(
                self._put(first, EventKind.MODEL_PROMOTED, message=f"Version {first.champion} is the first served")
            )
        current = self._follow(revisions[-1])
        if any(challenger.number in (each.champion, each.challenger) for each in revisions):
            return current
        if current.challenger is not None:
            superseded = f"superseded by version {challenger.number}"
            current = self._end(current, actor=because.actor, reason=superseded, since=self._clock.now())
        trial = msgspec.structs.replace(
            current,
            revision=current.revision + 1,
            challenger=challenger.number,
            strategy=spec.rollout.strategy,
            share=steps_of(spec.rollout, spec.rollout.strategy)[0],
            step=0,
            salt=digest_of("salt", spec.name, challenger.number)[:16],
            since=self._clock.now(),
            actor=because.actor,
            reason=because.reason,
        )
        message = (
            f"Version {challenger.number} on trial against {current.champion}: {trial.strategy.value}, {trial.share:.0%}"
        )
        return self._put(trial, EventKind.ROLLOUT_STARTED, message=message)

    def settle(self, spec: ProjectSpec, health: Health) -> RolloutLook | None:
        """Look at the trial once for this window, and do what follows. None where nothing was on trial in the window."""
        looks = self._deployments.looks(spec.name)
        if looks:
            self._act(spec, looks[-1])
        current = self._deployments.find(spec.name)
        if current is None:
            return None
        current = self._follow(current)
        if (known := next((look for look in looks if look.window == health.window.id), None)) is not None:
            return known
        if current.challenger is None or health.window.end <= current.since:
            return None
        look = judge(
            current,
            health,
            rules=spec.rollout,
            task=spec.data.task,
            metric=loss_name(spec.gate.metric, spec.data.task),
            before=[each for each in looks if each.challenger == current.challenger],
            looked_at=self._clock.now(),
        )
        self._deployments.add_look(look, _looked(look, health))
        self._act(spec, look)
        return look

    def promote(
        self, model: ModelName, number: int | None = None, *, actor: str, reason: str, serial: int | None = None
    ) -> Deployment:
        """Make a version champion now, by hand, for all traffic: the one on trial, or any by its number.

        A trial of another version ends. With `serial`, only where the alias has moved that many times: else AliasConflict.
        NotFound where nothing is deployed, none is on trial or there is no such version.
        """
        self._registry.require_serial(model, serial)
        current = self._settled(model)
        chosen = _challenger(current) if number is None else number
        now = self._clock.now()
        if chosen == current.champion and current.challenger is not None:
            return self._end(current, actor=actor, reason=reason, since=now)
        return self._promote(current, chosen, actor=actor, reason=reason, since=now, serial=serial)

    def abort(self, model: ModelName, *, actor: str, reason: str) -> Deployment:
        """End the trial now, by hand: the champion answers everything. NotFound where none is on trial."""
        current = self._newest(model)
        _challenger(current)
        return self._end(current, actor=actor, reason=reason, since=self._clock.now())

    def roll_back(self, model: ModelName, *, actor: str, reason: str, serial: int | None = None) -> Deployment:
        """Go back, by hand: end the trial where one runs, else serve the previous champion again. NotFound where there is
        none."""
        current = self._settled(model)
        if current.challenger is not None:
            return self.abort(model, actor=actor, reason=reason)
        self._registry.roll_back(model, actor=actor, reason=reason, serial=serial)
        return self._settled(model)

    def _act(self, spec: ProjectSpec, look: RolloutLook) -> None:
        """Do what a look decided, as far as it is not done."""
        current = self._deployments.find(look.model)
        if current is not None and current.revision == look.revision:
            since = look.upto or look.looked_at
            if look.move is Move.PROMOTE:
                reason = f"{self._ordered_because(current)}; {look.reason}"
                self._promote(current, look.challenger, actor=current.actor, reason=reason, since=since)
            elif look.move is Move.ADVANCE:
                self._advance(spec, current, look=look, since=since)
            elif look.move is Move.ROLL_BACK:
                self._end(current, actor=ACTOR, reason=look.reason, since=look.looked_at)
        if look.move is Move.ROLL_BACK:
            self._alert(look)

    def _ordered_because(self, trial: Deployment) -> str:
        """Give the reason for which the version on trial was ordered: the one of the trial's first revision."""
        revisions = self._deployments.list(trial.model)
        return next(each.reason for each in revisions if each.challenger == trial.challenger)

    def _advance(self, spec: ProjectSpec, current: Deployment, *, look: RolloutLook, since: datetime) -> Deployment:
        """Give the challenger the next step's share."""
        shares = steps_of(spec.rollout, current.strategy)
        step = min(current.step + 1, len(shares) - 1)
        advanced = msgspec.structs.replace(
            current, revision=current.revision + 1, step=step, share=shares[step], since=since, reason=look.reason
        )
        message = f"Version {current.challenger} goes on to {shares[step]:.0%} of traffic"
        return self._put(advanced, EventKind.ROLLOUT_ADVANCED, message=message)

    def _promote(
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
        return self._settled(current.model, since=since)

    def _settled(self, model: ModelName, since: datetime | None = None) -> Deployment:
        """Read the deployment as the champion alias has it; again where another process wrote that revision first."""
        for _ in range(TRIES - 1):
            try:
                return self._follow(self._newest(model), since=since)
            except RevisionConflict:
                continue
        return self._follow(self._newest(model), since=since)

    def _follow(self, current: Deployment, since: datetime | None = None) -> Deployment:
        """Let the deployment follow the champion alias, which may have moved without it (a kill between the two)."""
        champion = self._registry.champion(current.model)
        if champion is None:
            self._registry.promote(current.model, current.champion, actor=current.actor, reason=current.reason)
        if champion is None or champion.number == current.champion:
            return current
        move = next(each for each in reversed(self._registry.history(current.model)) if each.number == champion.number)
        forward = champion.number == current.challenger or champion.number > current.champion
        steady = _steady(current, champion.number, actor=move.actor, reason=move.reason, since=since or self._clock.now())
        kind = EventKind.MODEL_PROMOTED if forward else EventKind.MODEL_ROLLED_BACK
        verb = "is promoted over" if forward else "is champion again, instead of"
        return self._put(steady, kind, message=f"Version {champion.number} {verb} {current.champion}: {move.reason}")

    def _end(self, current: Deployment, *, actor: str, reason: str, since: datetime) -> Deployment:
        """End a trial: the champion stays."""
        steady = _steady(current, current.champion, actor=actor, reason=reason, since=since)
        message = f"The trial of version {current.challenger} has ended, {current.champion} stays champion: {reason}"
        return self._put(steady, EventKind.MODEL_ROLLED_BACK, message=message)

    def _put(self, deployment: Deployment, kind: EventKind, *, message: str) -> Deployment:
        """Write the next revision with its event."""
        served = (deployment.champion, *([deployment.challenger] if deployment.challenger is not None else []))
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
                for number, role in zip(served, ("champion", "challenger"), strict=False)
            ),
        )
        self._deployments.put(deployment, event)
        return deployment

    def _alert(self, look: RolloutLook) -> None:
        """Tell people of a roll back: told first and then written, so that a kill between the two tells it twice."""
        key = digest_of("rolled-back", look.model, look.revision)
        if any(alert.key == key for alert in self._watches.alerts(look.model)):
            return
        alert = Alert(
            key=key,
            model=look.model,
            kind=AlertKind.ROLLED_BACK,
            message=f"Version {look.challenger} of {look.model} was rolled back: {look.reason}",
            raised_at=look.looked_at,
            subject=f"{look.model}@{look.challenger}",
            evidence=look.evidence,
            limit=look.limit,
        )
        self._notifier.notify(alert)
        event = Event(
            key=digest_of("alert", key),
            kind=EventKind.ALERT_RAISED,
            at=look.looked_at,
            subject=look.model,
            actor=ACTOR,
            message=alert.message,
            facts={"kind": alert.kind.value},
        )
        self._watches.raise_alert(alert, event)

    def _newest(self, model: ModelName) -> Deployment:
        current = self._deployments.find(model)
        if current is None:
            raise NotFound(f"nothing is deployed for model {model!r}; train and release a first version")
        return current


def _challenger(current: Deployment) -> int:
    """Give the version on trial. Raises NotFound."""
    if current.challenger is None:
        raise NotFound(f"no version of {current.model!r} is on trial; version {current.champion} answers everything")
    return current.challenger


def _first(model: ModelName, number: int, *, because: Retrain, now: datetime) -> Deployment:
    """Make the first revision."""
    return Deployment(model=model, revision=1, champion=number, since=now, actor=because.actor, reason=because.reason)


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


def _looked(look: RolloutLook, health: Health) -> Event:
    """Make the event of a look."""
    return Event(
        key=digest_of("rollout-looked", look.model, look.revision, look.window),
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
