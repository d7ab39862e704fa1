"""Tables for notebooks and scripts: `kedge.data.commit`, `read`, `diff` and the like, on the store of this folder.

A store is opened at its first use and stays open in this process: a lazy frame reads from it later.
"""

from __future__ import annotations

import atexit
import getpass
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedge.client.process import PROCESS
from kedge.domain.data import DatasetVersion, Erasure, Expectation, TableProfile, ValidationReport
from kedge.domain.data_diff import TableDiff
from kedge.errors import ConfigError
from kedge.settings import project_root, settings

if TYPE_CHECKING:
    import polars as pl

    from kedge.data.quality.room import Quality
    from kedge.data.tables.conditions import Where
    from kedge.records import Records

    Reference = str | DatasetVersion

_open: dict[tuple[int, str, int], Records] = {}
_opening = threading.Lock()


def commit(
    frame: Any,
    name: str,
    *,
    key: str | Sequence[str] | None = None,
    message: str = "",
    source: str = "",
    actor: str | None = None,
    store: str | None = None,
) -> DatasetVersion:
    """Make a frame (pandas, Polars, Arrow) the newest version of a table; where nothing differs, give the one there is.

    With a `key` (kept for later commits) only rows that changed are stored; they come last when the version is read.
    """
    tables = _records(store).tables
    return tables.commit(frame, name, key=key, message=message, source=source, actor=actor or person())


def append(
    frame: Any,
    name: str,
    *,
    key: str | Sequence[str] | None = None,
    replace: bool = False,
    widen: bool = False,
    message: str = "",
    actor: str | None = None,
    store: str | None = None,
) -> DatasetVersion:
    """Add rows to a table. With `replace`, a row whose key is there takes the old one's place; else it is refused.

    With `widen`, a column that one side lacks is null there; else that is refused, as it may be misspelt.
    """
    tables = _records(store).tables
    return tables.append(frame, name, key=key, replace=replace, widen=widen, message=message, actor=actor or person())


def delete(
    name: str,
    *,
    where: Where | None = None,
    keys: Any = None,
    message: str = "",
    actor: str | None = None,
    store: str | None = None,
) -> DatasetVersion:
    """Leave rows out of the next version, by a condition (Polars expression, or SQL text) or keys; older ones keep them."""
    return _records(store, make=False).tables.delete(name, where=where, keys=keys, message=message, actor=actor or person())


def erase(
    name: str,
    *,
    where: Where | None = None,
    keys: Any = None,
    reason: str,
    actor: str | None = None,
    store: str | None = None,
) -> Erasure:
    """Take rows out of every version for good, and their bytes out of the store; that it was done is kept, not what."""
    return _records(store, make=False).tables.erase(name, where=where, keys=keys, reason=reason, actor=actor or person())


def compact(name: str, *, actor: str | None = None, store: str | None = None) -> DatasetVersion:
    """Write a table's newest version anew without gaps and small parts, so that it reads faster; its rows stay the same."""
    return _records(store, make=False).tables.compact(name, actor=actor or person())


def commit_delta(
    place: str,
    name: str,
    *,
    version: int | None = None,
    message: str = "",
    actor: str | None = None,
    store: str | None = None,
) -> DatasetVersion:
    """Pin a version of a Delta table (a folder or URL; its newest, if none is given). Its rows stay where they are."""
    return _records(store).tables.pin(place, name, version=version, message=message, actor=actor or person())


def read(
    reference: Reference,
    *,
    columns: Sequence[str] | None = None,
    where: Where | None = None,
    as_of: datetime | date | str | None = None,
    store: str | None = None,
) -> pl.DataFrame:
    """Read a table, such as "flights", "flights@v12", "flights@TAG", or as it was committed by a time, as Polars.

    Within `kedge.run` the run notes which version it read.
    """
    tables, version = _records(store, make=False).tables, _version(reference, as_of=as_of, store=store)
    frame = tables.read(version, columns=columns, where=where)
    _note(version)
    return frame


def scan(
    reference: Reference,
    *,
    columns: Sequence[str] | None = None,
    as_of: datetime | date | str | None = None,
    store: str | None = None,
) -> pl.LazyFrame:
    """Give a table as a lazy frame that reads some rows and columns at a time: for tables larger than memory.

    Within `kedge.run` the run notes which version it reads.
    """
    version = _version(reference, as_of=as_of, store=store)
    _note(version)
    return _records(store, make=False).tables.scan(version, columns)


