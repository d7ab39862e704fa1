"""`kedge data commit`: a table from files, or from a Delta table, becomes a dataset's newest version."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kedge.cli.data.opening import recorded, recorded_if_any
from kedge.cli.options import Json, Store, print_json
from kedge.cli.who import person
from kedge.domain.counts import count
from kedge.domain.ids import DatasetName
from kedge.errors import RequestInvalid

DELTA = "delta:"


def commit(
    file: Annotated[str, typer.Argument(help="CSV, TSV or Parquet; a folder or a glob of them; FILE.py:NAME; delta:TABLE.")],
    name: Annotated[str, typer.Argument(help="The dataset.")],
    key: Annotated[
        list[str] | None, typer.Option(help="A column that tells rows apart; give it for each such column.")
    ] = None,
    append: Annotated[bool, typer.Option("--append", help="Add the rows to the newest version.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="With --append: rows whose keys are there take their place.")
    ] = False,
    widen: Annotated[
        bool, typer.Option("--widen", help="With --append: a column that one side lacks is null there.")
    ] = False,
    version: Annotated[int | None, typer.Option(help="Of a Delta table: its version. Else its newest.")] = None,
    message: Annotated[str, typer.Option("--message", "-m", help="What changed, and why.")] = "",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Make a table the newest version of a dataset; only what changed is stored."""
    if (replace or widen) and not append:
        raise RequestInvalid("--replace and --widen are for --append: a commit always takes the place of what was there")
    rows = None
    if not file.startswith(DELTA):
        with recorded_if_any(store) as records:  # what cannot be read makes no store
            rows = records.tables.load(file if ".py:" in file else str(Path(file).absolute()))
    elif append or key:
        raise RequestInvalid("a Delta table is pinned as it is: leave out --append and --key")
    with recorded(store, make=True) as records:
        tables = records.tables
        before = records.meta.datasets.find(DatasetName(name))
        if rows is None:
            made = tables.pin(file.removeprefix(DELTA), name, version=version, message=message, actor=person())
        else:
            change = partial(tables.append, replace=replace, widen=widen) if append else tables.commit
            made = change(rows, name, key=key or None, message=message, source=file, actor=person())
    if as_json:
        print_json(made)
        return
    is_new = before is None or made.number > before.number
    said = f"{count(made.rows, 'row')}, {count(len(made.schema.columns), 'column')}" if is_new else "nothing has changed"
    Console(soft_wrap=True, highlight=False).print(f"{made.dataset}@v{made.number}: {said}", markup=False)
