"""How the commands show what they found."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def show_rows(title: str, columns: tuple[str, ...], *, rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows as a table."""
    table = Table(title=title)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)
