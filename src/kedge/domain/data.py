"""Datasets: immutable versions of a table, and what is expected of their rows.

A version is a list of parts, each a Parquet file in the blob store. A commit appends one part and shares the others
with its parent, so that a growing table costs what has grown.
"""

from datetime import datetime
from enum import Enum

import msgspec

from kedge.domain.ids import DatasetName, Digest

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


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One Parquet file of a version: its blob, its rows, and the span (exclusive, inclusive] of its order column."""

    digest: Digest
    rows: int
    bytes: int
    after: datetime | None
    upto: datetime


class DatasetVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable state of a named table. `order` is the column by which it grows: when a row became known."""

    dataset: DatasetName
    number: int
    digest: Digest
    schema: Schema
    parts: tuple[Part, ...]
    rows: int
    order: str
    created_at: datetime
    parent: Digest | None = None

    @property
    def upto(self) -> datetime | None:
        """Tell up to when rows are in this version; None for an empty one."""
        return self.parts[-1].upto if self.parts else None


class Severity(Enum):
    """What a breach does: ERROR stops the loop, QUARANTINE sets the rows aside and counts them, WARN only tells."""

    ERROR = "error"
    QUARANTINE = "quarantine"
    WARN = "warn"


class Rule(Enum):
    """What an expectation may say of a column (or, for the last two, of the table)."""

    TYPE = "type"
    NOT_NULL = "not_null"
    BETWEEN = "between"
    ONE_OF = "one_of"
    FINITE = "finite"
    UNIQUE = "unique"
    ROWS = "rows"


class Expectation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule on data. `share` is the greatest share of rows, in [0, 1], that may break it."""

    rule: Rule
    column: str = ""
    type: ColumnType | None = None
    at_least: float | None = None
    at_most: float | None = None
    values: tuple[str | int | float | bool, ...] = ()
    share: float = 0.0
    severity: Severity = Severity.ERROR


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """An expectation that did not hold: how many rows broke it, the first of them, and a sentence for people."""

    expectation: Expectation
    rows: int
    examples: tuple[str, ...]
    message: str


class ValidationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the expectations found in one version. Quarantined rows are left out of whatever is read for training."""

    dataset: DatasetName
    version: Digest
    passed: bool
    rows: int
    breaches: tuple[Breach, ...] = ()
    quarantined: int = 0
