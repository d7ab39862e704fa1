"""The room's door: put a version on trial, look at the trial after each window, and carry out what the look decided.

    look written -> alias moved (promotion only) -> next revision written -> alert told (roll back, or a person is asked)
Each arrow may be where the process is killed. The look is a row, so the next `settle` finds what was decided and not yet
done, and does the rest; every write carries a key that makes it happen once (`revisions.py`).
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from kedge.domain.events import EventKind
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Health
from kedge.domain.project import ProjectSpec
from kedge.domain.registry import ModelVersion, Servable
from kedge.domain.retraining import Retrain
from kedge.domain.rollout import PROMOTE, Deployment, Move, RolloutLook, RolloutRules, Strategy, trial_of
from kedge.errors import Conflict, RevisionConflict
from kedge.evaluation.metrics import loss_name
from kedge.ports import Clock, Deployments, Watches
from kedge.registry.room import Registry
from kedge.rollout.judge import judge
from kedge.rollout.revisions import ACTOR, TRIES, Revisions, advanced_by, behind, challenger_of, looked_event
from kedge.rollout.steps import check_rules, next_of, rules_of

LONG_AFTER = 1 << 60  # no revision: the live looks that decided nothing are not asked for


class Rollout:
    """Replace one version by another, step by step, and go back where harm shows."""

    def __init__(self, *, deployments: Deployments, registry: Registry, watches: Watches, clock: Clock) -> None:
        self._deployments, self._registry, self._clock = deployments, registry, clock
        self._revisions = Revisions(deployments=deployments, registry=registry, watches=watches, clock=clock)

    # ---- by the loop ----

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
            return self._first(challenger, actor=because.actor, reason=because.reason)
        if any(challenger.number in (each.champion, each.challenger) for each in revisions):
            return self._revisions.follow(revisions[-1])
        return self._try(challenger, rules=spec.rollout, actor=because.actor, reason=because.reason)

    def settle(self, spec: ProjectSpec, health: Health) -> RolloutLook | None:
        """Look at the trial once for this window, and do what follows. None where nothing was on trial in the window."""
        looks = [look for look in self._deployments.looks(spec.name, live_since=LONG_AFTER) if not look.live]
        current = self.finish(spec, spec.name)
        if current is None:
            return None
        if (known := next((look for look in looks if look.window == health.window.id), None)) is not None:
            return known
        if current.challenger is None or health.window.end <= current.since:
            return None
        began = trial_of(self._deployments.list(spec.name))[0].revision
        look = judge(
            current,
            health,
            rules=rules_of(current, spec),
            task=spec.data.task,
            metric=loss_name(spec.gate.metric, spec.data.task),
            before=[each for each in looks if each.revision >= began],
            looked_at=self._clock.now(),
        )
        self._deployments.add_look(look, looked_event(look))
        self._act(spec, look)
        return look

    def finish(self, spec: ProjectSpec, model: ModelName) -> Deployment | None:
        """Do what the newest look has decided, as far as it is not done, and read what is served; None for nothing."""
        look = self._deployments.newest_look(model)
        with suppress(RevisionConflict):  # another process does it
            if look is not None:
                self._act(spec, look)
        return None if self._deployments.find(model) is None else self._revisions.settled(model)

    # ---- by people ----

    def deploy(self, version: Servable, *, rules: RolloutRules, actor: str, reason: str) -> Deployment:
        """Put a version on trial by hand, one that was tried before as well; it is champion at once where nothing is
        deployed. A trial of another version ends: superseded. Raises Conflict for a version that is served already,
        RequestInvalid for rules that cannot be followed, RevisionConflict."""
        check_rules(rules)
        current = self._deployments.find(version.model)
        if current is None:
            return self._first(version, actor=actor, reason=reason)
        if version.number in current.loaded:
            what = "is champion already" if version.number == current.champion else "is on trial already"
            raise Conflict(f"version {version.number} of {version.model!r} {what}; deploy another, or abort the trial first")
        return self._try(version, rules=rules, actor=actor, reason=reason)

    def pause(self, model: ModelName, *, actor: str, reason: str) -> Deployment:
        """Keep a trial on its step: the share stays, and harm still ends it. Raises NotFound, Conflict."""
        current = self._on_trial(model)
        if current.paused_at is not None:
            raise Conflict(f"the trial of version {current.challenger} is paused already; resume or abort it")
        paused = msgspec.structs.replace(
            current, revision=current.revision + 1, paused_at=self._clock.now(), actor=actor, reason=reason
        )
        message = f"The trial of version {current.challenger} is paused: {reason}"
        return self._revisions.put(paused, EventKind.ROLLOUT_PAUSED, message=message)

    def resume(self, model: ModelName, *, actor: str, reason: str) -> Deployment:
        """Let a paused trial go on; the pause does not count for its hold. Raises NotFound, Conflict."""
        current = self._on_trial(model)
        if current.paused_at is None:
            raise Conflict(f"the trial of version {current.challenger} is not paused")
        away = max(self._clock.now() - current.paused_at, timedelta()).total_seconds()
        resumed = msgspec.structs.replace(
            current,
            revision=current.revision + 1,
            paused_at=None,
            paused_seconds=current.paused_seconds + away,
            actor=actor,
            reason=reason,
        )
        message = f"The trial of version {current.challenger} goes on: {reason}"
        return self._revisions.put(resumed, EventKind.ROLLOUT_RESUMED, message=message)

    def approve(self, spec: ProjectSpec, model: ModelName, *, actor: str, reason: str) -> Deployment:
        """Let pass what waits for a person: the next step begins, or the version becomes champion.

        Raises NotFound; Conflict where nothing waits.
        """
        current = self._on_trial(model)
        if not (what := current.waiting):
            raise Conflict(f"the trial of version {current.challenger} waits for nobody; it goes on by its own rules")
        rules, now = rules_of(current, spec), self._clock.now()
        message = f"{actor} lets version {current.challenger} pass, {what}: {reason}"
        if what != PROMOTE:
            current = advanced_by(current, rules=rules, since=now)
        else:
            current = msgspec.structs.replace(current, revision=current.revision + 1, waiting="")
        passed = msgspec.structs.replace(current, approved=(*current.approved, what), actor=actor, reason=reason)
        put = self._revisions.put(passed, EventKind.ROLLOUT_APPROVED, message=message)
        return put if what != PROMOTE else self._promote_trial(put, because="approved")

    def promote(
        self, model: ModelName, number: int | None = None, *, actor: str, reason: str, serial: int | None = None
    ) -> Deployment:
        """Make a version champion now, by hand, for all traffic: the one on trial, or any by its number.

        A trial of another version ends. With `serial`, only where the alias has moved that many times: else AliasConflict.
        NotFound where nothing is deployed, none is on trial or there is no such version.
        """
        self._registry.require_serial(model, serial)
        current = self._revisions.settled(model)
        chosen = challenger_of(current) if number is None else number
        now = self._clock.now()
        if chosen == current.champion and current.challenger is not None:
            return self._revisions.end(current, actor=actor, reason=reason, since=now)
        return self._revisions.promote(current, chosen, actor=actor, reason=reason, since=now, serial=serial)

    def abort(self, model: ModelName, *, actor: str, reason: str) -> Deployment:
        """End the trial now, by hand: the champion answers everything. NotFound where none is on trial."""
        return self._revisions.end(self._on_trial(model), actor=actor, reason=reason, since=self._clock.now())

    def roll_back(self, model: ModelName, *, actor: str, reason: str, serial: int | None = None) -> Deployment:
        """Go back, by hand: end the trial where one runs, else serve the previous champion again. NotFound where there is
        none."""
        current = self._revisions.settled(model)
        if current.challenger is not None:
            return self.abort(model, actor=actor, reason=reason)
        self._registry.roll_back(model, actor=actor, reason=reason, serial=serial)
        return self._revisions.settled(model)

    # ---- what follows ----

    def _first(self, version: ModelVersion | Servable, *, actor: str, reason: str) -> Deployment:
        """Deploy a model's first version: champion at once."""
        now = self._clock.now()
        first = Deployment(model=version.model, revision=1, champion=version.number, since=now, actor=actor, reason=reason)
        # the alias comes after: a turn that was killed between the two must find no champion, as it did before
        message = f"Version {first.champion} is the first served"
        return self._revisions.follow(self._revisions.put(first, EventKind.MODEL_PROMOTED, message=message))

    def _try(self, version: ModelVersion | Servable, *, rules: RolloutRules, actor: str, reason: str) -> Deployment:
        """Put a version on trial against the champion; all at once is champion then."""
        current = self._revisions.follow(self._revisions.newest(version.model))
        if current.challenger is not None:
            superseded = f"superseded by version {version.number}"
            current = self._revisions.end(current, actor=actor, reason=superseded, since=self._clock.now())
        trial = self._revisions.begin(current, version.number, rules=rules, actor=actor, reason=reason)
        if trial.strategy is Strategy.ALL_AT_ONCE and not trial.waiting:
            return self._promote_trial(trial, because="all at once")
        return trial

    def _on_trial(self, model: ModelName) -> Deployment:
        """Read the deployment of a trial that runs. Raises NotFound."""
        current = self._revisions.settled(model)
        challenger_of(current)
        return current

    def _act(self, spec: ProjectSpec, look: RolloutLook) -> None:
        """Do what a look decided, as far as it is not done."""
        current = self._deployments.find(look.model)
        if current is not None and current.revision == look.revision:
            since = look.upto or look.looked_at
            if look.move is Move.PROMOTE:
                self._promote_trial(current, because=look.reason, since=since)
            elif look.move is Move.ADVANCE:
                self._revisions.advance(current, rules=rules_of(current, spec), reason=look.reason, since=since)
            elif look.move is Move.ROLL_BACK:
                self._revisions.end(current, actor=ACTOR, reason=look.reason, since=look.looked_at)
            elif look.move is Move.ASK:
                self._ask(spec, current, look=look)
        if look.move is Move.ROLL_BACK:
            self._revisions.tell_rolled_back(look)
        elif look.move is Move.ASK:
            self._remind(look)

    def _ask(self, spec: ProjectSpec, current: Deployment, *, look: RolloutLook) -> None:
        """Let a trial wait for a person, and tell people."""
        what = next_of(rules_of(current, spec), current)
        waiting = msgspec.structs.replace(
            current, revision=current.revision + 1, waiting=what, actor=ACTOR, reason=look.reason
        )
        self._revisions.put(waiting, EventKind.ROLLOUT_WAITED, message=f"A person is asked: {look.reason}")

    def _remind(self, look: RolloutLook) -> None:
        """Tell people of a trial that a look let wait, as long as it does."""
        asked = self._deployments.find(look.model, look.revision + 1)
        newest = self._deployments.find(look.model)
        if asked is not None and newest is not None and asked.waiting and newest.waiting:
            self._revisions.tell_waiting(asked, look.reason)

    def _promote_trial(self, trial: Deployment, *, because: str, since: datetime | None = None) -> Deployment:
        """Promote the version on trial in the name of whoever stands behind it."""
        actor, reason = behind(self._deployments.list(trial.model))
        now = since or self._clock.now()
        return self._revisions.promote(trial, challenger_of(trial), actor=actor, reason=f"{reason}; {because}", since=now)
