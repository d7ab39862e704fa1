"""Ground truth as tables: one row per fact, and each record to be had back from them.

    model id value known_at   segment segment_end place record
Each record stands whole in `record`, in its first row: facts are small and few.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kedge.domain.records import decode_truth
from kedge.storage.prediction_rows import folder_of
from kedge.storage.shelf import LogRecord

if TYPE_CHECKING:
    import polars as pl


class TruthRows:
    """The form of the log of ground truth."""

    time = "known_at"
    names: tuple[str, ...] = ("id", "model", "value", "known_at", "segment", "segment_end", "place")

    def index(self, records: Sequence[LogRecord]) -> "pl.DataFrame":
        """Tell which facts there are."""
        import polars as pl

        return pl.concat([_laid_out([]), *self.tables(records).values()]).select(self.names)

    def tables(self, records: Sequence[LogRecord]) -> "Mapping[str, pl.DataFrame]":
        """Lay records out: a table per model."""
        rows: dict[str, list[tuple[object, ...]]] = {}
        for recorded in records:
            batch = decode_truth(recorded.payload)
            for place, (name, value) in enumerate(zip(batch.predictions, batch.values, strict=True)):
                place_of_it = (recorded.segment, recorded.end, place, recorded.payload if place == 0 else None)
                rows.setdefault(folder_of(batch.model), []).append((batch.model, name, value, batch.known_at, *place_of_it))
        return {folder: _laid_out(some).sort("known_at", "segment", "segment_end", "place") for folder, some in rows.items()}

    def records(self, table: "pl.DataFrame") -> list[LogRecord]:
        """Give the records of a table."""
        whole = table.drop_nulls("record").select("segment", "segment_end", "record")
        return [LogRecord(*row) for row in whole.iter_rows()]


def _laid_out(rows: list[tuple[object, ...]]) -> "pl.DataFrame":
    import polars as pl

    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "model": pl.String,
        "id": pl.String,
        "value": pl.Float64,
        "known_at": pl.Datetime("us", "UTC"),
        "segment": pl.String,
        "segment_end": pl.Int64,
        "place": pl.Int32,
        "record": pl.Binary,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
