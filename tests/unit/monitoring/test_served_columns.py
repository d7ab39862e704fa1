"""Logged requests read as columns: the same values as record by record, whatever their layouts, in the order of the rows."""

from datetime import timedelta

import msgspec
import numpy as np
import pytest
from tests.unit.monitoring.world import MODEL, START

from kedge.domain.buffers import HeldBlock, blocks_of
from kedge.domain.monitoring import Matrix, PredictionBatch
from kedge.domain.records import decode_answers, decode_batch, decode_features, encode_batch
from kedge.monitoring.columns import Coded, column_of, plain, read_blocks, sighted
from kedge.monitoring.served import ServedRows, parts_of
from kedge.monitoring.truth.join_labels import Answered, Record

RANDOM = np.random.default_rng(3)


def request(number: int, *, rows: int, old: bool = False, **brought) -> Answered:
    batch = PredictionBatch(
        **{
            "request": f"r{number}",
            "model": MODEL,
            "at": START + timedelta(hours=number),
            "revision": 1,
            "service": "",
            "entities": [],
            "versions": [1 + number % 2] * rows,
            "features": {},
            "as_of": {},
            "outputs": RANDOM.random(rows).tolist(),
            "batches": [],
            **brought,
        }
    )
    payload = msgspec.msgpack.encode(batch) if old else encode_batch(batch)
    read = decode_answers(payload)
    return Answered(
        record=Record("s", 0, len(payload), 0),
        payload=payload,
        labels={},
        open=rows,
        **{name: getattr(read, name) for name in read.__struct_fields__ if name != "model"},
    )


def mixed() -> list[Answered]:
    """Make requests of all layouts that there are, one after another."""
    made = [
        request(0, rows=2, matrix=Matrix(("x", "n"), np.array([[0.5, 1], [np.nan, 2]]))),
        request(1, rows=1, features={"x": [0.25], "carrier": ["AA"]}),
        request(2, rows=1, features={"x": [None], "carrier": [None]}, inputs={"sex": ["f"]}),
        request(
            3,
            rows=3,
            features={"wide": [[1], [], [2]], "x": np.array([1, 2, 3], dtype=np.float32), "carrier": ["UA", "AA", "UA"]},
        ),
        request(4, rows=0, missing=4),
        request(5, rows=2, features={"x": [1, True], "carrier": ["AA", 3.0]}, hidden=["carrier"]),
        request(6, rows=1, features={"x": ["much"]}, old=True),
        request(7, rows=2, matrix=Matrix(("x", "n"), np.array([[0.5, 1], [7, 2]])), inputs={"sex": ["m", "f"]}),
    ]
    return [*made, *(request(8 + place, rows=1, features={"x": [place / 4]}) for place in range(3))]


def by_record(requests, name, read=decode_features) -> list:
    """Read a column record by record."""
    columns = [(len(one.versions), read(one.payload)) for one in requests]
    return [value for rows, each in columns for value in each.get(name, [None] * rows)]


def same(values, expected) -> bool:
    return len(values) == len(expected) and all(
        type(a) is type(b) and (a == b or (a != a and b != b)) for a, b in zip(values, expected, strict=True)
    )


@pytest.mark.parametrize("most", [1, 4, 100])
def test_columns_are_those_of_the_records(most, monkeypatch) -> None:
    monkeypatch.setattr("kedge.monitoring.served.PART_ROWS", most)
    requests = mixed()
    for named in (None, {"x", "carrier", "n", "wide"}):
        served = ServedRows(requests, names=named)
        monkeypatch.setattr(served, "parts", tuple(parts_of(requests, most=most, names=named)))
        for name in ("x", "carrier", "n", "wide"):
            assert same(served.feature(name).tolist(), by_record(requests, name)), name
        assert served.feature("sex") is None


