"""Datasets: immutable versions of a table, and what is expected of their rows.

A version of a table is a list of parts, each a Parquet file in the blob store. A commit appends one part and shares the
others with its parent, so that a growing table costs what has grown. A version of files is a tree of blobs.
"""

from datetime import datetime
from enum import Enum

import msgspec

from kedge.domain.ids import DatasetName, Digest

PINNED = "delta:"
"""What the source of a version begins with whose rows stay in a Delta table."""
KNOWN_AT = "known_at__"
"""The column that Kedge adds to a project's rows: when a row's label became known."""


class ColumnType(Enum):
    """The types that a column may have in a signature or schema."""

    FLOAT = "float"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    STRING = "string"
    TIME = "time"


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A named, typed column. `categories` is the closed, ordered list of known strings of a STRING column."""

    name: str
    type: ColumnType
    categories: tuple[str, ...] = ()


class Schema(msgspec.Struct, frozen=True):
    """The columns of a table, in order."""

    columns: tuple[Column, ...]

    def names(self) -> tuple[str, ...]:
        """List the columns' names in order."""
        return tuple(column.name for column in self.columns)


class DatasetKind(Enum):
    """What a dataset is: a table, or a file or folder of any format."""

    TABLE = "table"
    FILES = "files"


class ColumnNote(msgspec.Struct, frozen=True, kw_only=True):
    """What people say of a column. The values of a `personal` one are never shown: not in profiles, examples or logs."""

    name: str
    meaning: str = ""
    unit: str = ""
    personal: bool = False


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset's entry in the catalogue: what it is, who answers for it, what its columns mean.

    `source` says where its data comes from, `fresh_within` how old its newest version may be (a duration such as "2d").
    """

    name: DatasetName
    kind: DatasetKind
    created_at: datetime
    owner: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    columns: tuple[ColumnNote, ...] = ()
    source: str = ""
    fresh_within: str = ""

    def personal(self) -> frozenset[str]:
        """Name the columns whose values are never shown."""
        return frozenset(note.name for note in self.columns if note.personal)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One Parquet file of a version: its blob, its rows, and the span (exclusive, inclusive] of its order column.

    `deleted` is a blob with one bit for each of its rows, set where this version no longer holds the row; `gone` counts
    those.
    """

    digest: Digest
    rows: int
    bytes: int
    after: datetime | None = None
    upto: datetime | None = None
    deleted: Digest | None = None
    gone: int = 0


class DatasetVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable state of a dataset.

    Of a table: `parts`, in order, less the rows deleted from them; `rows` are those left, `key` tells them apart, and
    `order` is the column by which it grows: when a row became known. Of files: `tree`, the digest of their manifest,
    and how many they are. `bytes` is the size of what the version holds, not of what it added to the store.

    `digest` names what was committed. Where rows or files were erased from a version later, it keeps its name, and
    `erased_at` says when.
    """

    dataset: DatasetName
    number: int
    digest: Digest
    schema: Schema
    parts: tuple[Part, ...]
    rows: int
    order: str
    created_at: datetime
    parent: Digest | None = None
    kind: DatasetKind = DatasetKind.TABLE
    key: tuple[str, ...] = ()
    tree: Digest | None = None
    files: int = 0
    bytes: int = 0
    message: str = ""
    actor: str = ""
    source: str = ""
    erased_at: datetime | None = None

    @property
    def is_pinned(self) -> bool:
        """Tell whether the rows stay in a table of another system: the one part is then the `Pin`, as JSON."""
        return self.source.startswith(PINNED)

    @property
    def upto(self) -> datetime | None:
        """Tell up to when rows are in this version; None for an empty one."""
        return self.parts[-1].upto if self.parts else None


class PinnedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a table that another system keeps: its path there, its size, and the BLAKE3 hash of what it holds."""

    path: str
    bytes: int
    digest: Digest


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a table that another system keeps (Delta): where, which, and the files that it consists of."""

    place: str
    version: int
    rows: int
    files: tuple[PinnedFile, ...]


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that were erased for good: how many stored ones, from which versions, and the bytes that became free.

    `held_by` names who holds the same bytes still: other datasets, files of runs. They are to be erased there too.
    """

    dataset: DatasetName
    rows: int
    versions: tuple[int, ...]
    freed: int
    held_by: tuple[str, ...] = ()


