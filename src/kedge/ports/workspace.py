"""Ports of the workspace: data as it lies in the project's folder, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from os import stat_result
from typing import TYPE_CHECKING, NamedTuple, Protocol

from kedge.domain.workspace import Base, KnownFile, Pointer, SeenFile

if TYPE_CHECKING:
    from pathlib import Path

Opened = Callable[[str, list[str]], None]
"""Takes the name of a folder, and the names in it."""


class SourceFile(NamedTuple):
    """A file of data that another tool keeps: its name in the data, and where its bytes lie. `stands_in` says that what
    lies at its place in the workspace is only a pointer or a link to them."""

    name: str
    path: Path
    stands_in: bool = False


class Offer(NamedTuple):
    """Data that another tool keeps, to become a version of a place. `files` gives them in the order of their names, each
    verified. `expected` and `bytes` are how much there is, 0 where that is not known."""

    place: str
    folder: bool
    what: str
    files: Callable[[], Iterator[SourceFile]]
    expected: int
    bytes: int


class Foreign(Protocol):
    """Other tools' data, in and out."""

    def offers(self, path: str, *, cache: str, remote: str) -> list[Offer]:
        """Read what a path tracks: a `.dvc` file, a folder with them, or what git-lfs tracks."""

    def require_free(self, folder: Path, names: Iterator[str], *, bytes: int) -> None:
        """Raise LocalEdits where one of these files is there already, StoreFull where the disk has less room."""

    def scratch(self) -> AbstractContextManager[Path]:
        """Give a folder for what is on its way; it is gone at the end."""

    def write_dvc(self, files: Iterator[tuple[str, Path]], *, name: str, folder: bool, home: str) -> str:
        """Write files as DVC keeps them; give the path of the `.dvc` file. The files are moved."""


class PlaceMemory(Protocol):
    """What is remembered of a place, file by file. A memory and no record: without it everything is read once more."""

    def base(self) -> Base | None: ...
    def files(self) -> Iterator[KnownFile]:
        """List the files of the base, in the order of their names."""

    def file(self, name: str) -> KnownFile | None: ...
    def has_fresh(self) -> bool:
        """Say whether an add that did not end has left what it read."""

    def fresh(self, name: str) -> KnownFile | None: ...
    def add_fresh(self, files: Iterable[KnownFile]) -> None:
        """Remember what was read, at once."""

    def plan(self, files: Iterable[KnownFile]) -> None:
        """Set down more of what a checkout will write; nobody sees it before `expect`."""

    def expect(self, base: Base) -> None:
        """Remember what a checkout is about to write, all that was planned, before it writes."""

    def has_coming(self) -> bool: ...

    def coming(self) -> Iterator[KnownFile]: ...
    def is_coming(self, name: str, *, raw: bytes, mode: int, link: str) -> bool: ...
    def add(self, files: Iterable[KnownFile]) -> None:
        """Remember files as those of the base, at once."""

    def drop(self, names: Iterable[str]) -> None: ...
    def begin(self) -> None:
        """Begin to change the base: `change`, then `settle` or `undo`; nobody else sees it before."""

    def change(self, *, files: Iterable[KnownFile], gone: Iterable[str]) -> None:
        """Make what was read that of the base, with these files and without those that are gone."""

    def settle(self, base: Base) -> None:
        """Make the change last."""

    def undo(self) -> None: ...
    def touch(self, files: Iterable[KnownFile]) -> None:
        """Remember new stats of files whose content is as it was, if nobody else writes now."""

    def forget(self) -> None: ...
    def close(self) -> None: ...


class Workspace(Protocol):
    """The project's folder. A place is the path of a file or folder of data, relative to it."""

    def place(self, text: str) -> str:
        """Take a path as a person wrote it. Raises ConfigError for one outside the project."""

    def places(self) -> Iterator[str]:
        """List the places that pointers name, in the order of their paths."""

    def pointer(self, place: str) -> Pointer | None:
        """Read the pointer to a place. Raises ConfigError for one that cannot be read."""

    def point(self, place: str, pointer: Pointer) -> bool:
        """Write the pointer to a place, and have git ignore the place; True where git was told so just now."""

    def unpoint(self, place: str) -> None: ...
    def kind(self, place: str) -> bool | None:
        """Say what lies there: True for a folder, False for a file, None for nothing."""

    def overlapping(self, place: str) -> str | None:
        """Find a pointer that names a part of this place, or a folder around it."""

    def scan(self, place: str, *, opened: Opened | None = None) -> Iterator[SeenFile]:
        """Look at every file, in the order of the names; nothing is read. Raises SourceFailed for what cannot be kept.

        `opened` is given the name of each folder, and the names in it, both those of folders with a slash at their end.
        """

    def path(self, place: str, name: str, *, folder: bool) -> str: ...
    def found(self, name: str, stat: stat_result) -> SeenFile: ...
    def look(self, place: str, name: str, *, folder: bool) -> SeenFile | None:
        """Look at one file."""

    def link(self, place: str, name: str) -> str:
        """Give a link's target. Raises SourceFailed for one that leads out of the place."""

    def content(self, place: str, found: SeenFile, *, folder: bool) -> tuple[bytes, str]:
        """Read a file and give its digest, raw, and the target where it is a link. Raises FileChanged, SourceFailed."""

    def known(self, found: SeenFile, *, raw: bytes, link: str, read_ns: int) -> KnownFile:
        """Remember a file whose content was read after `read_ns`; not for good where it may have changed in that tick."""

    def now_ns(self) -> int: ...
    def memory(self, place: str) -> PlaceMemory: ...
    def locked(self, place: str) -> AbstractContextManager[None]:
        """Let no other process change what is remembered of a place. Waits; a look does not need it."""

    def remove(self, place: str, names: Iterable[str], *, folder: bool) -> None:
        """Remove files, and the folders that are empty after it."""

    def foreign(self, place: str) -> str | None:
        """Name something in a folder that no version of it holds, such as a repository of git's; None where all is data."""

    def clear(self, place: str, names: Iterable[str]) -> None:
        """Remove all these files, and the place itself. Raises LocalEdits where something else came meanwhile."""

    def sweep(self, place: str) -> None:
        """Remove what a checkout that was killed left half written in a folder. Call it with the place locked."""

    def require_room(self, place: str, size: int) -> None:
        """Raise StoreFull where the disk has less room than that."""

    def takes_twins(self, place: str) -> bool:
        """Say whether the file system tells names apart that differ in case only."""

    def twins(self, names: list[str]) -> list[tuple[str, str]]:
        """Find names of one folder that other file systems take for one."""

    def is_lfs_pointer(self, place: str, found: SeenFile, *, folder: bool) -> bool:
        """Say whether a file only stands in for data that git-lfs keeps."""

    def in_git(self, place: str) -> int:
        """Count the files of a place that git itself has versions of."""

    def git_pointers(self) -> Iterator[tuple[str, Pointer]]:
        """Give every pointer at the tip of a branch or tag of git, with its name."""
