"""Bodies that are files: which requests may carry one, and how one is taken in bounded memory.

    socket -> 512 KiB at a time -> a thread cuts, hashes and writes it, while the next one arrives
A thread that is behind makes the socket wait. Where anything goes wrong before the end, nothing of the file is kept.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, TypeVar

from kedge.server.problems import Refused

AT_ONCE = 1 << 19
_STREAMED = re.compile(
    r"/(?:api|ajax-api)/2\.0/mlflow-artifacts/(?:artifacts|mpu/parts)/.+|/api/v1/(?:runs|logged-models)/[^/]+/artifacts/.+"
)
_POSTED = frozenset(("/ajax-api/2.0/mlflow/upload-artifact", "/api/2.0/mlflow/upload-artifact"))
_FROM_ANY_PAGE = ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data")

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
T_co = TypeVar("T_co", covariant=True)


class Arriving(Protocol[T_co]):
    """What takes a file's bytes: `Artifacts.receive` and `Artifacts.part` give one."""

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        ...

    def keep(self) -> T_co:
        """Make it be there."""
        ...

    def drop(self) -> None:
        """Forget what came."""
        ...


def carries_file(method: str, path: str) -> bool:
    """Say whether the body of such a request is a file: any type, and up to the limit for uploads."""
    return _STREAMED.fullmatch(path) is not None if method == "PUT" else method == "POST" and path in _POSTED


def check_file_type(method: str, given: str) -> None:
    """Check the content type of a file. A POST must have one that a page elsewhere cannot send unasked. Raises Refused."""
    if method == "POST" and given.split(";", maxsplit=1)[0].strip().lower() in _FROM_ANY_PAGE:
        told = f"the content type {given!r} is not taken here; send application/octet-stream"
        raise Refused(415, "media_type_unsupported", message=told)


async def take(receive: Receive, coming: Arriving[T_co]) -> T_co:
    """Hand a body on as it arrives, and keep what it makes. Raises Refused where it ends too early."""
    loop = asyncio.get_running_loop()
    writing: asyncio.Future[None] | None = None
    kept, more = False, True
    try:
        while more:
            batch, more = await _batch(receive)
            if writing is not None:
                await writing
            writing = loop.run_in_executor(None, coming.write, batch)
        if writing is not None:
            await writing
        made = await asyncio.to_thread(coming.keep)
        kept = True
        return made
    finally:
        if not kept:
            if writing is not None:
                await asyncio.gather(writing, return_exceptions=True)
            await asyncio.to_thread(coming.drop)


async def _batch(receive: Receive) -> tuple[bytes, bool]:
    """Gather messages up to a batch; say whether more is to come."""
    pieces, size, more = [], 0, True
    while more and size < AT_ONCE:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "request_invalid", message="the connection ended before the file did; nothing of it was kept")
        piece = message.get("body", b"")
        pieces.append(piece)
        size += len(piece)
        more = message.get("more_body", False)
    return b"".join(pieces), more
