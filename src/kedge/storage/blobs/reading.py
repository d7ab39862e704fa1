"""Chunks on their way out: every one is verified by its name.

A reader holds no lock. Where a chunk is not what its name says, or its pack is gone, its place is looked up again: it may
have been moved or removed meanwhile. If it is where it was, it is damaged: then it is fetched from where there is another
copy, or told.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.errors import NotFound, StoreBroken
from kedge.storage.blobs.index import ChunkIndex, ChunkPlace, Recipe

_READ_AT_ONCE = 8  # chunks: about 512 KiB
_FOUND_AT_ONCE = 1000
_TRIES = 5
_ADVICE = (
    "`kedge data verify` names all that is damaged, and `kedge data verify --remote URL` (or kedge data pull --mend) fetches"
    " it from a bucket that has it; else put the pack back from a backup"
)

Mend = Callable[[Digest], ChunkPlace | None]


class ChunkReader:
    """Reads blobs. `mend` is asked for another place of a damaged chunk."""

    def __init__(self, folder: Path, index: ChunkIndex, *, mend: Mend) -> None:
        self._folder, self._index, self._mend = folder, index, mend

    def recipe(self, digest: Digest) -> Recipe:
        """Tell what a blob is made of. Raises NotFound."""
        recipe = self._index.find_blob(digest) if is_digest(digest) else None
        if recipe is None:
            raise NotFound(f"no blob {digest} in {self._folder.parent}; was it written to another store?")
        return recipe

    def read(self, digest: Digest, *, start: int, end: int | None) -> Iterator[bytes]:
        """Read the bytes from `start` to before `end`. Raises NotFound, or StoreBroken on the way."""
        recipe = self.recipe(digest)
        return self._pieces(digest, recipe, start=start, end=recipe.size if end is None else min(end, recipe.size))

    def places(self, digest: Digest, chunks: Sequence[Digest]) -> list[ChunkPlace]:
        """Find where a blob's chunks lie. Raises StoreBroken, or NotFound where it was removed meanwhile."""
        places = self._index.find_many(chunks)
        if lost := set(chunks) - set(places):
            self.recipe(digest)
            raise StoreBroken(f"the index has no place for chunk {min(lost)}; put the metadata store back from a backup")
        return [places[chunk] for chunk in chunks]

    def chunks(self, digest: Digest, names: Sequence[Digest], *, places: list[ChunkPlace]) -> list[bytes]:
        """Read some chunks of a blob."""
        pieces: list[bytes | str] = list(read_places(self._folder, places))
        for _ in range(_TRIES):
            bad = [at for at, (name, piece) in enumerate(zip(names, pieces, strict=True)) if not _is(piece, name)]
            if not bad:
                return [piece for piece in pieces if isinstance(piece, bytes)]
            fresh = self.places(digest, [names[at] for at in bad])
            for at, place in zip(bad, fresh, strict=True):
                if place == places[at]:
                    place = self._mended(names[at], place, why=pieces[at])  # noqa: PLW2901
                places[at] = place
            for at, piece in zip(bad, read_places(self._folder, [places[at] for at in bad]), strict=True):
                pieces[at] = piece
        raise StoreBroken(f"the chunks of blob {digest} keep moving; run `kedge data verify`")

    def _mended(self, name: Digest, place: ChunkPlace, *, why: bytes | str) -> ChunkPlace:
        if (mended := self._mend(name)) is not None:
            return mended
        raise damaged(self._folder, name, place=place, why=why)

    def _pieces(self, digest: Digest, recipe: Recipe, *, start: int, end: int) -> Iterator[bytes]:
        """Read some chunks at a time, from the one that holds `start`."""
        number, at = self._chunk_with(digest, recipe.chunks, start=start)
        places: list[ChunkPlace] = []
        while at < end and number < len(recipe.chunks):
            if not places:
                places = self.places(digest, recipe.chunks[number : number + _FOUND_AT_ONCE])
            names = recipe.chunks[number : number + min(_READ_AT_ONCE, len(places))]
            data = b"".join(self.chunks(digest, names, places=places[: len(names)]))
            places = places[len(names) :]
            yield data[max(0, start - at) : end - at]
            at += len(data)
            number += len(names)

    def _chunk_with(self, digest: Digest, chunks: Sequence[Digest], *, start: int) -> tuple[int, int]:
        """Find which chunk holds a byte of the blob, and at which byte of the blob that chunk begins."""
        number = at = 0
        while start and number < len(chunks):
            names = chunks[number : number + _FOUND_AT_ONCE]
            for place in self.places(digest, names):
                if at + place.length > start:
                    return number, at
                at += place.length
                number += 1
        return number, at


def read_places(folder: Path, places: Sequence[ChunkPlace]) -> Iterator[bytes | str]:
    """Read chunks, each pack opened once; where one cannot be read, say why."""
    packs: dict[str, int | str] = {}
    try:
        for pack, offset, length in places:
            if pack not in packs:
                try:
                    packs[pack] = os.open(folder / pack, os.O_RDONLY)
                except OSError as error:
                    packs[pack] = str(error.strerror)
            descriptor = packs[pack]
            if isinstance(descriptor, str):
                yield descriptor
                continue
            try:
                piece: bytes | str = os.pread(descriptor, length, offset)
            except OSError as error:
                piece = str(error.strerror)
            yield piece
    finally:
        for descriptor in packs.values():
            if isinstance(descriptor, int):
                os.close(descriptor)


def damaged(folder: Path, name: Digest, *, place: ChunkPlace, why: bytes | str) -> StoreBroken:
    """Say which bytes are not what was written."""
    if isinstance(why, str):
        return StoreBroken(f"cannot read pack {folder / place.pack}: {why}; {_ADVICE}")
    return StoreBroken(
        f"pack {folder / place.pack} is damaged in the {place.length} bytes at offset {place.offset}:"
        f" they are not chunk {name}; {_ADVICE}"
    )


def name_of(data: bytes | memoryview) -> Digest:
    """Name bytes. By one thread: those of BLAKE3's own pool do not outlive a fork, and a child would wait for them."""
    return Digest(blake3(data).hexdigest())


def is_digest(text: str) -> bool:
    """Say whether a text has the form of a name."""
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def _is(piece: bytes | str, name: Digest) -> bool:
    return isinstance(piece, bytes) and blake3(piece).hexdigest() == name
