"""`kedge models`: registered models, versions, aliases and stages by hand.

Where MODEL is left out it is the project's. Exit codes: 0 done; 1 refused, said in one line; 2 wrong usage.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from kedge.cli import signing
from kedge.cli.opening import HERE, opened
from kedge.cli.options import Json, Store, print_json
from kedge.cli.showing import plain, show_rows
from kedge.cli.who import person
from kedge.client.folders import given_files
from kedge.config import PROJECT_FILE, project_or_none
from kedge.domain.counts import count
from kedge.domain.finding import Query
from kedge.domain.ids import ModelName
from kedge.domain.registry import CHAMPION, CatalogVersion, RegisteredModel
from kedge.errors import NotFound, RequestInvalid
from kedge.registry.catalog import Offered
from kedge.registry.names import check_reason
from kedge.registry.preparing import About
from kedge.registry.telling import described, served_as

nouns = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Reason = Annotated[str, typer.Option(help="Why; it goes into the history.")]
Place = Annotated[Path, typer.Option("--project", help="The project's folder.", show_default="this folder")]
Model = Annotated[str, typer.Argument(help="The registered model.", show_default="the project's")]
Number = Annotated[int, typer.Argument(help="The version's number.")]
Serial = Annotated[int | None, typer.Option(help="Only where the alias has moved so many times, as `history` counts them.")]
PAGE = 1000
for command in (signing.key, signing.sign, signing.verify):
    nouns.command()(command)


@nouns.command("list")
def show(project: Place = HERE, store: Store = None, as_json: Json = False) -> None:
    """List the registered models, by name."""
    with opened(project, store, writer="models", bare=True, make=False) as house:
        models: list[RegisteredModel] = []
        page = ""
        while True:
            found = house.catalog.search(Query(limit=PAGE, page=page))
            models += found.items
            if not (page := found.next):
                break
        latest = house.catalog.latest_of([model.name for model in models])
    if as_json:
        print_json([{"model": model, "latest": latest[model.name]} for model in models])
        return
    rows = []
    for model in models:
        newest = max((each.number for each in latest[model.name]), default=0)
        aliases = ", ".join(f"{alias} v{number}" for alias, number in sorted(model.aliases.items()))
        rows.append((model.name, f"v{newest}" if newest else "·", aliases, f"{model.updated_at:%Y-%m-%d %H:%M}"))
    show_rows(count(len(models), "registered model"), ("model", "newest", "aliases", "updated"), rows=rows)


@nouns.command("show")
def one(model: Model = "", project: Place = HERE, store: Store = None, as_json: Json = False) -> None:
    """Show one registered model: what it is for, its aliases, the newest version of each stage."""
    with opened(project, store, writer="models", bare=True, make=False) as house:
        found = house.catalog.get(model_named(model, project, house.spec.name))
        latest = house.catalog.latest(found.name)
    if as_json:
        print_json({"model": found, "latest": latest})
        return
    console = Console()
    console.print(f"[bold]{escape(plain(found.name))}[/]  {escape(plain(found.description or ''))}", highlight=False)
    for alias, number in sorted(found.aliases.items()):
        console.print(f"  {alias}  v{number}", highlight=False)
    _print_versions(latest, "newest of each stage")


@nouns.command()
def versions(model: Model = "", project: Place = HERE, store: Store = None, as_json: Json = False) -> None:
    """List the versions of a model, newest first."""
    with opened(project, store, writer="models", bare=True, make=False) as house:
        name = model_named(model, project, house.spec.name)
        found = house.catalog.versions(name)
    if as_json:
        print_json(found)
    else:
        _print_versions(found, f"{name}: {count(len(found), 'version')}")


@nouns.command()
def history(model: Model = "", project: Place = HERE, store: Store = None, as_json: Json = False) -> None:
    """List every move of aliases and stages, oldest first: who, when, why, and the gate's verdict on the version."""
    with opened(project, store, writer="models", bare=True, make=False) as house:
        name = model_named(model, project, house.spec.name)
        moves = house.catalog.history(name)
    if as_json:
        print_json(moves)
        return
    columns = ("when", "what", "serial", "version", "from", "who", "why", "verdict")
    rows = []
    for move in moves:
        before = move.before or (f"v{move.previous}" if move.previous is not None else "·")
        version = f"v{move.number}" if move.number is not None else "taken away"
        when, what = f"{move.at:%Y-%m-%d %H:%M:%S}", f"{move.kind} {move.name}"
        rows.append((when, what, str(move.serial), version, before, move.actor, move.reason, move.verdict or "none"))
    show_rows(f"{name}: {len(moves)} {'move' if len(moves) == 1 else 'moves'}", columns, rows=rows, whole={"serial"})


