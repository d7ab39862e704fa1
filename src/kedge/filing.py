"""Versions of files alone: what adding and checking out need of the store. They cost as little as a process can.

A store in a SQLite file is spoken to by plain statements; another one, or one that must be made or migrated, is opened
whole (`records.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.adapters.clock import SystemClock
from kedge.data.files.versions import FileVersions
from kedge.settings import Settings
from kedge.storage.blobs.chunks import ChunkStore
from kedge.storage.sql.chunks import SqlChunks
from kedge.storage.sql.embedded import open_embedded
from kedge.storage.sql.versions import SqlVersions
from kedge.workspaces import open_workspace

if TYPE_CHECKING:
    from kedge.ports.workspace import Workspace


@dataclass(frozen=True)
class Filing:
    """Versions of files, and the folder that they lie in."""

    files: FileVersions
    workspace: Workspace


@contextmanager
def filed(settings: Settings, *, make: bool) -> Iterator[Filing]:
    """Open what keeps versions of files, and close it at the end. Raises what `open_records` raises."""
    store = open_embedded(settings.url)
    if store is None:
        from kedge.records import open_records

        records = open_records(settings, make=make)
        try:
            yield Filing(records.files, records.workspace)
        finally:
            records.close()
        return
    try:
        workspace = open_workspace(settings.project)
        blobs = ChunkStore(settings.folder, SqlChunks(store))
        files = FileVersions(datasets=SqlVersions(store), blobs=blobs, workspace=workspace, clock=SystemClock())
        yield Filing(files, workspace)
    finally:
        store.close()
