"""Trees of files: a manifest that names each file's blob. One form for every blob store, so a tree has one digest."""

from collections.abc import Mapping

import msgspec

from kedge.domain.ids import Digest
from kedge.errors import StoreBroken


class File(msgspec.Struct, frozen=True):
    """One file of a tree."""

    name: str
    digest: Digest
    size: int


def require_plain(name: str) -> None:
    """Check that a file's name stays below the folder that a tree may one day be written to. Raises ValueError."""
    parts = name.split("/")
    if not name or "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{name!r} cannot name a file of a tree; use a relative name without '.', '..', backslash or NUL")


def write_manifest(sizes: Mapping[str, int], digests: Mapping[str, Digest]) -> bytes:
    """List the files in the order of their names, as JSON."""
    return msgspec.json.encode([File(name, digests[name], sizes[name]) for name in sorted(sizes)])


def read_manifest(data: bytes, digest: Digest) -> list[File]:
    """Read what `write_manifest` wrote. Raises StoreBroken for a blob that is no manifest."""
    try:
        manifest = msgspec.json.decode(data, type=list[File])
        for file in manifest:
            require_plain(file.name)
    except ValueError as error:  # msgspec's own errors are ValueErrors
        raise StoreBroken(f"blob {digest} is not a tree of files: {error}; ask for a tree's digest") from error
    return manifest
