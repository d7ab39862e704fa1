"""What answers are worth to a business: what a project declares, and what a window found."""

from enum import Enum

import msgspec


class Better(Enum):
    """Which way is good."""

    HIGHER = "higher"
    LOWER = "lower"


class Per(Enum):
    """What a target is for: the mean of a prediction, the total of a day, or that of a month (30.44 days)."""

    PREDICTION = "prediction"
    DAY = "day"
    MONTH = "month"


class MissedWhen(Enum):
    """When a missed target is told: when it is beyond doubt, as soon as a closed day or month misses it, or not at all."""

    SURE = "sure"
    PLAIN = "plain"
    NEVER = "never"


class BusinessRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One business metric: `value` is what one answer is worth, a SQL expression over `prediction`, `truth` and the
    features; `target` is to be reached `per` prediction, day or month, `better` says from which side."""

    value: str
    target: float | None = None
    better: Better = Better.HIGHER
    per: Per = Per.PREDICTION
    alarm: MissedWhen = MissedWhen.SURE


class BusinessDay(msgspec.Struct, frozen=True, array_like=True):
    """A day: the rows answered, those whose worth became known, and what they were worth together."""

    day: int
    rows: float
    known: float
    total: float


class BusinessFound(msgspec.Struct, frozen=True, kw_only=True):
    """One business metric in a window and lately. `total` and `mean` (of a prediction) are the window's, where anything is
    known; `known` is the share of the last weeks' rows whose worth is known. `lately` is the mean of the last closed days in
    the target's unit, with the interval that they leave at 95 %, at any time; `month` is the total since the month began.

    `always` says what the window's rows would have been worth on average, had every answer been 1, or 0. `evidence` that
    the target is missed alarms at `evidence_limit`; `missed` says that it does, or that the newest closed day or month
    misses a plain target. Totals weigh a sampled log's rows.
    """

    name: str
    per: Per
    better: Better
    rows: int = 0
    total: float | None = None
    mean: float | None = None
    known: float | None = None
    lately: float | None = None
    lower: float | None = None
    upper: float | None = None
    days: int = 0
    month: float | None = None
    target: float | None = None
    always: dict[str, float] = {}
    evidence: float = 0.0
    evidence_limit: float = 0.0
    missed: bool = False
    note: str = ""
