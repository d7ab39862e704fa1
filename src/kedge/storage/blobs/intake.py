"""Whole folders on their way into the store.

    small files   read end to end into one buffer, hashed, cut; what is new of it goes to a pack in few large writes
    large files   in blocks, by several threads (`large.py`)
    both          the index names chunks and blobs some thousands at a time; only then are files given to the caller

A file is read into memory of our own: the bytes that are hashed are those that are written, whatever happens to the
file. Whether it changed meanwhile is asked of the file system afterwards: its time of change must be old enough.
"""

import os
import stat as kinds
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.errors import Conflict, FileChanged, SourceFailed
from kedge.ports import Before, StoredFile, Told
from kedge.storage.blobs.cut import is_parquet, lengths
from kedge.storage.blobs.index import ChunkIndex, ChunkPlace, Recipe
from kedge.storage.blobs.large import NOTHING, Cut, Earlier, LargeFiles
from kedge.storage.blobs.packs import PackWriter
from kedge.storage.durable import refusal

SMALL = 2 << 20
_BUFFER = 16 << 20
_NAMED_BYTES, _NAMED_FILES = 256 << 20, 20_000  # at most so much between two transactions
_TOLD_BYTES, _TOLD_FILES = 4 << 20, 100
_TRIES = 3
_TICK_SECONDS = 0.05  # two changes within this time may leave a file with one time of change
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW


