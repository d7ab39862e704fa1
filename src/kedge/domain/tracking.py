"""Runs: one execution with its params, metrics and artifacts, and all that it depended on."""

from datetime import datetime
from enum import Enum

import msgspec

from kedge.domain.ids import Digest, RunId


class RunStatus(Enum):
    """Where a run stands."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """The code that ran: git commit (None outside a repository), whether files differed from it, digest of the files."""

    commit: str | None
    dirty: bool
    digest: Digest


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What the code ran in: the interpreter, the machine's kind and every installed distribution with its version."""

    python: str
    platform: str
    packages: tuple[str, ...]
    digest: Digest


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a job used: seconds of CPU and of wall time, peak resident memory in bytes."""

    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_bytes: int = 0


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One execution. `content_key` names its inputs: a run with the same key has the same result and is not repeated.

    `inputs` are the digests of the dataset versions read; `artifacts` maps a name to a blob (or tree of blobs).
    """

    id: RunId
    experiment: str
    name: str
    content_key: Digest
    status: RunStatus
    code: Code
    environment: Environment
    inputs: tuple[Digest, ...]
    started_at: datetime
    params: dict[str, str] = {}
    metrics: dict[str, float] = {}
    artifacts: dict[str, Digest] = {}
    tags: dict[str, str] = {}
    usage: Usage = Usage()
    ended_at: datetime | None = None
    error: str = ""
