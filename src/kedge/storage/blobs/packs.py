"""Packs: files of about 64 MB in which chunks lie end to end.

    take a pack, lock it -> append ... -> finish (sync) -> the index names the chunks -> release the locks

A writer appends to packs whose locks it holds, so no two write one pack, and keeps the locks until the index names what
it wrote. So whoever holds a pack's lock knows that bytes which no index row names (a kill between write and commit, a
removed chunk) will never be named. Packs are only appended to; places never change their bytes, but for zeros where the
chunk was removed.
"""

import fcntl
import os
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path

from kedge.domain.ids import Digest
from kedge.storage.blobs.appending import Appender, Buffers
from kedge.storage.blobs.index import ChunkPlace
from kedge.storage.durable import make_folder, sync_folder

SUFFIX = ".pack"
_HELD_FULL = 64  # full packs whose descriptors stay open until the index names their chunks


class PackWriter:
    """Appends chunks to packs. Not for several threads at a time. Raises OSError."""

    def __init__(self, folder: Path, *, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._pack: Pack | None = None
        self._full: list[Pack] = []
        self._buffers = Buffers()
        self._owner = 0

    def write(self, chunks: Iterable[tuple[Digest, memoryview]]) -> dict[Digest, ChunkPlace]:
        """Append chunks and give their places; they survive a power cut on return."""
        places = {digest: self.append(data) for digest, data in chunks}
        self.finish()
        return places

    def append(self, data: memoryview) -> ChunkPlace:
        """Append a chunk and give its place. Its bytes wait in memory of the writer's own until `finish`."""
        try:
            pack = self._take()
            place = ChunkPlace(pack.name, pack.end, len(data))
            pack.append(data)
        except OSError:
            self.close()  # what became of this pack's tail is not known: go on in one that is read anew
            raise
        return place

    def room(self) -> int:
        """Tell how many bytes the pack that is being written has room for."""
        return self._limit - self._pack.end if self._pack is not None else self._limit

    def finish(self) -> None:
        """Make all that was appended survive a power cut."""
        try:
            for pack in (*self._full, *([self._pack] if self._pack else [])):
                pack.finish()
        except OSError:
            self.close()
            raise

    def release(self) -> None:
        """Let others have the packs: the index names what was written."""
        self._full.clear()
        if self._pack is not None:
            self._pack.unlock()

    def close(self) -> None:
        """Let go of the packs."""
        self._full.clear()
        self._pack = None

    def _take(self) -> "Pack":
        if self._owner != os.getpid():  # a forked child shares its parent's locks and must not share its packs
            self.close()
            self._owner, self._buffers = os.getpid(), Buffers()
        if self._pack is not None and self._pack.end >= self._limit:
            self._pack.begin_sync()
            self._full.append(self._pack)
            self._pack = None
            if len(self._full) > _HELD_FULL:
                raise OSError(f"{_HELD_FULL} packs written and none named")
        if self._pack is not None and not self._pack.lock():
            self._pack = None
        if self._pack is None:
            self._pack = _free_pack(self._folder, self._limit, buffers=self._buffers) or _new_pack(
                self._folder, self._buffers
            )
        return self._pack


class Pack:
    """A pack that this process has open for appending, and locked unless it was unlocked."""

    def __init__(self, name: str, descriptor: int, *, buffers: Buffers) -> None:
        self.name, self.descriptor = name, descriptor
        self._tail = Appender(descriptor, buffers)
        self._locked = True
        self._syncing: Future[None] | None = None
        self._clean = True

    def __del__(self) -> None:
        self._tail.close()

    @property
    def end(self) -> int:
        """Tell how long it is, with what waits."""
        return self._tail.end

    def append(self, data: memoryview) -> None:
        """Put bytes at the end; they may wait in memory of its own until `flush` or `finish`."""
        self._tail.append(data)
        self._clean = False

    def flush(self) -> None:
        """Hand what waits to the operating system or the disk."""
        self._tail.flush()

    def begin_sync(self) -> None:
        """Begin to make it survive a power cut while others work."""
        self._syncing = self._tail.sync_later()

    def finish(self) -> None:
        """Write what waits and make all of it survive a power cut."""
        if self._syncing is not None:
            self._syncing.result()
        elif not self._clean:
            self._tail.flush()
            os.fsync(self.descriptor)
        self._clean = True

    def lock(self) -> bool:
        """Lock again what was unlocked; False where another has had it since."""
        if not self._locked:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            stat = os.fstat(self.descriptor)
            self._locked = bool(stat.st_nlink) and stat.st_size == self.end
        return self._locked

    def unlock(self) -> None:
        """Let others append to it, or take it away."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        self._locked = False


def lock_pack(path: Path, *, flags: int = os.O_RDWR) -> int | None:
    """Open and lock a pack that is there; None where it is gone or another holds it. The caller closes the descriptor."""
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _free_pack(folder: Path, limit: int, *, buffers: Buffers) -> Pack | None:
    """Lock a pack with room that no process holds."""
    for path in _packs(folder):
        try:
            if path.stat().st_size >= limit:
                continue
        except FileNotFoundError:
            continue
        if (descriptor := lock_pack(path, flags=os.O_WRONLY | os.O_APPEND)) is not None:
            sync_folder(folder)  # whoever created it may have died before doing so
            return Pack(path.name, descriptor, buffers=buffers)
    return None


def _new_pack(folder: Path, buffers: Buffers) -> Pack:
    make_folder(folder)
    number = 1 + max((int(path.stem) for path in _packs(folder)), default=0)
    while True:
        name = f"{number:08d}{SUFFIX}"
        try:
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except FileExistsError:  # another process was faster
            number += 1
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:  # else it was taken for a dead one between making it and locking it
            sync_folder(folder)
            return Pack(name, descriptor, buffers=buffers)
        os.close(descriptor)


def _packs(folder: Path) -> list[Path]:
    """List packs, newest first."""
    return sorted((path for path in folder.glob(f"*{SUFFIX}") if path.stem.isdecimal()), reverse=True)
