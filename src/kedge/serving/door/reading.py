"""The body of a request, read up to a limit, and what HTTP itself refuses: sizes, encodings, content types, methods."""

import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]
Given = Mapping[bytes, bytes]

BODY_LIMIT = 16 * 2**20
"""The most bytes that a body may have, after it is unpacked, where nothing else is set."""

_JSON = b"application/json"
_BINARY = b"application/octet-stream"
_CSV = b"text/csv"
_FORM = b"application/x-www-form-urlencoded"
_WINDOW = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
_CLOSE = (b"connection", b"close")


class HttpRefusal(Exception):
    """A request that HTTP itself refuses: no such path, method, size or content type."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status, self.headers = status, list(headers)


class CallerGone(Exception):
    """The caller went away before its body was whole, or before it was answered."""


async def read_body(given: Given, receive: Receive, *, limit: int) -> bytes:
    """Read a body and unpack it.

    Raises HttpRefusal 413 as soon as it is known to be too long, 415 for an encoding that is not known; CallerGone.
    """
    length = given.get(b"content-length")
    if length is not None and int(length) > limit:
        raise _too_long(limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body = message.get("body", b"")
        if len(body) > limit:
            raise _too_long(limit)
    else:
        body = await _rest(message, receive, limit=limit)
    encoding = given.get(b"content-encoding")
    return body if encoding is None else _unpacked(body, encoding.strip().lower(), limit=limit)


async def _rest(message: Message, receive: Receive, *, limit: int) -> bytes:
    body = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise CallerGone
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_long(limit)
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()


def _unpacked(body: bytes, encoding: bytes, *, limit: int) -> bytes:
    """Unpack a body, no further than the limit: a small body can hold a very long one."""
    if encoding in (b"", b"identity"):
        return body
    if encoding not in _WINDOW:
        raise HttpRefusal(415, "a body comes as it is, or packed by gzip or deflate", (b"accept-encoding", b"gzip, deflate"))
    packed = zlib.decompressobj(_WINDOW[encoding])
    try:
        plain = packed.decompress(body, limit + 1)
    except zlib.error as error:
        raise HttpRefusal(400, f"the body is not what Content-Encoding says ({encoding.decode()}): {error}") from error
    if len(plain) > limit:
        raise _too_long(limit)
    if not packed.eof or packed.unused_data:
        raise HttpRefusal(400, f"the body is not one whole {encoding.decode()} stream")
    return plain


def _too_long(limit: int) -> HttpRefusal:
    # What is still on its way is not worth reading.
    return HttpRefusal(413, f"a body has at most {limit} bytes, unpacked; send fewer rows at once", _CLOSE)


def header_length(given: Given) -> int | None:
    """Tell how long the JSON of a body is that has binary tensors behind it, None for a body of JSON alone.

    Raises HttpRefusal 415 for any other content type. Some clients of the protocol name none at all.
    """
    length = given.get(b"inference-header-content-length")
    kind = given.get(b"content-type", _JSON)
    if length is None:
        if kind != _JSON and _type(kind) != _JSON:
            raise _other_type(kind, "send application/json, or binary tensors with Inference-Header-Content-Length")
        return None
    if kind != _JSON and _type(kind) not in (_JSON, _BINARY):
        raise HttpRefusal(415, "a body with Inference-Header-Content-Length is application/octet-stream")
    if not (length.isdigit() and len(length) < 10):
        raise HttpRefusal(400, f"Inference-Header-Content-Length is a number of bytes, not {length.decode('latin-1')!r}")
    return int(length)


def is_csv(given: Given) -> bool:
    """Tell whether rows come as CSV; else they are JSON. Raises HttpRefusal 415 for any other content type."""
    kind = _type(given.get(b"content-type", _JSON))
    if kind not in (_JSON, _CSV):
        raise _other_type(kind, "send rows as application/json or text/csv")
    return kind == _CSV


def _other_type(kind: bytes, wanted: str) -> HttpRefusal:
    """Say which content type came; the commonest is what curl says where it is told nothing."""
    hint = "; with curl add -H 'Content-Type: application/json'" if _type(kind) == _FORM else ""
    return HttpRefusal(415, f"{wanted}, not {kind.decode('latin-1')[:80]}{hint}")


def _type(value: bytes) -> bytes:
    return value.partition(b";")[0].strip().lower()
