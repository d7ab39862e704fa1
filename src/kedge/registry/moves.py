"""The moves of aliases and stages as events, and both together as the history of a model."""

from collections.abc import Callable, Sequence

from kedge.domain.events import Event, EventKind
from kedge.domain.ids import digest_of
from kedge.domain.registry import AliasMove, HistoryEntry, StageMove


def alias_moved(move: AliasMove) -> Event:
    """Make the event of an alias's move."""
    whence = f" from version {move.previous}" if move.previous is not None else ""
    to = f"moved{whence} to version {move.number}" if move.number is not None else f"was taken away{whence}"
    return Event(
        key=digest_of("alias-moved", move),  # whole: two who move it alike at the same serial are two, and one is told no
        kind=EventKind.ALIAS_MOVED,
        at=move.moved_at,
        subject=move.model,
        actor=move.actor,
        message=f"{move.alias} of {move.model} {to}: {move.reason}",
        facts={"alias": move.alias, "number": move.number, "previous": move.previous},
    )


def stage_moved(move: StageMove) -> Event:
    """Make the event of a transition from stage to stage."""
    return Event(
        key=digest_of("stage-moved", move.model, move.number, move.serial, move.moved_at.isoformat()),
        kind=EventKind.STAGE_MOVED,
        at=move.moved_at,
        subject=move.model,
        actor=move.actor,
        message=f"Version {move.number} of {move.model} went from {move.previous.value} to {move.stage.value}:"
        f" {move.reason}",
        facts={"number": move.number, "stage": move.stage.value, "previous": move.previous.value},
    )


def history_of(
    aliases: Sequence[AliasMove], stages: Sequence[StageMove], *, verdict_of: Callable[[int], str]
) -> tuple[HistoryEntry, ...]:
    """Put the moves of a model's aliases and stages into one line of time, oldest first."""
    moved = [
        HistoryEntry(
            kind="alias",
            name=move.alias,
            number=move.number,
            previous=move.previous,
            before="",
            serial=move.serial,
            at=move.moved_at,
            actor=move.actor,
            reason=move.reason,
            verdict=verdict_of(move.number) if move.number is not None else "",
        )
        for move in aliases
    ]
    moved += [
        HistoryEntry(
            kind="stage",
            name=move.stage.value,
            number=move.number,
            previous=None,
            before=move.previous.value,
            serial=move.serial,
            at=move.moved_at,
            actor=move.actor,
            reason=move.reason,
            verdict=verdict_of(move.number),
        )
        for move in stages
    ]
    return tuple(sorted(moved, key=lambda entry: entry.at))
