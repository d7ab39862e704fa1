"""Sends versions to a bucket and fetches them: what they hold first, then the record that names it.

    entries/DATASET/DIGEST.json      what is said of the dataset (`entries.py`): personal columns are so before they are here
    versions/DATASET/DIGEST.json     the version as its store has it; where it is, all that it names is there
So whoever is killed or cut off has sent nothing that looks whole, and the next one sends only what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from kedge.data.snapshot import version_digest
from kedge.data.upkeep.entries import SentEntry, send_entry, sent_entry, take_entry, take_tags
from kedge.domain.data import DatasetKind, DatasetVersion
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, Digest, digest_of
from kedge.domain.workspace import Pointer
from kedge.errors import Conflict, NotFound, StoreBroken
from kedge.ports import Bucket, Clock, Datasets, DataStore
from kedge.ports.world import Told

_TRIES = 20
_FOLDER = "versions"


def _ignored(chunks: int, size: int) -> None:
    """Tell nobody."""


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What a push or a pull did for one version: what travelled, whether the other side had it all already, and how many
    damaged chunks were fetched anew; `erased_there`: from the bucket's copy something else was erased, so it stays."""

    version: DatasetVersion
    chunks: int = 0
    bytes: int = 0
    new: bool = False
    mended: int = 0
    erased_there: bool = False


