"""Requests in JSON and in binary, from bytes to tensors; every refusal names its input and what was expected."""

import json
import math
import struct
from typing import Any

import numpy as np
import pytest

from kedge.errors import RequestInvalid
from kedge.serving.wire.binary import read_binary, to_raw
from kedge.serving.wire.datatypes import DATATYPES
from kedge.serving.wire.decoding import InferBody, JsonReader
from kedge.serving.wire.questions import Tensor, Wanted


def one(datatype: str, data: Any, shape: list[Any] | None = None, name: str = "x", **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data, **more}


def read(*tensors: dict[str, Any], **more: Any) -> InferBody:
    return JsonReader().read(json.dumps({"inputs": tensors, **more}).encode())


def refused(body: Any) -> str:
    with pytest.raises(RequestInvalid) as error:
        JsonReader().read(body if isinstance(body, bytes) else json.dumps(body).encode())
    return str(error.value)


EDGES = {
    "BOOL": [True, False],
    "INT8": [-128, 127],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "UINT8": [0, 255],
    "UINT16": [0, 2**16 - 1],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "FP16": [-65504.0, 2.0**-24],
    "FP32": [3.4028235e38, 1.5],
    "FP64": [1.7976931348623157e308, -0.1],
    "BYTES": ["é\u0000", ""],
}
BEYOND = {
    "BOOL": [1, "true"],
    "INT8": [128, -129, 1.5],
    "INT16": [2**15],
    "INT32": [-(2**31) - 1],
    "INT64": [2**63, 2**70],
    "UINT8": [-1, 256],
    "UINT16": [2**16],
    "UINT32": [2**32],
    "UINT64": [-1, 2**64, 2**80],
    "FP16": [65520.0],
    "FP32": [3.41e38],
    "FP64": ["1.5", True],
    "BYTES": [1, None],
}


def test_every_datatype_has_its_edges() -> None:
    assert EDGES.keys() == BEYOND.keys() == DATATYPES.keys()


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_is_read_flat_nested_and_in_binary(datatype: str) -> None:
    values = EDGES[datatype]
    for data, shape in (
        (values, [2]),
        (values, [2, 1]),
        ([[v] for v in values], [2, 1]),
        ([[[v]] for v in values], [2, 1, 1]),
    ):
        (tensor,) = read(one(datatype, data, shape)).inputs
        assert tensor.data.dtype == DATATYPES[datatype].dtype
        assert (tensor.shape, tensor.data.shape, tensor.missing) == (tuple(shape), tuple(shape), None)
        assert tensor.data.ravel().tolist() == np.array(values, DATATYPES[datatype].dtype).tolist()
    raw = to_raw(tensor)
    head = json.dumps({"inputs": [{**one(datatype, [], [2]), "parameters": {"binary_data_size": len(raw)}}]})
    body = head.replace('"data": [], ', "").encode()
    (again,) = read_binary(body + raw, header=len(body)).inputs
    assert again.data.dtype == DATATYPES[datatype].dtype
    assert (again.text() if datatype == "BYTES" else again.data).tolist() == tensor.data.ravel().tolist()


@pytest.mark.parametrize(("datatype", "value"), [(name, value) for name, values in BEYOND.items() for value in values])
def test_a_value_that_a_datatype_cannot_hold_is_refused(datatype: str, value: Any) -> None:
    if value is None:
        (tensor,) = read(one(datatype, ["a", value])).inputs
        assert tensor.missing is not None
        return
    good = EDGES[datatype][0]
    for body in (one(datatype, [good, value]), one(datatype, [[good], [value]], [2, 1])):
        said = refused({"inputs": [body]})
        assert said.startswith(f"input 'x' ({datatype}): ")
        assert DATATYPES[datatype].holds in said or "out of range" in said


