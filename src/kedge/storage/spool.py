"""A process's spool: what it told of its runs and what has not yet reached the store or server.

    FOLDER/NAME/head       where it goes to (JSON)                  FOLDER/NAME/lock    held while the process lives
    FOLDER/NAME/NNN.log    frames, in order of telling              FOLDER/NAME/files/  copies of files to keep
    FOLDER/NAME/open       the runs that end with the process (JSON)
    FOLDER/NAME/done       segment and offset up to which all has arrived

    frame = length (u32) | crc32 of payload (u32) | payload         little endian

What was appended has reached the operating system: kill -9 does not lose it (a power cut may). Segments that have arrived
are removed, so a spool is as large as what is on its way. Where the disk refuses, records wait in memory, up to a bound;
what goes over a bound is counted, and told as `lost`. A spool whose lock nobody holds was left behind: `claim` takes it.
"""

import fcntl
import logging
import os
import shutil
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4
from zlib import crc32

import msgspec

from kedge.domain.ids import RunId
from kedge.errors import KedgeError, StoreFull
from kedge.storage.durable import make_folder, refusal, write_all

_log = logging.getLogger("kedge.storage")

SEGMENT_BYTES = 8 << 20
DISK_BYTES = 1 << 30
FILES_BYTES = 16 << 30
MEMORY_BYTES = 64 << 20
_HEAD = struct.Struct("<II")
_DONE = struct.Struct("<QQI")
_STALE_SECONDS = 3600.0


class SpoolHead(msgspec.Struct, frozen=True, kw_only=True):
    """Where a spool's records go, and who wrote them."""

    target: str
    process: int
    host: str


class SpoolPlace(msgspec.Struct, frozen=True, order=True):
    """A place in a spool, after a record: segment and offset."""

    segment: int
    offset: int


