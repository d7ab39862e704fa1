"""`kedge monitor explain`: what moved in a window, and why it matters."""

from __future__ import annotations

from typing import Annotated

import typer

from kedge.cli.monitor.asked import Model, Project, asked_model
from kedge.cli.opening import HERE, Json, Store, print_json
from kedge.cli.showing import show_rows
from kedge.domain.causes import Causes


def explain(
    model: Model = None,
    project: Project = HERE,
    window: Annotated[str, typer.Option(help="A window by its id or its start; left out, the newest with rows.")] = "",
    windows: Annotated[int, typer.Option(min=1, max=400, help="Answers of so many windows up to it.")] = 7,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Say what moved and why it matters: features by drift and worth, slices where the loss rose, rows, since when."""
    with asked_model(model, project, store=store) as asked:
        causes = asked.house.explaining.explain(asked.spec, window, windows=windows)
    if as_json:
        print_json(causes)
    else:
        _show(causes)


def _show(causes: Causes) -> None:
    gate = f"{causes.gate_loss:.4g}" if causes.gate_loss is not None else "not known"
    lost = f"{causes.loss:.4g} a row, {gate} at the gate" if causes.loss is not None else "not known"
    typer.echo(
        f"version {causes.version}, {causes.rows:,} labelled answers from {causes.start:%Y-%m-%d %H:%M} to "
        f"{causes.end:%Y-%m-%d %H:%M}: loss {lost}"
    )
    if causes.features:
        valued = any(one.worth for one in causes.features)
        show_rows(
            "features, by drift times worth"
            if valued
            else "features, by how far they moved; what they are worth is not known",
            ("feature", "moved", "worth", "share of worth", "alarms"),
            rows=[
                (
                    one.column,
                    f"{one.moved:.3f}",
                    *((f"{one.worth:.3g}", f"{one.share:.0%}") if valued else ("", "")),
                    "yes" if one.listed else "",
                )
                for one in causes.features
            ],
        )
    if causes.slices:
        show_rows(
            f"where the loss rose most ({causes.tried:,} slices of at least {causes.least} rows were tried)",
            ("slice", "rows", "loss", "at the gate", "rise (95 % band)", "sure", "since", "examples"),
            rows=[
                (
                    one.slice,
                    f"{one.rows:,}",
                    f"{one.loss:.4g}",
                    f"{one.gate_loss:.4g}",
                    f"{one.rise:+.3g} ({one.low:+.3g} to {one.high:+.3g})",
                    "yes" if one.sure else "no",
                    f"{one.since:%Y-%m-%d %H:%M}" if one.since is not None else "",
                    " ".join(one.examples[:2]),
                )
                for one in causes.slices
            ],
        )
    for note in causes.notes:
        typer.echo(f"note: {note}")
