"""The monitors' state after a window: all that the next window needs besides the journals and the reference."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from kedge.domain.durations import floor_to
from kedge.domain.monitoring import Block, GroupLoss, Profile, Window
from kedge.monitoring.drift.kept import DriftState
from kedge.monitoring.groups.days import FairnessState
from kedge.monitoring.operations.burn import OperationsState
from kedge.monitoring.quality.cohorts import QualityState
from kedge.monitoring.quality.skewed import SkewState
from kedge.monitoring.sums import summed, summed_by
from kedge.monitoring.telling.episodes import Episodes, Silence
from kedge.monitoring.truth.days import DAY
from kedge.monitoring.truth.join_labels import Standing
from kedge.monitoring.worth.days import WorthState

BLOCK_DAYS = 60
LABEL_DAYS = 400
FINE_DAYS = 3
"""Days for which labels are counted by windows, where those are shorter than a day; older ones are counted by days."""
FINEST = timedelta(minutes=5)


BlockKey = tuple[int, datetime, int]
"""Revision, day, version."""


class BlockSum(msgspec.Struct, array_like=True):
    """Labelled rows of one version on one day, answered under one revision of the deployment."""

    revision: int
    day: datetime
    version: int
    rows: int
    loss: float


class RiskDays(msgspec.Struct):
    """The champion's labelled rows by the day their truth became known: means of the closed days, sums of the open one."""

    closed: list[float] = []
    day: datetime | None = None
    rows: int = 0
    loss: float = 0.0
    above: bool = False

    def add(self, day: datetime, losses: np.ndarray) -> None:
        """Add rows of a day. Labels told late count on the day that is open."""
        if self.day is None or day > self.day:
            self._close()
            self.day = day
        self.rows += len(losses)
        self.loss = summed(self.loss, losses)

    def close(self, upto: datetime) -> None:
        """Close the open day where it has ended by a moment."""
        if self.day is not None and self.day + DAY <= upto:
            self._close()

    def _close(self) -> None:
        if self.rows:
            self.closed.append(self.loss / self.rows)
        self.rows, self.loss = 0, 0.0


class LabelDay(msgspec.Struct, array_like=True):
    """How many labels became known in the span that begins at `day`: a day, or lately a window where those are shorter."""

    day: datetime
    rows: int


class MonitorState(msgspec.Struct):
    """The monitors after a window. `retired` is the champion before this one, scored beside it until step
    `retired_until`."""

    first: datetime
    windows: int = 0
    steps: int = 0
    champion: int | None = None
    retired: int | None = None
    retired_until: int = 0
    drift: DriftState = msgspec.field(default_factory=DriftState)
    standing: Standing = msgspec.field(default_factory=Standing)
    episodes: Episodes = msgspec.field(default_factory=Episodes)
    predictions: Silence = msgspec.field(default_factory=Silence)
    labels: Silence = msgspec.field(default_factory=Silence)
    risk: RiskDays = msgspec.field(default_factory=RiskDays)
    blocks: list[BlockSum] = []
    label_days: list[LabelDay] = []
    groups: list[GroupLoss] = []
    groups_since: int = 0
    profile: Profile | None = None
    fairness: FairnessState = msgspec.field(default_factory=FairnessState)
    worth: WorthState = msgspec.field(default_factory=WorthState)
    operations: OperationsState = msgspec.field(default_factory=OperationsState)
    quality: QualityState = msgspec.field(default_factory=QualityState)
    explained_step: int | None = None
    skew: SkewState = msgspec.field(default_factory=SkewState)

    def crown(self, champion: int | None, *, shadow_steps: int) -> None:
        """Start the monitors again where the champion is another than before; the one before is retired."""
        if champion == self.champion:
            return
        self.retired, self.retired_until = self.champion, self.steps + shadow_steps
        self.champion = champion
        self.drift = DriftState()
        self.risk = RiskDays()
        self.quality.crown()
        self.episodes.forget()

    def count_labels(self, known_at: Sequence[datetime], rows: Sequence[int], *, span: timedelta = DAY) -> None:
        """Count labels in the spans (of a window, a day at most) in which they became known: so many rows at each moment."""
        counts = {counted.day: counted.rows for counted in self.label_days}
        for moment, count in zip(known_at, rows, strict=True):
            begins = floor_to(moment - timedelta(microseconds=1), min(DAY, max(FINEST, span)))
            counts[begins] = counts.get(begins, 0) + count
        self.label_days = [LabelDay(begins, rows) for begins, rows in sorted(counts.items())]

    def add_losses(self, keys: Sequence[BlockKey], places: np.ndarray, *, losses: np.ndarray) -> None:
        """Add rows to their blocks; `places` are those of the rows' blocks among the keys."""
        sums = {(block.revision, block.day, block.version): (block.rows, block.loss) for block in self.blocks}
        known = [sums.get(key, (0, 0.0)) for key in keys]
        rows = np.bincount(places, minlength=len(keys)).tolist()
        totals = summed_by([loss for _, loss in known], places, values=losses).tolist()
        sums |= {key: (old + more, total) for key, (old, _), more, total in zip(keys, known, rows, totals, strict=True)}
        self.blocks = [BlockSum(*key, *summed) for key, summed in sorted(sums.items())]

    def labels_after(self, moment: datetime) -> int:
        """Count the labels of the spans that began at or after a moment."""
        return sum(counted.rows for counted in self.label_days if counted.day >= moment)

    def blocks_since(self, revision: int) -> tuple[Block, ...]:
        """Sum the blocks of a revision and those after it, by day and version."""
        sums: dict[tuple[datetime, int], tuple[int, float]] = {}
        for block in self.blocks:
            if block.revision >= revision:
                rows, loss = sums.get((block.day, block.version), (0, 0.0))
                sums[block.day, block.version] = (rows + block.rows, loss + block.loss)
        return tuple(
            Block(day=day, version=version, rows=rows, loss=loss) for (day, version), (rows, loss) in sorted(sums.items())
        )

    def age_out(self, upto: datetime) -> None:
        """Forget blocks and label counts that nothing asks for any more."""
        self.blocks = [block for block in self.blocks if block.day > upto - timedelta(days=BLOCK_DAYS)]
        fine, counts = floor_to(upto, DAY) - timedelta(days=FINE_DAYS), dict[datetime, int]()
        for counted in self.label_days:
            begins = counted.day if counted.day >= fine else floor_to(counted.day, DAY)
            counts[begins] = counts.get(begins, 0) + counted.rows
        oldest = upto - timedelta(days=LABEL_DAYS)
        self.label_days = [LabelDay(begins, rows) for begins, rows in counts.items() if begins > oldest]


def steps_closed(first: datetime, window: Window, *, step: timedelta) -> int:
    """Count the steps, from the first window's start on, that have ended when a window ends."""
    return (window.end - first) // step


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(MonitorState)


def encode_state(state: MonitorState) -> bytes:
    """Write the monitors' state."""
    return _encoder.encode(state)


def decode_state(data: bytes) -> MonitorState:
    """Read the monitors' state."""
    return _decoder.decode(data)
