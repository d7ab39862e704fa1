"""Memory that the processes of one data plane share: each counts in a segment of its own, anyone adds them up.

    segment = 8 doubles (used bytes, state, beat, called at, 4 free), then series
    series  = key length (u32) | number of doubles (u32) | key, padded to 8 bytes | the doubles

A process writes its own segment only, so nothing is locked; a double is written whole. What a killed process counted
stays where it is, and the process that takes its segment over counts on from there: a sum never goes down.
"""

import mmap
import struct
import threading
from collections.abc import Iterator
from enum import IntEnum

_HEAD = struct.Struct("<II")
_FIRST = 8 * 8
_USED, _STATE, _BEAT, _CALLED = range(4)


class WorkerState(IntEnum):
    """Where a process stands. 0 is a segment that nobody writes."""

    GONE = 0
    STARTING = 1
    READY = 2
    DRAINING = 3


class Segment:
    """One process's part of a board."""

    def __init__(self, memory: memoryview) -> None:
        self._memory, self._doubles = memory, memory.cast("d")
        self._series: dict[bytes, memoryview[float]] = dict(self.items())
        self._making = threading.Lock()

    @property
    def state(self) -> WorkerState:
        """Tell where its process stands."""
        return WorkerState(int(self._doubles[_STATE]))

    @state.setter
    def state(self, state: WorkerState) -> None:
        self._doubles[_STATE] = state

    @property
    def beat(self) -> float:
        """Tell when its process last showed that it lives: seconds on the machine's monotonic clock."""
        return self._doubles[_BEAT]

    @beat.setter
    def beat(self, now: float) -> None:
        self._doubles[_BEAT] = now

    @property
    def called(self) -> float:
        """Tell since when a model is being called, on the same clock; 0 while none is."""
        return self._doubles[_CALLED]

    @called.setter
    def called(self, since: float) -> None:
        self._doubles[_CALLED] = since

    @property
    def used(self) -> int:
        """Count the bytes of its series: more of them where there is a series more."""
        return int(self._doubles[_USED])

    def take(self, *, now: float) -> None:
        """Make it a new process's: its counts go on, and where it stands begins anew."""
        self.called, self.beat, self.state = 0.0, now, WorkerState.STARTING

    def leave(self) -> None:
        """Make it nobody's, counts and all staying."""
        self.state, self.called = WorkerState.GONE, 0.0

    def series(self, key: bytes, size: int) -> "memoryview[float]":
        """Give the doubles of a key, made of zeros when first asked for. Raises MemoryError where the segment is full."""
        with self._making:
            if (known := self._series.get(key)) is None:
                known = self._series[key] = self._make(key, size)
            return known

    def _make(self, key: bytes, size: int) -> "memoryview[float]":
        at = _FIRST + int(self._doubles[_USED])
        begin = at + _HEAD.size + -len(key) % 8 + len(key)
        end = begin + 8 * size
        if end > len(self._memory):
            raise MemoryError(f"a worker counts in {len(self._memory)} bytes, which are full")
        self._memory[at + _HEAD.size : at + _HEAD.size + len(key)] = key
        _HEAD.pack_into(self._memory, at, len(key), size)
        self._doubles[_USED] = end - _FIRST  # last: a reader in another process sees whole series only
        return self._doubles[begin // 8 : end // 8]

    def items(self) -> Iterator[tuple[bytes, "memoryview[float]"]]:
        """Read every series, whoever made it."""
        at, end = _FIRST, _FIRST + int(self._doubles[_USED])
        while at < end:
            length, size = _HEAD.unpack_from(self._memory, at)
            begin = at + _HEAD.size + -length % 8 + length
            key = bytes(self._memory[at + _HEAD.size : at + _HEAD.size + length])
            at = begin + 8 * size
            yield key, self._doubles[begin // 8 : at // 8]


class Board:
    """Segments in memory that forked processes share; it goes when the last of them ends."""

    def __init__(self, segments: int = 1, *, segment_bytes: int = 8 << 20) -> None:
        # Pages come into being when they are written: what is not used costs nothing.
        whole = memoryview(mmap.mmap(-1, segments * segment_bytes))
        self.segments = [Segment(whole[each * segment_bytes : (each + 1) * segment_bytes]) for each in range(segments)]
