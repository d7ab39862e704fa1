"""The composition root: settings and project in, a house of rooms out. The one place that knows all rooms and adapters.

A part of the house is wired by itself where it must be light: `records.py`, `scripts.py` for training scripts, `job.py`.

open_house   the real house: metadata, blobs, journals and online features in the store
rehearse     a twin whose registry, deployments, monitors and ledgers live in memory, sharing what is content
             addressed (runs, datasets, blobs) with the real one: for comparing policies on a project's past

Rooms are imported when they are first asked for: a server that only keeps what clients log needs no frames and no models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from shutil import rmtree
from time import sleep
from typing import TYPE_CHECKING
from uuid import uuid4

from kedge.adapters.clock import SystemClock
from kedge.adapters.jobs import InlineRunner, ProcessRunner
from kedge.adapters.project import FolderProject
from kedge.adapters.sklearn import LIBRARIES
from kedge.config import Settings, read_trust
from kedge.domain.channels import channels_of, declared
from kedge.domain.predictions import PredictionRules
from kedge.domain.project import ProjectSpec
from kedge.ports import (
    AlertChannel,
    Archive,
    BlobStore,
    Clock,
    DataStore,
    JobRunner,
    Journal,
    MetaStore,
    OnlineStore,
    PlaneReports,
    Project,
    Tables,
)
from kedge.records import Records, open_records
from kedge.settings import secret_in
from kedge.storage.alone import alone
from kedge.storage.blobs.memory import MemoryBlobs
from kedge.storage.log_folder import LogFolder
from kedge.storage.online import MemoryOnline, SqliteOnline
from kedge.storage.plane_reports import ReportJournal
from kedge.storage.prediction_rows import PredictionRows
from kedge.storage.secret import secret
from kedge.storage.sql import open_store
from kedge.storage.truth_rows import TruthRows
from kedge.version import installed

if TYPE_CHECKING:
    from kedge.adapters.opentelemetry.export import OtlpTraces
    from kedge.data.catalogue import Catalogue
    from kedge.data.room import Data
    from kedge.domain.trust import Trust
    from kedge.evaluation.load import ModelLoader
    from kedge.evaluation.room import Evaluation
    from kedge.features.parity import Parity
    from kedge.features.room import Features
    from kedge.lineage.explain import Lineage
    from kedge.monitoring.answer_log import AnswerLog
    from kedge.monitoring.causes.asked import Explaining
    from kedge.monitoring.comparing.logged import LoggedSides
    from kedge.monitoring.given import GivenReferences
    from kedge.monitoring.references import References
    from kedge.monitoring.room import Monitoring
    from kedge.monitoring.telling.desk import AlertDesk
    from kedge.monitoring.telling.messenger import Messenger
    from kedge.monitoring.truth.ground_truth import GroundTruth
    from kedge.pipelines.room import Pipelines
    from kedge.registry.catalog import Catalog
    from kedge.registry.examining import Examiner
    from kedge.registry.given import HandedModels
    from kedge.registry.room import Registry
    from kedge.retraining.asking import RetrainRequests
    from kedge.retraining.room import Retraining
    from kedge.rollout.hand import ByHand
    from kedge.rollout.live import LiveLooks
    from kedge.rollout.room import Rollout
    from kedge.tracking.artifacts import Artifacts
    from kedge.tracking.logging import Logging
    from kedge.tracking.room import Tracking
    from kedge.tracking.telling import Telling


class Bench:
    """What needs the libraries of frames and models: made when it is first asked for, shared by a house and its twins."""

    def __init__(
        self, root: Path, project: Project, *, blobs: BlobStore, models_kept: int, trust: Callable[[], Trust]
    ) -> None:
        self._root, self._project, self._blobs, self._models_kept = root, project, blobs, models_kept
        self._trust = trust

    @cached_property
    def loader(self) -> ModelLoader:
        """Load models, and keep those that were used last."""
        from kedge.evaluation.load import ModelLoader
        from kedge.job import FORMATS, FORMS, tensor_formats

        return ModelLoader(
            blobs=self._blobs, formats=FORMATS, tensors=tensor_formats(self._trust), forms=FORMS, kept=self._models_kept
        )

    @cached_property
    def tables(self) -> Tables:
        """Read and write tables."""
        from kedge.storage.tables import PolarsTables

        return PolarsTables(self._root, self._project)


@dataclass(frozen=True)
class House:
    """The rooms of one project, wired. Each room is made when it is first asked for.

    `parts` keeps the datasets' files, `blobs` everything else; `shared` has the results of trainings. Both differ from
    the house's own only in a twin, where nothing `serves`. `writer` names this process.
    """

    settings: Settings
    spec: ProjectSpec
    writer: str
    meta: MetaStore
    shared: MetaStore
    blobs: DataStore
    parts: BlobStore
    bench: Bench
    project: Project
    online: OnlineStore
    predictions: Journal
    archive: Archive
    truths: Journal
    truth_archive: Archive
    secret: Callable[[], bytes]
    jobs: JobRunner
    clock: Clock
    serves: bool = True

    @property
    def loader(self) -> ModelLoader:
        """Load models."""
        return self.bench.loader

    @property
    def tables(self) -> Tables:
        """Read and write tables."""
        return self.bench.tables

    @cached_property
    def data(self) -> Data:
        """Version and validate."""
        from kedge.data.room import Data

        return Data(
            datasets=self.meta.datasets, blobs=self.parts, tables=self.tables, clock=self.clock, project=self.project
        )

    @cached_property
    def features(self) -> Features:
        """Join for training, look up for serving."""
        from kedge.features.room import Features

        return Features(data=self.data, online=self.online, tables=self.tables, project=self.project, clock=self.clock)

    @cached_property
    def parity(self) -> Parity:
        """Compare what was served with what the join gives."""
        from kedge.features.parity import Parity

        return Parity(
            features=self.features,
            predictions=self.predictions,
            notes=self.meta.notes,
            events=self.meta.events,
            clock=self.clock,
        )

    @cached_property
    def tracking(self) -> Tracking:
        """Keep the loop's own runs."""
        from kedge.tracking.room import Tracking

        return Tracking(runs=self.meta.runs, experiments=self.meta.experiments, project=self.project, clock=self.clock)

    @cached_property
    def records(self) -> Records:
        """Keep what runs leave behind, by the rooms that a script without a house has too."""
        return Records(settings=self.settings, meta=self.meta, blobs=self.blobs, clock=self.clock)

    @property
    def logging(self) -> Logging:
        """Keep what clients log."""
        return self.records.logging

    @property
    def artifacts(self) -> Artifacts:
        """Keep the files of runs and logged models."""
        return self.records.artifacts

    @property
    def telling(self) -> Telling:
        """Take what a client tells."""
        return self.records.telling

    @cached_property
    def pipelines(self) -> Pipelines:
        """Train."""
        from kedge.job import train_job
        from kedge.pipelines.cache import Results
        from kedge.pipelines.room import Pipelines

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
        from kedge.evaluation.room import Evaluation

        meta, compare = self.meta, self.examiner.compare
        return Evaluation(blobs=self.blobs, loader=self.loader, events=meta.events, clock=self.clock, compare=compare)

    @cached_property
    def registry(self) -> Registry:
        """Keep model versions and their aliases."""
        from kedge.registry.room import Registry

        return Registry(
            models=self.meta.models,
            blobs=self.blobs,
            tables=self.tables,
            evaluation=self.evaluation,
            clock=self.clock,
            registered=self.meta.registered,
            examiner=self.examiner if self.serves else None,
        )

    @cached_property
    def examiner(self) -> Examiner:
        """Look at models that are registered."""
        from kedge.job import examine_job, prepare_job
        from kedge.registry.examining import Examiner

        return Examiner(
            jobs=self.jobs,
            blobs=self.blobs,
            clock=self.clock,
            execute=examine_job,
            prepare=partial(prepare_job, read_trust(self.settings)),
        )

    @cached_property
    def given(self) -> HandedModels:
        """Register models that people hand over."""
        from kedge.registry.given import HandedModels

        return HandedModels(
            catalog=self.catalog,
            registry=self.registry,
            examiner=self.examiner,
            models=self.logging,
            files=self.artifacts,
        )

    @cached_property
    def catalog(self) -> Catalog:
        """Keep registered models, whoever made their versions."""
        from kedge.registry.catalog import Catalog

        return Catalog(
            registered=self.meta.registered,
            models=self.meta.models,
            logged=self.meta.logged_models,
            deployments=self.meta.deployments,
            files=self.artifacts,
            clock=self.clock,
        )

    @cached_property
    def catalogue(self) -> Catalogue:
        """Describe and find datasets."""
        from kedge.data.catalogue import Catalogue

        return Catalogue(meta=self.meta, blobs=self.blobs, clock=self.clock)

    @cached_property
    def by_hand(self) -> ByHand:
        """Promote, roll back and archive for people."""
        from kedge.rollout.hand import ByHand

        return ByHand(catalog=self.catalog, registry=self.registry, rollout=self.rollout, deployments=self.meta.deployments)

    @cached_property
    def rollout(self) -> Rollout:
        """Replace one version by another."""
        from kedge.rollout.room import Rollout

        meta = self.meta
        return Rollout(deployments=meta.deployments, registry=self.registry, watches=meta.watches, clock=self.clock)

    @cached_property
    def live(self) -> LiveLooks:
        """Look at trials by the log as it grows."""
        from kedge.rollout.live import LiveLooks

        return LiveLooks(
            deployments=self.meta.deployments,
            notes=self.meta.notes,
            journal=self.predictions,
            registry=self.registry,
            rollout=self.rollout,
            clock=self.clock,
        )

    @cached_property
    def monitoring(self) -> Monitoring:
        """Watch what is served."""
        from kedge.monitoring.room import Monitoring

        return Monitoring(
            watches=self.meta.watches,
            predictions=self.predictions,
            truths=self.truths,
            evaluation=self.evaluation,
            registry=self.registry,
            runs=self.meta.runs,
            deployments=self.meta.deployments,
            references=self.references,
            clock=self.clock,
            serves=self.serves,
            parity=lambda: self.parity,
            secret=self.secret,
            planes=open_reports(self.settings, writer=self.writer),
        )

    @cached_property
    def references(self) -> References:
        """Keep what versions call normal."""
        from kedge.monitoring.references import References

        return References(
            evaluation=self.evaluation,
            runs=self.meta.runs,
            watches=self.meta.watches,
            blobs=self.blobs,
            notes=self.meta.notes,
            clock=self.clock,
            serves=self.serves,
        )

    @cached_property
    def given_references(self) -> GivenReferences:
        """Take what a version calls normal from rows that are given."""
        from kedge.monitoring.given import GivenReferences

        return GivenReferences(
            references=self.references, evaluation=self.evaluation, events=self.meta.events, clock=self.clock
        )

    @cached_property
    def ground_truth(self) -> GroundTruth:
        """Take facts."""
        from kedge.monitoring.truth.ground_truth import GroundTruth

        return GroundTruth(
            predictions=self.archive,
            truths=self.truth_archive,
            journal=self.truths,
            watches=self.meta.watches,
            secret=self.secret,
            home=self.spec.name,
        )

    @cached_property
    def answers(self) -> AnswerLog:
        """Ask the prediction log, compact it, erase from it."""
        from kedge.monitoring.answer_log import AnswerLog
        from kedge.rollout.forgetting import TrialRows

        return AnswerLog(
            predictions=self.archive,
            truths=self.truth_archive,
            trials=TrialRows(deployments=self.meta.deployments, notes=self.meta.notes),
            events=self.meta.events,
            secret=self.secret,
            clock=self.clock,
        )

    @cached_property
    def sides(self) -> LoggedSides:
        """Read what was logged as a side of a comparison."""
        from kedge.monitoring.comparing.logged import LoggedSides

        return LoggedSides(answers=self.answers, references=self.references, registry=self.registry)

    @cached_property
    def explaining(self) -> Explaining:
        """Say what moved and why it matters, when asked."""
        from kedge.monitoring.causes.asked import Explaining

        return Explaining(
            answers=self.answers, references=self.references, registry=self.registry, watches=self.meta.watches
        )

    @cached_property
    def retraining(self) -> Retraining:
        """Decide when to train again."""
        from kedge.retraining.room import Retraining

        return Retraining(
            ledgers=self.meta.ledgers,
            watches=self.meta.watches,
            deployments=self.meta.deployments,
            runs=self.meta.runs,
            events=self.meta.events,
            notes=self.meta.notes,
            asking=self.asking,
            clock=self.clock,
        )

    @cached_property
    def channels(self) -> Mapping[str, AlertChannel]:
        """Tell people: each declared channel by its name."""
        from kedge.adapters.channels import channel

        read = partial(secret_in, folder=self.settings.project)
        return {
            name: channel(rules, read) for name, rules in declared(self.spec.monitoring.alerts, self.spec.alerts).items()
        }

    @cached_property
    def alert_desk(self) -> AlertDesk:
        """Act on alerts for people."""
        from kedge.monitoring.telling.desk import AlertDesk

        return AlertDesk(
            alerts=self.meta.alerts,
            models=lambda: {*self.meta.models.names(), *self.meta.deployments.names()},
            channels=lambda: self.channels,
            clock=self.clock,
            project=self.spec.name,
        )

    @cached_property
    def messenger(self) -> Messenger:
        """Send what people are to be told."""
        from kedge.monitoring.telling.messenger import Messenger

        return Messenger(
            alerts=self.meta.alerts,
            runs=self.meta.runs,
            models=self.meta.models,
            deployments=self.meta.deployments,
            notes=self.meta.notes,
            first=channels_of(self.spec.monitoring.alerts, self.spec.alerts),
            rules=self.spec.alerts,
            channels=lambda: self.channels,
            window=self.spec.monitoring.window,
            project=self.spec.name,
            clock=self.clock,
            owner=f"{self.writer}:{uuid4().hex[:8]}",
        )

    @cached_property
    def asking(self) -> RetrainRequests:
        """Take in what asks for a training."""
        from kedge.retraining.asking import RetrainRequests

        return RetrainRequests(
            triggers=self.meta.triggers, datasets=self.meta.datasets, notes=self.meta.notes, clock=self.clock
        )

    @cached_property
    def lineage(self) -> Lineage:
        """Answer for a prediction."""
        from kedge.lineage.explain import Lineage

        return Lineage(
            events=self.meta.events,
            runs=self.meta.runs,
            models=self.meta.models,
            registered=self.meta.registered,
            deployments=self.meta.deployments,
            datasets=self.meta.datasets,
            blobs=self.blobs,
            predictions=self.predictions,
        )

    def traces(self, endpoint: str) -> OtlpTraces:
        """Send requests to what takes traces at an address. Raises ConfigError where the extra `telemetry` is missing."""
        from kedge.adapters.opentelemetry.export import OtlpTraces

        return OtlpTraces(endpoint, version=installed())

    def alone(self, what: str) -> AbstractContextManager[bool]:
        """Do something as the only process of this machine; gives False where another one does it."""
        return alone(self.settings.folder / f"{what}.lock")

    def close(self) -> None:
        """Sync what was written and let go of files, connections and workers."""
        self.predictions.close()
        self.truths.close()
        self.online.close()
        self.jobs.close()
        self.meta.close()


