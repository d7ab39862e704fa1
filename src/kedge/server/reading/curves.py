"""Curves of metrics, thinned on the server: at most so many points a line, smallest and greatest of each stretch kept.

A spike never disappears, and the same question gives the same line again.
"""

from collections.abc import Sequence
from math import isfinite

import msgspec

from kedge.domain.ids import RunId
from kedge.domain.tracking import Series
from kedge.server.house import House

SMALL, LARGE = 150, 1000


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one run. Columns of equal length: steps, seconds since the run began, values (null: not finite).

    `points` is how many there are in the range; where `steps` has fewer, they were thinned.
    """

    run: RunId
    key: str
    points: int
    steps: tuple[int, ...]
    seconds: tuple[float, ...]
    values: tuple[float | None, ...]


class CurvesPage(msgspec.Struct, frozen=True, kw_only=True):
    """Curves of some metrics over some runs, in a range of steps (null: open)."""

    start: int | None
    end: int | None
    curves: tuple[Curve, ...]


def curves(
    house: House,
    runs: Sequence[RunId],
    *,
    keys: Sequence[str],
    count: int = LARGE,
    start: int | None = None,
    end: int | None = None,
) -> CurvesPage:
    """Read curves, each thinned to `count` points or a little more. Runs without a metric are left out."""
    began = house.meta.overviews.starts(runs)
    found = house.logging.sampled(runs, keys, count=count, start_step=start, end_step=end)
    return CurvesPage(start=start, end=end, curves=tuple(curve_of(one, began=began[one.run]) for one in found))


def curve_of(series: Series, *, began: int) -> Curve:
    """Lay a series out in columns; `began` is the run's start in milliseconds."""
    return Curve(
        run=series.run,
        key=series.key,
        points=series.total,
        steps=tuple(step for _, step, _ in series.points),
        seconds=tuple((at - began) / 1000 for at, _, _ in series.points),
        values=tuple(value if isfinite(value) else None for _, _, value in series.points),
    )
