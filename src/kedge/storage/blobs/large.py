"""A large file on its way into the store: cut and hashed by several threads, with the borders of one.

    block 0 |-----------------|~~~|            each block is read with a tail as long as the longest chunk
    block 1                   |-----------------|~~~|
    cuts    |...|.....|..|.......|...|....|..|......|

Two threads cut blocks from their first byte on. The last chunk of a block ends in the tail, where the next block's own
cutting began too early; from there on chunks are cut one by one until a border is one of that block's. Content sets the
borders, so that is soon.

Where an earlier content of the file is known, a block is first held against it: a chunk that lies where one lay, counted
from the file's front or from its end, is hashed and not cut, and so are those behind it for as long as they are the same.
Of a file that only grew, the front is hashed once, as a whole.
"""

import os
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from typing import NamedTuple

from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.storage.blobs.cut import LARGEST, is_parquet, lengths
from kedge.storage.blobs.index import Recipe

BLOCK = 8 << 20
_CUTTERS = 2
_BUFFERS = 4
_LOOKS = 16  # chunks
_MANY = BLOCK // 1024  # chunks: more than a block of them holds


class Cut(NamedTuple):
    """A chunk within a buffer: its name, where it starts and how long it is."""

    name: Digest
    start: int
    length: int


class Earlier:
    """What a file held before: its name, the names of its chunks and where they began."""

    def __init__(self, digest: Digest, names: Sequence[Digest], *, lengths: Sequence[int]) -> None:
        self.digest, self.names, self.lengths = digest, names, lengths
        self.starts = list(accumulate(lengths, initial=0))
        self.size = self.starts.pop()
        self.numbers = {name: number for number, name in enumerate(names)}

    def from_start(self, start: int) -> int:
        """Number the first chunk that began there or behind it."""
        return bisect_left(self.starts, start)


NOTHING = Earlier(Digest(""), (), lengths=())


class _Block(NamedTuple):
    data: memoryview
    cuts: list[Cut]


Write = Callable[[memoryview, Sequence[Cut]], None]