@nouns.command()
def promote(
    reason: Reason,
    model: Model = "",
    version: Annotated[int | None, typer.Option(help="The version; left out, the one on trial.")] = None,
    serial: Serial = None,
    project: Place = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Make a version champion now: the one on trial, or any by its number; what is deployed follows at once."""
    with opened(project, store, writer="models", bare=True, make=False) as house:
        name = model_named(model, project, house.spec.name)
        move = house.by_hand.promote(
            name, version, actor=person(), reason=check_reason(reason, parameter="--reason"), serial=serial
        )
    told(f"{name} v{move.number} is champion", move, as_json=as_json)


@nouns.command("roll-back")
def roll_back(
    reason: Reason,
    model: Model = "",
    serial: Serial = None,
    project: Place = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Go back: end the trial if there is one, else return to the champion before."""
    with opened(project, store, writer="models", bare=True, make=False) as house:
        name = model_named(model, project, house.spec.name)
        move = house.by_hand.roll_back(
            name, actor=person(), reason=check_reason(reason, parameter="--reason"), serial=serial
        )
    told(f"{name} v{move.number} is champion", move, as_json=as_json)


@nouns.command()
def archive(
    model: Model,
    version: Number,
    reason: Reason,
    project: Place = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Take a version out of use: stage Archived, its aliases taken away. What is served cannot be archived."""
    with opened(project, store, writer="models", bare=True, make=False) as house:
        found = house.by_hand.archive(model, version, actor=person(), reason=check_reason(reason, parameter="--reason"))
    told(f"{model} v{version} is archived", found, as_json=as_json)


@nouns.command()
def alias(
    model: Model,
    name: Annotated[str, typer.Argument(help="The alias.")],
    reason: Reason,
    version: Annotated[int | None, typer.Option(help="The version to point to.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the alias away.")] = False,
    serial: Serial = None,
    project: Place = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Point an alias to a version, or take it away."""
    if remove == (version is not None):
        raise RequestInvalid(f"say what becomes of {name!r}: --version N points it to a version, --remove takes it away")
    with opened(project, store, writer="models", bare=True, make=False) as house:
        who, why = person(), check_reason(reason, parameter="--reason")
        if version is None:
            house.by_hand.delete_alias(model, name, actor=who, reason=why)
        else:
            house.by_hand.set_alias(model, name, number=version, actor=who, reason=why, serial=serial)
        found = house.catalog.get(model)
    where = f"points to v{version}" if version is not None else "is taken away"
    told(f"{name} of {model} {where}", found, as_json=as_json)


@nouns.command()
def stage(
    model: Model,
    version: Number,
    to: Annotated[str, typer.Argument(help="None, Staging, Production or Archived.")],
    reason: Reason,
    archive_existing: Annotated[bool, typer.Option(help="Archive the other versions of that stage.")] = False,
    project: Place = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Bring a version to a stage."""
    with opened(project, store, writer="models", bare=True, make=False) as house:
        found = house.catalog.move_stage(
            model,
            version,
            stage=to,
            actor=person(),
            archive=archive_existing,
            reason=check_reason(reason, parameter="--reason"),
        )
    told(f"{model} v{version} is in stage {found.stage.value}", found, as_json=as_json)


@nouns.command()
def tag(
    model: Model,
    key: Annotated[str, typer.Argument(help="The tag's key.")],
    value: Annotated[str | None, typer.Argument(help="Its value; left out, the tag is taken away.")] = None,
    version: Annotated[int | None, typer.Option(help="A version's tag; left out, the model's.")] = None,
    project: Place = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Set or take away a tag of a model or of a version."""
    with opened(project, store, writer="models", bare=True, make=False) as house:
        catalog = house.catalog
        if version is None:
            catalog.retag(model, {key: value})
        else:
            catalog.retag_version(model, version, tags={key: value})
        found = catalog.get(model) if version is None else catalog.version(model, version)
    told(f"{key} of {model} is {value!r}" if value is not None else f"{key} of {model} is gone", found, as_json=as_json)


@nouns.command()
def register(
    model: Model,
    source: Annotated[
        str, typer.Argument(help="A file or folder of a model; runs:/RUN/PATH, models:/m-ID, models:/NAME/N.")
    ],
    description: Annotated[str, typer.Option(help="What the version is.")] = "",
    example: Annotated[
        Path | None, typer.Option(help="Rows that the model may be asked: .parquet, .csv, .json, or arrays as .npz.")
    ] = None,
    output: Annotated[str, typer.Option(help="What the answer of a table is called.", show_default="prediction")] = "",
    tolerance: Annotated[
        float | None, typer.Option(help="How far a compiled form's answers may lie.", show_default="by the format")
    ] = None,
    project: Place = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Make a version of a model's file or folder, ready to be served; or of a run's files, a logged model, another version.

    The model is made where it is not there.
    """
    if (path := Path(source)).exists():
        files = given_files(path, example=example, about=About(output=output, tolerance=tolerance))
        with opened(project, store, writer="models", bare=True, inline=True) as house:
            given = house.given.register(model, files, actor=person(), description=description or None)
        told(f"{model} v{given.number} is registered: {served_as(given)}", given, as_json=as_json)
        return
    if example is not None or output or tolerance is not None:
        raise RequestInvalid(f"--example, --output and --tolerance go with a file or folder; there is none at {source!r}")
    with opened(project, store, writer="models", bare=True, make=False) as house:
        who, offered = person(), Offered(source=source, description=description or None)
        house.catalog.require_files(offered)
        try:
            house.catalog.get(model)
        except NotFound:
            house.catalog.create(model, actor=who)
        made = house.catalog.register(model, offered, actor=who)
    told(f"{model} v{made.number} is registered", made, as_json=as_json)


@nouns.command()
def servable(
    model: Model,
    version: Number,
    project: Place = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Say how a version would be served, or why it cannot be: its signature, the form that answers and its parity."""
    with opened(project, store, writer="models", bare=True, make=False, inline=True) as house:
        found = house.registry.servable(ModelName(model), version)
        house.registry.verify(found)
    if as_json:
        print_json(found)
        return
    for name, text in described(found):
        typer.echo(f"{name:<10} {text}")


def _print_versions(found: Sequence[CatalogVersion], title: str) -> None:
    columns = ("version", "state", "form", "stage", "aliases", "registered", "run", "digest")
    rows = [
        (
            f"v{version.number}",
            _state(version),
            version.servable.form if version.servable is not None else "·",
            version.stage.value,
            ", ".join(version.aliases),
            f"{version.created_at:%Y-%m-%d %H:%M}",
            (version.run or "·")[:12],
            (version.digest or "no files")[:12],
        )
        for version in found
    ]
    show_rows(title, columns, rows=rows, whole={"version", "stage", "run"})


def _state(version: CatalogVersion) -> str:
    if CHAMPION in version.aliases:
        return CHAMPION
    return version.loop.verdict.outcome.value if version.loop else "not judged"


def model_named(model: str, project: Path, of_project: str) -> str:
    """Give the model that is meant. Raises RequestInvalid where none is named and there is no project to have one."""
    if not model and project_or_none(project) is None:
        raise RequestInvalid(f"name a model: there is no {PROJECT_FILE} here; `kedge models list` lists the models")
    return model or of_project


def told(sentence: str, value: object, *, as_json: bool) -> None:
    """Say what was done: the value as JSON where that was asked for."""
    if as_json:
        print_json(value)
    else:
        typer.echo(sentence)
