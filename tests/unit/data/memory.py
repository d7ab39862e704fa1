"""The ports of the data and features rooms in memory: no disk, a clock that is set."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl

from kedge.domain.data import Dataset, DatasetVersion, ValidationReport
from kedge.domain.events import Event
from kedge.domain.ids import Digest, ModelName, digest_bytes
from kedge.domain.project import DataRules, ProjectSpec
from kedge.errors import NotFound


@dataclass
class Clock:
    """A clock that stands until it is set."""

    time: datetime = datetime(2013, 3, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


@dataclass
class Datasets:
    versions: list[DatasetVersion] = field(default_factory=list)
    reports: dict[Digest, ValidationReport] = field(default_factory=dict)
    events: dict[Digest, Event] = field(default_factory=dict)
    entries: dict[str, Dataset] = field(default_factory=dict)

    def entry(self, name: str) -> Dataset | None:
        return self.entries.get(name)

    def add(self, version: DatasetVersion, event: Event) -> None:
        if self._once(event):
            self.versions.append(version)

    def find(self, name: str, number: int | None = None) -> DatasetVersion | None:
        named = [v for v in self.versions if v.dataset == name and number in (None, v.number)]
        return named[-1] if named else None

    def find_digest(self, digest: Digest) -> DatasetVersion | None:
        return next((v for v in self.versions if v.digest == digest), None)

    def list(self, name: str) -> Sequence[DatasetVersion]:
        return [v for v in self.versions if v.dataset == name]

    def names(self) -> Sequence[str]:
        return list(dict.fromkeys(v.dataset for v in self.versions))

    def add_report(self, report: ValidationReport, event: Event) -> None:
        if self._once(event):
            self.reports[report.version] = report

    def find_report(self, version: Digest) -> ValidationReport | None:
        return self.reports.get(version)

    def _once(self, event: Event) -> bool:
        new = event.key not in self.events
        self.events[event.key] = event
        return new


@dataclass
class Blobs:
    kept: dict[Digest, bytes] = field(default_factory=dict)
    gets: int = 0

    def put(self, data: bytes) -> Digest:
        digest = digest_bytes(data)
        self.kept[digest] = data
        return digest

    def get(self, digest: Digest) -> bytes:
        self.gets += 1
        if digest not in self.kept:
            raise NotFound(digest)
        return self.kept[digest]


@dataclass
class Tables:
    """Sources by name, or callables; frames in Parquet."""

    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    read: dict[object, pl.DataFrame] = field(default_factory=dict)

    def source(self, source: object) -> pl.DataFrame:
        if isinstance(source, str):
            return self.frames[source]
        if source not in self.read:
            self.read[source] = source()
        return self.read[source]

    def encode(self, frame: pl.DataFrame) -> bytes:
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        return buffer.getvalue()

    def decode(self, data: bytes, columns: Sequence[str] | None = None) -> pl.DataFrame:
        return pl.read_parquet(io.BytesIO(data), columns=columns)


def spec_of(**rules: object) -> ProjectSpec:
    """A project whose rows are named `id`, asked for at `at`, and labelled `late` a day later."""
    given = {"source": "rows", "key": "id", "time": "at", "label": "late", "label_delay": "1d"} | rules
    return ProjectSpec(name=ModelName("delay"), data=DataRules(**given))