class LargeFiles:
    """Reads large files with threads and buffers of its own. For one thread at a time."""

    def __init__(self, write: Write, told: Callable[[int], None]) -> None:
        self._write, self._told = write, told
        self._cutters = ThreadPoolExecutor(_CUTTERS, "kedge-cut")
        self._hasher = ThreadPoolExecutor(1, "kedge-hash")
        self._buffers = [bytearray() for _ in range(_BUFFERS)]

    def take(self, descriptor: int, size: int, *, earlier: Earlier = NOTHING) -> tuple[Digest, Recipe]:
        """Write the new chunks of a file of this size; give its name and what it is made of. Raises OSError.

        A file that turns out longer or shorter gives a recipe of another size.
        """
        parquet = is_parquet(os.pread(descriptor, 4, 0))
        whole, hashed, names, border = self._grown(descriptor, size, earlier=earlier)
        starts = deque(range(border, size, BLOCK))
        on_the_way: deque[tuple[int, bytearray, Future[_Block]]] = deque()
        done = border
        try:
            while starts or on_the_way:
                while starts and self._buffers:
                    start, buffer = starts.popleft(), self._buffers.pop()
                    coming = self._cutters.submit(
                        _cut, descriptor, start, buffer=buffer, parquet=parquet, size=size, earlier=earlier
                    )
                    on_the_way.append((start, buffer, coming))
                start, buffer, coming = on_the_way.popleft()
                block = coming.result()
                hashing = self._hasher.submit(whole.update, block.data[max(0, hashed - start) : BLOCK])
                try:
                    cuts, end = _joined(block, border - start, parquet=parquet)
                    names.extend(cut.name for cut in cuts)
                    self._write(block.data, cuts)
                    self._told(len(block.data[:BLOCK]))
                finally:
                    hashing.result()
                    self._buffers.append(buffer)
                done, border = start + min(len(block.data), BLOCK), start + end
        finally:
            for _, buffer, coming in on_the_way:
                coming.exception()
                self._buffers.append(buffer)
        extra = len(os.pread(descriptor, 1, done))
        return Digest(whole.hexdigest()), Recipe(done + extra, tuple(names))

    def _grown(self, descriptor: int, size: int, *, earlier: Earlier) -> tuple[blake3, int, list[Digest], int]:
        """See whether a file only grew. Give the hash of its front, how long that is, its chunks, and where they end.

        One hash proves the whole front; it is made only where a few chunks say that it will.
        """
        few = range(0, len(earlier.names) - 1, max(1, len(earlier.names) // _LOOKS))
        if not few or size < earlier.size or not all(_lies(descriptor, number, earlier=earlier) for number in few):
            return blake3(), 0, [], 0
        whole, reading = blake3(), deque[tuple[bytearray, Future[memoryview]]]()
        for start in range(0, earlier.size, BLOCK):
            buffer = self._buffers.pop()
            part = self._cutters.submit(_read, descriptor, start, buffer=buffer, size=min(BLOCK, earlier.size - start))
            reading.append((buffer, part))
            if not self._buffers:
                self._hash_next(whole, reading)
        while reading:
            self._hash_next(whole, reading)
        if whole.hexdigest() != earlier.digest:
            return blake3(), 0, [], 0
        kept = earlier.from_start(max(0, earlier.size - LARGEST))  # what ended its file may go on now
        return whole, earlier.size, list(earlier.names[:kept]), earlier.starts[kept] if kept else 0

    def _hash_next(self, whole: blake3, reading: "deque[tuple[bytearray, Future[memoryview]]]") -> None:
        buffer, part = reading.popleft()
        try:
            whole.update(part.result())
        finally:
            self._buffers.append(buffer)

    def close(self) -> None:
        """End the threads."""
        self._cutters.shutdown()
        self._hasher.shutdown()


def _read(descriptor: int, start: int, *, buffer: bytearray, size: int) -> memoryview:
    """Read so much of a file, or what there is of it."""
    if not buffer:
        buffer.extend(bytes(BLOCK + LARGEST))
    view, got = memoryview(buffer)[:size], 0
    while got < size and (more := os.preadv(descriptor, [view[got:]], start + got)):
        got += more
    return view[:got]


def _lies(descriptor: int, number: int, *, earlier: Earlier) -> bool:
    """Say whether a chunk lies where it lay."""
    data = os.pread(descriptor, earlier.lengths[number], earlier.starts[number])
    return _name(memoryview(data)) == earlier.names[number]


def _cut(descriptor: int, start: int, *, buffer: bytearray, parquet: bool, size: int, earlier: Earlier) -> _Block:
    """Read a block with its tail, and cut it up to where the next begins: from its first byte on, or from the first
    chunk that lies there as it lay before."""
    data, cuts = _read(descriptor, start, buffer=buffer, size=BLOCK + LARGEST), list[Cut]()
    for shift in (0, size - earlier.size):
        number = earlier.from_start(start - shift)
        if number < len(earlier.names) and (at := earlier.starts[number] + shift - start) < BLOCK:
            cuts = _same(data, at, number=number, earlier=earlier, left=size - start)
        if cuts:
            break
    at = _end(cuts)
    while at < min(len(data), BLOCK):
        new = _new(data, at, parquet=parquet, earlier=earlier)
        number = earlier.numbers.get(new[-1].name, len(earlier.names)) + 1
        same = _same(data, _end(new), number=number, earlier=earlier, left=size - start)
        cuts += new + same
        at = _end(cuts)
    return _Block(data, cuts)


def _same(data: memoryview, at: int, *, number: int, earlier: Earlier, left: int) -> list[Cut]:
    """Give the chunks of a block from there on that are those from a number on of what was before.

    `left` is where the file ends. The last chunk of before ended with its file, and not where content set a border.
    """
    cuts: list[Cut] = []
    for name, length in zip(earlier.names[number : number + _MANY], earlier.lengths[number : number + _MANY], strict=True):
        last = number + len(cuts) + 1 == len(earlier.names)
        if at >= BLOCK or at + length > len(data) or (last and at + length != left) or _name(data[at : at + length]) != name:
            break
        cuts.append(Cut(name, at, length))
        at += length
    return cuts


def _new(data: memoryview, at: int, *, parquet: bool, earlier: Earlier) -> list[Cut]:
    """Cut a block from there on, up to a chunk that was there before."""
    cuts: list[Cut] = []
    for length in lengths(data[at:], parquet=parquet):
        cuts.append(Cut(_name(data[at : at + length]), at, length))
        at += length
        if at >= BLOCK or cuts[-1].name in earlier.numbers:
            break
    return cuts


def _name(data: memoryview) -> Digest:
    return Digest(blake3(data).hexdigest())


def _end(cuts: Sequence[Cut]) -> int:
    return cuts[-1].start + cuts[-1].length if cuts else 0


def _joined(block: _Block, border: int, *, parquet: bool) -> tuple[list[Cut], int]:
    """Give a block's chunks from the border that the last block left; and where they end."""
    own = {cut.start: number for number, cut in enumerate(block.cuts)}
    cuts: list[Cut] = []
    while border < min(len(block.data), BLOCK):
        if border in own:
            cuts.extend(block.cuts[own[border] :])
            return cuts, _end(cuts)
        length = next(lengths(block.data[border : border + LARGEST], parquet=parquet))
        cuts.append(Cut(_name(block.data[border : border + length]), border, length))
        border += length
    return cuts, border
