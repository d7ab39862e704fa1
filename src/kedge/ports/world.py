"""Ports of everything else: time, bytes, journals, tables, a project's code, jobs, model formats, people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from os import stat_result
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kedge.domain.channels import Message
from kedge.domain.data import Expectation, Pin
from kedge.domain.ids import Digest, PredictionId
from kedge.domain.plane_reports import PlaneReport
from kedge.domain.predictions import Compacted, Stored, StruckRows
from kedge.domain.registry import Signature
from kedge.domain.serving import TensorSignature
from kedge.domain.tracking import (
    Code,
    Environment,
    Usage,
)

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """Tell the time, UTC."""


class TreeFile(NamedTuple):
    """A file of a tree: name, blob, size in bytes. A symbolic link has its target, no bytes, and the digest of none."""

    name: str
    digest: Digest
    size: int
    executable: bool = False
    link: str = ""


class StoredFile(NamedTuple):
    """A file on the disk whose bytes are those of a blob, and what the file system said of it then."""

    name: str
    digest: Digest
    size: int
    stat: stat_result


class Incoming(Protocol):
    """A blob that arrives piece by piece. `keep` or `drop` ends it; a process that dies before has kept nothing."""

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises StoreFull, and has dropped the blob then."""

    def keep(self) -> Digest:
        """Make the blob be there, whole, and give its name. Raises StoreFull."""

    def drop(self) -> None: ...