def open_house(
    settings: Settings,
    spec: ProjectSpec,
    *,
    writer: str,
    clock: Clock | None = None,
    models_kept: int = 8,
    inline: bool = False,
    make: bool = True,
) -> House:
    """Open a project's store and wire its rooms. `writer` names this process in the journals it appends to;
    `models_kept` is how many models stay loaded; `inline` runs jobs in this process, which is to end soon. Without `make` a
    store that is not there is refused, as NotFound."""
    folder, records = settings.folder, open_records(settings, clock=clock, make=make)
    project = FolderProject(settings.project)
    predictions = LogFolder(folder / "predictions", PredictionRows(), rules=spec.predictions)
    truths = LogFolder(folder / "truths", TruthRows(), rules=spec.predictions)
    return House(
        settings=settings,
        spec=spec,
        writer=writer,
        meta=records.meta,
        shared=records.meta,
        blobs=records.blobs,
        parts=records.blobs,
        bench=Bench(
            settings.project, project, blobs=records.blobs, models_kept=models_kept, trust=partial(read_trust, settings)
        ),
        project=project,
        online=SqliteOnline(folder / "online.db"),
        predictions=predictions.journal(writer),
        archive=predictions.archive,
        truths=truths.journal(writer),
        truth_archive=truths.archive,
        secret=lambda: secret(folder / "predictions.key"),
        jobs=InlineRunner(LIBRARIES) if inline else ProcessRunner(LIBRARIES),
        clock=records.clock,
    )


