"""Who held an alias before: the moves read as a stack, so that going back twice goes two back and never forth again.

    moves   1, 2, 3    back    back
    stack   1  1  1    1       1
               2  2    2
                  3
A version stands in it once: a move to one that is there is a way back to it.
"""

from __future__ import annotations

from collections.abc import Sequence

from kedge.domain.registry import CHAMPION, AliasMove


def previous_holder(moves: Sequence[AliasMove], alias: str = CHAMPION) -> int | None:
    """Find the version to go back to; None where there is none.

    An alias that was taken away goes back to its last holder.
    """
    stack: list[int | None] = []
    for number in (move.number for move in moves if move.alias == alias):
        if None in stack:
            stack.remove(None)
        if number in stack:
            del stack[stack.index(number) + 1 :]
        else:
            stack.append(number)
    return stack[-2] if len(stack) > 1 else None
