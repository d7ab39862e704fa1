"""`kedge why`: from one answer, or one version of a model, back to the source, link by link."""

from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from kedge.app import House
from kedge.cli.opening import HERE, Json, Store, opened, print_json
from kedge.cli.showing import brief, plain
from kedge.domain.evaluation import Recomputed
from kedge.domain.ids import ModelName, PredictionId, split_prediction_id
from kedge.domain.lineage import Explanation, Link, VersionExplanation
from kedge.domain.registry import CatalogVersion
from kedge.errors import ModelRefused, NotFound

Signs = {True: "[green]✓ verified[/]", False: "[red]✗ does not hold[/]", None: "[dim]· not checked[/]"}


def command(
    what: Annotated[str, typer.Argument(help="A prediction's id, REQUEST.ROW, or a version: MODEL@NUMBER, MODEL@ALIAS.")],
    folder: Annotated[Path, typer.Option("--project", help="The project's folder.", show_default="this folder")] = HERE,
    store: Store = None,
    as_json: Json = False,
    replay: Annotated[bool, typer.Option("--replay", help="Compute the answer again and compare it bit for bit.")] = False,
) -> None:
    """Walk from an answer or a version to gate, run, code, data. Exits with 3 if a link or the replay does not hold."""
    with opened(folder, store, writer="why", bare=True, make=False) as house:
        if (version := _version(house, what)) is not None:
            told: VersionExplanation | Explanation = house.lineage.why_version(version, house.catalog.history(version.model))
            again, refused = None, ""
        else:
            told, again, refused = _prediction(house, what, replay=replay)
    # printed out here: within, standard output is kept from whatever the project's code prints
    if isinstance(told, VersionExplanation):
        print_json(told) if as_json else _show_version(told)
    elif as_json:
        print_json({**msgspec.to_builtins(told), "replay": {"error": refused} if refused else msgspec.to_builtins(again)})
    else:
        _show(told, again, refused=refused)
    if not told.holds or refused or (again is not None and not again.equal):
        raise typer.Exit(3)


def _version(house: House, what: str) -> CatalogVersion | None:
    """Find the version that MODEL@NUMBER or MODEL@ALIAS names; None where no registered model is named so."""
    model, at, which = what.rpartition("@")
    if not at or house.meta.registered.find(ModelName(model)) is None:
        return None
    return house.catalog.named(model, which if which.isdecimal() else f"@{which}")


def _prediction(house: House, what: str, *, replay: bool) -> tuple[Explanation, Recomputed | None, str]:
    """Explain a prediction, and compute it again if that was asked for, or say why it cannot be. Raises NotFound."""
    name = PredictionId(what)
    if split_prediction_id(name) is None:
        is_model = house.meta.registered.find(ModelName(what)) is not None
        raise _no_such(what, is_model=is_model)
    explanation = house.lineage.why(name)
    if not replay:
        return explanation, None, ""
    logged = house.lineage.get(name)
    served = house.registry.servable(explanation.model, explanation.version)
    call = partial(house.lineage.call, logged)
    try:
        return explanation, house.evaluation.recompute(served, logged.batch, row=logged.row, call=call), ""
    except ModelRefused as error:
        return explanation, None, str(error)


def _no_such(what: str, *, is_model: bool) -> NotFound:
    """Say what was asked for instead of an answer or a version, as far as it can be told."""
    if is_model:
        return NotFound(f"{what!r} is a registered model; say which version: {what}@NUMBER or {what}@ALIAS")
    model, at, _ = what.rpartition("@")
    if at:
        return NotFound(f"no registered model is named {model!r}; `kedge models list` lists them")
    return NotFound(
        f"{what!r} is neither a prediction's id, such as flights-2013-03-01T11.0, nor a version, MODEL@NUMBER or MODEL@ALIAS"
    )


def _show_version(explanation: VersionExplanation) -> None:
    console = Console()
    console.print(f"[bold]{escape(plain(explanation.model))} v{explanation.version}[/]")
    for link in explanation.links:
        _show_link(console, link)


def _show(explanation: Explanation, again: Recomputed | None, *, refused: str) -> None:
    console = Console()
    answered = f"{explanation.model} v{explanation.version} answered {explanation.output:.6g}"
    coin = f"; the caller was served a coin: {explanation.served:g}" if explanation.served is not None else ""
    console.print(f"[bold]{explanation.prediction}[/]  {answered}{coin}")
    for link in explanation.links:
        _show_link(console, link)
    if again is not None:
        same = "bit for bit the same" if again.equal else f"NOT the same: {again.again!r} now, {again.logged!r} then"
        console.print(f"\n[bold]replay[/]  {again.batch_rows} rows through the stored model again: {same}")
    if refused:
        console.print(f"\n[bold]replay[/]  [red]✗[/] {escape(refused)}", highlight=False)


def _show_link(console: Console, link: Link) -> None:
    console.print(f"\n[bold]{escape(link.title)}[/]  {Signs[link.verified]} [dim]{escape(link.check)}[/]")
    console.print(f"  {escape(brief(link.summary))}", highlight=False)
    if link.digest:
        console.print(f"  [dim]{link.digest}[/]", highlight=False)
    width = max((len(name) for name in link.facts), default=0)
    for name, value in link.facts.items():
        shown = "·" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
        console.print(f"    {escape(plain(name)):<{width}}  {escape(brief(shown))}", highlight=False)
