"""How a model's answers differ between groups of people or things, in a window and over the last weeks."""

from collections.abc import Collection
from itertools import combinations

import msgspec

CROSS = "+"
"""Joins the columns of an intersection: "sex+race"."""
MISSING = "missing"
OTHERS = "other groups"


class CalibrationBin(msgspec.Struct, frozen=True, array_like=True):
    """Labelled rows whose answers lie in one tenth of [0, 1]: their number, mean answer, and share of ones."""

    rows: int
    answer: float
    truth: float


class GroupMeasure(msgspec.Struct, frozen=True, kw_only=True):
    """What a group got. `rows` were answered, `labelled` of them (or of earlier ones) have become known, `positives` as 1.

    The mean answer is over the rows; loss, mean truth and mean error (answer less truth) over the labelled ones. A rate is
    None where no row can say anything of it, or where the label is a number.
    """

    column: str
    group: str
    rows: int
    labelled: int
    positives: int = 0
    selection_rate: float | None = None
    true_positive_rate: float | None = None
    false_positive_rate: float | None = None
    answer: float | None = None
    truth: float | None = None
    error: float | None = None
    loss: float | None = None
    bins: tuple[CalibrationBin, ...] = ()


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """The greatest difference of a measure between two groups of a column, and the ratio of the lower to the higher one.

    `low` to `high` is the 95 % interval of the difference between `highest` and `lowest`, over the days that were counted
    (None: fewer than five); that these two are the ones furthest apart is not corrected for.
    `unjudged` names the groups with too few rows. Where a limit is declared, `evidence` says how sure it is that the
    difference exceeds it, over `days` closed days; it alarms at `evidence_limit`, and `between` names the two groups.
    """

    measure: str
    column: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    ratio: float | None = None
    highest: str = ""
    lowest: str = ""
    rows: int = 0
    unjudged: tuple[str, ...] = ()
    limit: float | None = None
    evidence: float = 0.0
    evidence_limit: float = 0.0
    between: tuple[str, str] = ("", "")
    days: int = 0
    alarm: bool = False


class Fairness(msgspec.Struct, frozen=True, kw_only=True):
    """Groups and gaps of one version in a window (`window`, `window_gaps`) and over the last weeks, older days weighing
    less (`recent`, `recent_gaps`). `notes` say what could not be measured, and why."""

    version: int
    window: tuple[GroupMeasure, ...] = ()
    window_gaps: tuple[Gap, ...] = ()
    recent: tuple[GroupMeasure, ...] = ()
    recent_gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()


CLASS_GAPS = ("demographic_parity", "equal_opportunity", "equalized_odds", "calibration", "mean_answer", "loss")
NUMBER_GAPS = ("mean_error", "mean_answer", "loss")
"""What can be compared between groups, where the label is a class, and where it is a number."""
RATE_GAPS = frozenset({"demographic_parity", "equal_opportunity", "equalized_odds", "mean_answer"})
"""Those of a class whose difference is never above 1."""


def crossed(columns: Collection[str], depth: int) -> tuple[str, ...]:
    """List columns, and their intersections of up to `depth` of them, each once; "a+b" is as it stands."""
    plain = [name for name in columns if CROSS not in name]
    more = [CROSS.join(some) for size in range(2, depth + 1) for some in combinations(plain, size)]
    known: dict[frozenset[str], str] = {}
    for name in (*columns, *more):
        known.setdefault(frozenset(name.split(CROSS)), name)
    return tuple(known.values())
