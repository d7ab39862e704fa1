"""`kedge doctor`: is the project file right, does the store open, does the audit chain hold, did parity?"""

import typer

from kedge.cli.opening import HERE, Folder, Json, Store, opened, print_json
from kedge.security.audit import verify
from kedge.security.redact import redact


def command(folder: Folder = HERE, store: Store = None, as_json: Json = False) -> None:
    """Check the project, the store, its audit chain and the newest parity report. Exits with 3 if one does not hold."""
    with opened(folder, store, writer="doctor", bare=True) as house:
        chain = verify(house.meta.events.chain())
        parity = house.parity.newest(house.spec.name)
        loop = bool(house.spec.data.source)
        versions = len(house.meta.models.list(house.spec.name))
    name, where = house.spec.name, redact(house.settings.store)
    if as_json:
        print_json({"project": name, "store": where, "versions": versions, "audit": chain, "parity": parity})
    else:
        there = "kedge.toml is right" if loop else "no loop is declared in a kedge.toml"
        typer.echo(f"project  {name}: {there}")
        typer.echo(f"store    {where}: opens, {versions} model versions")
        typer.echo(f"audit    {chain}")
        typer.echo(f"parity   {parity or 'not checked yet; check it with: kedge features parity'}")
    if not chain.holds or (parity is not None and not parity.holds):
        raise typer.Exit(3)
