"""What a caller may say about how it is answered: how long it waits, and which variant it wants as a tester."""

import time
from collections.abc import Mapping
from math import isfinite
from typing import Any

from kedge.errors import RequestInvalid

VARIANTS = ("champion", "challenger")
_LONGEST = 86_400.0


def patience_of(header: bytes | None) -> float | None:
    """Read how many seconds a caller waits from the header Kedge-Timeout, None where there is none.

    Raises RequestInvalid for a time that is not positive.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        seconds = -1.0
    if not (isfinite(seconds) and seconds > 0):
        raise RequestInvalid("header Kedge-Timeout is a number of seconds above 0, such as 0.25")
    return min(seconds, _LONGEST)


def deadline_of(parameters: Mapping[str, Any], patience: float | None = None) -> float | None:
    """Tell until when a caller waits, in seconds of `time.monotonic()`; None where it does not say.

    It says so by its header (`patience`, in seconds) or in the parameter `timeout` (microseconds, as Triton's clients do).
    Raises RequestInvalid for a parameter that is no such number.
    """
    if patience is not None:
        return time.monotonic() + patience
    if "timeout" not in parameters:
        return None
    given = parameters["timeout"]
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise RequestInvalid(f"parameter 'timeout' is a whole number of microseconds, not {given!r:.40}")
    # Triton's clients send 0 for no timeout at all.
    return time.monotonic() + min(given / 1e6, _LONGEST) if given else None


def variant_of(header: bytes | str | None) -> str | None:
    """Read which variant a tester asks for. Raises RequestInvalid for one that there is not."""
    if header is None:
        return None
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    if text not in VARIANTS:
        raise RequestInvalid(f"header Kedge-Variant is {' or '.join(VARIANTS)}, not {text[:40]!r}")
    return text
