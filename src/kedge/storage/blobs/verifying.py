"""Every chunk against its name: which bytes of which pack are not what was written, and mending them from a bucket."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.ports import Damage, Told
from kedge.storage.blobs.index import ChunkIndex, ChunkPlace
from kedge.storage.blobs.packs import PackWriter
from kedge.storage.blobs.traffic import RemotePlace, Traffic
from kedge.storage.durable import refusal

_TOGETHER = 100  # packs whose places are held in memory at a time
_PACK_BYTES = 64 << 20

_Bad = tuple[Digest, ChunkPlace, str]


def verify(folder: Path, index: ChunkIndex, *, told: Told) -> Iterator[Damage]:
    """Read every chunk and give what is damaged, with the blobs that are made of it."""
    names = sorted({place.pack for _, place in index.scan()})
    done = size = 0
    with ThreadPoolExecutor(2, "kedge-verify") as threads:
        for start in range(0, len(names), _TOGETHER):
            packs: dict[str, list[tuple[int, int, Digest]]] = {}
            for digest, place in index.scan(set(names[start : start + _TOGETHER])):
                packs.setdefault(place.pack, []).append((place.offset, place.length, digest))
            found = threads.map(lambda item: _bad(folder, item[0], places=item[1]), packs.items())
            for pack, bad in zip(packs, found, strict=True):
                done, size = done + len(packs[pack]), size + sum(length for _, length, _ in packs[pack])
                told(done, size)
                yield from _damages(index, bad)


def mend(folder: Path, index: ChunkIndex, *, traffic: Traffic, chunks: set[Digest]) -> int:
    """Write damaged chunks anew, from where a bucket has them; give their number. Raises StoreBroken, Unreachable."""
    packs: dict[str, dict[Digest, RemotePlace]] = {}
    for digest, place in traffic.find(chunks).items():
        packs.setdefault(place.pack, {})[digest] = place
    writer, mended = PackWriter(folder, limit=_PACK_BYTES), 0
    try:
        for pack, places in packs.items():
            data = traffic.fetch(places, pack)
            try:
                moved = writer.write((digest, memoryview(piece)) for digest, piece in data.items())
            except OSError as error:
                raise refusal(error, folder) from error
            index.move(moved)
            writer.release()
            mended += len(moved)
    finally:
        writer.close()
    return mended


def _bad(folder: Path, pack: str, *, places: list[tuple[int, int, Digest]]) -> list[_Bad]:
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
