"""A chunk index in memory, for tests that are not about SQL; the contract suite holds it to what SQL does."""

from collections.abc import Mapping, Sequence

from kedge.domain.ids import Digest
from kedge.storage.blobs.index import ChunkPlace, Recipe


class MemoryIndex:
    """An index in memory."""

    def __init__(self) -> None:
        self._places: dict[Digest, ChunkPlace] = {}
        self._blobs: dict[Digest, Recipe] = {}

    def find_many(self, digests: Sequence[Digest]) -> dict[Digest, ChunkPlace]:
        """Find the places of those chunks that are there."""
        return {digest: self._places[digest] for digest in digests if digest in self._places}

    def find_blob(self, digest: Digest) -> Recipe | None:
        """Find what a blob is made of."""
        return self._blobs.get(digest)

    def add(self, places: Mapping[Digest, ChunkPlace], blob: Digest, recipe: Recipe) -> None:
        """Keep places and recipe; what is already there stays."""
        self._places = {**places, **self._places}
        self._blobs.setdefault(blob, recipe)
