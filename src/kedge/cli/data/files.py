"""`kedge data add`, `checkout`, `diff`, `log`, `tag`: versions of what lies in the workspace."""

from pathlib import Path
from typing import Annotated

import typer

from kedge.cli.data.opening import recorded
from kedge.cli.options import Json, Store, person, print_json
from kedge.cli.progress import HowFar, count, size
from kedge.data.files import Added, CheckedOut
from kedge.errors import KedgeError, NotFound
from kedge.records import Records

Reference = Annotated[
    str,
    typer.Argument(metavar="PATH|NAME[@VERSION]", help="Data by its path or dataset; a number, tag or digest after the @."),
]
_COLUMNS = ("", "digest", "made", "holds", "size", "by", "tags", "message")


def add(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files or folders of any format.")],
    message: Annotated[str, typer.Option("--message", "-m", help="What changed, for the log.")] = "",
    name: Annotated[str, typer.Option(help="The dataset's name. Else it is the path, with - for /.")] = "",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Make files or folders the newest versions of their datasets."""
    if name and len(paths) > 1:
        raise typer.BadParameter("--name is for one path; add the others by themselves")
    done: list[Added] = []
    with recorded(store) as records:
        for path in paths:
            place = _place(records, path)
            with HowFar(f"adding {path}") as shown:
                done.append(records.files.add(place, actor=person(), told=shown.told, name=name, message=message))
            if not as_json:
                print_added(done[-1])
    if as_json:
        print_json(done)


def checkout(
    references: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH[@VERSION]...]", help="Data to bring to a version.", show_default="all"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Lose edits: make the data just what the version is.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Bring data in the workspace to the version that its pointer names, or to another one."""
    done: list[CheckedOut] = []
    with recorded(store) as records:
        wanted = references or [f"{place}" for place in records.workspace.places()]
        failed = 0
        for reference in wanted:
            try:
                version, place = records.files.resolve(reference)
                if place is None:
                    place = version.source
                    if not place or version.tree is None:
                        raise NotFound(f"no path here belongs to {version.dataset!r}; write it to one: kedge data export")
                with HowFar(f"checking out {place}", files=version.files, bytes=version.bytes) as shown:
                    done.append(records.files.checkout(place, version, told=shown.told, force=force))
            except KedgeError as error:
                if len(wanted) == 1:
                    raise
                failed += 1
                typer.echo(f"error: {error}", err=True)
                continue
            if not as_json:
                print_checked_out(done[-1])
    if as_json:
        print_json(done)
    if failed:
        raise typer.Exit(1)


def log(reference: Reference, store: Store = None, as_json: Json = False) -> None:
    """List the versions of a dataset, newest first."""
    from kedge.cli.showing import show_rows

    with recorded(store) as records:
        dataset = records.files.dataset_of(reference)
        versions = list(reversed(records.meta.datasets.list(dataset)))
        tags = records.meta.datasets.tags(dataset)
    if not versions:
        raise NotFound(f"this store has no version of {dataset!r} yet; get what its pointer names with: kedge data pull")
    if as_json:
        print_json({"dataset": dataset, "versions": versions, "tags": tags})
        return
    rows = [
        (
            f"v{one.number}",
            one.digest[:12],
            f"{one.created_at:%Y-%m-%d %H:%M}",
            count(one.rows, "row") if one.tree is None else count(one.files, "file"),
            size(one.bytes),
            one.actor.removeprefix("person:"),
            ", ".join(tag for tag, number in tags.items() if number == one.number),
            one.message + (" (erased from)" if one.erased_at else ""),
        )
        for one in versions
    ]
    heads = ("", "digest", "made", "holds", "size", "by", "tags", "message")
    show_rows(f"{dataset}: {count(len(rows), 'version')}", heads, rows=rows)


def tag(
    reference: Reference,
    tag: Annotated[str, typer.Argument(help="The tag; one that is there moves.")],
    delete: Annotated[bool, typer.Option("--delete", help="Take the tag away.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Have a tag name a version, or take a tag away."""
    with recorded(store) as records:
        if delete:
            dataset = records.files.dataset_of(reference)
            records.catalogue.tag(dataset, tag, reference=None, actor=person())
            said = f"tag {tag} of {dataset} is gone"
        else:
            version, _ = records.files.resolve(reference)
            records.catalogue.tag(version.dataset, tag, reference=f"v{version.number}", actor=person())
            dataset, said = version.dataset, f"tag {tag} of {version.dataset} names v{version.number}"
        tags = records.meta.datasets.tags(dataset)
    if as_json:
        print_json({"dataset": dataset, "tags": tags})
    else:
        typer.echo(said)


def diff(
    before: Reference,
    after: Annotated[
        str | None,
        typer.Argument(metavar="[PATH|NAME[@VERSION]]", help="The other side.", show_default="what lies here"),
    ] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Compare two versions: files, or rows and columns. `@VERSION` alone means the same dataset.

    One path: with what lies here, or, with nothing edited, the version before.
    """
    from kedge.cli.data.differences import print_files, print_table
    from kedge.domain.data_diff import DatasetDiff, FilesDiff

    with recorded(store) as records:
        one, place = records.files.resolve(before)
        if after is None and place is not None and one.tree is not None:
            edits = records.files.diff_workspace(place, one)
            if edits.same and one.number > 1 and "@" not in before:
                edits = records.files.diff(records.files.before(one), one)
            if as_json:
                print_json(edits)
            else:
                print_files(edits)
            return
        name = before.rpartition("@")[0] or before
        other, _ = records.files.resolve(after if after and not after.startswith("@") else f"{name}{after or ''}")
        if one.tree is None and other.tree is None:
            found: DatasetDiff = records.tables.diff(one, other)
        else:
            found = records.files.diff(one, other)
    if as_json:
        print_json(found)
    elif isinstance(found, FilesDiff):
        print_files(found)
    else:
        print_table(found)


def _place(records: Records, path: str) -> str:
    """Take a path, or the name of a dataset that lies here."""
    place = records.workspace.place(path)
    if records.workspace.kind(place) is None and not Path(path).exists():
        try:
            return records.files.place_of(records.files.dataset_of(path)) or place
        except NotFound:
            return place
    return place


def print_added(done: Added) -> None:
    """Say what an add or an import did."""
    version = done.version
    what = f"{count(version.files, 'file')}, {size(version.bytes)}"
    if done.new:
        typer.echo(f"{done.place}: {version.dataset} v{version.number} ({version.digest[:12]}), {what}; {done.read:,} read")
    else:
        typer.echo(f"{done.place}: nothing changed since {version.dataset} v{version.number} ({what})")
    for warning in done.warnings:
        typer.echo(f"warning: {warning}", err=True)


def print_checked_out(done: CheckedOut) -> None:
    """Say what a checkout did."""
    left = f"; left as they are, for it does not have them: {count(done.left, 'file')}" if done.left else ""
    what = f"{count(done.written, 'file')} written, {done.removed:,} removed{left}"
    typer.echo(f"{done.place}: {done.version.dataset} v{done.version.number}, {what}")
