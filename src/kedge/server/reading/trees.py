"""What lies in a folder of a version of files: folders with what is below them, files with their sizes, page by page."""

from collections.abc import Iterator
from itertools import islice

import msgspec

from kedge.domain.data import DatasetVersion
from kedge.domain.ids import Digest
from kedge.domain.paths import clean_folder
from kedge.errors import NotFound, RequestInvalid
from kedge.ports import TreeFile
from kedge.server.house import House

PAGE = 200
_LONGEST = 12  # digits of a page token


class TreeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in a folder: a file with its digest and size, or a folder with the number and size of all files below."""

    path: str
    name: str
    digest: Digest | None
    bytes: int
    files: int = 1
    link: str = ""


class TreePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a folder; `next` is the token of the page after it, empty at the end."""

    folder: str
    entries: tuple[TreeEntry, ...]
    next: str = ""


def tree_page(house: House, version: DatasetVersion, *, folder: str = "", page: str = "") -> TreePage:
    """List a folder of a version of files. Raises NotFound for a folder, or a version, that has no files."""
    if version.tree is None:
        raise NotFound(f"{version.dataset}@{version.number} is a table: it has rows, no files")
    if page and not (page.isdecimal() and len(page) <= _LONGEST):
        raise RequestInvalid(f"page {page[:40]!r} is not a page token; take the `next` of the page before, as it is")
    folder, start = clean_folder(folder), int(page or 0)
    manifest = house.catalogue.files(version)
    found = list(islice(_entries(manifest, folder), start, start + PAGE + 1))
    if not found and not start and folder:
        raise NotFound(f"{version.dataset}@{version.number} has no folder {folder!r}")
    return TreePage(folder=folder, entries=tuple(found[:PAGE]), next=str(start + PAGE) if len(found) > PAGE else "")


def _entries(manifest: Iterator[TreeFile], folder: str) -> Iterator[TreeEntry]:
    """Fold a sorted manifest: files below a folder of this one stand side by side."""
    prefix = f"{folder}/" if folder else ""
    open_name, files, held = "", 0, 0
    for file in manifest:
        if not file.name.startswith(prefix):
            continue
        name, slash, _ = file.name[len(prefix) :].partition("/")
        if open_name and (not slash or name != open_name):
            yield TreeEntry(path=f"{prefix}{open_name}", name=open_name, digest=None, bytes=held, files=files)
            open_name, files, held = "", 0, 0
        if slash:
            open_name, files, held = name, files + 1, held + file.size
        else:
            yield TreeEntry(path=file.name, name=name, digest=file.digest, bytes=file.size, link=file.link)
    if open_name:
        yield TreeEntry(path=f"{prefix}{open_name}", name=open_name, digest=None, bytes=held, files=files)
