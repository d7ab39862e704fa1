"""From curves and comparisons to figures: for the server's drawing, and as data for the explorable one."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

from kedge.domain.ids import RunId
from kedge.server.reading.compare import ComparePage, Difference
from kedge.server.reading.curves import Curve
from kedge.server.reading.run import MetricLine
from kedge.server.reading.table import number_of
from kedge.web import words
from kedge.web.curves import Curves, Line, colour_of
from kedge.web.spread import Axis, Dot, Strand

NOT_FINITE = tuple(words.value(float(name)) for name in ("nan", "inf", "-inf"))


class SmallFigure(NamedTuple):
    """A small figure with its heading."""

    key: str
    short: str
    text: str
    curves: Curves


class Scatter(NamedTuple):
    """The scatter's two axes and its dots."""

    x: Axis
    y: Axis
    dots: Sequence[Dot]


def course_of(curves: Sequence[Curve], names: Mapping[RunId, str], *, over: str, log: bool) -> Curves | None:
    """Lay out the course of one metric over runs; None where no run has more than a point of it."""
    if not any(len(curve.steps) > 1 for curve in curves):
        return None
    places = {run: index for index, run in enumerate(names)}
    lines = [_line(curve, names[curve.run], css=colour_of(places[curve.run]), over=over) for curve in curves]
    return Curves(title=_title(curves, names, over=over), lines=lines, timed=over == "time", log=log)


def _line(curve: Curve, name: str, *, css: str, over: str) -> Line:
    x = curve.seconds if over == "time" else curve.steps
    points = list(zip(x, curve.values, strict=True))
    return Line(name, css, sorted(points, key=lambda point: point[0]) if over == "time" else points)


def _title(curves: Sequence[Curve], names: Mapping[RunId, str], *, over: str) -> str:
    key = curves[0].key
    where = "over time" if over == "time" else "over steps"
    if len(curves) > 1:
        return f"{key} of {words.many(len(curves), 'run')} {where}"
    last = next((value for value in reversed(curves[0].values) if value is not None), None)
    return (
        f"{key} of {names[curves[0].run]} {where}, {words.many(curves[0].points, 'point')}; the last is {words.value(last)}"
    )


def course_data(curves: Sequence[Curve], names: Mapping[RunId, str], *, metric: str, over: str, log: bool) -> dict[str, Any]:
    """Give a course's data to its script."""
    found = {curve.run: curve for curve in curves}
    lines = [
        {
            "run": run,
            "name": name.replace("<", "&lt;")[:60],
            "points": found[run].points if run in found else 0,
            "steps": found[run].steps if run in found else (),
            "seconds": found[run].seconds if run in found else (),
            "values": found[run].values if run in found else (),
        }
        for run, name in names.items()
    ]
    return {"metric": metric, "over": over, "log": log, "lines": lines}


def small_figures(curves: Sequence[Curve], lines: Sequence[MetricLine], *, over: str, cut: str = "") -> list[SmallFigure]:
    """Lay out a small figure for each metric; `cut` is left out of the headings."""
    by_key = {curve.key: curve for curve in curves}
    found = []
    for line in lines:
        curve = by_key.get(line.key)
        drawn = [_line(curve, line.key, css="one", over=over)] if curve else []
        points = words.many(curve.points if curve else 0, "point")
        title = f"{line.key}: {points}, latest {line.text}"
        figure = Curves(title=title, lines=drawn, timed=over == "time")
        found.append(SmallFigure(line.key, line.key.removeprefix(cut), line.text, figure))
    return found


def axes_of(page: ComparePage) -> tuple[list[Axis], list[Strand]]:
    """Lay out the parallel coordinates: numbers as they are, words in their order."""
    by_name = {one.name: one for one in page.differences}
    found = [by_name[name] for name in page.axes if name in by_name]
    axes = [axis_of(one) for one in found]
    strands = [
        Strand(run.name, colour_of(index), [_place(axis, one.values[index]) for axis, one in zip(axes, found, strict=True)])
        for index, run in enumerate(page.runs)
    ]
    return axes, strands


def axis_of(one: Difference) -> Axis:
    """Make the axis of a value: its ends where all are numbers, else its words."""
    there = [value for value in one.values if value is not None and value not in NOT_FINITE]
    numbers = [number for value in there if (number := number_of(value)) is not None and isfinite(number)]
    if there and len(numbers) < len(there):
        kinds = tuple(sorted({str(value) for value in there}))
        return Axis(one.key, 0, max(1, len(kinds) - 1), kinds)
    return Axis(one.key, min(numbers, default=0.0), max(numbers, default=1.0))


def _place(axis: Axis, value: float | str | None) -> float | None:
    if value is None or value in NOT_FINITE:
        return None
    if axis.words:
        return float(axis.words.index(str(value)))
    number = number_of(value)
    return number if number is not None and isfinite(number) else None


def scatter_of(page: ComparePage) -> Scatter | None:
    """Lay out one value against another; None where no run has both."""
    by_name = {one.name: one for one in page.differences}
    if page.x not in by_name or page.y not in by_name:
        return None
    across, up = by_name[page.x], by_name[page.y]
    x, y = axis_of(across), axis_of(up)
    dots = []
    for index, run in enumerate(page.runs):
        at, high = _place(x, across.values[index]), _place(y, up.values[index])
        if at is not None and high is not None:
            said = f"{run.name}: {across.key} {_said(across.values[index])}, {up.key} {_said(up.values[index])}"
            dots.append(Dot(said, colour_of(index), at, high))
    return Scatter(x, y, dots) if dots else None


def _said(value: float | str | None) -> str:
    return words.value(value) if isinstance(value, float) else str(value)
