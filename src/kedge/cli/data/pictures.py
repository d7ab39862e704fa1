"""Reports and profiles in a terminal: what a table holds, and what it breaks."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kedge.cli.showing import plain
from kedge.data.quality.room import in_short
from kedge.data.quality.wording import subject, wanted
from kedge.domain.counts import count
from kedge.domain.data import Bar, ColumnSummary, Severity, TableProfile, ValidationReport

_BLOCKS = " ▁▂▃▄▅▆▇█"
_WORDS = {Severity.ERROR: "error", Severity.QUARANTINE: "aside", Severity.WARN: "warn"}
_STYLES = {Severity.ERROR: "red", Severity.QUARANTINE: "yellow", Severity.WARN: "cyan"}
_TOP = 3
_WIDE, _NAMED = 120, 34  # columns of a terminal that a line needs; and those for a name where a column takes two


def show_report(report: ValidationReport, *, failing: Path | None, whole: bool) -> None:
    """Print a report: what does not hold, worst first; then what holds, one by one if the `whole` was asked for."""
    console = Console()
    style = "bold green" if report.passed else "bold red"
    console.print(
        Text.assemble((f"{'valid' if report.passed else 'not valid'}: ", style), plain(report.dataset), ", "), end=""
    )
    console.print(Text(in_short(report)))
    table = Table(show_header=True, box=None, pad_edge=False)
    for head in ("", "rows", "share", "what"):
        table.add_column(head, justify="right" if head in ("rows", "share") else "left", overflow="fold")
    for breach in sorted(report.breaches, key=lambda each: list(Severity).index(each.expectation.severity)):
        severity = breach.expectation.severity
        share = _percent(breach.rows, report.rows) if report.rows else ""
        word = Text(_WORDS[severity], style=_STYLES[severity])
        table.add_row(word, f"{breach.rows:,}", share, Text(plain(breach.message)))
    held = () if isinstance(report.held, msgspec.UnsetType) else report.held
    for each in held if whole else ():
        table.add_row(Text("holds", style="green"), "", "", Text(plain(f"{subject(each)}: {wanted(each)}"), style="dim"))
    if table.row_count:
        console.print(table)
    if held and not whole:
        more = "more" if report.breaches else f"expectation{'s' * (len(held) != 1)}"
        console.print(Text(f"{len(held)} {more} hold{'s' * (len(held) == 1)}", style="dim"))
    if failing is not None:
        console.print(Text(f"All rows that break something are in {failing}"))


def show_profile(profile: TableProfile) -> None:
    """Print a profile: a line for each column, its histogram in blocks; in a narrow terminal two lines."""
    console = Console()
    doubled = f", {profile.duplicates:,} of them equal to an earlier one" if profile.duplicates else ""
    console.print(
        Text(f"{plain(profile.dataset)}: {count(profile.rows, 'row')}{doubled}, {count(len(profile.columns), 'column')}")
    )
    if console.width < _WIDE:
        widest = min(_NAMED, max((len(plain(column.name)) for column in profile.columns), default=0))
        for column in profile.columns:
            known, held = _lines(column, rows=profile.rows, widest=widest)
            console.print(known)
            if held.plain:
                console.print(Padding(held, (0, 0, 0, 4)))
        return
    table = Table(box=None, pad_edge=False)
    for head in ("column", "type", "missing", "distinct", "least", "median", "greatest", "spread or most frequent"):
        right = head in ("missing", "distinct", "least", "median", "greatest")
        table.add_column(head, justify="right" if right else "left", overflow="fold")
    for column in profile.columns:
        table.add_row(*_line(column, rows=profile.rows))
    console.print(table)


def _line(column: ColumnSummary, *, rows: int) -> list[Text]:
    ends = [_end(column, value) for value in (column.least, _median(column), column.greatest)]
    missing = Text(_percent(column.missing, rows) if column.missing else "", style="yellow")
    known = [Text(plain(column.name), style="bold"), Text(column.type.value), missing, Text(f"{column.distinct:,}")]
    return [*known, *map(Text, ends), _picture(column, there=rows - column.missing)]


def _lines(column: ColumnSummary, *, rows: int, widest: int) -> tuple[Text, Text]:
    """Write what a column is, and below it what it holds."""
    missing = f"  {_percent(column.missing, rows)} missing" if column.missing else ""
    name = (f"{plain(column.name):<{widest}}", "bold")
    known = Text.assemble(name, f"  {column.type.value:<8}{column.distinct:>12,} distinct", (missing, "yellow"))
    held = _picture(column, there=rows - column.missing)
    least, median, greatest = (_end(column, value) for value in (column.least, _median(column), column.greatest))
    if least or greatest:
        gap = "  " if held.plain else ""
        held = held.append(f"{gap}{least} to {greatest}" + (f", median {median}" if median else ""))
    return known, held


def _picture(column: ColumnSummary, *, there: int) -> Text:
    if column.personal:
        return Text("(personal)", style="dim")
    if column.bins:
        return Text(blocks(column.bins), style="cyan")
    if column.top and column.distinct == there > 1:
        return Text(f"all different, such as {plain(column.top[0].value)}")
    shown = [f"{plain(value.value)} {_percent(value.rows, there)}" for value in column.top[:_TOP]]
    rest = column.distinct - len(shown)
    return Text(", ".join(shown) + (f", {rest:,} more" if shown and rest > 0 else ""))


def blocks(bins: tuple[Bar, ...]) -> str:
    """Draw a histogram's bars as blocks of a line; a bar with any row at all is seen."""
    most = max(bar.rows for bar in bins) or 1
    return "".join(_BLOCKS[0 if not bar.rows else max(1, round(8 * bar.rows / most))] for bar in bins)


def _median(column: ColumnSummary) -> float | None:
    return column.quantiles[len(column.quantiles) // 2] if column.quantiles else None


def _end(column: ColumnSummary, value: float | None) -> str:
    if value is None:
        return ""
    if column.type.value == "time":
        moment = datetime.fromtimestamp(value, UTC)
        return f"{moment:%Y-%m-%d}" if value % 86400 == 0 else f"{moment:%Y-%m-%d %H:%M}"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.1f} %" if share >= 0.1 or not part else "< 0.1 %"
