"""Files of a tree on their way out of the store, in the order in which they lie in packs.

Each is written under a temporary name beside its place and renamed, so it is whole or not there; a copy, never a link into
the store, so whatever is done to it harms nothing. Symbolic links come last, so that no file is written through one.
What a large file shares with the one that it replaces is read from there: that was used last, and packs seldom are.
"""

import os
import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.errors import NotFound, StoreBroken
from kedge.ports import Before, StoredFile, Told, TreeFile
from kedge.storage.blobs.index import ChunkIndex, ChunkPlace, Recipe
from kedge.storage.blobs.reading import ChunkReader
from kedge.storage.durable import refusal, start_writing, write_all

_TOGETHER_FILES, _TOGETHER_BYTES = 5000, 1 << 30
_LARGE = 4 << 20
_WINDOW = 4 << 20
_STRETCH = 1 << 20  # stays in a processor's cache from the read over the hash to the write
_READERS = 2
_BUFFERS = 6
_WRITEBACK = 16 << 20


class _Task(NamedTuple):
    file: TreeFile
    path: str
    recipe: Recipe
    places: list[ChunkPlace]


class _Stretch(NamedTuple):
    """Some neighbouring chunks of a file: their bytes in all, what they are and where they lie."""

    size: int
    names: tuple[Digest, ...]
    places: tuple[ChunkPlace, ...]


