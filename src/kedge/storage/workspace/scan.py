"""A look at a file or folder: every file with its stat, in the order of their names, nothing read.

The order is that of the whole names ("a-b" before "a/c"): a folder sorts as its name with a slash. One folder's names are
in memory at a time. What no version can hold is refused by name: devices, sockets, links that lead out or nowhere, names
that are no UTF-8.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from kedge.domain.workspace import EXECUTABLE, LINK, PLAIN, POINTER, SeenFile
from kedge.errors import SourceFailed
from kedge.storage.workspace.pointers import is_pointer

TYPE_CHECKING = False
if TYPE_CHECKING:  # a look needs none of what the ports name
    from kedge.ports.workspace import Opened

SKIPPED = frozenset({".git/", ".kedge/", ".dvc/", ".hg/", ".svn/"})  # what other tools keep for themselves
_INODE = 2**63 - 1  # what SQLite keeps of a number without a sign
_PART = (".kedge-", ".part")
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def scan(root: Path, *, opened: Opened | None = None) -> Iterator[SeenFile]:
    """Look at a folder, or at one file (its name is then that of the file). Nothing there gives nothing.

    `opened` is given the name of each folder and the names in it. Raises SourceFailed for what no version can hold.
    """
    try:
        there = os.stat(root)
    except (FileNotFoundError, NotADirectoryError):
        return iter(())
    except OSError as error:
        raise _unreadable(str(root), error) from error
    if stat.S_ISDIR(there.st_mode):
        return _folder(f"{root}/", opened)
    _require_text([root.name], str(root.parent))
    return iter([_found(root.name, there, path=str(root))])


def read_link(root: Path, name: str) -> str:
    """Give a link's target as it is written. Raises SourceFailed where it leads out, nowhere, or in a circle."""
    path = root / name
    target = os.readlink(path)
    inside = os.path.realpath(root)
    real = os.path.realpath(path)
    what = None
    if os.path.isabs(target):
        what = "is a link to an absolute path, which is another one elsewhere"
    elif not real.startswith(f"{inside}/"):
        what = f"is a link that leads out of the folder, to {target!r}"
    elif not os.path.exists(path):
        what = f"is a link that leads nowhere, or in a circle: {target!r}"
    elif str(path.parent.resolve()).startswith(f"{real}/") or str(path.parent.resolve()) == real:
        what = f"is a link to a folder that it lies in: {target!r}"
    if what is not None:
        raise SourceFailed(f"{path} {what}; put what it stands for in its place, or remove it")
    _require_text([target], str(path))
    return target


def twins(names: list[str]) -> list[tuple[str, str]]:
    """Find names of one folder that some file systems take for one: they differ in case, or in how accents are written."""
    seen: dict[str, str] = {}
    found = []
    for name in (name.rstrip("/") for name in names):
        folded = name.casefold() if name.isascii() else unicodedata.normalize("NFC", name).casefold()
        if folded in seen:
            found.append((seen[folded], name))
        seen[folded] = name
    return found


def is_skipped(name: str) -> bool:
    """Say whether a file is left out of every version: what a killed checkout left, a pointer."""
    return name.startswith(_PART[0]) and name.endswith(_PART[1])


def nested_pointers(root: Path) -> Iterator[str]:
    """Name the pointers that lie within a folder: their data is versioned by itself."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if f"{name}/" not in SKIPPED]
        for name in files:
            if name.endswith(POINTER) and name != POINTER and is_pointer(Path(folder, name)):
                yield os.path.relpath(os.path.join(folder, name), root)


def others(root: Path) -> Iterator[str]:
    """Name the folders within a folder that other tools keep for themselves: no version holds them."""
    for folder, folders, _ in os.walk(root):
        yield from (os.path.relpath(os.path.join(folder, name), root) for name in folders if f"{name}/" in SKIPPED)


def _folder(root: str, opened: Opened | None) -> Iterator[SeenFile]:
    """Walk without recursion: each open folder is its name and the names in it that are still to come."""
    lstat = os.lstat

    def listed(prefix: str) -> Iterator[str]:
        names = _names(root + prefix)
        if opened is not None:
            opened(prefix, names)
        return iter(names)

    open_folders = [("", listed(""))]
    while open_folders:
        prefix, names = open_folders[-1]
        for name in names:
            if name[-1] == "/":
                inner = prefix + name
                open_folders.append((inner, listed(inner)))
                break
            path = root + prefix + name
            try:
                there = lstat(path)
            except FileNotFoundError:
                continue  # removed since its folder was read
            except OSError as error:
                raise _unreadable(path, error) from error
            if there.st_mode & 0o170111 == 0o100000:  # a plain file that nobody may execute: nearly all
                yield SeenFile(
                    prefix + name, there.st_size, there.st_mtime_ns, there.st_ctime_ns, there.st_ino & _INODE, PLAIN
                )
            else:
                yield _found(prefix + name, there, path=path)
        else:
            open_folders.pop()


def _names(folder: str) -> list[str]:
    """List a folder in the order that whole names have: a folder's own ends with a slash."""
    try:
        with os.scandir(folder) as entries:
            names = [f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name for entry in entries]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error
    _require_text(names, folder)
    names.sort()
    if SKIPPED.isdisjoint(names) and (_PART[0] not in "/".join(names) or not any(map(is_skipped, names))):
        return names
    return [name for name in names if name not in SKIPPED and not is_skipped(name)]


def _require_text(names: list[str], folder: str) -> None:
    text = "".join(names)
    try:
        text.encode()
    except UnicodeEncodeError:
        bad = next(name for name in names if not _is_text(name))
        shown = os.fsencode(bad.rstrip("/"))
        raise SourceFailed(
            f"{folder} has a name that is no UTF-8: {shown!r}; rename it, for example with `convmv -t utf8`"
        ) from None
    if "\\" in text or "\n" in text:
        bad = next(name for name in names if "\\" in name or "\n" in name)
        raise SourceFailed(f"{folder} has a name with a backslash or a line break in it: {bad!r}; rename it")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _found(name: str, there: os.stat_result, *, path: str) -> SeenFile:
    if stat.S_ISREG(there.st_mode):
        mode = EXECUTABLE if there.st_mode & 0o111 else PLAIN
    elif stat.S_ISLNK(there.st_mode):
        mode = LINK
    else:
        kind = _KINDS.get(stat.S_IFMT(there.st_mode), "no file")
        raise SourceFailed(f"{path} is {kind}; only files, folders and links within the folder can be versioned: remove it")
    return SeenFile(name, there.st_size, there.st_mtime_ns, there.st_ctime_ns, there.st_ino & _INODE, mode)


def _unreadable(path: str, error: OSError) -> SourceFailed:
    return SourceFailed(f"{path} cannot be read: {error.strerror}; check its permissions, then run the same again")
