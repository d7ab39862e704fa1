"""Windows: how time is cut. All borders lie on whole multiples of the window's length since 1970-01-01 UTC.

A window of a day therefore starts at midnight UTC, one of an hour on the hour; of 7 days on a Thursday.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from kedge.domain.monitoring import Window

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def floor_to(moment: datetime, length: timedelta) -> datetime:
    """Give the last border at or before a moment."""
    return EPOCH + (moment - EPOCH) // length * length


def window_at(moment: datetime, length: timedelta) -> Window:
    """Give the window that holds a moment."""
    start = floor_to(moment, length)
    return Window(start, start + length)


def windows_between(start: datetime, upto: datetime, length: timedelta) -> Iterator[Window]:
    """List the windows from the one that holds `start`, as far as they have ended by `upto`."""
    window = window_at(start, length)
    while window.end <= upto:
        yield window
        window = Window(window.end, window.end + length)


@lru_cache(maxsize=4096)
def day_of(moment: datetime) -> datetime:
    """Give the midnight UTC that begins a moment's day."""
    return floor_to(moment, DAY)


@lru_cache(maxsize=4096)
def day_known(moment: datetime) -> datetime:
    """Give the midnight UTC that begins the day in which something became known. What is known at midnight was known in
    the day that ends there: a window's end belongs to the window."""
    return floor_to(moment - timedelta(microseconds=1), DAY)
