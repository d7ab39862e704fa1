"""Bytes on their way to the end of a file, past the operating system's memory where they are many.

    bytes -> one buffer fills | a thread writes another to the disk, in whole blocks (O_DIRECT)

So a GiB is not copied into the page cache, the disk works from the first buffer on, and the sync at the end finds little
left to do. Few bytes, parts of a block, and file systems that cannot do this take the ordinary way.
"""

import errno
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from mmap import mmap
from queue import SimpleQueue

from kedge.storage.durable import write_all

BUFFER = 4 << 20
_BUFFERS = 3
_BLOCK = 4096
_WORTH = 1 << 20  # fewer bytes than this wait for the sync in the page cache
_DIRECT: int | None = getattr(os, "O_DIRECT", None)


class Buffers:
    """The memory that bytes wait in, for one file after another. It is taken when it is first needed."""

    def __init__(self) -> None:
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._made = 0

    def take(self) -> memoryview:
        """Give a buffer that starts at a page; where all are on their way to the disk, wait for one."""
        if self._free.empty() and self._made < _BUFFERS:
            self._made += 1
            return memoryview(mmap(-1, BUFFER))
        return self._free.get()

    def give_back(self, buffer: memoryview) -> None:
        """Have others use it."""
        self._free.put(buffer)


class Appender:
    """Appends to a file that nobody else writes. For one thread at a time."""

    def __init__(self, descriptor: int, buffers: Buffers) -> None:
        self._descriptor, self._buffers = descriptor, buffers
        self._direct: int | None = None
        self._buffer: memoryview | None = None
        self._first = self._last = 0  # where in the buffer the bytes lie; it begins where a block of the file does
        self._on_the_way: deque[Future[None]] = deque()
        self._owner = os.getpid()
        self.end = os.lseek(descriptor, 0, os.SEEK_END)

    def append(self, data: memoryview) -> None:
        """Put bytes at the end; their own memory may be used again at once. Raises OSError, also for bytes before them."""
        while len(data):
            if self._buffer is None:
                self._buffer = self._buffers.take()
                self._first = self._last = self.end % _BLOCK
            size = min(len(data), BUFFER - self._last)
            self._buffer[self._last : self._last + size] = data[:size]
            self._last += size
            self.end += size
            data = data[size:]
            if self._last == BUFFER:
                self._send()

    def flush(self) -> None:
        """Hand all of it to the operating system or the disk. Raises OSError."""
        if self._on_the_way:
            self._send()
        while self._on_the_way:
            self._on_the_way.popleft().result()
        if self._buffer is not None:
            buffer, self._buffer = self._buffer, None
            self._write(buffer, self._first, last=self._last, start=self.end - (self._last - self._first))

    def sync_later(self) -> Future[None]:
        """Hand all of it to the thread that writes, to be made safe against a power cut; the result raises OSError."""
        self._send()
        return _thread().submit(self._sync, list(self._on_the_way))

    def close(self) -> None:
        """Close the file once nothing writes to it any more; what did not reach it is lost."""
        if self._owner == os.getpid():  # a forked child has its parent's futures, and not the thread that ends them
            for each in self._on_the_way:
                each.exception()
        if self._buffer is not None:
            self._buffers.give_back(self._buffer)
            self._buffer = None
        for descriptor in (self._direct, self._descriptor):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)

    def _send(self) -> None:
        """Have the thread write what the buffer holds."""
        while self._on_the_way and self._on_the_way[0].done():
            self._on_the_way.popleft().result()
        if self._buffer is not None:
            start = self.end - (self._last - self._first)
            job = _thread().submit(self._write, self._buffer, self._first, last=self._last, start=start)
            self._on_the_way.append(job)
            self._buffer = None

    def _sync(self, before: list[Future[None]]) -> None:
        for each in before:
            each.result()
        os.fsync(self._descriptor)

    def _write(self, buffer: memoryview, first: int, *, last: int, start: int) -> None:
        """Write a part of a buffer to the end of the file, which is at `start`."""
        try:
            low, high = first + -first % _BLOCK, last - last % _BLOCK
            if high - low >= _WORTH and self._is_direct():
                if low > first:
                    write_all(self._descriptor, buffer[first:low])
                first = low + self._write_blocks(buffer[low:high], start + low - first)
            if last > first:
                write_all(self._descriptor, buffer[first:last])
        finally:
            self._buffers.give_back(buffer)

    def _write_blocks(self, data: memoryview, start: int) -> int:
        """Write whole blocks straight to the disk; give the bytes that were taken. Raises OSError."""
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._direct or 0, data[done:], start + done)
        except OSError as error:
            if error.errno != errno.EINVAL:  # which is how a disk says that its blocks are others
                raise
        return done

    def _is_direct(self) -> bool:
        """Open the file for writing straight to the disk, where that can be done."""
        if self._direct is None:
            self._direct = -1
            if _DIRECT is not None:
                with suppress(OSError):
                    self._direct = os.open(f"/proc/self/fd/{self._descriptor}", os.O_WRONLY | _DIRECT)
        return self._direct >= 0


_pool: tuple[int, ThreadPoolExecutor] | None = None


def _thread() -> ThreadPoolExecutor:
    """Give the one thread that writes and syncs, in the order it was told to; a forked child gets its own."""
    global _pool  # noqa: PLW0603 - one thread for all writers of a process
    if _pool is None or _pool[0] != os.getpid():
        _pool = os.getpid(), ThreadPoolExecutor(1, "kedge-write")
    return _pool[1]
