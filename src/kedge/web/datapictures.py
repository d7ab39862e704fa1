"""Pictures of data as SVG, written by the server: what is in a column, how it moved, how a dataset grew and how good it was.

A column without values to show (a personal one, one of nulls) has no picture; its place says so in words.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from markupsafe import Markup, escape

from kedge.domain.catalogue import QualityPoint
from kedge.domain.data import Bar, ColumnSummary, ColumnType, Frequency
from kedge.domain.data_diff import MovedColumn
from kedge.web import charts, words
from kedge.web.charts import Frame
from kedge.web.year import WIDTHS, ticks

_TOPS = 8


def column_picture(column: ColumnSummary, rows: int, *, width: int = 180, height: int = 32) -> Markup:
    """Draw what is in a column: the bars of its histogram, or of its most frequent values; "" where nothing can be shown."""
    if column.personal:
        return Markup()
    if column.bins:
        return _bars(column.bins, title=f"{column.name}: {range_words(column)}", width=width, height=height)
    if column.top:
        title = f"{column.name}: {top_words(column, rows)}"
        return _tops(column.top[:_TOPS], rows=rows - column.missing, title=title, width=width, height=height)
    return Markup()


def moved_picture(column: MovedColumn, *, width: int = 280, height: int = 64) -> Markup:
    """Draw a column before (grey) and after (blue) in the same bins; "" where nothing can be shown."""
    pairs: Sequence[tuple[int, int]] = ()
    if column.bins_before or column.bins_after:
        pairs = _paired([bar.rows for bar in column.bins_before], [bar.rows for bar in column.bins_after])
    elif column.top_before or column.top_after:
        pairs = _paired([one.rows for one in column.top_before], [one.rows for one in column.top_after])
        rest = tuple(
            max(0, rows - missing - sum(pair[side] for pair in pairs))
            for side, (rows, missing) in enumerate(
                ((column.rows_before, column.missing_before), (column.rows_after, column.missing_after))
            )
        )
        pairs = [*pairs, (rest[0], rest[1])] if any(rest) else pairs
    if column.personal or not pairs:
        return Markup()
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    title = f"{column.name}, before and after"
    return charts.histogram(_shares(before), _shares(after), title=title, width=width, height=height)


def _paired(before: Sequence[int], after: Sequence[int]) -> list[tuple[int, int]]:
    size = max(len(before), len(after))
    first, second = [*before, *[0] * (size - len(before))], [*after, *[0] * (size - len(after))]
    return list(zip(first, second, strict=True))


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [count / total for count in counts]


def _bars(bins: Sequence[Bar], *, title: str, width: int, height: int) -> Markup:
    """Draw bins where their values are: rows by area, so that a wide bin does not look like many rows."""
    borders = _borders(bins)
    low, high = borders[0], borders[-1]
    thick = [bar.rows / (right - left) for bar, left, right in zip(bins, borders, borders[1:], strict=False)]
    frame = Frame(left=0, right=width, top=2, bottom=height - 1, x=(low, high), y=(0, max([*thick, 1e-12])))
    drawn = []
    for place, value in enumerate(thick):
        left, right = frame.x(borders[place]), frame.x(borders[place + 1])
        y = frame.y(value) if value == 0 else min(frame.y(value), frame.bottom - 1)
        drawn.append(
            f'<rect class="fill one" x="{left + 0.5:.1f}" y="{y:.1f}" width="{max(0.5, right - left - 1):.1f}" '
            f'height="{frame.bottom - y:.1f}"/>'
        )
    return _svg(width, height, title=title, body="".join(drawn) + _ground(width, height))


def _borders(bins: Sequence[Bar]) -> list[float]:
    """Give the borders that bins are drawn between: the last one holds its upper end too (23 of the hours 0 to 23), so it is
    drawn as wide as the others; none is without width."""
    borders = [bins[0].low, *(bar.high for bar in bins)]
    if len(bins) > 1:
        usual = bins[0].high - bins[0].low
        borders[-1] = max(borders[-1], bins[-1].low + usual)
    least = ((borders[-1] - borders[0]) or 1.0) / 1000
    for place in range(1, len(borders)):
        borders[place] = max(borders[place], borders[place - 1] + least)
    return borders


def _tops(top: Sequence[Frequency], *, rows: int, title: str, width: int, height: int) -> Markup:
    """Draw the most frequent values as bars of their own, the others together in grey at the end."""
    others = max(0, rows - sum(one.rows for one in top))
    counts = [*(one.rows for one in top), *([others] if others else [])]
    step = width / max(4, len(counts))
    highest = max([*counts, 1])
    drawn = []
    for place, count in enumerate(counts):
        tall = max(1.0, (height - 3) * count / highest)
        css = "ref" if place == len(top) else "one"
        drawn.append(
            f'<rect class="fill {css}" x="{place * step + 1:.1f}" y="{height - 1 - tall:.1f}" width="{step - 2:.1f}" '
            f'height="{tall:.1f}"/>'
        )
    return _svg(width, height, title=title, body="".join(drawn) + _ground(width, height))


def _gridline(frame: Frame, value: float, *, text: str) -> str:
    y = frame.y(value)
    line = f'<line class="gridline" x1="{frame.left}" x2="{frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return f'{line}<text x="{frame.left - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'


def _ground(width: int, height: int) -> str:
    return f'<line class="ground" x1="0" x2="{width}" y1="{height - 1}" y2="{height - 1}"/>'


def range_words(column: ColumnSummary) -> str:
    """Say between what a column's values lie."""
    if column.least is None or column.greatest is None:
        return ""
    if column.type is ColumnType.TIME:
        return f"{_moment(column.least)} to {_moment(column.greatest)}"
    return f"{figure(column.least)} to {figure(column.greatest)}"


