"""`kedge data push` and `pull`: versions to a bucket that a team shares, and from it."""

from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from kedge.cli.data.keeping import print_checked_out
from kedge.cli.data.opening import recorded
from kedge.cli.options import Json, Store, print_json
from kedge.cli.progress import HowFar
from kedge.cli.who import person
from kedge.data.upkeep.sharing import Shared
from kedge.domain.counts import count, size
from kedge.domain.data import DatasetVersion
from kedge.domain.ids import DatasetName
from kedge.domain.workspace import Pointer
from kedge.errors import NotFound, StoreBroken, Unreachable
from kedge.records import Records
from kedge.settings import project_root, remote_of

Remote = Annotated[
    str, typer.Option(help="A bucket: s3://, gs://, az://, file://. Else KEDGE_REMOTE, else project.remote of kedge.toml.")
]
References = Annotated[
    list[str] | None, typer.Argument(metavar="[PATH|NAME[@VERSION]...]", help="What to send. Else what pointers name here.")
]


def push(
    references: References = None,
    remote: Remote = "",
    every: Annotated[bool, typer.Option("--all", help="Every version of the datasets, not one each.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Send versions to a bucket; only what it lacks travels."""
    url = remote_of(project_root(Path()), given=remote)
    done: list[Shared] = []
    with recorded(store) as records:
        bucket = records.bucket(url)
        for version in _versions(records, references, every=every):
            with HowFar(f"pushing {version.dataset} v{version.number}", bytes=version.bytes, unit="chunks") as shown:
                done.append(records.sharing.push(bucket, version, told=shown.told))
            if not as_json:
                _print(done[-1], "sent", there="is there already")
    if as_json:
        print_json(done)


def pull(
    references: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH|NAME[@VERSION]...]", help="What to fetch. Else what pointers name."),
    ] = None,
    remote: Remote = "",
    checkout: Annotated[bool, typer.Option(help="Bring it into the workspace, too.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Lose edits in the workspace.")] = False,
    mend: Annotated[bool, typer.Option("--mend", help="First read the whole store; fetch anew what is damaged.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Fetch the versions that pointers name from a bucket, and check them out. Of a NAME without a pointer: all
    of them. `PATH@VERSION` is fetched and not checked out: kedge data checkout does that. What is named and here
    already is read, and fetched anew where it is damaged."""
    url = remote_of(project_root(Path()), given=remote)
    done: list[Shared] = []
    with recorded(store, make=True) as records:
        bucket = records.bucket(url)
        if mend:
            _mend(records, url)
        for place, pointer in _pointers(records, references, url=url):
            title = f"pulling {place or pointer.dataset}"
            with HowFar(title, bytes=pointer.bytes, unit="chunks") as shown:
                expect, check = shown.expect_all, bool(references)
                found = records.sharing.pull(bucket, pointer, actor=person(), told=shown.told, check=check, expect=expect)
            if not as_json:
                _print(found, "fetched", there="is here already" + (", and whole" if check and not found.mended else ""))
            if checkout and place is not None and found.version.tree is not None:
                title = f"checking out {place}"
                with HowFar(title, files=pointer.files, bytes=pointer.bytes) as shown, records.blobs.mending(bucket) as read:
                    brought = records.files.checkout(place, found.version, told=shown.told, force=force)
                if not as_json:
                    _print_mended(read.mended)
                    print_checked_out(brought)
                found = replace(found, mended=found.mended + read.mended)
            done.append(found)
    if as_json:
        print_json(done)


def _mend(records: Records, url: str) -> None:
    """Fetch damaged chunks anew, and say so on standard error. Raises StoreBroken where the bucket lacks some."""
    with HowFar("reading the store", unit="chunks") as shown:
        found = records.healing.verify(told=shown.told, expect=shown.expect_all, bucket=records.bucket(url))
    if found.unreachable:
        raise Unreachable(found.unreachable)
    damaged = len(found.harms)
    if found.left:
        raise StoreBroken(
            f"of {count(damaged, 'damaged chunk')} {url} had {damaged - found.left:,}, which are mended; for the others name"
            " another bucket with --remote, or run kedge data push in a clone that has the data"
        )
    typer.echo(f"{count(damaged, 'damaged chunk')} fetched anew" if damaged else "nothing is damaged", err=True)


def _versions(records: Records, references: list[str] | None, *, every: bool) -> list[DatasetVersion]:
    wanted = references or list(records.workspace.places())
    if not wanted:
        raise NotFound("no pointer names data here; say what to send: kedge data push NAME")
    if every:
        datasets = dict.fromkeys(records.files.dataset_of(one) for one in wanted)
        return [version for name in datasets for version in records.meta.datasets.list(name)]
    return [records.files.resolve(one)[0] for one in wanted]


def _pointers(records: Records, references: list[str] | None, *, url: str) -> list[tuple[str | None, Pointer]]:
    found: list[tuple[str | None, Pointer]] = []
    for reference in references or list(records.workspace.places()):
        path, _, which = reference.partition("@")
        place = records.workspace.place(path)
        pointer = records.workspace.pointer(place)
        if pointer is not None and not which:
            found.append((place, pointer))
            continue
        # an older version, a table, or data whose pointer is elsewhere: by the name of its dataset
        dataset = pointer.dataset if pointer is not None else DatasetName(path)
        versions = [
            one
            for one in records.sharing.list(records.bucket(url), dataset)
            if not which or str(one.number) == which.removeprefix("v") or (len(which) >= 6 and one.digest.startswith(which))
        ]
        if not versions:
            said = f"version {which!r} of {dataset!r}; name it by its number there" if which else f"dataset {dataset!r}"
            raise NotFound(f"{url} has no {said}")
        found += [
            (None, Pointer(dataset=one.dataset, digest=one.digest, files=one.files, bytes=one.bytes, folder=True))
            for one in versions
        ]
    return found


def _print(one: Shared, verb: str, *, there: str) -> None:
    name = f"{one.version.dataset} v{one.version.number}"
    if one.erased_there:
        typer.echo(
            f"{name} was erased from in the bucket, and stays so there: erase the same here with kedge data erase; what was"
            " erased here alone goes from there with the same command and --remote"
        )
        return
    typer.echo(f"{name}: {verb} {one.chunks:,} chunks, {size(one.bytes)}" if one.new else f"{name} {there}")
    _print_mended(one.mended)


def _print_mended(chunks: int) -> None:
    if chunks:
        typer.echo(f"{count(chunks, 'damaged chunk')} fetched anew")
