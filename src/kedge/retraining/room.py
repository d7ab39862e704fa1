"""The room's door: after each window, wait, look or retrain; and note how a turn ended.

A decision is written once per window (ledger entry and event together) and read again after a kill. A look is not
written: it is decided again from the same ledger and health until `looked` has written the entry. A turn that has ended
leaves a TURN_ENDED event under its window's key, and is never ordered a second time. A turn by hand has no window: a note
keeps its order until it has ended.
"""

from datetime import datetime, timedelta
from math import ceil

import msgspec

from kedge.domain.alerting import Alert, AlertKind, raised
from kedge.domain.durations import seconds_of
from kedge.domain.evaluation import Gain, Verdict
from kedge.domain.events import Event, EventKind, Fact
from kedge.domain.ids import Digest, ModelName, digest_of
from kedge.domain.monitoring import Health
from kedge.domain.project import ProjectSpec
from kedge.domain.registry import Candidate, ModelVersion
from kedge.domain.retraining import LedgerEntry, Look, Retrain, Wait
from kedge.domain.rollout import Deployment, champion_since
from kedge.domain.tracking import RunStatus
from kedge.domain.turning import Turned
from kedge.errors import DataInvalid, KedgeError, SourceFailed
from kedge.ports import Clock, Deployments, Events, Ledgers, Notes, Runs, Watches
from kedge.retraining.asking import RetrainRequests
from kedge.retraining.budget import is_limited, recent_runs, spent, warned
from kedge.retraining.ended import UNCHANGED, turn_key
from kedge.retraining.ledger import (
    RETRAIN,
    TURNED,
    WAIT,
    Observation,
    advance,
    after_look,
    carried,
    look_due,
    opening,
    price_of,
    start_from,
)
from kedge.retraining.limits import LimitFacts, binds_look, binds_training, tried_at
from kedge.retraining.policy import ALARMS_OF, ASKED_AT_STEPS, Situation, Wish, policy_of
from kedge.security.redact import redact

RUNS_LOOKED_AT = 200
EVENTS_LOOKED_AT = 100
WAITS_SHOWN = 5


