"""What the chunk store must remember: where each chunk lies, and of which chunks a blob is made."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from kedge.domain.ids import Digest


class ChunkPlace(NamedTuple):
    """Where a chunk lies: the name of its pack, offset and length there in bytes."""

    pack: str
    offset: int
    length: int


class Recipe(NamedTuple):
    """What a blob is made of: its size in bytes, and the digests of its chunks in order."""

    size: int
    chunks: tuple[Digest, ...]


class ChunkIndex(Protocol):
    """The index. What `add` wrote is there after a kill and after a power cut, all of it or nothing."""

    def find_many(self, digests: Sequence[Digest]) -> dict[Digest, ChunkPlace]:
        """Find the places of those chunks that are there."""
        ...

    def find_blob(self, digest: Digest) -> Recipe | None:
        """Find what a blob is made of."""
        ...

    def find_recipes(self, digests: Sequence[Digest]) -> dict[Digest, Recipe]:
        """Find what those blobs that are there are made of."""
        ...

    def find_blobs(self, digests: Sequence[Digest]) -> dict[Digest, int]:
        """Find the sizes of those blobs that are there."""
        ...

    def add(
        self, places: Mapping[Digest, ChunkPlace], recipes: Mapping[Digest, Recipe], *, reclaimable: bool = False
    ) -> set[Digest]:
        """Write places of chunks and recipes of blobs in one transaction; what is already there stays.

        Chunks that a recipe names, but that are neither given nor there (any more), are returned; nothing is written then.
        Blobs that are not reclaimable stop being so where they were.
        """
        ...

    def scan(self, packs: set[str] | None = None) -> Iterator[tuple[Digest, ChunkPlace]]:
        """Give all chunks, or those in these packs, in no order."""
        ...

    def reclaimable(self) -> Iterator[tuple[Digest, int]]:
        """Give the blobs that are reclaimable, with their sizes."""
        ...

    def made_of(self, chunks: set[Digest]) -> Iterator[tuple[Digest, set[Digest]]]:
        """Give the blobs that are made of any of these chunks, and of which."""
        ...

    def remove(self, blobs: Iterable[Digest]) -> int:
        """Remove blobs, and all chunks that no blob is made of then, in one transaction; give the number of chunks."""
        ...

    def move(self, places: Mapping[Digest, ChunkPlace]) -> None:
        """Change the places of chunks that are there, in one transaction."""
        ...

    def claim(self, digests: Sequence[Digest]) -> set[Digest]:
        """Let blobs no longer be reclaimable; give those that are there."""
        ...
