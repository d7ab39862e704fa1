"""`kedge doctor`: does the project file hold, the store open, all that serves stand there, the audit chain hold, parity?"""

from typing import TYPE_CHECKING

import msgspec
import typer

from kedge.cli.opening import HERE, Folder, Json, Store, opened, print_json
from kedge.config import bare_project, project_or_none, settings
from kedge.domain.ids import Digest, ModelName
from kedge.errors import NotFound, StoreBroken
from kedge.security.audit import verify
from kedge.security.redact import redact

if TYPE_CHECKING:
    from kedge.app import House


class DeployedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is deployed: how many versions it has, which serve, and what is wrong with those."""

    model: str
    versions: int
    champion: int
    challenger: int | None
    faults: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in one line."""
        on_trial = f", v{self.challenger} is on trial" if self.challenger is not None else ""
        said = f"{self.model}: {_many(self.versions)}, v{self.champion} is deployed{on_trial}"
        return "; ".join((said, *self.faults))


def command(folder: Folder = HERE, store: Store = None, as_json: Json = False) -> None:
    """Check the project, the store, every deployed model, the audit chain and the newest parity report. Exits with 3 if one
    does not hold."""
    here = settings(folder, store=store)
    spec = project_or_none(folder) or bare_project(folder)
    versions, chain, parity = 0, None, None
    models: list[DeployedModel] = []
    if here.has_store:
        with opened(folder, store, writer="doctor", bare=True) as house:
            chain = verify(house.meta.events.chain())
            parity = house.parity.newest(house.spec.name)
            models = [_looked_at(house, name) for name in sorted(house.meta.deployments.names())]
            own = len(house.meta.registered.versions(house.spec.name))
            versions = own + sum(one.versions for one in models if one.model != house.spec.name)
    name, where = spec.name, redact(here.store)
    if as_json:
        found = {"audit": chain, "parity": parity, "models": models}
        print_json({"project": name, "store": where, "versions": versions, **found})
    else:
        there = "kedge.toml is right" if spec.data.source else "no loop is declared in a kedge.toml"
        typer.echo(f"project  {name}: {there}")
        opens = f"opens, {versions} model versions" if here.has_store else "is not there yet; what is first written makes it"
        typer.echo(f"store    {where}: {opens}")
        for one in models:
            typer.echo(f"model    {one}")
        typer.echo(f"audit    {chain or 'nothing has happened yet'}")
        typer.echo(f"parity   {parity or 'not checked yet; check it with: kedge features parity'}")
    broken = any(one.faults for one in models)
    if broken or (chain is not None and not chain.holds) or (parity is not None and not parity.holds):
        raise typer.Exit(3)


def _looked_at(house: "House", model: ModelName) -> DeployedModel:
    """Look at the versions that a model's newest deployment names: are they registered, and their files whole?"""
    deployment = house.meta.deployments.find(model)
    if deployment is None:
        raise NotFound(f"model {model!r} is deployed no more")
    named = [number for number in (deployment.champion, deployment.challenger) if number is not None]
    faults = [f"v{number} {fault}" for number in named for fault in _faults(house, model, number=number)]
    return DeployedModel(
        model=model,
        versions=len(house.meta.registered.versions(model)),
        champion=deployment.champion,
        challenger=deployment.challenger,
        faults=tuple(faults),
    )


def _faults(house: "House", model: ModelName, *, number: int) -> list[str]:
    version = house.meta.registered.find_version(model, number)
    if version is None:
        return ["is not registered: deploy another, or roll back"]
    known = house.meta.models.servable(model, number)
    form = known.parity.digest if known is not None and known.parity is not None else None
    kept = [digest for digest in (version.digest if known is None else known.digest, form) if digest is not None]
    return [f"cannot be read: {error}" for digest in kept for error in _missing(house, digest)]


def _missing(house: "House", tree: Digest) -> list[str]:
    """Read a tree of files, some at a time, every byte checked; say what stopped that."""
    try:
        for file in house.blobs.files(tree):
            for _ in house.blobs.read(file.digest):
                pass
    except (NotFound, StoreBroken) as error:
        return [str(error)]
    return []


def _many(versions: int) -> str:
    return "1 version" if versions == 1 else f"{versions} versions"
