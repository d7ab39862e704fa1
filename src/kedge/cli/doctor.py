"""`kedge doctor`: is the project file right, does the store open, does the audit chain hold?"""

import typer

from kedge.cli.opening import HERE, Folder, Json, Store, opened, print_json
from kedge.security.audit import verify


def command(folder: Folder = HERE, store: Store = None, as_json: Json = False) -> None:
    """Check the project, the store and its audit chain. Exits with 3 if the chain does not hold."""
    with opened(folder, store, writer="doctor") as house:
        chain = verify(house.meta.events.chain())
        versions = len(house.meta.models.list(house.spec.name))
    if as_json:
        print_json({"project": house.spec.name, "store": house.settings.store, "versions": versions, "audit": chain})
    else:
        typer.echo(f"project  {house.spec.name}: kedge.toml is right")
        typer.echo(f"store    {house.settings.store}: opens, {versions} model versions")
        typer.echo(f"audit    {chain}")
    if not chain.holds:
        raise typer.Exit(3)
