"""Two figures over many runs, written by the server as SVG: parallel coordinates and a scatter.

Each run is a line (or a dot) with a `title`, so that a pointer names it; the runs that are coloured are named beside it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from kedge.web.charts import Frame
from kedge.web.curves import tick_text
from kedge.web.year import ticks


class Axis(NamedTuple):
    """One axis: its name, its two ends; `words` are its values where they are words, in the order from bottom to top."""

    name: str
    low: float
    high: float
    words: tuple[str, ...] = ()


class Strand(NamedTuple):
    """One run: its name, its colour's class, its place on each axis (None: it has no value there)."""

    name: str
    css: str
    values: Sequence[float | None]


class Dot(NamedTuple):
    """One run in the scatter."""

    name: str
    css: str
    x: float
    y: float


def parallel(axes: Sequence[Axis], strands: Sequence[Strand], *, title: str) -> Markup:
    """Draw a line for each run across the axes; it breaks where a run has no value."""
    width, height = max(360, 112 * len(axes)), 320
    top, bottom, left, right = 44, height - 30, 70, width - 70
    gap = (right - left) / max(1, len(axes) - 1)
    places = [left + gap * index for index in range(len(axes))]
    frames = [_axis_frame(axis, x, top=top, bottom=bottom) for axis, x in zip(axes, places, strict=True)]
    drawn = "".join(_strand(strand, places, frames=frames) for strand in reversed(strands))
    ruled = "".join(
        _ruled(axis, x, frame=frame, high=index % 2 == 1)
        for index, (axis, x, frame) in enumerate(zip(axes, places, frames, strict=True))
    )
    return _svg(width, height, title=title, body=drawn + ruled, css="parallel")


def _axis_frame(axis: Axis, x: float, *, top: float, bottom: float) -> Frame:
    low, high = (axis.low, axis.high) if axis.high > axis.low else (axis.low - 1, axis.high + 1)
    return Frame(left=x, right=x, top=top, bottom=bottom, x=(0, 1), y=(low, high))


def _strand(strand: Strand, places: Sequence[float], *, frames: Sequence[Frame]) -> str:
    parts: list[str] = []
    run: list[str] = []
    for x, frame, value in zip(places, frames, strand.values, strict=True):
        if value is None:
            parts, run = [*parts, *_piece(run, strand.css)], []
        else:
            run.append(f"{x:.1f},{frame.y(value):.1f}")
    parts.extend(_piece(run, strand.css))
    return f'<g class="strand"><title>{escape(strand.name)}</title>{"".join(parts)}</g>'


def _piece(points: list[str], css: str) -> list[str]:
    if not points:
        return []
    if len(points) == 1:
        x, y = points[0].split(",")
        return [f'<circle class="dot {css}" cx="{x}" cy="{y}" r="3"/>']
    return [f'<polyline class="line {css}" points="{" ".join(points)}"/>']


def _ruled(axis: Axis, x: float, *, frame: Frame, high: bool) -> str:
    name = axis.name if len(axis.name) <= 24 else f"{axis.name[:23]}…"
    y = 14 if high else 32
    full = escape(axis.name)
    parts = [
        f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top}" y2="{frame.bottom}"/>',
        f'<text class="name" x="{x:.1f}" y="{y}" text-anchor="middle">{escape(name)}<title>{full}</title></text>',
    ]
    if axis.words:
        shown = axis.words if len(axis.words) <= 8 else (axis.words[0], axis.words[-1])
        marks = [(float(axis.words.index(word)), word if len(word) <= 14 else f"{word[:13]}…") for word in shown]
    else:
        values = ticks(frame_low(axis), frame_high(axis), most=5)
        step = values[1] - values[0] if len(values) > 1 else 1.0
        marks = [(value, tick_text(value, step)) for value in values]
    for value, text in marks:
        at = frame.y(value)
        parts.append(f'<line class="axis" x1="{x - 3:.1f}" x2="{x + 3:.1f}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="on" x="{x + 6:.1f}" y="{at + 4:.1f}">{escape(text)}</text>')
    return "".join(parts)


def frame_low(axis: Axis) -> float:
    """Give the lower end of an axis, apart from its upper end."""
    return axis.low if axis.high > axis.low else axis.low - 1


def frame_high(axis: Axis) -> float:
    """Give the upper end of an axis, apart from its lower end."""
    return axis.high if axis.high > axis.low else axis.high + 1


def scatter(x: Axis, y: Axis, *, dots: Sequence[Dot], title: str, width: int = 640, height: int = 340) -> Markup:
    """Draw a dot for each run at its value of x and y."""
    (x0, x1), (y0, y1) = _wide(x), _wide(y)
    frame = Frame(left=70, right=width - 16, top=12, bottom=height - 42, x=(x0, x1), y=(y0, y1))
    parts = [_scatter_axes(frame, x, y=y)]
    for dot in reversed(dots):
        place = f'cx="{frame.x(dot.x):.1f}" cy="{frame.y(dot.y):.1f}"'
        parts.append(f'<circle class="dot {dot.css}" {place} r="5"><title>{escape(dot.name)}</title></circle>')
    return _svg(width, height, title=title, body="".join(parts), css="scatter")


def _wide(axis: Axis) -> tuple[float, float]:
    room = (axis.high - axis.low) * 0.06 or abs(axis.high) * 0.05 or 1.0
    return axis.low - room, axis.high + room


def _scatter_axes(frame: Frame, x: Axis, *, y: Axis) -> str:
    parts = [f'<line class="axis" x1="{frame.left}" x2="{frame.right}" y1="{frame.bottom}" y2="{frame.bottom}"/>']
    for value, text in _marks(y):
        at = frame.y(value)
        parts.append(f'<line class="gridline" x1="{frame.left}" x2="{frame.right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{frame.left - 6}" y="{at + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    for value, text in _marks(x):
        parts.append(f'<text x="{frame.x(value):.1f}" y="{frame.bottom + 16}" text-anchor="middle">{escape(text)}</text>')
    middle = (frame.left + frame.right) / 2
    parts.append(f'<text class="name" x="{middle:.1f}" y="{frame.bottom + 36}" text-anchor="middle">{escape(x.name)}</text>')
    parts.append(f'<text class="name" x="{frame.left}" y="10" text-anchor="start">{escape(y.name)}</text>')
    return "".join(parts)


def _marks(axis: Axis) -> list[tuple[float, str]]:
    if axis.words:
        return [(float(index), word[:14]) for index, word in enumerate(axis.words)]
    values = ticks(*_wide(axis), most=6)
    step = values[1] - values[0] if len(values) > 1 else 1.0
    return [(value, tick_text(value, step)) for value in values]


def _svg(width: int, height: int, *, title: str, body: str, css: str) -> Markup:
    label = escape(title)
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return Markup(f'<svg class="chart {css}" {box} role="img" aria-label="{label}">{body}</svg>')  # noqa: S704 - numbers, our own classes, and escaped text only
