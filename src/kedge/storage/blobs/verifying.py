"""Every chunk against its name: which bytes of which pack are not what was written, and mending them from a bucket."""

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.errors import StoreBroken
from kedge.ports import Damage, Told
from kedge.storage.blobs.holding import hold
from kedge.storage.blobs.index import ChunkIndex, ChunkPlace
from kedge.storage.blobs.packs import PackWriter
from kedge.storage.blobs.traffic import RemotePlace, Traffic
from kedge.storage.durable import refusal

_TOGETHER = 100  # packs whose places are held in memory at a time
_BLOBS = 5000
_PACK_BYTES = 64 << 20

_Bad = tuple[Digest, ChunkPlace, str]
_Packs = dict[str, list[tuple[int, int, Digest]]]


def verify(
    folder: Path, index: ChunkIndex, *, told: Told, expect: Told, blobs: Iterable[Digest] | None = None
) -> Iterator[Damage]:
    """Read every chunk, or those that these blobs are made of, and give what is damaged, with the blobs made of it.

    `expect` is told once of the chunks and bytes there are.
    """
    done = size = 0
    with ThreadPoolExecutor(2, "kedge-verify") as threads:
        for packs in _scanned(index, expect) if blobs is None else _named(index, blobs, expect=expect):
            found = threads.map(lambda item: bad_places(folder, item[0], places=item[1]), packs.items())
            for pack, bad in zip(packs, found, strict=True):
                done, size = done + len(packs[pack]), size + sum(length for _, length, _ in packs[pack])
                told(done, size)
                yield from _damages(index, bad)


def _scanned(index: ChunkIndex, expect: Told) -> Iterator[_Packs]:
    """Give what each pack holds, some packs at a time."""
    sizes: dict[str, tuple[int, int]] = {}
    for _, place in index.scan():
        count, size = sizes.get(place.pack, (0, 0))
        sizes[place.pack] = count + 1, size + place.length
    expect(sum(count for count, _ in sizes.values()), sum(size for _, size in sizes.values()))
    names = sorted(sizes)
    for start in range(0, len(names), _TOGETHER):
        packs: _Packs = {}
        for digest, place in index.scan(set(names[start : start + _TOGETHER])):
            packs.setdefault(place.pack, []).append((place.offset, place.length, digest))
        yield packs


def _named(index: ChunkIndex, blobs: Iterable[Digest], *, expect: Told) -> Iterator[_Packs]:
    """Give where the chunks of some blobs lie."""
    packs: _Packs = {}
    seen: set[bytes] = set()
    size = 0
    rest = iter(blobs)
    while some := list(islice(rest, _BLOBS)):
        wanted = {chunk for recipe in index.find_recipes(some).values() for chunk in recipe.chunks}
        for digest, place in index.find_many(sorted(wanted)).items():
            if (raw := bytes.fromhex(digest)) not in seen:
                seen.add(raw)
                size += place.length
                packs.setdefault(place.pack, []).append((place.offset, place.length, digest))
    expect(len(seen), size)
    yield packs


def mend(folder: Path, index: ChunkIndex, *, traffic: Traffic, chunks: set[Digest]) -> set[Digest]:
    """Write damaged chunks anew, from where a bucket has them whole; give those. Raises StoreFull, Unreachable."""
    with hold(folder.parent):  # what is erased meanwhile must not come back
        return _mend(folder, index, traffic=traffic, chunks=set(index.find_many(sorted(chunks))))


def _mend(folder: Path, index: ChunkIndex, *, traffic: Traffic, chunks: set[Digest]) -> set[Digest]:
    packs: dict[str, dict[Digest, RemotePlace]] = {}
    for digest, place in traffic.find(chunks).items():
        packs.setdefault(place.pack, {})[digest] = place
    writer, mended = PackWriter(folder, limit=_PACK_BYTES), set[Digest]()
    try:
        for pack, places in packs.items():
            data = _whole(traffic, pack, places=places)
            try:
                moved = writer.write((digest, memoryview(piece)) for digest, piece in data.items())
            except OSError as error:
                raise refusal(error, folder) from error
            index.move(moved)
            writer.release()
            mended.update(moved)
    finally:
        writer.close()
    return mended


class Mending:
    """Mends what a reader finds damaged, from a bucket. Threads may share it."""

    def __init__(self, folder: Path, index: ChunkIndex, *, traffic: Traffic) -> None:
        self._folder, self._index, self._traffic = folder, index, traffic
        self._one = threading.Lock()
        self.mended = 0

    def place(self, chunk: Digest) -> ChunkPlace | None:
        """Give the place of a chunk that is whole again, with all else that is damaged in its pack; None where the bucket
        does not have it."""
        with self._one:  # another thread may have mended it meanwhile
            place = self._index.find_many([chunk]).get(chunk)
            if place is None or not bad_places(self._folder, place.pack, places=[(place.offset, place.length, chunk)]):
                return place
            places = [(there.offset, there.length, digest) for digest, there in self._index.scan({place.pack})]
            bad = {digest for digest, _, _ in bad_places(self._folder, place.pack, places=places)}
            mended = mend(self._folder, self._index, traffic=self._traffic, chunks=bad)
            self.mended += len(mended)
            return self._index.find_many([chunk]).get(chunk) if chunk in mended else None


def _whole(traffic: Traffic, pack: str, *, places: dict[Digest, RemotePlace]) -> dict[Digest, bytes]:
    """Fetch chunks of one pack of a bucket; where some are damaged or lost there too, the others."""
    try:
        return traffic.fetch(places, pack)
    except StoreBroken:
        data: dict[Digest, bytes] = {}
        for digest, place in places.items():
            with suppress(StoreBroken):  # it stays damaged, and is told as that
                data |= traffic.fetch({digest: place}, pack)
        return data


def bad_places(folder: Path, pack: str, *, places: list[tuple[int, int, Digest]]) -> list[_Bad]:
    """Find the chunks of one pack that are not what their names say."""
    places.sort()
    try:
        descriptor = os.open(folder / pack, os.O_RDONLY)
    except OSError as error:
        why = f"the pack cannot be read: {error.strerror}"
        return [(digest, ChunkPlace(pack, offset, length), why) for offset, length, digest in places]
    bad: list[_Bad] = []
    try:
        for offset, length, digest in places:
            try:
                piece = os.pread(descriptor, length, offset)
            except OSError as error:
                bad.append((digest, ChunkPlace(pack, offset, length), f"it cannot be read: {error.strerror}"))
                continue
            if blake3(piece).hexdigest() != digest:
                why = "its bytes have changed" if len(piece) == length else "the pack is too short"
                bad.append((digest, ChunkPlace(pack, offset, length), why))
    finally:
        os.close(descriptor)
    return bad


def _damages(index: ChunkIndex, bad: Sequence[_Bad]) -> Iterator[Damage]:
    if not bad:
        return
    now = index.find_many([digest for digest, _, _ in bad])
    bad = [one for one in bad if now.get(one[0]) == one[1]]  # what was moved or removed meanwhile is no damage
    blobs: dict[Digest, list[Digest]] = {digest: [] for digest, _, _ in bad}
    for blob, chunks in index.made_of(set(blobs)):
        for chunk in chunks:
            blobs[chunk].append(blob)
    for digest, place, why in bad:
        yield Damage(digest, place.pack, place.offset, place.length, tuple(blobs[digest]), why)
