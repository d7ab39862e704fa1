"""Trees of files: a manifest that names each file's blob. One form for every blob store, so a tree has one digest.

    [{"name":"a.csv","digest":"...","size":3},{"name":"run.sh","digest":"...","size":9,"executable":true}, ...]

A JSON list without spaces, sorted by name. It is written and read some entries at a time: `},{"name":"` cannot stand
inside a JSON string (its quotes would be escaped), so it parts two entries wherever it stands.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import PurePosixPath

import msgspec

from kedge.domain.ids import Digest
from kedge.errors import StoreBroken
from kedge.ports import TreeFile

NOTHING = Digest("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")  # BLAKE3 of no bytes
_BETWEEN = b'},{"name":"'
_AT_ONCE = 1000


class File(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of a tree."""

    name: str
    digest: Digest
    size: int
    executable: bool = False
    link: str = ""


_list = msgspec.json.Decoder(list[File])


def require_plain(name: str) -> None:
    """Check that a file's name stays below the folder that a tree may one day be written to. Raises ValueError."""
    parts = name.split("/")
    if not name or "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{name!r} cannot name a file of a tree; use a relative name without '.', '..', backslash or NUL")


def write_manifest(sizes: Mapping[str, int], digests: Mapping[str, Digest]) -> bytes:
    """List the files in the order of their names, as JSON."""
    return b"".join(write_entries(TreeFile(name, digests[name], sizes[name]) for name in sorted(sizes)))


def write_entries(files: Iterable[TreeFile]) -> Iterator[bytes]:
    """List sorted files as JSON, some at a time. Raises ValueError for a name, or where they are not sorted."""
    start, last, rest = b"[", "", iter(files)
    while some := list(islice(rest, _AT_ONCE)):
        for file in some:
            require_plain(file.name)
            if file.name <= last:
                raise ValueError(f"{file.name!r} comes after {last!r}: files of a tree come sorted, each name once")
            last = file.name
        yield start + msgspec.json.encode([File(*file) for file in some])[1:-1]
        start = b","
    yield b"]" if start == b"," else b"[]"


def read_manifest(data: bytes, digest: Digest) -> list[TreeFile]:
    """Read what `write_manifest` wrote. Raises StoreBroken for a blob that is no manifest."""
    return list(read_entries([data], digest))


def read_entries(pieces: Iterable[bytes], digest: Digest) -> Iterator[TreeFile]:
    """Read what `write_entries` wrote, however its bytes are cut. Raises StoreBroken for a blob that is no manifest."""
    waiting = b""
    links: set[str] = set()
    try:
        for piece in pieces:
            waiting += piece
            end = waiting.rfind(_BETWEEN)
            if end > 0:
                yield from _entries(waiting[: end + 1] + b"]", links)
                waiting = b"[" + waiting[end + 2 :]
        yield from _entries(waiting, links)
    except ValueError as error:  # msgspec's own errors are ValueErrors
        raise StoreBroken(f"blob {digest} is not a tree of files: {error}; ask for a tree's digest") from error


def _entries(data: bytes, links: set[str]) -> Iterator[TreeFile]:
    """Read files. A tree may come from elsewhere: links stay within it, nothing lies below one. Raises ValueError."""
    for file in _list.decode(data):
        require_plain(file.name)
        if links and not links.isdisjoint(map(str, PurePosixPath(file.name).parents)):
            raise ValueError(f"{file.name!r} lies below a link")
        if file.link:
            links.add(file.name)
            target = posixpath.normpath(posixpath.join(posixpath.dirname(file.name), file.link))
            if target.startswith("/") or target.split("/")[0] == "..":
                raise ValueError(f"link {file.name!r} leads out of the tree, to {file.link!r}")
        yield TreeFile(file.name, file.digest, file.size, file.executable, file.link)
