"""Versions of files: a file or folder in the workspace becomes an immutable version, and a version comes back.

    add        look -> read what is new -> keep its bytes -> manifest -> version -> pointer
    checkout   look -> refuse where edits would be lost -> write what differs -> pointer
What was done is remembered on the way, so that whatever is killed goes on where it was, and nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from kedge.data.files.clearing import in_the_way
from kedge.data.files.edits import edits_of
from kedge.data.files.looking import changes
from kedge.data.files.planning import CheckoutPlan, remembered
from kedge.data.files.trees import diff_trees
from kedge.data.references import check_name, named_after, resolve, split
from kedge.domain.data import DatasetKind, DatasetVersion, Schema
from kedge.domain.data_diff import FilesDiff
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, Digest, digest_of
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.domain.workspace import (
    EMPTY,
    EXECUTABLE,
    LINK,
    PLAIN,
    Base,
    KnownFile,
    Pointer,
    differing,
)
from kedge.errors import ConfigError, Conflict, NotFound, RequestInvalid, SourceFailed
from kedge.ports import Clock, DataStore, StoredFile, TreeFile, Versions
from kedge.ports.workspace import Offer, PlaceMemory, Workspace
from kedge.ports.world import Told

if TYPE_CHECKING:
    from pathlib import Path

_BATCH = 20_000  # files: what is remembered at once, in memory and on the disk
_TRIES = 20  # of an add that others race with
_BACK_NS = 1_000_000_000  # what is written is dated back by so much: an edit in the same tick of a clock shows then
_NAMED = 5  # files in a message


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What an add did: the version, whether it is new, how many files were read for it; and what a person should know."""

    place: str
    version: DatasetVersion
    new: bool
    read: int
    warnings: tuple[str, ...] = ()


