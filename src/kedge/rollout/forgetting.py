"""Take rows out of the evidence of trials: those furthest apart, which looks at a shadow and the tally behind them keep.

    tally (a note) --> looks (rows) --> once more, where a look was written meanwhile by whoever had read the row before
What reads the log on takes up the tally that was written, so a row that is gone from it does not come back.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kedge.domain.ids import ModelName
from kedge.domain.rollout import Apart, RolloutLook
from kedge.ports import Deployments, Notes
from kedge.rollout.live import find_tally, tally_note

TRIES = 5


class TrialRows:
    """The single rows that trials keep."""

    def __init__(self, *, deployments: Deployments, notes: Notes) -> None:
        self._deployments, self._notes = deployments, notes

    def forget(self, gone: Callable[[Apart, RolloutLook | None], bool], *, model: ModelName | None = None) -> int:
        """Forget the rows that are `gone`, each asked with the look that keeps it (None: the tally), of one model or of all;
        give how many looks kept one."""
        names = [name for name in self._deployments.names() if model in (None, name)]
        return sum(self._forget(name, gone) for name in names)

    def _forget(self, model: ModelName, gone: Callable[[Apart, RolloutLook | None], bool]) -> int:
        found = 0
        for _ in range(TRIES):
            tallied = self._from_tally(model, gone)
            looks = self._deployments.change_looks(model, lambda look: _without(look, gone))
            if not (tallied or looks):
                break
            found += looks
        return found

    def _from_tally(self, model: ModelName, gone: Callable[[Apart, RolloutLook | None], bool]) -> bool:
        tally = find_tally(self._notes, model)
        left = [one for one in tally.largest if not gone(one, None)] if tally is not None else []
        if tally is None or len(left) == len(tally.largest):
            return False
        tally.largest = left
        self._notes.put(tally_note(model), msgspec.msgpack.encode(tally))
        return True


def _without(look: RolloutLook, gone: Callable[[Apart, RolloutLook | None], bool]) -> RolloutLook:
    compared = look.comparison
    if compared is None or not any(gone(one, look) for one in compared.largest):
        return look
    left = tuple(one for one in compared.largest if not gone(one, look))
    return msgspec.structs.replace(look, comparison=msgspec.structs.replace(compared, largest=left))
