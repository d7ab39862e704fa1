"""Data that git-lfs tracks: pointers in the working tree, objects in `.git/lfs/objects`.

version https://git-lfs.github.com/spec/v1
oid sha256:4d7a...
size 12345
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from kedge.errors import ConfigError, NotFound, SourceFailed
from kedge.ports.workspace import Offer, SourceFile
from kedge.storage.workspace.scan import scan

HEAD = b"version https://git-lfs.github.com/spec/v1"
_LONGEST = 1024
_POINTER = re.compile(rb"^oid sha256:([0-9a-f]{64})$.*?^size ([0-9]+)$", re.MULTILINE | re.DOTALL)


def offers(path: Path, root: Path) -> list[Offer]:
    """Read a file, or a folder of files, of which some or all are pointers of git-lfs. Raises SourceFailed, NotFound."""
    if not path.is_relative_to(root) or path == root:
        raise ConfigError(f"{path} is not below the project's folder {root}; run this in the project that it belongs to")
    if not path.exists():
        raise NotFound(f"{path} does not exist; name a file or folder that git-lfs tracks")
    folder = path.is_dir()
    objects = _objects(path)

    def files() -> Iterator[SourceFile]:
        for found in scan(path):
            here = path / found.name if folder else path
            stands_for = pointed(here, objects)
            yield SourceFile(found.name, stands_for or here, stands_for is not None)

    return [Offer(place=path.relative_to(root).as_posix(), folder=folder, what="git-lfs", files=files, expected=0, bytes=0)]


def has_pointers(path: Path) -> bool:
    """Say whether a file is a pointer of git-lfs, or a folder has one."""
    if path.is_file():
        return _head(path) is not None
    return path.is_dir() and any(_head(path / found.name) is not None for found in scan(path) if found.size < _LONGEST)


def pointed(path: Path, objects: Path | None) -> Path | None:
    """Give the object that a pointer stands for, verified; None for a file that is no pointer."""
    head = _head(path)
    if head is None:
        return None
    match = _POINTER.search(head)
    if match is None:
        raise SourceFailed(f"{path} begins as a pointer of git-lfs and is none; restore it with git checkout")
    oid, size = match[1].decode(), int(match[2])
    found = objects / oid[:2] / oid[2:4] / oid if objects is not None else None
    if found is None or not found.is_file():
        raise NotFound(f"{path} stands for object {oid}, which is not in .git/lfs/objects; run `git lfs fetch`")
    with found.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != oid or found.stat().st_size != size:
            raise SourceFailed(f"{found} is not what its name says; remove it and run `git lfs fetch`")
    return found


def _head(path: Path) -> bytes | None:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LONGEST:
        return None
    head = path.read_bytes()
    return head if head.startswith(HEAD) else None


def _objects(path: Path) -> Path | None:
    home = next((folder for folder in (path, *path.parents) if (folder / ".git").is_dir()), None)
    return home / ".git" / "lfs" / "objects" if home is not None else None
