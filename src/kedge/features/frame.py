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
class TrainingFrame:
    """Rows with their names and their origin. `columns` are what the model reads, in order; `upto` is the turn's now.

    `rows` also holds key, time, label and `known_at__`. `versions` are the dataset versions behind them. `step` is the
    unit of a row's age, and the newest step is what a candidate is judged on.
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
        return replace(self, rows=self.rows.filter(pl.col(KNOWN_AT) <= upto), upto=upto)

    def newest(self) -> "TrainingFrame":
        """Give the rows that became known within the newest step: what nobody has seen."""
        return replace(self, rows=self.rows.filter(pl.col(KNOWN_AT) > self.upto - self.step))

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
