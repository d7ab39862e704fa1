"""What the head of an inference request says, and the heads that were read before.

Who keeps a connection sends the same head with each request, byte for byte. What was parsed and checked of it the first
time (path, method, token, caller, sizes, content type) holds whenever it comes again, so that only the body is left to read.
"""

import msgspec

from kedge.errors import RequestInvalid
from kedge.serving.door.paths import Destination
from kedge.serving.door.reading import Given, header_length
from kedge.serving.wire.limits import patience_of, variant_of

_MOST, _MOST_BYTES = 1024, 2048


class Head(msgspec.Struct, frozen=True, gc=False):
    """One head: what it asks for, the `length` of its body in bytes, that of the JSON before binary tensors (`json`, None
    where the body is JSON alone), how many seconds the caller waits, and the tester's override."""

    place: Destination
    length: int
    json: int | None
    seconds: float | None
    variant: str | None
    entity: str | None


def read_head(place: Destination, given: Given) -> Head:
    """Read a head's lines. Raises HttpRefusal for its content type, RequestInvalid for what is Kedge's own."""
    length = given.get(b"content-length", b"")
    return Head(
        place,
        int(length) if length.isdigit() and len(length) < 12 else -1,
        header_length(given),
        patience_of(given.get(b"kedge-timeout")),
        variant_of(given.get(b"kedge-variant")),
        text_of(given.get(b"kedge-entity")),
    )


def text_of(header: bytes | None) -> str | None:
    """Read the header that names an entity. Raises RequestInvalid where it is no text."""
    if header is None:
        return None
    try:
        return header.decode()
    except UnicodeError:
        raise RequestInvalid("header Kedge-Entity is not UTF-8") from None


class KnownHeads:
    """The heads of requests that were answered on the short way: so many, none of them long."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """Find the head of what arrived, and give its body; None for a new one, and where not just its body follows."""
        end = data.find(b"\r\n\r\n", 0, _MOST_BYTES) + 4
        head = self._heads.get(data[:end])
        return (head, data[end:]) if head is not None and len(data) - end == head.length else None

    def learn(self, data: bytes, head: Head) -> None:
        """Remember the head of a request that came whole and alone."""
        end = data.find(b"\r\n\r\n", 0, _MOST_BYTES) + 4
        if end > 4 and len(data) - end == head.length:  # else it is too long, or not written as it usually is
            if len(self._heads) >= _MOST:
                self._heads.clear()
            self._heads[data[:end]] = head
