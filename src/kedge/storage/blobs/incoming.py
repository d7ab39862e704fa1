"""A blob that arrives piece by piece: cut and written as it comes, seen by nobody until it is whole.

    write ... write    chunks -> packs/uNAME.part, locked by this process
    keep               sync, rename to packs/uNAME.pack, then the index names chunks and blob in one transaction
    drop, kill, power  the .part file has no name in any index; whoever opens the store next removes it (`sweep`)
What is smaller than one batch never gets a pack of its own. Memory: some batches, and 200 bytes for each chunk.
"""

import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.errors import Conflict
from kedge.storage.blobs.appending import Buffers
from kedge.storage.blobs.cut import cut_some, is_parquet
from kedge.storage.blobs.index import ChunkIndex, ChunkPlace, Recipe
from kedge.storage.blobs.packs import Pack
from kedge.storage.durable import make_folder, refusal, sync_folder

BATCH = 1 << 20
_PART, _PACK = ".part", ".pack"


class IncomingBlob:
    """A blob on its way into a chunk store. For one thread at a time; `keep` or `drop` ends it."""

    def __init__(
        self,
        folder: Path,
        index: ChunkIndex,
        *,
        pack_bytes: int,
        small: Callable[[bytes], Digest],
        reclaimable: bool = False,
    ) -> None:
        self._folder, self._index, self._limit, self._small = folder, index, pack_bytes, small
        self._reclaimable = reclaimable
        self._hash, self._size = blake3(), 0
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._parquet: bool | None = None
        self._chunks: list[Digest] = []
        self._places: dict[Digest, ChunkPlace] = {}
        self._packs: list[Pack] = []

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises StoreFull; the blob is dropped then."""
        self._hash.update(data)
        self._size += len(data)
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting >= BATCH:
            self._settle(whole=False)

    def keep(self) -> Digest:
        """Make the blob be there, whole, and give its name; it survives a power cut on return. Raises StoreFull."""
        digest = Digest(self._hash.hexdigest())
        if not self._chunks:
            return self._small(b"".join(self._pieces))
        if digest in (self._index.find_blobs([digest]) if self._reclaimable else self._index.claim([digest])):
            self.drop()
            return digest
        self._settle(whole=True)
        try:
            for pack in self._packs:
                pack.finish()
                os.rename(self._folder / f"{pack.name}{_PART}", self._folder / f"{pack.name}{_PACK}")
            if self._packs:
                sync_folder(self._folder)
        except OSError as error:
            raise self._refused(error) from error
        recipe = Recipe(self._size, tuple(self._chunks))
        if self._index.add(self._places, {digest: recipe}, reclaimable=self._reclaimable):
            raise Conflict("what this upload shares with other blobs was removed meanwhile; send it again")
        self._let_go()
        return digest

    def drop(self) -> None:
        """Forget what came; its bytes are gone from the disk."""
        for pack in self._packs:
            (self._folder / f"{pack.name}{_PART}").unlink(missing_ok=True)
        self._let_go()

    def _settle(self, *, whole: bool) -> None:
        """Cut what waits and write the chunks that are not known."""
        data = b"".join(self._pieces)
        if self._parquet is None:
            self._parquet = is_parquet(data)
        done, pieces = 0, []
        for piece in cut_some(data, parquet=self._parquet, whole=whole):
            pieces.append((Digest(blake3(piece).hexdigest()), piece))
            done += len(piece)
        rest = data[done:]
        self._pieces, self._waiting = [rest] if rest else [], len(rest)
        self._chunks.extend(digest for digest, _ in pieces)
        new = {digest: piece for digest, piece in pieces if digest not in self._places}
        known = self._index.find_many(list(new))
        try:
            for digest, piece in new.items():
                if digest not in known:
                    self._append(digest, piece)
            if self._packs:
                self._packs[-1].flush()  # a memory that is full, or a disk, is told of now
        except OSError as error:
            raise self._refused(error) from error

    def _append(self, digest: Digest, piece: memoryview) -> None:
        if not self._packs or self._packs[-1].end >= self._limit:
            if self._packs:
                self._packs[-1].finish()
            self._packs.append(_open_part(self._folder))
        pack = self._packs[-1]
        self._places[digest] = ChunkPlace(f"{pack.name}{_PACK}", pack.end, len(piece))
        pack.append(piece)

    def _refused(self, error: OSError) -> Exception:
        self.drop()
        return refusal(error, self._folder)

    def _let_go(self) -> None:
        """Close the packs: their locks told other processes that this upload lives."""
        self._packs, self._pieces, self._chunks, self._places = [], [], [], {}


def sweep(folder: Path) -> int:
    """Remove what uploads that were killed left behind; give its bytes. Uploads that live hold a lock and stay."""
    freed = 0
    for path in folder.glob(f"u*{_PART}"):
        try:
            descriptor = os.open(path, os.O_WRONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size = os.fstat(descriptor).st_size
            path.unlink(missing_ok=True)
            freed += size
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
    return freed


def _open_part(folder: Path) -> Pack:
    make_folder(folder)
    while True:
        name = f"u{secrets.token_hex(12)}"
        descriptor = os.open(folder / f"{name}{_PART}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:  # else a sweep came between making it and locking it
            return Pack(name, descriptor, buffers=Buffers())
        os.close(descriptor)
