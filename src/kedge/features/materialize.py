"""Pushing what became known to the online store, in order of time, a cursor per view.

A view's timeline is kept sorted by when its rows became visible; a push is a binary search for the new end, and the
rows between the old end and it. The first push of a process goes from the beginning: writing a row again changes nothing.
"""

from datetime import datetime

import numpy as np
import polars as pl

from kedge.domain.features import FeatureView
from kedge.features.join import ViewTimeline
from kedge.features.online import LEAST, microseconds, pack, stored_name
from kedge.ports import OnlineRow, OnlineStore

_SEVERAL = 256


class Cursor:
    """How far one view has been pushed."""

    def __init__(self, view: FeatureView, timeline: ViewTimeline) -> None:
        self.timeline = timeline
        self._stored = stored_name(view)
        self._keys = timeline.keys
        self._events = timeline.events.to_physical()
        self._created = timeline.created.to_physical().fill_null(LEAST)
        self._visible = timeline.visible.to_physical().to_numpy()
        self._values = timeline.rows.select(timeline.features)
        self._done = 0

    def advance(self, upto: datetime, store: OnlineStore) -> int:
        """Push the rows that became visible up to a time and were not pushed yet; give their number.

        Of an entity's rows only the newest is written: rows stand in the order in which they win.
        """
        end = int(np.searchsorted(self._visible, microseconds(upto), side="right"))
        if end <= self._done:
            return 0
        rows = self._packed(self._done, end)
        store.put(self._stored, rows)
        pushed, self._done = end - self._done, end
        return pushed

    def _packed(self, start: int, end: int) -> dict[str, OnlineRow]:
        keys, values = self._keys[start:end], self._values[start:end]
        events, created = self._events[start:end], self._created[start:end]
        if end - start > _SEVERAL:
            last = keys.to_frame().select(pl.arg_where(pl.all().is_last_distinct())).to_series()
            keys, values, events, created = keys[last], values[last], events[last], created[last]
        rows = zip(events.to_list(), created.to_list(), values.rows(), strict=True)
        packed = (OnlineRow(event, made, pack(row)) for event, made, row in rows)
        return dict(zip(keys.to_list(), packed, strict=True))
