"""The shelf: what was compacted out of a journal's segments, as Parquet files that any tool reads.

    FOLDER/NUMBER.parquet   one row per prediction (or fact), sorted by time; a folder per model
    manifest.json           which files count, and up to where each has a segment's records

The manifest is replaced whole, and that is the moment that counts: what it names has been written before, what it no
longer names is removed after. A file that it does not name is a leftover of a killed compaction, swept by the next one.
Names are never used twice. The place is a folder beside the segments, or a bucket.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from kedge.errors import StoreBroken
from kedge.ports import Bucket
from kedge.storage.durable import make_folder, refusal, sync_folder, write_all

if TYPE_CHECKING:
    import polars as pl

MANIFEST = "manifest.json"
_SUFFIX = ".parquet"
_TRIES = 10


class LogRecord(NamedTuple):
    """One record and the place that it has in its journal."""

    segment: str
    end: int
    payload: bytes


class Form(Protocol):
    """How the records of a journal stand in tables; `time` is the column that rows are sorted by."""

    time: str
    names: tuple[str, ...]

    def index(self, records: "Sequence[LogRecord]") -> "pl.DataFrame":
        """Lay out of records only the columns of `names`, and quickly: which predictions there are, or which facts."""

    def tables(self, records: Sequence[LogRecord]) -> "Mapping[str, pl.DataFrame]":
        """Lay records out as tables, by the folder that each belongs to, rows sorted by time."""

    def records(self, table: "pl.DataFrame") -> list[LogRecord]:
        """Give back the records of a table, byte for byte, in no order."""


class ParquetPart(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its rows, its bytes, the times of its first and last row, and by segment the place after its last record."""

    rows: int
    bytes: int
    first: datetime | None
    last: datetime | None
    segments: dict[str, int]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What counts. `compacted` names the segments that are in the parts, as long as their own files may be there."""

    next: int = 1
    parts: dict[str, ParquetPart] = {}
    compacted: list[str] = []

    def ends(self) -> dict[str, int]:
        """Tell by segment the place after its last record; 0 where none of its records is left."""
        ends = dict.fromkeys(self.compacted, 0)
        for part in self.parts.values():
            for segment, end in part.segments.items():
                ends[segment] = max(end, ends.get(segment, 0))
        return ends


class ShelfPlace(Protocol):
    """Where the files stand."""

    def get(self, name: str) -> bytes | None:
        """Read a file; None where there is none."""

    def put(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all, so that it survives a power cut."""

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""

    def names(self) -> Iterator[str]:
        """Name the files."""

    def url(self, name: str) -> Path | None:
        """Give the file's path where it has one."""


