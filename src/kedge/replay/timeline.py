"""A project's rows laid out in time: windows of ticks, and when each row's truth becomes known.

A tick is one request: all rows whose time falls in it. Rows are sorted by time; windows are half open [start, end).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import numpy as np
import polars as pl

from kedge.domain.data import KNOWN_AT
from kedge.domain.durations import floor_to, span_of
from kedge.domain.ids import PredictionId, RequestId, prediction_id
from kedge.domain.monitoring import Window
from kedge.domain.project import ProjectSpec
from kedge.errors import ConfigError, SourceFailed


@dataclass(frozen=True)
class Tick:
    """One request: its id, when it is sent, and its rows [first, last) of the timeline."""

    request: RequestId
    at: datetime
    first: int
    last: int


@dataclass(frozen=True)
class Timeline:
    """The rows of a project from `start` on (those before are history), with the windows they fall in."""

    spec: ProjectSpec
    rows: pl.DataFrame
    start: datetime
    windows: tuple[Window, ...]

    def ticks(self, window: Window) -> Iterator[Tick]:
        """Walk the requests of one window, in time order."""
        tick = _microseconds(span_of(self.spec.replay.tick))
        times = self._times
        first, last = np.searchsorted(times, [_stamp(window.start), _stamp(window.end)])
        if last == first:
            return
        cells = times[first:last] // tick
        borders = np.flatnonzero(np.diff(cells, prepend=cells[:1] - 1))
        for begin, end in zip(borders, [*borders[1:], last - first], strict=True):
            at = max(_moment(int(cells[begin]) * tick), window.start)
            name = RequestId(f"{self.spec.name}-{at:%Y-%m-%dT%H:%M}")
            yield Tick(name, at, int(first + begin), int(first + end))

    def known(self, after: datetime, upto: datetime) -> np.ndarray:
        """Find the live rows whose truth becomes known in (after, upto]: their positions, in time order."""
        known = self._known
        return np.flatnonzero((known > _stamp(after)) & (known <= _stamp(upto)) & (self._times >= _stamp(self.start)))

    def prediction_ids(self, rows: np.ndarray) -> list[PredictionId]:
        """Name the predictions of rows, as the ticks that asked for them name them."""
        names: dict[int, PredictionId] = {}
        for window in self._windows_of(rows):
            for tick in self.ticks(window):
                for row in range(tick.first, tick.last):
                    names[row] = prediction_id(tick.request, row - tick.first)
        return [names[int(row)] for row in rows]

    @property
    def begin(self) -> datetime:
        """Tell when the first row of all became known, less a moment: nothing was known up to here."""
        return _moment(int(self._known.min()) - 1)

    @property
    def end(self) -> datetime:
        """Tell when the last truth of all becomes known."""
        return _moment(int(self._known.max()))

    def _windows_of(self, rows: np.ndarray) -> list[Window]:
        length = (self.windows[0].end - self.windows[0].start) // timedelta(microseconds=1)
        places = np.unique((self._times[rows] - _stamp(self.start)) // length)
        return [self.windows[int(place)] for place in places]

    @property
    def _times(self) -> np.ndarray:
        return self.rows[self.spec.data.time].to_physical().to_numpy()

    @property
    def _known(self) -> np.ndarray:
        return self.rows[KNOWN_AT].to_physical().to_numpy()


def lay_out(spec: ProjectSpec, rows: pl.DataFrame) -> Timeline:
    """Cut rows (sorted by time) into windows. History ends at `replay.live_from`, else after the first fifth of the time.

    An infinite number counts as missing: no request can carry it, and training sets its row aside.
    """
    length, sticky = span_of(spec.monitoring.window), spec.rollout.sticky
    if sticky and sticky not in rows.columns:
        raise ConfigError(f"rollout.sticky: source {spec.data.source} has no column {sticky!r}, so no request can bring it")
    rows = _finite(rows.drop_nulls([spec.data.time, KNOWN_AT]))
    first, last = rows[spec.data.time].min(), rows[spec.data.time].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        raise SourceFailed(f"source {spec.data.source} has no row with a time in column {spec.data.time!r}")
    if spec.replay.live_from is not None:
        start = datetime.combine(spec.replay.live_from, time(), UTC)
    else:
        start = floor_to(first + (last - first) / 5, length) + length
    if not first < start <= last:
        raise SourceFailed(
            f"the replay goes live at {start:%Y-%m-%d}, but the rows of {spec.data.source} run from {first:%Y-%m-%d} "
            f"to {last:%Y-%m-%d}; set replay.live_from between them"
        )
    count = (last - start) // length + 1
    windows = tuple(Window(start + i * length, start + (i + 1) * length) for i in range(count))
    return Timeline(spec, rows, start, windows)


def _finite(rows: pl.DataFrame) -> pl.DataFrame:
    """Make infinite numbers and NaN missing. Columns without any are not copied: a replay holds its rows to its end."""
    numbers = [column for column in rows.iter_columns() if column.dtype == pl.Float64 and not column.is_finite().all()]
    return rows.with_columns(column.set(~column.is_finite(), None) for column in numbers)


def _stamp(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def _moment(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp / 1_000_000, UTC)


def _microseconds(span: timedelta) -> int:
    return round(span.total_seconds() * 1_000_000)
