"""Erases files from every version of a dataset: the bytes are gone from the store, the record says that it was done.

    manifests without the files -> versions name those (one transaction, with the event) -> bytes removed -> workspace
Versions keep number and digest. Killed anywhere and run again, it ends as if it had not been: what the versions no longer
name is found again among what nobody names.
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import msgspec

from kedge.domain.counts import count
from kedge.domain.data import DatasetVersion
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, Digest, digest_of
from kedge.domain.workspace import Base
from kedge.errors import NotFound, RequestInvalid
from kedge.ports import Clock, Datasets, DataStore, TreeFile
from kedge.ports.workspace import Workspace


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure did, or would do: files by name over all versions, versions that had them, bytes freed; and how many
    contents stay because others name them, too."""

    dataset: DatasetName
    files: int
    versions: int
    bytes: int
    held_elsewhere: int
    done: bool


class Erasing:
    """Erases files."""

    def __init__(self, *, datasets: Datasets, blobs: DataStore, workspace: Workspace, clock: Clock) -> None:
        self._datasets, self._blobs, self._workspace, self._clock = datasets, blobs, workspace, clock

    def erase(
        self,
        dataset: DatasetName,
        patterns: Sequence[str],
        *,
        actor: str,
        reason: str,
        place: str | None,
        dry: bool = False,
        elsewhere: bool = False,
    ) -> Erased:
        """Erase the files that any of the patterns fits (`*` fits slashes, too) from all versions of a dataset, and from
        its place in the workspace. Raises NotFound where none fits, unless some may `elsewhere`; RequestInvalid without a
        reason."""
        if not dry and not reason.strip():
            raise RequestInvalid("an erasure needs a reason, which is kept; give it with --reason")
        with self._blobs.alone():
            versions = [one for one in self._datasets.list(dataset) if one.tree is not None]
            names: set[str] = set()
            contents: set[Digest] = set()
            struck = []
            for version in versions:
                fitting = [file for file in self._blobs.manifest(_tree(version)) if fits(file.name, patterns)]
                if fitting:
                    struck.append(version)
                    names.update(file.name for file in fitting)
                    contents.update(file.digest for file in fitting)
            if not struck and not elsewhere and not any(version.erased_at for version in versions):
                raise NotFound(
                    f"no file of any version of {dataset!r} fits {', '.join(patterns)}; look with `kedge data diff`"
                )
            if dry:
                return self._told(dataset, names, struck=struck, bytes=0, held=0, done=False)
            self._strike(dataset, struck, patterns=patterns, names=len(names), actor=actor, reason=reason)
            # what an erasure that was killed here has left is among what nobody names, too
            unused = [digest for digest, _ in self._blobs.unused(self._trees(), blobs=self._parts())]
            held = len(contents - set(unused))
            freed = self._blobs.remove(unused)
        if place is not None:
            self._forget(dataset, place, patterns=patterns)
        return self._told(dataset, names, struck=struck, bytes=freed, held=held, done=True)

    def _strike(
        self,
        dataset: DatasetName,
        versions: Sequence[DatasetVersion],
        *,
        patterns: Sequence[str],
        names: int,
        actor: str,
        reason: str,
    ) -> None:
        now = self._clock.now()
        amended = []
        for version in versions:
            left = _Left(patterns)
            tree = self._blobs.put_manifest(left.of(self._blobs.manifest(_tree(version))))
            amended.append(msgspec.structs.replace(version, tree=tree, files=left.files, bytes=left.bytes, erased_at=now))
        if not amended:
            return
        event = Event(
            key=digest_of("erase files", dataset, [(one.number, one.tree) for one in amended], now),
            kind=EventKind.DATA_ERASED,
            at=now,
            subject=dataset,
            actor=actor,
            message=f"{count(names, 'file')} erased from {count(len(amended), 'version')} of {dataset!r}: {reason}",
            facts={"files": names, "versions": len(amended), "reason": reason},
        )
        self._datasets.amend(amended, event)

    def _trees(self) -> Iterator[Digest]:
        for name in self._datasets.names():
            for version in self._datasets.list(name):
                if version.tree is not None:
                    yield version.tree

    def _parts(self) -> Iterator[Digest]:
        for name in self._datasets.names():
            for version in self._datasets.list(name):
                for part in version.parts:
                    yield from (digest for digest in (part.digest, part.deleted) if digest)

    def _forget(self, dataset: DatasetName, place: str, *, patterns: Sequence[str]) -> None:
        """Remove the files from the workspace, and remember the versions as they are now."""
        space = self._workspace
        pointer = space.pointer(place)
        with space.locked(place):
            memory = space.memory(place)
            try:
                base = memory.base()
                here = self._datasets.find(dataset, base.number) if base is not None else None
                gone = [found.name for found in space.scan(place) if fits(found.name, patterns)]
                space.remove(place, gone, folder=pointer.folder if pointer is not None else True)
                if base is not None and here is not None and here.tree is not None and here.digest == base.version:
                    memory.drop([known[0] for known in memory.files() if fits(known[0], patterns)])
                    memory.settle(Base(version=base.version, tree=here.tree, number=base.number))
                else:
                    memory.forget()
            finally:
                memory.close()
            if pointer is not None and here is not None and here.digest == pointer.digest:
                space.point(place, msgspec.structs.replace(pointer, files=here.files, bytes=here.bytes))

    def _told(
        self, dataset: DatasetName, names: set[str], *, struck: Sequence[DatasetVersion], bytes: int, held: int, done: bool
    ) -> Erased:
        return Erased(dataset=dataset, files=len(names), versions=len(struck), bytes=bytes, held_elsewhere=held, done=done)


class _Left:
    """Counts what is left of a tree."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = patterns
        self.files = self.bytes = 0

    def of(self, files: Iterator[TreeFile]) -> Iterator[TreeFile]:
        for file in files:
            if not fits(file.name, self._patterns):
                self.files += 1
                self.bytes += file.size
                yield file


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether a file's name is among those that are to be erased."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _tree(version: DatasetVersion) -> Digest:
    assert version.tree is not None  # noqa: S101  # only versions of files come here
    return version.tree
