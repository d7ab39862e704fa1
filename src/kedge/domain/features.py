"""Entities, feature views, feature services: what a project's feature file declares.

The join's rule, for training and serving alike: of an entity's rows with `t - ttl <= event time <= t` that were known
at t (`created <= t`), the one with the greatest event time, then the greatest created time, then the last in the input.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from kedge.domain.ids import ModelName, PredictionId
from kedge.domain.monitoring import Value


class FeatureView(msgspec.Struct, frozen=True, kw_only=True):
    """Features of one entity from one timed source.

    `source` is a callable without arguments that returns the table (pandas, Polars or Arrow), or a file's path.
    `entity` is the join key's column, `time` the event time, `created` when the row became known (None: at `time`).
    `ttl` is a duration ("3h"; None: for ever). Feature columns are named in `features`.
    """

    name: str
    entity: str
    source: Callable[[], Any] | str
    time: str
    features: tuple[str, ...]
    created: str | None = None
    ttl: str | None = None


class FeatureService(msgspec.Struct, frozen=True, kw_only=True):
    """What one model reads: columns that the request brings, and views looked up by the entity keys it names.

    A view's feature is called `VIEW__FEATURE` in training and serving alike. `derive` is an optional pure function from
    the joined Polars frame (request columns, view features, and `at__`, the time the answer is for) to a frame with
    further columns, listed in `derived`; the same code runs in training and serving. A name in `drop` is read but not
    given to the model.
    """

    name: str
    request: tuple[str, ...] = ()
    views: tuple[FeatureView, ...] = ()
    derive: Callable[[Any], Any] | None = None
    derived: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()

    def entities(self) -> tuple[str, ...]:
        """List the entity key columns that a request must carry, each once, in the order of the views."""
        return tuple(dict.fromkeys(view.entity for view in self.views))

    def columns(self) -> tuple[str, ...]:
        """List the columns that the model reads, in order."""
        looked_up = tuple(feature_name(view, feature) for view in self.views for feature in view.features)
        return tuple(name for name in (*self.request, *looked_up, *self.derived) if name not in self.drop)

    def logged(self) -> tuple[str, ...]:
        """List the columns that the prediction log has of each row: what the model reads, and what a request brings."""
        return tuple(dict.fromkeys((*self.columns(), *self.request, *self.entities())))


def feature_name(view: FeatureView, feature: str) -> str:
    """Give the full name under which a view's feature is known everywhere."""
    return f"{view.name}__{feature}"


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """One value that was served, and that the join gives otherwise for the same row and time."""

    prediction: PredictionId
    at: datetime
    column: str
    served: Value
    joined: Value


class ParityReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of replaying served features through the join: how many rows and values were compared, and differ.

    `columns` are those that are looked up or derived; what a request brings itself has nothing to be compared with.
    `mismatches` holds the first of them, `first_at` and `last_at` the times of the oldest and newest row compared.
    `older` counts the rows served by another definition of the service than today's, `keyless` those logged without
    their entity keys: neither can be joined again. `skewed` counts the rows with a mismatch, `by_column` the mismatches.
    """

    rows: int = 0
    values: int = 0
    mismatched: int = 0
    columns: tuple[str, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    first_at: datetime | None = None
    last_at: datetime | None = None
    older: int = 0
    keyless: int = 0
    skewed: int = 0
    by_column: dict[str, int] = {}

    @property
    def holds(self) -> bool:
        """Tell whether every value that was compared is the same."""
        return not self.mismatched

    def __str__(self) -> str:
        if not self.columns:
            return "nothing is looked up or derived, so there is nothing to compare"
        if not self.rows:
            return "no served row to compare"
        span = f"{self.rows:,} rows served from {self.first_at:%Y-%m-%d %H:%M} to {self.last_at:%Y-%m-%d %H:%M}"
        if self.holds:
            return f"all {self.values:,} values of {span} are what the join gives"
        return f"{self.mismatched:,} of {self.values:,} values of {span} are not what the join gives"


def parity_note(model: ModelName) -> str:
    """Name the note that keeps a model's newest parity report."""
    return f"parity:{model}"
