"""Malformed requests, a few thousand of them: never a fault of ours, never a log entry that is not an answer.

Behind the door stand the real reader and the real encoding of columns, with a service that derives.
"""

import random
from typing import Any

import msgspec
import numpy as np
import polars as pl
from tests.unit.serving.fakes import NOW, PLANES, SIGNATURE, Around, body_of

from kedge.domain.features import FeatureService
from kedge.features.online import OnlineReader, write_types
from kedge.storage.online import MemoryOnline

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2.5, 1e308, -1e308, 2**53, 2**63, 2**64, 2**70, -(2**63), "", "x", "AA", "\u0000", "\ud7ff",
    "é" * 50, "NaN", "2013-01-01", [], [1], [[1]], {}, {"a": 1}, "9" * 400,
]  # fmt: skip
NAMES = ["tailnum", "distance", "hour", "carrier", "night", "note", "flight_id", "input", "", "unknown", 7, None]
DATATYPES = ["FP64", "FP32", "FP16", "INT64", "INT8", "UINT64", "UINT8", "BOOL", "BYTES", "", "fp64", None, 3]
SHAPES = [[2], [2, 1], [1], [0], [2, 2], [], [-1], [2**40], [2**40, 2**40], [1, 2], [2.0], "2", None, [None], [[2]]]
LITERALS = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b'"\\ud800"', b"\xff", b"1" * 400, b"-", b"[", b"]", b"}", b"\x00"]


class Service(OnlineReader):
    """The real reader over an empty store that knows the columns' types."""

    def __init__(self) -> None:
        def derive(frame: pl.DataFrame) -> pl.DataFrame:
            return frame.with_columns(
                late=pl.col("hour") + pl.col("at__").dt.hour(), longer=pl.col("note").str.len_chars() + pl.col("hour")
            )

        store = MemoryOnline()
        service = FeatureService(
            name="delay",
            request=("distance", "hour", "carrier", "night", "note"),
            views=(PLANES,),
            derive=derive,
            derived=("late", "longer"),
            drop=("note",),
        )
        names = {"distance": pl.Float64(), "hour": pl.Int64(), "carrier": pl.String(), "night": pl.Boolean()}
        write_types(store, service, schema={**names, "note": pl.String(), "planes__age": pl.Float64()}, at=NOW)
        super().__init__(service, store)


def there(matrix: Any) -> Any:
    """Answer each row with the share of its inputs that are there."""
    assert matrix.shape[1] == len(SIGNATURE.inputs)
    return np.isfinite(matrix).mean(axis=1)


def spoilt(random_: random.Random) -> bytes:
    """Spoil a good request in one to three places."""
    body: Any = body_of(2)
    body["id"] = f"r{random_.random()}"
    for _ in range(random_.randint(1, 3)):
        where = random_.random()
        tensors = body.get("inputs") if isinstance(body, dict) else None
        if where < 0.1 or not isinstance(tensors, list) or not tensors or not all(isinstance(t, dict) for t in tensors):
            key = random_.choice(["id", "inputs", "outputs", "parameters", "else"])
            if isinstance(body, dict):
                body[key] = random_.choice(VALUES)
            continue
        each = random_.choice(tensors)
        match random_.randrange(7):
            case 0:
                each["name"] = random_.choice(NAMES)
            case 1:
                each["datatype"] = random_.choice(DATATYPES)
            case 2:
                each["shape"] = random_.choice(SHAPES)
            case 3:
                each["data"] = random_.choices(VALUES, k=random_.choice([0, 1, 2, 2, 2, 3]))
            case 4:
                each["data"] = [random_.choices(VALUES, k=random_.randint(0, 2)) for _ in range(2)]
            case 5:
                each.pop(random_.choice(list(each)), None)
            case 6:
                tensors.append(dict(random_.choice(tensors)))
    data = msgspec.json.encode(body)
    if random_.random() < 0.3:
        place = random_.randrange(len(data))
        data = data[:place] + random_.choice(LITERALS) + data[place + random_.randint(0, 4) :]
    if random_.random() < 0.05:
        data = data[: random_.randrange(len(data))]
    return data


def test_no_malformed_request_is_a_fault_of_ours() -> None:
    around = Around().deployed()
    around.plane._reader, around.evaluation.answers[1] = Service(), there
    assert around.infer(body_of(2)).output("late") == [0.8, 0.8]
    random_, seen = random.Random(7), {}
    for _ in range(4000):
        body = spoilt(random_)
        answer = around.infer(body)
        seen[answer.status] = seen.get(answer.status, 0) + 1
        assert answer.status in (200, 400, 422), (answer.status, body, answer.body)
        assert answer.status == 200 or list(answer.json) == ["error"]
    assert len(around.logged()) == seen[200] + 1 - around.plane.metrics.repeated.value
    assert seen[400] > 2000
    assert seen[200] > 50
