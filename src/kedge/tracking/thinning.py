"""Thin a series so that its line looks the same: in each part of it, the first, the least, the greatest and the last."""

import math
from collections.abc import Sequence
from itertools import islice
from operator import itemgetter, le

from kedge.domain.tracking import Point


def thinned(points: Sequence[Point], count: int) -> tuple[Point, ...]:
    """Give points in the order of their steps: all where they are at most `count`, else about that many.

    The series is cut into parts of equally many points; of each part stay the least and the greatest value (NaN has no
    place among them), and the very first and very last point of all.
    """
    ordered = _by_step(points)
    if len(ordered) <= max(count, 2):
        return tuple(ordered)
    values = [value for _, _, value in ordered]
    parts = max((count - 2) // 2, 1)
    kept = {0, len(ordered) - 1}
    for part in range(parts):
        start, end = part * len(ordered) // parts, (part + 1) * len(ordered) // parts
        some = values[start:end]
        numbers = [value for value in some if not math.isnan(value)]
        extremes = (min(numbers), max(numbers)) if numbers else some[:1]
        kept |= {start + some.index(value) for value in extremes}
    return tuple(ordered[at] for at in sorted(kept))


def _by_step(points: Sequence[Point]) -> Sequence[Point]:
    """Give points in the order of (step, at); they come by (at, step), which mostly is the same."""
    steps = [step for _, step, _ in points]
    if all(map(le, steps, islice(steps, 1, None))):
        return points
    return sorted(points, key=itemgetter(1, 0))