def _note(version: DatasetVersion) -> None:
    """Say of the run that this code is in, if it is in one, what it reads."""
    if (run := PROCESS.innermost()) is not None:
        run.log_dataset(version)


def diff(
    before: Reference, after: Reference, *, key: str | Sequence[str] | None = None, store: str | None = None
) -> TableDiff:
    """Say what differs between two versions: columns, rows by key, how far distributions moved. Personal columns masked."""
    sides = [_version(one, as_of=None, store=store) for one in (before, after)]
    return _records(store, make=False).tables.diff(sides[0], sides[1], key=key)


def versions(name: str, *, store: str | None = None) -> Sequence[DatasetVersion]:
    """List the versions of a table, oldest first."""
    return _records(store, make=False).tables.versions(name)


def tag(
    reference: str, tag: str, *, delete: bool = False, actor: str | None = None, store: str | None = None
) -> DatasetVersion | None:
    """Have a tag name the version that a reference names; with `delete`, have it name nothing any more."""
    name, _, which = reference.partition("@")
    catalogue = _records(store, make=False).catalogue
    return catalogue.tag(name, tag, reference=None if delete else which, actor=actor or person())


def validate(table: Any, expectations: object, *, actor: str | None = None, store: str | None = None) -> ValidationReport:
    """Say whether a table holds what is expected of it: a version by its reference (the report is kept with it), a
    Parquet or CSV file, or a frame. Expectations are a list of what `kedge.data.expect` gives, or a schema of Pandera."""
    with _quality(table, store) as quality:
        if not isinstance(table, str):
            return quality.validate_frame(table, expectations).report
        if quality.is_file(table):
            return quality.validate_file(table, expectations).report
        return quality.validate(table, expectations, actor=actor or person()).report


def profile(table: Any, *, again: bool = False, store: str | None = None) -> TableProfile:
    """Say what each column of a table holds; that of a version is kept with it, and counted `again` if asked."""
    with _quality(table, store) as quality:
        if not isinstance(table, str):
            return quality.profile_frame(table)
        return quality.profile_file(table) if quality.is_file(table) else quality.profile(table, again=again)


def suggest(table: Any, *, store: str | None = None) -> tuple[Expectation, ...]:
    """Draft expectations that a version, a file or a frame holds."""
    with _quality(table, store) as quality:
        if not isinstance(table, str):
            return quality.suggest_frame(table)
        return quality.suggest_file(table) if quality.is_file(table) else quality.suggest(table)


def person() -> str:
    """Name who runs this process, for the record."""
    return f"person:{getpass.getuser()}"


def opened_records(store: str | None) -> Records:
    """Open the store of this folder for who reads from it, and keep it open. Raises NotFound where there is none."""
    return _records(store, make=False)


def _version(reference: Reference, *, as_of: datetime | date | str | None, store: str | None) -> DatasetVersion:
    if isinstance(reference, DatasetVersion):
        return reference
    return _records(store, make=False).tables.find(reference, as_of=as_of)


@contextmanager
def _quality(table: Any, store: str | None) -> Iterator[Quality]:
    """Give what asks a table: a version in the store; a frame or file in the store if there is one, else without."""
    from kedge.data.quality.room import is_file
    from kedge.records import naming_tables, records_if_any

    found = settings(project_root(Path()), store=store)
    with naming_tables(table):
        if found.has_store or (isinstance(table, str) and not is_file(table)):
            yield _records(store, make=False).quality
            return
        with records_if_any(found) as records:
            yield records.quality


def _records(store: str | None, *, make: bool = True) -> Records:
    """Find or open the store of this folder; to `make` one is for who writes. Raises NotFound where there is none.

    Raises ConfigError where scripts log to a control plane instead.
    """
    found = settings(project_root(Path()), store=store)
    if found.server and not found.folder.is_dir():
        raise ConfigError(
            f"tables are read and written in a store, and KEDGE_URL names a control plane ({found.server}); "
            "name the store with store= or KEDGE_STORE"
        )
    with _opening:
        name = (os.getpid(), found.url, _inode(found.folder))
        if name not in _open:
            from kedge.records import open_records

            records = open_records(found, make=make)
            name = (os.getpid(), found.url, _inode(found.folder))
            _open[name] = records
        return _open[name]


def _inode(folder: Path) -> int:
    """Tell one folder from another that was made in its place."""
    try:
        return (folder / "kedge.db").stat().st_ino
    except OSError:
        return 0


@atexit.register
def _close() -> None:
    for (owner, _, _), records in _open.items():
        if owner == os.getpid():
            records.close()
    _open.clear()  # packs are let go of while the interpreter still stands
