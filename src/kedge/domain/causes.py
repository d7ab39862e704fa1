"""What moved and why it matters: the features that moved by what they are worth, and where the loss rose."""

from datetime import datetime

import msgspec

from kedge.domain.ids import PredictionId


class MovedFeature(msgspec.Struct, frozen=True, kw_only=True):
    """A feature by how far it moved (Jensen-Shannon distance, 0 to 1) times its share of all features' worth.

    `worth` is how much the loss rose at the gate when it was shuffled; `listed` says that its own detector alarms."""

    column: str
    moved: float
    worth: float
    share: float
    weight: float
    listed: bool = False


class RisenSlice(msgspec.Struct, frozen=True, kw_only=True):
    """Rows alike in one or two columns, whose loss rose more than that of all rows.

    `rise` is the mean loss less that at the gate, with its 95 % band; `sure` says that it is more than all rows' rise even
    after so many slices were tried (Bonferroni). `share` is the part of the whole rise that lies in these rows; `since`
    the first window from which on it lasted; `examples` the predictions that lost most."""

    slice: str
    rows: int
    gate_rows: int
    loss: float
    gate_loss: float
    rise: float
    low: float
    high: float
    sure: bool
    share: float | None = None
    since: datetime | None = None
    examples: tuple[PredictionId, ...] = ()


class Causes(msgspec.Struct, frozen=True, kw_only=True):
    """What the labelled answers from `start` to `end` say, held against the gate's rows.

    `features` are ranked by drift times worth, `slices` by the loss that they add beyond the rise of all rows; `tried` is
    how many slices were looked at, `stray` how much wider the bands are because the rows of a day rise and fall together
    (1: not at all). `notes` say what could not be known."""

    start: datetime
    end: datetime
    version: int
    rows: int
    gate_rows: int
    loss: float | None = None
    gate_loss: float | None = None
    features: tuple[MovedFeature, ...] = ()
    slices: tuple[RisenSlice, ...] = ()
    tried: int = 0
    least: int = 0
    stray: float = 1.0
    notes: tuple[str, ...] = ()
