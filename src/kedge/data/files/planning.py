"""A checkout is planned before it does anything: what lies here, what is remembered and what is wanted, side by side.

A file is written over only where Kedge itself put there what it holds, so that no edit is ever lost: its content is what
is remembered of it, or what a checkout that was killed was about to write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kedge.domain.data import DatasetVersion
from kedge.domain.ids import Digest
from kedge.domain.workspace import EXECUTABLE, LINK, PLAIN, KnownFile, SeenFile
from kedge.errors import Conflict, LocalEdits
from kedge.ports import TreeFile
from kedge.ports.workspace import PlaceMemory, Workspace

if TYPE_CHECKING:
    pass

_BATCH = 20_000  # files that wait in memory
_NAMED = 5  # files in a message


class CheckoutPlan:
    """What a checkout will do, made before it does anything. What it will write waits in the place's memory."""

    def __init__(
        self, workspace: Workspace, place: str, *, memory: PlaceMemory, folder: bool, force: bool, twins: set[str] | None
    ) -> None:
        self._workspace, self._place, self._memory = workspace, place, memory
        self._folder, self._force, self._twins = folder, force, twins
        self._wanted: list[KnownFile] = []
        self._same: list[KnownFile] = []
        self._kept: set[str] = set()  # untracked files, which stay
        self._around: set[str] = set()  # the folders that they lie in
        self._over: set[str] = set()  # files that are wanted where a folder is
        self.gone: list[str] = []
        self.edited: list[str] = []
        self.written = self.bytes = 0

    def make(self, here: Iterator[SeenFile], tree: Iterator[TreeFile]) -> None:
        """Compare what lies here and what is remembered with what is wanted, all in the order of their names."""
        for (found, known), wanted in _with_tree(aligned(here, self._memory.files()), tree):
            if wanted is None:
                self._drop(found, known)
            elif found is None:
                self._write(wanted, None)
            elif (now := self._now(found, known)) and (now.raw, now.mode, now.link) == _content(wanted):
                if now != known:
                    self._same.append(now)
            elif self._is_ours(now, known) or self._force:
                self._write(wanted, found)
            else:
                self.edited.append(wanted.name)
            if len(self._wanted) >= _BATCH:
                self._memory.plan(self._wanted)
                self._wanted = []
            if len(self._same) >= _BATCH:
                self._memory.add_fresh(self._same)
                self._same = []
        self._memory.plan(self._wanted)
        self._memory.add_fresh(self._same)

    def require_safe(self, version: DatasetVersion) -> None:
        """Raise LocalEdits where files would be lost."""
        if self.edited:
            shown = ", ".join(self.edited[:_NAMED])
            more = f" and {len(self.edited) - _NAMED} more" if len(self.edited) > _NAMED else ""
            raise LocalEdits(
                f"{self._place} has edits that version {version.number} would overwrite: {shown}{more};"
                f" keep them with `kedge data add {self._place}`, or give --force to lose them"
            )

    def files(self) -> Iterator[tuple[TreeFile, str]]:
        """Name what is to be written, and where; what was changed since the plan was made stops it."""
        for name, size, mtime, ctime, inode, mode, raw, link in self._memory.coming():
            now = self._workspace.look(self._place, name, folder=self._folder)
            if now is not None and not self._force and (now.mtime_ns, now.ctime_ns, now.inode) != (mtime, ctime, inode):
                raise LocalEdits(f"{self._place}/{name} was changed while the checkout ran and is left as it is; look at it")
            yield (
                TreeFile(name, Digest(raw.hex()), size, mode == EXECUTABLE, link),
                self._workspace.path(self._place, name, folder=self._folder),
            )

    @property
    def left(self) -> int:
        """Count the files that stay though the version does not have them."""
        return len(self._kept)

    def _now(self, found: SeenFile, known: KnownFile | None) -> KnownFile | None:
        """Tell the content of a file, read only where its stat is not the remembered one."""
        if known is not None and found == known[:6]:
            return known
        read_ns = self._workspace.now_ns()
        raw, link = self._workspace.content(self._place, found, folder=self._folder)
        return self._workspace.known(found, raw=raw, link=link, read_ns=read_ns)

    def _is_ours(self, now: KnownFile | None, known: KnownFile | None) -> bool:
        """Say whether Kedge itself put this content there."""
        if now is None:
            return True
        if known is not None and (now.raw, now.mode, now.link) == (known.raw, known.mode, known.link):
            return True
        return self._memory.is_coming(now.name, raw=now.raw, mode=now.mode, link=now.link)

    def _drop(self, found: SeenFile | None, known: KnownFile | None) -> None:
        if found is None:
            self.gone.append(known.name if known is not None else "")
        elif self._force or (known is not None and self._is_ours(self._now(found, known), known)):
            self.gone.append(found.name)
        elif known is not None:
            self.edited.append(found.name)
        elif self._is_coming(found):
            self.gone.append(found.name)
        else:
            self._kept.add(found.name)
            folders = set(_folders(found.name))
            self._around |= folders
            self.edited.extend(folders & self._over)

    def _is_coming(self, found: SeenFile) -> bool:
        now = self._now(found, None) if self._memory.has_coming() else None
        return now is not None and self._memory.is_coming(now.name, raw=now.raw, mode=now.mode, link=now.link)

    def _write(self, wanted: TreeFile, found: SeenFile | None) -> None:
        if wanted.name in self._around or any(folder in self._kept for folder in _folders(wanted.name)):
            self.edited.append(wanted.name)  # a folder is in a file's way, or a file in a folder's
        if found is None and self._folder and self._workspace.kind(f"{self._place}/{wanted.name}"):
            self._over.add(wanted.name)
        if self._twins is not None:
            if wanted.name.casefold() in self._twins:
                raise Conflict(
                    f"{wanted.name!r} and another file of this version differ in case only, and this file system takes them"
                    " for one; check it out on another, or rename one of them in a new version"
                )
            self._twins.add(wanted.name.casefold())
        raw, mode, link = _content(wanted)
        was = (found.mtime_ns, found.ctime_ns, found.inode) if found is not None else (0, 0, 0)
        self._wanted.append(KnownFile(wanted.name, wanted.size, *was, mode, raw, link))
        self.written += 1
        self.bytes += wanted.size


