"""The index of the chunk store: where each chunk lies, and of which chunks each blob is made.

Digests are kept as raw bytes, a blob's recipe as its chunks' digests end to end. The first place of a chunk counts: a
second writer of the same chunk changes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, func, select

from kedge.domain.ids import Digest
from kedge.storage.blobs.index import ChunkPlace, Recipe
from kedge.storage.sql import dialect, schema
from kedge.storage.sql.connections import Connections

_BATCH = 1000  # digests in one query: below the number of parameters that any SQLite allows
_DIGEST_BYTES = 32

_chunks, _blobs = schema.chunks, schema.blobs
_places = select(_chunks).where(_chunks.c.digest.in_(bindparam("digests", expanding=True)))
_recipe = select(_blobs.c.size, _blobs.c.chunks).where(_blobs.c.digest == bindparam("digest"))
_blob_count = select(func.count()).select_from(_blobs)
_chunk_totals = select(func.count(), func.coalesce(func.sum(_chunks.c.length), 0)).select_from(_chunks)


class Totals(NamedTuple):
    """What the index holds: blobs, chunks, and the bytes of all chunks."""

    blobs: int
    chunks: int
    bytes: int


class SqlChunks:
    """The index of the chunk store (`storage.blobs.index.ChunkIndex`)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def find_many(self, digests: Sequence[Digest]) -> dict[Digest, ChunkPlace]:
        """Find the places of those chunks that are there."""
        raw = [bytes.fromhex(digest) for digest in dict.fromkeys(digests)]
        found: dict[Digest, ChunkPlace] = {}
        with self._connections.reading() as connection:
            for start in range(0, len(raw), _BATCH):
                for row in connection.execute(_places, {"digests": raw[start : start + _BATCH]}):
                    found[Digest(row.digest.hex())] = ChunkPlace(row.pack, row.offset, row.length)
        return found

    def find_blob(self, digest: Digest) -> Recipe | None:
        """Find what a blob is made of."""
        with self._connections.reading() as connection:
            row = connection.execute(_recipe, {"digest": bytes.fromhex(digest)}).first()
        return Recipe(row.size, _split(row.chunks)) if row is not None else None

    def add(self, places: Mapping[Digest, ChunkPlace], blob: Digest, *, recipe: Recipe) -> None:
        """Write places of chunks and a blob's recipe in one transaction; what is already there stays."""
        # In order of digest, so that two writers of the same chunks never wait for each other in a circle.
        rows = [
            {"digest": bytes.fromhex(digest), "pack": place.pack, "offset": place.offset, "length": place.length}
            for digest, place in sorted(places.items())
        ]
        whole = {"digest": bytes.fromhex(blob), "size": recipe.size, "chunks": bytes.fromhex("".join(recipe.chunks))}
        with self._connections.writing() as connection:
            dialect.insert_new(connection, _chunks, rows=rows)
            dialect.insert_new(connection, _blobs, rows=[whole])

    def totals(self) -> Totals:
        """Count blobs, chunks and bytes."""
        with self._connections.reading() as connection:
            blobs = connection.execute(_blob_count).scalar_one()
            chunks, size = connection.execute(_chunk_totals).one()
        return Totals(blobs, chunks, int(size))


def _split(raw: bytes) -> tuple[Digest, ...]:
    digits = raw.hex()
    step = 2 * _DIGEST_BYTES
    return tuple(Digest(digits[start : start + step]) for start in range(0, len(digits), step))
