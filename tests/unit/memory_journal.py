"""A journal in memory, for tests that are not about files; the contract suite holds it to what files do."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from kedge.domain.ids import PredictionId
from kedge.domain.records import decode_request
from kedge.ports import Position

HEAD_BYTES = 8


class MemoryJournal:
    """One segment, the same offsets as in a file."""

    def __init__(self) -> None:
        self._records: list[tuple[Position, bytes]] = []
        self._end = 0

    def open(self) -> None:
        """Do nothing: memory is open."""

    def append(self, payload: bytes) -> Position:
        """Keep one record."""
        if not payload:
            raise ValueError("a journal's record holds at least one byte")
        self._end += HEAD_BYTES + len(payload)
        position = Position("000000000001-memory.log", self._end)
        self._records.append((position, bytes(payload)))
        return position

    def append_all(self, payloads: Sequence[bytes]) -> Position:
        """Keep records, all or none."""
        if not payloads:
            raise ValueError("there is no record to append")
        if not all(payloads):
            raise ValueError("a journal's record holds at least one byte")
        return [self.append(payload) for payload in payloads][-1]

    def sync(self) -> None:
        """Do nothing: memory survives no power cut."""

    def tend(self) -> None:
        """Do nothing: there is one segment."""

    def find(self, prediction: PredictionId) -> bytes | None:
        """Find the first record of a prediction's request."""
        request = prediction.rpartition(".")[0]
        return next((payload for _, payload in self._records if decode_request(payload) == request), None)

    def scan(
        self, after: Mapping[str, int] | None = None, *, since: datetime | None = None
    ) -> Iterator[tuple[Position, bytes]]:
        """Read the records that were there when the scan began."""
        start = max((after or {}).values(), default=0)
        first = len(self._records)
        while first and self._records[first - 1][0].end > start:
            first -= 1
        yield from self._records[first:]

    def close(self) -> None:
        """Do nothing: what was appended can still be read."""
