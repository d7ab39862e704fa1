"""Prediction skew: what was served against what training would have read, and what the reference form answers."""

import msgspec

from kedge.domain.ids import PredictionId


class SkewedValue(msgspec.Struct, frozen=True, kw_only=True):
    """A feature as it was served, and as the join gives it for the same row and time."""

    prediction: PredictionId
    column: str
    served: float | int | bool | str | None
    joined: float | int | bool | str | None


class SkewedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that the version in its reference form, asked again with the features as they were served, does not give."""

    prediction: PredictionId
    version: int
    answered: float
    again: float


class Skew(msgspec.Struct, frozen=True, kw_only=True):
    """A window's sample of answered rows, replayed.

    `rows` were joined again, of which `skewed` have a feature that the join gives otherwise (`columns` counts them by
    name, `mismatches` shows some); `answers` were answered again, of which `changed` differ (`examples`). `evidence` that
    more than `tolerance` of the rows are skewed alarms at `limit`."""

    rows: int = 0
    skewed: int = 0
    columns: dict[str, int] = {}
    mismatches: tuple[SkewedValue, ...] = ()
    answers: int = 0
    changed: int = 0
    examples: tuple[SkewedAnswer, ...] = ()
    evidence: float = 0.0
    limit: float = 0.0
    tolerance: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Give the share of skewed rows: of features or of answers, whichever is greater."""
        return max(self.skewed / max(1, self.rows), self.changed / max(1, self.answers))
