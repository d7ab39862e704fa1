"""What the rooms need of the outside world, one small protocol per aggregate. No implementation here.

Writes that take an `Event` happen once: where an event with the same key is already written, the write changes nothing.
State and event are written in one transaction. `get` raises NotFound; `find` returns None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kedge.domain.data import DatasetVersion, ValidationReport
from kedge.domain.events import Event
from kedge.domain.ids import DatasetName, Digest, ModelName, RunId
from kedge.domain.lineage import Edge, Node
from kedge.domain.monitoring import Alert, Health
from kedge.domain.registry import AliasMove, ModelVersion, Signature
from kedge.domain.retraining import LedgerEntry
from kedge.domain.rollout import Deployment, RolloutLook
from kedge.domain.tracking import Code, Environment, Run, Usage

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """Tell the time, UTC."""
        ...


class Datasets(Protocol):
    """Dataset versions and their validation reports."""

    def add(self, version: DatasetVersion, event: Event) -> None: ...
    def find(self, name: DatasetName, number: int | None = None) -> DatasetVersion | None:
        """Find a version by number, or the newest."""
        ...

    def find_digest(self, digest: Digest) -> DatasetVersion | None: ...
    def list(self, name: DatasetName) -> Sequence[DatasetVersion]: ...
    def names(self) -> Sequence[DatasetName]: ...
    def add_report(self, report: ValidationReport, event: Event) -> None: ...
    def find_report(self, version: Digest) -> ValidationReport | None: ...


class Runs(Protocol):
    """Tracked runs. `content_key` is unique among finished runs."""

    def put(self, run: Run, event: Event) -> None:
        """Write a run, new or changed (params, metrics, artifacts and tags replace what was there)."""
        ...

    def get(self, run: RunId) -> Run: ...
    def find_key(self, content_key: Digest) -> Run | None:
        """Find the finished run with this content key."""
        ...

    def list(self, experiment: str, *, limit: int = 100) -> Sequence[Run]:
        """List runs, newest first."""
        ...

    def claim(self, content_key: Digest, owner: str, *, now: datetime, seconds: float) -> bool:
        """Take the right to make this run, until it is released or the lease ends; False where another holds it."""
        ...

    def release(self, content_key: Digest, owner: str) -> None: ...


class Models(Protocol):
    """Registered models: versions and aliases."""

    def add(self, version: ModelVersion, event: Event) -> None: ...
    def find(self, model: ModelName, number: int) -> ModelVersion | None: ...
    def list(self, model: ModelName) -> Sequence[ModelVersion]:
        """List versions, newest first."""
        ...

    def names(self) -> Sequence[ModelName]: ...
    def alias(self, model: ModelName, alias: str) -> AliasMove | None:
        """Find the newest move of an alias; its `number` is where it points."""
        ...

    def move(self, move: AliasMove, event: Event) -> None:
        """Move an alias: compare and set on (`previous`, `serial` - 1). Raises AliasConflict."""
        ...

    def moves(self, model: ModelName) -> Sequence[AliasMove]:
        """List all moves of all aliases, oldest first."""
        ...


class Deployments(Protocol):
    """What is served, revision by revision, and the looks at rollouts."""

    def find(self, model: ModelName, revision: int | None = None) -> Deployment | None:
        """Find a revision, or the newest."""
        ...

    def put(self, deployment: Deployment, event: Event) -> None:
        """Write revision N where N - 1 is the newest. Raises RevisionConflict."""
        ...

    def list(self, model: ModelName) -> Sequence[Deployment]:
        """List revisions, oldest first."""
        ...

    def names(self) -> Sequence[ModelName]: ...
    def add_look(self, look: RolloutLook, event: Event) -> None: ...
    def looks(self, model: ModelName) -> Sequence[RolloutLook]:
        """List looks, oldest first."""
        ...


class Watches(Protocol):
    """Windows that were measured, the monitors' state after each, and the alerts."""

    def put(self, health: Health, state: bytes, *, event: Event) -> None:
        """Write a window's health, its alerts, and the monitors' state after it."""
        ...

    def find(self, model: ModelName, window: str) -> Health | None: ...
    def state(self, model: ModelName) -> bytes | None:
        """Read the monitors' state after the newest window."""
        ...

    def list(self, model: ModelName, *, limit: int = 1000) -> Sequence[Health]:
        """List windows, oldest first, the newest `limit` of them."""
        ...

    def raise_alert(self, alert: Alert, event: Event) -> None: ...
    def alerts(self, model: ModelName, *, limit: int = 1000) -> Sequence[Alert]:
        """List alerts, newest first."""
        ...


class Ledgers(Protocol):
    """The retraining decisions, a row for each step."""

    def put(self, entry: LedgerEntry, event: Event) -> None: ...
    def find(self, model: ModelName, window: str) -> LedgerEntry | None: ...
    def last(self, model: ModelName) -> LedgerEntry | None: ...
    def list(self, model: ModelName) -> Sequence[LedgerEntry]:
        """List entries, oldest first."""
        ...


