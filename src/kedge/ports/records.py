"""Ports of the metadata store: one protocol for each aggregate, each implemented in `storage/sql/`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from kedge.domain.alert_life import AlertLife, Notice
from kedge.domain.alerting import Alert
from kedge.domain.artifacts import Listed, RunFile, Upload, UploadPart
from kedge.domain.channels import AlertCounts, AlertDelivery, Mute
from kedge.domain.data import Dataset, DatasetVersion, TableProfile, ValidationReport
from kedge.domain.events import Event
from kedge.domain.finding import Page, Query
from kedge.domain.ids import DatasetName, Digest, ExperimentId, LoggedModelId, ModelName, RunId
from kedge.domain.lineage import Edge, Node
from kedge.domain.monitoring import Health, Window
from kedge.domain.overview import RunGlance, RunKey
from kedge.domain.registry import AliasMove, CatalogVersion, ModelVersion, RegisteredModel, Servable, StageMove
from kedge.domain.retraining import LedgerEntry, Trigger
from kedge.domain.rollout import Deployment, RolloutLook
from kedge.domain.tracking import (
    DatasetInput,
    Experiment,
    Lifecycle,
    LoggedModel,
    LoggedModelStatus,
    Metric,
    ModelOutput,
    Point,
    Run,
    RunCount,
    RunDetail,
    RunKeys,
    RunStatus,
)

if TYPE_CHECKING:
    pass


class Versions(Protocol):
    """Versions of datasets and their tags: what is written once and read by everybody."""

    def add(self, version: DatasetVersion, event: Event) -> None:
        """Write a version; a dataset that the catalogue does not have gets its entry. Raises Conflict where another
        has its number."""

    def find(self, name: DatasetName, number: int | None = None) -> DatasetVersion | None:
        """Find a version by number, or the newest."""

    def find_digest(self, digest: Digest) -> DatasetVersion | None: ...
    def list(self, name: DatasetName, *, before: int | None = None, limit: int | None = None) -> Sequence[DatasetVersion]:
        """List versions, oldest first: all, or those with a number below `before`, the newest `limit` of them."""

    def names(self) -> Sequence[DatasetName]: ...
    def tags(self, name: DatasetName) -> Mapping[str, int]:
        """List a dataset's tags with the numbers of the versions they name."""


class Datasets(Versions, Protocol):
    """The catalogue of datasets; their versions, tags, validation reports and profiles. Of each event that tells of a change
    the dataset is the subject: whoever keeps a copy reads again what the events since then name."""

    def describe(self, dataset: Dataset, event: Event, *, before: Dataset | None = None) -> None:
        """Write a dataset's entry in place of the one that is there. Raises Conflict where that is not `before`."""

    def entry(self, name: DatasetName) -> Dataset | None:
        """Find a dataset's entry in the catalogue."""

    def entries(self) -> Sequence[Dataset]:
        """List the catalogue, by name."""

    def newest(self) -> Mapping[DatasetName, DatasetVersion]:
        """Read the newest version of every dataset."""

    def all_tags(self) -> Mapping[DatasetName, dict[str, int]]:
        """List the tags of the versions of every dataset that has some."""

    def tag(self, name: DatasetName, tag: str, *, number: int | None, event: Event) -> None:
        """Have a tag name a version, or, without a number, nothing any more. Raises NotFound for a version."""

    def drop(self, name: DatasetName, numbers: Sequence[int], *, event: Event) -> None:
        """Forget versions, their reports and profiles; their tags too. What they held is the blob store's matter."""

    def amend(self, versions: Sequence[DatasetVersion], event: Event) -> None:
        """Replace versions after an erasure, all at once: their digests stay; reports and profiles on them go."""

    def add_profile(self, profile: TableProfile) -> None:
        """Write a version's profile, in place of the one that is there."""

    def find_profile(self, version: Digest) -> TableProfile | None: ...
    def reports(self, name: DatasetName) -> Sequence[tuple[datetime, ValidationReport]]:
        """List all reports on a dataset's versions with their times, oldest first."""

    def add_report(self, report: ValidationReport, event: Event) -> None: ...
    def find_report(self, version: Digest) -> ValidationReport | None: ...


