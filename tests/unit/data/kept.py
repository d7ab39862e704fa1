"""A room of tables on a store in memory, with a clock that moves on by a minute a look."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kedge.adapters.delta.lake import DeltaLake
from kedge.data.tables.versions import TableVersions
from kedge.domain.ids import Digest
from kedge.ports import TreeFile
from kedge.storage.blobs.memory import MemoryBlobs
from kedge.storage.sql import SqlStore, open_store
from kedge.storage.tables import PolarsTables

START = datetime(2026, 1, 1, tzinfo=UTC)
ADA = {"actor": "person:ada"}


@dataclass
class Ticking:
    """A clock."""

    time: datetime = START

    def now(self) -> datetime:
        self.time += timedelta(minutes=1)
        return self.time


class RemovableBlobs(MemoryBlobs):
    """Blobs in memory that can be taken away. Nobody else is there to wait for."""

    def keeping(self) -> AbstractContextManager[None]:
        return nullcontext()

    def alone(self) -> AbstractContextManager[None]:
        return nullcontext()

    def put_data(self, data: bytes) -> Digest:
        return self.put(data)

    def unused(self, trees: Iterable[Digest], *, blobs: Iterable[Digest] = ()) -> Iterator[tuple[Digest, int]]:
        return iter(())

    def manifest(self, tree: Digest) -> Iterator[TreeFile]:
        return iter(self.files(tree))

    def remove(self, digests: Iterable[Digest]) -> int:
        return sum(len(self._kept.pop(digest, b"")) for digest in [*digests])


@dataclass
class Kept:
    """The store, and the room on it."""

    store: SqlStore = field(default_factory=lambda: open_store("sqlite://"))
    blobs: RemovableBlobs = field(default_factory=RemovableBlobs)
    clock: Ticking = field(default_factory=Ticking)
    tables: PolarsTables = field(default_factory=lambda: PolarsTables(Path(), None))

    def room(self) -> TableVersions:
        return TableVersions(
            datasets=self.store.datasets,
            blobs=self.blobs,
            tables=self.tables,
            lake=DeltaLake(),
            files=self.store.files,
            notes=self.store.notes,
            clock=self.clock,
        )

    def stored(self) -> int:
        """Count the bytes that are kept."""
        return sum(map(len, self.blobs._kept.values()))

    def holds(self, text: str) -> bool:
        """Tell whether a text is in any table, bitmap or file that is kept: uncompressed, row by row."""
        frames = [self.tables.decode(data) for data in self.blobs._kept.values() if data[:4] == b"PAR1"]
        return any(text in str(frame.rows()) for frame in frames) or any(
            text.encode() in d for d in self.blobs._kept.values()
        )
