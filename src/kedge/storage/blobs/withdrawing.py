"""Takes blobs out of a bucket: packs that hold their chunks are written anew without them. The caller is alone there.

    pack and index without the chunks -> old index goes -> old pack goes      for each pack
    recipes without the blobs -> old recipes go                                last: they say which chunks are dead
A kill anywhere loses nothing, for what stays is there twice before it goes once; and the same again finishes it: chunks
that no recipe names, and packs that no index names, are taken for what was left, and go too.
"""

import msgspec

from kedge.domain.ids import Digest
from kedge.errors import StoreBroken
from kedge.ports import Bucket, Told
from kedge.storage.blobs.leases import Lease
from kedge.storage.blobs.traffic import INDEXES, PACKS, RECIPES, RemotePlace, Traffic, index_of, name_of_pack


class Withdrawal:
    """A bucket that nobody else writes to meanwhile."""

    def __init__(self, traffic: Traffic, bucket: Bucket, *, lease: Lease) -> None:
        self._traffic, self._bucket, self._lease = traffic, bucket, lease

    def require(self) -> None:
        """Raise Conflict where others took this process for dead."""
        self._lease.require()

    def remove(self, blobs: set[Digest], *, told: Told) -> int:
        """Remove blobs and what only they are made of; give the bytes that went."""
        return withdraw(self._traffic, self._bucket, blobs=blobs, lease=self._lease, told=told)


def withdraw(traffic: Traffic, bucket: Bucket, *, blobs: set[Digest], lease: Lease, told: Told) -> int:
    """Remove blobs and all chunks that no other blob is made of; give the bytes that went."""
    dead = {bytes.fromhex(blob) for blob in blobs}
    live: set[bytes] = set()
    amended: list[tuple[str, list[tuple[bytes, int, bytes]]]] = []
    for name in traffic.names(RECIPES):
        recipes = traffic.recipes(name)
        kept = [recipe for recipe in recipes if recipe[0] not in dead]
        for _, _, chunks in kept:
            live.update(chunks[at : at + 32] for at in range(0, len(chunks), 32))
        if len(kept) < len(recipes):
            amended.append((name, kept))
    names = traffic.names(INDEXES)
    packs = freed = 0
    for name in names:
        lease.require()
        if gone := _rewrite(traffic, bucket, name=name, live=live):
            packs, freed = packs + 1, freed + gone
            told(packs, freed)
    lease.require()
    indexed = set(traffic.names(INDEXES))
    for path, size in list(bucket.list(PACKS)):
        if path.rpartition("/")[2] not in indexed:  # of an erasure or a push that was killed
            bucket.delete(path)
            freed += size
    for name, kept in amended:
        lease.require()
        if kept:
            data = msgspec.msgpack.encode(kept)
            bucket.put(f"{RECIPES}/{name_of_pack(data)}", data)
        bucket.delete(f"{RECIPES}/{name}")
        traffic.forget(RECIPES, name)
    return freed


def _rewrite(traffic: Traffic, bucket: Bucket, *, name: str, live: set[bytes]) -> int:
    """Write a pack anew without what no recipe names; give the bytes that this leaves out."""
    places: dict[Digest, RemotePlace] = {}
    at = dead = 0
    for chunk, length in traffic.rows(name):
        if chunk in live:
            places.setdefault(Digest(chunk.hex()), RemotePlace(name, at, length))
        else:
            dead += length
        at += length
    if not dead:
        return 0
    if places:
        pieces = traffic.fetch(places, name)  # each verified: nothing that is damaged takes the place of a copy
        data = b"".join(pieces.values())
        new = name_of_pack(data)
        bucket.put(f"{PACKS}/{new}", data)
        bucket.put(f"{INDEXES}/{new}", index_of(list(pieces), list(pieces.values())))
        if bucket.size(f"{PACKS}/{new}") != len(data):
            raise StoreBroken(f"{bucket.url} did not keep packs/{new}; nothing was removed from {name}: run the same again")
    bucket.delete(f"{INDEXES}/{name}")
    bucket.delete(f"{PACKS}/{name}")
    traffic.forget(INDEXES, name)
    return dead