class Experiments(Protocol):
    """Experiments. Names are unique, those of deleted ones counted; "0" is "Default" and there from the start."""

    def add(self, experiment: Experiment, event: Event) -> None:
        """Write a new experiment. Raises NameTaken."""
        ...

    def get(self, experiment: ExperimentId) -> Experiment: ...
    def find(self, name: str) -> Experiment | None: ...
    def read(self, experiments: Sequence[ExperimentId]) -> Sequence[Experiment]:
        """Read those that exist, in the order asked for."""
        ...

    def rename(self, experiment: ExperimentId, name: str, *, event: Event) -> None:
        """Give another name. Raises NameTaken, WasDeleted."""
        ...

    def mark(self, experiment: ExperimentId, lifecycle: Lifecycle, *, event: Event) -> None:
        """Delete with its runs, or restore with those runs that went with it. Raises WasDeleted where it is."""
        ...

    def counts(self, experiments: Sequence[ExperimentId]) -> Mapping[ExperimentId, RunCount]:
        """Count the active runs of each."""
        ...

    def keys(self, experiments: Sequence[ExperimentId]) -> RunKeys:
        """List the keys of metrics, params and tags that any of their runs has or had."""
        ...

    def tag(self, experiment: ExperimentId, tags: Mapping[str, str | None], *, at: datetime) -> None:
        """Set tags, or drop those whose value is None."""
        ...