class Sharing:
    """Keeps versions in buckets that several stores share."""

    def __init__(self, *, datasets: Datasets, blobs: DataStore, clock: Clock) -> None:
        self._datasets, self._blobs, self._clock = datasets, blobs, clock

    def push(self, bucket: Bucket, version: DatasetVersion, *, told: Told) -> Shared:
        """Send a version. Raises NotFound, StoreBroken, Unreachable."""
        name, record = record_name(version.dataset, version.digest), msgspec.json.encode(version)
        send_entry(bucket, version.dataset, datasets=self._datasets, clock=self._clock)
        if (done := self._there(bucket, name, version=version)) is not None:
            return done
        with self._blobs.pushing(bucket) as alive:
            if (done := self._there(bucket, name, version=version)) is not None:
                return done
            moved = self._blobs.push(bucket, self.held(version), told=told)
            alive.require()
            bucket.put(name, record)
        return Shared(version=version, chunks=moved.chunks, bytes=moved.bytes, new=True)

    def _there(self, bucket: Bucket, name: str, *, version: DatasetVersion) -> Shared | None:
        """Say that nothing is to be sent: the bucket has it, or had something erased from it, which must not come back."""
        record = bucket.get(name)
        if record is None:
            return None
        there = _read(record, bucket.url).erased_at
        if there is None and version.erased_at is not None:
            return None
        return Shared(version=version, erased_there=there != version.erased_at)

    def pull(
        self, bucket: Bucket, pointer: Pointer, *, actor: str, told: Told, check: bool = False, expect: Told = _ignored
    ) -> Shared:
        """Fetch the version that a pointer names, and keep it. With `check`, one that is here already is read, and what of
        it is damaged is fetched anew. Raises NotFound, StoreBroken, StoreFull, Unreachable."""
        with self._blobs.mending(bucket) as mending:
            done = self._pull(bucket, pointer, actor=actor, told=told)
            checked = self._check(bucket, done.version, told=told, expect=expect) if check and not done.new else 0
            return msgspec.structs.replace(done, mended=mending.mended + checked)

    def _check(self, bucket: Bucket, version: DatasetVersion, *, told: Told, expect: Told) -> int:
        """Read all that a version holds, and mend it; give the number of chunks."""
        damages = list(self._blobs.verify(told=told, expect=expect, blobs=self.held(version)))
        mended = self._blobs.mend(damages, bucket) if damages else set[Digest]()
        if left := [one for one in damages if one.chunk not in mended]:
            raise StoreBroken(
                f"version {version.number} of {version.dataset!r} is damaged in {len(left)} chunks that {bucket.url} does"
                f" not have either (the first: pack {left[0].pack}, offset {left[0].offset}); push it from one that has"
                " it whole, or name another bucket; `kedge data verify` names all that is damaged"
            )
        return len(mended)

    def _pull(self, bucket: Bucket, pointer: Pointer, *, actor: str, told: Told) -> Shared:
        known = next((one for one in reversed(self._datasets.list(pointer.dataset)) if one.digest == pointer.digest), None)
        said = sent_entry(bucket, pointer.dataset)
        if known is not None:
            self._take(said, url=bucket.url, actor=actor)
            return Shared(version=known)
        record = bucket.get(record_name(pointer.dataset, pointer.digest))
        if record is None:
            raise NotFound(
                f"version {pointer.digest[:12]} of {pointer.dataset!r} is not in {bucket.url}; whoever has it sends it with:"
                " kedge data push"
            )
        version = _read(record, bucket.url)
        if version.dataset != pointer.dataset or version.digest != pointer.digest or not _named_by_content(version):
            raise StoreBroken(f"{bucket.url} has another version under the name of {pointer.digest[:12]}; push it again")
        with self._blobs.keeping():
            chunks = size = 0
            for digests in self._wanted(version):
                moved = self._blobs.pull(bucket, digests, told=told)
                chunks, size = chunks + moved.chunks, size + moved.bytes
            self._take(said, url=bucket.url, actor=actor, tags=False)
            kept = self._keep(version, url=bucket.url, actor=actor)
            self._take(said, url=bucket.url, actor=actor)
        return Shared(version=kept, chunks=chunks, bytes=size, new=True)

    def _take(self, said: SentEntry | None, *, url: str, actor: str, tags: bool = True) -> None:
        """Keep what others said of the dataset: the entry before its version is here, the tags when it is."""
        if said is None:
            return
        take_entry(said, datasets=self._datasets, clock=self._clock, url=url, actor=actor)
        if tags:
            take_tags(said, datasets=self._datasets, clock=self._clock, url=url, actor=actor)

    def list(self, bucket: Bucket, dataset: DatasetName | None = None) -> list[DatasetVersion]:
        """List the versions of a dataset that a bucket has, or of all datasets, by number."""
        names = [name for name, _ in bucket.list(_FOLDER if dataset is None else f"{_FOLDER}/{dataset}")]
        records = (bucket.get(name) for name in names)
        found = [_read(record, bucket.url) for record in records if record is not None]
        return sorted(found, key=lambda version: version.number)

    def held(self, version: DatasetVersion) -> Iterator[Digest]:
        """List the blobs that a version names."""
        if version.tree is not None:
            yield version.tree
            seen: Digest | None = None
            for file in self._blobs.manifest(version.tree):
                if file.digest != seen and not file.link:
                    seen = file.digest
                    yield file.digest
        for part in version.parts:
            yield from (digest for digest in (part.digest, part.deleted) if digest)

    def _wanted(self, version: DatasetVersion) -> Iterator[Iterator[Digest]]:
        """List what a version names, the tree first: it says what else there is."""
        if version.tree is not None:
            yield iter([version.tree])
        yield self.held(version)

    def _keep(self, version: DatasetVersion, *, url: str, actor: str) -> DatasetVersion:
        """Write the version under its own number, or the next one where another version has that here."""
        for _ in range(_TRIES):
            newest = self._datasets.find(version.dataset)
            if newest is not None and newest.kind is not version.kind:
                raise Conflict(f"{version.dataset!r} is of another kind here; give one of the two another name")
            taken = self._datasets.find(version.dataset, version.number)
            number = version.number if taken is None or newest is None else newest.number + 1
            kept = msgspec.structs.replace(version, number=number)
            event = Event(
                key=digest_of("pull", kept.dataset, kept.number, kept.digest),
                kind=EventKind.DATASET_COMMITTED,
                at=self._clock.now(),
                subject=kept.dataset,
                actor=actor,
                message=f"version {kept.number} of {kept.dataset!r} came from {url}",
                facts={"number": kept.number, "digest": kept.digest, "files": kept.files, "rows": kept.rows, "from": url},
            )
            try:
                self._datasets.add(kept, event)
            except Conflict:
                continue
            return kept
        raise Conflict(f"others commit to {version.dataset!r} all the time; run the same again")


def record_name(dataset: DatasetName, digest: Digest) -> str:
    """Name the record of a version in a bucket."""
    return f"{_FOLDER}/{dataset}/{digest}.json"


def _read(record: bytes, url: str) -> DatasetVersion:
    try:
        return msgspec.json.decode(record, type=DatasetVersion)
    except msgspec.MsgspecError as error:
        raise StoreBroken(f"a version's record in {url} cannot be read ({error}); push that version again") from error


def _named_by_content(version: DatasetVersion) -> bool:
    """Say whether a version from elsewhere holds what its digest names: who may write to a bucket must not be able to
    put other data under a digest that a pointer pins. One that something was erased from keeps its name, and says so."""
    if version.erased_at is not None:
        return True
    if version.kind is DatasetKind.FILES:
        return version.tree == version.digest
    return version_digest(version.dataset, version.schema, parts=version.parts, key=version.key) == version.digest
