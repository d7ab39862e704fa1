"""`kedge features`: are the features that were served those that training reads?"""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kedge.cli.opening import HERE, Folder, Json, Store, opened, print_json
from kedge.domain.features import ParityReport
from kedge.features.parity import ROWS

nouns = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@nouns.callback()
def features() -> None:
    """Look at features as they are served."""


@nouns.command()
def parity(
    folder: Folder = HERE,
    store: Store = None,
    since: Annotated[datetime | None, typer.Option(help="Only what was served for this time (UTC) or later.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Compare the newest so many rows.")] = ROWS,
    as_json: Json = False,
) -> None:
    """Replay the served features through the point-in-time join, value by value. Exits with 3 if any differs."""
    with opened(folder, store, writer="features") as house:
        report = house.parity.check(house.spec, since=since and since.replace(tzinfo=UTC), limit=limit)
    if as_json:
        print_json(report)
    else:
        _show(report)
    if not report.holds:
        raise typer.Exit(3)


def _show(report: ParityReport) -> None:
    typer.echo(str(report))
    if report.older:
        typer.echo(f"{report.older:,} further rows were served by another definition of the service than today's")
    if report.keyless:
        typer.echo(f"{report.keyless:,} further rows were logged without their entity keys and cannot be joined again")
    if report.mismatches:
        table = Table(title=f"the first {len(report.mismatches)} of {report.mismatched:,}")
        for name in ("prediction", "at", "column", "served", "joined"):
            table.add_column(name)
        for one in report.mismatches:
            table.add_row(one.prediction, f"{one.at:%Y-%m-%d %H:%M}", one.column, str(one.served), str(one.joined))
        Console().print(table)
