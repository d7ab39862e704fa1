"""Segments: files of framed records, each written by one process and read by anyone.

    segment  = NUMBER-WRITER.log, NUMBER grows with each segment opened in the folder
    frame    = length (u32) | crc32 of payload (u32) | payload        little endian; length 0 does not occur

What a kill leaves half written is the torn tail of its segment: readers stop before it. Whole records after a broken one
are damage, told and never cut. A writer that lives holds a lock on its segment. The newest segment stays, even empty: the
next number follows from it, and records under a number that came back would be hidden by what was compacted under it.
"""

import fcntl
import os
import struct
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic
from zlib import crc32

from kedge.errors import StoreBroken
from kedge.ports import Position
from kedge.storage.durable import make_folder, refusal, sync_folder, write_all

HEAD = struct.Struct("<II")
SUFFIX = ".log"


class OwnSegment:
    """The one segment that this process writes."""

    def __init__(self, folder: Path, writer: str) -> None:
        self._syncing, self._closed = threading.Lock(), False
        try:
            make_folder(folder)
            found = segments(folder)
            # the last that has anything: a killed writer may have opened its next already
            own = [name for name, size in found if size and name.endswith(f"-{writer}{SUFFIX}")]
            if own:
                _cut_torn_tail(folder / own[-1])
            self._create(folder, writer, number=1 + max((number_of(name) for name, _ in found), default=0))
            sync_folder(folder)
        except OSError as error:
            raise refusal(error, folder) from error
        self._name = self._path.name  # asked of the path each time, it would cost as much as the write
        self.end = 0
        self.suspect = False
        # by the file system's clock, which lags a little: that of the file that asks for closing, too
        self.opened, self.opened_ns = monotonic(), os.fstat(self._descriptor).st_mtime_ns

    def _create(self, folder: Path, writer: str, *, number: int) -> None:
        while True:
            self._path = folder / f"{number:012d}-{writer}{SUFFIX}"
            try:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            except FileExistsError:  # a process with the same writer's name was faster
                number += 1
                continue
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # says that this writer lives: nobody cuts this tail
            if os.fstat(self._descriptor).st_nlink:
                return
            os.close(self._descriptor)  # swept as an empty one of the past before it was locked
            number += 1

    def append(self, frames: bytes) -> Position:
        """Write whole frames, all or none; give the place after them. Raises StoreFull, StoreBroken."""
        try:
            done = os.write(self._descriptor, frames)
            if done < len(frames):
                write_all(self._descriptor, memoryview(frames)[done:])
        except OSError as error:
            os.ftruncate(self._descriptor, self.end)
            raise refusal(error, self._path) from error
        self.end += len(frames)
        return Position(self._name, self.end)

    def sync(self) -> None:
        """Make what was appended survive a power cut. Raises StoreFull, StoreBroken."""
        with self._syncing:
            if not self._closed:  # who closed it has synced it
                self._sync()

    def _sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self.suspect = True  # a second fsync would say "done" without the pages that the first one lost
            raise refusal(error, self._path) from error

    def close(self) -> None:
        """Sync, and let go of the file and its lock; one without a record goes, unless it keeps the count."""
        with self._syncing:
            try:
                if not self.end:
                    self._leave()
                elif not self.suspect:
                    self._sync()
            finally:
                self._closed = True
                os.close(self._descriptor)

    def _leave(self) -> None:
        number = number_of(self._name)
        if number == 1 or any(number_of(name) > number for name, _ in segments(self._path.parent)):
            os.unlink(self._path)


class HeldSegment:
    """A closed segment that is held while it is read: no writer comes back to it, nobody else compacts it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise

    def cut(self, end: int) -> None:
        """Keep what stands before an offset."""
        os.ftruncate(self._descriptor, end)
        os.fsync(self._descriptor)

    def remove_empty(self) -> None:
        """Remove it, if it has nothing in it."""
        if not os.fstat(self._descriptor).st_size:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


def hold(path: Path) -> HeldSegment | None:
    """Hold a segment; None where its writer lives, or it is gone."""
    try:
        return HeldSegment(path)
    except (BlockingIOError, FileNotFoundError):
        return None


def segments(folder: Path) -> list[tuple[str, int]]:
    """List segments with their sizes in name order; a folder that does not exist has none."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    try:
                        found.append((entry.name, entry.stat().st_size))
                    except FileNotFoundError:  # compacted since the folder was opened
                        continue
    except FileNotFoundError:
        return []
    return sorted(found)


def number_of(name: str) -> int:
    """Tell a segment's number; 0 for another file's name."""
    digits = name.partition("-")[0]
    return int(digits) if digits.isdecimal() else 0


def frames_of(payloads: Iterable[bytes]) -> bytes:
    """Frame records, one behind the other."""
    parts: list[bytes] = []
    for payload in payloads:
        if not payload:
            raise ValueError("a journal's record holds at least one byte")
        parts += (HEAD.pack(len(payload), crc32(payload)), payload)
    return b"".join(parts)  # each is copied once: copies of many large ones make the allocator return memory and ask again


def read_bytes(path: Path, start: int = 0, *, size: int | None = None) -> bytes:
    """Read a segment from an offset to where it ended when its size was asked."""
    with path.open("rb") as file:
        file.seek(start)
        return file.read() if size is None else file.read(size - start)


def records_of(raw: bytes, path: Path, *, start: int = 0) -> Iterator[tuple[Position, bytes]]:
    """Give the whole records among bytes that stand at an offset. Raises StoreBroken where one in between has changed."""
    data, offset = memoryview(raw), 0
    while (payload := _frame(data, offset)) is not None:
        offset += HEAD.size + len(payload)
        yield Position(path.name, start + offset), bytes(payload)
    _require_torn(data, offset, path=path, start=start)


def _frame(data: memoryview, offset: int) -> memoryview | None:
    """Read the whole, unharmed frame at an offset; None where there is none."""
    if offset + HEAD.size > len(data):
        return None
    length, checksum = HEAD.unpack_from(data, offset)
    begin = offset + HEAD.size
    if not length or begin + length > len(data):
        return None
    payload = data[begin : begin + length]
    return payload if crc32(payload) == checksum else None


def _require_torn(data: memoryview, offset: int, *, path: Path, start: int) -> None:
    """Check that nothing whole follows: what follows a torn tail was never acknowledged, what follows damage was."""
    if any(_frame(data, offset + later) is not None for later in _plausible(data[offset:])):
        raise StoreBroken(
            f"journal segment {path} is damaged at byte {start + offset}: whole records follow a broken one;"
            f" put the segment back from a backup, or cut the file there to give up what follows"
        )


def _plausible(tail: memoryview) -> list[int]:
    """List where in a tail, byte by byte, a frame could begin whose length still fits into it."""
    import numpy as np

    if len(tail) <= HEAD.size:
        return []
    octets = np.frombuffer(tail, dtype=np.uint8).astype(np.int64)
    starts = np.arange(len(tail) - HEAD.size)
    lengths = sum(octets[place : place + len(starts)] << (8 * place) for place in range(4))
    fits: list[int] = np.flatnonzero((lengths > 0) & (lengths <= len(starts) - starts)).tolist()
    return fits


def _cut_torn_tail(path: Path) -> None:
    """Cut what a killed process left half written, unless that process still lives and holds the segment."""
    held = hold(path)
    if held is None:
        return
    try:
        end, raw = 0, read_bytes(path)
        for position, _ in records_of(raw, path):
            end = position.end
        if end < len(raw):
            held.cut(end)
    except FileNotFoundError:  # compacted in this moment
        return
    finally:
        held.close()
