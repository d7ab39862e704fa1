"""`kedge data import` and `export`: data in from other tools, and out again."""

from pathlib import Path
from typing import Annotated

import typer

from kedge.cli.data.files import Reference
from kedge.cli.data.keeping import print_added
from kedge.cli.data.opening import recorded
from kedge.cli.options import Json, Store, print_json
from kedge.cli.progress import HowFar
from kedge.cli.who import person
from kedge.data.files.exchange import Exported
from kedge.domain.data import DatasetVersion
from kedge.errors import ConfigError, LocalEdits
from kedge.records import Records

FORMATS = ("files", "dvc", "parquet", "csv")


def import_(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="What DVC or git-lfs track: files or folders.")],
    cache: Annotated[str, typer.Option(help="DVC's cache. Else the one of its settings.")] = "",
    remote: Annotated[str, typer.Option(help="Where DVC pushed to: a folder or URL. Else its default remote.")] = "",
    message: Annotated[str, typer.Option("--message", "-m", help="What it is, for the log.")] = "",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Make versions of what DVC or git-lfs keep."""
    done = []
    with recorded(store, make=True) as records:
        for path in paths:
            for offer in records.exchange.offers(path, cache=cache, remote=remote):
                with HowFar(f"importing {offer.place}", files=offer.expected, bytes=offer.bytes) as shown:
                    done.append(records.exchange.take_in(offer, actor=person(), told=shown.told, message=message))
                if not as_json:
                    print_added(done[-1])
    if as_json:
        print_json(done)


def export(
    reference: Reference,
    target: Annotated[Path, typer.Argument(metavar="TO", help="A folder; for parquet or csv a file; for dvc a repository.")],
    form: Annotated[str, typer.Option("--as", help=f"As what: {', '.join(FORMATS)}. Else files, or by the suffix.")] = "",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Write a version out: plain files, a table's rows as Parquet or CSV, or as DVC keeps it."""
    with recorded(store) as records:
        version, place = records.files.resolve(reference)
        form = _form(version, target, form=form)
        with HowFar(f"exporting {reference}", files=version.files, bytes=version.bytes) as shown:
            if form == "files":
                done = records.exchange.export(version, target, told=shown.told)
            elif form == "dvc":
                name = (place or version.source or version.dataset).rpartition("/")[2]
                pointer = records.workspace.pointer(place) if place else None
                folder = pointer.folder if pointer is not None else version.files != 1
                done = records.exchange.export_dvc(version, str(target), name=name, folder=folder, told=shown.told)
            else:
                done = write_table(records, version, target=target, form=form)
    if as_json:
        print_json(done)
    else:
        typer.echo(f"{version.dataset} v{version.number}: wrote {done.path}")


def write_table(records: Records, version: DatasetVersion, *, target: Path, form: str) -> Exported:
    """Write the rows of a table to a file, whole or not at all."""
    if target.exists():
        raise LocalEdits(f"{target} is there already and stays; name another file")
    rows = records.tables.scan(version)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".kedge-{target.name}.part")
    try:
        if form == "csv":
            rows.sink_csv(temporary)
        else:
            rows.sink_parquet(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return Exported(version=version, files=1, path=str(target))


def _form(version: DatasetVersion, target: Path, *, form: str) -> str:
    table = version.tree is None
    chosen = form or ((target.suffix.lstrip(".") or "parquet") if table else "files")
    fitting = ("parquet", "csv") if table else ("files", "dvc")
    if chosen not in fitting:
        what = "a table" if table else "files"
        raise ConfigError(f"{version.dataset!r} is {what} and no {chosen!r}; choose {' or '.join(fitting)}")
    return chosen
