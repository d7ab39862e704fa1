"""What asks for a training besides the policy: taken in once, held to the same limits, and answered by one turn.

    asked -> waits -> ordered (a note keeps the order and its triggers) -> taken -> the turn has ended: the note is cleared
A process killed in between finds the note and orders the same turn again: what it had done is found, nothing is made
twice. All that wait are answered by one turn, which learns from what is known when it is ordered.
"""

from datetime import datetime

import msgspec

from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, Digest, ModelName, digest_of
from kedge.domain.project import ProjectSpec
from kedge.domain.retraining import Retrain, Trigger
from kedge.ports import Clock, Datasets, Notes, Triggers

DATASET, WEBHOOK, PERSON = "dataset", "webhook", "person"
NAMED = 3


class TriggeredTurn(msgspec.Struct, frozen=True):
    """A turn that was ordered, and the triggers that it answers."""

    retrain: Retrain
    keys: tuple[Digest, ...]


class RetrainRequests:
    """Takes in what asks for a training."""

    def __init__(self, *, triggers: Triggers, datasets: Datasets, notes: Notes, clock: Clock) -> None:
        self._triggers, self._datasets, self._notes, self._clock = triggers, datasets, notes, clock

    def ask(self, model: ModelName, kind: str, *, key: Digest, reason: str, actor: str) -> bool:
        """Ask for a training. False where this was asked before: the same key counts once."""
        at = self._clock.now()
        trigger = Trigger(key=key, model=model, kind=kind, reason=reason, actor=actor, asked_at=at)
        event = Event(
            key=digest_of("trigger", model, key),
            kind=EventKind.RETRAINING_ASKED,
            at=at,
            subject=model,
            actor=actor,
            message=f"A training was asked for: {reason}",
            facts={"kind": kind},
        )
        return self._triggers.put(trigger, event)

    def look(self, spec: ProjectSpec) -> None:
        """Ask where a dataset that the project listens to has a new version. The version found first asks for nothing."""
        for name in datasets_of(spec):
            version = self._datasets.find(name)
            if version is None:
                continue
            note, newest = f"trigger:{spec.name}:{DATASET}:{name}", version.number
            known = self._notes.get(note)
            if known is not None and newest > int(known):
                reason = f"dataset {name} has version {newest}"
                key = digest_of(DATASET, name, newest)
                self.ask(spec.name, DATASET, key=key, reason=reason, actor=f"{DATASET}:{name}")
            if known is None or newest != int(known):
                self._notes.put(note, str(newest).encode())

    def is_under_way(self, model: ModelName) -> bool:
        """Say whether an ordered turn has not ended."""
        return bool(self._notes.get(_note(model)))

    def under_way(self, model: ModelName) -> Retrain | None:
        """Find the order whose turn has not ended, and note its triggers as taken."""
        kept = self._notes.get(_note(model))
        if not kept:
            return None
        order = msgspec.json.decode(kept, type=TriggeredTurn)
        self._take(model, order)
        return order.retrain

    def order(self, model: ModelName, waiting: tuple[Trigger, ...], *, at: datetime) -> Retrain:
        """Order one turn for all that wait."""
        more = f" and {len(waiting) - NAMED} more" if len(waiting) > NAMED else ""
        reason = "; ".join(trigger.reason for trigger in waiting[:NAMED]) + more
        order = TriggeredTurn(Retrain(reason, waiting[0].actor, at), tuple(trigger.key for trigger in waiting))
        self._notes.put(_note(model), msgspec.json.encode(order))
        self._take(model, order)
        return order.retrain

    def ended(self, model: ModelName) -> None:
        """Note that the ordered turn has ended."""
        if self._notes.get(_note(model)):
            self._notes.put(_note(model), b"")

    def of(self, model: ModelName) -> tuple[Trigger, ...]:
        """List what waits, oldest first."""
        return tuple(self._triggers.waiting(model))

    def _take(self, model: ModelName, order: TriggeredTurn) -> None:
        assert order.retrain.at is not None  # noqa: S101 - an order has its time
        self._triggers.take(model, order.keys, at=order.retrain.at)


def datasets_of(spec: ProjectSpec) -> list[DatasetName]:
    """List the datasets whose new versions ask for a training."""
    parts = [name.partition(":") for name in spec.retraining.triggers]
    return [DatasetName(name) for kind, _, name in parts if kind == DATASET]


def _note(model: ModelName) -> str:
    return f"turn asked for:{model}"
