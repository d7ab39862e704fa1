"""`kedge monitor skew`: were answers served with what training would have read, and are they what the model gives?"""

from __future__ import annotations

from typing import Annotated

import typer

from kedge.cli.monitor.asked import Model, Project, asked_model
from kedge.cli.opening import HERE, Json, Store, print_json
from kedge.cli.showing import show_rows
from kedge.domain.monitoring import Health
from kedge.errors import NotFound

NO = 3


def skew(
    model: Model = None,
    project: Project = HERE,
    last: Annotated[int, typer.Option(min=1, max=1000, help="So many windows, the newest last.")] = 14,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show the replayed samples of the last windows: features as the join gives them, answers as the model does. Exits
    with 3 if any differs."""
    with asked_model(model, project, store=store) as asked:
        name = asked.name
        healths = list(asked.house.meta.watches.list(name, limit=last))
    if not healths:
        raise NotFound(f"no window of {name!r} was measured yet; measure those that have closed with: kedge watch")
    if as_json:
        print_json({"model": name, "windows": [{"window": one.window.id, "skew": one.skew} for one in healths]})
    else:
        _show(healths)
    if any(one.skew is not None and one.skew.share > 0 for one in healths):
        raise typer.Exit(NO)


def _show(healths: list[Health]) -> None:
    rows, features, answers = [], [], []
    for one in healths:
        if one.skew is None:
            continue
        found = one.skew
        rows.append(
            (
                f"{one.window.start:%Y-%m-%d %H:%M}",
                f"{found.skewed:,} of {found.rows:,}",
                ", ".join(f"{name} ({count})" for name, count in found.columns.items()),
                f"{found.changed:,} of {found.answers:,}",
                f"{found.evidence:,.3g} : 1",
            )
        )
        features += [(each.prediction, each.column, str(each.served), str(each.joined)) for each in found.mismatches]
        answers += [(each.prediction, f"{each.answered:.6g}", f"{each.again:.6g}") for each in found.examples]
    if not rows:
        typer.echo("no sample was replayed in these windows")
        return
    show_rows("replayed samples", ("window", "rows skewed", "columns", "answers changed", "evidence"), rows=rows)
    if features:
        show_rows("served, and as the join gives it", ("prediction", "column", "served", "joined"), rows=features[:20])
    if answers:
        show_rows("answered, and asked again", ("prediction", "answered", "again"), rows=answers[:20])
