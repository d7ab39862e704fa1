"""Content-addressed blobs: each is cut into chunks, each chunk is kept once, and every read is verified.

    blob -> recipe (chunk, chunk, ...) -> place (pack, offset, length) -> bytes in a pack

Chunks reach their pack and are synced before the index names them; so the index never names what is not there, and a
kill at any moment leaves at most bytes that nobody names. A tree is a blob too: a JSON list of its files.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.errors import NotFound, StoreBroken
from kedge.ports import StoredFile, Told, TreeFile
from kedge.storage.blobs.cut import cut
from kedge.storage.blobs.holding import hold
from kedge.storage.blobs.incoming import IncomingBlob, sweep
from kedge.storage.blobs.index import ChunkIndex, ChunkPlace, Recipe
from kedge.storage.blobs.intake import Intake
from kedge.storage.blobs.packs import PackWriter, read
from kedge.storage.blobs.restoring import restore
from kedge.storage.blobs.trees import read_entries, read_manifest, require_plain, write_entries, write_manifest
from kedge.storage.durable import refusal

_THREADED = 1 << 20  # from this size on, hashing by several threads pays
_READ_AT_ONCE = 8  # chunks: about 512 KiB
_FOUND_AT_ONCE = 1000


class ChunkStore:
    """A blob store in a folder, with its index elsewhere. Threads and processes may share it."""

    def __init__(self, root: Path, index: ChunkIndex, *, pack_bytes: int = 64 << 20) -> None:
        self._folder = Path(root) / "packs"
        self._index = index
        self._pack_bytes = pack_bytes
        self._writer = PackWriter(self._folder, limit=pack_bytes)
        self._writing = threading.Lock()

    def put(self, data: bytes) -> Digest:
        """Keep a blob and give its name; it survives a power cut on return. What is known is not written again."""
        return self._put_all([data])[0]

    def get(self, digest: Digest) -> bytes:
        """Read a blob. Raises NotFound; StoreBroken with pack and offset where a bit has changed."""
        recipe = self._recipe(digest)
        pieces = self._read(recipe.chunks)
        data = b"".join(pieces)
        if _name(data) != digest:
            raise self._damage(recipe, pieces)
        return data

    def has(self, digest: Digest) -> bool:
        """Tell whether a blob is there."""
        return _is_digest(digest) and self._index.find_blob(digest) is not None

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

    def put_files(self, files: Iterable[tuple[str, Path]], *, told: Told) -> Iterator[StoredFile]:
        """Keep files in the order given; each is safe when it is given. Raises SourceFailed, FileChanged, StoreFull."""
        return Intake(self._folder, self._index, pack_bytes=self._pack_bytes, told=told).take(files)

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

    def restore(self, files: Iterable[tuple[TreeFile, Path]], *, told: Told) -> Iterator[StoredFile]:
        """Write files of a tree to paths. Raises NotFound, StoreBroken, StoreFull."""
        return restore(files, told, read=self.read)

    def keeping(self) -> AbstractContextManager[None]:
        """Let nothing be removed while files are kept that no version names yet."""
        return hold(self._folder.parent)

    def alone(self) -> AbstractContextManager[None]:
        """Let nobody else keep files. Raises Conflict where someone does so for long."""
        return hold(self._folder.parent, alone=True)

    def size(self, digest: Digest) -> int:
        """Tell the size of a blob in bytes. Raises NotFound."""
        return self._recipe(digest).size

    def read(self, digest: Digest, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Read the bytes from `start` to before `end`, some MiB at a time. Raises NotFound, or StoreBroken on the way."""
        recipe = self._recipe(digest)
        return self._pieces(recipe, start, end=recipe.size if end is None else min(end, recipe.size))

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
        recipes = [self._recipe(part) for part in parts]
        whole = blake3()
        for part in parts:
            for piece in self.read(part):
                whole.update(piece)
        digest = Digest(whole.hexdigest())
        if not self.has(digest):
            chunks = tuple(chunk for recipe in recipes for chunk in recipe.chunks)
            self._index.add({}, {digest: Recipe(sum(recipe.size for recipe in recipes), chunks)})
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
        digests = [_name(data) for data in blobs]
        known = self._index.find_blobs(digests) if reclaimable else self._index.claim(digests)
        new = {digest: data for digest, data in zip(digests, blobs, strict=True) if digest not in known}
        if new:
            with self._writing:
                self._write(new, reclaimable=reclaimable)
        return digests

    def _write(self, blobs: Mapping[Digest, bytes], *, reclaimable: bool) -> None:
        cuts = {digest: [(_name(chunk), chunk) for chunk in cut(data)] for digest, data in blobs.items()}
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

    def _recipe(self, digest: Digest) -> Recipe:
        recipe = self._index.find_blob(digest) if _is_digest(digest) else None
        if recipe is None:
            raise NotFound(f"no blob {digest} in {self._folder.parent}; was it written to another store?")
        return recipe

    def _pieces(self, recipe: Recipe, start: int, *, end: int) -> Iterator[bytes]:
        """Read some chunks at a time, from the one that holds `start`; each is verified by its name."""
        number, at = self._chunk_with(recipe.chunks, start)
        places: list[ChunkPlace] = []
        while at < end and number < len(recipe.chunks):
            if not places:
                places = self._places(recipe.chunks[number : number + _FOUND_AT_ONCE])
            names = recipe.chunks[number : number + min(_READ_AT_ONCE, len(places))]
            pieces = read(self._folder, places[: len(names)])
            places = places[len(names) :]
            if any(_name(piece) != name for name, piece in zip(names, pieces, strict=True)):
                raise self._damage(Recipe(0, names), pieces)
            data = b"".join(pieces)
            yield data[max(0, start - at) : end - at]
            at += len(data)
            number += len(names)

    def _chunk_with(self, chunks: Sequence[Digest], start: int) -> tuple[int, int]:
        """Find which chunk holds a byte of the blob, and at which byte of the blob that chunk begins."""
        number = at = 0
        while start and number < len(chunks):
            names = chunks[number : number + _FOUND_AT_ONCE]
            for place in self._places(names):
                if at + place.length > start:
                    return number, at
                at += place.length
                number += 1
        return number, at

    def _places(self, chunks: Sequence[Digest]) -> list[ChunkPlace]:
        places = self._index.find_many(chunks)
        if lost := set(chunks) - set(places):
            raise StoreBroken(f"the index has no place for chunk {min(lost)}; put the metadata store back from a backup")
        return [places[chunk] for chunk in chunks]

    def _read(self, chunks: Sequence[Digest]) -> list[bytes]:
        return read(self._folder, self._places(chunks))

    def _damage(self, recipe: Recipe, pieces: Sequence[bytes]) -> StoreBroken:
        """Find which chunk is not what was written."""
        for chunk, piece in zip(recipe.chunks, pieces, strict=True):
            if _name(piece) != chunk:
                place = self._index.find_many([chunk])[chunk]
                return StoreBroken(
                    f"pack {self._folder / place.pack} is damaged in the {place.length} bytes at offset {place.offset}:"
                    f" they are not chunk {chunk}; put the pack back from a backup"
                )
        return StoreBroken("the index names wrong chunks for a blob; put the metadata store back from a backup")


def _name(data: bytes | memoryview) -> Digest:
    threads = blake3.AUTO if len(data) >= _THREADED else 1
    return Digest(blake3(data, max_threads=threads).hexdigest())


def _is_digest(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")