class Restoring:
    """Writes files, for one call and one thread."""

    def __init__(
        self,
        folder: Path,
        index: ChunkIndex,
        *,
        reader: ChunkReader,
        told: Told,
        before: Before,
        mtime_ns: int | None,
    ) -> None:
        self._folder, self._index, self._reader = folder, index, reader
        self._told, self._before, self._mtime_ns = told, before, mtime_ns
        self._token, self._number = secrets.token_hex(6), 0
        self._made: set[str] = set()
        self._window = _Window(folder)
        self._files = self._bytes = 0

    def restore(self, files: Iterable[tuple[TreeFile, Path | str]]) -> Iterator[StoredFile]:
        """Write files to their paths. Raises NotFound, StoreBroken, StoreFull."""
        links: list[tuple[TreeFile, str]] = []
        waiting: list[tuple[TreeFile, str]] = []
        size = 0
        with self._window:
            for file, given in files:
                path = os.fspath(given)
                if file.link:
                    links.append((file, path))
                    continue
                waiting.append((file, path))
                size += file.size
                if len(waiting) >= _TOGETHER_FILES or size >= _TOGETHER_BYTES:
                    yield from self._write_all(waiting)
                    waiting, size = [], 0
            yield from self._write_all(waiting)
        for file, path in links:
            yield self._done(file, self._link(file, path))

    def _write_all(self, files: Sequence[tuple[TreeFile, str]]) -> Iterator[StoredFile]:
        recipes = self._index.find_recipes([file.digest for file, _ in files])
        for file, path in files:
            if file.digest not in recipes:
                raise NotFound(f"no blob {file.digest} in {self._folder.parent} for {path}; pull it, or restore a backup")
        earlier = self._earlier([file.name for file, _ in files if recipes[file.digest].size > _LARGE])
        asked = [*recipes.values(), *earlier.values()]
        places = self._index.find_many([chunk for recipe in asked for chunk in recipe.chunks])
        tasks = []
        for file, path in files:
            recipe = recipes[file.digest]
            near = places | _lying(path, earlier[file.name], places=places) if file.name in earlier else places
            tasks.append(_Task(file, path, recipe, [near[chunk] for chunk in recipe.chunks if chunk in near]))
        for task in sorted(tasks, key=lambda task: task.places[:1]):
            yield self._done(task.file, self._write(task))

    def _earlier(self, names: Sequence[str]) -> dict[str, Recipe]:
        """Find what those files that are to be replaced are made of, as far as that is known."""
        held = {name: digest for name in names if (digest := self._before(name)) is not None}
        recipes = self._index.find_recipes(list(held.values())) if held else {}
        return {name: recipes[digest] for name, digest in held.items() if digest in recipes}

    def _done(self, file: TreeFile, stat: os.stat_result) -> StoredFile:
        self._files, self._bytes = self._files + 1, self._bytes + file.size
        self._told(self._files, self._bytes)
        return StoredFile(file.name, file.digest, file.size, stat)

    def _write(self, task: _Task) -> os.stat_result:
        large = task.recipe.size > _LARGE
        data = b"" if large else self._small(task)  # what cannot be read is told as that, not as what cannot be written
        path, part = task.path, self._part(task.path)
        mode = 0o777 if task.file.executable else 0o666
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
            try:
                if large:
                    self._large(task, descriptor)
                else:
                    write_all(descriptor, data)
                if self._mtime_ns is not None:
                    os.utime(descriptor, ns=(self._mtime_ns, self._mtime_ns))
                os.rename(part, path)
                part = ""
                return os.fstat(descriptor)
            finally:
                os.close(descriptor)
                if part:
                    with suppress(FileNotFoundError):
                        os.unlink(part)
        except OSError as error:
            raise refusal(error, task.path) from error

    def _part(self, path: str) -> str:
        """Name a temporary file beside a path, in a folder that is there."""
        folder = os.path.dirname(path) or "."
        if folder not in self._made:
            try:
                os.makedirs(folder, exist_ok=True)
            except OSError as error:
                raise refusal(error, folder) from error
            self._made.add(folder)
        self._number += 1
        return f"{folder}/.kedge-{self._token}-{self._number}.part"

    def _small(self, task: _Task) -> bytes | memoryview:
        """Read a file; what is not as it should be is read again with all care."""
        if len(task.places) == len(task.recipe.chunks):
            pieces = [self._window.read(place) for place in task.places]
            if all(_is(piece, name) for piece, name in zip(pieces, task.recipe.chunks, strict=True)):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return b"".join(self._reader.read(task.file.digest, start=0, end=None))

    def _large(self, task: _Task, descriptor: int) -> None:
        """Have threads read and verify stretches of the file ahead, and write them in order: one writer, as writers of one
        file wait for each other."""
        places = task.places
        if len(places) != len(task.recipe.chunks):
            places = self._reader.places(task.file.digest, task.recipe.chunks)
        stretches = _stretches(task.recipe.chunks, places)
        buffers = [memoryview(bytearray(_STRETCH)) for _ in range(_BUFFERS)]
        coming: deque[tuple[memoryview, Future[bytes | memoryview]]] = deque()
        done = begun = 0
        with ThreadPoolExecutor(_READERS, "kedge-restore") as threads:
            try:
                while True:
                    while buffers and (one := next(stretches, None)) is not None:
                        buffer = buffers.pop()
                        coming.append((buffer, threads.submit(self._verified, task, one, buffer=buffer)))
                    if not coming:
                        return
                    buffer, verified = coming.popleft()
                    data = verified.result()
                    write_all(descriptor, data)
                    buffers.append(buffer)
                    done += len(data)
                    if done - begun >= _WRITEBACK:  # else the disk would begin at the rename, and that wait for it
                        start_writing(descriptor, begun, length=done - begun)
                        begun = done
                    self._told(self._files, self._bytes + done)
            finally:
                for _, one_more in coming:
                    one_more.cancel()

    def _verified(self, task: _Task, one: "_Stretch", *, buffer: memoryview) -> bytes | memoryview:
        """Give a stretch: a buffer whose every byte was verified there, or what is read with all care."""
        if self._read(one, buffer):
            return buffer[: one.size]
        places = self._reader.places(task.file.digest, one.names)
        data = b"".join(self._reader.chunks(task.file.digest, one.names, places=places))
        if len(data) != one.size:
            raise StoreBroken(f"the index has wrong lengths for blob {task.file.digest}; put it back from a backup")
        return data

    def _read(self, one: "_Stretch", buffer: memoryview) -> bool:
        """Read a stretch, neighbours with one read; say whether every chunk is what its name says."""
        at = 0
        try:
            for pack, offset, length in _runs(one.places):
                pack_file = os.open(self._folder / pack, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
                try:
                    if os.preadv(pack_file, [buffer[at : at + length]], offset) != length:
                        return False
                finally:
                    os.close(pack_file)
                at += length
        except OSError:
            return False
        at = 0
        for name, place in zip(one.names, one.places, strict=True):
            if not _is(buffer[at : at + place.length], name):
                return False
            at += place.length
        return True

    def _link(self, file: TreeFile, path: str) -> os.stat_result:
        part = self._part(path)
        try:
            os.symlink(file.link, part)
            os.rename(part, path)
            return os.lstat(path)
        except OSError as error:
            with suppress(FileNotFoundError):
                os.unlink(part)
            raise refusal(error, path) from error


class _Window:
    """Reads chunks that lie near one another with one read for many."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pack, self._descriptor = "", -1
        self._start = self._size = 0
        self._buffer = memoryview(b"")

    def __enter__(self) -> "_Window":
        self._buffer = memoryview(bytearray(_WINDOW))
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()

    def _let_go(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._pack, self._descriptor, self._size = "", -1, 0

    def read(self, place: ChunkPlace) -> memoryview:
        """Read a chunk; less than it where it cannot be read. Good until the next read of another place."""
        if place.length > len(self._buffer):
            return memoryview(b"")
        try:
            if place.pack != self._pack:
                self._let_go()
                self._descriptor = os.open(self._folder / place.pack, os.O_RDONLY)
                self._pack = place.pack
            if not self._start <= place.offset <= place.offset + place.length <= self._start + self._size:
                self._start = place.offset
                self._buffer = memoryview(bytearray(_WINDOW))  # the last one may still be read from
                self._size = os.preadv(self._descriptor, [self._buffer], self._start)
        except OSError:
            return memoryview(b"")
        at = place.offset - self._start
        return self._buffer[at : min(at + place.length, self._size)]


def _lying(path: str, recipe: Recipe, *, places: Mapping[Digest, ChunkPlace]) -> dict[Digest, ChunkPlace]:
    """Tell where the chunks of a file in the workspace lie, as if it were a pack; they are verified like any."""
    found: dict[Digest, ChunkPlace] = {}
    start, whole = 0, os.path.abspath(path)
    for chunk in recipe.chunks:
        if chunk not in places:
            break
        found[chunk] = ChunkPlace(whole, start, places[chunk].length)
        start += places[chunk].length
    return found


def _stretches(names: Sequence[Digest], places: Sequence[ChunkPlace]) -> Iterator[_Stretch]:
    """Cut a file into stretches that fit a buffer, at the borders of its chunks."""
    first = size = 0
    for number, place in enumerate(places):
        if size and size + place.length > _STRETCH:
            yield _Stretch(size, tuple(names[first:number]), tuple(places[first:number]))
            first, size = number, 0
        size += place.length
    if size:
        yield _Stretch(size, tuple(names[first:]), tuple(places[first:]))


def _runs(places: Iterable[ChunkPlace]) -> Iterator[ChunkPlace]:
    """Join places that lie end to end."""
    run: ChunkPlace | None = None
    for place in places:
        if run is not None and run.pack == place.pack and run.offset + run.length == place.offset:
            run = ChunkPlace(run.pack, run.offset, run.length + place.length)
        else:
            if run is not None:
                yield run
            run = place
    if run is not None:
        yield run


def _is(piece: memoryview, name: Digest) -> bool:
    return blake3(piece).hexdigest() == name
