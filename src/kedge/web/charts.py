"""Small charts as SVG, written by the server: classes instead of colours, so they follow the theme and need no script.

All take plain numbers and give safe markup; None in a series is a gap, never bridged. Text goes through `escape`.
"""

from collections.abc import Iterator, Sequence
from math import isfinite, log10

from markupsafe import Markup, escape

Series = Sequence[float | None]


class Frame:
    """A plot area: maps x in [x0, x1] and y in [y0, y1] to pixels, y upwards."""

    def __init__(
        self, *, left: float, right: float, top: float, bottom: float, x: tuple[float, float], y: tuple[float, float]
    ) -> None:
        self.left, self.right, self.top, self.bottom = left, right, top, bottom
        self._x0, self._xs = x[0], (right - left) / ((x[1] - x[0]) or 1)
        self._y0, self._ys = y[0], (bottom - top) / ((y[1] - y[0]) or 1)

    def x(self, value: float) -> float:
        """Give the pixel column of a value."""
        return self.left + (value - self._x0) * self._xs

    def y(self, value: float) -> float:
        """Give the pixel row of a value."""
        return self.bottom - (value - self._y0) * self._ys

    def point(self, x: float, y: float) -> str:
        """Write a point for a polyline."""
        return f"{self.x(x):.1f},{self.y(y):.1f}"


def runs_of(values: Series) -> Iterator[list[tuple[int, float]]]:
    """Cut a series at its gaps: lists of (index, value) without None."""
    run: list[tuple[int, float]] = []
    for index, value in enumerate(values):
        if value is not None and isfinite(value):
            run.append((index, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def polylines(frame: Frame, values: Series, *, css: str, at: Sequence[float] | None = None) -> str:
    """Draw a series as lines, at the x given (or 0, 1, 2 ...); a lone point between gaps becomes a dot."""
    parts = []
    for run in runs_of(values):
        points = [(at[index] if at else index, value) for index, value in run]
        if len(points) == 1:
            x, y = points[0]
            parts.append(f'<circle class="dot {css}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="2.5"/>')
        else:
            parts.append(f'<polyline class="line {css}" points="{" ".join(frame.point(x, y) for x, y in points)}"/>')
    return "".join(parts)


def _svg(width: int, height: int, *, title: str, body: str, css: str = "") -> Markup:
    label = escape(title)
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return Markup(f'<svg class="chart {css}" {box} role="img" aria-label="{label}">{body}</svg>')  # noqa: S704 - numbers, our own classes, and escaped text only


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.12 or abs(high) * 0.05 or 1.0
    return low - room, high + room


def sparkline(
    values: Series, title: str, *, limit: float | None = None, zero: bool = False, width: int = 280, height: int = 48
) -> Markup:
    """Draw a course in a line's height, its limit dotted, its newest point marked; with `zero` its scale begins at 0."""
    known = [value for value in values if value is not None and isfinite(value)]
    if not known:
        return _svg(width, height, title=title, body="", css="spark")
    y = (0.0, max([*known, 1e-12])) if zero else _span([*known, limit] if limit is not None else known)
    frame = Frame(left=2, right=width - 4, top=3, bottom=height - 3, x=(0, max(1, len(values) - 1)), y=y)
    dotted = (
        ""
        if limit is None
        else f'<line class="limit" x1="0" x2="{width}" y1="{frame.y(limit):.1f}" y2="{frame.y(limit):.1f}"/>'
    )
    ground = f'<line class="ground" x1="0" x2="{width}" y1="{height - 2}" y2="{height - 2}"/>' if zero else ""
    last = list(runs_of(values))[-1][-1]
    end = f'<circle class="dot one" cx="{frame.x(last[0]):.1f}" cy="{frame.y(last[1]):.1f}" r="2.5"/>'
    return _svg(width, height, title=title, body=f"{dotted}{ground}{polylines(frame, values, css='one')}{end}", css="spark")


def evidence(values: Series, limit: float, *, title: str, width: int = 280, height: int = 40) -> Markup:
    """Draw the course of evidence on a logarithmic scale from 1, with the odds it needs dotted."""
    scaled = [None if value is None else log10(min(max(value, 1.0), 1e12)) for value in values]
    top = max([log10(limit), *(value for value in scaled if value is not None)])
    frame = Frame(left=2, right=width - 4, top=4, bottom=height - 2, x=(0, max(1, len(values) - 1)), y=(0.0, top or 1.0))
    y = frame.y(log10(limit))
    dotted = f'<line class="limit" x1="0" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>'
    ground = f'<line class="ground" x1="0" x2="{width}" y1="{height - 2}" y2="{height - 2}"/>'
    return _svg(width, height, title=title, body=f"{ground}{dotted}{polylines(frame, scaled, css='one')}", css="spark")


def bar(part: float, title: str, *, mark: float | None = None, css: str = "one") -> Markup:
    """Draw one bar of a whole, with a mark for the time gone or the value needed."""
    filled = 100 * min(max(part, 0.0), 1.0)
    place = 0.0 if mark is None else 99.5 * min(max(mark, 0.0), 1.0)
    needed = "" if mark is None else f'<rect class="mark" x="{place:.2f}" y="0" width="0.5" height="8"/>'
    body = f'<rect class="sunk" width="100" height="8"/><rect class="fill {css}" width="{filled:.2f}" height="8"/>{needed}'
    label = escape(title)
    head = f'<svg class="chart meter" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{label}">'
    return Markup(f"{head}{body}</svg>")  # noqa: S704 - as in _svg


def interval(
    low: float, middle: float, *, high: float, title: str, scale: float, width: int = 120, height: int = 20
) -> Markup:
    """Draw a dot with its interval on a line of no difference; `scale` is the value at either edge."""
    frame = Frame(left=4, right=width - 4, top=0, bottom=height, x=(-scale, scale), y=(0, 1))
    half = height / 2
    x1, x2 = (frame.x(min(max(value, -scale), scale)) for value in (low, high))
    zero = f'<line class="zero" x1="{width / 2}" x2="{width / 2}" y1="2" y2="{height - 2}"/>'
    line = f'<line class="line one" x1="{x1:.1f}" x2="{x2:.1f}" y1="{half}" y2="{half}"/>'
    dot = f'<circle class="dot one" cx="{frame.x(min(max(middle, -scale), scale)):.1f}" cy="{half}" r="3.5"/>'
    return _svg(width, height, title=title, body=zero + line + dot, css="interval")


def histogram(reference: Sequence[float], now: Sequence[float], *, title: str, width: int = 280, height: int = 64) -> Markup:
    """Draw two shapes in the same bins: the reference filled in grey, now as a step line. Shares of 1."""
    top = max([*reference, *now, 1e-9])
    bins = max(1, len(reference))
    frame = Frame(left=0, right=width, top=3, bottom=height - 1, x=(0, bins), y=(0, top))
    filled = "".join(
        f'<rect class="fill ref" x="{frame.x(i) + 0.5:.1f}" y="{frame.y(v):.1f}" width="{width / bins - 1:.1f}" '
        f'height="{frame.bottom - frame.y(v):.1f}"/>'
        for i, v in enumerate(reference)
    )
    steps = " ".join(f"{frame.x(i + side):.1f},{frame.y(v):.1f}" for i, v in enumerate(now) for side in (0, 1))
    ground = f'<line class="ground" x1="0" x2="{width}" y1="{height - 1}" y2="{height - 1}"/>'
    return _svg(
        width, height, title=title, body=f'{filled}{ground}<polyline class="line one thin" points="{steps}"/>', css="spark"
    )
