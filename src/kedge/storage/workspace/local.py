"""The project's folder as a workspace (port `Workspace`)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from blake3 import blake3

from kedge.domain.workspace import LINK, POINTER, KnownFile, Pointer, SeenFile
from kedge.errors import ConfigError, FileChanged, LocalEdits, SourceFailed, StoreFull
from kedge.storage.durable import refusal
from kedge.storage.workspace.memory import Memory, found_of, known_of
from kedge.storage.workspace.pointers import (
    find_pointers,
    ignore,
    in_git,
    parse_pointer,
    pointer_path,
    read_pointer,
    write_pointer,
)
from kedge.storage.workspace.scan import is_skipped, nested_pointers, others, read_link, scan, twins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kedge.ports.workspace import Opened

_NO_BYTES = blake3(b"").digest()
_SMALL = 1 << 20
_LFS = b"version https://git-lfs.github.com/spec/"
_LFS_SIZES = range(120, 150)
_TRIES = 3
_SPARE = 16 << 20  # bytes that a disk is left with


class LocalWorkspace:
    """A folder on this machine. What is remembered lies in `.kedge/workspace`, one file for each place."""

    def __init__(self, root: Path) -> None:
        self._root = Path(root)
        self._folder = self._root / ".kedge" / "workspace"

    def place(self, text: str) -> str:
        """Take a path as a person wrote it. Raises ConfigError for one outside the project."""
        plain = text.removesuffix("/") or text
        if "\0" in plain or not plain:
            raise ConfigError(f"{text!r} is no path")
        path = Path(os.path.abspath(plain))
        if not path.is_relative_to(self._root):
            path = path.parent.resolve() / path.name
        if not path.is_relative_to(self._root) or path == self._root:
            raise ConfigError(
                f"{text} is not below the project's folder {self._root}; put the data there, or link to it from there"
            )
        place = path.relative_to(self._root)
        if {".kedge", ".git"} & set(place.parts):
            raise ConfigError(f"{text} belongs to Kedge or git themselves; name a folder of data")
        if place.name.endswith(POINTER) and (path.is_file() or not path.exists()):
            place = place.with_name(place.name.removesuffix(POINTER))
        return place.as_posix()

    def places(self) -> Iterator[str]:
        """List the places that pointers name, in the order of their paths."""
        for path in find_pointers(self._root):
            yield path.relative_to(self._root).as_posix()

    def pointer(self, place: str) -> Pointer | None:
        """Read the pointer to a place. Raises ConfigError for one that cannot be read."""
        return read_pointer(self._root / place)

    def point(self, place: str, pointer: Pointer) -> bool:
        """Write the pointer to a place, and have git ignore the place; True where git was told so just now."""
        write_pointer(self._root / place, pointer)
        with self.locked(f"{Path(place).parent}/.gitignore"):  # places beside one another share it
            return ignore(self._root / place)

    def unpoint(self, place: str) -> None:
        """Remove the pointer to a place."""
        pointer_path(self._root / place).unlink(missing_ok=True)

    def kind(self, place: str) -> bool | None:
        """Say what lies there: True for a folder, False for a file, None for nothing."""
        path = self._root / place
        return path.is_dir() if os.path.lexists(path) else None

    def overlapping(self, place: str) -> str | None:
        """Find a pointer that names a part of this place, or a folder around it."""
        parts = place.split("/")
        for end in range(1, len(parts)):
            if pointer_path(self._root / "/".join(parts[:end])).is_file():
                return "/".join(parts[:end])
        inner = next(nested_pointers(self._root / place), None) if (self._root / place).is_dir() else None
        return f"{place}/{inner.removesuffix(POINTER)}" if inner else None

    def scan(self, place: str, *, opened: Opened | None = None) -> Iterator[SeenFile]:
        """Look at every file, in the order of the names; nothing is read. Raises SourceFailed for what cannot be kept."""
        return scan(self._root / place, opened=opened)

    def path(self, place: str, name: str, *, folder: bool) -> str:
        """Give the path of a file of a place."""
        return f"{self._root}/{place}/{name}" if folder else f"{self._root}/{place}"

    def found(self, name: str, stat: os.stat_result) -> SeenFile:
        """Give a stat as a look would."""
        return found_of(name, stat)

    def look(self, place: str, name: str, *, folder: bool) -> SeenFile | None:
        """Look at one file."""
        path = self.path(place, name, folder=folder)
        with suppress(FileNotFoundError, NotADirectoryError):
            return found_of(name, os.lstat(path) if folder else os.stat(path))
        return None

    def link(self, place: str, name: str) -> str:
        """Give a link's target. Raises SourceFailed for one that leads out of the place."""
        return read_link(self._root / place, name)

    def content(self, place: str, found: SeenFile, *, folder: bool) -> tuple[bytes, str]:
        """Read a file and give its digest, raw, and the target where it is a link. Raises FileChanged, SourceFailed."""
        path = self.path(place, found.name, folder=folder)
        try:
            if found.mode == LINK:
                return _NO_BYTES, os.readlink(path)
            for _ in range(_TRIES):
                with open(path, "rb") as file:
                    before = os.fstat(file.fileno())
                    raw = _hash(path, before.st_size, file=file)
                    after = os.fstat(file.fileno())
                if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
                    return raw, ""
        except OSError as error:
            raise SourceFailed(f"{path} cannot be read: {error.strerror}; check its permissions and the disk") from error
        raise FileChanged(f"{path} changes while it is read; stop what writes it, then run the same again")

    def known(self, found: SeenFile, *, raw: bytes, link: str, read_ns: int) -> KnownFile:
        """Remember a file whose content was read after `read_ns`; not for good where it may have changed in that tick."""
        return known_of(found, raw=raw, link=link, read_ns=read_ns)

    def now_ns(self) -> int:
        """Tell the time that file systems write down."""
        return time.time_ns()

    def memory(self, place: str) -> Memory:
        """Open what is remembered of a place."""
        return Memory(self._folder / f"{_short(place)}.db")

    @contextmanager
    def locked(self, place: str) -> Iterator[None]:
        """Let no other process change what is remembered of a place. Waits; a look does not need it."""
        try:
            self._make_folder()
            descriptor = os.open(self._folder / f"{_short(place)}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise refusal(error, self._folder) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def remove(self, place: str, names: Iterable[str], *, folder: bool) -> None:
        """Remove files, and the folders that are empty after it."""
        root = self._root / place
        emptied: set[Path] = set()
        for name in names:
            path = Path(self.path(place, name, folder=folder))
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                if not isinstance(error, NotADirectoryError) and not path.is_dir():  # then it is gone already
                    raise refusal(error, path) from error
            if folder:
                emptied.add(path.parent)
        for each in sorted(emptied, key=lambda path: len(path.parts), reverse=True):
            current = each
            while current != root:
                try:
                    current.rmdir()
                except OSError:
                    break
                current = current.parent

    def foreign(self, place: str) -> str | None:
        """Name something in a folder that no version of it holds, such as a repository of git's; None where all is data."""
        root = self._root / place
        if not root.is_dir():
            return None
        pointer = next(nested_pointers(root), None)
        return f"{place}/{pointer}" if pointer else next((f"{place}/{name}" for name in others(root)), None)

    def clear(self, place: str, names: Iterable[str]) -> None:
        """Remove all these files, and the place itself. Raises LocalEdits where something else came meanwhile."""
        root = self._root / place
        if root.is_symlink():
            root.unlink()  # what it leads to is not ours
            return
        self.remove(place, names, folder=root.is_dir())
        if root.is_dir():
            self.sweep(place)
            for folder, _, _ in os.walk(root, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError as error:
                    raise LocalEdits(
                        f"{folder} cannot be removed: {error.strerror}; move what is in it away, then run the same again"
                    ) from error

    def sweep(self, place: str) -> None:
        """Remove what a checkout that was killed left half written in a folder. Call it with the place locked."""
        for folder, _, files in os.walk(self._root / place):
            for name in filter(is_skipped, files):
                Path(folder, name).unlink(missing_ok=True)

    def require_room(self, place: str, size: int) -> None:
        """Raise StoreFull where the disk has less room than that."""
        home = next(path for path in (self._root / place, *(self._root / place).parents) if path.exists())
        disk = os.statvfs(home)
        free = disk.f_bavail * disk.f_frsize
        if size + _SPARE > free:
            raise StoreFull(
                f"{place} needs {size:,} bytes and the disk has {free:,} left; free some space and run the same again"
            )

    def takes_twins(self, place: str) -> bool:
        """Say whether the file system tells names apart that differ in case only."""
        home = next(path for path in (self._root / place, *(self._root / place).parents) if path.is_dir())
        probe = home / f".kedge-{os.urandom(6).hex()}a.part"
        try:
            probe.touch()
            return not probe.with_name(probe.name.upper()).exists()
        except OSError as error:
            raise refusal(error, probe) from error
        finally:
            probe.unlink(missing_ok=True)

    def twins(self, names: list[str]) -> list[tuple[str, str]]:
        """Find names of one folder that other file systems take for one."""
        return twins(names)

    def is_lfs_pointer(self, place: str, found: SeenFile, *, folder: bool) -> bool:
        """Say whether a file only stands in for data that git-lfs keeps. Read only where its size is that of such files."""
        if found.size not in _LFS_SIZES or found.mode == LINK:
            return False
        with suppress(OSError), open(self.path(place, found.name, folder=folder), "rb") as file:
            return file.read(len(_LFS)) == _LFS
        return False

    def in_git(self, place: str) -> int:
        """Count the files of a place that git itself has versions of."""
        if not in_git(self._root):
            return 0
        listed = self._git("ls-files", "-z", "--", place)
        return listed.count(b"\0")

    def git_pointers(self) -> Iterator[tuple[str, Pointer]]:
        """Give every pointer at the tip of a branch or tag of git, with its name."""
        if not in_git(self._root):
            return
        refs = self._git("for-each-ref", "--format=%(refname)").decode("utf-8", "replace").split()
        seen: set[bytes] = set()
        for ref in refs:
            for line in self._git("ls-tree", "-r", "-z", "--full-tree", ref).split(b"\0"):
                head, _, name = line.partition(b"\t")
                if name.endswith(POINTER.encode()) and (blob := head.split(b" ")[-1]) not in seen:
                    seen.add(blob)
                    text = self._git("cat-file", "blob", blob.decode()).decode("utf-8", "replace")
                    with suppress(ConfigError):  # what is no pointer, though named like one
                        yield ref, parse_pointer(Path(os.fsdecode(name)), text)

    def _make_folder(self) -> None:
        """Make the folder for what is remembered, and have git leave it alone: a git checkout must not turn it back."""
        self._folder.mkdir(parents=True, exist_ok=True)
        ignored = self._folder.parent / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n", encoding="utf-8")

    def _git(self, *words: str) -> bytes:
        import subprocess  # 10 ms that a look need not pay

        try:
            done = subprocess.run(["git", "-C", str(self._root), *words], capture_output=True, check=False, timeout=600)  # noqa: S607
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"git cannot be asked in {self._root}: {error}; mend that first") from error
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
            raise ConfigError(f"git {words[0]} fails in {self._root}: {said}; mend that, then run the same again")
        return done.stdout


def _short(place: str) -> str:
    return hashlib.blake2b(place.encode(), digest_size=12).hexdigest()


def _hash(path: str, size: int, *, file: object) -> bytes:
    if size < _SMALL:
        return blake3(file.read()).digest()  # type: ignore[attr-defined]
    return blake3().update_mmap(path).digest()  # by one thread: those of BLAKE3's own pool do not outlive a fork
