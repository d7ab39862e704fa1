"""The rows of a logged request of which some are not kept: where one stands, and how some are taken."""

from collections.abc import Sequence
from typing import Any

import msgspec

from kedge.domain.monitoring import Matrix, PredictionBatch


def place_of(rows: Sequence[int], count: int, *, row: int) -> int | None:
    """Find the place of a request's row in a record of `count` rows; None where the record does not have it."""
    if not rows:
        return row if row < count else None
    return rows.index(row) if row in rows else None


def taken(batch: PredictionBatch, places: Sequence[int]) -> PredictionBatch:
    """Give a request with the rows at some places, in ascending order. Their numbers stay; the batches say who was left."""
    if len(places) == len(batch.versions):
        return batch
    new = {old: place for place, old in enumerate(places)}
    matrix = batch.matrix
    return msgspec.structs.replace(
        batch,
        entities=[batch.entities[place] for place in places] if batch.entities else [],
        versions=[batch.versions[place] for place in places],
        outputs=[float(batch.outputs[place]) for place in places],
        features={name: _some(values, places) for name, values in batch.features.items()},
        matrix=Matrix(matrix.names, matrix.values[list(places)]) if matrix is not None else None,
        as_of={view: _some(values, places) for view, values in batch.as_of.items()},
        inputs={name: _some(values, places) for name, values in batch.inputs.items()},
        tensors={name: _some(values, places) for name, values in batch.tensors.items()},
        shadow={version: _some(values, places) for version, values in batch.shadow.items()},
        errors={new[place]: error for place, error in batch.errors.items() if place in new},
        batches=[(version, [new[place] for place in rows if place in new]) for version, rows in batch.batches],
        rows=[batch.rows[place] if batch.rows else place for place in places],
    )


def _some(values: Any, places: Sequence[int]) -> list[Any]:
    return [values[place] for place in places]
