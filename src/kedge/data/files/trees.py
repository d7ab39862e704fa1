"""What differs between two trees of files, in bounded memory: both manifests are read side by side."""

from collections.abc import Iterator

from kedge.domain.data import DatasetVersion
from kedge.domain.data_diff import ChangedFile, FileChange, FilesDiff, side_of
from kedge.domain.ids import Digest
from kedge.errors import RequestInvalid
from kedge.ports import DataStore, TreeFile

SHOWN = 1000
_MOVES = 100_000  # removed files that are remembered, to find them again under another name


def diff_trees(blobs: DataStore, before: DatasetVersion, *, after: DatasetVersion, shown: int = SHOWN) -> FilesDiff:
    """Compare two versions of files; the first of those that differ are named. Raises RequestInvalid for a table."""
    if before.tree is None or after.tree is None:
        raise RequestInvalid(f"{before.dataset!r} and {after.dataset!r} are not both files; compare a table with a table")
    counts = dict.fromkeys(FileChange, 0)
    files: list[ChangedFile] = []
    moved = _moves(blobs, before.tree, after=after.tree)
    origins = set(moved.values())
    unchanged = 0
    for one, other in pairs(blobs.manifest(before.tree), blobs.manifest(after.tree)):
        if one is not None and other is not None and one[1:] == other[1:]:
            unchanged += 1
            continue
        if other is None and one is not None and one.name in origins:
            continue  # told where it went
        told = _told(one, other, moved=moved)
        counts[told.change] += 1
        if len(files) < shown:
            files.append(told)
    return FilesDiff(
        before=side_of(before),
        after=side_of(after),
        added=counts[FileChange.ADDED],
        removed=counts[FileChange.REMOVED],
        changed=counts[FileChange.CHANGED],
        moved=counts[FileChange.MOVED],
        unchanged=unchanged,
        files=tuple(files),
    )


def pairs(before: Iterator[TreeFile], after: Iterator[TreeFile]) -> Iterator[tuple[TreeFile | None, TreeFile | None]]:
    """Pair two manifests by name."""
    one, other = next(before, None), next(after, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.name < other.name):
            yield one, None
            one = next(before, None)
        elif one is None or one.name > other.name:
            yield None, other
            other = next(after, None)
        else:
            yield one, other
            one, other = next(before, None), next(after, None)


def _moves(blobs: DataStore, before: Digest, *, after: Digest) -> dict[str, str]:
    """Find files that were removed under one name and added under another: by name, what each was named before."""
    removed: dict[Digest, list[str]] = {}
    added: list[tuple[str, Digest]] = []
    for one, other in pairs(blobs.manifest(before), blobs.manifest(after)):
        if len(removed) + len(added) > _MOVES:
            return {}
        if other is None and one is not None and one.size:
            removed.setdefault(one.digest, []).append(one.name)
        elif one is None and other is not None and other.size:
            added.append((other.name, other.digest))
    return {name: removed[digest].pop(0) for name, digest in added if removed.get(digest)}


def _told(one: TreeFile | None, other: TreeFile | None, *, moved: dict[str, str]) -> ChangedFile:
    if other is None:
        assert one is not None  # noqa: S101  # one of the two is there
        return ChangedFile(path=one.name, change=FileChange.REMOVED, before=one.digest, bytes_before=one.size)
    if one is not None:
        return ChangedFile(
            path=one.name,
            change=FileChange.CHANGED,
            before=one.digest,
            after=other.digest,
            bytes_before=one.size,
            bytes_after=other.size,
        )
    if was := moved.get(other.name):
        return ChangedFile(
            path=other.name,
            change=FileChange.MOVED,
            before=other.digest,
            after=other.digest,
            bytes_before=other.size,
            bytes_after=other.size,
            was=was,
        )
    return ChangedFile(path=other.name, change=FileChange.ADDED, after=other.digest, bytes_after=other.size)
