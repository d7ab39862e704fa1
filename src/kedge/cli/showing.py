"""How the commands show what they found. What a terminal or Rich would obey in a name is shown, never obeyed."""

from collections.abc import Collection, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

LONGEST = 300
_ANY_WIDTH = 100_000
_HEIGHTS = "▁▂▃▄▅▆▇█"


def plain(text: str) -> str:
    """Write control codes, line ends and other signs that cannot be seen as backslash escapes."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def brief(text: str) -> str:
    """Write a value of any length so that it fits on a page, saying how long it is."""
    if len(text) <= LONGEST:
        return plain(text)
    return f"{plain(text[:LONGEST])}... ({len(text):,} characters; --json prints all)"


def bars(values: Sequence[float | None], *, low: float | None = None, high: float | None = None) -> str:
    """Draw numbers as a line of bars, eight heights from `low` (left out: the least of them) to `high` (the greatest): a dot
    for none, half the height where all are alike."""
    known = [value for value in values if value is not None]
    low = min(known, default=0.0) if low is None else low
    span = (max(known, default=0.0) if high is None else high) - low
    top = len(_HEIGHTS) - 1
    return "".join(
        "·" if value is None else _HEIGHTS[min(top, round((value - low) / span * top)) if span > 0 else top // 2]
        for value in values
    )


def show_rows(title: str, columns: Sequence[str], *, rows: Sequence[Sequence[str]], whole: Collection[str] = ()) -> None:
    """Print rows under their columns. Those named in `whole` are never cut, whatever the terminal's width."""
    table = Table(title=Text(plain(title)))
    for column in columns:
        table.add_column(Text(plain(column)), no_wrap=column in whole, overflow="fold")
    for row in rows:
        table.add_row(*(Text(brief(cell)) for cell in row))
    Console().print(table)


def show_records(title: str, columns: Sequence[str], *, rows: Sequence[Sequence[str]], head: int = 1) -> None:
    """Print rows under their columns where a line of the terminal holds them; else a block for each, its first `head`
    values in a line and the others below with their columns' names. No word is broken that fits on a line."""
    console, table = Console(), Table(title=Text(plain(title)))
    if not rows:
        console.print(Text(plain(title)))
        return
    for column in columns:
        table.add_column(Text(plain(column)), no_wrap=True)
    for row in rows:
        table.add_row(*(Text(brief(cell)) for cell in row))
    if Measurement.get(console, console.options.update(max_width=_ANY_WIDTH), table).maximum <= console.width:
        console.print(table)
        return
    console.print(Text(plain(title), style="italic"))
    for row in rows:
        cells = [brief(cell) for cell in row]
        console.print(Text("  ".join(filter(None, cells[:head])), style="bold"))
        named = [f"{plain(name)} {cell}".strip() for name, cell in list(zip(columns, cells, strict=True))[head:] if cell]
        if named:
            console.print(Padding(Text(", ".join(named)), (0, 0, 0, 4)))
