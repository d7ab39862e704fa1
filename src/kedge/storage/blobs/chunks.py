"""Content-addressed blobs: each is cut into chunks, each chunk is kept once, and every read is verified.

    blob -> recipe (chunk, chunk, ...) -> place (pack, offset, length) -> bytes in a pack

Chunks reach their pack and are synced before the index names them; so the index never names what is not there, and a
kill at any moment leaves at most bytes that nobody names. A tree is a blob too: a JSON list of its files.
"""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.errors import NotFound, StoreBroken
from kedge.storage.blobs.cut import cut
from kedge.storage.blobs.index import ChunkIndex, Recipe
from kedge.storage.blobs.packs import PackWriter, read
from kedge.storage.blobs.trees import read_manifest, require_plain, write_manifest
from kedge.storage.durable import refusal

_THREADED = 1 << 20  # from this size on, hashing by several threads pays


class ChunkStore:
    """A blob store in a folder, with its index elsewhere. Threads and processes may share it."""

    def __init__(self, root: Path, index: ChunkIndex, *, pack_bytes: int = 64 << 20) -> None:
        self._folder = Path(root) / "packs"
        self._index = index
        self._writer = PackWriter(self._folder, limit=pack_bytes)
        self._writing = threading.Lock()

    def put(self, data: bytes) -> Digest:
        """Keep a blob and give its name; it survives a power cut on return. What is known is not written again."""
        return self._put_all([data])[0]

    def get(self, digest: Digest) -> bytes:
        """Read a blob. Raises NotFound; StoreBroken with pack and offset where a bit has changed."""
        recipe = self._index.find_blob(digest) if _is_digest(digest) else None
        if recipe is None:
            raise NotFound(f"no blob {digest} in {self._folder.parent}; was it written to another store?")
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
        return self.put(write_manifest(files, digests))

    def get_tree(self, digest: Digest) -> dict[str, bytes]:
        """Read all files of a tree. Raises NotFound; StoreBroken where the blob is no manifest."""
        return {file.name: self.get(file.digest) for file in read_manifest(self.get(digest), digest)}

    def close(self) -> None:
        """Let go of the pack that is being written."""
        with self._writing:
            self._writer.close()

    def _put_all(self, blobs: Sequence[bytes]) -> list[Digest]:
        """Keep blobs with one sync for all of them."""
        digests = [_name(data) for data in blobs]
        new = {digest: data for digest, data in zip(digests, blobs, strict=True) if not self.has(digest)}
        if new:
            with self._writing:
                self._write(new)
        return digests

    def _write(self, blobs: Mapping[Digest, bytes]) -> None:
        cuts = {digest: [(_name(chunk), chunk) for chunk in cut(data)] for digest, data in blobs.items()}
        chunks = dict(chunk for pieces in cuts.values() for chunk in pieces)
        known = self._index.find_many(list(chunks))
        missing = [item for item in chunks.items() if item[0] not in known]
        try:
            places = self._writer.write(missing) if missing else {}
        except OSError as error:
            raise refusal(error, self._folder) from error
        for digest, pieces in cuts.items():
            names = tuple(name for name, _ in pieces)
            added = {name: places[name] for name in names if name in places}
            self._index.add(added, digest, recipe=Recipe(len(blobs[digest]), names))

    def _read(self, chunks: Sequence[Digest]) -> list[bytes]:
        places = self._index.find_many(chunks)
        if lost := set(chunks) - set(places):
            raise StoreBroken(f"the index has no place for chunk {min(lost)}; put the metadata store back from a backup")
        return read(self._folder, [places[chunk] for chunk in chunks])

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
