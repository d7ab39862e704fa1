"""How the terminal shows what differs between two versions."""

import typer

from kedge.cli.showing import show_rows
from kedge.domain.counts import count, size
from kedge.domain.data_diff import ChangedCell, ColumnChange, ExampleRow, FileChange, FilesDiff, MovedColumn, TableDiff

_SIGNS = {FileChange.ADDED: "+", FileChange.REMOVED: "-", FileChange.CHANGED: "~", FileChange.MOVED: ">"}
_SHOWN = 50
_EXAMPLES = 5
_COLUMNS = 12


def print_files(found: FilesDiff) -> None:
    """Show what differs between two versions of files."""
    one, other = found.before, found.after
    counts = f"{found.added:,} added, {found.removed:,} removed, {found.changed:,} changed, {found.moved:,} moved"
    grown = other.bytes - one.bytes
    after = f"{other.dataset} v{other.number}" if other.number else "what lies here"
    typer.echo(
        f"{one.dataset} v{one.number} -> {after}: {counts}, {found.unchanged:,} the same;"
        f" {'+' if grown >= 0 else '-'}{size(abs(grown))}"
    )
    for file in found.files[:_SHOWN]:
        was = f" (was {file.was})" if file.was else ""
        sizes = f"{size(file.bytes_before)} -> {size(file.bytes_after)}" if file.change is FileChange.CHANGED else ""
        sizes = sizes or size(file.bytes_after or file.bytes_before)
        typer.echo(f"  {_SIGNS[file.change]} {file.path}{was}  {sizes}")
    differing = found.added + found.removed + found.changed + found.moved
    if differing > _SHOWN:
        typer.echo(f"  ... and {differing - _SHOWN:,} more (--json names {len(found.files):,})")


def print_table(found: TableDiff) -> None:
    """Show what differs between two versions of a table."""
    one, other = found.before, found.after
    counts = f"{count(found.added, 'row')} added, {found.removed:,} removed, {found.changed:,} changed"
    typer.echo(
        f"{one.dataset} v{one.number} -> {other.dataset} v{other.number}: {counts}, {found.unchanged:,} the same"
        + (f" (by {', '.join(found.key)})" if found.key else "")
    )
    for change in found.schema:
        match change.change:
            case ColumnChange.ADDED:
                typer.echo(f"  + column {change.column}: {_type(change.after)}")
            case ColumnChange.REMOVED:
                typer.echo(f"  - column {change.column}: {_type(change.before)}")
            case ColumnChange.RETYPED:
                typer.echo(f"  ~ column {change.column}: {_type(change.before)} -> {_type(change.after)}")
    for column, cells in found.changed_cells.items():
        typer.echo(f"  ~ {column}: {count(cells, 'value')} changed")
    moved = [column for column in found.columns if column.moved]
    if moved:
        rows = [_moved(column) for column in moved[:_COLUMNS]]
        show_rows(
            f"{count(len(moved), 'column')} moved", ("column", "how far", "mean before", "after", "missing"), rows=rows
        )
    _examples("+", found.examples_added)
    _examples("-", found.examples_removed)
    _examples("~", found.examples_changed)
    if found.sampled:
        typer.echo(f"distributions measured on {count(found.sampled, 'row')}")


def _moved(column: MovedColumn) -> tuple[str, ...]:
    far = ", ".join(f"{name} {value:.3g}" for name, value in column.distances.items())
    means = [f"{mean:.6g}" if mean is not None else "" for mean in (column.mean_before, column.mean_after)]
    return column.name, far, *means, f"{column.missing_before:,} -> {column.missing_after:,}"


def _examples(sign: str, examples: tuple[ExampleRow, ...]) -> None:
    for row in examples[:_EXAMPLES]:
        cells = ", ".join(f"{cell.column}: {_value(cell, both=sign == '~')}" for cell in row.cells)
        typer.echo(f"  {sign} {' '.join(row.key)}{': ' if row.key else ''}{cells}")


def _value(cell: ChangedCell, *, both: bool) -> str | None:
    if both:
        return f"{cell.before} -> {cell.after}"
    return cell.after if cell.after is not None else cell.before


def _type(kind: object) -> str:
    return str(getattr(kind, "value", "unknown"))
