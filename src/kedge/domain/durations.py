"""Durations and shares as people write them: "7d", "90 min", "5%"; and the borders of even spans of time."""

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds_of(text: str) -> float:
    """Read a duration: a positive number and ms, s, min, h, d or w. ValueError says what would be right."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|h|d|w)\s*", text)
    if match is None or float(match[1]) <= 0:
        raise ValueError(f'{text!r} is not a duration; write a positive number with ms, s, min, h, d or w, such as "7d"')
    return float(match[1]) * _UNITS[match[2]]


def span_of(text: str) -> timedelta:
    """Read a duration as a timedelta."""
    return timedelta(seconds=seconds_of(text))


def roughly(seconds: float) -> str:
    """Say a duration in a sentence, in whole days, hours or minutes, one at least: "9 days", "1 hour", "25 minutes"."""
    size, unit = next((one for one in ((86400, "day"), (3600, "hour")) if seconds >= 1.5 * one[0]), (60, "minute"))
    number = max(1, round(seconds / size))
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def share_of(text: str) -> float:
    """Read a share such as "5%" as 0.05, in (0, 1]. ValueError says what would be right."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    if match is None or not 0 < float(match[1]) <= 100:
        raise ValueError(f'{text!r} is not a share; write a percentage above 0 and up to 100, such as "5%"')
    return float(match[1]) / 100


def floor_to(moment: datetime, length: timedelta) -> datetime:
    """Give the last border at or before a moment, where borders are this far apart since 1970."""
    return EPOCH + (moment - EPOCH) // length * length
