"""`kedge runs`: what scripts logged: list, show, compare; and sync, which sends what ended scripts left behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from kedge.cli.opening import Json, Store, print_json
from kedge.cli.showing import show_rows
from kedge.domain.counts import count
from kedge.domain.ids import RunId
from kedge.domain.tracking import Run, RunDetail
from kedge.errors import NotFound, Unreachable
from kedge.records import Records, open_records
from kedge.settings import settings
from kedge.tracking.search import experiments_query, runs_query

nouns = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Ids = Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids of runs; their first letters are enough.")]
Experiment = Annotated[str | None, typer.Option(help="Only runs of the experiment of this name.")]
Url = Annotated[str | None, typer.Option(help="The control plane to send to. Else KEDGE_URL, else the store itself.")]
Meant = Annotated[str | None, typer.Option(help="Send here what was meant for this address, that was wrong or has moved.")]
_SHORTEST = 4


class Sent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of the spools that were left behind: records sent, spools that still wait and why, those for elsewhere."""

    sent: int
    waiting: int
    why: str
    elsewhere: dict[str, int] = {}


@nouns.command("list")
def listed(
    store: Store = None,
    experiment: Experiment = None,
    where: Annotated[str, typer.Option("--filter", help="Such as: metrics.loss < 0.3 and params.rate = '0.1'")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    with _opened(store) as records:
        runs = [detail.run for detail in _found(records, experiment, where=where, limit=limit)]
        names = {one: records.logging.get_experiment(one).name for one in {run.experiment for run in runs}}
    if as_json:
        print_json(runs)
        return
    rows = [
        (run.id[:12], run.name, names[run.experiment], run.status.value, f"{run.started_at:%Y-%m-%d %H:%M}", _briefly(run))
        for run in runs
    ]
    columns = ("run", "name", "experiment", "status", "started", "metrics")
    show_rows(count(len(runs), "run"), columns, rows=rows, whole={"run", "status"})


@nouns.command()
def show(run: str, store: Store = None, as_json: Json = False) -> None:
    """Show one run: params, newest metrics, tags, datasets."""
    with _opened(store) as records:
        detail = records.logging.get_run(_id(records, run))
    if as_json:
        print_json(detail)
        return
    found = detail.run
    rows = [("param", key, value) for key, value in sorted(found.params.items())]
    rows += [("metric", key, f"{value:.6g}") for key, value in sorted(found.metrics.items())]
    rows += [("tag", key, value) for key, value in sorted(found.tags.items())]
    rows += [("dataset", one.name, one.digest) for one in detail.datasets]
    show_rows(f"{found.id} {found.name}: {found.status.value}", ("", "key", "value"), rows=rows)


@nouns.command()
def compare(runs: Ids, store: Store = None, as_json: Json = False) -> None:
    """Compare runs: the params and metrics in which they differ."""
    with _opened(store) as records:
        found = [records.logging.get_run(_id(records, run)).run for run in runs]
    sides = [
        {f"param {key}": value for key, value in run.params.items()}
        | {f"metric {key}": f"{value:.6g}" for key, value in run.metrics.items()}
        for run in found
    ]
    keys = sorted({key for side in sides for key in side})
    rows = {key: [side.get(key) for side in sides] for key in keys if len({side.get(key) for side in sides}) > 1}
    if as_json:
        print_json({"runs": [run.id for run in found], "differences": rows})
        return
    told = [(key, *(value or "" for value in values)) for key, values in rows.items()]
    show_rows(count(len(rows), "difference"), ("", *(f"{run.name} ({run.id[:8]})" for run in found)), rows=told)


@nouns.command()
def sync(store: Store = None, url: Url = None, meant_for: Meant = None, as_json: Json = False) -> None:
    """Send what ended scripts left in their spools, to where it was meant to go. Exits with 3 if some of it still waits."""
    from kedge.client.channel import end_left, send_some
    from kedge.client.process import delivery_to
    from kedge.scripts import left_elsewhere, left_spools

    where = settings(Path(), store=store, server=url)
    delivery, sent, waiting, why = delivery_to(where), 0, 0, ""
    try:
        for spool in left_spools(where, meant_for=meant_for):
            try:
                while not why and not spool.is_empty:
                    sent += send_some(spool, delivery)
            except Unreachable as error:
                why = str(error)
            waiting += not spool.is_empty
            if spool.is_empty:
                end_left(spool, delivery)
            spool.close()
    finally:
        delivery.close()
    elsewhere = left_elsewhere(where)
    if as_json:
        print_json(Sent(sent=sent, waiting=waiting, why=why, elsewhere=elsewhere))
    else:
        typer.echo(f"{count(sent, 'record')} sent" + (f"; {count(waiting, 'spool')} left: {why}" if waiting else ""))
        for target, spools in elsewhere.items():
            typer.echo(f"{count(spools, 'spool')} for {target}: `kedge runs sync --meant-for {target}` sends it here")
    if waiting:
        raise typer.Exit(3)


@contextmanager
def _opened(store: str | None) -> Iterator[Records]:
    """Open the store. Scripts here log to a control plane where KEDGE_URL is set: then it is said which runs these are."""
    found = settings(Path(), store=store)
    if found.server:
        typer.echo(f"these are the runs in {found.store}; those of KEDGE_URL: {found.server}/experiments", err=True)
    records = open_records(found, make=False)
    try:
        yield records
    finally:
        records.close()


def _found(records: Records, experiment: str | None, *, where: str, limit: int) -> list[RunDetail]:
    wanted = runs_query(
        where, order=("attributes.start_time DESC",), limit=limit, experiments=_experiments(records, experiment)
    )
    return list(records.logging.search_runs(wanted).items)


def _experiments(records: Records, name: str | None) -> list[str]:
    """Give the ids of the experiment of this name, or of all."""
    if name is not None:
        found = records.logging.find_experiment(name)
        if found is None:
            raise NotFound(f"there is no experiment {name!r}; leave --experiment out to see the runs of all")
        return [found.id]
    ids: list[str] = []
    page = ""
    while True:
        some = records.logging.search_experiments(experiments_query(limit=1000, page=page))
        ids += [one.id for one in some.items]
        page = some.next
        if not page:
            return ids


def _id(records: Records, run: str) -> RunId:
    """Find the run whose id is, or begins with, these letters. Raises NotFound."""
    if records.logging.get_runs([RunId(run)]) or len(run) < _SHORTEST:
        return RunId(run)
    wanted = runs_query(f"attributes.run_id LIKE '{_letters(run)}%'", limit=2, experiments=_experiments(records, None))
    found = [detail.run.id for detail in records.logging.search_runs(wanted).items]
    if len(found) > 1:
        raise NotFound(f"{run!r} begins the ids of several runs, {found[0]} and {found[1]}; write more of it")
    return found[0] if found else RunId(run)


def _letters(run: str) -> str:
    return "".join(letter for letter in run if letter.isalnum() or letter == "-")


def _briefly(run: Run) -> str:
    told = [f"{key}={value:.4g}" for key, value in sorted(run.metrics.items()) if not key.startswith("system/")]
    return " ".join(told[:4]) + (" ..." if len(told) > 4 else "")
