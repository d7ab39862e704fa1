"""Days, UTC: the blocks of time that losses are summed in. An answer belongs to the day that it holds for, start included;
a label to the day in which it became known, end included, as a window's end belongs to the window."""

from datetime import datetime, timedelta
from functools import lru_cache

from kedge.domain.durations import EPOCH, floor_to

DAY = timedelta(days=1)


@lru_cache(maxsize=4096)
def day_of(moment: datetime) -> datetime:
    """Give the midnight UTC that begins a moment's day."""
    return floor_to(moment, DAY)


@lru_cache(maxsize=4096)
def day_known(moment: datetime) -> datetime:
    """Give the midnight UTC that begins the day in which something became known; at midnight, the day that ends there."""
    return floor_to(moment - timedelta(microseconds=1), DAY)


def day_number(day: datetime) -> int:
    """Count the days from 1970 to a midnight."""
    return (day - EPOCH) // DAY


def day_at(number: int) -> datetime:
    """Give the midnight that so many days after 1970 began with."""
    return EPOCH + number * DAY
