"""`kedge data add`, `checkout`, `diff`, `log`, `tag`: versions of what lies in the workspace."""

from typing import Annotated

import typer

from kedge.cli.data import keeping
from kedge.cli.data.opening import recorded
from kedge.cli.options import Json, Store, print_json
from kedge.cli.who import person
from kedge.domain.counts import count, size
from kedge.errors import NotFound

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
    keeping.add(paths, message=message, name=name, store=store, as_json=as_json)


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
    if failed := keeping.checkout(references or [], force=force, store=store, as_json=as_json):
        raise typer.Exit(failed)


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
            one.digest[:8],
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
    show_rows(f"{dataset}: {count(len(rows), 'version')}", heads, rows=rows, whole=("", "digest", "made", "size"))


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
