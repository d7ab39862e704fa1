"""Erasing rows for good: out of every version, and out of the files that held them.

    note what is to go -> parts without the rows -> versions amended, with their event -> old files removed -> note cleared

A part that holds such rows is written anew without them, and every version that names it names the new one: versions keep
number and digest, and say when rows were erased. A kill at any moment leaves either all as it was, or a note by which the
next erasure (or `finish`) removes what is left. The event says who, why and how many, and nothing of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl
from msgspec.structs import replace

from kedge.data.tables.parts import Parts, conformed, held, stacked, with_rows
from kedge.domain.counts import count
from kedge.domain.data import DatasetKind, DatasetVersion, Erasure, Part
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, Digest, digest_of
from kedge.errors import NotFound, RequestInvalid
from kedge.ports import Clock, Datasets, DataStore, Notes, RunFiles

_NOTE = "erasing"

Chooser = Callable[[pl.DataFrame], np.ndarray]


class Rewritten(NamedTuple):
    """A part without the rows: which of the old rows it keeps, and the new file."""

    keeps: np.ndarray
    part: Part


class Erasures:
    """Takes rows out of all versions of a table."""

    def __init__(
        self, *, datasets: Datasets, blobs: DataStore, parts: Parts, files: RunFiles, notes: Notes, clock: Clock
    ) -> None:
        self._datasets, self._blobs, self._parts = datasets, blobs, parts
        self._files, self._notes, self._clock = files, notes, clock

    def erase(
        self, name: DatasetName, *, chosen: Chooser, columns: Sequence[str], schema: pl.Schema, reason: str, actor: str
    ) -> Erasure:
        """Erase the rows that are chosen by these columns of theirs. Raises NotFound, RequestInvalid."""
        if not reason.strip():
            raise RequestInvalid("say why rows are erased, such as a request's number; it is kept with the event")
        with self._blobs.alone():
            self._finish()
            versions = [version for version in self._datasets.list(name) if not version.is_pinned]
            wanted = {column: schema[column] for column in columns}
            rewritten = self._rewrite(versions, chosen, wanted=wanted)
            if not rewritten:
                return Erasure(dataset=name, rows=0, versions=(), freed=0)
            now = self._clock.now()
            amended = [amended_by(self._parts, version, rewritten=rewritten, at=now) for version in versions]
            changed = [new for new, old in zip(amended, versions, strict=True) if new is not old]
            old = _named(versions) - _named(amended)
            rows = sum(int((~one.keeps).sum()) for one in rewritten.values())
            self._plan({**self._planned(), name: sorted(old)})
            self._datasets.amend(changed, _erased(name, changed, rows=rows, old=old, reason=reason, actor=actor, at=now))
            freed, holders = self._finish()
        numbers = tuple(version.number for version in changed)
        return Erasure(dataset=name, rows=rows, versions=numbers, freed=freed, held_by=holders)

    def finish(self) -> int:
        """Remove what an erasure that was killed has left; give the bytes that this made free."""
        if not self._planned():
            return 0
        with self._blobs.alone():
            return self._finish()[0]

    def _rewrite(
        self, versions: Sequence[DatasetVersion], chosen: Chooser, *, wanted: Mapping[str, pl.DataType]
    ) -> dict[Digest, Rewritten]:
        """Write anew each part that holds such rows, those that versions left out counted."""
        found: dict[Digest, Rewritten] = {}
        for digest in dict.fromkeys(part.digest for version in versions for part in version.parts):
            rows = self._parts.whole(digest)
            there = rows.select(name for name in wanted if name in rows.columns)
            gone = chosen(conformed(with_rows(there, len(rows)), wanted))
            if gone.any():
                found[digest] = Rewritten(~gone, self._parts.put(rows.filter(pl.Series(~gone))))
        return found

    def _finish(self) -> tuple[int, tuple[str, ...]]:
        """Remove what is planned to go and no version names any more; name who else holds some of it."""
        planned = self._planned()
        blobs = {Digest(one) for several in planned.values() for one in several}
        if not blobs:
            return 0, ()
        holders: dict[str, set[Digest]] = {}
        for dataset in self._datasets.names():
            if both := blobs & self._held(dataset, blobs):
                holders[dataset] = both
        if runs := self._files.named(sorted(blobs)):
            holders["files of runs"] = set(runs)
        kept = set().union(*holders.values())
        # what commits that were killed have left is in no version, and may hold the very rows
        spare = {digest for digest, _ in self._blobs.unused(self._trees(), blobs=self._all_parts())}
        freed = self._blobs.remove(sorted((blobs - kept) | spare))
        self._plan({})
        return freed, tuple(sorted(name for name in holders if name not in planned))

    def _held(self, dataset: DatasetName, blobs: set[Digest]) -> set[Digest]:
        versions = self._datasets.list(dataset)
        found = _named(versions)
        for tree in {version.tree for version in versions if version.kind is DatasetKind.FILES}:
            if tree is not None:
                found.update(file.digest for file in self._blobs.manifest(tree) if file.digest in blobs)
        return found

    def _trees(self) -> Iterator[Digest]:
        for name in self._datasets.names():
            yield from (version.tree for version in self._datasets.list(name) if version.tree is not None)

    def _all_parts(self) -> Iterator[Digest]:
        for name in self._datasets.names():
            yield from _named(self._datasets.list(name))

    def _planned(self) -> dict[str, list[str]]:
        return msgspec.json.decode(self._notes.get(_NOTE) or b"{}", type=dict[str, list[str]])

    def _plan(self, blobs: Mapping[str, Sequence[str]]) -> None:
        self._notes.put(_NOTE, msgspec.json.encode(blobs))


def amended_by(
    parts: Parts, version: DatasetVersion, *, rewritten: Mapping[Digest, Rewritten], at: datetime
) -> DatasetVersion:
    """Give a version as it is with parts that were written anew; itself where it names none of them."""
    if not any(part.digest in rewritten for part in version.parts):
        return version
    new = [_without(parts, part, new=rewritten.get(part.digest)) for part in version.parts]
    kept = tuple(part for part in new if held(part) or version.order) or tuple(new[:1])
    return replace(version, parts=kept, rows=sum(map(held, kept)), bytes=sum(part.bytes for part in kept), erased_at=at)


def erased_by_either(parts: Parts, here: DatasetVersion, *, there: DatasetVersion, at: datetime) -> DatasetVersion:
    """Give one version of which two stores erased rows, without the rows that either erased: those that both hold stay.

    Rows are told by all their values, as an erasure chooses them; of equal rows as many stay as both hold.
    """
    schema = stacked([pl.DataFrame(schema=parts.schema(part)) for part in here.parts]).schema
    mine = [_hashes(parts, part, schema=schema) for part in here.parts]
    theirs = pl.concat([_hashes(parts, part, schema=schema) for part in there.parts])
    turned = [rows.with_columns(turn=pl.int_range(pl.len()).over("row")) for rows in (pl.concat(mine), theirs)]
    both = turned[0].with_row_index("place").join(turned[1], on=["row", "turn"], how="semi")["place"].to_numpy()
    stays = np.zeros(len(turned[0]), dtype=bool)
    stays[both] = True
    rewritten, start = {}, 0
    for part, rows in zip(here.parts, mine, strict=True):
        keeps = stays[start : start + len(rows)]
        start += len(rows)
        if not keeps.all():
            rewritten[part.digest] = Rewritten(keeps, parts.put(parts.whole(part.digest).filter(pl.Series(keeps))))
    return amended_by(parts, here, rewritten=rewritten, at=at)


def _hashes(parts: Parts, part: Part, *, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return conformed(parts.whole(part.digest), schema).hash_rows(seed=0).alias("row").to_frame()


def _without(parts: Parts, part: Part, *, new: Rewritten | None) -> Part:
    if new is None:
        return part
    left_out = parts.left_out(part)
    bare = replace(part, digest=new.part.digest, rows=new.part.rows, bytes=new.part.bytes, deleted=None, gone=0)
    return bare if left_out is None else parts.marked(bare, left_out[new.keeps])


def _named(versions: Iterable[DatasetVersion]) -> set[Digest]:
    """List the blobs that versions of tables name."""
    parts = [part for version in versions for part in version.parts]
    return {part.digest for part in parts} | {part.deleted for part in parts if part.deleted is not None}


def _erased(
    name: DatasetName,
    changed: Sequence[DatasetVersion],
    *,
    rows: int,
    old: set[Digest],
    reason: str,
    actor: str,
    at: datetime,
) -> Event:
    return Event(
        key=digest_of("erase", name, [version.number for version in changed], sorted(old)),
        kind=EventKind.DATA_ERASED,
        at=at,
        subject=name,
        actor=actor,
        message=f"{count(rows, 'row')} erased from {count(len(changed), 'version')} of {name!r}: {reason}",
        facts={"rows": rows, "versions": len(changed), "reason": reason},
    )


def require_there(versions: Sequence[DatasetVersion], name: str) -> DatasetVersion:
    """Give the newest version. Raises NotFound, RequestInvalid."""
    if not versions:
        raise NotFound(f"there is no dataset {name!r}; list them with `kedge data list`")
    if versions[-1].kind is not DatasetKind.TABLE:
        raise RequestInvalid(f"dataset {name!r} is files, not a table")
    return versions[-1]
