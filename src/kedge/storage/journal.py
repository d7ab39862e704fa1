"""Append logs of records: predictions and ground truth. A folder of segments, and of what was compacted out of them.

A writer opens a new segment each time it starts, whenever one has grown to its limit or its age, and when a file named
`close` asks for it; no two ever share one. So an offset in an old segment stays true even where a power cut took records
that were never synced. Closed segments become Parquet (`compacting.py`): a record keeps its segment and offset there, and
`scan` gives it at the same position as before.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from time import monotonic

from kedge.domain.ids import PredictionId, RequestId, split_prediction_id
from kedge.domain.records import decode_request
from kedge.errors import KedgeError
from kedge.ports import Position
from kedge.storage.segments import OwnSegment, frames_of, read_bytes, records_of, segments
from kedge.storage.shelf import ParquetShelf

CLOSE = "close"
"""The file whose touch asks every writer of a folder to close its segment."""
_MOST_RETIRED = 4
_TRIES = 5


class FileJournal:
    """A journal in a folder. Appends and syncs may come from several threads; readers need no writer and create nothing.

    `close_seconds` is the age at which a segment is closed; `shelf` has what was compacted.
    """

    def __init__(
        self,
        folder: Path,
        writer: str,
        *,
        segment_bytes: int = 16 << 20,
        close_seconds: float = float("inf"),
        shelf: ParquetShelf | None = None,
    ) -> None:
        if not writer or not writer.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"a journal's writer is named with letters, digits, - and _, not {writer!r}")
        self._folder, self._writer, self._limit, self._age = Path(folder), writer, segment_bytes, close_seconds
        self._shelf = shelf
        self._open: OwnSegment | None = None
        self._next: OwnSegment | None = None
        self._retired: list[OwnSegment] = []
        self._appending, self._syncing = threading.Lock(), threading.Lock()

    def open(self) -> None:
        """Open the segment before the first append, so that none waits for it. Raises StoreFull, StoreBroken."""
        with self._appending:
            if self._open is None:
                self._open = OwnSegment(self._folder, self._writer)

    def append(self, payload: bytes) -> Position:
        """Write one record; it has reached the operating system on return. Raises StoreFull, and nothing is written then."""
        return self._append(frames_of((payload,)))

    def append_all(self, payloads: Sequence[bytes]) -> Position:
        """Write records in one call of the operating system, all or none; give the place of the last. Raises StoreFull."""
        if not payloads:
            raise ValueError("there is no record to append")
        return self._append(frames_of(payloads))

    def _append(self, frames: bytes) -> Position:
        with self._appending:
            segment = self._open
            if segment is not None and (segment.end >= self._limit or segment.suspect):
                self._retire(segment)
                segment = None
            if segment is None:
                segment = self._open = self._next or OwnSegment(self._folder, self._writer)
                self._next = None
            return segment.append(frames)

    def _retire(self, segment: OwnSegment) -> None:
        """Put a full segment aside for the next sync to close: an append does not wait for the disk, unless nobody syncs."""
        self._open = None
        self._retired.append(segment)
        if len(self._retired) > _MOST_RETIRED:
            self._retired.pop(0).close()

    def sync(self) -> None:
        """Make all that was appended survive a power cut."""
        with self._syncing:
            # taken together: a segment that is put aside in this moment is in the one or in the other
            with self._appending:
                full, self._retired, segment = self._retired, [], self._open
            self._close_all(full)
            if segment is not None:
                segment.sync()

    def _close_all(self, full: list[OwnSegment]) -> None:
        """Close full segments, oldest first; those after one that cannot be closed wait for the next sync."""
        try:
            while full:
                full.pop(0).close()
        finally:
            if full:
                with self._appending:
                    self._retired[:0] = full

    def tend(self) -> None:
        """Close the segment where it has records and is old, or its closing was asked for; a later append opens another.
        One that is half full gets its next, so that no append waits for a folder to be synced."""
        segment = self._open
        if segment is None or not segment.end:
            return
        if monotonic() - segment.opened >= self._age or self._asked(segment):
            self.close()
        elif self._next is None and 2 * segment.end >= self._limit:
            self._open_next(segment)

    def _open_next(self, segment: OwnSegment) -> None:
        try:
            opened = OwnSegment(self._folder, self._writer)
        except KedgeError:  # who needs it tries again, and is told
            return
        with self._appending:
            if self._open is segment:
                self._next = opened
                return
        opened.close()  # another was faster, whose records would be read after those of this one

    def _asked(self, segment: OwnSegment) -> bool:
        try:
            return os.stat(self._folder / CLOSE).st_mtime_ns >= segment.opened_ns
        except OSError:
            return False

    def scan(
        self, after: Mapping[str, int] | None = None, *, since: datetime | None = None
    ) -> Iterator[tuple[Position, bytes]]:
        """Read whole records, segment by segment; what is compacted and all from before `since` may be left out.

        Raises StoreBroken where a record within a segment has changed.
        """
        starts = after or {}
        # in this order: what is compacted between the two is then found in both, and not in neither
        written = dict(segments(self._folder))
        compacted = self._shelf.ends() if self._shelf is not None else {}
        old = self._shelf.before(since) if self._shelf is not None and since is not None else frozenset()
        for name in sorted({*written, *compacted}):
            start = starts.get(name, 0)
            if name in old:
                continue
            if name in compacted:
                if compacted[name] > start:
                    yield from self._compacted(name, start)
            elif written[name] > start:
                yield from self._written(name, start, size=written[name])

    def find(self, prediction: PredictionId) -> bytes | None:
        """Find the first record of the request that a prediction belongs to. Raises StoreBroken."""
        parts = split_prediction_id(prediction)
        if parts is None:
            return None
        request, _ = parts
        for left in reversed(range(_TRIES)):
            try:
                return self._found(prediction, request)
            except FileNotFoundError:  # compacted, merged or erased since it was listed
                if not left:
                    raise
        return None

    def _found(self, prediction: PredictionId, request: RequestId) -> bytes | None:
        written = dict(segments(self._folder))
        compacted = self._shelf.ends() if self._shelf is not None else {}
        early = self._shelf.find(prediction) if self._shelf is not None else None
        for name in sorted(written):
            if early is not None and name > early.segment:
                break
            if name not in compacted and written[name]:
                path = self._folder / name
                for _, payload in records_of(read_bytes(path, size=written[name]), path):
                    if decode_request(payload) == request:
                        return payload
        return early.payload if early is not None else None

    def _written(self, name: str, start: int, *, size: int) -> Iterator[tuple[Position, bytes]]:
        path = self._folder / name
        try:
            raw = read_bytes(path, start, size=size)
        except FileNotFoundError:
            raw = b""
        # gone or shorter than when the folder was listed: compacted since then, or cut by its writer's next start
        if len(raw) < size - start and self._shelf is not None and name in self._shelf.ends():
            yield from self._compacted(name, start)
        else:
            yield from records_of(raw, path, start=start)

    def _compacted(self, name: str, start: int) -> Iterator[tuple[Position, bytes]]:
        if self._shelf is not None:
            for _, end, payload in self._shelf.records(name, start):
                yield Position(name, end), payload

    def close(self) -> None:
        """Sync and let go of the segment; a later append opens another."""
        with self._syncing:
            with self._appending:
                full = [*self._retired, *(each for each in (self._open, self._next) if each is not None)]
                self._retired, self._open, self._next = [], None, None
            self._close_all(full)