class ParquetShelf:
    """Compacted records of one journal."""

    def __init__(self, place: ShelfPlace, form: Form) -> None:
        self.place, self.form = place, form
        self._read: tuple[bytes, Manifest] = (b"", Manifest())
        self._held: tuple[str, list[LogRecord]] = ("", [])

    def manifest(self) -> Manifest:
        """Read what counts now. Raises StoreBroken."""
        raw = self.place.get(MANIFEST) or b""
        read = self._read  # once: another thread may replace it meanwhile
        if raw != read[0]:
            try:
                self._read = read = (raw, msgspec.json.decode(raw, type=Manifest) if raw else Manifest())
            except msgspec.DecodeError as error:
                raise StoreBroken(f"{MANIFEST} of the compacted predictions cannot be read ({error}); restore it") from error
        return read[1]

    def ends(self) -> dict[str, int]:
        """Tell by compacted segment the place after its last record."""
        return self.manifest().ends()

    def before(self, moment: datetime) -> frozenset[str]:
        """Name the compacted segments whose records are all from before a moment."""
        parts = self.manifest().parts.values()
        newer = {name for part in parts if part.last is None or part.last >= moment for name in part.segments}
        return frozenset({name for part in parts for name in part.segments} - newer)

    def find(self, prediction: str) -> LogRecord | None:
        """Find the record that has a prediction, the first of them; a name that no file has costs a look at each."""
        import polars as pl

        found: list[LogRecord] = []
        parts = self.manifest().parts
        for name, table in zip(parts, self.tables(parts), strict=True):
            places = table.filter(pl.col("id") == prediction).select("segment", "segment_end").collect()
            for segment, end in places.sort("segment", "segment_end").head(1).iter_rows():
                rows = self.table(name).filter((pl.col("segment") == segment) & (pl.col("segment_end") == end))
                found += self.form.records(rows)
        return min(found, key=lambda one: (one.segment, one.end), default=None)

    def records(self, segment: str, start: int) -> list[LogRecord]:
        """Give the records of a segment after an offset, in order. Raises StoreBroken for a part that is gone."""
        for _ in range(_TRIES):
            manifest = self.manifest()
            try:
                found = [
                    record
                    for name, part in manifest.parts.items()
                    if part.segments.get(segment, 0) > start
                    for record in self._of(name)
                    if record.segment == segment and record.end > start
                ]
                return sorted(found, key=lambda record: record.end)
            except FileNotFoundError as error:
                missing = str(error)
                if self.manifest() is manifest:  # else it was replaced meanwhile, as an erasure or a merge does
                    break
        raise StoreBroken(f"{missing} of the compacted predictions is gone, and its manifest names it; restore it")

    def _of(self, name: str) -> list[LogRecord]:
        """Read a part's records; the last one read stays at hand, since segments that follow each other share parts."""
        held = self._held  # once: another thread may replace it meanwhile
        if held[0] != name:
            self._held = held = (name, self.form.records(self.table(name)))
        return held[1]

    def table(self, name: str) -> "pl.DataFrame":
        """Read a part. Raises FileNotFoundError; StoreBroken where it is damaged."""
        import polars as pl
        from polars.exceptions import PolarsError

        raw = self.place.get(name)
        if raw is None:
            raise FileNotFoundError(name)
        try:
            return pl.read_parquet(raw)
        except PolarsError as error:
            raise StoreBroken(f"{name} of the compacted predictions is damaged ({error}); restore it") from error

    def tables(self, parts: Collection[str]) -> "Iterator[pl.LazyFrame]":
        """Open parts lazily, so that of each only what is asked for is read."""
        import polars as pl

        for name in parts:
            path = self.place.url(name)
            yield self.table(name).lazy() if path is None else pl.scan_parquet(path)

    # ---- who holds the journal's lock may change it ----

    def publish(
        self, records: Sequence[LogRecord], *, instead_of: Collection[str] = (), compacted: Collection[str] = ()
    ) -> int:
        """Make records count in place of parts, all at once; `compacted` are the segments whose own files no longer count.

        Gives the rows written. Raises StoreFull, StoreBroken, Unreachable; what counted before counts on then.
        """
        manifest = self.manifest()
        number, parts = manifest.next, {name: part for name, part in manifest.parts.items() if name not in instead_of}
        rows = 0
        for folder, table in self.form.tables(records).items() if records else ():
            name, data = f"{folder}/{number:08d}{_SUFFIX}", _parquet(table)
            self.place.put(name, data)
            parts[name] = _part(table, len(data), time=self.form.time)
            number += 1
            rows += len(table)
        named = sorted({*manifest.compacted, *compacted})
        self._replace(Manifest(next=number, parts=parts, compacted=named))
        for name in instead_of:
            self.place.remove(name)
        return rows

    def forget(self, segments: Collection[str]) -> None:
        """Note that these segments' own files are gone."""
        manifest = self.manifest()
        left = [name for name in manifest.compacted if name not in segments]
        if left != manifest.compacted:
            self._replace(msgspec.structs.replace(manifest, compacted=left))

    def sweep(self) -> int:
        """Remove files that do not count; give their number."""
        known = self.manifest().parts
        stray = [name for name in self.place.names() if name.endswith(_SUFFIX) and name not in known]
        for name in stray:
            self.place.remove(name)
        return len(stray)

    def _replace(self, manifest: Manifest) -> None:
        self.place.put(MANIFEST, msgspec.json.encode(manifest))


class FolderPlace:
    """A folder of this machine. Nothing is made by reading."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> bytes | None:
        """Read a file; None where there is none."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes) -> None:
        """Write a file under another name, sync it, rename it, sync the folder. Raises StoreFull, StoreBroken."""
        path = self._folder / name
        unnamed = path.with_name(f".{path.name}.part")
        try:
            make_folder(path.parent)
            descriptor = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(unnamed, path)
            sync_folder(path.parent)
        except OSError as error:
            raise refusal(error, path) from error

    def remove(self, name: str) -> None:
        """Remove a file so that it stays removed; nothing happens where there is none."""
        path = self._folder / name
        try:
            os.unlink(path)
            sync_folder(path.parent)
        except FileNotFoundError:
            return

    def names(self) -> Iterator[str]:
        """Name the files."""
        for path in self._folder.rglob("*"):
            if path.is_file():
                yield path.relative_to(self._folder).as_posix()

    def url(self, name: str) -> Path | None:
        """Give a file's path."""
        return self._folder / name


class BucketPlace:
    """A folder in a bucket."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix

    def get(self, name: str) -> bytes | None:
        """Read an object; None where there is none. Raises Unreachable."""
        return self._bucket.get(f"{self._prefix}/{name}")

    def put(self, name: str, data: bytes) -> None:
        """Write an object. Raises Unreachable."""
        self._bucket.put(f"{self._prefix}/{name}", data)

    def remove(self, name: str) -> None:
        """Remove an object. Raises Unreachable."""
        self._bucket.delete(f"{self._prefix}/{name}")

    def names(self) -> Iterator[str]:
        """Name the objects."""
        for name, _ in self._bucket.list(f"{self._prefix}/"):
            yield name.removeprefix(f"{self._prefix}/")

    def url(self, name: str) -> Path | None:
        """Give nothing: an object has no path here."""
        return None


def _parquet(table: "pl.DataFrame") -> bytes:
    from io import BytesIO

    written = BytesIO()
    table.write_parquet(written, compression="zstd", statistics=True)
    return written.getvalue()


def _part(table: "pl.DataFrame", size: int, *, time: str) -> ParquetPart:
    import polars as pl

    ends = table.group_by("segment").agg(pl.col("segment_end").max())
    return ParquetPart(
        rows=len(table),
        bytes=size,
        first=table[time].min(),  # type: ignore[arg-type] # a column of times
        last=table[time].max(),  # type: ignore[arg-type]
        segments=dict(ends.iter_rows()),
    )
