"""`kedge data status` with all its options, for the command line's library."""

from typing import Annotated

import typer

from kedge.cli.data.status import answer
from kedge.cli.options import Json, Store


def status(
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATH...]", help="Data to look at. Else all.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 3 unless everything is as its pointer says.")] = False,
    all_files: Annotated[bool, typer.Option("--all", help="Name every file that differs, not the first ones.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show what has changed in the workspace."""
    raise typer.Exit(answer(paths or [], check=check, all_files=all_files, as_json=as_json, store=store))
