"""Answered requests of every kind, for tests of the log's storage."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from kedge.domain.monitoring import Matrix, PredictionBatch
from kedge.domain.records import encode_batch
from kedge.storage.compacting import Compactor
from kedge.storage.journal import FileJournal
from kedge.storage.prediction_rows import PredictionRows
from kedge.storage.shelf import FolderPlace, ParquetShelf

START = datetime(2013, 1, 1, 9, tzinfo=UTC)


def answered(number: int, count: int = 2, *, hours: float = 0.0, **more) -> PredictionBatch:
    """Make request `r-NUMBER`, an hour after the one before it."""
    given = {
        "request": f"r-{number}",
        "model": "flights",
        "at": START + timedelta(hours=number + hours),
        "revision": 7,
        "service": "delay",
        "entities": [f"e{number}-{row}" for row in range(count)],
        "versions": [3] * count,
        "features": {"x": [0.5 * number] * count, "carrier": ["AA", None, "Ü"][:count]},
        "as_of": {"weather": [START, None, START][:count]},
        "outputs": [number / 100] * count,
        "batches": [(3, list(range(count)))],
        "seconds": {"predict": 0.001},
        "roles": {3: "champion"},
    }
    return PredictionBatch(**given | more)


def odd() -> list[PredictionBatch]:
    """Make one of each kind that a log may hold."""
    matrix = Matrix(("a", "b"), np.array([[1.5, np.inf], [np.nan, -0.0]]))
    return [
        answered(1),
        answered(2, features={}, matrix=matrix, outputs=np.array([0.1, 0.2])),
        answered(
            3, 3, versions=[3, 4, 3], shadow={5: [0.1, 0.2, 0.3]}, errors={1: "boom"}, roles={3: "champion", 4: "challenger"}
        ),
        answered(4, features={"x": ["text", 1.5], "carrier": [None, None]}),
        answered(5, features={"x": [1, 2.5], "n": [1, 2], "yes": [True, None]}, inputs={"flight_id": ["a", 7]}),
        answered(6, tensors={"vector": np.arange(4, dtype=np.float32).reshape(2, 2), "word": ["a", "b"]}, entities=[]),
        answered(7, rows=[4, 9], share=0.25, calls={3: ("c", 1, 2)}, forms={3: "treelite"}, variant="challenger"),
        answered(8, 0, request="gap-1", missing=12, roles={}),
        answered(9, model="other/ärger", features={"x": [2**63, None]}, as_of={}, seconds={}),
        answered(10, 1, features={}, matrix=Matrix(("pixels",), np.zeros((1, 1), dtype=np.uint8))),
    ]


def shelf(folder: Path) -> ParquetShelf:
    """Open the shelf of a folder."""
    return ParquetShelf(FolderPlace(folder / "compacted"), PredictionRows())


def journal(folder: Path, writer: str = "w", **more) -> FileJournal:
    """Open the journal of a folder."""
    return FileJournal(folder, writer, shelf=shelf(folder), **more)


def compactor(folder: Path, **more) -> Compactor:
    """Open what compacts a folder."""
    return Compactor(folder, shelf(folder), **more)


def write(folder: Path, batches: list[PredictionBatch], writer: str = "w") -> list[bytes]:
    """Write requests as one closed segment; give their records."""
    payloads = [encode_batch(batch) for batch in batches]
    log = journal(folder, writer)
    log.append_all(payloads)
    log.close()
    return payloads


def found(folder: Path) -> list[bytes]:
    """Read all records, as a process that has just started."""
    return [payload for _, payload in journal(folder, "reader").scan()]
