"""The loss over the windows, day by day: a mean of seven days with its band, what is estimated where truth is not here yet.

Half a year and less is shown by days; more by whole weeks, so that a line never has more points than a screen has room.
"""

from datetime import datetime, timedelta

import msgspec

from kedge.domain.quality import Cohort
from kedge.server.reading.scene import Scene
from kedge.server.reading.weeks import WEEK, Mean, champion_on, mean_of, weeks_of

DAY = timedelta(days=1)
QUARTER = 91
_KNOWN = 0.5


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A day or a week: `live` is the champion's mean loss over it (a day: over the seven days up to it), `limit` the one in
    force; `estimate` the loss that was expected without truth, where less than half of the truth is here."""

    start: datetime
    end: datetime
    champion: int
    live: Mean | None = None
    trial: Mean | None = None
    limit: float | None = None
    estimate: float | None = None
    arrived: float | None = None


class LossCourse(msgspec.Struct, frozen=True, kw_only=True):
    """The loss over time. `by` is "day" or "week"; `whole` tells whether it is all there is."""

    by: str
    whole: bool
    stretches: tuple[Stretch, ...]


def course_of(scene: Scene, *, whole: bool) -> LossCourse:
    """Lay out the newest quarter by days, or everything: by days where that is not more than a quarter, else by weeks."""
    days = _days(scene)
    if not days:
        return LossCourse(by="day", whole=True, stretches=())
    if not whole or len(days) <= QUARTER:
        return LossCourse(by="day", whole=len(days) <= QUARTER, stretches=tuple(_daily(scene, days[-QUARTER:])))
    return LossCourse(by="week", whole=True, stretches=tuple(_weekly(scene)))


def _days(scene: Scene) -> list[datetime]:
    """List the days from the first that was labelled or estimated to the newest window's."""
    blocks, cohorts = scene.blocks, scene.cohorts
    starts = [block.day for block in blocks[:1]] + [start for start, one in cohorts.items() if one.estimates]
    if not starts or scene.health is None:
        return []
    first = min(starts)
    return [first + DAY * index for index in range(max(1, -((first - scene.health.window.end) // DAY)))]


def _daily(scene: Scene, days: list[datetime]) -> list[Stretch]:
    blocks, cohorts = scene.blocks, scene.cohorts
    champions = {day: champion_on(scene, day) for day in {*days, *(block.day for block in blocks)}}
    labelled = {block.day for block in blocks if block.rows and block.version == champions[block.day]}
    challenger = scene.deployment.challenger if scene.deployment else None
    limits = _limits(scene)
    live = [block for block in blocks if block.version == champions[block.day] and block.day > days[0] - WEEK]
    tried = [block for block in blocks if block.version == challenger]
    found = []
    for day in days:
        here = day in labelled
        cohort = cohorts.get(day)
        arrived = cohort.arrived if cohort is not None else None
        found.append(
            Stretch(
                start=day,
                end=day + DAY,
                champion=champions[day],
                live=mean_of(one for one in live if day - WEEK < one.day <= day) if here else None,
                trial=mean_of(one for one in tried if day - WEEK < one.day <= day) if here else None,
                limit=limits.get(day),
                estimate=_estimate(cohort, scene.metric) if arrived is None or arrived < _KNOWN or not here else None,
                arrived=arrived,
            )
        )
    return found


def _estimate(cohort: Cohort | None, metric: str) -> float | None:
    return None if cohort is None else cohort.estimates.get(metric)


def _limits(scene: Scene) -> dict[datetime, float]:
    """Give the accepted limit in force on each day that a window tells of."""
    return {
        health.window.start.replace(hour=0, minute=0, second=0, microsecond=0): health.risk.limit
        for health in scene.healths
        if health.risk is not None
    }


def _weekly(scene: Scene) -> list[Stretch]:
    cohorts = scene.cohorts
    found = []
    for week in weeks_of(scene):
        inside = [one for start, one in cohorts.items() if week.start <= start < week.end]
        rows, labels = sum(one.rows for one in inside), sum(one.labels for one in inside)
        told = [(one.rows, one.estimates[scene.metric]) for one in inside if scene.metric in one.estimates]
        whole = sum(each for each, _ in told)
        arrived = min(1.0, labels / rows) if rows else None
        found.append(
            Stretch(
                start=week.start,
                end=week.end,
                champion=week.champion,
                live=week.live,
                trial=week.trial,
                limit=week.limit,
                estimate=sum(each * value for each, value in told) / whole
                if whole and (arrived is None or arrived < _KNOWN)
                else None,
                arrived=arrived,
            )
        )
    return found
