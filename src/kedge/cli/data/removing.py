"""`kedge data gc` and `erase`: what nobody needs goes; what must go is gone."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from kedge.cli.data.opening import recorded
from kedge.cli.options import Json, Store, print_json
from kedge.cli.progress import HowFar
from kedge.cli.showing import show_rows
from kedge.cli.who import person
from kedge.data.upkeep.collecting import KEEP, YOUNG, Collected
from kedge.data.upkeep.withdrawing import Withdrawn
from kedge.domain.counts import count, size
from kedge.domain.durations import seconds_of
from kedge.errors import ConfigError, RequestInvalid
from kedge.settings import project_root, remote_of

_COLUMNS = ("dataset", "", "files", "size", "stays because")


def gc(
    datasets: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Only these datasets drop versions. Else all.")
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="The newest versions of a dataset that stay.")] = KEEP,
    younger: Annotated[str, typer.Option(help="Versions younger than this stay, such as 30d or 12h.")] = f"{YOUNG.days}d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and why the others stay.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Drop old versions of files that nothing needs, and free their space."""
    try:
        young = timedelta(seconds=seconds_of(younger) if younger.strip("0 ") not in ("", *"smhdw", "ms", "min") else 0)
    except ValueError as error:
        raise RequestInvalid(f"--younger: {error}") from None
    with recorded(store) as records:
        names = [records.files.dataset_of(name) for name in datasets or ()]
        if not dry_run:
            records.tables.finish_erasures()
        found = records.collecting.collect(actor=person(), keep=keep, young=young, datasets=names, dry=dry_run)
    if as_json:
        print_json(found)
    else:
        _print(found)


def erase(
    reference: Annotated[str, typer.Argument(metavar="PATH|NAME", help="The dataset, by path or name.")],
    files: Annotated[
        list[str] | None, typer.Option("--file", help="A file's name or a pattern: 'people/*'. May be given again.")
    ] = None,
    where: Annotated[str, typer.Option(help="Of a table: which rows, such as \"email = 'a@b.c'\".")] = "",
    reason: Annotated[str, typer.Option(help="Why; it is kept, and the data is not.")] = "",
    remote: Annotated[
        str, typer.Option(help="Erase from this bucket, too: s3://, gs://, az://, file://.", show_default="only here")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased here.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Erase files or rows from every version of a dataset: their bytes are gone, the record of it stays."""
    from_bucket: Withdrawn | None = None
    with recorded(store) as records:
        dataset = records.files.dataset_of(reference)
        bucket = records.bucket(remote) if remote and not dry_run else None
        newest = records.meta.datasets.find(dataset)
        if newest is not None and newest.tree is None:
            if files or not where:
                raise RequestInvalid(f"{dataset!r} is a table; say which rows with --where")
            if dry_run:
                raise RequestInvalid("rows cannot be tried out with --dry-run; look at them first with kedge.data.read")
            if bucket is not None and reason.strip():
                with HowFar(f"fetching what only {remote} has of {dataset}", unit="chunks") as shown:
                    records.withdrawing.fetch(bucket, dataset, actor=person(), told=shown.told)
            gone = records.tables.erase(dataset, where=where, actor=person(), reason=reason)
            said: object = gone
            told = f"{dataset}: {count(gone.rows, 'stored row')} erased from {count(len(gone.versions), 'version')}"
            told += f"; {size(gone.freed)} freed" if gone.rows else f"; no version has rows where {where}"
            if gone.held_by:
                told += f"; the same bytes are in {', '.join(gone.held_by)} too: erase them there"
        else:
            if where or not files:
                raise RequestInvalid(f"{dataset!r} are files; say which with --file")
            place = records.files.place_of(dataset)
            done = records.erasing.erase(
                dataset, files, actor=person(), reason=reason, place=place, dry=dry_run, elsewhere=bucket is not None
            )
            said = done
            verb = "erased" if done.done else "would be erased"
            told = f"{dataset}: {count(done.files, 'file')} {verb} from {count(done.versions, 'version')}"
            told += f"; {size(done.bytes)} freed" if done.done else ""
            if done.held_elsewhere:
                told += f"; {done.held_elsewhere:,} contents stay, because other files, datasets or runs hold the same"
        if bucket is not None:
            with HowFar(f"erasing from {remote}", unit="packs") as shown:
                from_bucket = records.withdrawing.withdraw(
                    bucket, dataset, patterns=files or (), actor=person(), reason=reason, told=shown.told
                )
    if as_json:
        print_json(said if from_bucket is None else msgspec.to_builtins(said) | {"bucket": from_bucket})
        return
    typer.echo(told)
    if from_bucket is not None:
        _print_withdrawn(from_bucket)
    elif not dry_run:
        typer.echo(_left(reference), err=True)


def _print_withdrawn(done: Withdrawn) -> None:
    typer.echo(
        f"{done.url}: erased from {count(done.versions, 'version')} there, {count(done.contents, 'content')},"
        f" {size(done.bytes)} gone"
        + (f"; {done.held_elsewhere:,} contents stay, because others there hold the same" if done.held_elsewhere else "")
    )
    typer.echo("copies in other buckets and other clones stay: erase them there, too", err=True)


def _left(reference: str) -> str:
    try:
        url = remote_of(project_root(Path()))
    except ConfigError:
        url = "URL"
    bucket = "buckets" if url == "URL" else url
    return (
        f"copies in {bucket} and in other clones stay, if it was pushed: run the same with --remote {url} to erase"
        f" {reference} there, and run it in each clone"
    )


def _print(found: Collected) -> None:
    rows = [
        (
            one.dataset,
            f"v{one.number}",
            f"{one.files:,}",
            size(one.bytes),
            f"{one.why.value} {one.detail}" if one.why else "goes",
        )
        for one in sorted((*found.dropped, *found.kept), key=lambda one: (one.dataset, one.number))
    ]
    show_rows(f"{len(found.dropped)} of {count(len(rows), 'version')} go", _COLUMNS, rows=rows)
    gone = "dropped" if found.done else "would be dropped"
    verb = "freed" if found.done else "would be freed, at most"
    typer.echo(f"{count(len(found.dropped), 'version')} {gone}, {count(found.blobs, 'content')}, {size(found.bytes)} {verb}")
