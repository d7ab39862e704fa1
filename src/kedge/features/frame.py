"""The rows that a model is trained and judged on: point-in-time joined, labelled, in the order they became known."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import polars as pl

from kedge.domain.data import KNOWN_AT
from kedge.domain.evaluation import Task
from kedge.domain.ids import Digest, digest_bytes, digest_of
from kedge.errors import TrainingFailed


@dataclass(frozen=True)
class JoinedPart:
    """One part of a version with its features, in the order in which its rows became known: made once, never copied."""

    rows: pl.DataFrame
    order: pl.Series

    @classmethod
    def of(cls, joined: pl.DataFrame) -> "JoinedPart":
        """Put joined rows in order. `order` remembers where each row was."""
        order = joined.select(KNOWN_AT).with_row_index("row").sort(KNOWN_AT, maintain_order=True)["row"]
        return cls(in_order(joined), order)

    def kept(self, keep: pl.Series, now: datetime) -> pl.DataFrame:
        """Give the rows that are kept (flags in the part's own order) and known by now."""
        rows = self.rows if keep.all() else self.rows.filter(keep.gather(self.order))
        return known_by(rows, now)


def in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Put rows in the order in which they became known; rows that are in it are given as they are."""
    return rows if rows[KNOWN_AT].is_sorted() else rows.sort(KNOWN_AT, maintain_order=True)


def known_by(rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Give the rows in order that are known by a time: the first of them, not copied."""
    known = rows[KNOWN_AT]
    if len(known) and known[-1] <= now:  # as most parts are: told without the search, which costs a query
        return rows
    return rows.head(int(known.search_sorted(now, side="right")))


@dataclass(frozen=True)
class TrainingFrame:
    """Rows with their names and their origin. `columns` are what the model reads, in order; `upto` is the turn's now.

    `rows` are in the order in which they became known, and also hold key, time, label and `known_at__`. `versions` are
    the dataset versions behind them. `step` is the unit of a row's age, and the newest step is what a candidate is
    judged on.
    """

    rows: pl.DataFrame
    columns: tuple[str, ...]
    time: str
    label: str
    key: str
    task: Task
    versions: tuple[Digest, ...]
    service: str
    service_digest: Digest
    upto: datetime
    step: timedelta

    def __len__(self) -> int:
        return len(self.rows)

    def without_newest(self) -> "TrainingFrame":
        """Give the frame as it was one step ago: what a candidate may learn from. It is what a refit had then."""
        upto = self.upto - self.step
        return replace(self, rows=known_by(self.rows, upto), upto=upto)

    def newest(self) -> "TrainingFrame":
        """Give the rows that became known within the newest step: what nobody has seen."""
        older = len(known_by(self.rows, self.upto - self.step))
        return replace(self, rows=self.rows.slice(older))

    def y(self) -> np.ndarray:
        """Give the labels: float64 (n,), NaN where one is missing."""
        return self.rows[self.label].cast(pl.Float64).to_numpy()

    def ages(self) -> np.ndarray:
        """Give each row's age in steps at `upto`: float64 (n,), 0 for a row just known."""
        since = self.rows.select((self.upto - pl.col(KNOWN_AT)).dt.total_microseconds()).to_series()
        return since.to_numpy() / (self.step / timedelta(microseconds=1))

    @property
    def trained_upto(self) -> datetime:
        """Tell when the newest row became known. Raises TrainingFailed for a frame without rows."""
        newest = self.rows[KNOWN_AT].max()
        if not isinstance(newest, datetime):
            raise TrainingFailed(f"no row of service {self.service!r} is known by {self.upto:%Y-%m-%d %H:%M}")
        return newest

    @cached_property
    def digest(self) -> Digest:
        """Name what a training can see: the rows' values in order, their columns, and the time they are weighed at.

        The same rows have one name, however they were cut into parts when they were committed.
        """
        names = list(dict.fromkeys((*self.columns, self.label, self.time, KNOWN_AT)))
        types = [str(self.rows.schema[name]) for name in names]
        # Polars may hash otherwise in another version; the environment is in a training's content key beside this.
        values = self.rows.select(names).hash_rows(0).to_numpy() if len(self) else np.empty(0)
        return digest_of(
            "frame", names, types, digest_bytes(values.tobytes()), self.task, self.upto, self.step.total_seconds()
        )