def middle_words(column: ColumnSummary) -> str:
    """Say what is usual in a column: its median, where quantiles are known, else its mean."""
    if column.type is ColumnType.TIME:
        return ""
    if len(column.quantiles) == 7:
        return f"median {figure(column.quantiles[3])}"
    return f"mean {figure(column.mean)}" if column.mean is not None else ""


def figure(value: float) -> str:
    """Write a value of a column: whole numbers as they are, below 10,000 without a comma (a year), others to five digits."""
    return words.plain(value) if value == int(value) and abs(value) < 10_000 else words.value(value)


def top_words(column: ColumnSummary, rows: int, *, most: int = 2) -> str:
    """Name a column's most frequent values with their shares."""
    shown = [f"{_cut(one.value)} {words.percent(one.rows / max(1, rows))} %" for one in column.top[:most]]
    rest = column.distinct - len(shown)
    return ", ".join([*shown, f"{words.count(rest)} more"] if rest > 0 else shown)


def _cut(text: str) -> str:
    return (text if len(text) <= 24 else f"{text[:23]}…") or "(empty)"


def _moment(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
    except (OverflowError, OSError, ValueError):
        return words.plain(seconds)


def growth_figure(values: Sequence[tuple[int, float]], unit: str) -> Markup:
    """Draw how a dataset grew, version by version, in three widths."""
    drawn = (growth(values, unit=unit, width=width, css=f"year {name}") for name, width, _ in WIDTHS)
    return Markup("").join(drawn)


def quality_figure(points: Sequence[QualityPoint]) -> Markup:
    """Draw validation over time in three widths."""
    return Markup("").join(quality_course(points, width=width, css=f"year {name}") for name, width, _ in WIDTHS)


def growth(values: Sequence[tuple[int, float]], *, unit: str, width: int, height: int = 150, css: str = "") -> Markup:
    """Draw how a dataset grew: a line of (number, amount) with its scale."""
    amounts = [amount for _, amount in values]
    highest = max([*amounts, 1.0])
    marks = ticks(0.0, highest, most=4)
    text = max(len(words.count(round(mark))) for mark in marks)
    frame = Frame(
        left=12 + 7 * text,
        right=width - 14,
        top=10,
        bottom=height - 24,
        x=(values[0][0], values[-1][0]),
        y=(0.0, max(highest, marks[-1])),
    )
    parts = [_gridline(frame, mark, text=words.count(round(mark))) for mark in marks]
    points = " ".join(frame.point(number, amount) for number, amount in values)
    if len(values) > 1:
        parts.append(f'<polyline class="line one" points="{points}"/>')
    last = values[-1]
    parts.append(f'<circle class="dot one" cx="{frame.x(last[0]):.1f}" cy="{frame.y(last[1]):.1f}" r="3.5"/>')
    for number, anchor in ((values[0][0], "start"), (last[0], "end")):
        if anchor == "end" or last[0] != number:
            parts.append(f'<text x="{frame.x(number):.1f}" y="{height - 6}" text-anchor="{anchor}">v{number}</text>')
    ends = (f"{words.count(round(amount))} in v{number}" for number, amount in (values[0], last))
    title = f"{unit} by version, from {' to '.join(ends)}"
    return _svg(width, height, title=title, body="".join(parts), css=css)


def quality_course(points: Sequence[QualityPoint], *, width: int, height: int = 130, css: str = "") -> Markup:
    """Draw validation over time, a bar for each report: the share of rows set aside; refused ones have a triangle."""
    shares = [point.quarantined / max(1, point.rows) for point in points]
    top = max([*shares, 0.001])
    frame = Frame(left=52, right=width - 8, top=18, bottom=height - 24, x=(0, len(points)), y=(0.0, top))
    parts = [_gridline(frame, mark, text=f"{words.percent(mark)} %") for mark in (0.0, top)]
    step = min(56.0, (frame.right - frame.left) / max(1, len(points)))
    for place, (point, share) in enumerate(zip(points, shares, strict=True)):
        x, wide = frame.left + step * place, max(1.0, step - 2)
        tall = max(1.5, frame.bottom - frame.y(share)) if share > 0 else 2.0
        css_of = "warn" if share > 0 else "ref"
        place_of = f'x="{x + 1:.1f}" y="{frame.bottom - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}"'
        refused = "" if point.passed else f'<path class="alarm" d="M{x + step / 2 - 4:.1f} 4h8l-4 8z"/>'
        said = f"v{point.number}: {words.percent(share)} % set aside, {'passed' if point.passed else 'refused'}"
        parts.append(f'<g><rect class="fill {css_of}" {place_of}/>{refused}<title>{escape(said)}</title></g>')
    first, last = points[0], points[-1]
    right = min(frame.right, frame.left + step * len(points))
    parts.append(f'<text x="{frame.left}" y="{height - 6}">v{first.number}</text>')
    if len(points) > 3:
        parts.append(f'<text x="{right:.1f}" y="{height - 6}" text-anchor="end">v{last.number}</text>')
    stopped = sum(not point.passed for point in points)
    title = f"Share of rows set aside in {words.many(len(points), 'validation')}; {stopped} refused"
    return _svg(width, height, title=title, body="".join(parts), css=css)


def _svg(width: int, height: int, *, title: str, body: str, css: str = "") -> Markup:
    label = escape(title)
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return Markup(f'<svg class="chart {css}" {box} role="img" aria-label="{label}">{body}</svg>')  # noqa: S704 - numbers, our own classes, and escaped text only
