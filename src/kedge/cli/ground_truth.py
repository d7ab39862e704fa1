"""`kedge ground-truth`: tell what came true, by prediction or by entity and time; and how it stands."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kedge.cli.opening import HERE, Json, Store, opened, print_json
from kedge.domain.durations import span_of
from kedge.domain.ids import ModelName
from kedge.domain.predictions import TruthReport
from kedge.errors import RequestInvalid, SourceFailed
from kedge.monitoring.truth.horizon import WITHIN, horizon_of

if TYPE_CHECKING:
    import polars as pl

    from kedge.app import House

_LINES = (".jsonl", ".ndjson")
nouns = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Project = Annotated[Path, typer.Option("--project", help="The project's folder.", show_default="this folder")]
Model = Annotated[str | None, typer.Option(help="The model.", show_default="the one that answered")]
Within = Annotated[str, typer.Option(help="By entity: how much older than the time the prediction may be.")]
KnownAt = Annotated[datetime | None, typer.Option(help="When it became known (UTC).", show_default="now")]


@nouns.callback()
def ground_truth() -> None:
    """Tell what came true."""


@nouns.command()
def add(
    value: Annotated[float, typer.Argument(help="The fact: 0 or 1, or the value.")],
    prediction: Annotated[str | None, typer.Argument(help="The prediction it is about, REQUEST.ROW.")] = None,
    entity: Annotated[str | None, typer.Option(help="Or the entity it is about, with --time.")] = None,
    time: Annotated[datetime | None, typer.Option(help="The time (UTC) at or before which it was predicted.")] = None,
    known_at: KnownAt = None,
    within: Within = WITHIN,
    model: Model = None,
    project: Project = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Record one fact. Exits with 3 where it was not recorded, and says why."""
    import polars as pl

    if (prediction is None) == (entity is None) or (entity is None) != (time is None):
        raise RequestInvalid("name either a prediction, or --entity and --time")
    if prediction is not None:
        table = pl.DataFrame({"id": [prediction], "value": [value]})
    else:
        table = pl.DataFrame({"entity": [entity], "time": [time], "value": [value]})
    names = {"entity": "entity"} if entity is not None else {}
    report = _record(project, store, table=table, names=names, known_at=known_at, within=within, model=model)
    _tell(report, as_json=as_json)
    if not report.recorded and not report.repeated:
        raise typer.Exit(3)


@nouns.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="A file: .parquet, .csv, .tsv; or JSON lines: .jsonl.")],
    id: Annotated[str, typer.Option("--id", help="The column of predictions.")] = "id",
    entity: Annotated[str, typer.Option("--entity", help="Or the column of entities, with --time.")] = "",
    time: Annotated[str, typer.Option("--time", help="The column of times, by entity.")] = "time",
    value: Annotated[str, typer.Option("--value", help="The column of facts.")] = "value",
    known_at: Annotated[str, typer.Option("--known-at", help="The column of when each became known.")] = "",
    within: Within = WITHIN,
    model: Model = None,
    project: Project = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Record a file of facts; again is nothing new. Exits with 3 where some contradict, are unknown or no facts."""
    names = {"id": id, "entity": entity, "time": time, "value": value, "known_at": known_at}
    report = _record(project, store, table=file, names=names, known_at=None, within=within, model=model)
    _tell(report, as_json=as_json)
    if report.contradicting or report.unknown or report.invalid:
        raise typer.Exit(3)


@nouns.command()
def report(model: Model = None, project: Project = HERE, store: Store = None, as_json: Json = False) -> None:
    """Tell how much is labelled, and what was odd, over the windows that were measured."""
    with opened(project, store, writer="ground-truth", bare=True, make=False) as house:
        found = house.ground_truth.standing(ModelName(model) if model is not None else house.ground_truth.only())
    if as_json:
        print_json(found)
        return
    typer.echo(
        f"{found.labels:,} of {found.logged:,} logged predictions are labelled, in {found.windows:,} measured windows;"
        f" {found.answered:,} were answered, {found.missing:,} are missing from the log"
    )
    for name in ("waiting", "repeated", "contradicting", "unknown", "invalid"):
        typer.echo(f"{name}: {getattr(found, name):,}")


def _record(
    project: Path,
    store: str | None,
    *,
    table: "pl.DataFrame | str",
    names: dict[str, str],
    known_at: datetime | None,
    within: str,
    model: str | None,
) -> TruthReport:
    from kedge.monitoring.truth.ground_truth import facts_of

    try:
        span = span_of(within)
    except ValueError as error:
        raise RequestInvalid(f"--within: {error}") from None
    with opened(project, store, writer="ground-truth", bare=True, make=False) as house:
        rows = _read(house, table) if isinstance(table, str) else table
        now = known_at.replace(tzinfo=UTC) if known_at is not None else house.clock.now()
        return house.ground_truth.record(
            ModelName(model) if model is not None else None,
            facts_of(rows, now=now, **names),
            horizon=horizon_of(house.spec),
            within=span,
        )


def _read(house: "House", file: str) -> "pl.DataFrame":
    """Read a file of facts. Raises SourceFailed."""
    import polars as pl
    from polars.exceptions import PolarsError

    path = Path(file).resolve()
    if path.suffix not in _LINES:
        return house.tables.lazy(str(path)).collect()
    if not path.is_file():
        raise SourceFailed(f"there is no file {path}")
    try:
        return pl.read_ndjson(path)
    except (OSError, PolarsError) as error:
        raise SourceFailed(f"{path} cannot be read as one JSON object a line: {error}") from error


def _tell(report: TruthReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    typer.echo(f"{report.recorded:,} recorded")
    for name in ("late", "repeated", "contradicting", "unknown", "invalid"):
        if count := getattr(report, name):
            typer.echo(f"{name}: {count:,}")
    for example in report.examples:
        typer.echo(f"  {example}")
