"""What differs between two versions of a dataset: files by path, tables by schema, by key and by distribution.

A diff is bounded: it counts everything, and names the first of what it counts. Values of personal columns are not in it.
"""

from datetime import datetime
from enum import Enum

import msgspec

from kedge.domain.data import Bar, ColumnType, DatasetVersion, Frequency
from kedge.domain.ids import DatasetName, Digest


class DiffSide(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two versions that are compared. `number` is 0 for what is in the workspace and no version yet."""

    dataset: DatasetName
    number: int
    digest: Digest
    rows: int = 0
    files: int = 0
    bytes: int = 0
    created_at: datetime | None = None


def side_of(version: DatasetVersion) -> DiffSide:
    """Name a version as one side of a diff."""
    return DiffSide(
        dataset=version.dataset,
        number=version.number,
        digest=version.digest,
        rows=version.rows,
        files=version.files,
        bytes=version.bytes,
        created_at=version.created_at,
    )


class FileChange(Enum):
    """What happened to a file. MOVED: the same content at another path."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"


class ChangedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that differs. `before` and `after` are its digests and None where it is not there; `was` is the path that
    a moved one had."""

    path: str
    change: FileChange
    before: Digest | None = None
    after: Digest | None = None
    bytes_before: int = 0
    bytes_after: int = 0
    was: str = ""


class FilesDiff(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="files"):
    """What differs between two versions of files. `files` are the first of those that differ, in order of their paths."""

    before: DiffSide
    after: DiffSide
    added: int = 0
    removed: int = 0
    changed: int = 0
    moved: int = 0
    unchanged: int = 0
    files: tuple[ChangedFile, ...] = ()

    @property
    def same(self) -> bool:
        """Tell whether nothing differs."""
        return not (self.added or self.removed or self.changed or self.moved)


class ColumnChange(Enum):
    """What happened to a column. RETYPED: its type, or the list of its known strings, is another one."""

    ADDED = "added"
    REMOVED = "removed"
    RETYPED = "retyped"


class SchemaChange(msgspec.Struct, frozen=True, kw_only=True):
    """A column that is new, gone or of another type."""

    column: str
    change: ColumnChange
    before: ColumnType | None = None
    after: ColumnType | None = None


class MovedColumn(msgspec.Struct, frozen=True, kw_only=True):
    """How far a column's distribution moved. `distances` are the monitors' own by name ("psi", "wasserstein" ...).

    `bins_before` and `bins_after` share their borders; of text and booleans `top_before` and `top_after` name the same
    values in the same order, those in neither list are the rest. A `personal` column has distances, and no values.
    """

    name: str
    type: ColumnType
    distances: dict[str, float]
    rows_before: int = 0
    rows_after: int = 0
    missing_before: int = 0
    missing_after: int = 0
    mean_before: float | None = None
    mean_after: float | None = None
    bins_before: tuple[Bar, ...] = ()
    bins_after: tuple[Bar, ...] = ()
    top_before: tuple[Frequency, ...] = ()
    top_after: tuple[Frequency, ...] = ()
    personal: bool = False
    moved: bool = False


class ChangedCell(msgspec.Struct, frozen=True, kw_only=True):
    """A value as it was and as it is, shown as text; None where it is missing, or where the row is not there."""

    column: str
    before: str | None = None
    after: str | None = None


class ExampleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that differs: its key, shown as text, and its values; of a changed row only those that changed."""

    key: tuple[str, ...] = ()
    cells: tuple[ChangedCell, ...] = ()


class TableDiff(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="table"):
    """What differs between two versions of a table.

    `key` are the columns that tell rows apart; without one, rows are compared whole and none counts as changed.
    `columns` are those of both versions, the one that moved farthest first. `changed_cells` counts values by column.
    The examples are the first rows in order of their keys. `sampled` is the number of rows that the distributions were
    measured on where those were not all, 0 where they were.
    """

    before: DiffSide
    after: DiffSide
    key: tuple[str, ...] = ()
    schema: tuple[SchemaChange, ...] = ()
    added: int = 0
    removed: int = 0
    changed: int = 0
    unchanged: int = 0
    changed_cells: dict[str, int] = {}
    columns: tuple[MovedColumn, ...] = ()
    examples_added: tuple[ExampleRow, ...] = ()
    examples_removed: tuple[ExampleRow, ...] = ()
    examples_changed: tuple[ExampleRow, ...] = ()
    sampled: int = 0

    @property
    def same(self) -> bool:
        """Tell whether nothing differs."""
        return not (self.schema or self.added or self.removed or self.changed)


DatasetDiff = FilesDiff | TableDiff