class CheckedOut(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkout did: the version that lies there now, and how many files were written, removed, left as they are
    though the version does not have them."""

    place: str
    version: DatasetVersion
    written: int = 0
    removed: int = 0
    left: int = 0


class FileVersions:
    """Keeps versions of the files in a workspace."""

    def __init__(self, *, datasets: Versions, blobs: DataStore, workspace: Workspace, clock: Clock) -> None:
        self._datasets, self._blobs, self._workspace, self._clock = datasets, blobs, workspace, clock

    def add(
        self, place: str, *, actor: str, told: Told, name: str = "", message: str = "", notes: Sequence[Edge] = ()
    ) -> Added:
        """Make what lies at a place its dataset's newest version; nothing new where it is that already.

        Raises NotFound, SourceFailed, FileChanged, Conflict, StoreFull.
        """
        space = self._workspace
        kind = space.kind(place)
        pointer = space.pointer(place)
        if kind is None:
            raise absent(place, pointer)
        dataset = self._name(place, pointer, name=name)
        if pointer is None and (other := space.overlapping(place)):
            raise ConfigError(
                f"{place} and {other} overlap, and {other} is a dataset of its own; add that one, or remove {other}.kedge"
            )
        with space.locked(place), self._blobs.keeping():
            memory = space.memory(place)
            try:
                asked = _Asked(place, dataset, actor, message, tuple(notes))
                reading = _Reading(space, place, memory=memory, folder=kind)
                version, new = self._add(asked, memory, reading=reading, told=told)
            finally:
                memory.close()
            made = Pointer(dataset=dataset, digest=version.digest, files=version.files, bytes=version.bytes, folder=kind)
            space.point(place, made)
        return Added(
            place=place,
            version=version,
            new=new,
            read=reading.read,
            warnings=self._warnings(place, reading, first=pointer is None),
        )

    def checkout(self, place: str, version: DatasetVersion, *, told: Told, force: bool = False) -> CheckedOut:
        """Make a place hold what a version holds; files that differ are written, files that no version knows are left.

        Raises LocalEdits where edits would be lost, unless `force`: then the place becomes what the version is, no more
        and no less. Raises NotFound, StoreFull, StoreBroken.
        """
        space = self._workspace
        tree = require_files(version)
        with space.locked(place):
            memory = space.memory(place)
            try:
                return self._checkout(place, version, tree=tree, memory=memory, told=told, force=force)
            finally:
                memory.close()

    def take_in(self, offer: Offer, *, actor: str, told: Told, name: str = "", message: str = "") -> Added:
        """Make data that another tool keeps the newest version of its place, with a pointer. The workspace stays as it
        is, but for what only stood in for the data: that is removed, and a checkout brings the data.

        Raises what `add` raises.
        """
        space, place = self._workspace, offer.place
        pointer = space.pointer(place)
        dataset = self._name(place, pointer, name=name)
        stand_ins: list[str] = []
        with space.locked(place), self._blobs.keeping():
            count = _Count()
            kept = self._blobs.put_files(_paths(offer, stand_ins=stand_ins), told=told)
            tree = self._blobs.put_manifest(count.through(_as_seen(kept)))
            version, new = self._publish(_Asked(place, dataset, actor, message, ()), tree, count=count)
            made = Pointer(
                dataset=dataset, digest=version.digest, files=version.files, bytes=version.bytes, folder=offer.folder
            )
            space.point(place, made)
            space.remove(place, stand_ins, folder=offer.folder)
        return Added(place=place, version=version, new=new, read=count.files)

    def adopt(self, place: str) -> bool:
        """Compare what lies at a place with the version that its pointer names, and remember it; False where the store
        does not have that version. For a place of which nothing is remembered."""
        space = self._workspace
        pointer = space.pointer(place)
        version = self.pointed(pointer) if pointer is not None else None
        if version is None or pointer is None:
            return False
        with space.locked(place):
            memory = space.memory(place)
            try:
                rows = (remembered(file) for file in self._blobs.manifest(require_files(version)))
                memory.begin()
                memory.change(files=rows, gone=())
                memory.settle(_base(version))
                for _ in changes(space, place, memory=memory, folder=pointer.folder):
                    pass
            finally:
                memory.close()
        return True

    def pointed(self, pointer: Pointer) -> DatasetVersion | None:
        """Find the version that a pointer names; None where the store does not have it."""
        found = self._datasets.find_digest(pointer.digest)
        if found is not None and found.dataset != pointer.dataset:
            same = (one for one in reversed(self._datasets.list(pointer.dataset)) if one.digest == pointer.digest)
            found = next(same, found)
        return found

    def resolve(self, reference: str) -> tuple[DatasetVersion, str | None]:
        """Find the version that `PATH`, `NAME`, or either with `@VERSION` or `@TAG` names, and the place that it belongs
        to. Without a version: a path's is the one its pointer names, a name's the newest. Raises NotFound."""
        name, which, place = self._taken_apart(reference)
        pointer = self._workspace.pointer(place) if place is not None else None
        if pointer is None:
            version = resolve(self._datasets, f"{name}@{which}" if which else name)
            return version, self.place_of(version.dataset)
        if which:
            return resolve(self._datasets, f"{pointer.dataset}@{which}"), place
        found = self.pointed(pointer)
        if found is None:
            raise NotFound(
                f"{place} is at version {pointer.digest[:12]} of {pointer.dataset!r}, which this store does not have;"
                " get it with: kedge data pull"
            )
        return found, place

    def place_of(self, dataset: DatasetName) -> str | None:
        """Find the place whose pointer names a dataset."""
        for place in self._workspace.places():
            pointer = self._workspace.pointer(place)
            if pointer is not None and pointer.dataset == dataset:
                return place
        return None

    def dataset_of(self, reference: str) -> DatasetName:
        """Name the dataset that a path or a name stands for. Raises NotFound."""
        name, _, place = self._taken_apart(reference)
        pointer = self._workspace.pointer(place) if place is not None else None
        if pointer is not None:
            return pointer.dataset
        return resolve(self._datasets, name).dataset

    def diff(self, before: DatasetVersion, after: DatasetVersion) -> FilesDiff:
        """Compare two versions of files, in bounded memory; the first of the files that differ are named."""
        return diff_trees(self._blobs, before, after=after)

    def before(self, version: DatasetVersion) -> DatasetVersion:
        """Find the version before one; itself where there is none."""
        earlier = self._datasets.list(version.dataset, before=version.number, limit=1)
        return earlier[-1] if earlier else version

    def diff_workspace(self, place: str, version: DatasetVersion) -> FilesDiff:
        """Compare a version with what lies at its place. The other side has number 0."""
        space = self._workspace
        pointer = space.pointer(place)
        folder = pointer.folder if pointer is not None else True
        memory = space.memory(place)
        try:
            base = memory.base()
            if base is None or base.version != version.digest:
                memory.close()
                if pointer is None or pointer.digest != version.digest or not self.adopt(place):
                    raise RequestInvalid(
                        f"another version lies at {place}; check {version.number} out, or name two versions"
                    )
            return edits_of(space, place, memory=memory, folder=folder, version=version)
        finally:
            memory.close()

    def _add(self, asked: _Asked, memory: PlaceMemory, *, reading: _Reading, told: Told) -> tuple[DatasetVersion, bool]:
        base = memory.base()
        held = self._datasets.find_digest(base.version) if base is not None else None
        if base is not None and (held is None or held.tree != base.tree):
            base = None  # the store is another one, or has lost or erased what is remembered: read everything
            memory.forget()
        batch: list[KnownFile] = []
        read = reading.files(trusted=self._blobs.has)
        for stored in self._blobs.put_files(read, told=told, before=lambda name: _digest(memory.file(name))):
            found = self._workspace.found(stored.name, stored.stat)
            batch.append(self._workspace.known(found, raw=bytes.fromhex(stored.digest), link="", read_ns=reading.begun_ns))
            if len(batch) >= _BATCH:
                memory.add_fresh(batch)
                batch = []
        here = self._datasets.find(asked.dataset, base.number) if base is not None and not base.coming else None
        if base is not None and here is not None and here.tree == base.tree and not reading.touched:
            return here, False
        memory.begin()  # closed before `settle`, it leaves things as they were
        memory.change(files=(*batch, *reading.ready), gone=reading.gone)
        count = _Count()
        tree = self._blobs.put_manifest(count.through(memory.files()))
        version, new = self._publish(asked, tree, count=count, parent=held, here=here)
        memory.settle(_base(version))
        return version, new

    def _publish(
        self,
        asked: _Asked,
        tree: Digest,
        *,
        count: _Count,
        parent: DatasetVersion | None = None,
        here: DatasetVersion | None = None,
    ) -> tuple[DatasetVersion, bool]:
        """Make a tree the newest version, or give the one that has it: what lies here, or the newest."""
        dataset = asked.dataset
        if not count.files:
            raise SourceFailed(f"{asked.place} has no files in it; put some there, then add it")
        for _ in range(_TRIES):
            newest = self._datasets.find(dataset)
            if same := next((one for one in (here, newest) if one is not None and one.tree == tree), None):
                return same, False
            came = parent if parent is not None and parent.dataset == dataset else newest
            version = DatasetVersion(
                dataset=dataset,
                number=newest.number + 1 if newest else 1,
                digest=tree,
                schema=Schema(()),
                parts=(),
                rows=0,
                order="",
                created_at=self._clock.now(),
                parent=came.digest if came is not None else None,
                kind=DatasetKind.FILES,
                tree=tree,
                files=count.files,
                bytes=count.bytes,
                message=asked.message,
                actor=asked.actor,
                source=asked.place,
            )
            try:
                self._datasets.add(version, _committed(version, notes=asked.notes))
            except Conflict:
                continue
            return version, True
        raise Conflict(f"others commit to {dataset!r} all the time; run the same again")

    def _checkout(
        self, place: str, version: DatasetVersion, *, tree: Digest, memory: PlaceMemory, told: Told, force: bool
    ) -> CheckedOut:
        space = self._workspace
        pointer = space.pointer(place)
        folder = _is_folder(version, self._blobs, place=place, pointer=pointer)
        kind = space.kind(place)
        in_way = None
        if kind is not None and kind is not folder:
            in_way = in_the_way(space, place, memory=memory, folder=kind, force=force, version=version)
        if memory.base() is not None and memory.has_coming():
            space.sweep(place)
        twins = None if space.takes_twins(place) else set[str]()
        plan = CheckoutPlan(space, place, memory=memory, folder=folder, force=force, twins=twins)
        here = space.scan(place) if in_way is None else iter(())
        base = memory.base()
        coming = Base(
            version=base.version if base else version.digest,
            tree=base.tree if base else tree,
            number=base.number if base else version.number,
            coming=f"v{version.number}",
        )
        plan.make(here, self._blobs.manifest(tree))
        plan.require_safe(version)
        space.require_room(place, plan.bytes)
        memory.expect(coming)
        if in_way is not None:
            space.clear(place, in_way)
        space.remove(place, plan.gone, folder=folder)
        memory.drop(plan.gone)
        batch: list[KnownFile] = []
        writing = self._blobs.restore(
            plan.files(), told=told, before=lambda name: _digest(memory.file(name)), mtime_ns=space.now_ns() - _BACK_NS
        )
        for stored in writing:
            found = space.found(stored.name, stored.stat)
            link = space.content(place, found, folder=folder)[1] if found.mode == LINK else ""
            batch.append(KnownFile(*found, bytes.fromhex(stored.digest), link))
            if len(batch) >= _BATCH:
                memory.add(batch)
                batch = []
        memory.begin()
        memory.change(files=batch, gone=())
        memory.settle(_base(version))
        made = Pointer(
            dataset=version.dataset, digest=version.digest, files=version.files, bytes=version.bytes, folder=folder
        )
        space.point(place, made)
        removed = len(plan.gone if in_way is None else in_way)
        return CheckedOut(place=place, version=version, written=plan.written, removed=removed, left=plan.left)

    def _name(self, place: str, pointer: Pointer | None, *, name: str) -> DatasetName:
        if pointer is not None:
            if name and name != pointer.dataset:
                raise ConfigError(
                    f"{place} is dataset {pointer.dataset!r} already; remove {place}.kedge to give another name"
                )
            return pointer.dataset
        dataset = check_name(name) if name else named_after(place)
        newest = self._datasets.find(dataset)
        if newest is not None and (newest.kind is not DatasetKind.FILES or newest.source != place):
            what = f"the files of {newest.source}" if newest.kind is DatasetKind.FILES else "a table"
            raise Conflict(f"the name {dataset!r} belongs to {what}; give {place} another one with --name")
        return dataset

    def _warnings(self, place: str, reading: _Reading, *, first: bool) -> tuple[str, ...]:
        said = []
        if reading.read and reading.twins:
            shown = ", ".join(f"{one!r} and {other!r}" for one, other in reading.twins[:_NAMED])
            said.append(f"{place} has names that Windows and macOS take for one: {shown}; it cannot be checked out there")
        if reading.lfs_pointers:
            said.append(
                f"{reading.lfs_pointers:,} files of {place} are pointers of git-lfs and no data;"
                f" take it in: kedge data import {place}"
            )
        if first and (tracked := self._workspace.in_git(place)):
            said.append(f"git has {tracked} files of {place}, too; leave them to Kedge: git rm -r --cached {place}")
        return tuple(said)

    def _taken_apart(self, reference: str) -> tuple[DatasetName, str, str | None]:
        """Take `PATH@WHICH` or `NAME@WHICH` apart; the place is None for what can only be a name."""
        for text, which in ((reference, ""), reference.rpartition("@")[::2]):
            if text and (place := self._place_or_none(text)) is not None:
                return split(reference)[0], which, place
        name, which = split(reference)
        return name, which, None

    def _place_or_none(self, text: str) -> str | None:
        try:
            place = self._workspace.place(text)
        except ConfigError:
            return None
        return place if self._workspace.pointer(place) is not None else None


class _Asked(NamedTuple):
    """What a new version is of, who makes it and why; `notes` are further edges of its lineage."""

    place: str
    dataset: DatasetName
    actor: str
    message: str
    notes: tuple[Edge, ...]


class _Count:
    """Counts files and bytes on their way into a manifest."""

    def __init__(self) -> None:
        self.files = self.bytes = 0

    def through(self, files: Iterator[KnownFile]) -> Iterator[TreeFile]:
        for name, length, _, _, _, mode, raw, link in files:
            size = 0 if mode == LINK else length
            self.files += 1
            self.bytes += size
            yield TreeFile(name, Digest(raw.hex()), size, mode == EXECUTABLE, link)


class _Reading:
    """Finds what an add must read. What it finds is complete once `files` has ended."""

    def __init__(self, workspace: Workspace, place: str, *, memory: PlaceMemory, folder: bool) -> None:
        self._workspace, self._place, self._memory, self._folder = workspace, place, memory, folder
        self.begun_ns = workspace.now_ns()
        self.gone: list[str] = []
        self.ready: list[KnownFile] = []
        self.twins: list[tuple[str, str]] = []
        self.read = self.lfs_pointers = 0

    @property
    def touched(self) -> bool:
        """Tell whether anything is not as it is remembered."""
        return bool(self.gone or self.ready or self.read)

    def files(self, *, trusted: Callable[[Digest], bool]) -> Iterator[tuple[str, str]]:
        """Name the files to read, with their paths."""
        space, place, folder = self._workspace, self._place, self._folder
        memory, has_fresh = self._memory, self._memory.has_fresh()
        for found, known in differing(space.scan(place, opened=self._opened), memory.files()):
            if found is None:
                assert known is not None  # noqa: S101  # one of the two is there
                self.gone.append(known.name)
            elif found.mode == LINK:
                link = space.link(place, found.name)
                self.ready.append(KnownFile(*found, bytes.fromhex(EMPTY), link))
            elif has_fresh and (fresh := memory.fresh(found.name)) and found == fresh[:6] and trusted(fresh.digest):
                self.ready.append(fresh)
            else:
                self.read += 1
                self.lfs_pointers += space.is_lfs_pointer(place, found, folder=folder)
                yield found.name, space.path(place, found.name, folder=folder)

    def _opened(self, prefix: str, names: list[str]) -> None:
        if len(self.twins) < _NAMED:
            self.twins.extend((prefix + one, prefix + other) for one, other in self._workspace.twins(names))


def _paths(offer: Offer, *, stand_ins: list[str]) -> Iterator[tuple[str, Path]]:
    """Name the files of an offer; what stands in for them in the workspace is noted."""
    for file in offer.files():
        if file.stands_in:
            stand_ins.append(file.name)
        yield file.name, file.path


def _digest(known: KnownFile | None) -> Digest | None:
    return None if known is None or known.link else known.digest


def _as_seen(files: Iterator[StoredFile]) -> Iterator[KnownFile]:
    for name, digest, size, stat in files:
        mode = EXECUTABLE if stat.st_mode & 0o111 else PLAIN
        yield KnownFile(name, size, 0, 0, 0, mode, bytes.fromhex(digest), "")


def absent(place: str, pointer: Pointer | None) -> NotFound:
    """Say what to do about a place where nothing lies."""
    if pointer is not None:
        return NotFound(f"{place} is not here, only its pointer; get it with: kedge data checkout {place}")
    return NotFound(f"{place} does not exist; name a file or folder below the project's folder")


def require_files(version: DatasetVersion) -> Digest:
    """Give the tree of a version of files. Raises RequestInvalid for a table."""
    if version.tree is None:
        raise RequestInvalid(f"{version.dataset!r} is a table and has no files; write it to one: kedge data export")
    return version.tree


def _base(version: DatasetVersion) -> Base:
    return Base(version=version.digest, tree=require_files(version), number=version.number)


def _is_folder(version: DatasetVersion, blobs: DataStore, *, place: str, pointer: Pointer | None) -> bool:
    """Say whether a version is of a folder: one file that is named as its place is a file."""
    if pointer is not None and pointer.digest == version.digest:
        return pointer.folder
    if version.files != 1:
        return True
    only = next(blobs.manifest(require_files(version)))
    return only.name != version.source.rpartition("/")[2] if version.source else only.name != place.rpartition("/")[2]


def _committed(version: DatasetVersion, *, notes: Sequence[Edge]) -> Event:
    made = Node(NodeKind.DATASET_VERSION, version.digest)
    edges = tuple(notes)
    if version.parent is not None and version.parent != version.digest:
        edges = (Edge(made, Node(NodeKind.DATASET_VERSION, version.parent), "parent"), *edges)
    return Event(
        key=digest_of("files", version.dataset, version.number, version.digest),
        kind=EventKind.DATASET_COMMITTED,
        at=version.created_at,
        subject=version.dataset,
        actor=version.actor,
        message=f"version {version.number} of {version.dataset!r}: {version.files:,} files, {version.bytes:,} bytes",
        facts={
            "number": version.number,
            "digest": version.digest,
            "files": version.files,
            "bytes": version.bytes,
            "note": version.message,
        },
        edges=edges,
    )
