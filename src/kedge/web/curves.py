"""Curves of metrics as SVG, written by the server: small ones in a grid, and one large figure over several runs.

A line's points are (x, y); y None is a gap (NaN, an infinity), never bridged. Up to five lines have a colour of their own
and their name at the end; the rest are grey. The large figure is drawn in three widths, of which a style sheet shows one.
"""

from collections.abc import Callable, Sequence
from math import isfinite, log10
from typing import NamedTuple

from markupsafe import Markup, escape

from kedge.web import words
from kedge.web.charts import Frame, runs_of
from kedge.web.year import WIDTHS, ticks

COLOURS = ("one", "two", "three", "four", "five")
OTHER = "other"
Points = Sequence[tuple[float, float | None]]


class Line(NamedTuple):
    """One line: its name, its colour's class, its points in the order of x."""

    name: str
    css: str
    points: Points


class Curves(NamedTuple):
    """A figure: what it shows, its lines, how x is written, whether y is on a logarithmic scale."""

    title: str
    lines: Sequence[Line]
    timed: bool = False
    log: bool = False


def colour_of(index: int) -> str:
    """Give the class of a line's colour by its place: five colours, then grey."""
    return COLOURS[index] if index < len(COLOURS) else OTHER


def figure(curves: Curves) -> Markup:
    """Draw the large figure in all three widths."""
    return Markup("").join(
        _drawn(curves, css=f"year {name}", width=width, height=height, ends=name != "narrow")
        for name, width, height in WIDTHS
    )


def small(curves: Curves, *, width: int = 300, height: int = 132) -> Markup:
    """Draw a small figure for a grid of many."""
    return _drawn(curves, css="small", width=width, height=height, ends=False)


def _drawn(curves: Curves, *, css: str, width: int, height: int, ends: bool) -> Markup:
    label = escape(curves.title)
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = f'<svg class="chart {css}" {box} role="img" aria-label="{label}">'
    lines = [line._replace(points=_scaled(line.points, log=curves.log)) for line in curves.lines]
    known = [(x, y) for line in lines for x, y in line.points if y is not None]
    if not known:
        empty = f'<text x="{width / 2}" y="{height / 2}" text-anchor="middle">no finite value</text>'
        return Markup(f"{head}{empty}</svg>")  # noqa: S704 - numbers and escaped text only
    y_low, y_high = _room([y for _, y in known])
    x_low, x_high = min(x for x, _ in known), max(x for x, _ in known)
    small_one = height < 200
    left = _left(y_low, y_high, log=curves.log, most=3 if small_one else 6)
    named = ends and 1 < len(lines) <= len(COLOURS)
    frame = Frame(
        left=left,
        right=width - (150 if named else 10),
        top=8,
        bottom=height - 22,
        x=(x_low, x_high if x_high > x_low else x_low + 1),
        y=(y_low, y_high),
    )
    body = [
        _y_axis(frame, y_low, high=y_high, log=curves.log, most=3 if small_one else 6),
        _x_axis(frame, x_low, high=x_high, write=_seconds if curves.timed else _step, most=3 if width < 400 else 8),
        *(_line(frame, line, thin=len(lines) > len(COLOURS)) for line in reversed(lines)),
        _names(frame, lines) if named else "",
    ]
    return Markup(f"{head}{''.join(body)}</svg>")  # noqa: S704 - numbers, our own classes, and escaped text only


def _scaled(points: Points, *, log: bool) -> Points:
    """Make gaps of what cannot be drawn: no number, and on a logarithmic scale nothing above zero."""
    if not log:
        return [(x, y if y is not None and isfinite(y) else None) for x, y in points]
    return [(x, log10(y) if y is not None and isfinite(y) and y > 0 else None) for x, y in points]


def _room(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    return low - room, high + room


def tick_text(value: float, step: float) -> str:
    """Write a tick's value with the decimals that its step needs."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(step) < 1e-6:
        return f"{value:.3g}".replace("e+0", "e").replace("e-0", "e−").replace("-", "−")
    places = max(0, -int(f"{step:e}".rpartition("e")[2]))
    return f"{value:,.{places}f}".replace("-", "−")


def _left(low: float, high: float, *, log: bool, most: int) -> float:
    return 12.0 + 6.8 * max((len(text) for _, text in _marks(low, high, log=log, most=most)), default=3)


def _marks(low: float, high: float, *, log: bool, most: int) -> list[tuple[float, str]]:
    values = ticks(low, high, most=most)
    if not log:
        step = values[1] - values[0] if len(values) > 1 else abs(values[0]) if values else 1.0
        return [(value, tick_text(value, step or 1.0)) for value in values]
    whole = [value for value in values if value == int(value)] or values
    return [
        (value, tick_text(10**value, 10**value)) if value == int(value) else (value, words.number(10**value, 2))
        for value in whole
    ]


def _y_axis(frame: Frame, low: float, *, high: float, log: bool, most: int) -> str:
    parts = []
    for value, text in _marks(low, high, log=log, most=most):
        y = frame.y(value)
        parts.append(f'<line class="gridline" x1="{frame.left:.1f}" x2="{frame.right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{frame.left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    return "".join(parts)


def _x_axis(frame: Frame, low: float, *, high: float, write: Callable[[float], str], most: int) -> str:
    y = frame.bottom
    parts = [f'<line class="axis" x1="{frame.left:.1f}" x2="{frame.right:.1f}" y1="{y}" y2="{y}"/>']
    values = ticks(low, high, most=most) if high > low else [low]
    whole = [value for value in values if value == int(value)] if write is _step else values
    for value in whole or [low]:
        x = frame.x(value)
        anchor = "start" if x < frame.left + 14 else "end" if x > frame.right - 14 else "middle"
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="{anchor}">{write(value)}</text>')
    return "".join(parts)


def _step(value: float) -> str:
    return words.count(int(value)) if abs(value) < 1e7 else f"{value:.3g}"


def _seconds(value: float) -> str:
    return "0" if value == 0 else words.duration(value)


def _line(frame: Frame, line: Line, *, thin: bool) -> str:
    parts = [f"<g><title>{escape(line.name)}</title>"]
    for run in runs_of([y for _, y in line.points]):
        points = [(line.points[index][0], value) for index, value in run]
        if len(points) == 1:
            x, y = points[0]
            parts.append(f'<circle class="dot {line.css}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3"/>')
        else:
            drawn = " ".join(frame.point(x, y) for x, y in points)
            parts.append(f'<polyline class="line {line.css}{" thin" if thin else ""}" points="{drawn}"/>')
    return "".join(parts) + "</g>"


def _names(frame: Frame, lines: Sequence[Line]) -> str:
    """Write the lines' names at their ends, apart from one another."""
    ends = []
    for line in lines:
        last = next((point for point in reversed(line.points) if point[1] is not None), None)
        if last is not None and last[1] is not None:
            ends.append((frame.y(last[1]), line))
    ends.sort(key=lambda end: end[0])
    parts, free = [], frame.top + 4.0
    places = []
    for y, line in ends:
        free = max(y + 4, free)
        places.append((free, line))
        free += 15
    over = max(0.0, (places[-1][0] if places else 0) - frame.bottom)
    for y, line in places:
        text = line.name if len(line.name) <= 20 else f"{line.name[:19]}…"
        parts.append(f'<text class="end {line.css}" x="{frame.right + 8:.1f}" y="{y - over:.1f}">{escape(text)}</text>')
    return "".join(parts)
