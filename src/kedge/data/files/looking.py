"""What has changed in the workspace: a look at the stats of files, and at the bytes of those only whose stat is new.

It needs no store and no library: what is remembered of a place says which version lies there, and what each file held.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kedge.domain.ids import DatasetName
from kedge.domain.workspace import (
    LINK,
    Base,
    Change,
    FileEdit,
    KnownFile,
    PlaceState,
    PlaceStatus,
    Pointer,
    SeenFile,
    differing,
)
from kedge.errors import KedgeError

if TYPE_CHECKING:  # a look needs none of what the ports name
    from kedge.ports.workspace import PlaceMemory, Workspace

SHOWN = 20


def look(workspace: Workspace, place: str, *, shown: int = SHOWN) -> PlaceStatus:
    """Say how a place stands to its pointer. What cannot be read is said in `problem`."""
    try:
        pointer = workspace.pointer(place)
    except KedgeError as error:
        return PlaceStatus(place=place, dataset=DatasetName(""), state=PlaceState.UNKNOWN, problem=str(error))
    if pointer is None:
        return PlaceStatus(
            place=place,
            dataset=DatasetName(""),
            state=PlaceState.UNKNOWN,
            problem=f"{place} has no pointer; make its first version with: kedge data add {place}",
        )
    memory = workspace.memory(place)
    try:
        return _look(workspace, place, pointer=pointer, memory=memory, shown=shown)
    except KedgeError as error:
        return PlaceStatus(place=place, dataset=pointer.dataset, state=PlaceState.UNKNOWN, problem=str(error))
    finally:
        memory.close()


def changes(workspace: Workspace, place: str, *, memory: PlaceMemory, folder: bool) -> Iterator[FileEdit]:
    """List what differs from the base, in the order of the names; remember the new stats of files that do not."""
    touched: list[KnownFile] = []
    for found, known in differing(workspace.scan(place), memory.files()):
        if found is None:
            assert known is not None  # noqa: S101  # one of the two is there
            yield FileEdit(known.name, Change.DELETED)
        elif known is None:
            yield FileEdit(found.name, Change.ADDED)
        else:
            same = compared(workspace, place, found=found, known=known, folder=folder)
            if same is None:
                yield FileEdit(found.name, Change.MODIFIED)
            elif same != known:
                touched.append(same)
    if touched:
        memory.touch(touched)


def compared(workspace: Workspace, place: str, *, found: SeenFile, known: KnownFile, folder: bool) -> KnownFile | None:
    """Read a file whose stat is new: None where its content is, too; else what to remember of it."""
    if found.mode != known.mode or (found.size != known.size and found.mode != LINK):
        return None
    read_ns = workspace.now_ns()
    raw, link = workspace.content(place, found, folder=folder)
    if (raw, link) != (known.raw, known.link):
        return None
    return workspace.known(found, raw=raw, link=link, read_ns=read_ns)


def _look(workspace: Workspace, place: str, *, pointer: Pointer, memory: PlaceMemory, shown: int) -> PlaceStatus:
    base, kind = memory.base(), workspace.kind(place)
    if kind is None:
        return _status(place, pointer, base=base, state=PlaceState.MISSING)
    if base is None:
        return _status(place, pointer, base=base, state=PlaceState.UNKNOWN)
    counts = dict.fromkeys(Change, 0)
    first: list[FileEdit] = []
    for change in changes(workspace, place, memory=memory, folder=pointer.folder):
        counts[change.change] += 1
        if len(first) < shown:
            first.append(change)
    if base.coming:
        state = PlaceState.INTERRUPTED
    elif base.version != pointer.digest:
        state = PlaceState.BEHIND
    else:
        state = PlaceState.EDITED if first else PlaceState.CLEAN
    return _status(place, pointer, base=base, state=state, counts=counts, first=tuple(first))


def _status(
    place: str,
    pointer: Pointer,
    *,
    base: Base | None,
    state: PlaceState,
    counts: dict[Change, int] | None = None,
    first: tuple[FileEdit, ...] = (),
) -> PlaceStatus:
    counted = counts or dict.fromkeys(Change, 0)
    return PlaceStatus(
        place=place,
        dataset=pointer.dataset,
        state=state,
        number=base.number if base is not None and base.version == pointer.digest else 0,
        files=pointer.files,
        bytes=pointer.bytes,
        added=counted[Change.ADDED],
        modified=counted[Change.MODIFIED],
        deleted=counted[Change.DELETED],
        changes=first,
    )
