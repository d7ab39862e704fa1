"""Append logs of records: predictions and ground truth. A folder of segments, each written by one process.

    segment  = NUMBER-WRITER.log, NUMBER grows with each segment opened in the folder
    frame    = length (u32) | crc32 of payload (u32) | payload        little endian; length 0 does not occur

A writer opens a new segment each time it starts and whenever one has grown to its limit; no two ever share one. So an
offset in an old segment stays true even where a power cut took records that were never synced. What a kill leaves half
written is the torn tail of its segment: readers stop before it, and the next start of the same writer cuts it. Whole
records after a broken one are damage, told and never cut; so is a power cut on a file system that reorders appends.
"""

import fcntl
import os
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from zlib import crc32

from kedge.errors import StoreBroken
from kedge.ports import Position
from kedge.storage.durable import make_folder, refusal, sync_folder, write_all

_HEAD = struct.Struct("<II")
_SUFFIX = ".log"


class FileJournal:
    """A journal in a folder. Appends and syncs may come from several threads; readers need no writer and create nothing."""

    def __init__(self, folder: Path, writer: str, *, segment_bytes: int = 64 << 20) -> None:
        if not writer or not writer.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"a journal's writer is named with letters, digits, - and _, not {writer!r}")
        self._folder, self._writer, self._limit = Path(folder), writer, segment_bytes
        self._open: _Segment | None = None
        self._appending, self._syncing = threading.Lock(), threading.Lock()

    def append(self, payload: bytes) -> Position:
        """Write one record; it has reached the operating system on return. Raises StoreFull, and nothing is written then."""
        return self._append(_frame_of(payload))

    def append_all(self, payloads: Sequence[bytes]) -> Position:
        """Write records in one call of the operating system, all or none; give the place of the last. Raises StoreFull."""
        if not payloads:
            raise ValueError("there is no record to append")
        return self._append(b"".join(map(_frame_of, payloads)))

    def _append(self, frames: bytes) -> Position:
        with self._appending:
            if self._open is not None and (self._open.end >= self._limit or self._open.suspect):
                self._close()
            if self._open is None:
                self._open = _Segment(self._folder, self._writer)
            return self._open.append(frames)

    def sync(self) -> None:
        """Make all that was appended survive a power cut."""
        with self._syncing:
            segment = self._open
            if segment is not None:
                segment.sync()

    def scan(self, after: Mapping[str, int] | None = None) -> Iterator[tuple[Position, bytes]]:
        """Read whole records, segment by segment. Raises StoreBroken where a record within a segment has changed."""
        starts = after or {}
        for name, size in _segments(self._folder):
            start = starts.get(name, 0)
            if size > start:
                yield from _read(self._folder / name, start, size=size)

    def close(self) -> None:
        """Sync and let go of the segment; a later append opens another."""
        with self._appending:
            self._close()

    def _close(self) -> None:
        with self._syncing:
            if self._open is not None:
                segment, self._open = self._open, None
                segment.close()


class _Segment:
    """The one segment that this process writes."""

    def __init__(self, folder: Path, writer: str) -> None:
        try:
            make_folder(folder)
            names = [name for name, _ in _segments(folder)]
            own = [name for name in names if name.endswith(f"-{writer}{_SUFFIX}")]
            if own:
                _cut_torn_tail(folder / own[-1])
            self._create(folder, writer, number=1 + max((_number(name) for name in names), default=0))
            sync_folder(folder)
        except OSError as error:
            raise refusal(error, folder) from error
        self.end = 0
        self.suspect = False

    def _create(self, folder: Path, writer: str, *, number: int) -> None:
        while True:
            self._path = folder / f"{number:012d}-{writer}{_SUFFIX}"
            try:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            except FileExistsError:  # a process with the same writer's name was faster
                number += 1
                continue
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # says that this writer lives: nobody cuts this tail
            return

    def append(self, frames: bytes) -> Position:
        try:
            write_all(self._descriptor, frames)
        except OSError as error:
            os.ftruncate(self._descriptor, self.end)
            raise refusal(error, self._path) from error
        self.end += len(frames)
        return Position(self._path.name, self.end)

    def sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self.suspect = True  # a second fsync would say "done" without the pages that the first one lost
            raise refusal(error, self._path) from error

    def close(self) -> None:
        try:
            if not self.suspect:
                self.sync()
        finally:
            os.close(self._descriptor)


def _segments(folder: Path) -> list[tuple[str, int]]:
    """List segments with their sizes in name order; a folder that does not exist has none."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name, entry.stat().st_size) for entry in entries if entry.name.endswith(_SUFFIX))
    except FileNotFoundError:
        return []


def _number(name: str) -> int:
    digits = name.partition("-")[0]
    return int(digits) if digits.isdecimal() else 0


def _read(path: Path, start: int, *, size: int) -> Iterator[tuple[Position, bytes]]:
    with path.open("rb") as file:
        file.seek(start)
        data = memoryview(file.read(size - start))
    offset = 0
    while (payload := _frame(data, offset)) is not None:
        offset += _HEAD.size + len(payload)
        yield Position(path.name, start + offset), bytes(payload)
    _require_torn(data, offset, path=path, start=start)


def _frame_of(payload: bytes) -> bytes:
    if not payload:
        raise ValueError("a journal's record holds at least one byte")
    return _HEAD.pack(len(payload), crc32(payload)) + payload


def _frame(data: memoryview, offset: int) -> memoryview | None:
    """Read the whole, unharmed frame at an offset; None where there is none."""
    if offset + _HEAD.size > len(data):
        return None
    length, checksum = _HEAD.unpack_from(data, offset)
    begin = offset + _HEAD.size
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

    if len(tail) <= _HEAD.size:
        return []
    octets = np.frombuffer(tail, dtype=np.uint8).astype(np.int64)
    starts = np.arange(len(tail) - _HEAD.size)
    lengths = sum(octets[place : place + len(starts)] << (8 * place) for place in range(4))
    fits: list[int] = np.flatnonzero((lengths > 0) & (lengths <= len(starts) - starts)).tolist()
    return fits


def _cut_torn_tail(path: Path) -> None:
    """Cut what a killed process left half written, unless that process still lives and holds the segment."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        end = 0
        for position, _ in _read(path, 0, size=os.fstat(descriptor).st_size):
            end = position.end
        if end < os.fstat(descriptor).st_size:
            os.ftruncate(descriptor, end)
            os.fsync(descriptor)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)
