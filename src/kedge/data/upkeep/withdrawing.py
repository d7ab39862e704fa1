"""Erases from a bucket what was erased here: versions there name it no more, and its bytes are gone from the packs there.

    note in the bucket what is to go -> records amended -> packs written anew without it -> recipes -> note removed
Nobody pushes meanwhile. What other datasets in the bucket hold too stays. Killed anywhere, the same again finishes it.
What another clone erased there stays erased: of a table's version the bucket then has the rows that both still hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from kedge.data.tables.erasure import erased_by_either
from kedge.data.tables.parts import Parts
from kedge.data.upkeep.collecting import named
from kedge.data.upkeep.erasing import fits
from kedge.data.upkeep.sharing import Sharing, record_name
from kedge.domain.data import DatasetVersion
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, Digest, digest_of
from kedge.domain.workspace import Pointer
from kedge.ports import Bucket, Clock, DataStore, MetaStore, TreeFile
from kedge.ports.world import Told

_NOTES = "erasing/notes"


class Withdrawn(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased from a bucket: versions amended there, contents and bytes that went, contents that others hold too."""

    dataset: DatasetName
    url: str
    versions: int
    contents: int
    bytes: int
    held_elsewhere: int


class Withdrawing:
    """Erases from buckets."""

    def __init__(self, *, meta: MetaStore, blobs: DataStore, parts: Parts, sharing: Sharing, clock: Clock) -> None:
        self._datasets, self._events = meta.datasets, meta.events
        self._blobs, self._parts, self._sharing, self._clock = blobs, parts, sharing, clock

    def fetch(self, bucket: Bucket, dataset: DatasetName, *, actor: str, told: Told) -> int:
        """Fetch the versions of a table that only the bucket has: their rows are to be erased, too. Give their number."""
        here = {version.digest for version in self._datasets.list(dataset)}
        missing = [one for one in self._sharing.list(bucket, dataset) if one.digest not in here and one.tree is None]
        for one in missing:
            pointer = Pointer(dataset=dataset, digest=one.digest, files=one.files, bytes=one.bytes, folder=True)
            self._sharing.pull(bucket, pointer, actor=actor, told=told)
        return len(missing)

    def withdraw(
        self, bucket: Bucket, dataset: DatasetName, *, patterns: Sequence[str], actor: str, reason: str, told: Told
    ) -> Withdrawn:
        """Erase from a bucket the files that fit, or the rows that are erased here. Raises Conflict, StoreBroken,
        Unreachable."""
        now = self._clock.now()
        fetched: set[Digest] = set()
        with self._blobs.withdrawing(bucket) as alone, self._blobs.keeping():
            amended: list[DatasetVersion] = []
            going: set[Digest] = set()
            for version in self._sharing.list(bucket, dataset):
                if version.tree is None:
                    new = self._as_both(bucket, version, at=now, fetched=fetched)
                else:
                    new = self._without(bucket, version, patterns=patterns, at=now)
                if new is not None:
                    amended.append(new)
                    going |= set(self._held(version)) - set(self._held(new))
            if going:
                note = msgspec.json.encode(sorted(going))
                bucket.put(f"{_NOTES}/{digest_of(sorted(going))}", note)
            for new in amended:
                # of files the bucket has all but the new list, and this store may not
                self._blobs.push(bucket, [new.tree] if new.tree is not None else self._held(new), told=told)
                alone.require()
                bucket.put(record_name(dataset, new.digest), msgspec.json.encode(new))
            notes = [name for name, _ in bucket.list(_NOTES)]
            for name in notes:  # those of erasures that were killed, too
                going.update(msgspec.json.decode(bucket.get(name) or b"[]", type=list[Digest]))
            dead = going - self._named(bucket) if going else going
            freed = alone.remove(dead, told=told) if notes else 0
            done = Withdrawn(
                dataset=dataset,
                url=bucket.url,
                versions=len(amended),
                contents=len(dead),
                bytes=freed,
                held_elsewhere=len(going - dead),
            )
            if notes:
                self._events.append(_event(done, actor=actor, reason=reason, at=now))
            for name in notes:
                bucket.delete(name)
        if fetched:
            with self._blobs.alone():  # it may hold what was erased here
                trees, blobs = named(self._datasets)
                spare = {digest for digest, _ in self._blobs.unused(trees, blobs=blobs)}
                self._blobs.remove(sorted(fetched & spare))
        return done

    def _without(
        self, bucket: Bucket, version: DatasetVersion, *, patterns: Sequence[str], at: datetime
    ) -> DatasetVersion | None:
        """Give a version of files as it is without those that fit; None where none does."""
        assert version.tree is not None  # noqa: S101  # asked by the caller
        self._fetch_tree(bucket, version.tree)
        files = list[TreeFile]()
        gone = 0
        for file in self._blobs.manifest(version.tree):
            if fits(file.name, patterns):
                gone += 1
            else:
                files.append(file)
        if not gone:
            return None
        tree = self._blobs.put_manifest(files)
        here = next((one for one in self._datasets.list(version.dataset) if one.digest == version.digest), None)
        erased_at = here.erased_at if here is not None and here.tree == tree else at
        size = sum(file.size for file in files)
        return msgspec.structs.replace(version, tree=tree, files=len(files), bytes=size, erased_at=erased_at)

    def _as_both(
        self, bucket: Bucket, version: DatasetVersion, *, at: datetime, fetched: set[Digest]
    ) -> DatasetVersion | None:
        """Give a version of a table as it is after the erasures here and there; None where the bucket's is so already."""
        here = next((one for one in self._datasets.list(version.dataset) if one.digest == version.digest), None)
        if here is None or here.erased_at is None or here.erased_at == version.erased_at:
            return None
        if version.erased_at is None:
            return msgspec.structs.replace(here, number=version.number)
        theirs = [digest for digest in self._held(version) if not self._blobs.has(digest)]
        fetched.update(theirs)
        self._blobs.pull(bucket, theirs, told=lambda chunks, size: None)
        both = erased_by_either(self._parts, here, there=version, at=at)
        fetched.update(self._held(both))
        if both.parts == version.parts:
            return None
        return msgspec.structs.replace(both, number=version.number, erased_at=at)

    def _named(self, bucket: Bucket) -> set[Digest]:
        """List all that versions in the bucket name."""
        named: set[Digest] = set()
        for version in self._sharing.list(bucket):
            if version.tree is not None:
                self._fetch_tree(bucket, version.tree)
            named.update(self._held(version))
        return named

    def _held(self, version: DatasetVersion) -> Sequence[Digest]:
        return list(self._sharing.held(version))

    def _fetch_tree(self, bucket: Bucket, tree: Digest) -> None:
        if not self._blobs.has(tree):
            self._blobs.pull(bucket, [tree], told=lambda chunks, size: None)


def _event(done: Withdrawn, *, actor: str, reason: str, at: datetime) -> Event:
    return Event(
        key=digest_of("withdraw", done.dataset, done.url, at),
        kind=EventKind.DATA_ERASED,
        at=at,
        subject=done.dataset,
        actor=actor,
        message=f"what was erased from {done.dataset!r} was erased from {done.url}, too: {reason}",
        facts={"versions": done.versions, "contents": done.contents, "from": done.url, "reason": reason},
    )
