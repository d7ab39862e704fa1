"""Versions of tables, by hand: commit, append, delete; read and scan any version, as it was.

A version is its parent's parts, less some rows, and new parts: so a change costs about what it changes. Who commits reads
the newest version, and writes the next number; where another was first with it, the change is worked out again on top.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from kedge.data.personal import masked
from kedge.data.references import check_name, resolve, split
from kedge.data.snapshot import version_digest
from kedge.data.source import require_column, schema_of
from kedge.data.tables.changes import (
    TableChange,
    changed,
    compacted,
    left,
    require_key,
    settled,
    storable,
    written,
    written_lazily,
)
from kedge.data.tables.compare import Piece, TableSide, compare, sides
from kedge.data.tables.conditions import Where, among, condition, keyed, mask, moment, unusable
from kedge.data.tables.erasure import Erasures, require_there
from kedge.data.tables.parts import Parts, conformed, held, stacked, with_rows
from kedge.domain.counts import count
from kedge.domain.data import PINNED, DatasetKind, DatasetVersion, Erasure, Part, Pin
from kedge.domain.data_diff import TableDiff
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, digest_of
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.errors import Conflict, NotFound, RequestInvalid, SourceFailed
from kedge.ports import Clock, Datasets, DataStore, Lake, Notes, RunFiles, Tables

_TRIES = 50
_HELD = 512 << 20  # bytes of parts that a diff keeps decoded: it reads them several times


class NextTable(NamedTuple):
    """What the next version holds: its parts, the schema of its rows, its key, and what to say of it."""

    parts: tuple[Part, ...]
    schema: Mapping[str, pl.DataType]
    key: tuple[str, ...]
    said: str
    facts: dict[str, int]


class TableVersions:
    """Keeps versions of tables."""

    def __init__(
        self,
        *,
        datasets: Datasets,
        blobs: DataStore,
        tables: Tables,
        lake: Lake,
        files: RunFiles,
        notes: Notes,
        clock: Clock,
    ) -> None:
        self._datasets, self._blobs, self._tables, self._clock = datasets, blobs, tables, clock
        self._lake = lake
        self._parts = Parts(blobs=blobs, tables=tables, put=blobs.put_data)
        self._erasures = Erasures(datasets=datasets, blobs=blobs, parts=self._parts, files=files, notes=notes, clock=clock)

    def commit(
        self,
        table: Any,
        name: str,
        *,
        key: str | Sequence[str] | None = None,
        message: str = "",
        source: str = "",
        actor: str,
    ) -> DatasetVersion:
        """Make these rows the table's newest version; where nothing differs, give the one that is there.

        With a `key` (that of the version before, if left out; () for none) rows are told apart by it: only those that
        changed are stored, and they come last when the version is read. Raises SourceFailed, DataInvalid, Conflict.
        """
        if source.startswith(PINNED):
            raise RequestInvalid(f"a source that begins with {PINNED!r} names a pinned table; pin it, or name it otherwise")
        if isinstance(table, pl.LazyFrame) and not self._key(key, self._datasets.find(check_name(name))):
            return self._commit_lazily(table, name, message=message, source=source, actor=actor)
        rows = self._given(table, name)

        def next_of(newest: DatasetVersion | None) -> NextTable | None:
            columns = self._key(key, newest)
            require_key(rows, columns, table=name, hidden=self._is_hidden(name, columns))
            there = TableChange((), newest.rows if newest else 0, rows)
            if (
                newest is not None
                and not newest.is_pinned
                and newest.key == columns
                and _alike(self.schema(newest), rows.schema)
            ):
                there = changed(self._parts, newest.parts, rows=rows, key=columns)
                if not there.gone and there.new.is_empty():
                    return None
                if 2 * len(there.new) > len(rows) and columns:
                    there = TableChange((), newest.rows, rows)
            return self._grown(there, schema=rows.schema, key=columns)

        return self._publish(name, next_of, message=message, source=source, actor=actor)

    def _commit_lazily(self, table: pl.LazyFrame, name: str, *, message: str, source: str, actor: str) -> DatasetVersion:
        """Write a lazy frame part by part, so that it may be larger than memory; there is no key to tell rows apart by."""
        with self._blobs.keeping():
            parts = written_lazily(self._parts, table, table=name)

            def next_of(newest: DatasetVersion | None) -> NextTable | None:
                if newest is not None and newest.parts == parts and not newest.key:
                    return None
                rows = sum(map(held, parts))
                gone = newest.rows if newest else 0
                facts = {"new_rows": rows, "left_out": gone}
                said = f"{count(rows, 'row')} in {count(len(parts), 'part')}"
                return NextTable(parts, self._parts.schema(parts[0]), (), said, facts)

            return self._publish(name, next_of, message=message, source=source, actor=actor)

    def append(
        self,
        table: Any,
        name: str,
        *,
        key: str | Sequence[str] | None = None,
        replace: bool = False,
        widen: bool = False,
        message: str = "",
        source: str = "",
        actor: str,
    ) -> DatasetVersion:
        """Add rows to the newest version. With `widen`, a column that one side lacks is null there; else it is refused.

        In a table with a key a row whose key is there already is refused, or, with `replace`, takes the old one's place.
        Raises SourceFailed, DataInvalid, Conflict.
        """
        rows = self._given(table, name)

        def next_of(newest: DatasetVersion | None) -> NextTable | None:
            _require_own(newest)
            columns = self._key(key, newest)
            if newest is not None and newest.key != columns:
                raise RequestInvalid(
                    f"the key of table {name!r} is {newest.key or 'none'}; to change it, commit the whole table"
                )
            require_key(rows, columns, table=name, hidden=self._is_hidden(name, columns))
            before = newest.parts if newest else ()
            schema = _joined_schema(self.schema(newest) if newest else {}, rows.schema, table=name, widen=widen)
            if newest is not None and rows.is_empty() and [*schema] == [*self.schema(newest)]:
                return None
            gone = self._there(newest, rows, key=columns) if newest and columns else np.zeros(0, dtype=bool)
            if gone.any() and not replace:
                raise RequestInvalid(
                    f"{int(gone.sum())} rows of table {name!r} have their keys ({', '.join(columns)}) already; nothing was "
                    "committed: append with replace=True to put the new rows in their place"
                )
            kept = left(self._parts, before, gone=gone) if gone.any() else tuple(before)
            return self._grown(TableChange(kept, int(gone.sum()), rows), schema=schema, key=columns)

        return self._publish(name, next_of, message=message, source=source, actor=actor)

    def load(self, source: str) -> pl.DataFrame | pl.LazyFrame:
        """Read a file, a folder or a glob of CSV, TSV and Parquet, or "FILE.py:NAME" of the project. Parquet stays lazy: it
        may be larger than memory. Raises SourceFailed."""
        return self._tables.lazy(source) if source.lower().endswith(".parquet") else self._tables.source(source)

    def pin(self, place: str, name: str, *, version: int | None = None, message: str = "", actor: str) -> DatasetVersion:
        """Make a version of a Delta table (its newest, if none is given) the newest version here. Its rows stay there.

        What is kept is the version's number and the hashes of its files; `read` and `scan` compare them. Raises
        SourceFailed, ConfigError, Conflict.
        """
        pin = self._lake.pin(place, version)
        schema = self._lake.scan(pin).collect_schema()
        data = msgspec.json.encode(pin)

        def next_of(newest: DatasetVersion | None) -> NextTable | None:
            part = Part(digest=self._blobs.put_data(data), rows=pin.rows, bytes=len(data))
            if newest is not None and newest.parts == (part,):
                return None
            said = (
                f"version {pin.version} of Delta table {place}, {count(pin.rows, 'row')} in {count(len(pin.files), 'file')}"
            )
            return NextTable((part,), schema, (), said, {"delta_version": pin.version, "files": len(pin.files)})

        return self._publish(name, next_of, message=message, source=f"{PINNED}{place}@{pin.version}", actor=actor)

    def delete(
        self, name: str, *, where: Where | None = None, keys: Any = None, message: str = "", actor: str
    ) -> DatasetVersion:
        """Leave rows out of the next version; older versions keep them (`erase` takes them from all).

        Where none is meant, the newest version is given. Raises NotFound, RequestInvalid, Conflict.
        """

        def next_of(newest: DatasetVersion | None) -> NextTable | None:
            if newest is None:
                raise NotFound(f"there is no dataset {name!r}; list them with `kedge data list`")
            _require_own(newest)
            gone = self.meant(newest, where=where, keys=keys)
            if not gone.any():
                return None
            schema = self.schema(newest)
            kept = left(self._parts, newest.parts, gone=gone)
            return self._grown(
                TableChange(kept, int(gone.sum()), pl.DataFrame(schema=schema)), schema=schema, key=newest.key
            )

        return self._publish(name, next_of, message=message, source="", actor=actor)

    def erase(self, name: str, *, where: Where | None = None, keys: Any = None, reason: str, actor: str) -> Erasure:
        """Take rows out of every version for good, and their bytes out of the store; versions keep number and digest.

        A condition is asked of each stored row by itself, those that versions left out counted. Raises NotFound,
        RequestInvalid.
        """
        versions = self._datasets.list(DatasetName(name))
        newest = require_there(versions, name)
        _require_one(where, keys)
        own = [version for version in versions if not version.is_pinned]
        if not own:
            raise RequestInvalid(
                f"the rows of {name!r} are in the Delta table that it pins; erase them there, and pin again"
            )
        schema = _schema_of([self._parts.schema(part) for version in own for part in version.parts])
        if where is None:
            wanted = keyed(keys, newest.key, schema=schema, table=name)
            columns, chosen = wanted.columns, partial(among, keys=wanted)
        else:
            meant = condition(where, schema, table=name)
            columns, chosen = list(dict.fromkeys(meant.meta.root_names())) or [*schema], partial(mask, meant=meant)
        return self._erasures.erase(
            newest.dataset, chosen=chosen, columns=columns, schema=schema, reason=reason, actor=actor
        )

    def finish_erasures(self) -> int:
        """Remove what an erasure that was killed has left; give the bytes that this made free."""
        return self._erasures.finish()

    def compact(self, name: str, *, actor: str) -> DatasetVersion:
        """Write the newest version's parts anew where rows were left out or parts are small; its rows stay the same.

        Commits do that by themselves as far as it pays; this reads faster at once. Raises NotFound, Conflict.
        """

        def next_of(newest: DatasetVersion | None) -> NextTable | None:
            if newest is None:
                raise NotFound(f"there is no dataset {name!r}; list them with `kedge data list`")
            _require_own(newest)
            now = compacted(self._parts, newest.parts)
            if now == newest.parts or not now:
                return None
            said = f"{count(len(newest.parts), 'part')} written as {len(now)}"
            return NextTable(now, self.schema(newest), newest.key, said, {"parts": len(now)})

        return self._publish(name, next_of, message="", source="", actor=actor)

    def find(self, reference: str, *, as_of: datetime | date | str | None = None) -> DatasetVersion:
        """Find the version that a reference names, or the newest that was committed by a time. Raises NotFound."""
        if as_of is None:
            return _table(resolve(self._datasets, reference))
        name, which = split(reference)
        if which:
            raise RequestInvalid(f"{reference!r} names a version already; give as_of with the table's name alone")
        then, newest = moment(as_of), resolve(self._datasets, reference)
        known = [version for version in self._datasets.list(name) if version.created_at <= then]
        if not known:
            raise NotFound(f"table {name!r} had no version at {then:%Y-%m-%d %H:%M:%S} UTC; its newest is v{newest.number}")
        return _table(known[-1])

    def versions(self, name: str) -> Sequence[DatasetVersion]:
        """List the versions of a table, oldest first. Raises NotFound."""
        resolve(self._datasets, split(name)[0])
        return self._datasets.list(split(name)[0])

    def read(
        self, version: DatasetVersion, *, columns: Sequence[str] | None = None, where: Where | None = None
    ) -> pl.DataFrame:
        """Read a version, or some of its columns and rows. Raises SourceFailed for a column it lacks, RequestInvalid."""
        while True:
            try:
                return self._collected(version, columns=columns, where=where)
            except (NotFound, Conflict):  # an erasure may have taken the parts away since the version was looked up
                now = self._amended(version)
                if now is None:
                    raise
                version = now

    def _collected(self, version: DatasetVersion, *, columns: Sequence[str] | None, where: Where | None) -> pl.DataFrame:
        rows = self.scan(version)
        if where is not None:
            rows = rows.filter(condition(where, self.schema(version), table=version.dataset))
        if columns is not None:
            columns = [columns] if isinstance(columns, str) else columns
            _require_columns(columns, self.schema(version), table=version.dataset)
            rows = rows.select(columns)
        try:
            return rows.collect()
        except pl.exceptions.PolarsError as error:
            if where is None:
                raise
            raise unusable(error) from error
        except OSError as error:  # a file of a Delta table, which others may take away at any time
            raise SourceFailed(
                f"{version.source} cannot be read ({error}); restore the file, or pin a newer version"
            ) from error

    def _amended(self, version: DatasetVersion) -> DatasetVersion | None:
        """Look a version up again whose parts are gone; None where it is still the same."""
        now = self._datasets.find(version.dataset, version.number)
        return None if now is None or now.parts == version.parts else now

    def scan(self, version: DatasetVersion, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Give a version as a lazy frame, in order: one part is in memory at a time, and only the columns that are used."""
        if version.is_pinned:
            rows = self._lake.scan(self._pin_of(version))
            return rows if columns is None else rows.select(columns)
        schema = self.schema(version)
        rows = register_io_source(lambda *asked: self._batches(version, schema, asked=asked), schema=schema)
        return rows if columns is None else rows.select([columns] if isinstance(columns, str) else columns)

    def schema(self, version: DatasetVersion) -> pl.Schema:
        """Tell a version's columns and their Polars types."""
        if version.is_pinned:
            return self._lake.scan(self._pin_of(version)).collect_schema()
        return _schema_of([self._parts.schema(part) for part in version.parts])

    def diff(self, before: DatasetVersion, after: DatasetVersion, *, key: str | Sequence[str] | None = None) -> TableDiff:
        """Say what differs between two versions of a table, or of two tables. Personal columns are masked.

        Rows are told apart by the key of the later version, or by `key`; without one they are compared whole. Raises
        RequestInvalid for a key that does not tell rows apart.
        """
        while True:
            try:
                return self._compared(_table(before), _table(after), key=key)
            except NotFound:
                fresh = [self._datasets.find(version.dataset, version.number) or version for version in (before, after)]
                if [version.parts for version in fresh] == [before.parts, after.parts]:
                    raise
                before, after = fresh

    def _compared(self, before: DatasetVersion, after: DatasetVersion, *, key: str | Sequence[str] | None) -> TableDiff:
        schemas = self.schema(before), self.schema(after)
        chosen = after.key if key is None else (key,) if isinstance(key, str) else tuple(key)
        if key is None and not set(chosen) <= set(schemas[0]):
            chosen = ()
        if before.is_pinned or after.is_pinned:
            left, right, same = self._scanned(before, schemas[0]), self._scanned(after, schemas[1]), 0
        else:
            parts = Parts(blobs=self._blobs, tables=self._tables, cached_bytes=_HELD)
            left, right, same = sides(parts, before=before, after=after, schemas=schemas)
        found = compare(before, after, left=left, right=right, same=same, key=chosen)
        return masked(found, self._personal(before.dataset) | self._personal(after.dataset))

    def meant(self, version: DatasetVersion, *, where: Where | None, keys: Any) -> np.ndarray:
        """Say of each row of a version whether a condition or some keys mean it. Raises RequestInvalid."""
        schema = self.schema(version)
        _require_one(where, keys)
        if where is None:
            wanted = keyed(keys, version.key, schema=schema, table=version.dataset)
            return among(self._read(version, wanted.columns), wanted)
        meant = condition(where, schema, table=version.dataset)
        needed = list(dict.fromkeys(meant.meta.root_names())) or [*schema][:1]
        return mask(self._read(version, needed), meant)

    def _pin_of(self, version: DatasetVersion) -> Pin:
        return msgspec.json.decode(self._blobs.get(version.parts[0].digest), type=Pin)

    def _scanned(self, version: DatasetVersion, schema: pl.Schema) -> TableSide:
        """Give a version as one side of a diff, read through its scan."""
        piece = Piece(version.rows, lambda names: self.scan(version, names).collect())
        return TableSide(schema, [piece], [piece])

    def _read(self, version: DatasetVersion, columns: Sequence[str]) -> pl.DataFrame:
        return self.scan(version, columns).collect()

    def _batches(self, version: DatasetVersion, schema: pl.Schema, *, asked: tuple[Any, ...]) -> Iterator[pl.DataFrame]:
        columns, predicate, most, _ = asked
        wanted = {name: schema[name] for name in (schema if columns is None else columns)}
        for part in version.parts:
            try:
                there = [name for name in wanted if name in self._parts.schema(part)]
                rows = conformed(with_rows(self._parts.read(part, there), held(part)), wanted)
            except NotFound:
                if self._amended(version) is None:
                    raise
                raise Conflict(f"rows of {version.dataset!r} were erased while it was read; read it again") from None
            if most is not None:
                rows = rows.head(most)
            most = None if most is None else most - len(rows)
            yield rows if predicate is None else rows.filter(predicate)
            if most == 0:
                return

    def _given(self, table: Any, name: str) -> pl.DataFrame:
        rows = self._tables.frame(table, f"table {name!r}: what was given is")
        return storable(rows, table=name)

    def _key(self, key: str | Sequence[str] | None, newest: DatasetVersion | None) -> tuple[str, ...]:
        if key is None:
            return newest.key if newest else ()
        return (key,) if isinstance(key, str) else tuple(key)

    def _is_hidden(self, name: str, key: Sequence[str]) -> bool:
        return not self._personal(name).isdisjoint(key)

    def _personal(self, name: str) -> frozenset[str]:
        entry = self._datasets.entry(DatasetName(name))
        return entry.personal() if entry else frozenset()

    def _there(self, newest: DatasetVersion, rows: pl.DataFrame, *, key: tuple[str, ...]) -> np.ndarray:
        """Say of each row of a version whether its key is among those of new rows."""
        if lacking := [name for name in key if newest.rows and rows.schema[name] != self.schema(newest)[name]]:
            raise SourceFailed(f"column {lacking[0]!r}, of the key, has another type than in the version before")
        return among(self._read(newest, key), rows.select(key))

    def _grown(self, change: TableChange, *, schema: Mapping[str, pl.DataType], key: tuple[str, ...]) -> NextTable:
        new = written(self._parts, change.new)
        parts = settled(self._parts, (*change.parts, *new)) or (self._parts.put(pl.DataFrame(schema=schema)),)
        made, rows = len(change.new), sum(map(held, parts))
        said = ", ".join(
            [count(made, "new row")] * bool(made) + [f"{change.gone} left out"] * bool(change.gone) + [f"{rows} in all"]
        )
        return NextTable(parts, schema, key, said, {"new_rows": made, "left_out": change.gone})

    def _publish(
        self,
        name: str,
        next_of: Callable[[DatasetVersion | None], NextTable | None],
        *,
        message: str,
        source: str,
        actor: str,
    ) -> DatasetVersion:
        """Write the version that follows the newest one; where another was first with its number, try again on top."""
        dataset = check_name(name)
        for _ in range(_TRIES):
            with self._blobs.keeping():
                newest = self._datasets.find(dataset)
                _require_by_hand(newest)
                made = next_of(newest)
                if made is None and newest is not None:
                    return newest
                if made is None:
                    raise SourceFailed(f"table {name!r}: there is nothing to commit")
                version = self._version(dataset, made, newest=newest, message=message, source=source, actor=actor)
                try:
                    self._datasets.add(version, _committed(version, made))
                except Conflict:
                    continue
                return self._datasets.find(dataset, version.number) or version
        raise Conflict(f"table {name!r} is being committed by others all the time; try again later")

    def _version(
        self, name: DatasetName, made: NextTable, *, newest: DatasetVersion | None, message: str, source: str, actor: str
    ) -> DatasetVersion:
        schema = schema_of(pl.DataFrame(schema=made.schema))
        return DatasetVersion(
            dataset=name,
            number=newest.number + 1 if newest else 1,
            digest=version_digest(name, schema, parts=made.parts, key=made.key),
            schema=schema,
            parts=made.parts,
            rows=sum(map(held, made.parts)),
            order="",
            created_at=self._clock.now(),
            parent=newest.digest if newest else None,
            key=made.key,
            bytes=sum(part.bytes for part in made.parts),
            message=message,
            actor=actor,
            source=source,
        )