class Events(Protocol):
    """All that happened, chained: each row holds the hash of the one before."""

    def append(self, event: Event) -> bool:
        """Write an event; False where its key is already there."""
        ...

    def find(self, key: Digest) -> Event | None: ...
    def list(self, *, subject: str | None = None, before: int | None = None, limit: int = 50) -> Sequence[tuple[int, Event]]:
        """List (serial, event), newest first, with serial < `before`."""
        ...

    def chain(self) -> Iterator[tuple[int, bytes, str]]:
        """Walk (serial, canonical bytes, hash), oldest first, for verification."""
        ...

    def sources(self, node: Node) -> Sequence[Edge]:
        """List the edges from a node to what it was made of."""
        ...

    def uses(self, node: Node) -> Sequence[Edge]:
        """List the edges from what was made of a node."""
        ...


class Notes(Protocol):
    """Small named values: a replay's progress, a comparison's result, where a reader of a journal stands."""

    def get(self, name: str) -> bytes | None: ...
    def put(self, name: str, value: bytes) -> None: ...


class MetaStore(Protocol):
    """The metadata store: one connection pool, one protocol per aggregate."""

    @property
    def datasets(self) -> Datasets: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def models(self) -> Models: ...
    @property
    def deployments(self) -> Deployments: ...
    @property
    def watches(self) -> Watches: ...
    @property
    def ledgers(self) -> Ledgers: ...
    @property
    def events(self) -> Events: ...
    @property
    def notes(self) -> Notes: ...
    def close(self) -> None: ...


class BlobStore(Protocol):
    """Content-addressed bytes: cut into chunks, each kept once, verified on every read. Names are BLAKE3."""

    def put(self, data: bytes) -> Digest: ...
    def get(self, digest: Digest) -> bytes:
        """Read a blob. Raises NotFound; StoreBroken where a bit has changed."""
        ...

    def has(self, digest: Digest) -> bool: ...
    def put_tree(self, files: Mapping[str, bytes]) -> Digest:
        """Write named files as one tree; its digest is that of the manifest (name, digest, size; sorted)."""
        ...

    def get_tree(self, digest: Digest) -> dict[str, bytes]: ...


class Position(NamedTuple):
    """Where a record stands in a journal: segment name and the offset after it."""

    segment: str
    end: int


class Journal(Protocol):
    """An append log of framed records (length, crc32, payload), one segment per writing process.

    An append has reached the operating system when it returns (it survives kill -9); `sync` makes it survive power loss.
    """

    def append(self, payload: bytes) -> Position: ...
    def sync(self) -> None: ...
    def scan(self, after: Mapping[str, int] | None = None) -> Iterator[tuple[Position, bytes]]:
        """Read whole records, segments in name order, each from the offset in `after`; stops before a torn tail."""
        ...

    def close(self) -> None: ...


class OnlineRow(NamedTuple):
    """The newest features of one entity: times in microseconds UTC, values packed as MessagePack."""

    event_us: int
    created_us: int
    values: bytes


class OnlineStore(Protocol):
    """Features by entity key for serving. Keeps the row with the greatest (event time, created time)."""

    def put(self, view: str, rows: Mapping[str, OnlineRow]) -> int:
        """Write rows that are newer than what is there; give their number."""
        ...

    def get(self, view: str, entities: Sequence[str]) -> Sequence[OnlineRow | None]: ...
    def close(self) -> None: ...


class Tables(Protocol):
    """Frames in and out: a project's sources, and Parquet."""

    def source(self, source: Callable[[], Any] | str) -> pl.DataFrame:
        """Read a source (callable, file, glob) as Polars, once per process. Raises SourceFailed."""
        ...

    def encode(self, frame: pl.DataFrame) -> bytes:
        """Write Parquet with content-defined pages of 32 to 128 KiB, one row group."""
        ...

    def decode(self, data: bytes, columns: Sequence[str] | None = None) -> pl.DataFrame: ...


class Project(Protocol):
    """The user's project folder: its code, its commit, its environment."""

    def load(self, reference: str) -> Any:
        """Load "FILE.py:NAME" of the project. Raises ConfigError saying what is missing."""
        ...

    def code(self) -> Code: ...
    def environment(self) -> Environment: ...


class JobFailed(NamedTuple):
    """Why a job ended without a result: one sentence, and the traceback where there is one."""

    reason: str
    traceback: str


class JobRunner(Protocol):
    """Runs functions of importable modules in a process of their own, with a time limit.

    Arguments that the caller does not hold on to are let go of once they are sent.
    """

    def call(self, function: Callable[..., Any], *args: Any, seconds: float) -> tuple[Any | JobFailed, Usage]:
        """Run and wait. A raise, a death or the time limit gives JobFailed."""
        ...

    def close(self) -> None: ...


class Predictor(Protocol):
    """A loaded model."""

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Answer rows: float64 (n, inputs) to float64 (n,): probability of the positive class, or the value."""
        ...


class ModelFormat(Protocol):
    """How models of one framework are kept. Loading never runs code that is in the files."""

    @property
    def name(self) -> str: ...
    def accepts(self, model: Any) -> bool:
        """Say whether this format can keep such an object."""
        ...

    def dump(self, model: Any) -> dict[str, bytes]: ...
    def load(self, files: Mapping[str, bytes], signature: Signature) -> Predictor:
        """Load. Raises ModelRefused for a type that is not on the allow-list."""
        ...


class Notifier(Protocol):
    """Tells people."""

    def notify(self, alert: Alert) -> None: ...