def test_null_and_nan_are_missing_values() -> None:
    floats, whole, text, flag = read(
        one("FP64", [1, None, math.nan]), one("INT8", [1, None, 3]), one("BYTES", ["a", None, "b"]), one("BOOL", [None] * 3)
    ).inputs
    assert np.isnan(floats.data).tolist() == [False, True, True]
    assert floats.missing is None
    assert (whole.data.tolist(), whole.missing.tolist()) == ([1, 0, 3], [False, True, False])  # type: ignore[union-attr]
    assert (text.data.tolist(), text.missing.tolist()) == (["a", None, "b"], [False, True, False])  # type: ignore[union-attr]
    assert flag.missing.all()  # type: ignore[union-attr]
    assert np.isnan(read(one("FP32", [[None, 1.0]], [1, 2])).inputs[0].data[0, 0])
    assert "Infinity" in refused(b'{"inputs": [{"name": "x", "shape": [2], "datatype": "FP64", "data": [NaN, Infinity]}]}')


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "missing required field `inputs`"),
        ([], "the body is not an inference request"),
        (b"", "the body is not an inference request"),
        (b'{"inputs": [', "truncated"),
        (b"\xff", "the body is not an inference request"),
        ({"inputs": [one("FP64", [1.0], [-1])]}, "input 'x': Expected `int` >= 0"),
        ({"inputs": [one("FP64", [1.0], [1.5])]}, "input 'x': Expected `int`"),
        ({"inputs": [{**one("FP64", [1.0]), "shape": []}]}, "input 'x': "),
        ({"inputs": [one("FP64", [1.0], [2**40, 2**40])]}, "asks for 1208925819614629174706176 values, data has 1"),
        ({"inputs": [one("FP64", [1.0], [2**62, 0])]}, "asks for 0 values, data has 1"),
        ({"inputs": [one("FP64", [1.0, 2.0], [3])]}, "input 'x': shape [3] asks for 3 values, data has 2"),
        (
            {"inputs": [one("FP64", [[1.0], [2.0, 3.0]], [2, 2])]},
            "input 'x': the nesting of data is not that of shape [2, 2]",
        ),
        ({"inputs": [one("FP64", [[1.0, 2.0]], [2, 1])]}, "input 'x': the nesting of data is not that of shape [2, 1]"),
        ({"inputs": [one("FP64", [[1.0]], [1])]}, "input 'x': data is nested 2 deep; send it flat, or nested as shape [1]"),
        ({"inputs": [one("FP64", [[1.0], 2.0], [2, 1])]}, "input 'x' (FP64): element [1] is a number"),
        ({"inputs": [{"name": "x", "shape": [1], "datatype": "FP64"}]}, "input 'x' has no data"),
        ({"inputs": [one("FP65", [1.0])]}, "input 'x': datatype 'FP65' is not one of BOOL, INT8"),
        ({"inputs": [one("FP64", "abc", [1])]}, "input 'x'"),
        ({"inputs": [one("FP64", [1.0], parameters={"shared_memory_region": "a"})]}, "shared memory is not offered"),
        ({"inputs": [], "outputs": [{"name": "y", "parameters": {"classification": 2}}]}, "output 'y': classification"),
        ({"inputs": [], "parameters": {"binary_data_output": 1}}, "'binary_data_output' is true or false, not 1"),
        ({"inputs": [], "id": "i" * 201}, "length <= 200"),
        (b'{"inputs": ' + b"[" * 100_000, "the body is not an inference request"),
        (b'{"inputs": [], "else": ' + b"[" * 100_000, "the body is not an inference request"),
        (
            b'{"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": ' + b"[" * 60 + b"]" * 60 + b"}]}",
            "60 deep",
        ),
        (b" " * 100_000, "the body is not an inference request"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(body: Any, said: str) -> None:
    assert said in refused(body)


@pytest.mark.parametrize(
    "twice",
    [
        b'{"inputs": [], "inputs": []}',
        b'{"id": "a:b", "inputs": [], "id": "c"}',
        b'{"inputs": [], "\\u0069nputs": []}',
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1], "data": [2]}]}',
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": [":"], "data": ["::"]}]}',
        b'{"inputs": [{"name": "a\\u003a", "shape": [1], "shape": [1], "datatype": "FP64", "data": [1]}]}',
        b'{"inputs": [], "parameters": {"a": 1, "a": 2}}',
        b'{"inputs": [], "outputs": [{"name": "a", "name": "b"}]}',
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [NaN], "data": [2]}]}',
        b'{"inputs": [{"name": "x", "shape": [999], "datatype": "FP64", "data": ['
        + b"1," * 998
        + b'1]}], "id": "", "id": ""}',
        b'{"pad": "' + b"." * 5000 + b'", "inputs": [], "inputs": []}',
    ],
)
def test_a_key_given_twice_is_refused(twice: bytes) -> None:
    assert "is there twice" in refused(twice)


def test_colons_in_texts_and_unknown_keys_are_no_keys_twice() -> None:
    body = read(
        one("BYTES", ["2013-03-01T20:00", "a:b"], name="a:b", parameters={"more": {"x": 1}, "content_type": "a:b"}),
        id="flights-2013-03-01T20:00",
        unknown={"a": {"b": [{"a": 1}]}},
        parameters={"at": "2013-03-01T20:00:00Z"},
        outputs=[{"name": "late"}, {"name": "y", "parameters": {"binary_data": True}}],
    )
    assert body.id == "flights-2013-03-01T20:00"
    assert body.outputs == [Wanted("late"), Wanted("y", binary=True)]
    assert body.inputs[0].data.tolist() == ["2013-03-01T20:00", "a:b"]
    assert read(one("FP64", [1.0]), id="a:b", outputs=None, parameters=None).outputs is None