class Spool:
    """One spool. Appends come from one thread, reads and `done` from another."""

    def __init__(self, root: Path, head: SpoolHead, *, lock: int, segment_bytes: int, disk_bytes: int) -> None:
        self.root, self.head, self.files = root, head, root / "files"
        self.refused: KedgeError | None = None
        self.lost = 0
        self._lock, self._segment_bytes, self._disk_bytes = lock, segment_bytes, disk_bytes
        self._memory: deque[tuple[bytes, int]] = deque()
        self._in_memory = 0
        self._guard = threading.Lock()
        self._arrived = _read_done(root)
        numbers = _segments(root)
        self._number = max([*numbers, self._arrived.segment])
        self._open: int | None = None
        self._end = _whole_end(self._path(self._number))  # what follows is the torn tail of a killed process
        self._bytes = sum(_size(self._path(number)) for number in numbers)
        self._in_files = sum(_size(path) for path in self.files.glob("*"))

    @classmethod
    def create(
        cls, folder: Path, head: SpoolHead, *, segment_bytes: int = SEGMENT_BYTES, disk_bytes: int = DISK_BYTES
    ) -> "Spool":
        """Begin a spool of this process. Raises StoreFull or StoreBroken where the folder cannot be written."""
        name = f"{int(time.time())}-{os.getpid()}-{uuid4().hex[:8]}"
        hidden = folder / f".{name}"
        try:
            make_folder(hidden)
            lock = _locked(hidden)
            (hidden / "files").mkdir()
            (hidden / "head").write_bytes(msgspec.json.encode(head))
            hidden.rename(folder / name)
        except OSError as error:
            raise refusal(error, folder) from error
        if lock is None:
            raise AssertionError("a fresh folder is locked by nobody")
        return cls(folder / name, head, lock=lock, segment_bytes=segment_bytes, disk_bytes=disk_bytes)

    @property
    def is_empty(self) -> bool:
        """Tell whether all that was told has arrived."""
        with self._guard:
            return not self._memory and self._arrived >= self._last()

    def append(self, payloads: Sequence[bytes], *, points: int = 0) -> None:
        """Keep records. Where neither disk nor memory takes them, they are lost and `points` counted; records without
        points are few and small, and are always kept."""
        frames = b"".join(map(_framed, payloads))
        if not self._memory and (points == 0 or self._bytes < self._disk_bytes) and self._write(frames):
            return
        size = sum(map(len, payloads))
        with self._guard:
            if points and (self.refused is None or self._in_memory + size > MEMORY_BYTES):
                self.lost += points
                return
            counts = [points] + [0] * (len(payloads) - 1)
            self._memory.extend(zip(payloads, counts, strict=True))
            self._in_memory += size

    def keep_file(self, source: Path | bytes) -> str:
        """Copy a file, or bytes, into the spool; give the name under which it is kept. Raises StoreFull, StoreBroken."""
        name = uuid4().hex
        kept = self.files / name
        size = len(source) if isinstance(source, bytes) else _size(source)
        if self._in_files + size > FILES_BYTES:
            raise StoreFull(
                f"{self.files} holds {FILES_BYTES >> 30} GiB of files that are still on their way; nothing is added"
            )
        try:
            if isinstance(source, bytes):
                kept.write_bytes(source)
            else:
                shutil.copyfile(source, kept)
        except OSError as error:
            kept.unlink(missing_ok=True)
            raise refusal(error, kept) from error
        with self._guard:
            self._in_files += size
        return name

    def drop_file(self, name: str) -> None:
        """Remove a kept file that has arrived."""
        kept = self.files / name
        with self._guard:
            self._in_files -= _size(kept)
        kept.unlink(missing_ok=True)

    def mark(self, run: RunId, *, is_open: bool) -> None:
        """Note that a run goes on in this process, or does no more: one that is noted when the process dies was killed."""
        before = self.open_runs()
        after = before | {run} if is_open else before - {run}
        if after == before:
            return
        fresh = self.root / "open.new"
        with suppress(OSError):  # a disk that refuses this only has the run look as if it went on
            fresh.write_bytes(msgspec.json.encode(sorted(after)))
            fresh.replace(self.root / "open")

    def open_runs(self) -> set[RunId]:
        """Name the runs that go on in the process, or that it had open when it died."""
        try:
            return set(msgspec.json.decode((self.root / "open").read_bytes(), type=list[RunId]))
        except (OSError, msgspec.DecodeError):
            return set()

    def last_written(self) -> datetime:
        """Tell when the process last wrote here, UTC."""
        signs = [path for path in (*self.root.glob("*.log"), self.root / "open", self.root / "head") if path.exists()]
        return datetime.fromtimestamp(max((path.stat().st_mtime for path in signs), default=time.time()), tz=UTC)

    def read(self, *, limit_bytes: int = 1 << 20) -> tuple[list[bytes], SpoolPlace | int]:
        """Read the oldest records that have not arrived (at least one, if there is any) and what to call `done` with."""
        with self._guard:
            place, last = self._arrived, self._last()
        while place < last:
            records, place = self._read_segment(place, last, limit_bytes=limit_bytes)
            if records:
                return records, place
            size = last.offset if place.segment == last.segment else _size(self._path(place.segment))
            if size > place.offset:
                _log.warning("%d bytes of %s are damaged and left out", size - place.offset, self._path(place.segment))
            place = SpoolPlace(place.segment + 1, 0) if place.segment < last.segment else last
        self._arrive(place)  # what cannot be read, such as a killed process's torn tail, waits for nothing
        with self._guard:
            taken: list[bytes] = []
            size = 0
            for payload, _ in self._memory:
                if taken and size + len(payload) > limit_bytes:
                    break
                taken.append(payload)
                size += len(payload)
        return taken, len(taken)

    def done(self, upto: SpoolPlace | int) -> None:
        """Note that all up to a place (or so many records kept in memory) has arrived; remove what is no longer needed."""
        if isinstance(upto, int):
            with self._guard:
                for _ in range(upto):
                    self._in_memory -= len(self._memory.popleft()[0])
            return
        data = struct.pack("<QQ", upto.segment, upto.offset)
        with suppress(OSError), _opened(self.root / "done", os.O_WRONLY | os.O_CREAT) as descriptor:
            # a disk that refuses this only has records told twice
            os.pwrite(descriptor, data + struct.pack("<I", crc32(data)), 0)
        self._arrive(upto)

    def close(self) -> None:
        """Let go; a spool that is empty is removed. What still waits in memory is tried on the disk once more."""
        if self._memory and self._write(b"".join(map(_framed, (payload for payload, _ in self._memory)))):
            self._memory.clear()
        self.lost += sum(points for _, points in self._memory)
        self._memory.clear()
        if self._open is not None:
            os.close(self._open)
            self._open = None
        if self.is_empty and not any(self.files.glob("*")):
            shutil.rmtree(self.root, ignore_errors=True)
        os.close(self._lock)

    def forget(self) -> None:
        """Let go in a forked child: the parent still holds the lock and writes on."""
        if self._open is not None:
            os.close(self._open)
        os.close(self._lock)

    def _arrive(self, upto: SpoolPlace) -> None:
        """Need nothing up to a place any more."""
        with self._guard:
            first, self._arrived = self._arrived.segment, upto
        for number in range(first, upto.segment):
            path = self._path(number)
            size = _size(path)
            path.unlink(missing_ok=True)
            with self._guard:
                self._bytes -= size

    def _last(self) -> SpoolPlace:
        return SpoolPlace(self._number, self._end)

    def _path(self, number: int) -> Path:
        return self.root / f"{number:08d}.log"

    def _write(self, data: bytes) -> bool:
        try:
            descriptor = self._open
            if descriptor is None or self._end >= self._segment_bytes:
                descriptor = self._next_segment()
            write_all(descriptor, data)
        except OSError as error:
            if self._open is not None:
                with suppress(OSError):
                    os.ftruncate(self._open, self._end)
            self.refused = refusal(error, self.root)
            return False
        self.refused = None
        with self._guard:
            self._end += len(data)
            self._bytes += len(data)
        return True

    def _next_segment(self) -> int:
        number = self._number + 1
        descriptor = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._open is not None:
            os.close(self._open)
        with self._guard:
            self._open, self._number, self._end = descriptor, number, 0
        return descriptor

    def _read_segment(self, place: SpoolPlace, last: SpoolPlace, *, limit_bytes: int) -> tuple[list[bytes], SpoolPlace]:
        """Read whole records of one segment from a place on; none where it ends, or is torn, there."""
        size = last.offset if place.segment == last.segment else _size(self._path(place.segment))
        if place.offset >= size:
            return [], place
        try:
            with _opened(self._path(place.segment), os.O_RDONLY) as descriptor:
                data = os.pread(descriptor, min(size - place.offset, limit_bytes), place.offset)
                if len(data) >= _HEAD.size and (whole := _HEAD.size + _HEAD.unpack_from(data)[0]) > len(data):
                    data = os.pread(descriptor, min(size - place.offset, whole), place.offset)
        except FileNotFoundError:
            return [], place
        records = list(_frames(data))
        return records, SpoolPlace(place.segment, place.offset + sum(_HEAD.size + len(record) for record in records))


