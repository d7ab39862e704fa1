"""The composition root: settings and project in, a house of rooms out. The only place that knows rooms and adapters.

open_house   the real house: metadata, blobs, journals and online features in the store
rehearse     a twin whose registry, deployments, monitors and ledgers live in memory, sharing what is content
             addressed (runs, datasets, blobs) with the real one: for comparing policies on a project's past
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from time import sleep

from kedge.adapters.clock import SystemClock
from kedge.adapters.jobs import InlineRunner, ProcessRunner
from kedge.adapters.notify import LogNotifier, SilentNotifier
from kedge.adapters.project import FolderProject
from kedge.adapters.sklearn.format import SklearnFormat
from kedge.config import Settings
from kedge.data.room import Data
from kedge.domain.project import ProjectSpec
from kedge.errors import ConfigError
from kedge.evaluation.load import ModelLoader
from kedge.evaluation.room import Evaluation
from kedge.features.parity import Parity
from kedge.features.room import Features
from kedge.lineage.explain import Lineage
from kedge.monitoring.room import Monitoring
from kedge.pipelines.cache import Results
from kedge.pipelines.room import Pipelines
from kedge.pipelines.run import Made, Work, make
from kedge.ports import (
    BlobStore,
    Clock,
    JobRunner,
    Journal,
    MetaStore,
    ModelFormat,
    Notifier,
    OnlineStore,
    Project,
    Tables,
)
from kedge.registry.room import Registry
from kedge.retraining.room import Retraining
from kedge.rollout.room import Rollout
from kedge.storage.blobs.chunks import ChunkStore
from kedge.storage.blobs.memory import MemoryBlobs
from kedge.storage.journal import FileJournal
from kedge.storage.online import MemoryOnline, SqliteOnline
from kedge.storage.sql import open_store
from kedge.storage.tables import PolarsTables
from kedge.tracking.room import Tracking

FORMATS: tuple[ModelFormat, ...] = (SklearnFormat(),)


@dataclass(frozen=True)
class House:
    """The rooms of one project, wired. Each room is made when it is first asked for.

    `parts` keeps the datasets' files, `blobs` everything else; `shared` has the results of trainings. Both differ from
    the house's own only in a twin. `writer` names this process.
    """

    settings: Settings
    spec: ProjectSpec
    writer: str
    meta: MetaStore
    shared: MetaStore
    blobs: BlobStore
    parts: BlobStore
    loader: ModelLoader
    tables: Tables
    project: Project
    online: OnlineStore
    predictions: Journal
    truths: Journal
    jobs: JobRunner
    notifier: Notifier
    clock: Clock

    @cached_property
    def data(self) -> Data:
        """Version and validate."""
        return Data(datasets=self.meta.datasets, blobs=self.parts, tables=self.tables, clock=self.clock)

    @cached_property
    def features(self) -> Features:
        """Join for training, look up for serving."""
        return Features(data=self.data, online=self.online, tables=self.tables, project=self.project, clock=self.clock)

    @cached_property
    def parity(self) -> Parity:
        """Compare what was served with what the join gives."""
        return Parity(
            features=self.features,
            predictions=self.predictions,
            notes=self.meta.notes,
            events=self.meta.events,
            clock=self.clock,
        )

    @cached_property
    def tracking(self) -> Tracking:
        """Keep runs."""
        return Tracking(runs=self.meta.runs, project=self.project, clock=self.clock)

    @cached_property
    def pipelines(self) -> Pipelines:
        """Train."""
        return Pipelines(
            tracking=self.tracking,
            runs=self.meta.runs,
            results=Results(notes=self.shared.notes, runs=self.shared.runs, wall=SystemClock()),
            jobs=self.jobs,
            blobs=self.blobs,
            project=self.project,
            clock=self.clock,
            execute=train_job,
            project_root=str(self.settings.project),
            owner=self.writer,
            pause=sleep,
        )

    @cached_property
    def evaluation(self) -> Evaluation:
        """Score and judge."""
        return Evaluation(blobs=self.blobs, loader=self.loader, events=self.meta.events, clock=self.clock)

    @cached_property
    def registry(self) -> Registry:
        """Keep model versions and their aliases."""
        return Registry(
            models=self.meta.models, blobs=self.blobs, tables=self.tables, evaluation=self.evaluation, clock=self.clock
        )

    @cached_property
    def rollout(self) -> Rollout:
        """Replace one version by another."""
        return Rollout(
            deployments=self.meta.deployments,
            registry=self.registry,
            watches=self.meta.watches,
            notifier=self.notifier,
            clock=self.clock,
        )

    @cached_property
    def monitoring(self) -> Monitoring:
        """Watch what is served."""
        return Monitoring(
            watches=self.meta.watches,
            predictions=self.predictions,
            truths=self.truths,
            evaluation=self.evaluation,
            registry=self.registry,
            runs=self.meta.runs,
            deployments=self.meta.deployments,
            blobs=self.blobs,
            notes=self.meta.notes,
            notifier=self.notifier,
            clock=self.clock,
        )

    @cached_property
    def retraining(self) -> Retraining:
        """Decide when to train again."""
        return Retraining(
            ledgers=self.meta.ledgers,
            watches=self.meta.watches,
            deployments=self.meta.deployments,
            runs=self.meta.runs,
            events=self.meta.events,
            notes=self.meta.notes,
            notifier=self.notifier,
            clock=self.clock,
        )

    @cached_property
    def lineage(self) -> Lineage:
        """Answer for a prediction."""
        return Lineage(
            events=self.meta.events,
            runs=self.meta.runs,
            models=self.meta.models,
            deployments=self.meta.deployments,
            datasets=self.meta.datasets,
            blobs=self.blobs,
            predictions=self.predictions,
        )

    def close(self) -> None:
        """Sync what was written and let go of files, connections and workers."""
        self.predictions.close()
        self.truths.close()
        self.online.close()
        self.jobs.close()
        self.meta.close()


def open_house(
    settings: Settings, spec: ProjectSpec, *, writer: str, clock: Clock | None = None, models_kept: int = 8
) -> House:
    """Open a project's store and wire its rooms. `writer` names this process in the journals it appends to;
    `models_kept` is how many models stay loaded."""
    folder = settings.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the store's folder {folder} cannot be made: {error.strerror}; choose another with --store or KEDGE_STORE"
        ) from None
    meta = open_store(settings.url)
    project = FolderProject(settings.project)
    blobs = ChunkStore(folder, meta.chunks)
    return House(
        settings=settings,
        spec=spec,
        writer=writer,
        meta=meta,
        shared=meta,
        blobs=blobs,
        parts=blobs,
        loader=ModelLoader(blobs=blobs, formats=FORMATS, kept=models_kept),
        tables=PolarsTables(settings.project, project),
        project=project,
        online=SqliteOnline(folder / "online.db"),
        predictions=FileJournal(folder / "predictions", writer),
        truths=FileJournal(folder / "truths", writer),
        jobs=ProcessRunner(),
        notifier=LogNotifier() if "log" in spec.monitoring.alerts else SilentNotifier(),
        clock=clock or SystemClock(),
    )


def rehearse(house: House, spec: ProjectSpec, *, clock: Clock) -> House:
    """Make the house's twin for one policy: its records and data in memory, its journals in files that the next twin
    throws away, trainings in this process and shared, nobody told. Sources are held once for the house and its twins."""
    scratch = house.settings.folder / "rehearsal"
    rmtree(scratch, ignore_errors=True)
    twin = replace(
        house,
        spec=spec,
        meta=open_store("sqlite://"),
        parts=MemoryBlobs(),
        online=MemoryOnline(),
        predictions=FileJournal(scratch / "predictions", house.writer),
        truths=FileJournal(scratch / "truths", house.writer),
        jobs=InlineRunner(),
        notifier=SilentNotifier(),
        clock=clock,
    )
    twin.data.share_sources(house.data)
    twin.features.share_sources(house.features)
    return twin


def train_job(project_root: str, reference: str, work: Work) -> Made:
    """Train in a job's own process: load the project's pipeline there and run it."""
    pipeline = FolderProject(Path(project_root)).load(reference) if reference else None
    return make(pipeline, work, formats=FORMATS)
