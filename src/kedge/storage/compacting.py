"""Compaction: closed segments become Parquet on the shelf, and only then their files go. Retention and erasure, too.

    closed segments --read, laid out, read back, compared--> parts written --manifest replaced--> segments removed
A kill before the manifest leaves segments that count and parts that do not; one after it, parts that count and segments
that do not. The next run removes whatever does not count, so every record is there once at every moment. One process at a
time holds the folder's lock. The newest segment keeps its name, empty, so that no number is ever used twice.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import msgspec

from kedge.domain.predictions import Compacted, Stored, StruckRows
from kedge.errors import Conflict, StoreBroken
from kedge.ports import Strike
from kedge.storage.alone import alone
from kedge.storage.durable import refusal, sync_folder
from kedge.storage.journal import CLOSE
from kedge.storage.segments import HeldSegment, hold, number_of, read_bytes, records_of, segments
from kedge.storage.shelf import LogRecord, ParquetPart, ParquetShelf

if TYPE_CHECKING:
    import polars as pl

GROUP_BYTES = 16 << 20
"""How many bytes of segments are laid out at once."""
SMALL_ROWS = 50_000
MOST_SMALL = 8
"""So many parts of a model with fewer rows than that are made one."""
_LOCK = "compacting"
_TRIES = 5


class Compactor:
    """Compacts the segments of one folder onto a shelf."""

    def __init__(self, folder: Path, shelf: ParquetShelf, *, group_bytes: int = GROUP_BYTES) -> None:
        self._folder, self._shelf, self._group = folder, shelf, group_bytes
        self._index: dict[str, tuple[int, pl.DataFrame]] = {}

    def stored(self) -> Stored:
        """Tell what there is: segments not compacted and their bytes, files that are, their rows and bytes."""
        manifest = self._shelf.manifest()
        compacted = manifest.ends()
        left = [size for name, size in segments(self._folder) if size and name not in compacted]
        return Stored(
            segments=len(left),
            segment_bytes=sum(left),
            parts=len(manifest.parts),
            rows=sum(part.rows for part in manifest.parts.values()),
            part_bytes=sum(part.bytes for part in manifest.parts.values()),
        )

    def waits(self) -> bool:
        """Say whether a closed segment waits to be compacted."""
        if not any(size for _, size in segments(self._folder)):
            return False
        return next(self._groups(), None) is not None

    def compact(self, *, most_bytes: int | None = None) -> Compacted:
        """Compact closed segments, oldest first, up to about `most_bytes` of them; a damaged one stays, and is named.

        Raises Conflict where another process is at it.
        """
        if not self._folder.is_dir():
            return Compacted()
        with self._alone():
            self._finish()
            done = Compacted()
            left = float("inf") if most_bytes is None else most_bytes
            for group in self._groups():
                if left <= 0:
                    return msgspec.structs.replace(done, more=True)
                one = self._compact(group)
                left -= sum(size for _, size in group)
                done = Compacted(
                    segments=done.segments + one.segments,
                    records=done.records + one.records,
                    bytes=done.bytes + one.bytes,
                    damaged=(*done.damaged, *one.damaged),
                )
            return msgspec.structs.replace(done, merged=self._merge(), stored_bytes=self.stored().part_bytes)

    def strike(self, what: Strike, *, only: "pl.Expr | None" = None) -> StruckRows:
        """Take records, or rows of them, out of all files with a row that fulfils `only`.

        Segments that are still written, or are damaged, are named: what they hold was not looked at. Raises Conflict.
        """
        if not self._folder.is_dir():
            return StruckRows()
        self._ask_to_close()
        done = self.compact()
        with self._alone():
            self._finish()
            rows = rewritten = 0
            manifest = self._shelf.manifest()
            for name, part in manifest.parts.items():
                if only is None or self._has(name, only):
                    gone = self._strike(name, part, strike=what)
                    rows += gone
                    rewritten += gone > 0
            held = tuple(name for name, size in segments(self._folder) if size and name not in manifest.compacted)
            return StruckRows(rows=rows, parts=rewritten, left=held, damaged=done.damaged)

    def forget_before(self, moment: datetime, strike: Strike) -> StruckRows:
        """Delete what was answered before a moment from the parts; what is not compacted yet is not old. Raises Conflict."""
        if not self._folder.is_dir():
            return StruckRows()
        with self._alone():
            self._finish()
            rows = parts = 0
            for name, part in self._shelf.manifest().parts.items():
                if part.last is not None and part.last < moment:
                    self._shelf.publish((), instead_of=[name])
                    rows, parts = rows + part.rows, parts + 1
                elif part.first is not None and part.first < moment:
                    rows, parts = rows + self._strike(name, part, strike=strike), parts + 1
            return StruckRows(rows=rows, parts=parts)

    def tables(self) -> "list[pl.LazyFrame]":
        """Give all records as tables: those of the shelf to be read lazily, those that are not compacted as they are now.

        Raises StoreBroken. A file may be gone by the time it is read: ask again then.
        """
        for left in reversed(range(_TRIES)):
            written = segments(self._folder)
            manifest = self._shelf.manifest()
            compacted = manifest.ends()
            fresh = [(name, size) for name, size in written if size and name not in compacted]
            try:
                return [*self._shelf.tables(manifest.parts), *(table for one in fresh for table in self._laid_out(*one))]
            except FileNotFoundError:  # compacted, merged or struck since it was listed
                if not left:
                    raise
        return []

    def index(self) -> "list[pl.LazyFrame]":
        """Give of all records the few columns that say which there are (`names` of the form). What is not compacted is read
        once in this process, and then only what is new of it. Raises StoreBroken."""
        for left in reversed(range(_TRIES)):
            written = dict(segments(self._folder))
            manifest = self._shelf.manifest()
            compacted = manifest.ends()
            try:
                fresh = {name: self._indexed(name, size) for name, size in written.items() if size and name not in compacted}
                self._index = fresh
                parts = [table.select(self._shelf.form.names) for table in self._shelf.tables(manifest.parts)]
                return [*parts, *(table.lazy() for _, table in fresh.values())]
            except FileNotFoundError:
                if not left:
                    raise
        return []

    def _indexed(self, name: str, size: int) -> "tuple[int, pl.DataFrame]":
        import polars as pl

        end, known = self._index.get(name, (0, None))
        if end >= size:
            assert known is not None  # noqa: S101 - a place above 0 came with a table
            return end, known
        path = self._folder / name
        raw = read_bytes(path, end, size=size)
        if len(raw) < size - end:
            raise FileNotFoundError(path)
        records = [LogRecord(name, place.end, payload) for place, payload in records_of(raw, path, start=end)]
        found = self._shelf.form.index(records)
        return records[-1].end if records else end, found if known is None else pl.concat([known, found])

    def _laid_out(self, name: str, size: int) -> "list[pl.LazyFrame]":
        path = self._folder / name
        raw = read_bytes(path, size=size)
        if len(raw) < size:
            raise FileNotFoundError(path)
        records = [LogRecord(name, place.end, payload) for place, payload in records_of(raw, path)]
        return [table.lazy() for table in self._shelf.form.tables(records).values()]

    # ---- one step each ----

    def _compact(self, group: Sequence[tuple[str, int]]) -> Compacted:
        with ExitStack() as stack:
            records: list[LogRecord] = []
            taken: list[str] = []
            damaged: list[str] = []
            size = 0
            for name, _ in group:
                held = hold(self._folder / name)
                if held is None:  # its writer lives
                    continue
                stack.callback(held.close)
                try:
                    raw = read_bytes(held.path)
                    found = [LogRecord(name, place.end, payload) for place, payload in records_of(raw, held.path)]
                except StoreBroken as error:
                    damaged.append(str(error))
                    continue
                records += found
                taken.append(name)
                size += found[-1].end if found else 0
            if taken:
                self._shelf.publish(records, compacted=taken)
        self._remove(taken)
        return Compacted(segments=len(taken), records=len(records), bytes=size, damaged=tuple(damaged))

    def _strike(self, name: str, part: ParquetPart, *, strike: Strike) -> int:
        """Write a part anew without what is struck; give how many rows that were."""
        before = self._shelf.form.records(self._shelf.table(name))
        after = [one._replace(payload=left) for one in before if (left := strike(one.payload)) is not None]
        if after == before:
            return 0
        return part.rows - self._shelf.publish(after, instead_of=[name])

    def _has(self, name: str, only: "pl.Expr") -> bool:
        (table,) = self._shelf.tables([name])
        return bool(table.select(only.any()).collect().item())

    def _merge(self) -> int:
        """Make one of many small parts of a model; give how many went into others."""
        small: dict[str, list[str]] = {}
        for name, part in self._shelf.manifest().parts.items():
            if part.rows < SMALL_ROWS:
                small.setdefault(name.rpartition("/")[0], []).append(name)
        merged = 0
        for names in small.values():
            if len(names) >= MOST_SMALL:
                records = [record for name in names for record in self._shelf.form.records(self._shelf.table(name))]
                self._shelf.publish(records, instead_of=names)
                merged += len(names)
        return merged

    def _finish(self) -> None:
        """Remove what a killed run has left: segments and parts that do not count."""
        here = {name for name, _ in segments(self._folder)}
        self._remove([name for name in self._shelf.manifest().compacted if name in here])
        self._sweep_empty()
        self._shelf.sweep()

    def _sweep_empty(self) -> None:
        """Remove the segments that closed without a record and stayed because they were the newest then."""
        found = segments(self._folder)
        newest = max((number_of(name) for name, _ in found), default=0)
        for name, size in found:
            if not size and number_of(name) < newest and (held := hold(self._folder / name)) is not None:
                try:
                    held.remove_empty()
                finally:
                    held.close()

    def _remove(self, names: Sequence[str]) -> None:
        """Remove the files of segments that do not count any more. The newest keep their names, empty."""
        if not names:
            return
        newest = max((number_of(name) for name, _ in segments(self._folder)), default=0)
        try:
            for name in names:
                path = self._folder / name
                if number_of(name) < newest:
                    os.unlink(path)
                elif path.stat().st_size:
                    _empty(path)
            sync_folder(self._folder)
        except OSError as error:
            raise refusal(error, self._folder) from error
        here = {name for name, _ in segments(self._folder)}
        self._shelf.forget([name for name in self._shelf.manifest().compacted if name not in here])

    def _groups(self) -> Iterator[list[tuple[str, int]]]:
        """Give closed segments in groups of about as many bytes as are laid out at once."""
        compacted = {*self._shelf.manifest().compacted}
        group: list[tuple[str, int]] = []
        size = 0
        for name, length in segments(self._folder):
            if not length or name in compacted or not _is_closed(self._folder / name):
                continue
            group.append((name, length))
            size += length
            if size >= self._group:
                yield group
                group, size = [], 0
        if group:
            yield group

    def _ask_to_close(self, seconds: float = 2.0) -> None:
        """Ask writers to close their segments, and wait a little until they have."""
        (self._folder / CLOSE).touch()
        end = monotonic() + seconds
        while monotonic() < end and any(
            size and not _is_closed(self._folder / name) for name, size in segments(self._folder)
        ):
            sleep(0.05)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with alone(self._folder / _LOCK) as mine:
            if not mine:
                raise Conflict(f"another process compacts or erases in {self._folder}; run the same again when it is done")
            yield


def _is_closed(path: Path) -> bool:
    held = hold(path)
    if held is not None:
        held.close()
    return held is not None


def _empty(path: Path) -> None:
    held = HeldSegment(path)
    try:
        held.cut(0)
    finally:
        held.close()
