"""Files on their way out: whole or in part, some MiB at a time, and never active in the browser that asked.

Whatever a file claims to be, it is sent as an attachment, its type is not guessed anew, and a page made of it would run in
an empty sandbox. Types that a browser could run or follow (HTML, SVG, XML, PDF, scripts) are sent as plain bytes.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import quote

from kedge.domain.artifacts import RunFile
from kedge.tracking.artifacts import Artifacts

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ASKED = ("range", "if-range", "if-none-match")  # headers of a request that say which bytes are wanted
_BYTES = "application/octet-stream"
_TEXTS = (".txt", ".log", ".md", ".py", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".sh", ".sql", ".r", ".patch", ".diff")
_SHOWN = {
    **dict.fromkeys(_TEXTS, "text/plain; charset=utf-8"),
    ".csv": "text/csv; charset=utf-8",
    ".tsv": "text/tab-separated-values; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_PLAIN_NAME = re.compile(r"[^A-Za-z0-9._ -]")


class Span(NamedTuple):
    """Which bytes of a file are asked for: from `start` to before `end`."""

    start: int
    end: int


def content_type(path: str) -> str:
    """Name the type that a file is sent as, by its ending alone."""
    return _SHOWN.get(path[path.rfind(".") :].lower(), _BYTES) if "." in path else _BYTES


def span_of(header: str, size: int) -> Span | None:
    """Read a Range header: None where the whole file is meant, an empty span where the file has no such bytes."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        return Span(max(0, size - int(match[2])), size) if int(match[2]) else Span(size, size)
    start, end = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
    if match[2] and int(match[2]) < int(match[1]):
        return None
    return Span(start, end) if start < size else Span(size, size)


def headers_of(file: RunFile) -> list[tuple[bytes, bytes]]:
    """Give the headers of a file, except for its length."""
    name = file.path.rpartition("/")[2]
    plain = _PLAIN_NAME.sub("_", name)
    told = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    return [
        (b"content-type", content_type(name).encode()),
        (b"content-disposition", told.encode()),
        (b"content-security-policy", b"sandbox; default-src 'none'"),
        (b"x-content-type-options", b"nosniff"),
        (b"etag", etag_of(file)),
        (b"accept-ranges", b"bytes"),
    ]


def etag_of(file: RunFile) -> bytes:
    """Name the content of a file, for caches."""
    return f'"{file.digest}"'.encode()


async def give(send: Send, file: RunFile, *, artifacts: Artifacts, asked: dict[str, str]) -> None:
    """Answer with a file, or with the part of it that was asked for. `asked` has the request's headers."""
    headers = headers_of(file)
    etag = etag_of(file).decode()
    if etag in [one.strip().removeprefix("W/") for one in asked.get("if-none-match", "").split(",")]:
        await _answer(send, 304, headers=headers)
        return
    span = span_of(asked.get("range", ""), file.size) if asked.get("if-range", etag) == etag else None
    if span is not None and span.start >= span.end:
        await _answer(send, 416, headers=[(b"content-range", f"bytes */{file.size}".encode()), (b"content-length", b"0")])
        return
    status, part = (200, Span(0, file.size)) if span is None else (206, span)
    if span is not None:
        headers.append((b"content-range", f"bytes {part.start}-{part.end - 1}/{file.size}".encode()))
    headers.append((b"content-length", str(part.end - part.start).encode()))
    pieces = await asyncio.to_thread(artifacts.read, file, start=part.start, end=part.end)
    first = await asyncio.to_thread(_next, pieces)  # what is broken at its beginning is still an answer with an error
    await send({"type": "http.response.start", "status": status, "headers": headers})
    while first is not None:
        reading = asyncio.get_running_loop().run_in_executor(None, _next, pieces)
        try:
            await send({"type": "http.response.body", "body": first, "more_body": True})
        finally:
            following = await reading
        first = following
    await send({"type": "http.response.body", "body": b""})


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)


async def _answer(send: Send, status: int, *, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
