"""The workspace: data as it lies in a project's folder, beside the pointers that git versions.

A *place* is a file or folder of data, named by its path in the project. Its *pointer* (`raw.kedge` beside `raw`) says
which version belongs there. What was last put there or read there is remembered file by file with its stat, so that a
look finds what has changed without reading it.
"""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

import msgspec

from kedge.domain.ids import DatasetName, Digest

POINTER = ".kedge"
"""What a pointer's name ends with."""

EMPTY = Digest("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")
"""The BLAKE3 of no bytes: what stands for a link's content."""

PLAIN, EXECUTABLE, LINK = 0, 1, 2


class SeenFile(NamedTuple):
    """A file as a look finds it: its stat. `mode` is PLAIN, EXECUTABLE or LINK. Its name is relative to the place."""

    name: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int


class KnownFile(NamedTuple):
    """A file as it is remembered: the stat it had when its content was known, and that content. `link` is its target."""

    name: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int
    raw: bytes
    link: str

    @property
    def digest(self) -> Digest:
        """Name the content."""
        return Digest(self.raw.hex())


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside the data, for git: the version that belongs here. A place is one file, or a folder of them."""

    dataset: DatasetName
    digest: Digest
    files: int
    bytes: int
    folder: bool


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """What a place holds, apart from edits: the version whose files were last read or written there.

    `tree` is its manifest. `coming` is the version that an interrupted checkout was about to bring, "" where none was.
    """

    version: Digest
    tree: Digest
    number: int
    coming: str = ""


class Change(Enum):
    """How a file differs."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"


class FileEdit(NamedTuple):
    """A file that differs."""

    name: str
    change: Change


class PlaceState(Enum):
    """How a place stands to its pointer."""

    CLEAN = "clean"
    EDITED = "edited"
    MISSING = "missing"
    BEHIND = "behind"
    UNKNOWN = "unknown"
    INTERRUPTED = "interrupted"


class PlaceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at a place found. `changes` are the first of them; `added` to `deleted` count them all.

    BEHIND: the pointer names another version than the one that lies here (git brought it). UNKNOWN: nothing is remembered
    of what lies here. INTERRUPTED: a checkout was killed; run it again.
    """

    place: str
    dataset: DatasetName
    state: PlaceState
    number: int = 0
    files: int = 0
    bytes: int = 0
    added: int = 0
    modified: int = 0
    deleted: int = 0
    changes: tuple[FileEdit, ...] = ()
    problem: str = ""

    @property
    def edits(self) -> int:
        """Count the files that differ."""
        return self.added + self.modified + self.deleted


def differing(found: Iterable[SeenFile], known: Iterable[KnownFile]) -> Iterator[tuple[SeenFile | None, KnownFile | None]]:
    """Pair two lists, each in the order of its names; give only those pairs that a look cannot call the same.

    This runs once for each file of a place at every look, and does no more than it must.
    """
    here, there = iter(found), iter(known)
    one, other = next(here, None), next(there, None)
    while one is not None and other is not None:
        if one[0] == other[0]:
            if one != other[:6]:
                yield one, KnownFile._make(other)
            one, other = next(here, None), next(there, None)
        elif one[0] < other[0]:
            yield one, None
            one = next(here, None)
        else:
            yield None, KnownFile._make(other)
            other = next(there, None)
    while one is not None:
        yield one, None
        one = next(here, None)
    while other is not None:
        yield None, KnownFile._make(other)
        other = next(there, None)
