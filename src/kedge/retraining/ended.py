"""What came of the turn that a ledger's newest entry ordered, by the event of its end and where its version stands."""

from kedge.domain.events import Event, EventKind
from kedge.domain.ids import Digest, ModelName, digest_of
from kedge.domain.registry import CHAMPION
from kedge.domain.retraining import LedgerEntry, TurnEnd
from kedge.ports import MetaStore
from kedge.retraining.ledger import RETRAIN, TURNED

UNCHANGED = "unchanged"
"""The outcome of a turn that made nothing new: its rows and code gave a version that was deployed before."""

_LOOKED_AT = 200


def turn_key(model: ModelName, window: str) -> Digest:
    """Give the key of the event that tells of the end of the turn that a window ordered."""
    return digest_of("turn ended", model, window)


def turn_end(meta: MetaStore, entry: LedgerEntry | None) -> TurnEnd | None:
    """Find what came of the turn of a ledger's newest entry. None where it ordered none, or its turn has not ended."""
    event = _event(meta, entry) if entry is not None else None
    if entry is None or event is None:
        return None
    outcome, number = str(event.facts.get("outcome", "")), event.facts.get("version")
    if outcome == "released" and isinstance(number, int):
        return TurnEnd(outcome=outcome, at=event.at, words=_released(meta, entry.model, number=number), version=number)
    return TurnEnd(outcome=outcome, at=event.at, words=_stopped(outcome, event))


def newest_end(meta: MetaStore, model: ModelName) -> Event | None:
    """Find the end of a model's newest turn, whoever ordered it, among its last events."""
    told = (one for _, one in meta.events.list(subject=model, limit=_LOOKED_AT))
    return next((one for one in told if one.kind is EventKind.TURN_ENDED), None)


def _event(meta: MetaStore, entry: LedgerEntry) -> Event | None:
    """Find the end of the turn that an entry ordered; an entry that tells of a turn by hand was written with its end."""
    if entry.decision == RETRAIN:
        return meta.events.find(turn_key(entry.model, entry.window))
    if entry.decision != TURNED:
        return None
    ended = (one for _, one in meta.events.list(subject=entry.model, limit=_LOOKED_AT) if one.kind is EventKind.TURN_ENDED)
    return next((one for one in ended if one.at == entry.decided_at), None)


def _released(meta: MetaStore, model: ModelName, *, number: int) -> str:
    """Say where a version that a turn released stands now."""
    moves = [move for move in meta.models.moves(model) if move.alias == CHAMPION]
    taken = next((move for move in reversed(moves) if move.number == number), None)
    if taken is not None:
        day = f"{taken.moved_at:%Y-%m-%d}"
        now = moves[-1].number
        if now == number:
            return f"version {number} of it is champion since {day}"
        return f"version {number} of it was champion from {day}; {f'version {now}' if now else 'none'} is now"
    deployment = meta.deployments.find(model)
    if deployment is not None and deployment.challenger == number:
        return f"version {number} of it is on trial"
    return f"version {number} of it went on trial and did not become champion"


def _stopped(outcome: str, event: Event) -> str:
    if outcome == "refused":
        return "the gate refused it"
    return event.message.removeprefix("Turn ended: ")
