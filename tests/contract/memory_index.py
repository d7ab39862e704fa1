"""A chunk index in memory, for tests that are not about SQL; the contract suite holds it to what SQL does."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from kedge.domain.ids import Digest
from kedge.storage.blobs.index import ChunkPlace, Recipe


class MemoryIndex:
    """An index in memory."""

    def __init__(self) -> None:
        self._places: dict[Digest, ChunkPlace] = {}
        self._blobs: dict[Digest, Recipe] = {}
        self._reclaimable: set[Digest] = set()

    def find_many(self, digests: Sequence[Digest]) -> dict[Digest, ChunkPlace]:
        """Find the places of those chunks that are there."""
        return {digest: self._places[digest] for digest in digests if digest in self._places}

    def find_blob(self, digest: Digest) -> Recipe | None:
        """Find what a blob is made of."""
        return self._blobs.get(digest)

    def find_recipes(self, digests: Sequence[Digest]) -> dict[Digest, Recipe]:
        """Find what those blobs that are there are made of."""
        return {digest: self._blobs[digest] for digest in digests if digest in self._blobs}

    def find_blobs(self, digests: Sequence[Digest]) -> dict[Digest, int]:
        """Find the sizes of those blobs that are there."""
        return {digest: self._blobs[digest].size for digest in digests if digest in self._blobs}

    def add(
        self, places: Mapping[Digest, ChunkPlace], recipes: Mapping[Digest, Recipe], *, reclaimable: bool = False
    ) -> set[Digest]:
        """Keep places and recipes; what is already there stays. Give the chunks that are nowhere, with nothing kept."""
        named = {chunk for recipe in recipes.values() for chunk in recipe.chunks}
        if lost := named - set(places) - set(self._places):
            return lost
        self._reclaimable |= {digest for digest in recipes if digest not in self._blobs} if reclaimable else set()
        self._places = {**places, **self._places}
        self._blobs = {**recipes, **self._blobs}
        if not reclaimable:
            self._reclaimable -= set(recipes)
        return set()

    def scan(self, packs: set[str] | None = None) -> Iterator[tuple[Digest, ChunkPlace]]:
        """Give all chunks, or those in these packs."""
        return iter([(d, place) for d, place in self._places.items() if packs is None or place.pack in packs])

    def reclaimable(self) -> Iterator[tuple[Digest, int]]:
        """Give the blobs that are reclaimable."""
        return iter([(digest, self._blobs[digest].size) for digest in sorted(self._reclaimable)])

    def made_of(self, chunks: set[Digest]) -> Iterator[tuple[Digest, set[Digest]]]:
        """Give the blobs that are made of any of these chunks."""
        return iter([(d, chunks & set(recipe.chunks)) for d, recipe in self._blobs.items() if chunks & set(recipe.chunks)])

    def remove(self, blobs: Iterable[Digest]) -> int:
        """Remove blobs and chunks that no blob is made of then."""
        for digest in blobs:
            self._blobs.pop(digest, None)
            self._reclaimable.discard(digest)
        named = {chunk for recipe in self._blobs.values() for chunk in recipe.chunks}
        before = len(self._places)
        self._places = {digest: place for digest, place in self._places.items() if digest in named}
        return before - len(self._places)

    def move(self, places: Mapping[Digest, ChunkPlace]) -> None:
        """Change places of chunks that are there."""
        self._places |= {digest: place for digest, place in places.items() if digest in self._places}

    def claim(self, digests: Sequence[Digest]) -> set[Digest]:
        """Let blobs no longer be reclaimable; give those that are there."""
        self._reclaimable -= set(digests)
        return set(digests) & set(self._blobs)
