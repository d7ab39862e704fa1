"""A comparison as a page: in the UI, and as one file that needs neither server nor script."""

from markupsafe import Markup

from kedge.domain.comparing import BREAKING, ComparedColumn, FrameComparison
from kedge.monitoring.comparing.wording import summary
from kedge.web import charts, words
from kedge.web.assets import Assets
from kedge.web.render import Pages

PICTURES = 60
"""The columns that are shown with a picture; more are named in a table."""
_BARS = 24


def comparison_file(comparison: FrameComparison) -> bytes:
    """Write a comparison as a page of one file: style sheet and charts are in it, a script is not."""
    pages = Pages(Assets(), project="")
    return pages.render("comparison_file", **comparison_values(comparison), style=pages.assets.text("kedge.css"))


def comparison_values(comparison: FrameComparison) -> dict[str, object]:
    """Give what the templates of a comparison ask for."""
    from kedge.monitoring.comparing import wording

    return {
        "found": comparison,
        "summary": summary(comparison),
        "wording": wording,
        "picture": compared_picture,
        "ends": picture_ends,
        "breaking": BREAKING,
        "pictured": comparison.columns[:PICTURES],
        "rest": comparison.columns[PICTURES:],
    }


def compared_picture(column: ComparedColumn, *, width: int = 280, height: int = 64) -> Markup:
    """Draw a column in the reference (grey) and now (blue), in the same bars; "" where nothing can be shown."""
    was, now = list(column.reference_shares[:_BARS]), list(column.current_shares[:_BARS])
    if not was or not now:
        return Markup()
    if column.labels and max(1 - sum(was), 1 - sum(now)) > 0.0005:
        was, now = [*was, max(1 - sum(was), 0.0)], [*now, max(1 - sum(now), 0.0)]
    return charts.histogram(was, now, title=f"{column.name}: reference and now", width=width, height=height)


def picture_ends(column: ComparedColumn) -> tuple[str, str]:
    """Name what stands at the left and at the right end of a picture."""
    if column.borders:
        if column.kind.value == "time":
            return _day(column.borders[0]), _day(column.borders[-1])
        return words.value(column.borders[0]), words.value(column.borders[-1])
    if column.labels:
        shown = sum(column.reference_shares), sum(column.current_shares)
        return column.labels[0][:18], column.labels[-1][:18] if min(shown) > 0.9995 else "others"
    return "", ""


def _day(seconds: float) -> str:
    from datetime import UTC, datetime

    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
    except (OverflowError, OSError, ValueError):
        return words.value(seconds)
