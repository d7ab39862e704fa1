"""The primary figure of a model: a loss over time, drawn by the server in three widths (a style sheet shows one).

Line with 95 % band, the accepted limit dotted, promotions as labelled marks, alarms as triangles, names at the lines' ends.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from math import ceil, floor, inf, log10
from typing import NamedTuple

from markupsafe import Markup, escape

from kedge.domain.durations import floor_to
from kedge.web import words
from kedge.web.charts import Frame, polylines, runs_of


class Point(NamedTuple):
    """A week (or a day): its middle in days, the champion's mean and band, the trial's mean, the limit, and what was
    estimated without truth."""

    at: float
    loss: float | None
    lower: float | None
    upper: float | None
    trial: float | None
    limit: float | None
    estimate: float | None = None


class Sign(NamedTuple):
    """Something marked on the time axis: its day, its label, and a sentence for the pointer."""

    at: float
    label: str
    title: str


class Year(NamedTuple):
    """What the figure shows. `start` is day 0, `half` half the days that a point stands for; `limited` names the limit."""

    start: datetime
    points: Sequence[Point]
    promotions: Sequence[Sign]
    alarms: Sequence[Sign]
    champion: str
    challenger: str
    title: str
    half: float = 3.5
    estimated: str = ""
    limited: str = "limit"


DAILY, LATE = 100, 10
SHORTEST = 1 / 1440  # a minute, in days
HOURLY = 3  # days up to which the axis names times of the day, where a point stands for less than a day
WIDTHS = (("wide", 1320, 300), ("mid", 760, 290), ("narrow", 326, 270))


def figure(year: Year) -> Markup:
    """Draw the figure in all three widths."""
    return Markup("").join(_drawn(year, name, width=width, height=height) for name, width, height in WIDTHS)


def _drawn(year: Year, name: str, *, width: int, height: int) -> Markup:
    low, high = bounds(year.points)
    days = max(SHORTEST, year.points[-1].at + year.half)
    frame = Frame(
        left=42, right=width - (16 if name == "narrow" else 118), top=26, bottom=height - 26, x=(0, days), y=(low, high)
    )
    middles = [point.at for point in year.points]
    body = "".join(
        (
            _grid(frame, low, high=high),
            _hours(frame, year.start, days=days, narrow=name == "narrow")
            if days < HOURLY and year.half < 0.5
            else _days(frame, year.start, days=days, narrow=name == "narrow")
            if days <= DAILY
            else _months(frame, year.start, days=days, every=2 if name == "narrow" else 1),
            _band(frame, year.points),
            _marks(frame, year.promotions, room=24 if name == "narrow" else 34),
            _limit(frame, year.points, half=year.half),
            polylines(frame, [point.estimate for point in year.points], css="estimate", at=middles),
            polylines(frame, [point.loss for point in year.points], css="one", at=middles),
            polylines(frame, [point.trial for point in year.points], css="two", at=middles),
            _alarms(frame, year.alarms, points=year.points),
            "" if name == "narrow" else _ends(frame, year),
        )
    )
    label = escape(year.title)
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return Markup(f'<svg class="chart year {name}" {box} role="img" aria-label="{label}">{body}</svg>')  # noqa: S704 - numbers, our own classes, and escaped text only


def bounds(points: Sequence[Point]) -> tuple[float, float]:
    """Choose the span of losses to show: all that was lost, and those limits that leave its shape readable."""
    parts = ((point.loss, point.lower, point.upper, point.trial, point.estimate) for point in points)
    lost = [value for values in parts for value in values if value is not None]
    low, high = min(lost), max(lost)
    room = (high - low) or abs(high) * 0.1 or 1.0
    near = [point.limit for point in points if point.limit is not None and low - room / 2 <= point.limit <= high + room / 2]
    low, high = min([low, *near]), max([high, *near])
    least = 0.0 if low >= 0 else -inf  # what cannot be below zero is not drawn over room below it
    return max(least, low - 0.08 * (high - low or room)), high + 0.16 * (high - low or room)


def ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Choose round values between two bounds: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    scale = 10.0 ** floor(log10(rough))
    step = next(scale * factor for factor in (1, 2, 5, 10) if scale * factor >= rough)
    return [index * step for index in range(ceil(low / step), floor(high / step) + 1)]


def _grid(frame: Frame, low: float, *, high: float) -> str:
    values = ticks(low, high)
    places = max(0, min(6, -floor(log10(values[1] - values[0] + 1e-12)))) if len(values) > 1 else 3
    return "".join(
        f'<line class="gridline" x1="{frame.left}" x2="{frame.right}" y1="{frame.y(value):.1f}" y2="{frame.y(value):.1f}"/>'
        f'<text x="{frame.left - 8}" y="{frame.y(value) + 4:.1f}" text-anchor="end">{words.fixed(value, places)}</text>'
        for value in values
    )


def _hours(frame: Frame, start: datetime, *, days: float, narrow: bool) -> str:
    """Name some times of the day, and the day at midnight, where there are too few days to name."""
    most, minutes = (3 if narrow else 8), 1440 * days
    step = next(
        size for size in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440) if minutes / size <= most or size == 1440
    )
    parts = [f'<line class="axis" x1="{frame.left}" x2="{frame.right}" y1="{frame.bottom}" y2="{frame.bottom}"/>']
    at = floor_to(start, timedelta(minutes=step))
    while (day := (at - start) / timedelta(days=1)) <= days:
        x = frame.x(day)
        if x >= frame.left:
            parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.bottom}" y2="{frame.bottom + 4}"/>')
            if x < frame.right - 30:
                text = f"{at.day} {at:%b}" if at.hour == at.minute == 0 else f"{at:%H:%M}"
                parts.append(f'<text x="{x + 3:.1f}" y="{frame.bottom + 17}">{text}</text>')
        at += timedelta(minutes=step)
    return "".join(parts)


def _days(frame: Frame, start: datetime, *, days: float, narrow: bool) -> str:
    """Name some days where there are too few for months."""
    most = 4 if narrow else 10
    step = next(size for size in (1, 2, 7, 14, 28) if days / size <= most or size == 28)
    parts = [f'<line class="axis" x1="{frame.left}" x2="{frame.right}" y1="{frame.bottom}" y2="{frame.bottom}"/>']
    for day in range(0, int(days) + 1, step):
        x = frame.x(day)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.bottom}" y2="{frame.bottom + 4}"/>')
        if x < frame.right - 20:
            at = start + timedelta(days=day)
            parts.append(f'<text x="{x + 3:.1f}" y="{frame.bottom + 17}">{at.day} {at:%b}</text>')
    return "".join(parts)


def _months(frame: Frame, start: datetime, *, days: float, every: int) -> str:
    parts = [f'<line class="axis" x1="{frame.left}" x2="{frame.right}" y1="{frame.bottom}" y2="{frame.bottom}"/>']
    month = datetime(start.year, start.month, 1, tzinfo=start.tzinfo)
    index = 0
    span = ceil(days / (30 * 14)) * every
    while (at := (month - start) / timedelta(days=1)) < days:
        if at >= -0.5 and index % span == 0:
            x = frame.x(max(at, 0.0))
            parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.bottom}" y2="{frame.bottom + 4}"/>')
            if x < frame.right - 20:
                parts.append(f'<text x="{x + 3:.1f}" y="{frame.bottom + 17}">{month:%b}</text>')
        index += at >= -0.5
        month = datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=start.tzinfo)
    return "".join(parts)


def _band(frame: Frame, points: Sequence[Point]) -> str:
    whole = [point.lower if point.upper is not None else None for point in points]
    parts = []
    for run in runs_of(whole):
        if len(run) > 1:
            there = [frame.point(points[i].at, points[i].upper or 0.0) for i, _ in run]
            back = [frame.point(points[i].at, low) for i, low in reversed(run)]
            parts.append(f'<polygon class="band one" points="{" ".join(there + back)}"/>')
    return "".join(parts)


def _limit(frame: Frame, points: Sequence[Point], *, half: float) -> str:
    """Draw the limit in force as steps: each champion brings its own. One far off is cut at the frame, not squeezed in."""
    parts = []
    for run in runs_of([point.limit for point in points]):
        steps = ((points[index].at + side, value) for index, value in run for side in (-half, half))
        path = " ".join(frame.point(x, y) for x, y in steps)
        parts.append(f'<polyline class="limit" points="{path}"/>')
    width, height = frame.right - frame.left, frame.bottom - frame.top
    box = f'x="{frame.left}" y="{frame.top}" width="{width}" height="{height}"'
    return f'<svg class="cut" {box} viewBox="{frame.left} {frame.top} {width} {height}">{"".join(parts)}</svg>'


def _marks(frame: Frame, promotions: Sequence[Sign], *, room: float) -> str:
    """Mark promotions; a name that would touch the one before it is left to the pointer."""
    parts, free = [], -1e9
    for sign in promotions:
        x = frame.x(sign.at)
        ends = f'x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top - 6}" y2="{frame.bottom}"'
        parts.append(f'<line class="promoted" {ends}><title>{escape(sign.title)}</title></line>')
        if x - free >= room:
            anchor = "start" if x < frame.left + 12 else "middle"
            parts.append(f'<text class="name" x="{x:.1f}" y="15" text-anchor="{anchor}">{escape(sign.label)}</text>')
            free = x
    return "".join(parts)


def _alarms(frame: Frame, alarms: Sequence[Sign], *, points: Sequence[Point]) -> str:
    parts = []
    for sign in alarms:
        near = min(points, key=lambda point: abs(point.at - sign.at))
        top = near.upper if near.upper is not None else near.loss if near.loss is not None else near.estimate
        x, y = frame.x(sign.at), frame.top + 2 if top is None else max(frame.top + 2, frame.y(top) - 16)
        parts.append(f'<path class="alarm" d="M{x - 6:.1f} {y:.1f}h12l-6 10z"><title>{escape(sign.title)}</title></path>')
    return "".join(parts)


def _ends(frame: Frame, year: Year) -> str:
    """Name the lines at their ends, pushed apart where they would touch."""
    newest = year.points[-max(LATE, len(year.points) // LATE) :]

    def last(values: Iterable[float | None]) -> float | None:
        return next((value for value in reversed(list(values)) if value is not None), None)

    limit = last(point.limit for point in newest)
    wanted = [
        (value, css, text)
        for value, css, text in (
            (limit, "", f"{year.limited} {words.loss(limit)}"),
            (last(point.loss for point in newest), "one", year.champion),
            (last(point.trial for point in newest), "two", year.challenger),
            (last(point.estimate for point in newest), "one", year.estimated),
        )
        if value is not None
    ]
    placed, free = [], frame.top - 16
    for value, css, text in sorted(wanted, key=lambda want: -want[0]):
        y = max(frame.y(value) + 4, free + 16)
        placed.append(f'<text class="end {css}" x="{frame.right + 9}" y="{y:.1f}">{escape(text)}</text>')
        free = y
    return "".join(placed)
