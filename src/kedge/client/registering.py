"""Registers a model that is in memory, or its file: into the store of this folder, or through a control plane."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from kedge.client import giving
from kedge.client.folders import given_files
from kedge.client.remote import RemoteDelivery
from kedge.errors import NotFound
from kedge.settings import Settings, project_root, settings


class MadeVersion(NamedTuple):
    """A version that was registered and can be served: `form` says what answers."""

    model: str
    number: int
    form: str


def register_model(
    model: Any,
    name: str,
    *,
    example: Any = None,
    output: str = "",
    tolerance: float | None = None,
    description: str = "",
    tags: Mapping[str, str] | None = None,
    store: str | None = None,
    url: str | None = None,
) -> MadeVersion:
    """Register a trained model, or the path of a model's file or folder, so that it can be served at once.

    `example` is rows that the model may be asked: its signature is read from them, and its answers to them are what every
    load is checked against. `output` names a table's answer; `tolerance` is how far the answers of a compiled form may lie.
    Raises ModelRefused saying why it could not be served, RequestInvalid.
    """
    found = _found(model, example, output=output, tolerance=tolerance)
    where = settings(project_root(Path.cwd()), store=store, server=url)
    labels = {str(key): str(value) for key, value in (tags or {}).items()}
    if where.server:
        return _through(where, name, found=found, description=description, tags=labels)
    from kedge.app import open_house
    from kedge.config import bare_project

    house = open_house(where, bare_project(where.project), writer="register", inline=True)
    try:
        actor = f"person:{giving.user()}" if giving.user() else "client"
        made = house.given.register(name, found.files, actor=actor, description=description or None, tags=labels)
    finally:
        house.close()
    return MadeVersion(made.model, made.number, made.servable.form if made.servable is not None else "")


def _found(model: Any, example: Any, *, output: str, tolerance: float | None) -> giving.ModelFiles:
    if not isinstance(model, str | Path):
        return giving.model_files(model, example, output=output, tolerance=tolerance)
    from kedge.registry.preparing import About

    path = Path(example) if isinstance(example, str | Path) else None
    files = given_files(Path(model), example=path, about=About(output=output, tolerance=tolerance))
    if path is None:
        files |= giving.example_files(example, output=output, tolerance=tolerance)
    return giving.ModelFiles(framework="", files=files, tags={})


def _through(
    where: Settings, name: str, *, found: giving.ModelFiles, description: str, tags: Mapping[str, str]
) -> MadeVersion:
    """Register through a control plane: a run of its own keeps the files, a version is made of them."""
    from kedge.client.run import run

    with run(name, name="register", within=where, system_metrics=False) as kept:
        logged = kept.keep_model(found, "model")
        kept.flush()
    connection = RemoteDelivery(where.server, token=where.token, timeout=300.0)
    place = f"/api/v1/models/{quote(name, safe='')}"
    try:
        try:
            connection.ask("GET", f"{place}/versions")
        except NotFound:
            connection.ask("POST", "/api/v1/models", body={"name": name})
        body = {"source": f"models:/{logged}", "description": description or None, "tags": dict(tags)}
        made = connection.ask("POST", f"{place}/versions", body=body)
        served = connection.ask("POST", f"{place}/versions/{made['number']}/servable", body={})
    finally:
        connection.close()
    return MadeVersion(name, int(made["number"]), str(served["form"]))