class Runs(Protocol):
    """Tracked runs. `content_key` is unique among finished runs."""

    def put(self, run: Run, event: Event) -> None:
        """Write a run of the loop, new or changed. Params, metrics and tags that are not named stay: its job may log too."""
        ...

    def get(self, run: RunId) -> Run: ...
    def find_key(self, content_key: Digest) -> Run | None:
        """Find the finished run with this content key."""
        ...

    def list(self, experiment: str, *, limit: int = 100) -> Sequence[Run]:
        """List the loop's own runs in the experiment of this name, newest first; deleted ones too: spent is spent."""
        ...

    def claim(self, content_key: Digest, owner: str, *, now: datetime, seconds: float) -> bool:
        """Take the right to make this run, until it is released or the lease ends; False where another holds it."""
        ...

    def release(self, content_key: Digest, owner: str) -> None: ...
    def holder(self, content_key: Digest) -> tuple[str, datetime] | None:
        """Tell who holds a right, and when it ends without being renewed; None where nobody ever took it or gave it back."""
        ...

    def add(self, run: Run, event: Event) -> None:
        """Write a client's new run with its params and tags. Raises NotFound or WasDeleted for its experiment, Conflict."""
        ...

    def detail(self, run: RunId) -> RunDetail: ...
    def details(self, runs: Sequence[RunId]) -> Sequence[RunDetail]:
        """Read those that exist, in the order asked for."""
        ...

    def change(
        self,
        run: RunId,
        *,
        status: RunStatus | None = None,
        ended_at: datetime | None = None,
        name: str | None = None,
        event: Event | None = None,
    ) -> None:
        """Change what is given of an active run. Raises NotFound, WasDeleted."""
        ...

    def mark(self, run: RunId, lifecycle: Lifecycle, *, event: Event) -> None:
        """Delete or restore; nothing happens to a run that is there already."""
        ...

    def log(
        self,
        run: RunId,
        *,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write all of it or nothing. The same point twice is one point. Raises NotFound, WasDeleted, ParamChanged."""
        ...

    def drop_tag(self, run: RunId, key: str) -> None:
        """Take a tag away. Raises NotFound where there is none."""
        ...

    def add_inputs(self, run: RunId, *, datasets: Sequence[DatasetInput] = (), models: Sequence[ModelOutput] = ()) -> None:
        """Say what a run read; what was said before stays as it was."""
        ...

    def add_outputs(self, run: RunId, models: Sequence[ModelOutput]) -> None: ...


class Overviews(Protocol):
    """Runs as lines of tables: of values only those of the keys asked for; children oldest first; starts in milliseconds."""

    def rows(self, runs: Sequence[RunId], keys: Sequence[RunKey]) -> Sequence[RunGlance]: ...
    def children(self, run: RunId, *, limit: int) -> Sequence[RunId]: ...
    def starts(self, runs: Sequence[RunId]) -> Mapping[RunId, int]: ...
    def versions_of(self, run: RunId) -> Sequence[tuple[ModelName, int]]: ...
    def readers(self, dataset: str, *, limit: int) -> Sequence[tuple[RunId, str, str]]:
        """List the active runs whose client said that they read a dataset of this name, newest first: run, digest as the
        client gave it, context."""
        ...


class Points(Protocol):
    """What was measured in runs, point by point."""

    def history(self, run: RunId, key: str, *, after: Point | None = None, limit: int) -> Sequence[Point]:
        """Read points in the order (at, step, value), those that come after one."""
        ...

    def between(
        self, run: RunId, key: str, *, start_step: int | None = None, end_step: int | None = None
    ) -> Sequence[Point]:
        """Read all points of a range of steps, both ends included."""
        ...


class LoggedModels(Protocol):
    """Models that runs left behind."""

    def add(self, model: LoggedModel, event: Event) -> None:
        """Write a new one. Raises NotFound or WasDeleted for its experiment."""
        ...

    def get(self, model: LoggedModelId) -> LoggedModel:
        """Read one, deleted or not."""
        ...

    def read(self, models: Sequence[LoggedModelId]) -> Sequence[LoggedModel]:
        """Read those that exist, in the order asked for."""
        ...

    def finalize(self, model: LoggedModelId, status: LoggedModelStatus, *, message: str = "", event: Event) -> None: ...
    def mark(self, model: LoggedModelId, lifecycle: Lifecycle, *, event: Event) -> None: ...
    def tag(self, model: LoggedModelId, tags: Mapping[str, str | None], *, at: datetime) -> None:
        """Set tags, or drop those whose value is None."""
        ...

    def add_params(self, model: LoggedModelId, params: Mapping[str, str]) -> None:
        """Add params. Raises ParamChanged."""
        ...


class Finder(Protocol):
    """Searches: ids in order, page by page. Raises SearchInvalid for a query or a page token that does not fit."""

    def runs(self, query: Query) -> Page[RunId]: ...
    def experiments(self, query: Query) -> Page[ExperimentId]: ...
    def logged_models(self, query: Query) -> Page[LoggedModelId]: ...


class RunFiles(Protocol):
    """Files of runs and of logged models: path to blob. `owner` is the id of either."""

    def put(self, owner: str, file: RunFile) -> None:
        """Write a file in place of what had its path. Raises Conflict where a folder has it, or a file is in its way."""
        ...

    def find(self, owner: str, path: str) -> RunFile | None: ...
    def list(self, owner: str, folder: str, *, after: str = "", limit: int) -> Sequence[Listed]:
        """List what is right in a folder, in the order of places, behind the place `after`."""
        ...

    def walk(self, owner: str, folder: str, *, limit: int) -> Sequence[RunFile]:
        """List all files below a folder, in the order of paths."""
        ...

    def named(self, digests: Sequence[Digest]) -> Collection[Digest]:
        """Tell which of these blobs are files of any run or logged model."""

    def delete(self, owner: str, path: str) -> int:
        """Take away a file, or a folder with all below it ("" is everything); give the number of files."""
        ...

    def begin(self, upload: Upload) -> None: ...
    def upload(self, upload: str) -> Upload | None: ...
    def put_part(self, upload: str, part: UploadPart) -> None:
        """Write a part in place of what had its number. Raises NotFound where the upload has ended."""
        ...

    def parts(self, upload: str) -> Sequence[UploadPart]:
        """List the parts that arrived, in order."""
        ...

    def end(self, upload: str, file: RunFile | None = None) -> None:
        """Forget an upload; with a file, write that in the same transaction. Raises NotFound if it has ended, Conflict."""
        ...

    def end_before(self, moment: datetime) -> int:
        """Forget the uploads that began before a moment; give their number."""
        ...


class Models(Protocol):
    """The loop's own versions of registered models, and the moves of all aliases."""

    def add(self, version: ModelVersion, event: Event, *, servable: Servable | None = None) -> None: ...
    def find(self, model: ModelName, number: int) -> ModelVersion | None: ...
    def servable(self, model: ModelName, number: int) -> Servable | None:
        """Find what serving needs of a version, the loop's or another's; None where nobody has found it out yet."""
        ...

    def make_servable(self, servable: Servable, event: Event) -> None:
        """Write what serving needs of a version that is there, once; nothing where it was written before."""
        ...

    def list(self, model: ModelName) -> Sequence[ModelVersion]:
        """List versions, newest first."""
        ...

    def names(self) -> Sequence[ModelName]: ...
    def last_number(self, model: ModelName) -> int:
        """Give the greatest number that was ever given under this name, 0 for none."""
        ...

    def alias(self, model: ModelName, alias: str) -> AliasMove | None:
        """Find the newest move of an alias; its `number` is where it points."""
        ...

    def move(self, move: AliasMove, event: Event) -> None:
        """Move an alias: compare and set on (`previous`, `serial` - 1). Raises AliasConflict."""
        ...

    def moves(self, model: ModelName) -> Sequence[AliasMove]:
        """List all moves of all aliases, oldest first."""
        ...


TakenAlias = Callable[[AliasMove], tuple[AliasMove, Event]]
"""Makes, from the newest move of an alias, the move that takes it away, and its event."""


class RegisteredModels(Protocol):
    """Registered models whole: names, versions of loop and clients, tags, stages. Numbers are never given twice.

    A bool says whether what was named is there (`create`: was not); else NotFound, `rename` to a taken name Conflict.
    """

    def create(self, model: RegisteredModel, event: Event) -> bool: ...
    def find(self, name: ModelName) -> RegisteredModel | None: ...
    def search(self, query: Query) -> Page[RegisteredModel]: ...
    def search_versions(self, query: Query) -> Page[CatalogVersion]: ...
    def describe(self, name: ModelName, description: str | None, *, at: datetime) -> bool: ...
    def rename(self, name: ModelName, new: ModelName, *, at: datetime, event: Event) -> None: ...
    def delete(self, name: ModelName, *, at: datetime, event: Event, taken: TakenAlias) -> None: ...
    def set_tag(self, name: ModelName, key: str, *, value: str) -> bool: ...
    def delete_tag(self, name: ModelName, key: str) -> bool: ...
    def add_version(self, version: CatalogVersion, event_of: Callable[[CatalogVersion], Event]) -> CatalogVersion: ...
    def find_version(self, name: ModelName, number: int) -> CatalogVersion | None: ...
    def find_versions(self, keys: Sequence[tuple[ModelName, int]]) -> Sequence[CatalogVersion]: ...
    def versions(self, name: ModelName) -> Sequence[CatalogVersion]: ...
    def latest(self, names: Sequence[ModelName]) -> Sequence[CatalogVersion]: ...
    def describe_version(self, name: ModelName, number: int, *, description: str | None, at: datetime) -> bool: ...
    def set_version_tag(self, name: ModelName, number: int, *, key: str, value: str) -> bool: ...
    def delete_version_tag(self, name: ModelName, number: int, *, key: str) -> bool: ...
    def move_stage(
        self, move: StageMove, event_of: Callable[[StageMove], Event], *, archive: bool
    ) -> Sequence[StageMove]: ...
    def delete_version(self, name: ModelName, number: int, *, at: datetime, event: Event, taken: TakenAlias) -> None: ...
    def stage_moves(self, name: ModelName) -> Sequence[StageMove]: ...


class Deployments(Protocol):
    """What is served, revision by revision, and the looks at rollouts."""

    def find(self, model: ModelName, revision: int | None = None) -> Deployment | None:
        """Find a revision, or the newest."""

    def put(self, deployment: Deployment, event: Event) -> None:
        """Write revision N where N - 1 is the newest. Raises RevisionConflict."""

    def list(self, model: ModelName) -> Sequence[Deployment]:
        """List revisions, oldest first."""

    def names(self) -> Sequence[ModelName]: ...
    def add_look(self, look: RolloutLook, event: Event, *, note: tuple[str, bytes] | None = None) -> None:
        """Write a look, and a note with it where one is given; nothing where the event is there already."""

    def newest_look(self, model: ModelName) -> RolloutLook | None: ...
    def looks(self, model: ModelName, *, live_since: int = 0) -> Sequence[RolloutLook]:
        """List looks, oldest first; of the live ones that decided nothing those since a revision."""

    def change_looks(self, model: ModelName, change: Callable[[RolloutLook], RolloutLook]) -> int:
        """Write looks again where `change` gives another: for what is to be forgotten; give how many."""


class Watches(Protocol):
    """Windows that were measured, the monitors' state after each, and the alerts."""

    def put(self, health: Health, state: bytes, *, event: Event) -> None:
        """Write a window's health, its alerts, and the monitors' state after it."""

    def find(self, model: ModelName, window: str) -> Health | None: ...
    def state(self, model: ModelName) -> bytes | None:
        """Read the monitors' state after the newest window."""

    def list(self, model: ModelName, *, limit: int = 1000, before: Window | None = None) -> Sequence[Health]:
        """List windows, oldest first: the newest `limit` of them, or of those before a window."""

    def windows(self, model: ModelName, *, limit: int = 1000) -> Sequence[Window]:
        """Name the newest windows, oldest first, without what was measured in them."""

    def newest(self) -> Mapping[ModelName, str]:
        """Give the id of the newest window of each model."""

    def raise_alert(self, alert: Alert, event: Event) -> None: ...
    def alerts(self, model: ModelName, *, limit: int = 1000) -> Sequence[Alert]:
        """List alerts, newest first."""


class Alerts(Protocol):
    """Alerts with their lives, what channels are to tell of them (the outbox), and mutes. Written with `Watches`, too."""

    def get(self, id: str) -> AlertLife:
        """Read an alert. Raises NotFound."""

    def list(
        self, *, model: ModelName | None = None, begins: str = "", resolved: bool = True, limit: int = 1000
    ) -> Sequence[AlertLife]:
        """List alerts, the one seen last first: those that are open only, or resolved ones as well; all of them, or those
        whose id begins so."""

    def put(self, life: AlertLife, event: Event, *, notice: Notice | None = None) -> None:
        """Write an alert's next revision. Raises Conflict where another wrote it first."""

    def notices(self, *, limit: int = 100) -> Sequence[tuple[int, Notice]]:
        """List (serial, notice) whose deliveries are not written yet, oldest first."""

    def notice(self, serial: int) -> Notice: ...
    def spread(self, serials: Sequence[int], deliveries: Sequence[AlertDelivery]) -> None:
        """Write the deliveries of notices, by their serials, once; all in one transaction."""

    def waiting(self, *, limit: int = 1000) -> Sequence[AlertDelivery]:
        """List deliveries that are under way, oldest first."""

    def take(
        self, delivery: AlertDelivery, owner: str, *, now: datetime, seconds: float, ended: AlertDelivery | None = None
    ) -> AlertDelivery | None:
        """Take the right to send a delivery; None where another has it or it has ended. What became of the one `ended`
        before is written in the same transaction."""

    def end(self, delivery: AlertDelivery) -> None:
        """Write what became of a delivery, if its owner still has it."""

    def deliveries(self, alert: str, *, limit: int = 100) -> Sequence[AlertDelivery]:
        """List the deliveries of an alert, newest first."""

    def counts(self) -> AlertCounts:
        """Count what is open, and deliveries."""

    def mutes(self) -> Sequence[Mute]: ...
    def mute(self, mute: Mute, event: Event) -> None: ...
    def unmute(self, model: ModelName, event: Event) -> None: ...


class Ledgers(Protocol):
    """The retraining decisions, a row for each step."""

    def put(self, entry: LedgerEntry, event: Event) -> None: ...
    def find(self, model: ModelName, window: str) -> LedgerEntry | None: ...
    def last(self, model: ModelName) -> LedgerEntry | None: ...
    def list(self, model: ModelName) -> Sequence[LedgerEntry]:
        """List entries, oldest first."""


class Triggers(Protocol):
    """What asked for a training besides the policy."""

    def put(self, trigger: Trigger, event: Event) -> bool:
        """Write a trigger with its event; False where its key is already there."""

    def list(self, model: ModelName, *, limit: int = 100) -> Sequence[Trigger]:
        """List triggers, newest first."""

    def waiting(self, model: ModelName) -> Sequence[Trigger]:
        """List those that wait, oldest first."""

    def take(self, model: ModelName, keys: Sequence[Digest], *, at: datetime) -> None:
        """Note that a turn was ordered for triggers; one that was taken before stays as it is."""


class Events(Protocol):
    """All that happened, chained: each row holds the hash of the one before."""

    def append(self, event: Event) -> bool:
        """Write an event; False where its key is already there."""

    def find(self, key: Digest) -> Event | None: ...
    def list(self, *, subject: str | None = None, before: int | None = None, limit: int = 50) -> Sequence[tuple[int, Event]]:
        """List (serial, event), newest first, with serial < `before`."""

    def chain(self) -> Iterator[tuple[int, bytes, str]]:
        """Walk (serial, canonical bytes, hash), oldest first, for verification."""

    def sources(self, node: Node) -> Sequence[Edge]:
        """List the edges from a node to what it was made of."""

    def uses(self, node: Node) -> Sequence[Edge]:
        """List the edges from what was made of a node."""

    def uses_of(self, nodes: Sequence[Node], *, limit: int) -> Sequence[Edge]:
        """List the edges from what was made of any of these nodes, all of one kind; the newest first."""


class Notes(Protocol):
    """Small named values: a replay's progress, a comparison's result, where a reader of a journal stands."""

    def get(self, name: str) -> bytes | None: ...
    def put(self, name: str, value: bytes) -> None: ...


class MetaStore(Protocol):
    """The metadata store: one connection pool, one protocol per aggregate."""

    @property
    def alerts(self) -> Alerts: ...
    @property
    def datasets(self) -> Datasets: ...
    @property
    def experiments(self) -> Experiments: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def files(self) -> RunFiles: ...
    @property
    def points(self) -> Points: ...
    @property
    def overviews(self) -> Overviews: ...
    @property
    def logged_models(self) -> LoggedModels: ...
    @property
    def finder(self) -> Finder: ...
    @property
    def models(self) -> Models: ...
    @property
    def registered(self) -> RegisteredModels: ...
    @property
    def deployments(self) -> Deployments: ...
    @property
    def watches(self) -> Watches: ...
    @property
    def ledgers(self) -> Ledgers: ...
    @property
    def triggers(self) -> Triggers: ...
    @property
    def events(self) -> Events: ...
    @property
    def notes(self) -> Notes: ...
    def close(self) -> None: ...