def test_what_was_lacking_hidden_or_only_brought_is_told_apart() -> None:
    requests = mixed()
    served = ServedRows(requests)
    assert served.lacks("carrier").tolist() == [True] * 2 + [False] * 7 + [True] * 6
    assert served.conceals("carrier").tolist() == [False] * 7 + [True] * 2 + [False] * 6
    assert served.lacks("sex").all()
    assert served.hidden == {"carrier"}
    known = served.known(["sex", "x", "nowhere"])
    assert known["sex"].tolist() == by_record(requests, "sex", lambda payload: decode_batch(payload).inputs)
    assert same(known["x"].tolist(), by_record(requests, "x"))
    assert known["nowhere"] is None
    shown = served.shown(["carrier", "nowhere"], np.arange(len(served)))
    assert list(shown["carrier"])[5:10] == ["AA", "UA", None, None, None]
    assert shown["nowhere"] == [None] * len(served)


def test_a_feature_comes_before_what_was_brought_by_its_name() -> None:
    requests = [
        request(0, rows=1, features={"age": [30]}, inputs={"age": [99]}),
        request(1, rows=2, features={"x": [1.0, 2.0]}, inputs={"age": [40, 50]}),
    ]
    assert ServedRows(requests).known(["age"])["age"].tolist() == [30, 40, 50]


def test_the_rows_are_arrays_in_order() -> None:
    requests = mixed()
    served = ServedRows(requests)
    assert served.answers.tolist() == [output for one in requests for output in one.outputs]
    assert served.versions.tolist() == [version for one in requests for version in one.versions]
    assert served.firsts[served.sizes > 0].tolist() == [0, 2, 3, 4, 7, 9, 10, 12, 13, 14]
    assert len(ServedRows([])) == 0
    assert ServedRows([]).feature("x") is None


def test_one_kind_of_number_stays_an_array_and_text_is_kept_once() -> None:
    assert column_of([1.0, 2.0]).dtype == np.float64
    assert column_of([1, 2]).dtype == np.int64
    assert column_of([True]).dtype == np.bool_
    assert column_of([2**70]).tolist() == [2**70]
    text = column_of(["b", None, "b"])
    assert isinstance(text, Coded)
    assert (text.values, text.tolist(), text.take(np.array([1])).tolist()) == (["b", None], ["b", None, "b"], [None])
    assert plain(column_of([1, None])) == [1, None]
    for values in ([3.0, 1.0, 3.0], ["b", None, "b"], [3, "b", 3]):
        distinct, codes = sighted(column_of(values))
        assert (distinct, codes.tolist()) == (list(dict.fromkeys(values)), [0, 1, 0])


def held_again(raw: bytes) -> list[HeldBlock]:
    return msgspec.msgpack.decode(raw, type=list[HeldBlock])


def test_columns_too_short_for_their_request_end_in_nulls() -> None:
    held = ([[1.0], []], [[2.0]], [[3.0], [4.0]], [[5.0], [6.0], [7.0]], [[8.0, 0.0], [9.0]])
    lists = [held_again(msgspec.msgpack.encode([(["a", "b"], "", (), data)])) for data in held]
    assert read_blocks(lists, [1] * 5).columns["a"].tolist() == [1.0, 2.0, 3.0, 5.0, 8.0]
    assert read_blocks(lists, [1] * 5).columns["b"].tolist() == [None, None, 4.0, 6.0, 9.0]
    buffers = [held_again(msgspec.msgpack.encode(blocks_of({"a": np.arange(rows) * 1.0}))) for rows in (2, 1)]
    assert read_blocks(buffers, [2, 2]).columns["a"].tolist() == [0.0, 1.0, 0.0, None]


def test_requests_alike_and_not_come_in_any_order() -> None:
    lists = {"x": [1.0], "carrier": ["AA"]}
    matrix = Matrix(("x", "n"), np.array([[0.5, 2.0]]))
    turns = [lists, lists, matrix, matrix, {"x": [2.0]}, lists, matrix, {"x": [3.0, 4.0]}, lists]
    requests = [
        request(place, rows=1, matrix=turn)
        if isinstance(turn, Matrix)
        else request(place, rows=len(turn["x"]), features=turn)
        for place, turn in enumerate(turns)
    ]
    served = ServedRows(requests)
    for name in ("x", "carrier", "n"):
        assert same(served.feature(name).tolist(), by_record(requests, name)), name
