"""How bytes leave the store.

    alone      nobody keeps files meanwhile (`holding.py`)
    mark       a file says that a removal is on its way, so that a kill from here on is noticed and the rest done later
    rows       blobs, and every chunk that no blob is made of any more, leave the index in one transaction
    packs      each is locked; what no row names is wiped: a pack without rows goes, in others holes are punched
    unmark

Packs are wiped in place, so that nothing moves under a reader. Where the file system punches no holes the bytes become
zeros, and a pack that is a quarter dead is written anew: its chunks are copied, the rows moved, then it goes. A reader
that comes too late finds zeros or no pack, and looks its chunk up again.
"""

import os
import time
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from kedge.domain.ids import Digest
from kedge.errors import Conflict
from kedge.storage.blobs.incoming import sweep
from kedge.storage.blobs.index import ChunkIndex
from kedge.storage.blobs.packs import SUFFIX, PackWriter, lock_pack
from kedge.storage.durable import make_folder, punch, refusal, sync_folder

MARK = "removing"
_TOGETHER = 200  # packs that are locked at a time
_WAIT_SECONDS = 30.0
_WORTH = 0.25  # share of a pack that is dead, from which on it is written anew where no holes can be punched
_ZEROS = bytes(1 << 20)


class _Rows(NamedTuple):
    """What the index names in one pack: chunks' digests end to end, offsets and lengths, by offset."""

    digests: bytearray
    offsets: "array[int]"
    lengths: "array[int]"

    def gaps(self, size: int) -> Iterator[tuple[int, int]]:
        """Give start and end of what is not named."""
        at = 0
        for offset, length in zip(self.offsets, self.lengths, strict=True):
            if offset > at:
                yield at, offset
            at = max(at, offset + length)
        if size > at:
            yield at, size


class Removal:
    """Takes blobs out of a store. The caller sees to it that it is alone."""

    def __init__(self, folder: Path, index: ChunkIndex, *, pack_bytes: int) -> None:
        self._folder, self._index, self._pack_bytes = folder, index, pack_bytes
        self._mark = folder.parent / MARK

    def remove(self, digests: Iterable[Digest]) -> int:
        """Remove blobs, and all that nothing names; give the bytes that are free now. Raises Conflict, StoreFull."""
        try:
            make_folder(self._folder)
            self._mark.touch()
            sync_folder(self._mark.parent)
            self._index.remove(digests)
            freed = sweep(self._folder) + self._reclaim()
            self._mark.unlink(missing_ok=True)
            sync_folder(self._mark.parent)
        except OSError as error:
            raise refusal(error, self._folder) from error
        return freed

    def finish(self) -> None:
        """Do what a removal that was killed left undone."""
        if self._mark.exists():
            self.remove(())

    def idle_bytes(self) -> int:
        """Count the bytes on the disk that nothing names."""
        named: dict[str, int] = {}
        for _, place in self._index.scan():
            named[place.pack] = named.get(place.pack, 0) + place.length
        idle = 0
        for path in self._packs():
            stat = path.stat()
            idle += max(0, min(stat.st_size, stat.st_blocks * 512) - named.get(path.name, 0))
        return idle

    def _packs(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{SUFFIX}"))

    def _reclaim(self) -> int:
        packs, freed = self._packs(), 0
        for start in range(0, len(packs), _TOGETHER):
            locked: dict[Path, int] = {}
            try:
                for path in packs[start : start + _TOGETHER]:
                    if (descriptor := _locked(path)) is not None:
                        locked[path] = descriptor
                rows = self._rows({path.name for path in locked})  # now that nobody can name more of them
                for path, descriptor in locked.items():
                    freed += self._wipe(path, descriptor, rows=rows.get(path.name))
            finally:
                for descriptor in locked.values():
                    os.close(descriptor)
        return freed

    def _rows(self, names: set[str]) -> dict[str, _Rows]:
        found: dict[str, list[tuple[int, int, Digest]]] = {}
        for digest, place in self._index.scan(names):
            found.setdefault(place.pack, []).append((place.offset, place.length, digest))
        rows = {}
        for name, places in found.items():
            places.sort()
            digests = bytearray().join(bytes.fromhex(digest) for _, _, digest in places)
            rows[name] = _Rows(digests, array("Q", [at[0] for at in places]), array("Q", [at[1] for at in places]))
        return rows

    def _wipe(self, path: Path, descriptor: int, *, rows: _Rows | None) -> int:
        before = os.fstat(descriptor)
        if rows is None:
            path.unlink()
            sync_folder(self._folder)
            return before.st_blocks * 512
        gaps = list(rows.gaps(before.st_size))
        if not gaps:
            return 0
        if not all(punch(descriptor, start, length=end - start) for start, end in gaps):
            dead = sum(end - start for start, end in gaps)
            if dead >= _WORTH * before.st_size:
                return self._write_anew(path, descriptor, rows=rows)
            for start, end in gaps:
                _zero(descriptor, start, end=end)
        os.fsync(descriptor)
        return max(0, before.st_blocks - os.fstat(descriptor).st_blocks) * 512

    def _write_anew(self, path: Path, descriptor: int, *, rows: _Rows) -> int:
        """Copy a pack's chunks to another, then let it go. One that is damaged is copied as it is, for `verify` to find."""
        writer, moved = PackWriter(self._folder, limit=self._pack_bytes), {}
        size = os.fstat(descriptor).st_size
        for number, (offset, length) in enumerate(zip(rows.offsets, rows.lengths, strict=True)):
            digest = Digest(rows.digests[32 * number : 32 * number + 32].hex())
            moved[digest] = writer.append(memoryview(os.pread(descriptor, length, offset).ljust(length, b"\0")))
        writer.finish()
        self._index.move(moved)
        writer.close()
        path.unlink()
        sync_folder(self._folder)
        return max(0, size - sum(rows.lengths))


def unused(index: ChunkIndex, named: set[bytes]) -> Iterator[tuple[Digest, int]]:
    """Give the reclaimable blobs that are not among these, with their sizes."""
    for digest, size in index.reclaimable():
        if bytes.fromhex(digest) not in named:
            yield digest, size


def _locked(path: Path) -> int | None:
    """Lock a pack; None where it is gone. Raises Conflict where a writer does not let go of it."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while (descriptor := lock_pack(path)) is None:
        if not path.exists():
            return None
        if time.monotonic() > deadline:
            raise Conflict(f"another process keeps writing pack {path}; end it, or run the same again later")
        time.sleep(0.02)
    return descriptor


def _zero(descriptor: int, start: int, *, end: int) -> None:
    while start < end:
        size = min(len(_ZEROS), end - start)
        if any(os.pread(descriptor, size, start)):
            os.pwrite(descriptor, _ZEROS[:size], start)
        start += size