def test_outputs_are_wanted_in_binary_one_by_one_or_all() -> None:
    outputs = [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False}}]
    body = read(outputs=outputs, parameters={"binary_data_output": True})
    assert body.outputs == [Wanted("a", binary=True), Wanted("b")]
    assert body.binary
    assert read(outputs=[]).outputs is None


def binary(size: Any, raw: bytes, datatype: str = "FP64", shape: list[int] | None = None) -> tuple[bytes, int]:
    parameters = {} if size is None else {"binary_data_size": size}
    head = {"inputs": [{"name": "x", "shape": shape or [2], "datatype": datatype, "parameters": parameters}]}
    text = json.dumps(head).encode()
    return text + raw, len(text)


def test_binary_tensors_are_views_of_the_body_beside_tensors_in_json() -> None:
    numbers, texts = np.array([[1.5, -2.0]]), struct.pack("<I", 2) + b"\xff:" + struct.pack("<I", 0)
    tensors = [
        {"name": "a", "shape": [1, 2], "datatype": "FP64", "parameters": {"binary_data_size": 16}},
        one("INT32", [7], name="b"),
        {"name": "c", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(texts)}},
    ]
    head = json.dumps({"inputs": tensors, "id": "r"}).encode()
    body = read_binary(head + numbers.tobytes() + texts, header=len(head))
    assert body.id == "r"
    first, second, third = body.inputs
    assert first.data.tolist() == numbers.tolist()
    assert not first.data.flags.owndata
    assert second.data.tolist() == [7]
    assert third.data.tolist() == [b"\xff:", b""]
    assert to_raw(third) == texts
    assert to_raw(Tensor("t", "BYTES", (1,), np.array(["é"], object))) == struct.pack("<I", 2) + "é".encode()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (binary(16, b"x" * 15), "binary_data_size is 16, but only 15 bytes are left"),
        (binary(16, b"x" * 17), "1 bytes of the body belong to no input"),
        (binary(8, b"x" * 8), "input 'x': shape [2] of FP64 asks for 16 bytes, there are 8"),
        (binary(-1, b""), "binary_data_size is -1"),
        (binary(True, b"x"), "binary_data_size is True"),
        (binary("16", b"x"), "binary_data_size is '16'"),
        (binary(2**70, b"x"), "but only 1 bytes are left"),
        (binary(None, b""), "input 'x' has no data"),
        (binary(8, b"\0" * 8, shape=[2**62, 2**62]), "asks for"),
        (binary(0, b"", shape=[0, 2**62]), "input 'x': shape"),
        (binary(2, b"\0\2", "BOOL"), "a byte is neither 0 nor 1"),
        (binary(8, b"\0" * 8, "BF16"), "datatype 'BF16' is not one of"),
        (binary(8, struct.pack("<I", 5) + b"abcd", "BYTES", [1]), "element 0 ends after the 8 bytes"),
        (binary(9, struct.pack("<I", 4) + b"abcd\0", "BYTES", [1]), "1 bytes are left over after 1 elements"),
        (binary(8, struct.pack("<I", 4) + b"abcd", "BYTES", [2]), "element 1 ends after"),
        (binary(8, b"\xff" * 8, "BYTES", [1]), "element 0 ends after"),
        (binary(8, b"\0" * 8, "BYTES", [2**40]), "elements take 4398046511104 bytes at least, there are 8"),
    ],
)
def test_binary_that_disagrees_with_its_header_is_refused(made: tuple[bytes, int], said: str) -> None:
    with pytest.raises(RequestInvalid) as error:
        read_binary(made[0], header=made[1])
    assert said in str(error.value)


@pytest.mark.parametrize("header", [0, -1, 10**9])
def test_a_header_length_beyond_the_body_is_refused(header: int) -> None:
    with pytest.raises(RequestInvalid, match="Inference-Header-Content-Length"):
        read_binary(b"{}", header=header)


def test_both_data_and_binary_is_refused() -> None:
    head = json.dumps({"inputs": [one("FP64", [1.0], parameters={"binary_data_size": 8})]}).encode()
    with pytest.raises(RequestInvalid, match="has data and binary_data_size"):
        read_binary(head + b"\0" * 8, header=len(head))


def test_a_reader_takes_any_order_of_forms() -> None:
    reader = JsonReader()
    floats = json.dumps({"inputs": [one("FP64", [[1.0, None]], [1, 2])]}).encode()
    mixed = json.dumps({"inputs": [one("FP64", [1.5]), one("INT64", [2**60 + 1])]}).encode()
    for body in (floats, mixed, floats, floats, mixed):
        inputs = reader.read(body).inputs
        assert inputs[-1].data.ravel().tolist()[0] == (1.0 if body is floats else 2**60 + 1)
