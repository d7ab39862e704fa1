"""`kedge doctor`: is the project file right, does the store open, does the audit chain hold, did parity?"""

import typer

from kedge.cli.opening import HERE, Folder, Json, Store, opened, print_json
from kedge.config import bare_project, project_or_none, settings
from kedge.security.audit import verify
from kedge.security.redact import redact


def command(folder: Folder = HERE, store: Store = None, as_json: Json = False) -> None:
    """Check the project, the store, its audit chain and the newest parity report. Exits with 3 if one does not hold."""
    here = settings(folder, store=store)
    spec = project_or_none(folder) or bare_project(folder)
    versions, chain, parity = 0, None, None
    if here.has_store:
        with opened(folder, store, writer="doctor", bare=True) as house:
            chain = verify(house.meta.events.chain())
            parity = house.parity.newest(house.spec.name)
            versions = len(house.meta.models.list(house.spec.name))
    name, where = spec.name, redact(here.store)
    if as_json:
        print_json({"project": name, "store": where, "versions": versions, "audit": chain, "parity": parity})
    else:
        there = "kedge.toml is right" if spec.data.source else "no loop is declared in a kedge.toml"
        typer.echo(f"project  {name}: {there}")
        opens = f"opens, {versions} model versions" if here.has_store else "is not there yet; what is first written makes it"
        typer.echo(f"store    {where}: {opens}")
        typer.echo(f"audit    {chain or 'nothing has happened yet'}")
        typer.echo(f"parity   {parity or 'not checked yet; check it with: kedge features parity'}")
    if (chain is not None and not chain.holds) or (parity is not None and not parity.holds):
        raise typer.Exit(3)
