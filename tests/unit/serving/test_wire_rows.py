"""Rows as people and MLflow's clients send them, and answers as rows."""

import json
from typing import Any

import numpy as np
import pytest

from kedge.errors import RequestInvalid
from kedge.serving.wire.answers import encode_answer
from kedge.serving.wire.questions import InferRequest, InferResponse, ModelMetadata, Tensor, TensorMetadata, Wanted
from kedge.serving.wire.rows import Rows, encode_predictions, encode_rows, read_csv, read_rows, wanted

FLIGHTS = ModelMetadata(
    "flights",
    ("1",),
    "kedge",
    tuple(
        TensorMetadata(name, datatype, (-1,))
        for name, datatype in {"distance": "FP64", "hour": "INT64", "carrier": "BYTES", "night": "BOOL"}.items()
    ),
    tuple(
        TensorMetadata(name, datatype, (-1,))
        for name, datatype in {"late": "FP64", "version": "INT64", "prediction_id": "BYTES"}.items()
    ),
)
NUMBERS = ModelMetadata("n", ("1",), "kedge", tuple(TensorMetadata(n, "FP64", (-1,)) for n in "ab"), ())
IMAGES = ModelMetadata("i", ("1",), "kedge", (TensorMetadata("pixels", "FP32", (-1, 2, 2)),), ())
ROWS = [
    {"distance": 229.5, "hour": 20, "carrier": "MQ", "night": False},
    {"distance": None, "hour": 6, "carrier": None, "night": True},
]
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}


def read(body: Any, model: ModelMetadata = FLIGHTS) -> Rows:
    return read_rows(json.dumps(body).encode(), model)


def table(rows: Rows) -> dict[str, list[Any]]:
    out = {}
    for tensor in rows.inputs:
        gone = np.zeros(tensor.shape, bool) if tensor.missing is None else tensor.missing
        absent = gone | (np.isnan(tensor.data) if tensor.data.dtype.kind == "f" else False)
        out[tensor.name] = [None if lost else value for value, lost in zip(tensor.data.tolist(), absent, strict=True)]
    return out


@pytest.mark.parametrize(
    "body",
    [
        {"rows": ROWS},
        {"instances": ROWS},
        {"dataframe_records": ROWS, "params": {"a": 1}},
        {"dataframe_split": {"index": [0, 1], "columns": list(ROWS[0]), "data": [list(row.values()) for row in ROWS]}},
        {"inputs": COLUMNS},
        {"instances": [list(row.values()) for row in ROWS]},
        {"inputs": [list(row.values()) for row in ROWS]},
    ],
)
def test_every_form_says_the_same(body: dict[str, Any]) -> None:
    rows = read(body)
    assert table(rows) == COLUMNS
    assert {tensor.name: tensor.datatype for tensor in rows.inputs} == {
        "distance": "FP64",
        "hour": "INT64",
        "carrier": "BYTES",
        "night": "BOOL",
    }
    assert rows.readable is ("rows" in body)
    assert rows.parameters == body.get("params", {})


def test_csv_says_the_same() -> None:
    text = '\ufeffnight,carrier,hour,distance\r\nfalse,MQ,20,229.5\r\n\r\nTrue,"",6,\r\n'
    assert table(read_csv(text.encode(), FLIGHTS)) == COLUMNS
    numbers = read_csv(b"a,b\n1e3, -2\n.5,+1.\nNaN,3\n", NUMBERS)
    assert table(numbers) == {"a": [1000.0, 0.5, None], "b": [-2.0, 1.0, 3.0]}


def test_rows_that_are_lists_are_a_matrix_or_the_only_input() -> None:
    with pytest.raises(RequestInvalid, match="row 0 has 2 values for 4 columns"):
        read({"instances": [[1, 2]]})
    (matrix,) = read({"instances": [[1, 2.5], [3, None]]}, NUMBERS).inputs
    assert (matrix.name, matrix.datatype, matrix.shape) == ("input", "FP64", (2, 2))
    for form in ("instances", "inputs"):
        (image,) = read({form: [[[1, 2], [3, 4]]]}, IMAGES).inputs
        assert (image.name, image.datatype, image.shape) == ("pixels", "FP32", (1, 2, 2))
    with pytest.raises(RequestInvalid, match="instances: each row is an object with the inputs by name"):
        read({"instances": [1, 2]})


