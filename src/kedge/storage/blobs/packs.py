"""Packs: files of about 64 MB in which chunks lie end to end.

A process appends to one pack at a time and holds its lock, so no two processes write one pack; a process that starts
goes on with a pack that nobody holds. Bytes that no index row names (a kill between write and commit) are harmless.
"""

import fcntl
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from kedge.domain.ids import Digest
from kedge.errors import StoreBroken
from kedge.storage.blobs.index import ChunkPlace
from kedge.storage.durable import make_folder, sync_folder, write_all

_SUFFIX = ".pack"
_AT_ONCE = 4 << 20


class PackWriter:
    """Appends chunks to packs. Not for several threads at a time. Raises OSError."""

    def __init__(self, folder: Path, *, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._pack: Pack | None = None
        self._owner = 0

    def write(self, chunks: Iterable[tuple[Digest, memoryview]]) -> dict[Digest, ChunkPlace]:
        """Append chunks and give their places; they survive a power cut on return."""
        try:
            return self._write(chunks)
        except OSError:
            self.close()  # what became of this pack's tail is not known: go on in one that is read anew
            raise

    def _write(self, chunks: Iterable[tuple[Digest, memoryview]]) -> dict[Digest, ChunkPlace]:
        places: dict[Digest, ChunkPlace] = {}
        pack = self._take()
        for digest, data in chunks:
            if pack.end >= self._limit:
                pack.finish()
                self.close()
                pack = self._take()
            places[digest] = ChunkPlace(pack.name, pack.end, len(data))
            pack.append(data)
        pack.finish()
        return places

    def _take(self) -> "Pack":
        if self._owner != os.getpid():  # a forked child shares its parent's lock and must not share its pack
            self.close()
        if self._pack is None:
            self._owner = os.getpid()
            self._pack = _free_pack(self._folder, self._limit) or _new_pack(self._folder)
        return self._pack

    def close(self) -> None:
        """Let go of the pack."""
        self._pack = None


class Pack:
    """A pack that this process has locked for appending."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name, self.descriptor = name, descriptor
        self.end = os.lseek(descriptor, 0, os.SEEK_END)
        self._waiting: list[memoryview] = []
        self._size = 0

    def __del__(self) -> None:
        os.close(self.descriptor)

    def append(self, data: memoryview) -> None:
        """Put bytes at the end; they may wait in memory until `flush` or `finish`."""
        self._waiting.append(data)
        self.end += len(data)
        self._size += len(data)
        if self._size >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Hand what waits to the operating system."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        write_all(self.descriptor, b"".join(waiting))

    def finish(self) -> None:
        """Write what waits and make all of it survive a power cut."""
        self.flush()
        os.fsync(self.descriptor)


def read(folder: Path, places: Sequence[ChunkPlace]) -> list[bytes]:
    """Read chunks, each pack opened once. Raises StoreBroken where a pack cannot be read."""
    with ExitStack() as stack:
        packs: dict[str, BinaryIO] = {}
        pieces = []
        for pack, offset, length in places:
            try:
                if pack not in packs:
                    packs[pack] = stack.enter_context((folder / pack).open("rb", buffering=0))
                pieces.append(os.pread(packs[pack].fileno(), length, offset))
            except OSError as error:
                raise StoreBroken(f"cannot read pack {folder / pack}: {error.strerror}; restore it from a backup") from error
        return pieces


def _free_pack(folder: Path, limit: int) -> Pack | None:
    """Lock a pack with room that no process holds."""
    for path in _packs(folder):
        if path.stat().st_size < limit:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            sync_folder(folder)  # whoever created it may have died before doing so
            return Pack(path.name, descriptor)
    return None


def _new_pack(folder: Path) -> Pack:
    make_folder(folder)
    number = 1 + max((int(path.stem) for path in _packs(folder)), default=0)
    while True:
        name = f"{number:08d}{_SUFFIX}"
        try:
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except FileExistsError:  # another process was faster
            number += 1
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        sync_folder(folder)
        return Pack(name, descriptor)


def _packs(folder: Path) -> list[Path]:
    """List packs, newest first."""
    return sorted((path for path in folder.glob(f"*{_SUFFIX}") if path.stem.isdecimal()), reverse=True)
