"""What a version calls normal, as it is said to people: how far each column may move before that counts as a move."""

import msgspec


class NormalStream(msgspec.Struct, frozen=True):
    """One thing that is watched of a column: "rank", "spread", "missing", or a category. Its mean in the reference; the
    tolerance around it; and the error of a reference of so few rows. Only what lies beyond both can be heard."""

    name: str
    mean: float | None
    tolerance: float
    error: float

    @property
    def margin(self) -> float:
        """Give how far the mean may lie from the reference's."""
        return min(1.0, self.tolerance + self.error)


class NormalColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A watched column: the reference's rows with a value and without; the blocks of time its tolerance was learnt from
    (0: it was declared; None: an older reference did not note it)."""

    name: str
    values: int
    missing: int
    blocks: int | None
    streams: tuple[NormalStream, ...]


class CalledNormal(msgspec.Struct, frozen=True, kw_only=True):
    """What a version calls normal, column by column, its own answers last. `notes` say what cannot be known."""

    version: int
    rows: int
    columns: tuple[NormalColumn, ...]
    notes: tuple[str, ...] = ()
