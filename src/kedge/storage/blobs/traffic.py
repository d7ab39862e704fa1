"""Blobs on their way to a bucket and back. Only chunks that the other side lacks travel, about 64 MB at a time.

    packs/NAME     chunks end to end                                   NAME: BLAKE3 of the bytes
    indexes/NAME   digest and length of each chunk of packs/NAME       written once the pack is there
    recipes/NAME   blobs: digest, size, digests of their chunks        written once all their chunks are there

Nothing is changed but by an erasure (`withdrawing.py`), and names follow from content: so pushers need not know of one
another, and one that is killed goes on where it was. What the listings name was read once is kept beside the store, for
it never changes.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec
from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.errors import NotFound, StoreBroken
from kedge.ports import Bucket, Told, Travelled
from kedge.storage.blobs.index import ChunkIndex, ChunkPlace, Recipe
from kedge.storage.blobs.packs import PackWriter
from kedge.storage.blobs.reading import ChunkReader
from kedge.storage.durable import make_folder, refusal

PACKS, INDEXES, RECIPES = "packs", "indexes", "recipes"
_ROW = struct.Struct("<32sI")
_TOGETHER = 5000
_TRIES = 3
_IN_FLIGHT = 2
_SMALL_IN_FLIGHT = 8
_WHOLE = 0.5  # share of a pack that is wanted, from which on it is read whole
_recipe = msgspec.msgpack.Decoder(list[tuple[bytes, int, bytes]])


class _PackGone(StoreBroken):
    """A pack that an index named is not there."""


class RemotePlace(NamedTuple):
    """Where a chunk lies in a bucket."""

    pack: str
    offset: int
    length: int


class Traffic:
    """Sends blobs to a bucket and fetches them, for one call."""

    def __init__(self, folder: Path, index: ChunkIndex, *, reader: ChunkReader, bucket: Bucket, pack_bytes: int) -> None:
        self._folder, self._index, self._reader, self._bucket = folder, index, reader, bucket
        self._pack_bytes = pack_bytes
        at = hashlib.blake2b(bucket.url.encode(), digest_size=12).hexdigest()
        self._seen = folder.parent / "remotes" / at

    def push(self, digests: Iterable[Digest], told: Told) -> Travelled:
        """Send blobs with all that they are made of. Raises NotFound for one that is not here, Unreachable."""
        there = {chunk for name in self.names(INDEXES) for chunk, _ in self.rows(name)}
        known = {blob for name in self.names(RECIPES) for blob, _, _ in self.recipes(name)}
        recipes: list[tuple[bytes, int, bytes]] = []
        sending = _Sending(self._bucket, self._pack_bytes, told=told)
        with sending:
            for some in _some(digests):
                found = self._index.find_recipes(some)
                if lost := [digest for digest in some if digest not in found]:
                    raise NotFound(f"no blob {lost[0]} in {self._folder.parent}; it cannot be pushed")
                for digest, recipe in found.items():
                    if (raw := bytes.fromhex(digest)) not in known:
                        known.add(raw)
                        recipes.append((raw, recipe.size, bytes.fromhex("".join(recipe.chunks))))
                        for names, pieces in self._missing(digest, recipe, there=there):
                            sending.send(names, pieces)
        for start in range(0, len(recipes), 100_000):
            data = msgspec.msgpack.encode(sorted(recipes[start : start + 100_000]))
            self._bucket.put(f"{RECIPES}/{_name(data)}", data)
        return Travelled(len(recipes), sending.chunks, sending.bytes)

    def pull(self, digests: Iterable[Digest], told: Told) -> Travelled:
        """Fetch blobs that are not here. Raises NotFound for one that the bucket has not, StoreBroken, Unreachable."""
        wanted = {digest for some in _some(digests) for digest in set(some) - self._index.find_blobs(some).keys()}
        recipes = self._find_recipes(wanted)
        if lost := wanted - recipes.keys():
            raise NotFound(f"no blob {min(lost)} in {self._bucket.url}; push it from a store that has it")
        chunks = {chunk for recipe in recipes.values() for chunk in recipe.chunks}
        writer, count, size = PackWriter(self._folder, limit=self._pack_bytes), 0, 0
        try:
            for left in reversed(range(_TRIES)):
                here = {chunk for some in _some(chunks) for chunk in self._index.find_many(some)}
                chunks -= here
                try:
                    for data in self._fetched(self.find(chunks)):
                        places = self._keep(writer, data)
                        count, size = count + len(data), size + sum(place.length for place in places.values())
                        told(count, size)
                    break
                except _PackGone:  # an erasure has put its chunks into another meanwhile
                    if not left:
                        raise
            for some in _some(recipes):
                if lost := self._index.add({}, {digest: recipes[digest] for digest in some}, reclaimable=True):
                    raise StoreBroken(f"{self._bucket.url} names no pack with chunk {min(lost)}; push again from the source")
        finally:
            writer.close()
        return Travelled(len(recipes), count, size)

    def find(self, chunks: set[Digest]) -> dict[Digest, RemotePlace]:
        """Find where chunks lie in the bucket."""
        found: dict[Digest, RemotePlace] = {}
        raw = {bytes.fromhex(chunk) for chunk in chunks}
        for name in self.names(INDEXES):
            if len(found) == len(raw):
                break
            at = 0
            for chunk, length in self.rows(name):
                if chunk in raw:
                    found.setdefault(Digest(chunk.hex()), RemotePlace(name, at, length))
                at += length
        return found

    def fetch(self, places: Mapping[Digest, RemotePlace], pack: str) -> dict[Digest, bytes]:
        """Read chunks that lie in one pack of the bucket, and verify them. Raises StoreBroken."""
        name, spans = f"{PACKS}/{pack}", [(place.offset, place.offset + place.length) for place in places.values()]
        size = max(end for _, end in spans)
        if sum(place.length for place in places.values()) >= _WHOLE * size:
            whole = self._bucket.get(name)
            pieces = None if whole is None else [whole[start:end] for start, end in spans]
        else:
            pieces = self._bucket.get_spans(name, spans)
        if pieces is None:
            raise _PackGone(f"{self._bucket.url} has lost {name}; push again from a store that has the data")
        for (digest, place), piece in zip(places.items(), pieces, strict=True):
            if _name(piece) != digest:
                raise StoreBroken(
                    f"{name} in {self._bucket.url} is damaged in the {place.length} bytes at offset {place.offset};"
                    " nothing of it was kept: put the object back from a copy"
                )
        return dict(zip(places, pieces, strict=True))

    def _fetched(self, places: Mapping[Digest, RemotePlace]) -> Iterator[dict[Digest, bytes]]:
        """Read packs side by side."""
        packs: dict[str, dict[Digest, RemotePlace]] = {}
        for digest, place in sorted(places.items(), key=lambda item: item[1]):
            packs.setdefault(place.pack, {})[digest] = place
        waiting = iter(packs)
        coming: list[Future[dict[Digest, bytes]]] = []
        with ThreadPoolExecutor(_IN_FLIGHT, "kedge-pull") as threads:
            try:
                coming.extend(threads.submit(self.fetch, packs[pack], pack) for pack in islice(waiting, _IN_FLIGHT))
                while coming:
                    yield coming.pop(0).result()
                    coming.extend(threads.submit(self.fetch, packs[pack], pack) for pack in islice(waiting, 1))
            finally:
                for one in coming:
                    one.cancel()

    def _keep(self, writer: PackWriter, data: Mapping[Digest, bytes]) -> dict[Digest, ChunkPlace]:
        try:
            places = writer.write((digest, memoryview(piece)) for digest, piece in data.items())
        except OSError as error:
            raise refusal(error, self._folder) from error
        self._index.add(places, {})  # a pull that is killed goes on after these
        writer.release()
        return places

    def _missing(
        self, digest: Digest, recipe: Recipe, *, there: set[bytes]
    ) -> Iterator[tuple[Sequence[Digest], Sequence[bytes]]]:
        """Read those chunks of a blob that the bucket lacks, some at a time; they count as there from now on."""
        names = []
        for chunk in recipe.chunks:
            if (raw := bytes.fromhex(chunk)) not in there:
                there.add(raw)
                names.append(chunk)
        for start in range(0, len(names), 32):
            some = names[start : start + 32]
            yield some, self._reader.chunks(digest, some, places=self._reader.places(digest, some))

    def _find_recipes(self, wanted: set[Digest]) -> dict[Digest, Recipe]:
        found: dict[Digest, Recipe] = {}
        for name in self.names(RECIPES) if wanted else ():
            for blob, size, raw in self.recipes(name):
                if (digest := Digest(blob.hex())) in wanted and digest not in found:
                    digits = raw.hex()
                    found[digest] = Recipe(size, tuple(Digest(digits[at : at + 64]) for at in range(0, len(digits), 64)))
        return found

    def names(self, folder: str) -> list[str]:
        """List what a folder of the bucket holds, with what is new of it read beside one another."""
        names = sorted(path.rpartition("/")[2] for path, _ in self._bucket.list(folder))
        new = [name for name in names if not (self._seen / folder / name).exists()]
        if new:
            make_folder(self._seen / folder)
            with ThreadPoolExecutor(_SMALL_IN_FLIGHT, "kedge-list") as threads:
                list(threads.map(lambda name: self._see(folder, name), new))
        return names

    def _see(self, folder: str, name: str) -> None:
        data = self._bucket.get(f"{folder}/{name}")
        if data is None:
            return  # it was taken away since it was listed
        if folder == RECIPES and _name(data) != name:
            raise StoreBroken(f"{folder}/{name} in {self._bucket.url} is damaged; put the object back from a copy")
        if folder == INDEXES and (len(data) < 32 or blake3(data[:-32]).digest() != data[-32:]):
            raise StoreBroken(f"{folder}/{name} in {self._bucket.url} is damaged; put the object back from a copy")
        part = self._seen / folder / f".{name}.part"
        part.write_bytes(data)
        part.rename(self._seen / folder / name)

    def forget(self, folder: str, name: str) -> None:
        """Keep no copy of what the bucket does not have any more."""
        (self._seen / folder / name).unlink(missing_ok=True)

    def rows(self, name: str) -> Iterator[tuple[bytes, int]]:
        """List the chunks of a pack, each with its length."""
        path = self._seen / INDEXES / name
        return _ROW.iter_unpack(path.read_bytes()[:-32]) if path.exists() else iter(())

    def recipes(self, name: str) -> list[tuple[bytes, int, bytes]]:
        """List blobs, each with its size and the digests of its chunks, end to end."""
        path = self._seen / RECIPES / name
        return _recipe.decode(path.read_bytes()) if path.exists() else []


class _Sending:
    """Gathers chunks into packs and sends them side by side."""

    def __init__(self, bucket: Bucket, pack_bytes: int, *, told: Told) -> None:
        self._bucket, self._pack_bytes, self._told = bucket, pack_bytes, told
        self._threads = ThreadPoolExecutor(_IN_FLIGHT, "kedge-push")
        self._on_the_way: list[Future[tuple[int, int]]] = []
        self._pieces: list[bytes] = []
        self._names: list[Digest] = []
        self._size = self.chunks = self.bytes = 0

    def __enter__(self) -> "_Sending":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if error is None:
                self._begin()
                self._settle(0)
        finally:
            self._threads.shutdown(cancel_futures=True)

    def send(self, names: Sequence[Digest], pieces: Sequence[bytes]) -> None:
        """Take chunks."""
        self._names.extend(names)
        self._pieces.extend(pieces)
        self._size += sum(map(len, pieces))
        if self._size >= self._pack_bytes:
            self._begin()
            self._settle(_IN_FLIGHT - 1)

    def _begin(self) -> None:
        if self._names:
            rows = index_of(self._names, self._pieces)
            data = b"".join(self._pieces)
            self._on_the_way.append(self._threads.submit(self._put, data, rows))
            self._names, self._pieces, self._size = [], [], 0

    def _put(self, data: bytes, rows: bytes) -> tuple[int, int]:
        name = _name(data)
        if self._bucket.size(f"{PACKS}/{name}") != len(data):  # else a push that was killed has sent it
            self._bucket.put(f"{PACKS}/{name}", data)
        self._bucket.put(f"{INDEXES}/{name}", rows)
        return (len(rows) - 32) // _ROW.size, len(data)

    def _settle(self, most: int) -> None:
        while len(self._on_the_way) > most:
            chunks, size = self._on_the_way.pop(0).result()
            self.chunks, self.bytes = self.chunks + chunks, self.bytes + size
            self._told(self.chunks, self.bytes)


def _some(digests: Iterable[Digest]) -> Iterator[list[Digest]]:
    rest = iter(digests)
    while some := list(islice(rest, _TOGETHER)):
        yield some


def index_of(names: Sequence[Digest], pieces: Sequence[bytes]) -> bytes:
    """Write the index of a pack of these chunks."""
    rows = b"".join(_ROW.pack(bytes.fromhex(name), len(piece)) for name, piece in zip(names, pieces, strict=True))
    return rows + blake3(rows).digest()


def name_of_pack(data: bytes) -> Digest:
    """Name an object of packs or recipes by its bytes."""
    return _name(data)


def _name(data: bytes) -> Digest:
    return Digest(blake3(data).hexdigest())