class Severity(Enum):
    """What a breach does: ERROR stops the loop, QUARANTINE sets the rows aside and counts them, WARN only tells."""

    ERROR = "error"
    QUARANTINE = "quarantine"
    WARN = "warn"


class Rule(Enum):
    """What an expectation may say: of a column, of several, or of the table (ROWS, COLUMNS, and HOLDS of sums and means)."""

    TYPE = "type"
    NOT_NULL = "not_null"
    BETWEEN = "between"
    ONE_OF = "one_of"
    FINITE = "finite"
    UNIQUE = "unique"
    ROWS = "rows"
    LENGTH = "length"
    MATCHES = "matches"
    RELATION = "relation"
    REFERENCE = "reference"
    MONOTONIC = "monotonic"
    FRESH = "fresh"
    COLUMNS = "columns"
    HOLDS = "holds"


class Expectation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule on data. `share` is the greatest share of rows, in [0, 1], that may break it.

    `columns` are those that are unique together, that refer to `keys` of `dataset`, or that a table must have; `pattern`
    is a regular expression for the whole text; `relation` compares `column` with the column `other`; `within` is the
    greatest age of the newest value; `strictly` monotonic times do not repeat; `holds` is an SQL expression that is true;
    `says` is the rule in words of its author. What is left out is not encoded: digests of older rules stay.
    """

    rule: Rule
    column: str = ""
    type: ColumnType | None = None
    at_least: float | datetime | None = None
    at_most: float | datetime | None = None
    values: tuple[str | int | float | bool, ...] = ()
    share: float = 0.0
    severity: Severity = Severity.ERROR
    columns: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    pattern: str | msgspec.UnsetType = msgspec.UNSET
    relation: str | msgspec.UnsetType = msgspec.UNSET
    other: str | msgspec.UnsetType = msgspec.UNSET
    dataset: str | msgspec.UnsetType = msgspec.UNSET
    keys: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    within: str | msgspec.UnsetType = msgspec.UNSET
    strictly: bool | msgspec.UnsetType = msgspec.UNSET
    holds: str | msgspec.UnsetType = msgspec.UNSET
    says: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def names(self) -> tuple[str, ...]:
        """Name the columns that the rule is about, those that it compares with left out."""
        return self.columns or ((self.column,) if self.column else ())


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """An expectation that did not hold: how many rows broke it, the first of them, and a sentence for people."""

    expectation: Expectation
    rows: int
    examples: tuple[str, ...]
    message: str


class ValidationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the expectations found in one version. Quarantined rows are left out of whatever is read for training.

    `held` lists the expectations that held, where a person asked for the report.
    """

    dataset: DatasetName
    version: Digest
    passed: bool
    rows: int
    breaches: tuple[Breach, ...] = ()
    quarantined: int = 0
    held: tuple[Expectation, ...] | msgspec.UnsetType = msgspec.UNSET


class Bar(msgspec.Struct, frozen=True, array_like=True):
    """A bar of a column's histogram: from `low` to below `high` (the last one: up to it), in the column's own unit."""

    low: float
    high: float
    rows: int


class Frequency(msgspec.Struct, frozen=True, array_like=True):
    """How many rows have a value; shown as text."""

    value: str
    rows: int


class ColumnSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What one column of a version holds. `distinct` may be an estimate. A `personal` column has no values here.

    Numbers have `least` to `deviation` and `bins`, times `least` and `greatest` as seconds since 1970, text and booleans
    their `top` values; `shortest` and `longest` count characters.
    """

    name: str
    type: ColumnType
    missing: int = 0
    distinct: int = 0
    personal: bool = False
    least: float | None = None
    greatest: float | None = None
    mean: float | None = None
    deviation: float | None = None
    quantiles: tuple[float, ...] = ()
    bins: tuple[Bar, ...] = ()
    top: tuple[Frequency, ...] = ()
    shortest: int | None = None
    longest: int | None = None


class TableProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a version of a table holds, column by column. `quantiles` of a column are at 1, 5, 25, 50, 75, 95, 99 %."""

    dataset: DatasetName
    version: Digest
    rows: int
    columns: tuple[ColumnSummary, ...]
    created_at: datetime
    duplicates: int = 0