def test_whole_numbers_held_as_floats_are_whole_numbers() -> None:
    for values in ([1.0, None], [1, None], [1, 2.0]):
        (hour,) = read({"inputs": {"hour": values}}).inputs
        assert (hour.datatype, hour.data[0]) == ("INT64", 1)
        assert (hour.missing is not None) is (None in values)
    (hour,) = read({"inputs": {"hour": [1.0, 2.5]}}).inputs
    assert hour.datatype == "FP64", "the engine says what is wrong with which row"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "the body has none; send one of rows, instances"),
        ({"rows": [], "inputs": []}, "the body has rows and inputs; send one of"),
        ({"rows": 1}, "the body's JSON has no rows as they are sent here: Expected `array`"),
        ({"rows": [ROWS[0], {"hour": 1}]}, "row 1: missing input distance, carrier, night; this model takes distance, hour"),
        ({"rows": [{**ROWS[0], "x": 1, "y": 2}]}, "row 0: unknown input x, y; this model takes distance, hour"),
        ({"inputs": {"x": [1]}}, "unknown input x; this model takes"),
        ({"inputs": {"hour": 1}}, "input 'hour' is a list with a value for each row, not 1"),
        ({"inputs": {"hour": ["a"]}}, "input 'hour' (INT64): element [0] is text; expected a whole number"),
        ({"inputs": {"hour": [2**64]}}, "input 'hour' (INT64)"),
        ({"inputs": {"night": [1]}}, "input 'night' (BOOL): element [0] is a whole number; expected true or false"),
        ({"inputs": {"carrier": [{"a": 1}]}}, "input 'carrier' (BYTES): element [0] is object; expected text"),
        ({"inputs": {"distance": [1, [2]]}}, "input 'distance' (FP64): element [1] is a list"),
        ({"dataframe_split": {"columns": ["hour"], "data": [[1], [1, 2]]}}, "row 1 has 2 values for 1 columns"),
        ({"dataframe_split": {"columns": ["hour", "hour"], "data": []}}, "column given twice: hour"),
        ({"rows": ROWS, "id": "i" * 201}, "id has more than 200 characters"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(body: Any, said: str) -> None:
    with pytest.raises(RequestInvalid) as error:
        read(body)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"rows": [{"hour": 1, "hour": 2}]}', "the key 'hour' is there twice"),
        (b'{"rows": [{"hour": Infinity}]}', "the body is not JSON of rows"),
        (b'{"rows": [{"hour": NaN, "x": Infinity}]}', "Infinity is not a number"),
        (b'{"rows": ' + b"[" * 100_000, "has no rows as they are sent here: Expected `object`, got `array`"),
        (b"\xff", "the body is not JSON of rows"),
    ],
)
def test_bytes_that_are_no_rows_are_refused(body: bytes, said: str) -> None:
    with pytest.raises(RequestInvalid) as error:
        read_rows(body, FLIGHTS)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body has no line"),
        (b"\xff", "the body is not CSV in UTF-8"),
        (b'a\n"', "the body is not CSV in UTF-8"),
        (b"a,b\n1\n", "row 0 has 1 values for 2 columns"),
        (b"a,a\n1,2\n", "column given twice: a"),
        (b"a,c\n1,2\n", "unknown input c; this model takes a, b"),
        (b"a\nx\n", "input 'a' (FP64): element [0] is text"),
        (b"a\n1e999\n", "input 'a' (FP64): element [0] is text"),
        (b"a\n1_0\n", "input 'a' (FP64): element [0] is text"),
        (b"a\ninf\n", "input 'a' (FP64): element [0] is text"),
    ],
)
def test_csv_that_does_not_fit_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(RequestInvalid) as error:
        read_csv(body, NUMBERS)
    assert said in str(error.value)


def test_nan_is_read_where_python_wrote_it() -> None:
    assert table(read({"rows": [{**ROWS[0], "distance": float("nan")}]}))["distance"] == [None]


LATE = Tensor("late", "FP64", (2,), np.array([0.25, np.nan]))
IDS = Tensor("prediction_id", "BYTES", (2,), np.array(["r.0", b"r.1"], object))
PIXELS = Tensor("pixels", "FP32", (2, 2), np.array([[1, 2], [3, 4]], np.float32))


def answer(*outputs: Tensor, **more: Any) -> InferResponse:
    return InferResponse(model="flights", version="1", id="r", outputs=outputs, **more)


def test_an_answer_in_rows_can_be_read_by_a_person() -> None:
    assert json.loads(encode_rows(answer(LATE, IDS))) == {
        "model": "flights",
        "version": "1",
        "id": "r",
        "rows": [{"late": 0.25, "prediction_id": "r.0"}, {"late": None, "prediction_id": "r.1"}],
    }
    assert json.loads(encode_rows(answer(LATE, parameters={"logged": False})))["parameters"] == {"logged": False}
    assert wanted(FLIGHTS, readable=True) == [Wanted("late"), Wanted("version"), Wanted("prediction_id")]


def test_predictions_are_values_or_objects() -> None:
    assert wanted(FLIGHTS, readable=False) == [Wanted("late")]
    assert json.loads(encode_predictions(answer(LATE))) == {"predictions": [0.25, None]}
    assert json.loads(encode_predictions(answer(PIXELS))) == {"predictions": [[1, 2], [3, 4]]}
    assert json.loads(encode_predictions(answer(LATE, PIXELS)))["predictions"][0] == {"late": 0.25, "pixels": [1, 2]}


def test_an_answer_is_json_or_binary_output_by_output() -> None:
    asked = InferRequest(model="flights", inputs=[], outputs=[Wanted("late", binary=True), Wanted("prediction_id")])
    encoded = encode_answer(answer(LATE, IDS), asked, binary=False)
    body, header = encoded.body, encoded.header
    assert header is not None
    head = json.loads(body[:header])
    assert head["outputs"][0] == {"name": "late", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": 16}}
    assert head["outputs"][1]["data"] == ["r.0", "r.1"]
    assert body[header:] == LATE.data.tobytes()
    plain = InferRequest(model="flights", inputs=[])
    encoded = encode_answer(answer(PIXELS), plain, binary=False)
    assert encoded.header is None
    assert json.loads(encoded.body) == {
        "model_name": "flights",
        "model_version": "1",
        "id": "r",
        "parameters": {},
        "outputs": [{"name": "pixels", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}],
    }
    assert encode_answer(answer(PIXELS), plain, binary=True).body.endswith(PIXELS.data.tobytes())


def test_bytes_that_are_no_text_are_only_had_in_binary() -> None:
    raw = Tensor("raw", "BYTES", (1,), np.array([b"\xff"], object))
    asked = InferRequest(model="flights", inputs=[])
    assert encode_answer(answer(raw), asked, binary=True).body.endswith(b"\x01\0\0\0\xff")
    with pytest.raises(RequestInvalid, match="output 'raw' holds bytes that are not text; ask for it with binary_data"):
        encode_answer(answer(raw), asked, binary=False)
