"""What came of comparing a frame with a reference: column by column, and all columns together.

Distances and p-values are shown, and `moved` is the answer of one look under named rules. It is no alarm: those come from
the sequential detectors of the monitors, which may look as often as they like.
"""

from enum import Enum

import msgspec


class ComparedKind(Enum):
    """How a column is compared. TEXT is free text, VECTOR a list of numbers, such as an embedding."""

    NUMBER = "number"
    CATEGORY = "category"
    BOOLEAN = "boolean"
    TIME = "time"
    TEXT = "text"
    VECTOR = "vector"


class Oddity(Enum):
    """What is odd about a column, whatever its distances."""

    VANISHED = "vanished"
    APPEARED = "appeared"
    RETYPED = "retyped"
    CONSTANT = "constant"
    ALL_MISSING = "all_missing"
    INFINITE = "infinite"
    UNSEEN = "unseen"
    IDENTIFIER = "identifier"


BREAKING = frozenset(
    {Oddity.VANISHED, Oddity.APPEARED, Oddity.RETYPED, Oddity.CONSTANT, Oddity.ALL_MISSING, Oddity.INFINITE}
)
"""Under Kedge's own rules a column with one of these counts as moved."""


class OddNote(msgspec.Struct, frozen=True):
    """An oddity of a column, in words."""

    oddity: Oddity
    says: str


class DriftMeasure(msgspec.Struct, frozen=True, kw_only=True):
    """What one test found. `of` is what was tested: "values", "missing", "hour", "weekday", "length", "vocabulary" ...

    `p` is None where a test gives none. `threshold` is None where a measure is only shown: it then never `moved`.
    """

    test: str
    value: float
    of: str = "values"
    p: float | None = None
    threshold: float | None = None
    moved: bool = False


class SideFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a column. `distinct` is None for numbers, times and vectors; the figures of numbers leave out what is
    missing or infinite, those of a time are seconds since 1970, those of text its lengths."""

    rows: int
    missing: int = 0
    infinite: int = 0
    distinct: int | None = None
    mean: float | None = None
    deviation: float | None = None
    least: float | None = None
    median: float | None = None
    greatest: float | None = None


class ComparedColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column of both frames, or of one (the other side is None).

    `far` is the Jensen-Shannon distance (base 2, in [0, 1]) of the monitors' profile, missing values included: columns are
    ranked by it. `chance` is the p-value of one profile behind both. The picture: `borders` of bars of one width for what
    is ordered, else `labels`, with the shares of both sides; a personal column has none.
    """

    name: str
    kind: ComparedKind
    reference: SideFigures | None
    current: SideFigures | None
    far: float = 0.0
    chance: float | None = None
    moved: bool = False
    measures: tuple[DriftMeasure, ...] = ()
    odd: tuple[OddNote, ...] = ()
    borders: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    reference_shares: tuple[float, ...] = ()
    current_shares: tuple[float, ...] = ()
    personal: bool = False


class Teller(msgspec.Struct, frozen=True):
    """A column that tells the two frames apart, and how much of the AUC goes when it is shuffled."""

    column: str
    loss: float


class Together(msgspec.Struct, frozen=True, kw_only=True):
    """All columns in one question. "classifier": `value` is the cross-validated AUC of telling reference from current,
    [`low`, `high`] its 95 % interval. "energy": `value` is the energy distance, `p` by permutation."""

    test: str
    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    threshold: float
    moved: bool
    rows_reference: int
    rows_current: int
    telling: tuple[Teller, ...] = ()


class FrameComparison(msgspec.Struct, frozen=True, kw_only=True):
    """What came of comparing `current` with `reference`. `moved` is the answer for the whole frame under `rules`.

    `measured_reference` and `measured_current` are the rows that were read: an even sample where a side has more.
    `columns` are ranked: those that moved first, the farthest first.
    """

    reference: str
    current: str
    rows_reference: int
    rows_current: int
    measured_reference: int
    measured_current: int
    rules: str
    columns: tuple[ComparedColumn, ...]
    moved: bool
    notes: tuple[str, ...] = ()
    together: tuple[Together, ...] = ()

    @property
    def moved_columns(self) -> tuple[ComparedColumn, ...]:
        """Give the columns that moved."""
        return tuple(column for column in self.columns if column.moved)

    def column(self, name: str) -> ComparedColumn:
        """Give a column by its name. Raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


PREDICTIONS, REFERENCE = "predictions:", "reference:"


def is_logged(side: str) -> bool:
    """Tell the name of a window of the prediction log, or of what a version was judged on, from a dataset and a file."""
    return side.startswith((PREDICTIONS, REFERENCE))


def logged_parts(side: str) -> tuple[str, str]:
    """Part such a name: its model, and what follows the last "@"."""
    model, at, rest = side.removeprefix(PREDICTIONS).removeprefix(REFERENCE).rpartition("@")
    return (model, rest) if at else (rest, "")
