"""Pictures of what is watched, written by the server as SVG: calibration, and a gap on a line of no difference."""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum

from markupsafe import Markup, escape

from kedge.domain.causes import RisenSlice
from kedge.domain.fairness import Gap
from kedge.domain.quality import ReliabilityBin
from kedge.web import words
from kedge.web.charts import Frame


def calibration(bins: Sequence[ReliabilityBin], *, title: str, side: int = 280) -> Markup:
    """Draw the share that came true against the mean answer; a larger dot stands for more rows."""
    top = max([*(one.answer for one in bins), *(one.truth for one in bins), 1e-9])
    top = 1.0 if top > 0.5 else top * 1.1
    low = min([0.0, *(one.answer for one in bins), *(one.truth for one in bins)])
    frame = Frame(left=42, right=side - 8, top=8, bottom=side - 36, x=(low, top), y=(low, top))
    ends = f'x1="{frame.x(low):.1f}" y1="{frame.y(low):.1f}" x2="{frame.x(top):.1f}" y2="{frame.y(top):.1f}"'
    parts = [
        f'<line class="axis" x1="{frame.left}" x2="{frame.right}" y1="{frame.bottom}" y2="{frame.bottom}"/>',
        f'<line class="axis" x1="{frame.left}" x2="{frame.left}" y1="{frame.top}" y2="{frame.bottom}"/>',
        f'<line class="limit" {ends}/>',
    ]
    for value in (low, (low + top) / 2, top):
        text = words.fixed(value, 2)
        anchor = "end" if value == top else "middle"
        parts.append(f'<text x="{frame.x(value):.1f}" y="{frame.bottom + 16}" text-anchor="{anchor}">{text}</text>')
        parts.append(f'<text x="{frame.left - 6}" y="{frame.y(value) + 4:.1f}" text-anchor="end">{text}</text>')
    most = max((one.rows for one in bins), default=1) or 1
    points = " ".join(frame.point(one.answer, one.truth) for one in bins)
    parts.append(f'<polyline class="line one" points="{points}"/>')
    for one in bins:
        told = f"answered {words.loss(one.answer)}, {words.loss(one.truth)} came true, {words.many(one.rows, 'row')}"
        place = f'cx="{frame.x(one.answer):.1f}" cy="{frame.y(one.truth):.1f}" r="{2.5 + 2 * one.rows / most:.1f}"'
        parts.append(f'<circle class="dot one" {place}><title>{escape(told)}</title></circle>')
    middle = (frame.left + frame.right) / 2
    parts.append(f'<text x="{middle:.1f}" y="{side - 4}" text-anchor="middle">mean answer; up: share that came true</text>')
    return _svg(side, side, title=title, body="".join(parts), css="square")


MARKS = {"well": ("ok", 0.2), "watch": ("warn", 0.6), "alarm": ("bad", 1.0), "holds": ("idle", 0.2)}
"""How high a state stands in a lane, so that it is not told by its colour alone."""


def lane(name: str, marks: Sequence[Enum | None], *, most: int = 60, height: int = 20) -> Markup:
    """Draw a state for each window, the newest at the right end: well is low, watch is higher, an alarm is full; None is a
    gap. `most` windows fill the width."""
    step, drawn = 4, []
    counts = Counter(mark and mark.value for mark in marks)
    title = (
        f"{name.capitalize()} in {words.many(len(marks), 'window')}: {counts['alarm']} in alarm, "
        f"{counts['watch']} to watch, {counts[None]} not measured"
    )
    for place, mark in enumerate(reversed(marks)):
        if mark is not None:
            css, part = MARKS[mark.value]
            tall = part * (height - 2)
            x = step * (most - 1 - place)
            drawn.append(f'<rect class="mark {css}" x="{x}" y="{height - 1 - tall:.1f}" width="3" height="{tall:.1f}"/>')
    ground = f'<line class="ground" x1="0" x2="{step * most}" y1="{height - 0.5}" y2="{height - 0.5}"/>'
    return _svg(step * most, height, title=title, body=f"{ground}{''.join(drawn)}", css="lane")


def gap(
    value: float,
    limit: float | None,
    *,
    scale: float,
    title: str,
    low: float | None = None,
    high: float | None = None,
    width: int = 140,
    height: int = 20,
) -> Markup:
    """Draw a gap as a dot right of the line of no difference, with its interval and the accepted gap marked; `scale` is the
    right edge."""
    frame = Frame(left=6, right=width - 6, top=0, bottom=height, x=(0, scale), y=(0, 1))
    half = height / 2
    zero = f'<line class="zero" x1="{frame.left}" x2="{frame.left}" y1="2" y2="{height - 2}"/>'
    x = frame.x(min(abs(value), scale))
    ends = [frame.x(min(max(each, 0.0), scale)) for each in (low, high) if each is not None]
    line = (
        f'<line class="line one" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{half}" y2="{half}"/>' if len(ends) == 2 else ""
    )
    place = None if limit is None else frame.x(min(limit, scale))
    dotted = "" if place is None else f'<line class="limit" x1="{place:.1f}" x2="{place:.1f}" y1="1" y2="{height - 1}"/>'
    dot = f'<circle class="dot one" cx="{x:.1f}" cy="{half}" r="3.5"/>'
    return _svg(width, height, title=title, body=f"{zero}{dotted}{line}{dot}", css="interval")


def scale_of(gaps: Iterable[Gap]) -> float:
    """Choose one scale down a table of gaps: the greatest of what is drawn."""
    known = [abs(value) for one in gaps for value in (one.value, one.high, one.limit) if value is not None]
    return max([*known, 1e-9]) * 1.1


def widest(slices: Iterable[RisenSlice]) -> float:
    """Choose one scale down a table of rises: the greatest end of an interval."""
    return max([abs(end) for one in slices for end in (one.low, one.high)], default=0.0) * 1.1 or 1.0


def _svg(width: int, height: int, *, title: str, body: str, css: str) -> Markup:
    label = escape(title)
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return Markup(f'<svg class="chart {css}" {box} role="img" aria-label="{label}">{body}</svg>')  # noqa: S704 - numbers, our own classes, and escaped text only
