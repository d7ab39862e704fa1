"""Page tokens of a series: where the page before ended. Opaque to clients, checked when they come back."""

import base64
import binascii
import struct

from kedge.domain.tracking import Point
from kedge.errors import RequestInvalid

_PLACE = struct.Struct("<qqd")


def to_token(point: Point) -> str:
    """Write where a page ended."""
    return base64.urlsafe_b64encode(_PLACE.pack(*point)).decode().rstrip("=")


def from_token(token: str) -> Point | None:
    """Read where a page ended; None for the first page. Raises RequestInvalid."""
    if not token:
        return None
    try:
        at, step, value = _PLACE.unpack(base64.b64decode(token.encode() + b"==", altchars=b"-_", validate=True))
    except (binascii.Error, struct.error, UnicodeEncodeError) as error:
        raise RequestInvalid(f"{token[:40]!r} is not a page token; take the one of the page before, as it is") from error
    return at, step, value
