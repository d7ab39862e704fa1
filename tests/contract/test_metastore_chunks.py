"""The index of the chunk store."""

from __future__ import annotations

import pytest

from kedge.domain.ids import Digest, digest_of
from kedge.storage.blobs.index import ChunkIndex, ChunkPlace, Recipe
from kedge.storage.sql import SqlStore


def digests(count: int, word: str = "chunk") -> list[Digest]:
    return [digest_of(word, at) for at in range(count)]


def test_a_blob_comes_back_with_its_chunks_in_order(store: SqlStore) -> None:
    blob, chunks = digest_of("blob"), digests(3)
    recipe = Recipe(60, (chunks[2], chunks[0], chunks[1], chunks[2]))
    places = {chunk: ChunkPlace("pack-1", 20 * at, 20) for at, chunk in enumerate(chunks)}
    assert store.chunks.find_blob(blob) is None
    assert store.chunks.add(places, {blob: recipe}) == set()
    assert store.chunks.find_blob(blob) == recipe
    assert store.chunks.find_many([chunks[1], digest_of("other"), chunks[1]]) == {chunks[1]: places[chunks[1]]}
    assert store.chunks.totals() == (1, 3, 60)


def test_is_what_the_chunk_store_asks_for(store: SqlStore) -> None:
    index: ChunkIndex = store.chunks
    assert index.find_blob(digest_of("blob")) is None


def test_an_empty_blob_has_no_chunks(store: SqlStore) -> None:
    assert store.chunks.totals() == (0, 0, 0)
    store.chunks.add({}, {digest_of("empty"): Recipe(0, ())})
    assert store.chunks.find_blob(digest_of("empty")) == Recipe(0, ())
    assert store.chunks.find_many([]) == {}


def test_the_first_place_of_a_chunk_counts(store: SqlStore) -> None:
    shared, new = digests(2)
    first = ChunkPlace("pack-1", 0, 10)
    store.chunks.add({shared: first}, {digest_of("a"): Recipe(10, (shared,))})
    store.chunks.add({shared: ChunkPlace("pack-2", 5, 10), new: first}, {digest_of("b"): Recipe(20, (shared, new))})
    store.chunks.add({}, {digest_of("b"): Recipe(99, ())})
    assert store.chunks.find_many([shared, new]) == {shared: first, new: first}
    assert store.chunks.find_blob(digest_of("b")) == Recipe(20, (shared, new))
    assert store.chunks.totals() == (2, 2, 20)


def test_many_chunks_and_large_offsets(store: SqlStore) -> None:
    many = digests(2500)
    places = {chunk: ChunkPlace("pack", 2**40 + at, 65536) for at, chunk in enumerate(many)}
    store.chunks.add(places, {digest_of("large"): Recipe(2500 * 65536, tuple(many))})
    assert store.chunks.find_many(many) == places
    assert store.chunks.find_blob(digest_of("large")) == Recipe(2500 * 65536, tuple(many))
    assert store.chunks.totals() == (1, 2500, 2500 * 65536)


def test_a_name_that_is_no_digest_is_refused(store: SqlStore) -> None:
    with pytest.raises(ValueError, match="hex"):
        store.chunks.find_blob(Digest("model"))
