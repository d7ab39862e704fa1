"""Records written with a stencil are those that are written without."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.domain.monitoring import Matrix, PredictionBatch
from kedge.domain.records import decode_batch, encode_batch
from kedge.domain.stencils import LikeRecord, Stencil, batch_of, encode

AT = datetime(2013, 1, 1, 9, tzinfo=UTC)
NAMES = ("dep_delay", "distance")
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)
NUMBERS = st.floats(width=64)
TIMES = st.datetimes(datetime(1960, 1, 1), datetime(2150, 1, 1), timezones=st.just(UTC))
SECONDS = st.dictionaries(st.sampled_from(["queue", "features", "predict", "challenger"]), NUMBERS)
CALLS = st.dictionaries(st.integers(1, 300), st.tuples(TEXTS, st.integers(0, 70_000), st.integers(1, 70_000)), max_size=2)


def example(rows=2, names=NAMES, dtype=np.float64, **more) -> PredictionBatch:
    given = {
        "request": "r-1",
        "model": "flights",
        "at": AT,
        "revision": 7,
        "service": "delay",
        "entities": [],
        "versions": [3] * rows,
        "features": {},
        "as_of": {},
        "outputs": np.full(rows, 0.25),
        "batches": [(3, list(range(rows)))],
        "matrix": Matrix(names, np.full((rows, len(names)), 0.5, dtype)),
        "roles": {3: "champion", 4: "challenger"},
        "forms": {3: "onnx"},
    }
    return PredictionBatch(**given | more)


def like(stencil, **own) -> LikeRecord:
    of = stencil.example
    values = of.matrix.values if of.matrix else np.zeros((of.count, len(NAMES)))
    given = {"request": "r-2", "at": AT, "outputs": of.outputs, "seconds": {"queue": 0.5}, "entities": []}
    given |= {"values": values, "calls": {}}
    return LikeRecord(stencil, **given | own)


@given(
    data=st.data(),
    rows=st.sampled_from([1, 2, 40, 300]),
    width=st.sampled_from([1, 2, 7, 20]),
    revision=st.integers(1, 2**40),
)
def test_what_a_stencil_writes_is_byte_for_byte_the_record(data, rows, width, revision):
    names = tuple(data.draw(st.lists(TEXTS, min_size=width, max_size=width, unique=True)))
    first = example(rows, names, revision=revision, model=data.draw(TEXTS), service=data.draw(TEXTS))
    stencil = Stencil(first)
    for _ in range(2):
        one = like(
            stencil,
            request=data.draw(TEXTS),
            at=data.draw(TIMES),
            outputs=np.full(rows, data.draw(NUMBERS)),
            seconds=data.draw(SECONDS),
            entities=data.draw(st.lists(TEXTS, max_size=3)),
            values=np.full((rows, width), data.draw(NUMBERS)),
            calls=data.draw(CALLS),
        )
        assert encode(one) == encode_batch(one.batch())


def test_a_record_that_is_written_so_is_read_as_it_was():
    one = like(
        Stencil(example()),
        outputs=np.array([0.75, 0.5]),
        entities=["UA1", "UA2"],
        values=np.array([[1.0, 2.0], [3.0, 4.0]]),
        calls={3: ("c", 0, 2)},
    )
    read = decode_batch(encode(one))
    assert (read.request, read.at, read.outputs, read.seconds) == ("r-2", AT, [0.75, 0.5], {"queue": 0.5})
    assert read.features == {"dep_delay": [1.0, 3.0], "distance": [2.0, 4.0]}
    assert (read.entities, read.calls) == (["UA1", "UA2"], {3: ("c", 0, 2)})
    assert (read.model, read.revision, read.versions, read.batches) == ("flights", 7, [3, 3], [(3, [0, 1])])
    assert (read.roles, read.forms) == ({3: "champion", 4: "challenger"}, {3: "onnx"})
    assert (one.model, one.revision, one.count) == ("flights", 7, 2)


def test_it_does_not_encode_again_what_records_share(monkeypatch):
    stencil = Stencil(example())
    first = encode(like(stencil))
    monkeypatch.setattr("kedge.domain.stencils.encode_batch", lambda batch: pytest.fail("encoded as a whole"))
    assert encode(like(stencil)) == first


@pytest.mark.parametrize(
    "other",
    [
        example(dtype=np.float32),
        example(dtype=">f8"),
        example(outputs=np.zeros(2, np.float32)),
        example(rows=0),
        example(matrix=None, features={"dep_delay": [0.5, 0.5]}),
        example(outputs=[0.25, 0.5]),
    ],
)
def test_numbers_of_another_kind_are_written_as_before(other):
    one = like(Stencil(other))
    assert encode(one) == encode_batch(one.batch())


def test_a_batch_is_written_and_given_as_it_is():
    batch = example()
    assert encode(batch) == encode_batch(batch)
    assert batch_of(batch) is batch
    assert batch.count == 2
