"""What a training process tells of its runs, record by record: the lines of a client's spool, the bodies of its requests.

    RunBegan   (PointsTold | WordsTold | DataTold | FileTold | ModelTold)*   RunEnded

Each may be told again (a spool is replayed after a kill) and means the same: ids are chosen by the client, points are
named by their values, files by their paths.
"""

from datetime import datetime

import msgspec

from kedge.domain.ids import LoggedModelId, RunId
from kedge.domain.tracking import DatasetInput, RunStatus


class RunBegan(msgspec.Struct, frozen=True, kw_only=True, tag="began", forbid_unknown_fields=True):
    """A run began, or is taken up again. `experiment` is a name; one that is not there yet is made."""

    run: RunId
    started_at: datetime
    experiment: str = "Default"
    name: str = ""
    user: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}


class PointTold(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One measured point; `at` in milliseconds since 1970."""

    key: str
    value: float
    at: int
    step: int = 0


class PointsTold(msgspec.Struct, frozen=True, kw_only=True, tag="points"):
    """Points that a run measured."""

    run: RunId
    points: list[PointTold]


class WordsTold(msgspec.Struct, frozen=True, kw_only=True, tag="words"):
    """Params and tags of a run."""

    run: RunId
    params: dict[str, str] = {}
    tags: dict[str, str] = {}


class DataTold(msgspec.Struct, frozen=True, kw_only=True, tag="data"):
    """Datasets that a run read."""

    run: RunId
    datasets: list[DatasetInput]


class FileTold(msgspec.Struct, frozen=True, kw_only=True, tag="file"):
    """A file that a run, or a model of it, keeps under `path`; its bytes lie in the spool's `files/` as `kept`."""

    run: RunId
    path: str
    kept: str
    model: LoggedModelId | None = None


class ModelTold(msgspec.Struct, frozen=True, kw_only=True, tag="model"):
    """A model that a run left behind: told before its files, and again with `whole` once they are all there."""

    run: RunId
    model: LoggedModelId
    name: str
    model_type: str = ""
    step: int = 0
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    whole: bool = False


class RunEnded(msgspec.Struct, frozen=True, kw_only=True, tag="ended", forbid_unknown_fields=True):
    """A run ended. `if_running`: another process says so of one that was killed, unless the run has ended otherwise."""

    run: RunId
    ended_at: datetime
    status: RunStatus = RunStatus.FINISHED
    if_running: bool = False


Told = RunBegan | PointsTold | WordsTold | DataTold | FileTold | ModelTold | RunEnded

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told)


def packed(told: Told) -> bytes:
    """Write a record as MessagePack."""
    return _encoder.encode(told)


def unpacked(data: bytes) -> Told:
    """Read a record. Raises msgspec.ValidationError where it is none."""
    return _decoder.decode(data)
