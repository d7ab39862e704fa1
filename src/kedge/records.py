"""The records alone: what a training script, or a server without a project, needs of the store. Light to import.

`app.py` opens a whole house, with frames and models; a script that only logs opens its records.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kedge.adapters.clock import SystemClock
from kedge.errors import ConfigError, NotFound, RequestInvalid
from kedge.ports import Bucket, Clock, DataStore, MetaStore
from kedge.settings import Settings
from kedge.storage.blobs.chunks import ChunkStore
from kedge.storage.bucket import open_bucket
from kedge.storage.sql import open_store
from kedge.tracking.artifacts import Artifacts
from kedge.tracking.logging import Logging
from kedge.tracking.telling import Telling

if TYPE_CHECKING:
    from kedge.data.catalogue import Catalogue
    from kedge.data.files.exchange import Exchange
    from kedge.data.files.versions import FileVersions
    from kedge.data.quality.room import Quality
    from kedge.data.tables.versions import TableVersions
    from kedge.data.upkeep.collecting import Collecting
    from kedge.data.upkeep.erasing import Erasing
    from kedge.data.upkeep.healing import Healing
    from kedge.data.upkeep.sharing import Sharing
    from kedge.data.upkeep.withdrawing import Withdrawing
    from kedge.monitoring.comparing.room import Comparing
    from kedge.ports.workspace import Workspace


@dataclass(frozen=True)
class Records:
    """What runs leave behind, and the rooms that keep it. Each room is made when it is first asked for."""

    settings: Settings
    meta: MetaStore
    blobs: DataStore
    clock: Clock

    @cached_property
    def logging(self) -> Logging:
        """Keep what clients log."""
        return Logging(meta=self.meta, clock=self.clock)

    @cached_property
    def artifacts(self) -> Artifacts:
        """Keep the files of runs and of logged models."""
        return Artifacts(
            files=self.meta.files,
            runs=self.meta.runs,
            models=self.meta.logged_models,
            blobs=self.blobs,
            clock=self.clock,
        )

    @cached_property
    def telling(self) -> Telling:
        """Take what a client tells."""
        return Telling(logging=self.logging, artifacts=self.artifacts)

    @cached_property
    def files(self) -> FileVersions:
        """Keep versions of the files in the project's folder."""
        from kedge.data.files.versions import FileVersions

        return FileVersions(datasets=self.meta.datasets, blobs=self.blobs, workspace=self.workspace, clock=self.clock)

    @cached_property
    def collecting(self) -> Collecting:
        """Free the space of versions that nobody needs."""
        from kedge.data.upkeep.collecting import Collecting

        return Collecting(meta=self.meta, blobs=self.blobs, workspace=self.workspace, clock=self.clock)

    @cached_property
    def erasing(self) -> Erasing:
        """Erase files from every version."""
        from kedge.data.upkeep.erasing import Erasing

        return Erasing(datasets=self.meta.datasets, blobs=self.blobs, workspace=self.workspace, clock=self.clock)

    @cached_property
    def healing(self) -> Healing:
        """Find what is damaged in the store, and mend it."""
        from kedge.data.upkeep.healing import Healing

        return Healing(datasets=self.meta.datasets, blobs=self.blobs)

    @cached_property
    def sharing(self) -> Sharing:
        """Send versions to buckets, and fetch them."""
        from kedge.data.upkeep.sharing import Sharing

        return Sharing(datasets=self.meta.datasets, blobs=self.blobs, clock=self.clock)

    @cached_property
    def withdrawing(self) -> Withdrawing:
        """Erase from buckets."""
        from kedge.data.tables.parts import Parts
        from kedge.data.upkeep.withdrawing import Withdrawing
        from kedge.storage.tables import PolarsTables

        parts = Parts(blobs=self.blobs, tables=PolarsTables(self.settings.project, None), put=self.blobs.put_data)
        return Withdrawing(meta=self.meta, blobs=self.blobs, parts=parts, sharing=self.sharing, clock=self.clock)

    @cached_property
    def exchange(self) -> Exchange:
        """Take in other tools' data, and give versions back."""
        from kedge.data.files.exchange import Exchange
        from kedge.storage.foreign.tools import OtherTools

        return Exchange(files=self.files, blobs=self.blobs, foreign=OtherTools(self.settings.project))

    @cached_property
    def workspace(self) -> Workspace:
        """Look at the project's folder."""
        from kedge.workspaces import open_workspace

        return open_workspace(self.settings.project)

    @cached_property
    def catalogue(self) -> Catalogue:
        """Describe and find datasets."""
        from kedge.data.catalogue import Catalogue

        return Catalogue(meta=self.meta, blobs=self.blobs, clock=self.clock)

    @cached_property
    def tables(self) -> TableVersions:
        """Keep versions of tables."""
        from kedge.adapters.delta.lake import DeltaLake
        from kedge.adapters.project import FolderProject
        from kedge.data.tables.versions import TableVersions
        from kedge.storage.tables import PolarsTables

        tables = PolarsTables(self.settings.project, FolderProject(self.settings.project))
        return TableVersions(
            datasets=self.meta.datasets,
            blobs=self.blobs,
            tables=tables,
            lake=DeltaLake(),
            files=self.meta.files,
            notes=self.meta.notes,
            clock=self.clock,
        )

    @cached_property
    def quality(self) -> Quality:
        """Validate and profile tables."""
        from kedge.adapters.pandera.schema import PanderaSchemas
        from kedge.adapters.project import FolderProject
        from kedge.data.quality.room import Quality
        from kedge.storage.tables import PolarsTables

        return Quality(
            datasets=self.meta.datasets,
            versions=self.tables,
            tables=PolarsTables(Path(), None),
            project=FolderProject(self.settings.project),
            foreign=PanderaSchemas(),
            clock=self.clock,
        )

    @cached_property
    def comparing(self) -> Comparing:
        """Compare any table with any other."""
        from kedge.monitoring.comparing.room import Comparing
        from kedge.storage.tables import PolarsTables

        tables = PolarsTables(Path(), None)  # a file is where whoever names it stands
        return Comparing(datasets=self.meta.datasets, versions=self.tables, tables=tables)

    def bucket(self, url: str) -> Bucket:
        """Open a bucket by URL (`s3://`, `gs://`, `az://`, `file://`). Raises ConfigError."""
        return open_bucket(url)

    def close(self) -> None:
        """Let go of files and connections."""
        self.meta.close()


