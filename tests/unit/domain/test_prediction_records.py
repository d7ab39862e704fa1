"""Records of the prediction log: what is written is read, arrays as well as lists, and what older releases wrote."""

from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from kedge.domain.monitoring import Matrix, PredictionBatch
from kedge.domain.records import (
    decode_answers,
    decode_batch,
    decode_entities,
    decode_features,
    decode_request,
    encode_batch,
    held_features,
    unread_features,
)

AT = datetime(2013, 1, 1, 9, tzinfo=UTC)
NAMES = ("dep_delay", "distance", "hour")


def batch(count: int = 3, **more) -> PredictionBatch:
    given = {
        "request": "r-1",
        "model": "flights",
        "at": AT,
        "revision": 7,
        "service": "delay",
        "entities": [f"e{row}" for row in range(count)],
        "versions": [3] * count,
        "features": {"x": [0.5] * count, "carrier": ["AA", None, "Ü"][:count]},
        "as_of": {"weather": [AT, None, AT][:count]},
        "outputs": [0.25] * count,
        "batches": [(3, list(range(count)))],
    }
    return PredictionBatch(**given | more)


@pytest.mark.parametrize(
    "written",
    [
        batch(),
        batch(0),
        batch(versions=[3, 4, 3], shadow={5: [0.1, 0.2, 0.3]}, errors={1: "boom"}, seconds={"predict": 0.001}),
        batch(
            roles={3: "champion"},
            forms={3: "treelite"},
            calls={3: ("c", 1, 2)},
            inputs={"id": [1, "b", None]},
            rows=[0, 4, 9],
            share=0.25,
        ),
        batch(tensors={"embedding": [[0.5, 1.0], [1.5, 2.0], [2.5, 3.0]], "word": ["a", "b", "c"]}),
        batch(0, missing=12),
        batch(entities=[], variant="challenger"),
    ],
)
def test_what_is_written_is_read(written):
    payload = encode_batch(written)
    assert decode_batch(payload) == written
    answers = decode_answers(payload)
    assert {name: getattr(answers, name) for name in answers.__struct_fields__} == {
        name: getattr(written, name) for name in answers.__struct_fields__
    }
    assert decode_features(payload) == written.features
    assert decode_request(payload) == written.request
    assert decode_entities(payload) == written.entities


def test_a_matrix_is_read_as_columns():
    values = np.arange(9, dtype=np.float64).reshape(3, 3) / 4
    values[1, 1] = np.inf
    read = decode_batch(encode_batch(batch(features={}, matrix=Matrix(NAMES, values), outputs=np.array([0.1, 0.2, 0.3]))))
    assert read == batch(
        features={name: values[:, place].tolist() for place, name in enumerate(NAMES)}, outputs=read.outputs
    )
    assert read.outputs == [0.1, 0.2, 0.3]


def test_a_matrix_that_is_not_contiguous_is_read_row_by_row():
    values = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2]
    read = decode_features(encode_batch(batch(features={}, matrix=Matrix(("a", "b"), values))))
    assert read == {"a": [0.0, 4.0, 8.0], "b": [2.0, 6.0, 10.0]}


@pytest.mark.parametrize("dtype", ["f8", ">f8", "f4", "f2", "i8", "i4", ">i2", "i1", "u8", "u4", "u2", "u1", "?", "O", "U3"])
def test_an_array_of_any_type_is_read_as_its_list(dtype):
    array = np.array([1, 0, 1]).astype(dtype)
    read = decode_batch(encode_batch(batch(features={"x": array, "carrier": ["a", "b", None]})))
    assert read.features == {"x": array.tolist(), "carrier": ["a", "b", None]}


def test_tensors_keep_their_shape():
    array = np.arange(12, dtype=np.int32).reshape(3, 2, 2)
    read = decode_batch(encode_batch(batch(tensors={"boxes": array, "none": np.zeros((3, 0))})))
    assert read.tensors == {"boxes": array.tolist(), "none": [[], [], []]}


def test_a_matrix_of_no_number_is_refused():
    with pytest.raises(TypeError, match="no place in a record"):
        encode_batch(batch(matrix=Matrix(("a",), np.array([["x"]]))))


def test_records_of_older_stores_are_read():
    old = {name: getattr(batch(), name) for name in ("request", "model", "at", "revision", "service", "entities")}
    old |= {name: getattr(batch(), name) for name in ("versions", "features", "as_of", "outputs", "batches")}
    payload = msgspec.msgpack.encode(old)
    assert decode_batch(payload) == batch()
    assert decode_answers(payload).outputs == batch().outputs
    assert decode_features(payload) == batch().features
    assert decode_request(payload) == "r-1"
    assert decode_entities(payload) == batch().entities


@pytest.mark.parametrize(
    "read",
    [
        decode_batch,
        decode_answers,
        decode_features,
        decode_request,
        decode_entities,
        lambda payload: list(held_features([payload])),
        lambda payload: list(unread_features([payload])),
    ],
)
def test_what_is_no_record_is_refused(read):
    fields = msgspec.msgpack.decode(encode_batch(batch(features={}, matrix=Matrix(NAMES, np.zeros((3, 3))))))
    for broken in (b"\xc0", b"", msgspec.msgpack.encode([3, *fields[1:]])):
        with pytest.raises(msgspec.DecodeError):
            read(broken)


def test_a_buffer_that_is_no_array_is_refused():
    fields = msgspec.msgpack.decode(encode_batch(batch(features={}, matrix=Matrix(NAMES, np.zeros((3, 3))))))
    place = next(place for place, each in enumerate(fields) if isinstance(each, list) and each and isinstance(each[0], list))
    names, tag, shape, data = fields[place][0]
    for block in ([names, "<f3", shape, data], [names, tag, shape, data[:-1]]):
        with pytest.raises(msgspec.DecodeError, match="no array"):
            decode_features(msgspec.msgpack.encode([*fields[:place], [block], *fields[place + 1 :]]))
