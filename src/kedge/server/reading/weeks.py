"""The live loss by week, from blocks of labelled rows: mean, 95 % band, the limit that was accepted.

Rows of one day share their weather, so the band treats the day as the unit: with D days of n_d rows and loss l_d, the mean
is m = sum l / sum n, and its variance D / (D - 1) * sum (l_d - m n_d)^2 / (sum n)^2 (ratio estimator, Cochran 1977, 6.4),
with Student's t for D - 1 degrees of freedom.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from math import inf, sqrt

import msgspec

from kedge.domain.monitoring import Block
from kedge.server.reading.scene import Scene
from kedge.server.reading.windows import blocks_of

WEEK = timedelta(days=7)
_T975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean loss over labelled rows, with its 95 % interval where there are two days or more."""

    loss: float
    rows: int
    days: int
    lower: float | None = None
    upper: float | None = None


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """Seven days of live loss: of the champion, of the version on trial, and the limit in force at the end."""

    start: datetime
    end: datetime
    champion: int
    live: Mean | None
    trial: Mean | None
    limit: float | None


def mean_of(blocks: Iterable[Block]) -> Mean | None:
    """Join blocks to a mean with its interval; None without rows."""
    by_day: dict[datetime, tuple[int, float]] = {}
    for block in blocks:
        rows, loss = by_day.get(block.day, (0, 0.0))
        by_day[block.day] = (rows + block.rows, loss + block.loss)
    days = [(rows, loss) for rows, loss in by_day.values() if rows]
    total = sum(rows for rows, _ in days)
    if not total:
        return None
    mean = sum(loss for _, loss in days) / total
    if len(days) < 2:
        return Mean(loss=mean, rows=total, days=len(days))
    spread = sum((loss - mean * rows) ** 2 for rows, loss in days) * len(days) / (len(days) - 1)
    half = _quantile(len(days) - 1) * sqrt(spread) / total
    least = 0.0 if all(loss >= 0 for _, loss in days) else -inf  # a loss that is never below zero has no mean below it
    return Mean(loss=mean, rows=total, days=len(days), lower=max(least, mean - half), upper=mean + half)


def _quantile(freedom: int) -> float:
    return _T975[freedom - 1] if freedom <= len(_T975) else 1.96 + 2.4 / freedom


def champion_on(scene: Scene, day: datetime) -> int:
    """Say which version was champion for most of a day: the one in force at its noon; 0 before there was one."""
    noon = day + timedelta(hours=12)
    found = 0
    for deployment in scene.deployments:
        if deployment.since <= noon or not found:
            found = deployment.champion
    return found


def weeks_of(scene: Scene) -> tuple[Week, ...]:
    """Cut the labelled life of a model into weeks from its first labelled day. A week without labels stays a gap."""
    blocks = scene.blocks
    if not blocks:
        return ()
    champions = {day: champion_on(scene, day) for day in {block.day for block in blocks}}
    first, last = blocks[0].day, blocks[-1].day
    starts = [first + WEEK * index for index in range((last - first) // WEEK + 2)]
    return tuple(_week(scene, blocks, champions=champions, start=start, end=end) for start, end in pairwise(starts))


def _week(scene: Scene, blocks: Sequence[Block], *, champions: dict[datetime, int], start: datetime, end: datetime) -> Week:
    inside = [block for block in blocks if start <= block.day < end]
    challenger = scene.deployment.challenger if scene.deployment else None
    limits = [health.risk.limit for health in scene.healths if health.risk and start < health.window.end <= end]
    return Week(
        start=start,
        end=end,
        champion=champions[inside[-1].day] if inside else champion_on(scene, start),
        live=mean_of(block for block in inside if block.version == champions[block.day]),
        trial=mean_of(block for block in inside if block.version == challenger),
        limit=limits[-1] if limits else None,
    )


def difference(scene: Scene, champion: int, *, challenger: int) -> Mean | None:
    """Compare a version on trial with its champion on the days that both answered: mean of the daily differences in loss
    (below zero: the challenger loses less), with Student's interval over days."""
    days = _daily(scene, champion), _daily(scene, challenger)
    both = sorted(days[0].keys() & days[1].keys())
    if not both:
        return None
    gaps = [days[1][day].loss / days[1][day].rows - days[0][day].loss / days[0][day].rows for day in both]
    mean = sum(gaps) / len(gaps)
    rows = sum(days[1][day].rows for day in both)
    if len(gaps) < 2:
        return Mean(loss=mean, rows=rows, days=1)
    half = _quantile(len(gaps) - 1) * sqrt(sum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1) / len(gaps))
    return Mean(loss=mean, rows=rows, days=len(gaps), lower=mean - half, upper=mean + half)


def _daily(scene: Scene, version: int) -> dict[datetime, Block]:
    newest = scene.health.blocks if scene.health else ()
    return {block.day: block for block in newest if block.version == version and block.rows}


def last_week(scene: Scene, version: int) -> Mean | None:
    """Give the mean loss of a version over the newest seven labelled days; None without labels."""
    blocks = [block for block in blocks_of(scene.healths[-60:]) if block.version == version]
    if not blocks:
        return None
    return mean_of(block for block in blocks if block.day > blocks[-1].day - WEEK)


def life_of(blocks: Sequence[Block], version: int) -> Mean | None:
    """Give the mean live loss of a version over all its labelled days."""
    return mean_of(block for block in blocks if block.version == version)
