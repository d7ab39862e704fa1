"""`kedge predictions`: what was answered, as it stands in the log; compaction, retention, erasure."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kedge.cli.opening import HERE, Json, Store, opened, print_json
from kedge.cli.showing import brief, plain, show_rows
from kedge.cli.who import person
from kedge.domain.ids import ModelName
from kedge.domain.sizes import bytes_of
from kedge.errors import RequestInvalid

if TYPE_CHECKING:
    import polars as pl

nouns = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Project = Annotated[Path, typer.Option("--project", help="The project's folder.", show_default="this folder")]
Model = Annotated[str | None, typer.Option(help="Only of this model.")]
MOST_COLUMNS = 8
"""More than that are shown one below the other."""
_SHOWN = ("id", "answered_at", "model", "version", "variant", "entity", "output", "truth")


@nouns.callback()
def predictions() -> None:
    """Ask the prediction log, and keep it."""


@nouns.command("list")
def list_(
    project: Project = HERE,
    store: Store = None,
    model: Model = None,
    version: Annotated[int | None, typer.Option(help="Only of this version.")] = None,
    variant: Annotated[str | None, typer.Option(help="Only as this: champion or challenger.")] = None,
    entity: Annotated[str | None, typer.Option(help="Only of this entity.")] = None,
    prediction: Annotated[str | None, typer.Option("--id", help="Only this prediction, REQUEST.ROW.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Only for this time (UTC) or later.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Only for before this time (UTC).")] = None,
    where: Annotated[str | None, typer.Option(help="An SQL condition, such as: feature_distance > 500")] = None,
    columns: Annotated[str, typer.Option(help="Only these columns, separated by commas; * is all.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many, the newest; 0 is all.")] = 20,
    as_json: Json = False,
    parquet: Annotated[Path | None, typer.Option("--parquet", help="Write them to this Parquet file.")] = None,
) -> None:
    """List predictions, newest first, with their ground truth where it came."""
    from kedge.monitoring.answer_log import PredictionQuery

    with opened(project, store, writer="predictions", bare=True, make=False) as house:
        frame = house.answers.select(
            PredictionQuery(
                model=ModelName(model) if model is not None else None,
                version=version,
                variant=variant,
                entity=entity,
                prediction=prediction,
                since=since and since.replace(tzinfo=UTC),
                until=until and until.replace(tzinfo=UTC),
                where=where,
                columns=tuple(name.strip() for name in columns.split(",") if name.strip() not in ("", "*")),
                limit=limit or None,
            )
        )
    if parquet is not None:
        try:
            frame.write_parquet(parquet, compression="zstd")
        except OSError as error:
            raise RequestInvalid(f"{parquet} cannot be written: {error.strerror or error}; choose another file") from None
        typer.echo(f"{len(frame)} predictions are in {parquet}")
    elif as_json:
        print_json(frame.to_dicts())
    else:
        _show(frame, everything=bool(columns))


@nouns.command()
def compact(
    project: Project = HERE,
    store: Store = None,
    most: Annotated[str | None, typer.Option(help="About so much of segments at most, such as 256MiB.")] = None,
    as_json: Json = False,
) -> None:
    """Make Parquet of the log's closed segments, and delete what is older than `predictions.keep`.

    A damaged segment is left as it is, and named: exits with 3 then.
    """
    try:
        bound = bytes_of(most) if most is not None else None
    except ValueError as error:
        raise RequestInvalid(f"--most: {error}") from None
    with opened(project, store, writer="predictions", bare=True, make=False) as house:
        done = house.answers.compact(house.spec.predictions, most_bytes=bound)
    if as_json:
        print_json(done)
    else:
        typer.echo(
            f"{done.segments} segments with {done.records} records ({done.bytes:,} bytes) are Parquet now;"
            f" all Parquet has {done.stored_bytes:,} bytes"
        )
        if done.more:
            typer.echo("there is more: run the same again")
        for one in done.damaged:
            typer.echo(f"left as it is: {one}")
    if done.damaged:
        raise typer.Exit(3)


@nouns.command()
def erase(
    entity: Annotated[str, typer.Option(help="Whose predictions: the value that traffic is split by.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept, so name nobody.")],
    project: Project = HERE,
    store: Store = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Erase an entity's predictions, and the facts about them, from the log. Exits with 3 if something could not be seen."""
    with opened(project, store, writer="predictions", bare=True, make=False) as house:
        done = house.answers.erase(
            entity, actor=person(), reason=reason, model=ModelName(model) if model is not None else None
        )
    if as_json:
        print_json(done)
    else:
        looks = f", and what {done.looks} looks at shadows kept of them" if done.looks else ""
        typer.echo(f"{done.predictions} predictions and {done.facts} facts are erased{looks}")
        for one in done.left:
            typer.echo(f"not looked at, since it is being written or damaged: {one}; run the same again later")
    if not done.whole:
        raise typer.Exit(3)


@nouns.command()
def status(project: Project = HERE, store: Store = None, as_json: Json = False) -> None:
    """Tell what the log holds on disk."""
    with opened(project, store, writer="predictions", bare=True, make=False) as house:
        answers, facts = house.answers.stored()
    if as_json:
        print_json({"predictions": answers, "ground_truth": facts})
        return
    for name, one in (("predictions", answers), ("ground truth", facts)):
        typer.echo(
            f"{name}: {one.segments} segments ({one.segment_bytes:,} bytes), {one.parts} Parquet files"
            f" ({one.rows:,} rows, {one.part_bytes:,} bytes)"
        )


def _show(frame: "pl.DataFrame", *, everything: bool) -> None:
    """Print a table: a prediction's id is never cut, since `why` and the ground truth ask for it."""
    title = f"{len(frame):,} prediction" + ("s" if len(frame) != 1 else "")
    if everything and len(frame.columns) > MOST_COLUMNS:
        _show_blocks(title, frame)
        return
    if everything:
        rows = [[_cell(value) for value in row] for row in frame.iter_rows()]
        show_rows(title, frame.columns, rows=rows, whole={"id"})
        return
    brief = [name for name in _SHOWN if name in frame.columns]
    rows = [
        [str(row.get("id", "·")), _cell(row.get("answered_at")), _by(row), *(_cell(row.get(name)) for name in _SHOWN[5:])]
        for row in frame.select(brief).iter_rows(named=True)
    ]
    show_rows(title, ("id", "answered at", "by", *_SHOWN[5:]), rows=rows, whole={"id"})


def _show_blocks(title: str, frame: "pl.DataFrame") -> None:
    """Print a prediction below the other, a column a line: what has no value is left out."""
    typer.echo(title)
    width = max(map(len, frame.columns))
    for row in frame.iter_rows(named=True):
        typer.echo("")
        for name, value in row.items():
            if value is not None:
                typer.echo(f"{plain(name):<{width}}  {brief(_cell(value))}")


def _by(row: dict[str, object]) -> str:
    """Name who answered: the model's version, and that it was on trial."""
    trial = f" {row['variant']}" if row.get("variant") not in (None, "champion") else ""
    return f"{row.get('model')} v{row.get('version')}{trial}"


def _cell(value: object) -> str:
    if value is None:
        return "·"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
