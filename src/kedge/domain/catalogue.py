"""What the catalogue says of datasets beyond their entries: what changes in one, how fresh it is, who uses it, what a
search found."""

from datetime import datetime
from enum import Enum

import msgspec
from msgspec import UNSET, UnsetType

from kedge.domain.data import ColumnNote, ColumnSummary, ColumnType, Dataset, DatasetKind, DatasetVersion
from kedge.domain.ids import DatasetName, Digest


class NoteChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of what is said of a column; what is left out stays."""

    name: str
    meaning: str | UnsetType = UNSET
    unit: str | UnsetType = UNSET
    personal: bool | UnsetType = UNSET


class EntryChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a dataset's entry; what is left out stays. `tags` are all labels that it shall have then.

    `fresh_within` is a duration such as "2d"; "" says that age does not matter.
    """

    owner: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    source: str | UnsetType = UNSET
    fresh_within: str | UnsetType = UNSET
    columns: tuple[NoteChange, ...] = ()


class FreshState(Enum):
    """Whether a dataset is as new as it should be. UNSTATED: nobody said how old it may be. EMPTY: it has no version."""

    FRESH = "fresh"
    STALE = "stale"
    UNSTATED = "unstated"
    EMPTY = "empty"


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """How old a dataset's newest version is, and may be; `due_at` is when it becomes, or became, stale."""

    state: FreshState
    newest_at: datetime | None = None
    age_seconds: float | None = None
    within_seconds: float | None = None
    due_at: datetime | None = None


class UseKind(Enum):
    """What uses a dataset."""

    RUN = "run"
    MODEL = "model"
    FEATURE = "feature"


class DatasetUse(msgspec.Struct, frozen=True, kw_only=True):
    """Something that uses a dataset: a run (`id`), a version of a registered model (NAME@NUMBER), a model's feature.

    `versions` are the numbers of the dataset's versions it used, the newest first; `role` says as what.
    """

    kind: UseKind
    id: str
    name: str
    role: str = ""
    versions: tuple[int, ...] = ()
    at: datetime | None = None


class DatasetUses(msgspec.Struct, frozen=True, kw_only=True):
    """Who uses a dataset, the newest first. `more` tells that there are others, older."""

    runs: tuple[DatasetUse, ...] = ()
    models: tuple[DatasetUse, ...] = ()
    features: tuple[DatasetUse, ...] = ()
    more: bool = False

    @property
    def count(self) -> int:
        """Count all uses."""
        return len(self.runs) + len(self.models) + len(self.features)


class QualityPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What one validation found: how many expectations broke by severity, how many rows were set aside."""

    at: datetime
    number: int
    version: Digest
    passed: bool
    rows: int
    errors: int = 0
    warnings: int = 0
    quarantined: int = 0


class CatalogueColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a dataset's newest version: what it is, what people say of it, what the profile found in it."""

    name: str
    type: ColumnType
    categories: tuple[str, ...] = ()
    note: ColumnNote
    summary: ColumnSummary | None = None


class HitPiece(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a text, and whether a search meant it."""

    text: str
    hit: bool


class CatalogueHit(msgspec.Struct, frozen=True, kw_only=True):
    """Where a search found its words: the field ("description", "column carrier" ...) and its text in pieces."""

    field: str
    pieces: tuple[HitPiece, ...]


class Shelved(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset as it stands in the catalogue: its entry, its newest version, the tags of its versions."""

    entry: Dataset
    newest: DatasetVersion | None = None
    tags: dict[str, int] = {}

    @property
    def name(self) -> DatasetName:
        """Name the dataset."""
        return self.entry.name

    @property
    def kind(self) -> DatasetKind:
        """Say what it is."""
        return self.newest.kind if self.newest else self.entry.kind


class CatalogueFound(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset that a search found, and where."""

    shelved: Shelved
    score: float = 0.0
    hits: tuple[CatalogueHit, ...] = ()


class CataloguePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a search, the best first: how many were found of how many, and the token of the next page ("": none).

    `near` is the word of the catalogue nearest to what was looked for, where nothing was found.
    """

    found: tuple[CatalogueFound, ...]
    total: int
    all: int
    next: str = ""
    near: str = ""
