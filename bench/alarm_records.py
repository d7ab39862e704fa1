"""What a window costs: requests as they stand in the log, read, counted and taken into the detectors."""

import time
from collections.abc import Iterator
from datetime import timedelta
from statistics import median

import numpy as np
from alarm_streams import STREAMS, draw
from alarms import MODEL, day, reference_of

from kedge.domain.monitoring import Matrix, PredictionBatch
from kedge.domain.records import decode_answers, encode_batch
from kedge.monitoring.drift.kept import DriftState
from kedge.monitoring.drift.window import look, watched
from kedge.monitoring.served import ServedRows
from kedge.monitoring.truth.join_labels import Answered, Record

ROWS, REPEATS = 1000, 50


def timed() -> Iterator[tuple[str, float, float]]:
    """Time windows of 1,000 rows in several forms, and of 30,000 rows: CPU milliseconds, the best and the median."""
    random = np.random.default_rng(0)
    watch = watched(reference_of(STREAMS["nothing moves"].reference(random, 10_000), random.random(10_000)))
    for words, requests, rows, arrays in (
        ("1,000 rows x 20 in 1 request, a matrix", 1, 1000, True),
        ("1,000 rows x 20 in 20 requests, matrices", 20, 50, True),
        ("1,000 rows x 20 in 1,000 requests, matrices", 1000, 1, True),
        ("1,000 rows x 20 in 1 request, lists", 1, 1000, False),
        ("1,000 rows x 20 in 1,000 requests, lists", 1000, 1, False),
        ("30,000 rows x 20 in 300 requests, matrices", 300, 100, True),
        ("30,000 rows x 20 in 30,000 requests, lists", 30_000, 1, False),
    ):
        answers = [answered(random, number, rows=rows, arrays=arrays) for number in range(requests)]
        state, spent = DriftState(), []
        for number in range(1, REPEATS + 1):
            began = time.process_time()
            served = ServedRows(answers)
            look(
                watch,
                state,
                window=day(number),
                number=number,
                parts=served.parts,
                outputs=served.answers,
                run_length=1000.0,
            )
            spent.append((time.process_time() - began) * 1e3)
        yield words, min(spent), median(spent)


def answered(random: np.random.Generator, number: int, *, rows: int, arrays: bool) -> Answered:
    """Make one request as the label join remembers it."""
    columns = draw(random, rows)
    matrix = Matrix(tuple(columns), np.stack(list(columns.values()), axis=1)) if arrays else None
    batch = PredictionBatch(
        request=f"r{number}",
        model=MODEL,
        at=day(0).start + timedelta(seconds=number),
        revision=1,
        service="all",
        entities=[],
        versions=[1] * rows,
        features={} if arrays else {name: values.tolist() for name, values in columns.items()},
        as_of={},
        outputs=random.random(rows).tolist(),
        batches=[],
        matrix=matrix,
    )
    payload = encode_batch(batch)
    read = decode_answers(payload)
    return Answered(
        record=Record("a", 0, len(payload), 0),
        request=read.request,
        at=read.at,
        revision=1,
        versions=read.versions,
        outputs=read.outputs,
        shadow={},
        errors={},
        seconds={},
        payload=payload,
        labels={},
        open=rows,
    )