class Intake:
    """Takes files into the store, for one call and one thread. Its packs are its own."""

    def __init__(self, folder: Path, index: ChunkIndex, *, pack_bytes: int, told: Told, before: Before) -> None:
        self._folder, self._index, self._told, self._before = folder, index, told, before
        self._writer = PackWriter(folder, limit=pack_bytes)
        self._large: LargeFiles | None = None
        self._buffer = memoryview(b"")
        self._used = 0
        self._read: list[tuple[StoredFile, int]] = []  # where they start in the buffer, not yet written
        self._places: dict[Digest, ChunkPlace] = {}  # written, not yet named by the index
        self._known: set[Digest] = set()  # named by the index when it was asked
        self._recipes: dict[Digest, Recipe] = {}
        self._ready: list[StoredFile] = []  # to be given once the index names them
        self._unnamed = self._files = self._bytes = 0
        self._last = (0, 0)

    def take(self, files: Iterable[tuple[str, Path | str]]) -> Iterator[StoredFile]:
        """Keep files in the order given; each is safe when it is given. Raises SourceFailed, FileChanged, StoreFull."""
        try:
            for name, path in files:
                self._take(name, path)
                if self._unnamed >= _NAMED_BYTES or len(self._ready) + len(self._read) >= _NAMED_FILES:
                    yield from self._named()
            yield from self._named()
            self._told(self._files, self._bytes)
        finally:
            self._writer.close()
            if self._large is not None:
                self._large.close()

    def _take(self, name: str, path: Path | str) -> None:
        """Read a file until it does not change meanwhile."""
        before: tuple[object, ...] = ()
        for attempt in range(_TRIES):
            started = time.time()
            try:
                descriptor = os.open(path, _FLAGS)
                try:
                    stored = self._read_once(name, descriptor)
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise SourceFailed(
                    f"cannot read {path}: {error.strerror}; nothing was lost: mend it, then run the same again"
                ) from error
            if stored.size == stored.stat.st_size:
                if stored.stat.st_ctime_ns < (started - _TICK_SECONDS) * 1e9 or before == _seen(stored):
                    self._taken(stored)
                    return
                before = _seen(stored)  # and again: two equal readings will do where the file system's clock differs
            time.sleep(_TICK_SECONDS * (1 + attempt))
        raise FileChanged(f"{path} changed while it was read, {_TRIES} times; wait for its writer, then run the same again")

    def _read_once(self, name: str, descriptor: int) -> StoredFile:
        """Read a file: a small one to the end of the buffer, a large one into packs."""
        if len(self._buffer) - self._used <= SMALL:
            self._write_small()
        view = self._buffer[self._used : self._used + SMALL + 1]
        size = os.readv(descriptor, [view])
        stat = os.fstat(descriptor)
        if not kinds.S_ISREG(stat.st_mode):
            raise OSError(0, "it is not a file")
        while size < stat.st_size and size < len(view) and (more := os.readv(descriptor, [view[size:]])):
            size += more
        if size <= SMALL:
            return StoredFile(name, Digest(blake3(view[:size]).hexdigest()), size, stat)
        self._write_small()
        digest, recipe = self._take_large(name, descriptor, size=stat.st_size)
        return StoredFile(name, digest, recipe.size, os.fstat(descriptor))

    def _take_large(self, name: str, descriptor: int, *, size: int) -> tuple[Digest, Recipe]:
        if self._large is None:
            self._large = LargeFiles(self._write, lambda done: self._done(0, done))
        had = self._bytes
        digest, recipe = self._large.take(descriptor, size, earlier=self._earlier(name))
        self._bytes = had
        whole = recipe.size == size  # else the file grew or shrank, and is read again
        if whole and digest not in self._recipes and digest not in self._index.find_blobs([digest]):
            self._recipes[digest] = recipe
        return digest, recipe

    def _earlier(self, name: str) -> Earlier:
        """Tell what a file held before, where that is known and here."""
        digest = self._before(name)
        recipe = self._index.find_blob(digest) if digest is not None else None
        if digest is None or recipe is None or recipe.size <= SMALL:
            return NOTHING
        places = self._index.find_many(recipe.chunks)
        if any(chunk not in places for chunk in recipe.chunks):
            return NOTHING
        self._known |= places.keys()
        return Earlier(digest, recipe.chunks, lengths=[places[chunk].length for chunk in recipe.chunks])

    def _taken(self, stored: StoredFile) -> None:
        if stored.size > SMALL:
            self._ready.append(stored)
        else:
            self._read.append((stored, self._used))
            self._used += stored.size
        self._done(1, stored.size)

    def _done(self, files: int, size: int) -> None:
        self._files, self._bytes = self._files + files, self._bytes + size
        if self._files - self._last[0] >= _TOLD_FILES or self._bytes - self._last[1] >= _TOLD_BYTES:
            self._last = self._files, self._bytes
            self._told(*self._last)

    def _write_small(self) -> None:
        """Write the new chunks of what is in the buffer, and begin it anew."""
        read, self._read, self._used = self._read, [], 0
        if not self._buffer:
            self._buffer = memoryview(bytearray(_BUFFER))
        known = self._index.find_blobs([file.digest for file, _ in read])
        fresh: list[Cut] = []
        for file, start in read:
            if file.digest not in known and file.digest not in self._recipes:
                cuts = _cuts(self._buffer[start : start + file.size], file.digest, start=start)
                self._recipes[file.digest] = Recipe(file.size, tuple([cut.name for cut in cuts]))
                fresh.extend(cuts)
        self._write(self._buffer, fresh)
        self._ready.extend(file for file, _ in read)

    def _write(self, data: memoryview, cuts: Sequence[Cut]) -> None:
        """Write those chunks of a buffer that are new, neighbours in one piece."""
        asked = [cut.name for cut in cuts if cut.name not in self._places and cut.name not in self._known]
        self._known |= self._index.find_many(asked).keys()
        try:
            run: list[Cut] = []
            for cut in cuts:
                if cut.name in self._known or cut.name in self._places:
                    continue
                if run and (run[-1].start + run[-1].length != cut.start or self._writer.room() <= cut.start - run[0].start):
                    self._append(data, run)
                    run = []
                run.append(cut)
                self._places[cut.name] = ChunkPlace("", 0, 0)  # until its run is written: a twin may follow in it
            self._append(data, run)
            if self._unnamed >= _NAMED_BYTES:
                self._name_chunks()
        except OSError as error:
            raise refusal(error, self._folder) from error

    def _append(self, data: memoryview, run: Sequence[Cut]) -> None:
        if run:
            start, end = run[0].start, run[-1].start + run[-1].length
            whole = self._writer.append(data[start:end])
            for name, at, length in run:
                self._places[name] = ChunkPlace(whole.pack, whole.offset + at - start, length)
            self._unnamed += whole.length

    def _name_chunks(self) -> None:
        """Let the index name the chunks written so far, as a large file goes on: no blob is made of them yet, and should
        none ever be, the next removal takes them."""
        self._writer.finish()
        self._index.add(self._places, {}, reclaimable=True)
        self._writer.release()
        self._known |= self._places.keys()
        self._places, self._unnamed = {}, 0

    def _named(self) -> Iterator[StoredFile]:
        """Let the index name what was written, and give the files."""
        self._write_small()
        try:
            self._writer.finish()
        except OSError as error:
            raise refusal(error, self._folder) from error
        if self._places or self._recipes:
            if self._index.add(self._places, self._recipes, reclaimable=True):
                raise Conflict("data that these files share with others was removed meanwhile; run the same again")
            self._writer.release()
        ready, self._ready = self._ready, []
        self._places, self._recipes, self._known, self._unnamed = {}, {}, set(), 0
        yield from ready


def _seen(file: StoredFile) -> tuple[object, ...]:
    return file.digest, file.size, file.stat.st_ino, file.stat.st_ctime_ns, file.stat.st_mtime_ns


def _cuts(data: memoryview, digest: Digest, *, start: int) -> list[Cut]:
    """Cut a small file that starts so far into its buffer."""
    cuts, size = [], len(data)
    for length in lengths(data, parquet=is_parquet(data)):
        name = digest if length == size else Digest(blake3(data[:length]).hexdigest())
        cuts.append(Cut(name, start, length))
        start, data = start + length, data[length:]
    return cuts