def _committed(version: DatasetVersion, made: NextTable) -> Event:
    node = Node(NodeKind.DATASET_VERSION, version.digest)
    parent = (Edge(node, Node(NodeKind.DATASET_VERSION, version.parent), "parent"),) if version.parent else ()
    return Event(
        key=digest_of("commit", version.dataset, version.number, version.digest),
        kind=EventKind.DATASET_COMMITTED,
        at=version.created_at,
        subject=version.dataset,
        actor=version.actor,
        message=f"version {version.number} of {version.dataset!r}: {made.said}",
        facts={"number": version.number, "digest": version.digest, "rows": version.rows, **made.facts},
        edges=parent,
    )


def _require_by_hand(newest: DatasetVersion | None) -> None:
    """Refuse what is no table, and a table that a project's loop grows: its next turn would not know of a change by hand."""
    if newest is None:
        return
    _table(newest)
    if newest.order:
        raise RequestInvalid(
            f"dataset {newest.dataset!r} is grown by its project's loop from {newest.source or 'its source'}; "
            "change the source, or commit under another name"
        )


def _require_own(newest: DatasetVersion | None) -> None:
    if newest is not None and newest.is_pinned:
        raise RequestInvalid(f"{newest.dataset!r} pins {newest.source}: change that table, and pin its new version")


