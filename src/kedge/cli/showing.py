"""How the commands show what they found. What a terminal or Rich would obey in a name is shown, never obeyed."""

from collections.abc import Collection, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

LONGEST = 300


def plain(text: str) -> str:
    """Write control codes, line ends and other signs that cannot be seen as backslash escapes."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def brief(text: str) -> str:
    """Write a value of any length so that it fits on a page, saying how long it is."""
    if len(text) <= LONGEST:
        return plain(text)
    return f"{plain(text[:LONGEST])}... ({len(text):,} characters; --json prints all)"


def show_rows(title: str, columns: Sequence[str], *, rows: Sequence[Sequence[str]], whole: Collection[str] = ()) -> None:
    """Print rows under their columns. Those named in `whole` are never cut, whatever the terminal's width."""
    table = Table(title=Text(plain(title)))
    for column in columns:
        table.add_column(Text(plain(column)), no_wrap=column in whole, overflow="fold")
    for row in rows:
        table.add_row(*(Text(brief(cell)) for cell in row))
    Console().print(table)
