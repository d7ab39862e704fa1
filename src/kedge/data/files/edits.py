"""What differs between a version and what lies at its place in the workspace."""

from __future__ import annotations

from kedge.data.files.looking import changes
from kedge.domain.data import DatasetVersion
from kedge.domain.data_diff import ChangedFile, DiffSide, FileChange, FilesDiff, side_of
from kedge.domain.ids import Digest
from kedge.domain.workspace import Change
from kedge.ports.workspace import PlaceMemory, Workspace

_SHOWN = 1000
_AS = {Change.ADDED: FileChange.ADDED, Change.MODIFIED: FileChange.CHANGED, Change.DELETED: FileChange.REMOVED}


def edits_of(workspace: Workspace, place: str, *, memory: PlaceMemory, folder: bool, version: DatasetVersion) -> FilesDiff:
    """List the edits; the place's memory holds the version. The side that lies here has number 0 and no digest."""
    counts = dict.fromkeys(FileChange, 0)
    files: list[ChangedFile] = []
    count, size = version.files, version.bytes
    for name, change in changes(workspace, place, memory=memory, folder=folder):
        known = memory.file(name) if change is not Change.ADDED else None
        found = workspace.look(place, name, folder=folder) if change is not Change.DELETED else None
        was, now = (one.size if one is not None else 0 for one in (known, found))
        counts[_AS[change]] += 1
        count += (known is None) - (found is None)
        size += now - was
        if len(files) < _SHOWN:
            files.append(
                ChangedFile(
                    path=name,
                    change=_AS[change],
                    before=known.digest if known is not None else None,
                    bytes_before=was,
                    bytes_after=now,
                )
            )
    return FilesDiff(
        before=side_of(version),
        after=DiffSide(dataset=version.dataset, number=0, digest=Digest(""), files=count, bytes=size),
        added=counts[FileChange.ADDED],
        removed=counts[FileChange.REMOVED],
        changed=counts[FileChange.CHANGED],
        unchanged=version.files - counts[FileChange.REMOVED] - counts[FileChange.CHANGED],
        files=tuple(files),
    )