class BlobStore(Protocol):
    """Content-addressed bytes: cut into chunks, each kept once, verified on every read. Names are BLAKE3."""

    def put(self, data: bytes) -> Digest: ...
    def get(self, digest: Digest) -> bytes:
        """Read a blob. Raises NotFound; StoreBroken where a bit has changed."""

    def has(self, digest: Digest) -> bool: ...
    def put_tree(self, files: Mapping[str, bytes]) -> Digest:
        """Write named files as one tree; its digest is that of the manifest (name, digest, size; sorted)."""

    def get_tree(self, digest: Digest) -> dict[str, bytes]: ...
    def bind(self, files: Mapping[str, Digest]) -> Digest:
        """Make a tree of blobs that are there; the same digest as that of `put_tree`."""

    def files(self, tree: Digest) -> Sequence[TreeFile]:
        """List the files of a tree without reading them. Raises StoreBroken for a blob that is no tree."""

    def size(self, digest: Digest) -> int: ...
    def read(self, digest: Digest, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Read the bytes from `start` to before `end`, some at a time, in bounded memory."""

    def incoming(self) -> Incoming: ...
    def join(self, parts: Sequence[Digest]) -> Digest:
        """Make one blob of several, end to end."""

    def sweep(self) -> int:
        """Remove what uploads that were killed left behind; give its bytes."""


class Travelled(NamedTuple):
    """What travelled: blobs that are new on the other side, chunks and bytes."""

    blobs: int
    chunks: int
    bytes: int


class Damage(NamedTuple):
    """Bytes that are not what was written: the chunk, where it lies, the blobs that are made of it, and what is wrong."""

    chunk: Digest
    pack: str
    offset: int
    length: int
    blobs: tuple[Digest, ...]
    reason: str


class Alive(Protocol):
    """What says to others that this process writes to a bucket."""

    def require(self) -> None:
        """Raise Conflict where others took this process for dead, and went on."""


class Removing(Alive, Protocol):
    """A bucket that nobody else writes to meanwhile."""

    def remove(self, blobs: set[Digest], *, told: Told) -> int:
        """Remove blobs and what only they are made of; `told` of packs and bytes; give the bytes that went.

        Killed anywhere, nothing else is lost, and the same again finishes it. Raises StoreBroken, Unreachable.
        """


class Mended(Protocol):
    """How many damaged chunks were fetched anew so far."""

    @property
    def mended(self) -> int: ...


Told = Callable[[int, int], None]
Before = Callable[[str], Digest | None]


class Bucket(Protocol):
    """Objects by name: whole or not there, seen by everybody once written. All raise Unreachable."""

    url: str

    def put(self, name: str, data: bytes, *, new: bool = False) -> bool:
        """Write an object; `new` writes nothing and gives False where there is one."""

    def get(self, name: str) -> bytes | None: ...
    def get_spans(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes] | None:
        """Read parts of an object, each from its start to before its end."""

    def size(self, name: str) -> int | None: ...
    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Give names and sizes of the objects in a folder."""

    def delete(self, name: str) -> None: ...


class DataStore(BlobStore, Protocol):
    """A blob store that takes whole folders in and gives them back, of any size and in bounded memory.

    `told` is called now and then with the files and the bytes that are done.
    """

    def put_data(self, data: bytes) -> Digest:
        """Keep a blob that only versions of datasets name: once none does, a removal may take it. Call it `keeping`."""

    def put_files(
        self, files: Iterable[tuple[str, Path | str]], *, told: Told, before: Before = lambda name: None
    ) -> Iterator[StoredFile]:
        """Keep files under their names, in the order given; each is safe when it is given.

        `before` may tell what a file of a name held when it was last kept: what is still as it was then costs less.
        Their blobs may be reclaimed once nothing names them, unless another room puts the same bytes. Raises SourceFailed
        for a file that cannot be read, FileChanged for one that keeps changing, StoreFull.
        """

    def put_manifest(self, files: Iterable[TreeFile]) -> Digest:
        """Make a tree of files whose blobs are there; they come sorted by name. Raises ValueError for a name."""

    def manifest(self, tree: Digest) -> Iterator[TreeFile]:
        """List the files of a tree, however many. Raises NotFound, StoreBroken."""

    def restore(
        self,
        files: Iterable[tuple[TreeFile, Path | str]],
        *,
        told: Told,
        before: Before = lambda name: None,
        mtime_ns: int | None = None,
    ) -> Iterator[StoredFile]:
        """Write files of a tree to paths, over what is there, in the order in which they lie in the store.

        `before` may tell what lies at the path of a name now: what both have in common may be read from there.
        Each is whole at its path or not there, and has this time of change where one is given. Raises NotFound,
        StoreBroken, StoreFull.
        """

    def keeping(self) -> AbstractContextManager[None]:
        """Let nothing be removed while files are kept that no version names yet. Raises Conflict after a long wait."""

    def alone(self) -> AbstractContextManager[None]:
        """Let nobody be `keeping`. Raises Conflict after a long wait."""

    def unused(self, trees: Iterable[Digest], *, blobs: Iterable[Digest] = ()) -> Iterator[tuple[Digest, int]]:
        """Give the blobs that may be reclaimed and that none of these trees and blobs names, with their sizes."""

    def remove(self, digests: Iterable[Digest]) -> int:
        """Remove blobs while `alone`: no byte of them, and of what nothing names, can be read from the disk afterwards.

        Gives the bytes that are free now. A removal that is killed is finished by whoever is `alone` next.
        """

    def push(self, bucket: Bucket, digests: Iterable[Digest], *, told: Told) -> Travelled:
        """Send blobs; `told` of chunks and bytes. Raises NotFound, StoreBroken, Unreachable.

        Only what the bucket lacks travels. One that is killed or cut off goes on where it was; many may push at once.
        """

    def pull(self, bucket: Bucket, digests: Iterable[Digest], *, told: Told) -> Travelled:
        """Fetch blobs that are not here, every chunk verified. Raises NotFound, StoreBroken, StoreFull, Unreachable."""

    def pushing(self, bucket: Bucket) -> AbstractContextManager[Alive]:
        """Push while nobody erases from the bucket. Raises Conflict where someone does so for long, Unreachable."""

    def withdrawing(self, bucket: Bucket) -> AbstractContextManager[Removing]:
        """Remove blobs from the bucket while nobody pushes. Raises Conflict where others go on for long, Unreachable."""

    def verify(self, *, told: Told, expect: Told = ..., blobs: Iterable[Digest] | None = None) -> Iterator[Damage]:
        """Read every chunk, or those of some blobs, and give what is damaged; `told` of chunks and bytes, and `expect`,
        once, of how many there are."""

    def mend(self, damages: Iterable[Damage], bucket: Bucket) -> set[Digest]:
        """Fetch damaged chunks from a bucket that has them whole; give those. Raises StoreFull, Unreachable."""

    def mending(self, bucket: Bucket) -> AbstractContextManager[Mended]:
        """Fetch what is found damaged when it is read, as long as this lasts."""

    def idle_bytes(self) -> int:
        """Count the bytes that nothing names, as killed writers leave them; `remove` frees them."""


class Position(NamedTuple):
    """Where a record stands in a journal: segment name and the offset after it."""

    segment: str
    end: int


class Journal(Protocol):
    """An append log of framed records (length, crc32, payload), one segment per writing process.

    An append has reached the operating system when it returns (it survives kill -9); `sync` makes it survive power loss.
    """

    def open(self) -> None:
        """Make ready to append, so that the first append does not wait for it."""

    def append(self, payload: bytes) -> Position: ...
    def append_all(self, payloads: Sequence[bytes]) -> Position:
        """Write records in one go, all or none; give the place of the last."""

    def sync(self) -> None: ...
    def tend(self) -> None:
        """Close the segment where it is time to: what is closed can be compacted."""

    def scan(
        self, after: Mapping[str, int] | None = None, *, since: datetime | None = None
    ) -> Iterator[tuple[Position, bytes]]:
        """Read whole records, segments in name order, each from the offset in `after`; stops before a torn tail. A record
        that was compacted comes at the place it had; those from before `since` may be left out."""

    def find(self, prediction: PredictionId) -> bytes | None:
        """Find the first record of the request that a prediction belongs to."""

    def close(self) -> None: ...


class PlaneReports(Protocol):
    """What data planes tell of themselves, as each of their processes wrote it."""

    def append(self, report: PlaneReport) -> None:
        """Keep a report. Raises StoreFull, StoreBroken."""

    def read(self, start: datetime, end: datetime) -> Iterator[PlaneReport]:
        """Read the reports from `start` on, each writer's in its order; of those after `end` some may be left out, but not
        that there are any. Raises StoreBroken."""
        ...

    def close(self) -> None:
        """Let go of what is written to."""


Strike = Callable[[bytes], bytes | None]
"""What is left of a record: itself, a record with fewer rows, or nothing."""


class Archive(Protocol):
    """What becomes of a journal's closed segments: Parquet, one row per prediction or fact. All but `tables` and `stored`
    raise Conflict where another process is at it."""

    def compact(self, *, most_bytes: int | None = None) -> Compacted:
        """Compact closed segments, up to about so many bytes of them."""

    def strike(self, what: Strike, *, only: pl.Expr | None = None) -> StruckRows:
        """Take records, or rows of them, out of all there is, so that their bytes are gone; `only` is what a row must
        fulfil for its file to be looked at."""

    def forget_before(self, moment: datetime, strike: Strike) -> StruckRows:
        """Delete what was answered before a moment; `strike` takes it out where a file has newer rows, too."""

    def tables(self) -> Sequence[pl.LazyFrame]:
        """Give all records as tables. Raises StoreBroken. A file may be gone by the time it is read: ask again then."""

    def index(self) -> Sequence[pl.LazyFrame]:
        """Give of all records the few columns that say which there are: `id` and `model`, `answered_at` and `entity` of
        predictions, `value` and `known_at` of facts; `segment`, `segment_end`, `place`. Raises StoreBroken."""

    def stored(self) -> Stored: ...
    def waits(self) -> bool:
        """Say whether a closed segment waits to be compacted."""


class OnlineRow(NamedTuple):
    """The newest features of one entity: times in microseconds UTC, values packed as MessagePack."""

    event_us: int
    created_us: int
    values: bytes


class OnlineStore(Protocol):
    """Features by entity key for serving. Keeps the row with the greatest (event time, created time)."""

    def put(self, view: str, rows: Mapping[str, OnlineRow]) -> int:
        """Write rows that are newer than what is there; give their number."""

    def get(self, view: str, entities: Sequence[str]) -> Sequence[OnlineRow | None]: ...
    def close(self) -> None: ...


class Tables(Protocol):
    """Frames in and out: a project's sources, and Parquet."""

    def source(self, source: Callable[[], Any] | str) -> pl.DataFrame:
        """Read a source (callable, file, glob) as Polars, once per process. Raises SourceFailed."""

    def lazy(self, path: str) -> pl.LazyFrame:
        """Read a file, or a glob, lazily: it may be larger than memory. Raises SourceFailed."""

    def encode(self, frame: pl.DataFrame) -> bytes:
        """Write Parquet with content-defined pages of 32 to 128 KiB, one row group."""

    def decode(self, data: bytes, columns: Sequence[str] | None = None) -> pl.DataFrame: ...
    def schema(self, data: bytes) -> pl.Schema:
        """Tell the columns and types of Parquet without reading its rows. Raises StoreBroken."""

    def frame(self, table: Any, where: str) -> pl.DataFrame:
        """Take a table of pandas, Polars or Arrow; `where` names it in the error. Raises SourceFailed."""


class Lake(Protocol):
    """Tables that another system keeps, read at a pinned version."""

    def pin(self, place: str, version: int | None = None) -> Pin:
        """Name a version (the newest, if none is given) and its files. Raises SourceFailed, ConfigError."""

    def scan(self, pin: Pin) -> pl.LazyFrame:
        """Give the rows of a pinned version. Raises SourceFailed where its files are no longer those."""


class ForeignSchemas(Protocol):
    """Schemas of other libraries, read as expectations."""

    def read(
        self, written: object, columns: Sequence[str]
    ) -> Sequence[tuple[Expectation, Callable[[pl.LazyFrame], pl.LazyFrame] | None]] | None:
        """Give a schema's expectations for a table of these columns, each with what says of each row whether it holds,
        where no rule of Kedge's does; None for what is no such schema. Raises ConfigError."""


class Project(Protocol):
    """The user's project folder: its code, its commit, its environment."""

    def load(self, reference: str) -> Any:
        """Load "FILE.py:NAME" of the project. Raises ConfigError saying what is missing."""

    def make(self, reference: str) -> Any:
        """Load "FILE.py:NAME", and where it is a function give what it returns. Raises ConfigError."""

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

    def close(self) -> None: ...


class Predictor(Protocol):
    """A loaded model."""

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Answer rows: float64 (n, inputs) to float64 (n,): probability of the positive class, or the value."""


class TensorPredictor(Protocol):
    """A loaded model of named arrays."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Answer arrays by name, of the signature's datatypes and shapes; BYTES are object arrays of str (None: missing).

        The answer has every output of the signature, of its datatype.
        """


class TensorFormat(Protocol):
    """A format that can also read its models as ones of named arrays."""

    @property
    def name(self) -> str: ...
    def claims(self, files: Mapping[str, bytes]) -> Mapping[str, bytes] | None:
        """Find a model of this format among a folder's files, as this format keeps it; None where there is none.

        Raises ModelRefused for one that is there and cannot be kept, saying what to do.
        """

    def describe(self, files: Mapping[str, bytes], example: Mapping[str, np.ndarray]) -> TensorSignature | None:
        """Say what a model takes and gives, given example arrays; None for one of tables alone. Raises ModelRefused."""

    def open(self, files: Mapping[str, bytes], tensors: TensorSignature) -> TensorPredictor:
        """Load a model of named arrays. Raises ModelRefused for what is not allowed, or not what the signature says."""


class ModelFormat(Protocol):
    """How models of one framework are kept. Loading never runs code that is in the files."""

    @property
    def name(self) -> str: ...
    def accepts(self, model: Any) -> bool:
        """Say whether this format can keep such an object."""

    def dump(self, model: Any) -> dict[str, bytes]: ...
    def claims(self, files: Mapping[str, bytes]) -> Mapping[str, bytes] | None:
        """Find a model of this format among a folder's files, as `dump` would have written it; None where there is none.

        Raises ModelRefused for one that is there and cannot be kept, saying what to do.
        """

    def columns(self, files: Mapping[str, bytes]) -> tuple[str, ...]:
        """Name the columns that a model was trained on, in its order; () where it does not know."""

    def load(self, files: Mapping[str, bytes], signature: Signature) -> Predictor:
        """Load. Raises ModelRefused for a type that is not on the allow-list."""


class Compiled(NamedTuple):
    """A model's compiled form: its files, and for each column the thresholds that its answers may jump at."""

    files: dict[str, bytes]
    thresholds: Sequence[np.ndarray]


class CompiledForm(Protocol):
    """Another form of registered models that gives the same answers sooner, with less memory."""

    @property
    def name(self) -> str: ...
    def available(self) -> bool:
        """Say whether the library that it answers with is installed."""

    def libraries(self) -> dict[str, str]:
        """Name what compiles and answers, with versions."""

    def compile(self, kind: str, files: Mapping[str, bytes]) -> Compiled | None:
        """Compile the files of a model of a format; None where it is of no kind that this compiles. Raises ModelRefused."""

    def load(self, files: Mapping[str, bytes], *, columns: int) -> Predictor:
        """Load what `compile` made, for so many columns. Raises ModelRefused."""


class AlertChannel(Protocol):
    """Tells people by one means."""

    def send(self, message: Message) -> str:
        """Send a message; say what the receiver answered. Raises NotTold, ConfigError."""
