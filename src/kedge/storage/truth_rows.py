"""Ground truth as tables: one row per fact, by prediction or by entity and time, and each record to be had back from them.

    model id entity time value known_at   segment segment_end place record
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

    def tables(self, records: Sequence[LogRecord]) -> "Mapping[str, pl.DataFrame]":
        """Lay records out: a table per model."""
        import polars as pl

        rows: dict[str, list[tuple[object, ...]]] = {}
        for recorded in records:
            batch = decode_truth(recorded.payload)
            for place in range(max(len(batch.values), 1)):
                rows.setdefault(folder_of(batch.model), []).append(
                    (
                        batch.model,
                        batch.predictions[place] if place < len(batch.predictions) else None,
                        batch.entities[place] if place < len(batch.entities) else None,
                        batch.times[place] if place < len(batch.times) else None,
                        batch.values[place] if place < len(batch.values) else None,
                        batch.known_at,
                        recorded.segment,
                        recorded.end,
                        place,
                        recorded.payload if place == 0 else None,
                    )
                )
        time = pl.Datetime("us", "UTC")
        schema: dict[str, pl.DataType | type[pl.DataType]] = {
            "model": pl.String,
            "id": pl.String,
            "entity": pl.String,
            "time": time,
            "value": pl.Float64,
            "known_at": time,
            "segment": pl.String,
            "segment_end": pl.Int64,
            "place": pl.Int32,
            "record": pl.Binary,
        }
        return {
            folder: pl.DataFrame(some, schema=schema, orient="row").sort("known_at", "segment", "segment_end", "place")
            for folder, some in rows.items()
        }

    def records(self, table: "pl.DataFrame") -> list[LogRecord]:
        """Give the records of a table."""
        whole = table.drop_nulls("record").select("segment", "segment_end", "record")
        return [LogRecord(*row) for row in whole.iter_rows()]
