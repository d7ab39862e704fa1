"""The windows of a model, read once and then only those that are new; and what all pages ask of them, gathered once.

A window that was measured is never written again, so one that was read stays true.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Block, Health
from kedge.domain.predictions import TruthStanding, standing_of
from kedge.domain.quality import Cohort
from kedge.ports.records import Watches

_ONE_BY_ONE = 20


class WindowsRead(msgspec.Struct, frozen=True, kw_only=True):
    """The newest windows, oldest first. `blocks` (ordered by day) and `cohorts` (by their start) each stand once, as the
    newest window that tells of them does; `truth` sums up how ground truth was joined."""

    healths: tuple[Health, ...]
    blocks: tuple[Block, ...]
    cohorts: dict[datetime, Cohort]
    truth: TruthStanding


def read_windows(watches: Watches, model: ModelName, *, known: Sequence[Health], limit: int) -> WindowsRead:
    """Read the newest windows of a model, of which those that are `known` need not be read again."""
    there = watches.windows(model, limit=limit)
    held = {one.window: one for one in known}
    fresh = [window for window in there if window not in held]
    if len(fresh) > _ONE_BY_ONE:
        return gather(model, watches.list(model, limit=limit))
    found = (watches.find(model, window.id) for window in fresh)
    held |= {one.window: one for one in found if one is not None}
    return gather(model, [held[window] for window in there if window in held])


def gather(model: ModelName, healths: Sequence[Health]) -> WindowsRead:
    """Gather what all pages ask of windows, oldest first."""
    return WindowsRead(
        healths=tuple(healths),
        blocks=tuple(blocks_of(healths)),
        cohorts=cohorts_of(healths),
        truth=standing_of(model, healths),
    )


def blocks_of(healths: Iterable[Health]) -> list[Block]:
    """Collect each (day, version) once, as the newest window that tells of it does; ordered by day."""
    newest: dict[tuple[datetime, int], Block] = {}
    for health in healths:
        newest.update({(block.day, block.version): block for block in health.blocks})
    return [newest[key] for key in sorted(newest)]


def cohorts_of(healths: Iterable[Health]) -> dict[datetime, Cohort]:
    """Give each cohort as the newest window that measured it told it, by its start."""
    return {one.start: one for health in healths if health.quality is not None for one in health.quality.cohorts}
