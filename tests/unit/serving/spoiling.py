"""Requests that are spoilt in one place or more, from a seed: bytes that a server must refuse or answer, and outlive."""

import copy
import gzip
import random
from typing import Any, NamedTuple

import msgspec
from tests.unit.serving.doors import flights

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2.5, 1e308, -1e308, 2**53, 2**63, 2**64, -(2**63), "", "x", "AA", "\u0000",
    "é" * 50, "NaN", "2013-01-01", [], [1], [[1]], [[1, 2], [3]], {}, {"a": 1}, "9" * 400, [None], [[None]],
]  # fmt: skip
NAMES = ["distance", "carrier", "x", "input", "", "unknown", 7, None]
DATATYPES = ["FP64", "FP32", "FP16", "INT64", "INT8", "UINT64", "UINT8", "BOOL", "BYTES", "", "fp64", None, 3]
SHAPES = [
    [2],
    [2, 1],
    [1],
    [0],
    [2, 2],
    [],
    [-1],
    [2**40],
    [2**40, 2**40],
    [0, 2**62],
    [1, 2],
    [2.0],
    "2",
    None,
    [None],
    [[2]],
]
LITERALS = [b"NaN", b"Infinity", b"1e999", b'"\\ud800"', b"\xff", b"1" * 400, b"-", b"[", b"]", b"}", b"\x00", b'"', b":"]
TOP = ["id", "inputs", "outputs", "parameters", "rows", "instances", "dataframe_split", "else"]
PATHS = [
    "/v2/models/flights/infer",
    "/v2/models/flights/infer",
    "/v2/models/echo/infer",
    "/v2/models/flights/versions/2/infer",
    "/v1/models/flights:predict",
    "/v1/models/flights:predict",
    "/v2/models/other/infer",
    "/v2/models/flights/versions/-1/infer",
    "/v2/models/%2e%2e/infer",
    "/v2/models/fl%69ghts/infer",
    "/invocations",
    "/%00",
    "//",
]
METHODS = ["POST"] * 12 + ["GET", "PUT", "HEAD", "OPTIONS"]
KINDS = ["application/json"] * 8 + ["text/csv", "application/octet-stream", "text/plain", ""]

SAID = {"kedge-timeout": ["1", "x", "-1"], "kedge-variant": ["champion", "x"], "kedge-entity": ["\xff"]}


class Spoilt(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def spoilt(chance: random.Random) -> Spoilt:
    """Make a request of which something is wrong, most of the time."""
    method, path = chance.choice(METHODS), chance.choice(PATHS)
    headers = {"content-type": chance.choice(KINDS)}
    document = _rows(chance) if "predict" in path or "invocations" in path else _tensors(chance)
    body = msgspec.json.encode(document)
    if headers["content-type"] == "text/csv":
        body = b"distance,carrier\n" + b"\n".join(chance.choice([b"1,AA", b"x,", b",,", b'"', b"1e999,b"]) for _ in range(3))
    if chance.random() < 0.15:
        extra = chance.randbytes(chance.choice([0, 1, 8, 16, 24]))
        headers["inference-header-content-length"] = str(chance.choice([len(body)] * 6 + [0, 1, -1, 2**40, "x"]))
        body += extra
    for _ in range(chance.choice([0, 0, 0, 1, 2])):
        body = _scratched(body, chance)
    if chance.random() < 0.05:
        headers["content-encoding"] = chance.choice(["gzip", "gzip", "deflate", "br"])
        body = gzip.compress(body) if chance.random() < 0.7 else body
    for name, values in (
        ("kedge-timeout", ["1", "x", "-1"]),
        ("kedge-variant", ["champion", "x"]),
        ("kedge-entity", ["\xff"]),
    ):
        if chance.random() < 0.03:
            headers[name] = chance.choice(values)
    return Spoilt(method, path, headers, body)


def _value(chance: random.Random) -> Any:
    return copy.deepcopy(chance.choice(VALUES))


def _tensors(chance: random.Random) -> Any:
    document: Any = flights(2, id=f"r{chance.random()}")
    for _ in range(chance.randint(0, 3)):
        if not isinstance(document, dict):
            return document
        tensors = document.get("inputs")
        where = chance.random()
        if where < 0.15 or not isinstance(tensors, list) or not tensors or not all(isinstance(t, dict) for t in tensors):
            document[chance.choice(TOP)] = _value(chance)
        elif where < 0.25:
            tensors.append(dict(chance.choice(tensors)) if where < 0.2 else _value(chance))
        elif where < 0.3:
            document = chance.choice([document["inputs"], [document], _value(chance)])
        else:
            _spoil_tensor(chance.choice(tensors), chance)
    return document


def _spoil_tensor(tensor: dict[str, Any], chance: random.Random) -> None:
    key = chance.choice(["name", "datatype", "shape", "data", "data", "parameters"])
    if key == "parameters":
        size = chance.choice([0, 1, 8, 16, 24, -1, 2**63, "8", None, True])
        tensor["parameters"] = chance.choice([{"binary_data_size": size}, {"shared_memory_region": "x"}, 1, None])
        if chance.random() < 0.8:
            tensor.pop("data", None)
    elif key == "data" and isinstance(tensor.get("data"), list) and tensor["data"] and chance.random() < 0.7:
        tensor["data"][0] = _value(chance)
    elif chance.random() < 0.1:
        tensor.pop(key, None)
    else:
        tensor[key] = chance.choice({"name": NAMES, "datatype": DATATYPES, "shape": SHAPES}.get(key, [_value(chance)]))


def _rows(chance: random.Random) -> Any:
    row = {"distance": chance.choice([_value(chance), 1.5, 2.5]), "carrier": chance.choice([_value(chance), "AA", "UA"])}
    if chance.random() < 0.2:
        row[str(chance.choice(NAMES))] = _value(chance)
    rows = chance.choice([[row], [row, row], [], row, [list(row.values())], _value(chance)])
    columns = chance.choice([list(row), ["distance"], ["distance"] * 2, _value(chance)])
    form = chance.choice(["rows", "instances", "inputs", "dataframe_records", "dataframe_split", "else"])
    said: dict[str, Any] = {form: {"columns": columns, "data": rows} if form == "dataframe_split" else rows}
    if form == "inputs" and chance.random() < 0.6:
        said = {"inputs": {name: [value] for name, value in row.items()}}
    if chance.random() < 0.1:
        said[chance.choice(TOP)] = _value(chance)
    return said


def _scratched(body: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(body) + 1)
    match chance.randrange(4):
        case 0:
            return body[:at]
        case 1:
            return body[:at] + chance.choice(LITERALS) + body[at:]
        case 2:
            return body[:at] + chance.randbytes(1) + body[at + 1 :]
        case _:
            return body.replace(b"2", chance.choice(LITERALS), 1)
