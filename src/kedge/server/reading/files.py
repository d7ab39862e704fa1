"""The files of a run: one folder of them, and the head of the one that is looked at."""

import msgspec

from kedge.domain.artifacts import Listed, RunFile
from kedge.domain.ids import RunId
from kedge.domain.tracking import Run
from kedge.errors import NotFound, StoreBroken
from kedge.server.house import House
from kedge.server.preview import Preview, PreviewKind, preview
from kedge.web import words

PACKAGES, DIFF = "environment/packages.txt", "source/diff.patch"
_ENTRIES = 500


class FilesPage(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of a run's files. `view` is the head of the chosen one; `next` the page after, "" at the end.

    `fault` says why they cannot be read, where the store has lost what the run left.
    """

    folder: str
    path: str
    entries: tuple[Listed, ...]
    view: Preview | None
    next: str
    fault: str = ""

    @property
    def above(self) -> str:
        """Give the folder above."""
        return self.folder.rpartition("/")[0]


class MadeOf(msgspec.Struct, frozen=True, kw_only=True):
    """The packages that were installed, and how the files differed from the commit; empty where nothing was recorded."""

    packages: tuple[str, ...]
    diff: tuple[str, ...]
    cut: bool


def files_page(house: House, run: RunId, *, path: str, page: str = "") -> FilesPage:
    """Show a path among a run's files: a folder, or a file in its folder. Raises NotFound, RequestInvalid for the path."""
    view, folder = None, path
    try:
        if path and (file := _file(house, run, path=path)) is not None:
            view, folder = preview(house.artifacts, file, jobs=house.jobs), path.rpartition("/")[0]
        listing = house.artifacts.list(run, folder, page=page or None, limit=_ENTRIES)
    except (NotFound, StoreBroken) as error:
        return FilesPage(folder="", path=path, entries=(), view=None, next="", fault=words.sentence(str(error)))
    if path and view is None and not listing.entries:
        raise NotFound(f"run {run!r} has no file {path!r}; its artifacts list those it has")
    return FilesPage(folder=folder, path=path, entries=listing.entries, view=view, next=listing.next or "")


def _file(house: House, run: RunId, *, path: str) -> RunFile | None:
    try:
        return house.artifacts.get(run, path)
    except NotFound:
        return None


def made_of(house: House, run: Run) -> MadeOf:
    """Read what a run was made of, from what the loop recorded or from the files that its client keeps."""
    packages, first_cut = _lines(house, run.id, path=PACKAGES)
    diff, second_cut = _lines(house, run.id, path=DIFF)
    known = run.environment.packages if run.environment else packages
    return MadeOf(packages=known, diff=diff, cut=first_cut or second_cut)


def _lines(house: House, run: RunId, *, path: str) -> tuple[tuple[str, ...], bool]:
    try:
        file = house.artifacts.get(run, path)
        found = preview(house.artifacts, file, jobs=house.jobs)
    except (NotFound, StoreBroken):
        return (), False
    return (tuple(found.text.splitlines()), found.cut) if found.kind is PreviewKind.TEXT else ((), False)
