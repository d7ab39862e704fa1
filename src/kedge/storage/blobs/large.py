"""A large file on its way into the store: cut and hashed by several threads, with the borders of one.

    block 0 |-----------------|~~~|            each block is read with a tail as long as the longest chunk
    block 1                   |-----------------|~~~|
    cuts    |...|.....|..|.......|...|....|..|......|

Two threads cut blocks from their first byte on. The last chunk of a block ends in the tail, where the next block's own
cutting began too early; from there on chunks are cut one by one until a border is one of that block's. Content sets the
borders, so that is soon.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.storage.blobs.cut import LARGEST, is_parquet, lengths
from kedge.storage.blobs.index import Recipe

BLOCK = 8 << 20
_CUTTERS = 2
_BUFFERS = 4


class Cut(NamedTuple):
    """A chunk within a buffer: its name, where it starts and how long it is."""

    name: Digest
    start: int
    length: int


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

    def take(self, descriptor: int, size: int) -> tuple[Digest, Recipe]:
        """Write the new chunks of a file of this size; give its name and what it is made of. Raises OSError.

        A file that turns out longer or shorter gives a recipe of another size.
        """
        parquet = is_parquet(os.pread(descriptor, 4, 0))
        starts = deque(range(0, size, BLOCK))
        on_the_way: deque[tuple[int, bytearray, Future[_Block]]] = deque()
        names: list[Digest] = []
        whole, done, border = blake3(), 0, 0
        try:
            while starts or on_the_way:
                while starts and self._buffers:
                    start, buffer = starts.popleft(), self._buffers.pop()
                    coming = self._cutters.submit(_cut, descriptor, start, buffer=buffer, parquet=parquet)
                    on_the_way.append((start, buffer, coming))
                start, buffer, coming = on_the_way.popleft()
                block = coming.result()
                hashing = self._hasher.submit(whole.update, block.data[:BLOCK])
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

    def close(self) -> None:
        """End the threads."""
        self._cutters.shutdown()
        self._hasher.shutdown()


def _cut(descriptor: int, start: int, *, buffer: bytearray, parquet: bool) -> _Block:
    """Read a block with its tail, and cut it from its first byte up to where the next begins."""
    if not buffer:
        buffer.extend(bytes(BLOCK + LARGEST))
    view, size = memoryview(buffer), 0
    while size < len(view) and (got := os.preadv(descriptor, [view[size:]], start + size)):
        size += got
    data, at, cuts = view[:size], 0, []
    for length in lengths(data, parquet=parquet):
        cuts.append(Cut(Digest(blake3(data[at : at + length]).hexdigest()), at, length))
        at += length
        if at >= BLOCK:
            break
    return _Block(data, cuts)


def _joined(block: _Block, border: int, *, parquet: bool) -> tuple[list[Cut], int]:
    """Give a block's chunks from the border that the last block left; and where they end."""
    own = {cut.start: number for number, cut in enumerate(block.cuts)}
    cuts: list[Cut] = []
    while border < min(len(block.data), BLOCK):
        if border in own:
            cuts.extend(block.cuts[own[border] :])
            return cuts, cuts[-1].start + cuts[-1].length
        length = next(lengths(block.data[border : border + LARGEST], parquet=parquet))
        cuts.append(Cut(Digest(blake3(block.data[border : border + length]).hexdigest()), border, length))
        border += length
    return cuts, border
