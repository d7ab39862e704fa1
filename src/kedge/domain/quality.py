"""Model quality as a window tells it: what ground truth says so far, by when the answers were given, by slice, and how sure.

A `Banded` number is a measure with its 95 % band over blocks of time (days); without enough days it has none.
"""

from datetime import datetime

import msgspec


class Banded(msgspec.Struct, frozen=True):
    """A measure and its 95 % band; `low` and `high` are None where there are too few days for one."""

    value: float
    low: float | None = None
    high: float | None = None

    def __format__(self, digits: str) -> str:
        """Write the measure with its band, each number in a format: f"{banded:.3g}"."""
        band = f" ({self.low:{digits}} to {self.high:{digits}})" if self.low is not None and self.high is not None else ""
        return f"{self.value:{digits}}{band}"


class Cohort(msgspec.Struct, frozen=True, kw_only=True):
    """The answers given in one stretch of time, and what the truths that have arrived say of them.

    `rows` were answered, `labels` of them have their truth. `estimates` were made when the answers were given, without
    any truth.
    """

    start: datetime
    end: datetime
    rows: int
    labels: int
    metrics: dict[str, Banded] = {}
    estimates: dict[str, float] = {}

    @property
    def arrived(self) -> float:
        """Give the share of the answers whose truth has arrived."""
        return min(1.0, self.labels / self.rows) if self.rows else float(bool(self.labels))


class SliceQuality(msgspec.Struct, frozen=True, kw_only=True):
    """The recent labelled answers of one slice ("COLUMN=VALUE"): `bias` is the mean of truth less answer."""

    slice: str
    rows: int
    metrics: dict[str, Banded]
    bias: float


class ReliabilityBin(msgspec.Struct, frozen=True, array_like=True):
    """Rows with like answers: how many, their mean answer, and the share that came true."""

    rows: int
    answer: float
    truth: float


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Whether answers mean what they say: `bias` is the mean of truth less answer (calibration in the large), `error` the
    mean distance over ten bins of equal rows; `slope` is that of a logistic fit of the truth on the answer's logit (1 is
    right, below 1 is too sure; None where it cannot be fitted)."""

    rows: int
    bias: Banded
    error: Banded | None = None
    slope: float | None = None
    bins: tuple[ReliabilityBin, ...] = ()


class EstimateCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How far estimates without truth were off, over past cohorts whose truth came: mean, mean size and greatest size of
    estimate less truth."""

    metric: str
    cohorts: int
    bias: float
    off: float
    worst: float


class ConceptEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the relation between input and truth moved: the evidence of a bet on each day's bias (mean truth less
    answer), which alarms at `limit`; the gate's `accepted` bias, the `recent` one, and the `tolerance` between them.

    Once something rose: `since` which day, how much the loss a row is above the gate's (`rise`), which share of that the
    moved inputs explain (`explained`; None: unknown), what `moved` in the meantime, and whether it is `named` concept
    drift."""

    evidence: float
    limit: float
    days: int
    accepted: float
    recent: float
    tolerance: float
    since: datetime | None = None
    rise: float | None = None
    explained: float | None = None
    moved: tuple[str, ...] = ()
    named: bool = False

    @property
    def apart(self) -> bool:
        """Say whether the recent bias is beyond the tolerance, which alone is no alarm."""
        return abs(self.recent - self.accepted) > self.tolerance


class HeldOutQuality(msgspec.Struct, frozen=True, kw_only=True):
    """The model's answers to the rows that were served a coin in their place: decisions have not changed these truths, so
    these are the unbiased measures where decisions change what becomes true.

    `known` measures the `rows` of them whose truths became known in the window, `recent` those of the answers of the last
    `days` blocks of time (28 days)."""

    rows: int
    known: dict[str, Banded] = {}
    recent_rows: int = 0
    recent: dict[str, Banded] = {}
    days: int = 0


class ModelQuality(msgspec.Struct, frozen=True, kw_only=True):
    """What ground truth says of the answers, at a window's end.

    `known` measures the truths that became known in the window; `recent` those of the answers of the last `days` blocks
    of time (28 days), of which `arrived` is the share with a truth. `cohorts` are those that changed in this window,
    oldest first. `unjudged` names the slices with fewer than the project's least rows. `estimates` are made of this
    window's answers without any truth; `checks` says how far such estimates were off. `held_out` measures the hold-out
    alone (None: no row of it has its truth).
    """

    rows: int
    known: dict[str, Banded] = {}
    recent: dict[str, Banded] = {}
    recent_rows: int = 0
    days: int = 0
    arrived: float = 0.0
    cohorts: tuple[Cohort, ...] = ()
    slices: tuple[SliceQuality, ...] = ()
    unjudged: tuple[str, ...] = ()
    calibration: Calibration | None = None
    estimates: dict[str, float] = {}
    checks: tuple[EstimateCheck, ...] = ()
    concept: ConceptEvidence | None = None
    notes: tuple[str, ...] = ()
    held_out: HeldOutQuality | None = None
