"""What every noun needs: the project's folder and store as options, the house, and a way to print."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from kedge.app import House, open_house
from kedge.cli.options import Json, Store, print_json
from kedge.config import bare_project, project_or_none, read_project, settings
from kedge.domain.project import ProjectSpec
from kedge.ports import Clock

__all__ = ["HERE", "Folder", "Json", "Store", "opened", "print_json"]

Folder = Annotated[Path, typer.Argument(help="The project's folder, with its kedge.toml.", show_default="this folder")]
HERE = Path()


@contextmanager
def opened(
    folder: Path,
    store: str | None,
    *,
    writer: str,
    clock: Clock | None = None,
    bare: bool = False,
    make: bool = True,
    inline: bool = False,
) -> Iterator[House]:
    """Open a project's house, and close it at the end. What the project's code prints meanwhile goes to standard error:
    standard output is for what was asked for, and may be read by a program. `bare` is content without a project file;
    who only reads is not to `make` a store; `inline` runs jobs in this process."""
    with redirect_stdout(sys.stderr):
        house = open_house(
            settings(folder, store=store), _project(folder, bare=bare), writer=writer, clock=clock, make=make, inline=inline
        )
        try:
            yield house
        finally:
            house.close()


def _project(folder: Path, *, bare: bool) -> ProjectSpec:
    found = project_or_none(folder) if bare else read_project(folder)
    return bare_project(folder) if found is None else found
