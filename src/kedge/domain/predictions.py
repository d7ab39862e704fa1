"""How a project's predictions are kept: when an answer may leave, what is logged of it, for how long, and where."""

from collections.abc import Callable, Sequence
from enum import Enum
from hashlib import blake2b

import msgspec

from kedge.domain.monitoring import Health


class Ack(Enum):
    """What an answer waits for: its record written (survives a kill), synced (survives power loss), or neither."""

    WRITTEN = "written"
    SYNCED = "synced"
    MEMORY = "memory"


class WhenFull(Enum):
    """What happens to a prediction that finds the log's queue full: it waits a second at most, or it is not logged."""

    BLOCK = "block"
    DROP = "drop"


class Personal(Enum):
    """What is logged of a column that is marked as personal: a keyed hash of the value, nothing, or the value."""

    HASH = "hash"
    LEAVE_OUT = "leave out"
    KEEP = "keep"


class PredictionRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prediction log of a project. `queue` is how many rows may wait to be written (`ack = "memory"`), `sample` the
    share of entities that is logged, `keep` the age at which predictions are deleted ("" is never), `close` the age at
    which a segment is closed, so that it can be compacted, `archive` the bucket for compacted ones ("" is the store)."""

    ack: Ack = Ack.WRITTEN
    queue: int = 100_000
    when_full: WhenFull = WhenFull.DROP
    sample: str = "100%"
    personal: Personal = Personal.HASH
    keep: str = ""
    close: str = "1h"
    archive: str = ""


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """What a compaction did: segments and records that are Parquet now, the bytes they had, files merged, the bytes of all
    Parquet; segments left because they are damaged; and whether there is more to do."""

    segments: int = 0
    records: int = 0
    bytes: int = 0
    merged: int = 0
    stored_bytes: int = 0
    damaged: tuple[str, ...] = ()
    more: bool = False


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What a log holds on disk: segments that are not compacted, Parquet files that are, and their sizes in bytes."""

    segments: int
    segment_bytes: int
    parts: int
    rows: int
    part_bytes: int


class StruckRows(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken out of the log: rows, the files written anew, segments left because they are still being written
    (`left`) or damaged."""

    rows: int = 0
    parts: int = 0
    left: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


class ErasedAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure by entity took out: predictions and facts, and the looks at shadows that kept a row of it; `left` are
    segments that are still being written or are damaged, in which more may stand."""

    predictions: int
    facts: int
    looks: int = 0
    left: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Say whether everything there is was looked at."""
        return not self.left


def hashed(key: bytes, value: object) -> str | None:
    """Hash a personal value: 128 bits of keyed BLAKE2b in hex over its text, the same for 7, 7.0 and "7"; null stays."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    return blake2b(text.encode(), key=key, digest_size=16).hexdigest()


class TruthReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of facts that arrived, each counted once. `recorded` are in the log. The others are not: `repeated` say
    what is known, `contradicting` another thing than the first (which stays), `invalid` are no finite number, `unknown`
    name no prediction that is in the log, `late` came when monitoring had given up waiting (they are recorded, too).

    Facts by prediction that nobody looked up (`looked_up` is false) are all recorded; the next window's report judges them.
    `examples` name some of what was not recorded, and why.
    """

    recorded: int
    repeated: int = 0
    contradicting: int = 0
    unknown: int = 0
    invalid: int = 0
    late: int = 0
    looked_up: bool = True
    examples: tuple[str, ...] = ()


class TruthStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How a model's ground truth stands over its measured windows: rows answered and labelled, labels that wait for their
    prediction, and what was odd among labels, each counted once."""

    model: str
    windows: int
    answered: int
    logged: int
    labels: int
    waiting: int
    repeated: int
    contradicting: int
    unknown: int
    invalid: int
    late_predictions: int
    missing: int


def standing_of(model: str, windows: Sequence[Health]) -> TruthStanding:
    """Sum up what a model's measured windows counted; oldest first."""

    def total(of: Callable[[Health], int]) -> int:
        return sum(of(window) for window in windows)

    return TruthStanding(
        model=model,
        windows=len(windows),
        answered=total(lambda one: one.answered or one.rows),
        logged=total(lambda one: one.rows),
        labels=total(lambda one: one.labels),
        waiting=windows[-1].join.waiting_labels if windows else 0,
        repeated=total(lambda one: one.join.repeated_labels),
        contradicting=total(lambda one: one.join.contradicting_labels),
        unknown=total(lambda one: one.join.unknown_labels),
        invalid=total(lambda one: one.join.invalid_labels),
        late_predictions=total(lambda one: one.join.late_predictions),
        missing=total(lambda one: one.missing),
    )
