"""Entities, feature views, feature services: what a project's feature file declares.

The join's rule, for training and serving alike: of an entity's rows with `t - ttl <= event time <= t` that were known
at t (`created <= t`), the one with the greatest event time, then the greatest created time, then the last in the input.
"""

from collections.abc import Callable
from typing import Any

import msgspec


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


def feature_name(view: FeatureView, feature: str) -> str:
    """Give the full name under which a view's feature is known everywhere."""
    return f"{view.name}__{feature}"
