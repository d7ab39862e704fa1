"""`kedge doctor`: is the project file right, does the store open, does the audit chain hold?"""

import typer

from kedge.cli.opening import HERE, Folder, Store, opened
from kedge.security.audit import verify


def command(folder: Folder = HERE, store: Store = None) -> None:
    """Check the project, the store and its audit chain. Exits with 3 if something does not hold."""
    with opened(folder, store, writer="doctor") as house:
        typer.echo(f"project   {house.spec.name}: kedge.toml is right")
        typer.echo(f"store     {house.settings.store}: opens")
        chain = verify(house.meta.events.chain())
        typer.echo(f"audit     {chain}")
