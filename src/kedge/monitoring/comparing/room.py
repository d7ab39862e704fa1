"""Comparing by name: versions of datasets, files and frames against one another.

A side with more rows than are measured is read in a stream, every so many-th row of it: memory stays bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from kedge.data.quality.room import as_kept, is_file
from kedge.data.references import resolve
from kedge.data.source import every
from kedge.data.tables.versions import TableVersions
from kedge.domain.comparing import FrameComparison
from kedge.domain.data import KNOWN_AT, DatasetKind
from kedge.domain.monitoring import Profile
from kedge.errors import RequestInvalid, SourceFailed
from kedge.monitoring.comparing.comparison import ComparedSide, compare_sides
from kedge.monitoring.comparing.rules import wished
from kedge.monitoring.comparing.vectors import Embed
from kedge.monitoring.drift.profiling import profile_like, take_profile
from kedge.ports import Datasets, Tables

MOST_ROWS = 500_000
_INDEX = re.compile(r"__index_level_\d+__")
_UNNAMED = ("", "Unnamed: 0")


class CompareWishes(NamedTuple):
    """What a caller may choose. `columns` (all, if none) and `ignore` say what is compared; `tests` names the test or tests
    of a column, `test` those of all; `thresholds` by column or by test, `threshold` for all; `together` the joint tests;
    `embed` functions from texts to vectors, by column; `rows` how many of each side are measured at most."""

    columns: Sequence[str] = ()
    ignore: Sequence[str] = ()
    rules: str = "kedge"
    test: str | Sequence[str] | None = None
    tests: Mapping[str, str | Sequence[str]] | None = None
    threshold: float | None = None
    thresholds: Mapping[str, float] | None = None
    bins: str | int | None = None
    together: Sequence[str] = ()
    embed: Mapping[str, Embed] | None = None
    chunk_rows: int | None = None
    rows: int = MOST_ROWS


class NamedRows(NamedTuple):
    """Rows from elsewhere, under the name that a comparison shows."""

    name: str
    rows: pl.DataFrame


class NamedFile(NamedTuple):
    """A file to read, under the name that a comparison shows."""

    name: str
    path: str


class Comparing:
    """Compares what the store and the folder hold, and frames."""

    def __init__(self, *, datasets: Datasets, versions: TableVersions, tables: Tables) -> None:
        self._datasets, self._versions, self._tables = datasets, versions, tables

    def compare(self, reference: object, current: object, *, wishes: CompareWishes) -> FrameComparison:
        """Compare two frames (pandas, Polars, Arrow), files ("a.parquet") or versions ("people@v3"), in any pairing.

        Raises NotFound, RequestInvalid, SourceFailed.
        """
        checked = wished(
            wishes.rules,
            tests=wishes.tests,
            test=wishes.test,
            thresholds=wishes.thresholds,
            threshold=wishes.threshold,
            bins=wishes.bins,
        )
        if wishes.rows < 1:
            raise RequestInvalid(f"rows: {wishes.rows} is not a number of rows to measure")
        if wishes.chunk_rows is not None and wishes.chunk_rows < 1:
            raise RequestInvalid(f"chunk_rows: {wishes.chunk_rows} is not a number of rows")
        together = (wishes.together,) if isinstance(wishes.together, str) else tuple(wishes.together)
        sides = [self._side(given, word, wishes=wishes) for given, word in ((reference, "reference"), (current, "current"))]
        return compare_sides(
            sides[0], sides[1], wishes=checked, joint=together, embed=wishes.embed, chunk_rows=wishes.chunk_rows
        )

    def rows(self, name: str) -> pl.DataFrame:
        """Read a file, or a version of a dataset, by name. Raises NotFound, RequestInvalid, SourceFailed."""
        return self._side(name, name, wishes=CompareWishes()).rows

    def profile(self, table: object, *, like: Profile | None = None) -> Profile:
        """Profile a frame, a file or a version, in a stream where it is one: bins of its own, or those of a reference.

        Personal columns are left out. Raises NotFound, RequestInvalid, SourceFailed.
        """
        rows, _, personal = self._rows(table, "table")
        chosen = rows.drop([*personal, KNOWN_AT], strict=False)
        try:
            return take_profile(chosen) if like is None else profile_like(like, chosen)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise SourceFailed(f"the table cannot be read: {str(error).strip().partition(chr(10))[0]}") from error

    def _rows(self, given: object, word: str) -> tuple[pl.DataFrame | pl.LazyFrame, str, frozenset[str]]:
        """Find what is named or given: its rows, its name, the columns that are personal."""
        if isinstance(given, NamedRows):
            return given.rows, given.name, frozenset()
        if isinstance(given, NamedFile):
            try:
                return self._tables.lazy(given.path), given.name, frozenset()
            except SourceFailed as error:
                raise SourceFailed(str(error).replace(given.path, given.name)) from error
        if isinstance(given, pl.LazyFrame):
            return as_kept(given), word, frozenset()
        if not isinstance(given, str):
            return self._tables.frame(given, f"the {word} frame is"), word, frozenset()
        if is_file(given):
            return self._tables.lazy(given), given, frozenset()
        version = resolve(self._datasets, given)
        if version.kind is not DatasetKind.TABLE:
            raise RequestInvalid(f"dataset {version.dataset!r} is files, not a table: name one of its files")
        entry = self._datasets.entry(version.dataset)
        personal = frozenset(entry.personal()) if entry else frozenset()
        return self._versions.scan(version), f"{version.dataset}@v{version.number}", personal

    def _side(self, given: object, word: str, *, wishes: CompareWishes) -> ComparedSide:
        rows, name, personal = self._rows(given, word)
        side = _taken(rows, name, wishes=wishes) if isinstance(rows, pl.DataFrame) else _read(rows, name, wishes=wishes)
        return _without_index(side, wishes)._replace(personal=personal)


def _without_index(side: ComparedSide, wishes: CompareWishes) -> ComparedSide:
    """Leave out the index that pandas writes with a frame, and a first column without a name that counts the rows, unless
    they were asked for by name."""
    rows, wanted = side.rows, {*wishes.columns, *(wishes.tests or ()), *(wishes.thresholds or ())}
    found = [name for name in rows.columns if _INDEX.fullmatch(name)]
    found += [name for name in rows.columns[:1] if name in _UNNAMED and _counts(rows[name], side.total)]
    left = tuple(name for name in found if name not in wanted)
    return side._replace(rows=rows.drop(left), numbering=left) if left else side


def _counts(values: pl.Series, total: int) -> bool:
    """Say whether integers count rows from 0, or are every so many-th of such numbers."""
    if not values.dtype.is_integer() or values.null_count() or not len(values):
        return False
    steps = values.cast(pl.Int64).diff().drop_nulls()
    low, high = int(values.item(0)), int(values.item(-1))
    return low >= 0 and high < total and bool((steps > 0).all()) and steps.n_unique() <= 1


def _read(rows: pl.LazyFrame, name: str, *, wishes: CompareWishes) -> ComparedSide:
    """Read a side in a stream: all of its rows, or every so many-th."""
    try:
        chosen = rows.select(_columns(rows.collect_schema().names(), wishes))
        total = int(rows.select(pl.len()).collect(engine="streaming").item())
        step = -(-total // wishes.rows) if total > wishes.rows else 1
        return ComparedSide(name, every(chosen, step).collect(engine="streaming"), total)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceFailed(f"{name}: it cannot be read: {str(error).strip().partition(chr(10))[0]}") from error


def _taken(frame: pl.DataFrame, name: str, *, wishes: CompareWishes) -> ComparedSide:
    chosen = frame.select(_columns(frame.columns, wishes))
    step = -(-len(frame) // wishes.rows) if len(frame) > wishes.rows else 1
    return ComparedSide(name, chosen.gather_every(step) if step > 1 else chosen, len(frame))


def _columns(names: Sequence[str], wishes: CompareWishes) -> list[str]:
    """Choose the columns to read. Raises RequestInvalid for a wish that this side has none of."""
    if wishes.columns and not set(wishes.columns) & set(names):
        raise RequestInvalid(f"the table has no column {wishes.columns[0]!r}; it has: {', '.join(names[:20])}")
    kept = [name for name in names if (not wishes.columns or name in wishes.columns) and name not in wishes.ignore]
    return [name for name in kept if name != KNOWN_AT]