def open_reports(settings: Settings, *, writer: str) -> PlaneReports:
    """Open what the data planes of a store tell of themselves. Nothing is made before the first report."""
    return ReportJournal(settings.folder / "planes", writer)


def rehearse(house: House, spec: ProjectSpec, *, clock: Clock, jobs: JobRunner | None = None) -> House:
    """Make the house's twin for one policy: its records and data in memory, its journals in files that the next twin
    throws away, trainings in this process (or as `jobs` run) and shared, nobody told. Sources are held once for the house
    and its twins."""
    scratch = house.settings.folder / "rehearsal" / house.writer
    rmtree(scratch, ignore_errors=True)
    predictions = LogFolder(scratch / "predictions", PredictionRows(), rules=PredictionRules())
    truths = LogFolder(scratch / "truths", TruthRows(), rules=PredictionRules())
    twin = replace(
        house,
        spec=spec,
        meta=open_store("sqlite://"),
        parts=MemoryBlobs(),
        online=MemoryOnline(),
        predictions=predictions.journal(house.writer),
        archive=predictions.archive,
        truths=truths.journal(house.writer),
        truth_archive=truths.archive,
        jobs=jobs or InlineRunner(LIBRARIES),
        clock=clock,
        serves=False,
    )
    twin.data.share_sources(house.data)
    twin.features.share_sources(house.features)
    return twin
