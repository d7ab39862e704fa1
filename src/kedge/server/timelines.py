"""From the loss over the windows, and from the ledger's steps, to the figures that the server draws."""

from datetime import datetime, timedelta
from itertools import pairwise

from kedge.server.reading.continuing import RetrainingPage
from kedge.server.reading.course import Stretch
from kedge.server.reading.watching import MonitoringPage
from kedge.web import words
from kedge.web.year import Point, Sign, Year

DAY = timedelta(days=1)
_FAR = 1.2
_HALF_STEP = 0.5
_AHEAD = 4
"""Steps that the figure of the ledger shows ahead, beside a fifth of what lies behind."""


def course_chart(page: MonitoringPage) -> Year | None:
    """Lay out the loss over the windows; None where nothing is known or estimated."""
    stretches = page.course.stretches
    if not any(one.live or one.estimate is not None for one in stretches):
        return None
    start, end = stretches[0].start, stretches[-1].end
    span = stretches[0].end - start
    promotions = [one for one in page.promotions if start - DAY <= one.at <= end]
    alarms = [one for one in page.alarms if start <= one.at <= end]
    return Year(
        start=start,
        points=[_point(one, start) for one in stretches],
        promotions=[
            Sign(max(0.0, _days(one.at, start)), f"v{one.version}", f"v{one.version} promoted {words.utc(one.at)}")
            for one in promotions
        ],
        alarms=[Sign(_days(one.at, start), "", f"{words.metric(one.kind)}: {one.message}") for one in alarms],
        champion=f"v{page.champion} champion",
        challenger=f"v{page.challenger} on trial" if page.challenger else "",
        title=_title(page, len(promotions), alarms=len(alarms)),
        half=_days(start + span / 2, start),
        estimated="estimate",
    )


def _title(page: MonitoringPage, promotions: int, *, alarms: int) -> str:
    stretches = page.course.stretches
    last = next((one.live for one in reversed(stretches) if one.live), None)
    now = f"; newest {words.loss(last.loss)}" if last else ""
    expected = next((one.estimate for one in reversed(stretches) if one.estimate is not None), None)
    guess = f"; estimated without truth {words.loss(expected)}" if expected is not None else ""
    over = "mean of seven days, by day" if page.course.by == "day" else "by week"
    return (
        f"{words.metric(page.metric).capitalize()} of the champion, {over}, {words.long_day(stretches[0].start)} to "
        f"{words.long_day(stretches[-1].end)}, with 95 % band, accepted limit, {words.many(promotions, 'promotion')} "
        f"and {words.many(alarms, 'alarm')}{now}{guess}"
    )


def _days(at: datetime, start: datetime) -> float:
    return (at - start) / DAY


def _point(one: Stretch, start: datetime) -> Point:
    live = one.live
    return Point(
        at=_days(one.start + (one.end - one.start) / 2, start),
        loss=live.loss if live else None,
        lower=live.lower if live else None,
        upper=live.upper if live else None,
        trial=one.trial.loss if one.trial else None,
        limit=one.limit,
        estimate=one.estimate,
    )


def ledger_chart(page: RetrainingPage) -> Year | None:
    """Lay out regret against the price of a retraining, step by step, and on to where they meet; None without steps."""
    course, price = page.course, page.price
    if not course or price is None:
        return None
    start = course[0].at
    last = course[-1]
    ends = [(after.at - before.at) / DAY for before, after in pairwise(course)]
    step = min(ends) if ends else 1.0
    span = _days(last.at, start)
    points = [Point(_days(one.at, start), one.regret, None, None, None, price) for one in course]
    if page.ahead is not None and not last.trained and _days(page.ahead, start) > span:
        points[-1] = points[-1]._replace(estimate=last.regret)
        met, way = _days(page.ahead, start), _FAR * span + _AHEAD * step
        meets = price if met <= way else last.regret + (price - last.regret) * (way - span) / (met - span)
        points.append(Point(min(met, way), None, None, None, None, price, meets))
    return Year(
        start=start,
        points=points,
        promotions=[
            Sign(_days(one.at, start), "ordered", f"retraining ordered {words.utc(one.at)}") for one in course if one.trained
        ],
        alarms=[],
        champion="regret",
        challenger="",
        title=(
            f"Regret against the price of a retraining over {words.many(len(course), 'step')}: now "
            f"{words.number(last.regret)} of {words.number(price)}"
        ),
        half=step * _HALF_STEP,
        estimated="at this rate",
        limited="price",
    )
