"""`kedge monitor reference`: what a version calls normal, column by column, and what so few rows cannot tell."""

from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Annotated

import typer

from kedge.cli.monitor.asked import asked_version
from kedge.cli.opening import HERE, Json, Store, opened, print_json
from kedge.cli.showing import show_rows
from kedge.domain.ids import ModelName
from kedge.domain.normal import CalledNormal, NormalColumn, NormalStream

_MOST_STREAMS = 3


def reference(
    model: Annotated[str, typer.Argument(help="NAME@NUMBER or NAME@ALIAS; a NAME alone is its champion.")] = "",
    project: Annotated[Path, typer.Option(help="The project's folder.")] = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show what a version calls normal: per column the tolerance, the reference's error, and what can be heard."""
    with opened(project, store, writer="monitor", bare=True, make=False) as house:
        name, number = asked_version(house, model)
        normal = house.references.normal(name, number)
    if as_json:
        print_json(normal)
        return
    _show(name, normal)


def _show(model: ModelName, normal: CalledNormal) -> None:
    rows = [row for column in normal.columns for row in _rows(column)]
    title = f"what {model} v{normal.version} calls normal: {normal.rows:,} rows"
    show_rows(title, ("column", "watched", "mean", "tolerance", "error", "hears a move above", "learnt from"), rows=rows)
    for note in normal.notes:
        typer.echo(f"not known: {note}")


def _rows(column: NormalColumn) -> list[list[str]]:
    """Give a line for each stream of a column; of many categories, for the most frequent and the missing."""
    streams = column.streams
    if len(streams) > _MOST_STREAMS + 1:
        streams = (*streams[:_MOST_STREAMS], streams[-1])
    learnt = {None: "", 0: "declared"}.get(column.blocks, f"{column.blocks} windows or steps")
    return [
        [
            column.name if place == 0 else "",
            stream.name,
            "-" if stream.mean is None else f"{stream.mean:.3f}",
            f"{stream.tolerance:.3f}",
            f"{min(stream.error, 1.0):.3f}",
            _heard(stream),
            learnt if place == 0 else "",
        ]
        for place, stream in enumerate(streams)
    ]


def _heard(stream: NormalStream) -> str:
    """Say what move can be heard: of a share, or of ranks; for a rank also in standard deviations of a normal column."""
    mean = 0.5 if stream.mean is None else stream.mean
    if stream.margin >= max(mean, 1.0 - mean):
        return "none"
    if stream.name == "rank":
        return f"{stream.margin:.3f} ({sqrt(2) * NormalDist().inv_cdf(0.5 + stream.margin):.2f} sd)"
    return f"{stream.margin:.3f}"
