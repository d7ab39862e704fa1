"""Content-addressed blobs: each is cut into chunks, each chunk is kept once, and every read is verified.

    blob -> recipe (chunk, chunk, ...) -> place (pack, offset, length) -> bytes in a pack

Chunks reach their pack and are synced before the index names them; so the index never names what is not there, and a
kill at any moment leaves at most bytes that nobody names. A tree is a blob too: a JSON list of its files.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.errors import NotFound, StoreBroken
from kedge.ports import Before, Bucket, Damage, Mended, StoredFile, Told, Travelled, TreeFile
from kedge.storage.blobs.cut import cut
from kedge.storage.blobs.holding import hold
from kedge.storage.blobs.incoming import IncomingBlob, sweep
from kedge.storage.blobs.index import ChunkIndex, ChunkPlace, Recipe
from kedge.storage.blobs.intake import Intake
from kedge.storage.blobs.leases import Lease, erasing, pushing
from kedge.storage.blobs.packs import PackWriter
from kedge.storage.blobs.reading import ChunkReader, is_digest, name_of
from kedge.storage.blobs.removing import Removal, unused
from kedge.storage.blobs.restoring import Restoring
from kedge.storage.blobs.traffic import Traffic
from kedge.storage.blobs.trees import read_entries, read_manifest, require_plain, write_entries, write_manifest
from kedge.storage.blobs.verifying import Mending, mend, verify
from kedge.storage.blobs.withdrawing import Withdrawal
from kedge.storage.durable import refusal


class ChunkStore:
    """A blob store in a folder, with its index elsewhere. Threads and processes may share it."""

    def __init__(self, root: Path, index: ChunkIndex, *, pack_bytes: int = 64 << 20) -> None:
        self._folder = Path(root) / "packs"
        self._index = index
        self._pack_bytes = pack_bytes
        self._writer = PackWriter(self._folder, limit=pack_bytes)
        self._writing = threading.Lock()
        self._reader = ChunkReader(self._folder, index, mend=self._mended)
        self._mending: Mending | None = None

    def put(self, data: bytes) -> Digest:
        """Keep a blob and give its name; it survives a power cut on return. What is known is not written again."""
        return self._put_all([data])[0]

    def put_data(self, data: bytes) -> Digest:
        """Keep a blob that only versions of datasets name: once none does, a removal may take it. Call it `keeping`."""
        return self._put_all([data], reclaimable=True)[0]

    def get(self, digest: Digest) -> bytes:
        """Read a blob. Raises NotFound; StoreBroken with pack and offset where a bit has changed."""
        data = b"".join(self.read(digest))
        if name_of(data) != digest:
            raise StoreBroken("the index names wrong chunks for a blob; put the metadata store back from a backup")
        return data

    def has(self, digest: Digest) -> bool:
        """Tell whether a blob is there."""
        return is_digest(digest) and self._index.find_blob(digest) is not None

    def put_tree(self, files: Mapping[str, bytes]) -> Digest:
        """Keep named files as one tree and give its name. Raises ValueError for a name that could leave a folder."""
        for name in files:
            require_plain(name)
        digests = dict(zip(files, self._put_all(list(files.values())), strict=True))
        return self.put(write_manifest({name: len(data) for name, data in files.items()}, digests))

    def get_tree(self, digest: Digest) -> dict[str, bytes]:
        """Read all files of a tree. Raises NotFound; StoreBroken where the blob is no manifest."""
        return {file.name: self.get(file.digest) for file in read_manifest(self.get(digest), digest)}

    def bind(self, files: Mapping[str, Digest]) -> Digest:
        """Make a tree of blobs that are there. Raises ValueError for a name as `put_tree` does, NotFound."""
        for name in files:
            require_plain(name)
        return self.put(write_manifest({name: self.size(digest) for name, digest in files.items()}, files))

    def files(self, tree: Digest) -> list[TreeFile]:
        """List the files of a tree. Raises NotFound; StoreBroken where the blob is no manifest."""
        return read_manifest(self.get(tree), tree)

    def put_files(
        self, files: Iterable[tuple[str, Path | str]], *, told: Told, before: Before = lambda name: None
    ) -> Iterator[StoredFile]:
        """Keep files in the order given; each is safe when it is given. Raises SourceFailed, FileChanged, StoreFull."""
        return Intake(self._folder, self._index, pack_bytes=self._pack_bytes, told=told, before=before).take(files)

    def put_manifest(self, files: Iterable[TreeFile]) -> Digest:
        """Make a tree of files whose blobs are there; they come sorted. Raises ValueError for a name."""
        coming = self._incoming(reclaimable=True)
        try:
            for piece in write_entries(files):
                coming.write(piece)
            return coming.keep()
        finally:
            coming.drop()  # nothing, once it is kept

    def manifest(self, tree: Digest) -> Iterator[TreeFile]:
        """List the files of a tree, however many. Raises NotFound, StoreBroken."""
        return read_entries(self.read(tree), tree)

    def restore(
        self,
        files: Iterable[tuple[TreeFile, Path | str]],
        *,
        told: Told,
        before: Before = lambda name: None,
        mtime_ns: int | None = None,
    ) -> Iterator[StoredFile]:
        """Write files of a tree to paths. Raises NotFound, StoreBroken, StoreFull."""
        writing = Restoring(self._folder, self._index, reader=self._reader, told=told, before=before, mtime_ns=mtime_ns)
        return writing.restore(files)

    def keeping(self) -> AbstractContextManager[None]:
        """Let nothing be removed while files are kept that no version names yet."""
        return hold(self._folder.parent)

    def alone(self) -> AbstractContextManager[None]:
        """Let nobody else keep files. Raises Conflict where someone does so for long."""
        return self._alone()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with hold(self._folder.parent, alone=True):
            self._removal().finish()
            yield

    def unused(self, trees: Iterable[Digest], *, blobs: Iterable[Digest] = ()) -> Iterator[tuple[Digest, int]]:
        """Give the reclaimable blobs that none of these trees, and none of these blobs, names, with their sizes."""
        named = {bytes.fromhex(digest) for digest in blobs}
        for tree in trees:
            if (raw := bytes.fromhex(tree)) not in named:
                named.add(raw)
                named.update(bytes.fromhex(file.digest) for file in self.manifest(tree))
        return unused(self._index, named)

    def remove(self, digests: Iterable[Digest]) -> int:
        """Remove blobs, and all bytes that nothing names; give the bytes that are free now. Call it within `alone`."""
        with self._writing:
            self._writer.close()
        return self._removal().remove(digests)

    def push(self, bucket: Bucket, digests: Iterable[Digest], *, told: Told) -> Travelled:
        """Send blobs that the bucket lacks. Raises NotFound, StoreBroken, Unreachable."""
        return self._traffic(bucket).push(digests, told)

    def pull(self, bucket: Bucket, digests: Iterable[Digest], *, told: Told) -> Travelled:
        """Fetch blobs that are not here. Raises NotFound, StoreBroken, StoreFull, Unreachable."""
        with self.keeping():
            return self._traffic(bucket).pull(digests, told)

    def verify(
        self, *, told: Told, expect: Told = lambda chunks, size: None, blobs: Iterable[Digest] | None = None
    ) -> Iterator[Damage]:
        """Read every chunk, or those of some blobs, and give what is damaged. `expect` is told how much there is."""
        return verify(self._folder, self._index, told=told, expect=expect, blobs=blobs)

    @contextmanager
    def mending(self, bucket: Bucket) -> Iterator[Mended]:
        """Fetch what is found damaged when it is read, from a bucket that has it, as long as this lasts."""
        self._mending = Mending(self._folder, self._index, traffic=self._traffic(bucket))
        try:
            yield self._mending
        finally:
            self._mending = None

    def _mended(self, chunk: Digest) -> ChunkPlace | None:
        return self._mending.place(chunk) if self._mending is not None else None

    def mend(self, damages: Iterable[Damage], bucket: Bucket) -> set[Digest]:
        """Fetch damaged chunks from a bucket that has them whole; give those."""
        return mend(self._folder, self._index, traffic=self._traffic(bucket), chunks={one.chunk for one in damages})

    def pushing(self, bucket: Bucket) -> AbstractContextManager[Lease]:
        """Push while nobody erases from the bucket. Raises Conflict where someone does so for long, Unreachable."""
        return pushing(bucket)

    @contextmanager
    def withdrawing(self, bucket: Bucket) -> Iterator[Withdrawal]:
        """Remove blobs from the bucket while nobody pushes. Raises Conflict where others go on for long, Unreachable."""
        with erasing(bucket) as lease:
            yield Withdrawal(self._traffic(bucket), bucket, lease=lease)

    def _traffic(self, bucket: Bucket) -> Traffic:
        return Traffic(self._folder, self._index, reader=self._reader, bucket=bucket, pack_bytes=self._pack_bytes)

    def idle_bytes(self) -> int:
        """Count the bytes in packs that nothing names."""
        return self._removal().idle_bytes()

    def _removal(self) -> Removal:
        return Removal(self._folder, self._index, pack_bytes=self._pack_bytes)

    def size(self, digest: Digest) -> int:
        """Tell the size of a blob in bytes. Raises NotFound."""
        return self._reader.recipe(digest).size

    def read(self, digest: Digest, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Read the bytes from `start` to before `end`, some MiB at a time. Raises NotFound, or StoreBroken on the way."""
        return self._reader.read(digest, start=start, end=end)

    def incoming(self) -> IncomingBlob:
        """Begin a blob that arrives piece by piece; nothing of it is seen before its `keep`."""
        return self._incoming(reclaimable=False)

    def _incoming(self, *, reclaimable: bool) -> IncomingBlob:
        return IncomingBlob(
            self._folder,
            self._index,
            pack_bytes=self._pack_bytes,
            small=lambda data: self._put_all([data], reclaimable=reclaimable)[0],
            reclaimable=reclaimable,
        )

    def join(self, parts: Sequence[Digest]) -> Digest:
        """Make one blob of several, end to end, without writing their bytes again. Raises NotFound."""
        recipes = [self._reader.recipe(part) for part in parts]
        whole = blake3()
        for part in parts:
            for piece in self.read(part):
                whole.update(piece)
        digest = Digest(whole.hexdigest())
        if not self.has(digest):
            chunks = tuple(chunk for recipe in recipes for chunk in recipe.chunks)
            if self._index.add({}, {digest: Recipe(sum(recipe.size for recipe in recipes), chunks)}):
                raise NotFound(f"a part of blob {digest} was removed while its parts were joined; send them again")
        return digest

    def sweep(self) -> int:
        """Remove what uploads that were killed left on the disk; give its bytes."""
        return sweep(self._folder)

    def close(self) -> None:
        """Let go of the pack that is being written."""
        with self._writing:
            self._writer.close()

    def _put_all(self, blobs: Sequence[bytes], *, reclaimable: bool = False) -> list[Digest]:
        """Keep blobs with one sync for all of them."""
        digests = [name_of(data) for data in blobs]
        known = self._index.find_blobs(digests) if reclaimable else self._index.claim(digests)
        new = {digest: data for digest, data in zip(digests, blobs, strict=True) if digest not in known}
        if new:
            with self._writing:
                self._write(new, reclaimable=reclaimable)
        return digests

    def _write(self, blobs: Mapping[Digest, bytes], *, reclaimable: bool) -> None:
        cuts = {digest: [(name_of(chunk), chunk) for chunk in cut(data)] for digest, data in blobs.items()}
        chunks = dict(chunk for pieces in cuts.values() for chunk in pieces)
        recipes = {digest: Recipe(len(blobs[digest]), tuple(name for name, _ in pieces)) for digest, pieces in cuts.items()}
        known = self._index.find_many(list(chunks))
        missing = {name for name in chunks if name not in known}
        places: dict[Digest, ChunkPlace] = {}
        while True:
            try:
                if missing:
                    places |= self._writer.write([(name, chunks[name]) for name in chunks if name in missing])
            except OSError as error:
                raise refusal(error, self._folder) from error
            if not (missing := self._index.add(places, recipes, reclaimable=reclaimable)):
                self._writer.release()
                return
