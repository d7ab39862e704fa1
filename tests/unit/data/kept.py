"""A room of tables on a store in memory, with a clock that moves on by a minute a look."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kedge.data.tables import TableVersions
from kedge.storage.blobs.memory import MemoryBlobs
from kedge.storage.sql import open_store
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


@dataclass
class Kept:
    """The store, and the room on it."""

    store: object = field(default_factory=lambda: open_store("sqlite://"))
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    clock: Ticking = field(default_factory=Ticking)
    tables: PolarsTables = field(default_factory=lambda: PolarsTables(Path(), None))

    def room(self) -> TableVersions:
        return TableVersions(datasets=self.store.datasets, blobs=self.blobs, tables=self.tables, clock=self.clock)

    def stored(self) -> int:
        """Count the bytes that are kept."""
        return sum(map(len, self.blobs._kept.values()))