class Retraining:
    """Decides when to train again."""

    def __init__(
        self,
        *,
        ledgers: Ledgers,
        watches: Watches,
        deployments: Deployments,
        runs: Runs,
        events: Events,
        notes: Notes,
        asking: RetrainRequests,
        clock: Clock,
    ) -> None:
        self._asking = asking
        self._ledgers, self._watches, self._deployments, self._runs = ledgers, watches, deployments, runs
        self._events, self._notes, self._clock = events, notes, clock

    # ---- deciding ----

    def decide(self, spec: ProjectSpec, health: Health) -> Wait | Look | Retrain:
        """Decide after a window. Writes an entry where a step has closed or the policy acts; the same window again gives
        the same decision, unless its turn has ended meanwhile. ConfigError for an unknown policy."""
        if (known := self._ledgers.find(spec.name, health.window.id)) is not None:
            return self._again(known)
        deployment = self._deployments.find(spec.name)
        if deployment is None:
            return self._first(spec, health)
        entry = self._entry(spec, health)
        facts = self._limit_facts(spec, health, deployment=deployment)
        for near in warned(spec.training.budget, facts.spent, now=facts.now):
            about = f"{near.level} of {near.limit}"
            self._tell(spec.name, AlertKind.COST, subject=about, content=digest_of(near.key), message=near.message)
        looks = spec.retraining.policy == "ledger" and entry.age * spec.step_seconds < seconds_of(spec.retraining.longest)
        called = self._called(spec, health)
        if looks and health.step is not None and look_due(entry, called=bool(called)):
            if not (bound := binds_look(facts)):
                steps = f"{entry.since_look} step{'s' if entry.since_look > 1 else ''}"
                because = f"an alarm ({called}, in look_on)" if called else f"{steps} since the last look"
                return Look(f"{because}: compare a fresh candidate before deciding")
            entry = msgspec.structs.replace(entry, bound=bound)
        return self._conclude(spec, health, entry=entry, facts=facts)

    def _called(self, spec: ProjectSpec, health: Health) -> str:
        """Name the alarm of the step that ends with this window which brings a look forward, as the project wishes."""
        wanted = {kind: name for name in spec.retraining.look_on for kind in ALARMS_OF[name]}
        if not wanted or health.step is None:
            return ""
        windows = ceil((health.step.end - health.step.start) / (health.window.end - health.window.start))
        told = [health, *self._watches.list(spec.name, limit=windows)]
        inside = [one for one in told if health.step.start < one.window.end <= health.step.end]
        return next((wanted[alert.kind] for one in inside for alert in one.alerts if alert.kind in wanted), "")

    def is_asked(self, spec: ProjectSpec) -> bool:
        """Say whether a training was asked for that may be made now, or one that was ordered has not ended."""
        self._asking.look(spec)
        return self._asking.is_under_way(spec.name) or (bool(self._asking.of(spec.name)) and not self.held_by(spec))

    def asked(self, spec: ProjectSpec) -> Wait | Retrain | None:
        """Decide on what asked for a training besides the policy; None where nothing waits. The limits hold for it, too; an
        order whose turn has not ended (its process was killed) is given again as it was."""
        self._asking.look(spec)
        if (begun := self._asking.under_way(spec.name)) is not None:
            return begun
        if not (waiting := self._asking.of(spec.name)):
            return None
        if bound := self.held_by(spec):
            return Wait(f"{waiting[0].reason}: a training was asked for, and waits: {bound}")
        return self._asking.order(spec.name, waiting, at=self._clock.now())

    def held_by(self, spec: ProjectSpec) -> str:
        """Name the limit that holds a training back that was asked for, between windows; "" for none."""
        newest = self._watches.list(spec.name, limit=1)
        health = newest[0] if newest else None
        return binds_training(self._limit_facts(spec, health, deployment=self._deployments.find(spec.name)))

    def looked(self, spec: ProjectSpec, health: Health, gain: Gain | None) -> Wait | Retrain:
        """Go on with the step after a look; without a gain (it could not be measured) as if there had been none."""
        if (known := self._ledgers.find(spec.name, health.window.id)) is not None:
            return self._again(known)
        entry = self._entry(spec, health)
        if gain is not None and health.step is not None:
            entry = after_look(entry, health.step, gain=gain)
        facts = self._limit_facts(spec, health, deployment=self._deployments.find(spec.name))
        return self._conclude(spec, health, entry=entry, facts=facts)

    def _again(self, entry: LedgerEntry) -> Wait | Retrain:
        """Give the decision that was written for a window."""
        if entry.decision != RETRAIN:
            return Wait(entry.reason)
        ended = self._events.find(turn_key(entry.model, entry.window))
        if ended is not None:
            return Wait(f"the turn ordered for this window has ended: {ended.message}")
        return Retrain(entry.reason, _actor(entry.policy), entry.decided_at)

    def _entry(self, spec: ProjectSpec, health: Health) -> LedgerEntry:
        """Give the ledger as it stands after this window, not yet decided."""
        price = price_of(spec.retraining)
        last = self._ledgers.last(spec.name) or self._open(spec, health.window.end)
        if health.step is not None:
            entry = advance(last, health.step, price=price, phi=self._phi(spec, health.window.end))
        else:
            entry = msgspec.structs.replace(carried(last), champion=health.champion or last.champion)
        return msgspec.structs.replace(
            entry, window=health.window.id, decided_at=self._clock.now(), policy=spec.retraining.policy
        )

    def _open(self, spec: ProjectSpec, upto: datetime) -> LedgerEntry:
        """Open a ledger, started from what the project's history told by then, where it was replayed."""
        history = read_history(self._notes, spec.name)
        start = start_from(history, upto=upto)
        return opening(spec.name, policy=spec.retraining.policy, price=price_of(spec.retraining), start=start)

    def _conclude(self, spec: ProjectSpec, health: Health, *, entry: LedgerEntry, facts: LimitFacts) -> Wait | Retrain:
        """Ask the policy, then the limits; write what was decided where a step has closed or a training is ordered."""
        released = facts.released_at or self._clock.now()
        situation = Situation(
            health=health,
            entry=entry,
            rules=spec.retraining,
            released_at=released,
            tried_at=tried_at(facts.entries),
        )
        wish = policy_of(spec.retraining.policy)(situation)
        bound = binds_training(facts) if wish.train else ""
        decided = _decided(entry, wish, bound=bound)
        if health.step is not None or decided.decision == RETRAIN:
            self._ledgers.put(decided, _decision_event(decided))
        elif spec.retraining.policy not in ASKED_AT_STEPS:
            self._events.append(_decision_event(decided, between_steps=True))
        if decided.decision != RETRAIN:
            return Wait(decided.reason)
        return Retrain(decided.reason, _actor(decided.policy), decided.decided_at)

    def _first(self, spec: ProjectSpec, health: Health) -> Wait | Retrain:
        """Order the first model, or the next attempt at it once the cooldown is over."""
        facts = self._limit_facts(spec, health, deployment=None)
        bound = binds_training(facts)
        wish = Wish(True, "no model yet")
        last = self._ledgers.last(spec.name)
        opened = carried(last) if last else self._open(spec, health.window.end)
        entry = msgspec.structs.replace(
            opened, window=health.window.id, decided_at=self._clock.now(), policy=spec.retraining.policy
        )
        decided = _decided(entry, wish, bound=bound)
        if bound:
            self._events.append(_decision_event(decided, between_steps=True))
            return Wait(decided.reason)
        self._ledgers.put(decided, _decision_event(decided))
        return Retrain(decided.reason, _actor(decided.policy), decided.decided_at)

    def _limit_facts(self, spec: ProjectSpec, health: Health | None, *, deployment: Deployment | None) -> LimitFacts:
        """Gather what the hard limits look at, after a window (None: none was measured yet)."""
        now, entries, budget = self._clock.now(), self._ledgers.list(spec.name), spec.training.budget
        # what was trained since the window closed and the last decision was written is this decision's own look
        measured = [health.window.end] if health is not None else []
        decided_from = max([*measured, *(entry.decided_at for entry in entries[-1:])], default=now)
        runs = recent_runs(self._runs, spec.name, now=now) if is_limited(budget) else ()
        return LimitFacts(
            now=now,
            rules=spec.retraining,
            budget=budget,
            deployment=deployment,
            released_at=champion_since(self._deployments.list(spec.name)) if deployment is not None else None,
            labels=health.fresh_labels if deployment is not None and health is not None else None,
            entries=entries,
            spent=spent([run for run in runs if run.started_at < decided_from], now),
        )

    def _phi(self, spec: ProjectSpec, upto: datetime) -> float:
        """Give compute's share of a retraining's price: by the CPU time of the newest finished training. One that was
        started after the window (by its own look) is not asked, so that a look is decided alike after a kill."""
        price = spec.retraining.price
        if price.cpu_hour <= 0 or price.retrain <= 0:
            return 0.0
        for run in self._runs.list(spec.name, limit=RUNS_LOOKED_AT):
            if run.status is RunStatus.FINISHED and run.usage.cpu_seconds > 0 and run.started_at < upto:
                return run.usage.cpu_seconds / 3600 * price.cpu_hour / price.retrain
        return 0.0

    def by_hand(self, spec: ProjectSpec, actor: str) -> Retrain:
        """Order a turn now, for a person. One that was ordered within the last window and has not ended (its process was
        killed) is ordered again as it was: what it had done is found, and nothing is made twice."""
        now, note = self._clock.now(), _hand_note(spec.name)
        kept = self._notes.get(note)
        begun = msgspec.json.decode(kept, type=Retrain) if kept else None
        window = timedelta(seconds=seconds_of(spec.monitoring.window))
        if begun is not None and begun.at is not None and now - begun.at < window:
            return begun
        ordered = Retrain("asked for by hand", actor, now)
        self._notes.put(note, msgspec.json.encode(ordered))
        return ordered

    def newest_waits(self, model: ModelName, *, most: int = WAITS_SHOWN) -> tuple[Event, ...]:
        """List the decisions to wait that were made between steps, newest first, as far as the last events tell."""
        told = [event for _, event in self._events.list(subject=model, limit=EVENTS_LOOKED_AT)]
        decided = [event for event in told if event.kind is EventKind.RETRAINING_DECIDED]
        return tuple(event for event in decided if event.facts.get("between_steps"))[:most]

    # ---- how a turn ended ----

    def turned(self, spec: ProjectSpec, because: Retrain, version: ModelVersion) -> Turned:
        """Note that a turn released a version: the regret is paid off. Where the rows and the code give a version again
        that was deployed before the order, nothing new was made: that is told, and the regret stays."""
        facts: dict[str, Fact] = {"outcome": "released", "version": version.number}
        content = digest_of("version", version.number)
        if not self._was_deployed(version, before=because.at):
            told = f"version {version.number} went on trial ({because.reason})"
            self._end(spec, because, told=told, facts=facts, content=content)
            return Turned(released=version.number)
        told = (
            f"rows and code are those of version {version.number}, deployed before: nothing new was made ({because.reason})"
        )
        self._end(spec, because, told=told, facts=facts | {"outcome": UNCHANGED}, content=content)
        return Turned(steady=told)

    def refused(self, spec: ProjectSpec, because: Retrain, candidate: Candidate, verdict: Verdict) -> Turned:
        """Note that the gate refused (or held) a turn's candidate, and tell people: the policy expected it to be better,
        so two in a row point at a broken pipeline."""
        reasons = "; ".join(verdict.reasons)
        again = self._refused_before(spec.name)
        suspicion = "; it is the second in a row: the pipeline looks broken, look at its newest runs" if again else ""
        self._end(
            spec,
            because,
            told=f"the gate {verdict.outcome.value} run {candidate.run}: {reasons}",
            facts={"outcome": "refused", "run": candidate.run},
            content=digest_of("refused", candidate.run),
        )
        self._tell(
            spec.name,
            AlertKind.GATE_REFUSED,
            subject=f"run {candidate.run}",
            content=digest_of(candidate.run, verdict),
            message=f"the gate {verdict.outcome.value} run {candidate.run}, ordered because {because.reason}: {reasons}"
            f"{suspicion}. What is live stays live",
        )
        return Turned(refused=verdict)

    def failed(self, spec: ProjectSpec, because: Retrain | None, error: KedgeError) -> Turned:
        """Note that a turn (or, without `because`, a look) could not be made, and tell people."""
        now, told = self._clock.now(), redact(str(error))
        if because is not None:
            self._end(
                spec,
                because,
                told=f"it failed ({error.code}): {told}",
                facts={"outcome": "failed", "error": error.code},
                content=digest_of("failed", told, now),
            )
        data = isinstance(error, DataInvalid | SourceFailed)
        self._tell(
            spec.name,
            AlertKind.DATA_INVALID if data else AlertKind.TRAINING_FAILED,
            subject=error.code,
            content=digest_of(told, now),
            message=f"{told}. What is live stays live",
        )
        return Turned(failed=told)

    def _end(self, spec: ProjectSpec, because: Retrain, *, told: str, facts: dict[str, Fact], content: Digest) -> None:
        """Write a turn's end: under the key of the window that ordered it; by hand, with an entry that resets the ledger.
        The first model has no ledger to reset."""
        last = self._ledgers.last(spec.name)
        by_policy = last is None or because.actor == _actor(last.policy)
        window = self._ordered(spec.name) if by_policy else None
        content = digest_of(content, because.at)  # who asks again with the same rows is told again what came of it
        event = Event(
            key=turn_key(spec.name, window) if window else digest_of("turn ended", spec.name, content),
            kind=EventKind.TURN_ENDED,
            at=self._clock.now(),
            subject=spec.name,
            actor=because.actor,
            message=f"Turn ended: {told}",
            facts={**facts, "window": window},
        )
        if last is None or by_policy or facts["outcome"] == UNCHANGED:
            self._events.append(event)
        else:
            reset = msgspec.structs.replace(
                carried(last), decision=TURNED, reason=because.reason, window=f"turn/{content[:16]}", decided_at=event.at
            )
            self._ledgers.put(reset, event)
        if not because.actor.startswith(_actor("")):
            self._notes.put(_hand_note(spec.name), b"")
            self._asking.ended(spec.name)

    def _was_deployed(self, version: ModelVersion, *, before: datetime | None) -> bool:
        """Say whether a version was on trial or champion before a turn was ordered (None: when is not known)."""
        revisions = (one for one in self._deployments.list(version.model) if before is not None and one.since < before)
        return any(version.number in (one.champion, one.challenger) for one in revisions)

    def _ordered(self, model: ModelName) -> str | None:
        """Find the window whose decision ordered the newest training."""
        orders = (entry.window for entry in reversed(self._ledgers.list(model)) if entry.decision == RETRAIN)
        return next(orders, None)

    def _refused_before(self, model: ModelName) -> bool:
        """Say whether the last turn that ended was refused, too."""
        for entry in reversed(self._ledgers.list(model)):
            ended = self._events.find(turn_key(model, entry.window)) if entry.decision == RETRAIN else None
            if ended is not None:
                return ended.facts.get("outcome") == "refused"
            if entry.decision == TURNED:
                return False
        return False

    def _tell(self, model: ModelName, kind: AlertKind, *, subject: str, content: Digest, message: str) -> None:
        """Raise an alert, once."""
        alert = Alert(
            key=f"{model}/{kind.value}/{content[:16]}",
            model=model,
            kind=kind,
            message=message,
            raised_at=self._clock.now(),
            subject=subject,
        )
        event = raised(alert)
        if self._events.find(event.key) is None:
            self._watches.raise_alert(alert, event)