def left_behind(folder: Path) -> list[Path]:
    """List the spools in a folder, oldest first, those of living processes too."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and (path / "head").is_file())
    except OSError:
        return []


def claim(root: Path) -> Spool | None:
    """Take over a spool that was left behind; None where its process lives, or another was faster."""
    try:
        head = msgspec.json.decode((root / "head").read_bytes(), type=SpoolHead)
        lock = _locked(root)
    except (OSError, msgspec.DecodeError):
        return None
    if lock is None:
        return None
    if not (root / "head").is_file():  # its process ended while we looked, and removed it
        os.close(lock)
        return None
    return Spool(root, head, lock=lock, segment_bytes=SEGMENT_BYTES, disk_bytes=DISK_BYTES)


def sweep(folder: Path) -> None:
    """Remove what a process left that was killed while it began a spool."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name.startswith(".") and time.time() - path.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def read_head(root: Path) -> SpoolHead | None:
    """Read where a spool goes to; None where there is none."""
    try:
        return msgspec.json.decode((root / "head").read_bytes(), type=SpoolHead)
    except (OSError, msgspec.DecodeError):
        return None


def _framed(payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), crc32(payload)) + payload


def _whole_end(path: Path) -> int:
    """Find where the whole records of a segment end."""
    try:
        data = path.read_bytes()
    except OSError:
        return 0
    return sum(_HEAD.size + len(record) for record in _frames(data))


def _frames(data: bytes) -> Iterator[bytes]:
    """Read whole frames; stop before a torn one."""
    offset = 0
    while offset + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, offset)
        payload = data[offset + _HEAD.size : offset + _HEAD.size + length]
        if not length or len(payload) < length or crc32(payload) != checksum:
            return
        yield payload
        offset += _HEAD.size + length


def _locked(root: Path) -> int | None:
    descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _read_done(root: Path) -> SpoolPlace:
    try:
        segment, offset, checksum = _DONE.unpack((root / "done").read_bytes())
    except (OSError, struct.error):
        return SpoolPlace(0, 0)
    return SpoolPlace(segment, offset) if crc32(struct.pack("<QQ", segment, offset)) == checksum else SpoolPlace(0, 0)


def _segments(root: Path) -> list[int]:
    return sorted(int(path.stem) for path in root.glob("*.log") if path.stem.isdecimal())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
