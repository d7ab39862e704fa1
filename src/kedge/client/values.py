"""What may be logged, and as what: numbers, params, times. Refused at the call, where the mistake is."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from operator import index
from typing import Any

from kedge.errors import RequestInvalid

LONGEST_KEY = 250
LONGEST_PARAM = 6000
LONGEST_TAG = 8000
MANY = 1 << 62  # steps below it need no second look


def number(key: str, value: Any) -> float:
    """Take a number: Python's, NumPy's, or a tensor's of one element. Raises RequestInvalid for anything else."""
    if isinstance(value, str | bytes | bytearray) or value is None:
        raise RequestInvalid(f"metric {key!r} is {value!r}, which is not a number; use log_params or set_tags for words")
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise RequestInvalid(f"metric {key!r} is of type {type(value).__name__}, not one number ({error})") from error


def checked_key(key: Any) -> str:
    """Give a key. Raises RequestInvalid where it is no text, empty, too long, or cannot be written."""
    if (
        not isinstance(key, str)
        or not 1 <= len(key) <= LONGEST_KEY
        or "\x00" in key
        or text(key, longest=LONGEST_KEY) != key
    ):
        raise RequestInvalid(f"{key!r} cannot be a key; keys are texts of 1 to {LONGEST_KEY} characters")
    return key


def whole(number: Any, *, what: str = "step") -> int:
    """Take a step, or a seed. Raises RequestInvalid where it is not a whole number of 64 bits."""
    try:
        found = index(number)
    except TypeError:
        raise RequestInvalid(f"{what} is {number!r}, which is not a whole number") from None
    return _of_64_bits(what, found)


def milliseconds(at: datetime | float) -> int:
    """Take a time: with a zone, or in seconds since 1970. Raises RequestInvalid."""
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise RequestInvalid(f"the time {at} has no zone; write datetime.now(UTC)")
        at = at.timestamp()
    try:
        return _of_64_bits("the time in milliseconds", int(at * 1000))
    except (TypeError, ValueError, OverflowError):
        raise RequestInvalid(f"the time {at!r} is neither a datetime nor seconds since 1970") from None


def _of_64_bits(what: str, number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise RequestInvalid(f"{what}, {number}, does not fit into 64 bits")
    return number


def flat(params: Mapping[str, Any], *, before: str = "") -> Iterator[tuple[str, str]]:
    """Write params as text: what is within a mapping gets a dotted name; over-long values are cut."""
    for key, value in params.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, before=f"{name}.")
        else:
            yield checked_key(name), text(value, longest=LONGEST_PARAM)


def text(value: Any, *, longest: int) -> str:
    """Write a value as text, cut to what is kept; what cannot be encoded is replaced."""
    written = str(value).replace("\x00", "").encode("utf-8", "replace").decode()
    return written if len(written) <= longest else written[: longest - 3] + "..."
