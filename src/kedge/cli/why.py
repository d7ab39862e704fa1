"""`kedge why`: from one answer, or one version of a model, back to the source, link by link."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from kedge.cli.opening import HERE, Json, Store, opened, print_json
from kedge.domain.evaluation import Recomputed
from kedge.domain.ids import ModelName, PredictionId
from kedge.domain.lineage import Explanation, Link, VersionExplanation

Signs = {True: "[green]✓ verified[/]", False: "[red]✗ does not hold[/]", None: "[dim]· not checked[/]"}


def command(
    what: Annotated[str, typer.Argument(help="A prediction's id, REQUEST.ROW, or a version: MODEL@NUMBER, MODEL@ALIAS.")],
    folder: Annotated[Path, typer.Option("--project", help="The project's folder.", show_default="this folder")] = HERE,
    store: Store = None,
    as_json: Json = False,
    replay: Annotated[bool, typer.Option("--replay", help="Compute the answer again and compare it bit for bit.")] = False,
) -> None:
    """Walk from an answer or a version to gate, run, code, data. Exits with 3 if a link or the replay does not hold."""
    model, at, which = what.rpartition("@")
    with opened(folder, store, writer="why", bare=True) as house:
        if at and house.meta.registered.find(ModelName(model)) is not None:
            version = house.catalog.named(model, which if which.isdecimal() else f"@{which}")
            _answer_version(house.lineage.why_version(version, house.catalog.history(model)), as_json=as_json)
            return
        name = PredictionId(what)
        explanation = house.lineage.why(name)
        again = None
        if replay:
            logged = house.lineage.get(name)
            served = house.registry.get(explanation.model, explanation.version)
            again = house.evaluation.recompute(served, logged.batch, row=logged.row)
    if as_json:
        print_json({**msgspec.to_builtins(explanation), "replay": msgspec.to_builtins(again)})
    else:
        _show(explanation, again)
    if not explanation.holds or (again is not None and not again.equal):
        raise typer.Exit(3)


def _answer_version(explanation: VersionExplanation, *, as_json: bool) -> None:
    """Print what stands behind a version. Exits with 3 if a link does not hold."""
    if as_json:
        print_json(explanation)
    else:
        console = Console()
        console.print(f"[bold]{escape(explanation.model)} v{explanation.version}[/]")
        for link in explanation.links:
            _show_link(console, link)
    if not explanation.holds:
        raise typer.Exit(3)


def _show(explanation: Explanation, again: Recomputed | None) -> None:
    console = Console()
    console.print(
        f"[bold]{explanation.prediction}[/]  {explanation.model} v{explanation.version} answered {explanation.output:.6g}"
    )
    for link in explanation.links:
        _show_link(console, link)
    if again is not None:
        same = "bit for bit the same" if again.equal else f"NOT the same: {again.again!r} now, {again.logged!r} then"
        console.print(f"\n[bold]replay[/]  {again.batch_rows} rows through the stored model again: {same}")


def _show_link(console: Console, link: Link) -> None:
    console.print(f"\n[bold]{escape(link.title)}[/]  {Signs[link.verified]} [dim]{escape(link.check)}[/]")
    console.print(f"  {escape(link.summary)}", highlight=False)
    if link.digest:
        console.print(f"  [dim]{link.digest}[/]", highlight=False)
    width = max((len(name) for name in link.facts), default=0)
    for name, value in link.facts.items():
        shown = "·" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
        console.print(f"    {escape(name):<{width}}  {escape(shown)}", highlight=False)
