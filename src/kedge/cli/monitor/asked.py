"""Which model or version a command of `kedge monitor` is about, and by whose rules it is watched: the loop's own, or those
of one registered by hand."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from msgspec.structs import replace

from kedge.app import House
from kedge.cli.opening import opened
from kedge.domain.ids import ModelName
from kedge.domain.project import ProjectSpec
from kedge.errors import NotFound, RequestInvalid
from kedge.registry.known import require_model
from kedge.windows import rules_for

Model = Annotated[str | None, typer.Argument(help="The model.", show_default="the project's, or the only one deployed")]
Project = Annotated[Path, typer.Option("--project", help="The project's folder.", show_default="this folder")]


class AskedModel(NamedTuple):
    """A model, the rules it is watched by, and the house that knows it."""

    house: House
    spec: ProjectSpec

    @property
    def name(self) -> ModelName:
        """Name the model."""
        return self.spec.name


@contextmanager
def asked_model(model: str | None, project: Path, *, store: str | None) -> Iterator[AskedModel]:
    """Open the house, and find the model that is meant. Raises NotFound, RequestInvalid where several may be meant."""
    with opened(project, store, writer="monitor", bare=True, make=False) as house:
        name = require_model(house.meta, ModelName(model), own=house.spec.name) if model else _meant(house)
        yield AskedModel(house, _rules(house, name))


def asked_version(house: House, asked: str) -> tuple[ModelName, int]:
    """Read NAME@NUMBER or NAME@ALIAS; a NAME alone is its champion, nothing at all the project's. Raises NotFound."""
    name, _, which = asked.partition("@")
    model = ModelName(name or house.spec.name)
    if number := re.fullmatch(r"v?(\d+)", which):
        return model, int(number[1])
    if which:
        return model, house.catalog.by_alias(model, which).number
    champion = house.registry.champion(model)
    if champion is None:
        raise NotFound(f"{model!r} has no version that answers; name one as {model}@1, or make one with: kedge run")
    return model, champion.number


def _meant(house: House) -> ModelName:
    """Give the project's own model, where it has one or none is deployed; else the only one deployed."""
    own, names = house.spec.name, sorted(house.meta.deployments.names())
    if house.spec.data.source or own in names or not names:
        return own
    if len(names) > 1:
        raise RequestInvalid(f"several models are deployed; name one of: {', '.join(names)}")
    return names[0]


def _rules(house: House, name: ModelName) -> ProjectSpec:
    if name == house.spec.name and house.spec.data.source:
        return house.spec
    version = house.registry.champion(name) or next(iter(house.meta.models.list(name)), None)
    return rules_for(house, version) if version is not None else replace(house.spec, name=name)
