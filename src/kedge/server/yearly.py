"""From a model's weeks to the figure of its year: for the server's drawing, and as data for the explorable one."""

from datetime import datetime, timedelta
from typing import Any

from kedge.server.reading.model import ModelPage
from kedge.server.reading.weeks import Week
from kedge.web import words
from kedge.web.year import Point, Sign, Year, bounds

_MIDDLE = timedelta(days=3.5)


def chart_of(page: ModelPage) -> Year | None:
    """Lay out the figure; None where no label has come."""
    if not any(week.live for week in page.weeks):
        return None
    start, end = page.weeks[0].start, page.weeks[-1].end
    inside = [one for one in page.promotions if one.at <= end]
    alarms = [one for one in page.alarms if start <= one.at <= end]
    return Year(
        start=start,
        points=[_point(week, start) for week in page.weeks],
        promotions=[
            Sign(max(0.0, _days(one.at, start)), f"v{one.version}", f"v{one.version} promoted {words.utc(one.at)}")
            for one in inside
        ],
        alarms=[Sign(_days(one.at, start), "", one.message) for one in alarms],
        champion=f"v{page.champion} champion",
        challenger=f"v{page.challenger} on trial" if page.challenger else "",
        title=_title(page, len(inside), alarms=len(alarms)),
    )


def _title(page: ModelPage, promotions: int, *, alarms: int) -> str:
    last = next((week.live for week in reversed(page.weeks) if week.live), None)
    now = f"; in the newest week {words.loss(last.loss)}" if last else ""
    return (
        f"Weekly {words.metric(page.metric)} of the champion, {words.long_day(page.weeks[0].start)} to "
        f"{words.long_day(page.weeks[-1].end)}, with 95 % band, accepted limit, {words.many(promotions, 'promotion')} "
        f"and {words.many(alarms, 'alarm')}{now}"
    )


def _days(at: datetime, start: datetime) -> float:
    return (at - start) / timedelta(days=1)


def _point(week: Week, start: datetime) -> Point:
    live, trial = week.live, week.trial
    return Point(
        at=_days(week.start + _MIDDLE, start),
        loss=live.loss if live else None,
        lower=live.lower if live else None,
        upper=live.upper if live else None,
        trial=trial.loss if trial else None,
        limit=week.limit,
    )


def chart_data(page: ModelPage) -> dict[str, Any]:
    """Give the figure's data to its script."""
    start, end = page.weeks[0].start, page.weeks[-1].end
    weeks = [
        _point(week, start)._asdict() | {"at": words.iso(week.start + _MIDDLE), "rows": week.live.rows if week.live else 0}
        for week in page.weeks
    ]
    promotions = [
        {"at": words.iso(max(one.at, start)), "label": f"v{one.version}", "title": words.utc(one.at)}
        for one in page.promotions
        if one.at <= end
    ]
    alarms = [
        {"at": words.iso(one.at), "title": one.message.replace("<", "&lt;")} for one in page.alarms if start <= one.at <= end
    ]
    low, high = bounds([_point(week, start) for week in page.weeks])
    return {
        "span": (low, high),
        "champion": f"v{page.champion} champion",
        "challenger": f"v{page.challenger} on trial" if page.challenger else "",
        "weeks": weeks,
        "promotions": promotions,
        "alarms": alarms,
    }