def open_records(settings: Settings, *, clock: Clock | None = None, make: bool = True) -> Records:
    """Open the store of these settings, made where there is none, or, not to `make` one, refused: who only reads leaves
    nothing behind. Raises ConfigError, NotFound."""
    folder = settings.folder
    if not make and not settings.has_store:
        raise NotFound(
            f"there is no store in {folder} yet; the first `kedge data add`, `kedge data commit`, `kedge data pull` or"
            " logged run makes one; name another with --store (in Python: store=) or KEDGE_STORE"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the store's folder {folder} cannot be made: {error.strerror}; choose another with --store or KEDGE_STORE"
        ) from None
    meta = open_store(settings.url)
    return Records(settings=settings, meta=meta, blobs=ChunkStore(folder, meta.chunks), clock=clock or SystemClock())


@contextmanager
def naming_tables(*tables: object) -> Iterator[None]:
    """Say of a name that no dataset has, and a file, that such files are no tables. Raises RequestInvalid."""
    try:
        yield
    except NotFound:
        from kedge.data.quality.room import FILES, is_file

        for name in tables:
            if isinstance(name, str) and not is_file(name) and Path(name).is_file():
                told = f"{name} is a file, and no table that can be read: those end with {', '.join(FILES)}"
                raise RequestInvalid(f"{told}; no dataset has this name either") from None
        raise


@contextmanager
def records_if_any(settings: Settings) -> Iterator[Records]:
    """Open the store of these settings if there is one, else an empty one that goes at the end: for questions about files
    and frames, of which nothing is kept."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="kedge-") as folder:
        there = settings.has_store
        meta = open_store(settings.url if there else "sqlite://")
        blobs = ChunkStore(settings.folder if there else Path(folder), meta.chunks)
        try:
            yield Records(settings=settings, meta=meta, blobs=blobs, clock=SystemClock())
        finally:
            meta.close()
