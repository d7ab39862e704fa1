"""Which versions of files may go, and why the others stay; then the bytes that only those held are freed.

A version stays if it is among the newest of its dataset, or young, tagged, checked out here or named by a pointer at the
tip of a branch or tag of git, or if a run or a model used it. Versions of tables stay: they share their parts.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from enum import Enum

import msgspec

from kedge.data.using import uses_of
from kedge.domain.counts import count
from kedge.domain.data import DatasetKind, DatasetVersion
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, Digest, digest_of
from kedge.domain.lineage import Node, NodeKind
from kedge.ports import Clock, Datasets, DataStore, MetaStore
from kedge.ports.workspace import Workspace

KEEP = 10
YOUNG = timedelta(days=30)


class KeptFor(Enum):
    """Why a version stays."""

    NEWEST = "newest"
    YOUNG = "young"
    TAGGED = "tagged"
    CHECKED_OUT = "checked out"
    IN_GIT = "in git"
    USED = "used"
    TABLE = "table"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A version and the first reason for which it stays; None where it may go. `detail` is the tag, branch, run or model."""

    dataset: DatasetName
    number: int
    digest: Digest
    files: int
    bytes: int
    why: KeptFor | None
    detail: str = ""


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """What a collection did, or would do: versions dropped and kept, blobs nobody names any more, bytes freed."""

    dropped: tuple[Kept, ...]
    kept: tuple[Kept, ...]
    blobs: int
    bytes: int
    done: bool


class Collecting:
    """Frees the space of versions that nobody needs."""

    def __init__(self, *, meta: MetaStore, blobs: DataStore, workspace: Workspace, clock: Clock) -> None:
        self._meta, self._blobs, self._workspace, self._clock = meta, blobs, workspace, clock

    def collect(
        self,
        *,
        actor: str,
        keep: int = KEEP,
        young: timedelta = YOUNG,
        datasets: Sequence[DatasetName] = (),
        dry: bool = False,
    ) -> Collected:
        """Drop what may go, then free what nobody names; `dry` only says what would happen. Killed on the way and run
        again, it ends as if it had not been. Waits for adds that are under way. Raises Conflict after a long wait."""
        with self._blobs.alone():
            judged = list(self._judged(keep=keep, young=young, datasets=datasets))
            going = [one for one in judged if one.why is None]
            trees, blobs = named(self._meta.datasets, without={(one.dataset, one.number) for one in going})
            unused = list(self._blobs.unused(trees, blobs=blobs))
            freed = sum(size for _, size in unused)
            if not dry:
                self._drop(going, actor=actor)
                freed = self._blobs.remove(digest for digest, _ in unused) + self._blobs.sweep()
        kept = tuple(one for one in judged if one.why is not None)
        return Collected(dropped=tuple(going), kept=kept, blobs=len(unused), bytes=freed, done=not dry)

    def _judged(self, *, keep: int, young: timedelta, datasets: Sequence[DatasetName]) -> Iterator[Kept]:
        pointed = self._pointed()
        now = self._clock.now()
        for name in datasets or self._meta.datasets.names():
            versions = self._meta.datasets.list(name)
            tags = {number: tag for tag, number in self._meta.datasets.tags(name).items()}
            newest = {version.number for version in versions[-max(1, keep) :]}
            for version in versions:
                why: KeptFor | None = None
                detail = ""
                if version.kind is DatasetKind.TABLE:
                    why = KeptFor.TABLE
                elif version.number in newest:
                    why = KeptFor.NEWEST
                elif now - version.created_at < young:
                    why = KeptFor.YOUNG
                elif version.number in tags:
                    why, detail = KeptFor.TAGGED, tags[version.number]
                elif version.digest in pointed:
                    detail = pointed[version.digest]
                    why = KeptFor.IN_GIT if detail else KeptFor.CHECKED_OUT
                elif user := self._user(version):
                    why, detail = KeptFor.USED, user
                yield _kept(version, why, detail=detail)

    def _pointed(self) -> dict[Digest, str]:
        """Name the versions that pointers name: here (with ""), or at the tip of a branch or tag of git."""
        found = {pointer.digest: ref for ref, pointer in self._workspace.git_pointers()}
        for place in self._workspace.places():
            if (pointer := self._workspace.pointer(place)) is not None:
                found[pointer.digest] = ""
            memory = self._workspace.memory(place)
            if (base := memory.base()) is not None:
                found[base.version] = ""
            memory.close()
        return found

    def _user(self, version: DatasetVersion) -> str:
        """Name a run or a model that used a version, whatever became of it; "" for none."""
        for edge in self._meta.events.uses(Node(NodeKind.DATASET_VERSION, version.digest)):
            if edge.made.kind is not NodeKind.DATASET_VERSION:
                return f"{edge.made.kind.value} {edge.made.id}"
        uses = uses_of(self._meta, version.dataset, versions=[version], whole=False)
        first = next(iter((*uses.models, *uses.runs)), None)
        return "" if first is None else f"{first.kind.value} {first.name}"

    def _drop(self, going: Sequence[Kept], *, actor: str) -> None:
        by_dataset: dict[DatasetName, list[Kept]] = {}
        for one in going:
            by_dataset.setdefault(one.dataset, []).append(one)
        for name, versions in by_dataset.items():
            numbers = [one.number for one in versions]
            event = Event(
                key=digest_of("drop", name, [(one.number, one.digest) for one in versions]),
                kind=EventKind.DATASET_VERSIONS_DROPPED,
                at=self._clock.now(),
                subject=name,
                actor=actor,
                message=f"{count(len(numbers), 'version')} of {name!r} that nothing needs dropped",
                facts={"versions": len(numbers), "first": min(numbers), "last": max(numbers)},
            )
            self._meta.datasets.drop(name, numbers, event=event)


def named(datasets: Datasets, *, without: Collection[tuple[DatasetName, int]] = ()) -> tuple[list[Digest], list[Digest]]:
    """List the trees and blobs that versions name."""
    trees: list[Digest] = []
    blobs: list[Digest] = []
    for name in datasets.names():
        for version in datasets.list(name):
            if (name, version.number) not in without:
                trees.extend([version.tree] if version.tree is not None else [])
                blobs.extend(digest for part in version.parts for digest in (part.digest, part.deleted) if digest)
    return trees, blobs


def _kept(version: DatasetVersion, why: KeptFor | None, *, detail: str) -> Kept:
    return Kept(
        dataset=version.dataset,
        number=version.number,
        digest=version.digest,
        files=version.files,
        bytes=version.bytes,
        why=why,
        detail=detail,
    )