def aligned(found: Iterator[SeenFile], known: Iterator[KnownFile]) -> Iterator[tuple[SeenFile | None, KnownFile | None]]:
    """Pair two lists, each in the order of its names."""
    one, other = next(found, None), next(known, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            yield one, None
            one = next(found, None)
        elif one is None or one[0] > other[0]:
            yield None, KnownFile._make(other)
            other = next(known, None)
        else:
            yield one, KnownFile._make(other)
            one, other = next(found, None), next(known, None)


def _with_tree(
    here: Iterator[tuple[SeenFile | None, KnownFile | None]], tree: Iterator[TreeFile]
) -> Iterator[tuple[tuple[SeenFile | None, KnownFile | None], TreeFile | None]]:
    """Add to what is here what is wanted, in the order of the names."""
    pair, wanted = next(here, None), next(tree, None)
    while pair is not None or wanted is not None:
        name = _name(pair) if pair is not None else ""
        if wanted is None or (pair is not None and name < wanted.name):
            assert pair is not None  # noqa: S101  # one of the two is there
            yield pair, None
            pair = next(here, None)
        elif pair is None or name > wanted.name:
            yield (None, None), wanted
            wanted = next(tree, None)
        else:
            yield pair, wanted
            pair, wanted = next(here, None), next(tree, None)


def _name(pair: tuple[SeenFile | None, KnownFile | None]) -> str:
    one = pair[0] or pair[1]
    return one.name if one is not None else ""


def _content(file: TreeFile) -> tuple[bytes, int, str]:
    mode = LINK if file.link else EXECUTABLE if file.executable else PLAIN
    return bytes.fromhex(file.digest), mode, file.link


def remembered(file: TreeFile) -> KnownFile:
    """Remember a file that is wanted and not looked at: no stat is like it."""
    raw, mode, link = _content(file)
    return KnownFile(file.name, file.size, -1, 0, 0, mode, raw, link)


def _folders(name: str) -> Iterator[str]:
    """Name the folders that a file lies in."""
    end = name.find("/")
    while end >= 0:
        yield name[:end]
        end = name.find("/", end + 1)
