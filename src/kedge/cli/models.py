"""`kedge models`: versions and aliases by hand."""

import getpass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kedge.cli.opening import HERE, Folder, Json, Store, opened, print_json
from kedge.domain.registry import CHAMPION

nouns = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Reason = Annotated[str, typer.Option(help="Why; it goes into the history.")]


@nouns.command("list")
def show(folder: Folder = HERE, store: Store = None, as_json: Json = False) -> None:
    """List the versions of the project's model, newest first."""
    with opened(folder, store, writer="models") as house:
        versions = house.meta.models.list(house.spec.name)
        champion = house.registry.champion(house.spec.name)
    if as_json:
        print_json(versions)
        return
    table = Table(title=f"{house.spec.name}: {len(versions)} versions")
    for name in ("version", "state", "trained up to", "run", "digest"):
        table.add_column(name)
    for version in versions:
        state = CHAMPION if champion and champion.number == version.number else version.verdict.outcome.value
        upto = f"{version.trained_upto:%Y-%m-%d %H:%M}"
        table.add_row(f"v{version.number}", state, upto, version.run, version.digest[:12])
    Console().print(table)


@nouns.command()
def promote(reason: Reason, folder: Folder = HERE, store: Store = None) -> None:
    """End the trial that runs: its version becomes champion now, for all traffic."""
    with opened(folder, store, writer="models") as house:
        deployment = house.rollout.promote(house.spec.name, actor=_person(), reason=reason)
    typer.echo(f"{house.spec.name} v{deployment.champion} is champion")


@nouns.command("roll-back")
def roll_back(reason: Reason, folder: Folder = HERE, store: Store = None) -> None:
    """Go back: end the trial if there is one, else return to the champion before."""
    with opened(folder, store, writer="models") as house:
        deployment = house.rollout.roll_back(house.spec.name, actor=_person(), reason=reason)
    typer.echo(f"{house.spec.name} v{deployment.champion} is champion")


def _person() -> str:
    return f"person:{getpass.getuser()}"
