"""The point-in-time join: what was known of an entity at a time, and nothing later.

A row of a view is *visible* from max(event time, created) on. Of the visible rows of an entity the winner has the
greatest event time, then the greatest created time (null least), then the last place in the input; it counts while
`t - ttl <= event time`. Sorted in that order, a row that is overtaken before it becomes visible can never win and is
left out; what stays is in order of visibility too, so one backward as-of join on it finds every winner.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from kedge.data.times import UTC, as_times
from kedge.errors import SourceFailed

_KEY, _VISIBLE, _EVENT, _CREATED, _RANK, _ROW = "key__", "visible__", "event__", "created__", "rank__", "row__"


@dataclass(frozen=True)
class ViewTimeline:
    """A view's rows that can win, in order of visibility: times, key as text, the features under their own names."""

    rows: pl.DataFrame
    features: tuple[str, ...]
    ttl: timedelta | None

    @property
    def visible(self) -> pl.Series:
        """Give when each row becomes visible, ascending."""
        return self.rows[_VISIBLE]

    @property
    def keys(self) -> pl.Series:
        """Give each row's entity key, as text."""
        return self.rows[_KEY]

    @property
    def events(self) -> pl.Series:
        """Give each row's event time."""
        return self.rows[_EVENT]

    @property
    def created(self) -> pl.Series:
        """Give each row's created time; null where the source has none."""
        return self.rows[_CREATED]

    def winners(self, keys: pl.Series, times: pl.Series) -> pl.Series:
        """Find for each (key, time) the index of the winning row in `rows`, null where nothing is known."""
        asked = pl.DataFrame({_KEY: keys, _VISIBLE: times}).with_row_index(_ROW)
        if keys.null_count() or times.null_count():
            asked = asked.drop_nulls([_KEY, _VISIBLE])
        if not asked[_VISIBLE].is_sorted():
            asked = asked.sort(_VISIBLE)
        known = self.rows.select(_KEY, _VISIBLE, _EVENT).with_row_index(_RANK)
        found = asked.join_asof(known, on=_VISIBLE, by=_KEY, strategy="backward", check_sortedness=False)
        found = found.filter(self._in_time())
        winners = np.zeros(len(keys), np.uint32)
        matched = np.zeros(len(keys), np.bool_)
        place = found[_ROW].to_numpy()
        winners[place] = found[_RANK].to_numpy()
        matched[place] = True
        return pl.DataFrame({"at": winners, "matched": matched}).select(pl.when("matched").then("at"))["at"]

    def _in_time(self) -> pl.Expr:
        found = pl.col(_RANK).is_not_null()
        return found if self.ttl is None else found & (pl.col(_EVENT) >= pl.col(_VISIBLE) - self.ttl)


def timeline(
    view_frame: pl.DataFrame,
    *,
    entity: str,
    event_time: str,
    created: str | None,
    ttl: timedelta | None,
    features: tuple[str, ...],
    where: str,
) -> ViewTimeline:
    """Put a view's rows in the order in which they became visible. Rows without key or event time match nothing."""
    known = view_frame.select(
        as_keys(view_frame[entity], where).alias(_KEY),
        as_times(view_frame[event_time], where).alias(_EVENT),
        (pl.lit(None, UTC) if created is None else as_times(view_frame[created], where)).alias(_CREATED),
        **{feature: pl.col(feature) for feature in features},
    )
    known = known.drop_nulls([_KEY, _EVENT])
    if created is not None or not known[_EVENT].is_sorted():  # what is in order already is shared with the source
        known = known.sort(_EVENT, _CREATED, nulls_last=False, maintain_order=True)
    known = known.with_columns(pl.max_horizontal(_EVENT, _CREATED).alias(_VISIBLE))
    if not known[_VISIBLE].is_sorted():
        known = known.with_row_index(_RANK).sort(_VISIBLE, maintain_order=True)
        known = known.filter(pl.col(_RANK) == pl.col(_RANK).cum_max().over(_KEY)).drop(_RANK)
    return ViewTimeline(rows=known, features=features, ttl=ttl)


def point_in_time(
    rows: pl.DataFrame,
    view_frame: pl.DataFrame,
    *,
    entity: str,
    time: str,
    event_time: str,
    created: str | None,
    ttl: timedelta | None,
    features: Mapping[str, str],
) -> pl.DataFrame:
    """Join to each row what its entity's view knew at the row's time. One row out per row in, in order.

    `features` maps a source column to the name it gets. Source: Kedge's rules in `domain/features.py`.
    """
    known = timeline(
        view_frame,
        entity=entity,
        event_time=event_time,
        created=created,
        ttl=ttl,
        features=tuple(features),
        where="the view",
    )
    winners = known.winners(as_keys(rows[entity], "the rows"), as_times(rows[time], "the rows"))
    return rows.with_columns(known.rows.select(pl.col(name).gather(winners).alias(to) for name, to in features.items()))


def as_keys(column: pl.Series, where: str) -> pl.Series:
    """Give entity keys as text, as the online store holds them. Whole floats (a table with nulls) count as integers."""
    if column.dtype.is_float():
        whole = column.fill_nan(None)
        if not (whole.drop_nulls() % 1 == 0).all():
            raise SourceFailed(f"entity column {column.name!r} of {where} holds fractions; keys are text or whole numbers")
        column = whole.cast(pl.Int64)
    return column.cast(pl.String)


def key_text(key: object) -> str | None:
    """Give one key of a request as text, as `as_keys` does for a column."""
    if key is None or isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(int(key)) if isinstance(key, float) and key.is_integer() else str(key)
