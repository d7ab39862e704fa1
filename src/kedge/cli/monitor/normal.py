"""`kedge monitor normal`: give the rows that a version calls normal."""

from pathlib import Path
from typing import Annotated

import typer

from kedge.cli.monitor.asked import asked_version
from kedge.cli.opening import HERE, Json, Store, opened, print_json
from kedge.cli.who import person
from kedge.errors import NotFound
from kedge.monitoring.given import GivenRows
from kedge.windows import rules_for

NO_RISK = "risk is tracked where --time and --label are given, with labelled rows of two days or more"


def normal(
    model: Annotated[str, typer.Argument(help="NAME@NUMBER or NAME@ALIAS; a NAME alone is its champion.")],
    rows: Annotated[str, typer.Argument(help="A dataset (NAME, NAME@v3, NAME@TAG), or a Parquet or CSV file.")],
    time: Annotated[str, typer.Option(help="The column that says when: rhythms of days and weeks are learnt by it.")] = "",
    label: Annotated[str, typer.Option(help="The column of the fact: with times, the loss on it is what is accepted.")] = "",
    project: Annotated[Path, typer.Option(help="The project's folder.")] = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Say what is normal for a model that was registered by hand: drift, risk and its answers are held against it."""
    with opened(project, store, writer="monitor", bare=True, make=False) as house:
        name, number = asked_version(house, model)
        version = house.registry.find(name, number)
        if version is None:
            raise NotFound(f"there is no version {model!r} that answers; `kedge models list` shows those there are")
        given = GivenRows(source=rows, actor=person(), time=time, label=label)
        spec = rules_for(house, version)
        reference = house.given_references.take(spec, version, rows=house.records.comparing.rows(rows), given=given)
    if as_json:
        print_json({"model": name, "version": version.number, "rows": reference.profile.rows})
        return
    columns = len(reference.profile.columns)
    risk = "the loss on them is what is accepted" if reference.accepted else f"no loss is accepted: {NO_RISK}"
    typer.echo(f"{name} v{version.number} calls {reference.profile.rows:,} rows of {rows} normal, {columns} columns; {risk}")