def read_history(notes: Notes, model: ModelName) -> list[Observation]:
    """Read what a replay of a project's history told of ageing; nothing where there was none."""
    kept = notes.get(history_note(model))
    return msgspec.json.decode(kept, type=list[Observation]) if kept else []


def history_note(model: ModelName) -> str:
    """Name the note that keeps what a project's history told of ageing."""
    return f"retraining:{model}:history"


def _decided(entry: LedgerEntry, wish: Wish, *, bound: str) -> LedgerEntry:
    """Write a decision into an entry, with its reason."""
    if wish.train and not bound:
        return msgspec.structs.replace(entry, decision=RETRAIN, reason=wish.reason, bound="")
    if wish.train:
        return msgspec.structs.replace(entry, decision=WAIT, reason=f"{wish.reason}, but {bound}", bound=bound)
    reason = f"{wish.reason}; no look: {entry.bound}" if entry.bound else wish.reason
    return msgspec.structs.replace(entry, decision=WAIT, reason=reason)


def _actor(policy: str) -> str:
    return f"policy:{policy}"


def _hand_note(model: ModelName) -> str:
    return f"turn by hand:{model}"


def _decision_event(entry: LedgerEntry, *, between_steps: bool = False) -> Event:
    facts: dict[str, Fact] = {
        "decision": entry.decision,
        "regret": entry.regret,
        "price": entry.price,
        "gain": entry.gain,
        "slope": entry.slope,
        "interval": entry.interval,
        "phi": entry.phi,
        "step": entry.step,
        "champion": entry.champion,
        "looked": entry.looked,
        "bound": entry.bound,
    }
    if between_steps:
        facts["between_steps"] = True
    verb = "Retrain" if entry.decision == RETRAIN else "Wait"
    return Event(
        key=digest_of("waited" if between_steps else "decide", entry.model, entry.window),
        kind=EventKind.RETRAINING_DECIDED,
        at=entry.decided_at,
        subject=entry.model,
        actor=_actor(entry.policy),
        message=f"{verb}: {entry.reason}",
        facts=facts,
    )