def _require_one(where: object, keys: object) -> None:
    if (where is None) == (keys is None):
        raise RequestInvalid("say which rows: by a condition (where) or by keys, one of the two")


def _table(version: DatasetVersion) -> DatasetVersion:
    if version.kind is not DatasetKind.TABLE:
        raise RequestInvalid(f"dataset {version.dataset!r} is files, not a table; use `kedge data add` and `checkout`")
    return version


def _alike(one: Mapping[str, pl.DataType], other: Mapping[str, pl.DataType]) -> bool:
    return [*one.items()] == [*other.items()]


def _schema_of(schemas: Sequence[pl.Schema]) -> pl.Schema:
    if all(schema == schemas[0] for schema in schemas):
        return schemas[0]
    return stacked([pl.DataFrame(schema=schema) for schema in schemas]).schema


def _joined_schema(
    old: Mapping[str, pl.DataType], new: Mapping[str, pl.DataType], *, table: str, widen: bool
) -> Mapping[str, pl.DataType]:
    if old and not widen:
        _require_alike(old, new, table=table)
    for name, dtype in new.items():
        there = old.get(name, dtype)
        if there != dtype and pl.Null not in (there, dtype) and not (there.is_numeric() and dtype.is_numeric()):
            raise SourceFailed(
                f"column {name!r} of table {table!r} is {there}, and {dtype} in the rows to append; "
                "convert them, or commit the whole table anew"
            )
    return _schema_of([pl.Schema(old), pl.Schema(new)]) if old else new


def _require_alike(old: Mapping[str, object], new: Mapping[str, object], *, table: str) -> None:
    """Refuse rows whose columns are not the table's: a name may be misspelt."""
    more, lacking = [name for name in new if name not in old], [name for name in old if name not in new]
    if more or lacking:
        told = [f"have {', '.join(map(repr, more))}, which it has not"] * bool(more)
        told += [f"lack {', '.join(map(repr, lacking))}"] * bool(lacking)
        near = difflib.get_close_matches(more[0], lacking, n=1, cutoff=0.6) if more else []
        hint = f"did you mean {near[0]!r}? Else append" if near else "append"
        raise SourceFailed(
            f"the rows to append to table {table!r} {' and '.join(told)}; {hint} with widen=True to have nulls there"
        )


def _require_columns(columns: Sequence[str], schema: Mapping[str, pl.DataType], *, table: str) -> None:
    for name in columns:
        require_column(name, [*schema], where=f"table {table!r}")
