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


def test_a_recipe_whose_chunks_are_gone_is_not_written(store: SqlStore) -> None:
    here, gone = digests(2)
    store.chunks.add({here: ChunkPlace("pack", 0, 10)}, {digest_of("a"): Recipe(10, (here,))})
    assert store.chunks.add({}, {digest_of("b"): Recipe(20, (here, gone))}) == {gone}
    assert store.chunks.find_blobs([digest_of("a"), digest_of("b")]) == {digest_of("a"): 10}


def test_a_claimed_blob_is_no_longer_reclaimable(store: SqlStore) -> None:
    recipe, blobs = Recipe(0, ()), digests(4, "blob")
    store.chunks.add({}, dict.fromkeys(blobs[:3], recipe), reclaimable=True)
    assert dict(store.chunks.reclaimable()) == dict.fromkeys(blobs[:3], 0)
    assert store.chunks.claim([blobs[0], blobs[3]]) == {blobs[0]}
    store.chunks.add({}, dict.fromkeys(blobs[1:], recipe))
    assert dict(store.chunks.reclaimable()) == dict.fromkeys(blobs[2:2], 0)
    store.chunks.add({}, {blobs[3]: recipe}, reclaimable=True)
    assert dict(store.chunks.reclaimable()) == {}


def test_blobs_leave_with_the_chunks_that_no_other_is_made_of(store: SqlStore) -> None:
    many, orphan = digests(6000), digest_of("orphan")
    places = {chunk: ChunkPlace(f"pack-{at % 2}", at, 1) for at, chunk in enumerate(many)}
    store.chunks.add(places, {digest_of("a"): Recipe(6000, tuple(many)), digest_of("b"): Recipe(1, (many[7],))})
    store.chunks.add({orphan: ChunkPlace("pack-0", 9999, 1)}, {})
    assert dict(store.chunks.scan()) == {**places, orphan: ChunkPlace("pack-0", 9999, 1)}
    assert len(dict(store.chunks.scan({"pack-1"}))) == 3000
    assert dict(store.chunks.made_of({many[7], many[8]})) == {
        digest_of("a"): {many[7], many[8]},
        digest_of("b"): {many[7]},
    }
    assert store.chunks.remove([digest_of("a"), digest_of("never")]) == 6000
    assert dict(store.chunks.scan()) == {many[7]: places[many[7]]}
    store.chunks.move({many[7]: ChunkPlace("pack-9", 1, 1), many[8]: ChunkPlace("pack-9", 2, 1)})
    assert dict(store.chunks.scan()) == {many[7]: ChunkPlace("pack-9", 1, 1)}
