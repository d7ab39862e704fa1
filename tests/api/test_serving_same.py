"""One question asked in every form over both doors, of the real host: the same answer, and the same words of refusal."""

import asyncio
import json
from typing import Any

import grpc
import numpy as np
import pytest
from tests.unit.serving.fakes import Around, body_of, tensor
from tritonclient.grpc import service_pb2, service_pb2_grpc

from kedge.serving.grpc.door import GrpcDoor
from kedge.serving.wire.binary import to_raw
from kedge.serving.wire.datatypes import DTYPES
from kedge.serving.wire.decoding import JsonReader

FIELDS = {"FP64": "fp64_contents", "INT64": "int64_contents", "BYTES": "bytes_contents", "BOOL": "bool_contents"}


async def over_http(around: Around, path: str, body: bytes, **headers: str) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": given, "client": None}
    await around.app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def binary(body: dict[str, Any]) -> tuple[bytes, int]:
    parts, inputs = [], []
    for each, read in zip(body["inputs"], JsonReader().read(json.dumps(body).encode()).inputs, strict=True):
        parts.append(to_raw(read))
        said = {key: value for key, value in each.items() if key != "data"}
        inputs.append({**said, "parameters": {"binary_data_size": len(parts[-1])}})
    head = json.dumps({**body, "inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return b"".join([head, *parts]), len(head)


def message(body: dict[str, Any], *, raw: bool) -> Any:
    request = service_pb2.ModelInferRequest(model_name="flights", id=body["id"])
    for output in body.get("outputs", ()):
        request.outputs.add(name=output["name"])
    for each, read in zip(body["inputs"], JsonReader().read(json.dumps(body).encode()).inputs, strict=True):
        one = request.inputs.add(name=each["name"], datatype=each["datatype"], shape=each["shape"])
        if raw:
            request.raw_input_contents.append(to_raw(read))
        else:
            values = [each.encode() if isinstance(each, str) else each for each in read.data.ravel().tolist()]
            getattr(one.contents, FIELDS[each["datatype"]]).extend(values)
    return request


def of_message(answer: Any) -> dict[str, list[Any]]:
    out: dict[str, list[Any]] = {}
    for place, output in enumerate(answer.outputs):
        if answer.raw_output_contents:
            raw = answer.raw_output_contents[place]
            out[output.name] = np.frombuffer(raw, DTYPES[output.datatype]).tolist()
        else:
            out[output.name] = list(getattr(output.contents, FIELDS[output.datatype]))
    return out


async def everywhere(around: Around, body: dict[str, Any]) -> list[Any]:
    """Ask in five forms; give outputs, or the words of the refusal."""
    told: list[Any] = []
    status, _, plain = await over_http(around, "/v2/models/flights/infer", json.dumps({**body, "id": "json"}).encode())
    said = json.loads(plain)
    told.append({o["name"]: o["data"] for o in said["outputs"]} if status == 200 else said["error"])

    data, header = binary({**body, "id": "binary"})
    headers = {"inference_header_content_length": str(header)}
    status, back, plain = await over_http(around, "/v2/models/flights/infer", data, **headers)
    if status == 200:
        at, out = int(back[b"inference-header-content-length"]), {}
        for output in json.loads(plain[:at])["outputs"]:
            size = output["parameters"]["binary_data_size"]
            out[output["name"]] = np.frombuffer(
                plain[at : at + size], output["datatype"].lower().replace("fp", "float")
            ).tolist()
            at += size
        told.append(out)
    else:
        told.append(json.loads(plain)["error"])

    door = GrpcDoor(around.host)
    port = await door.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for raw in (True, False):
            try:
                answer = await service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(
                    message({**body, "id": f"grpc{raw}"}, raw=raw)
                )
                told.append(of_message(answer))
            except grpc.aio.AioRpcError as error:
                told.append(error.details())
    await door.stop(1)
    return told


@pytest.mark.parametrize(
    "body",
    [
        body_of(3),
        body_of(1, outputs=[{"name": "late"}]),
        body_of(2, hour=tensor("hour", "FP64", [3.0, float("nan")])),
        body_of(2, hour=tensor("hour", "FP64", [3.5, 4.0])),
        body_of(2, hour=None),
        body_of(2, more=tensor("more", "FP64", [1.0, 2.0])),
        body_of(2, night=tensor("night", "BYTES", ["x", "y"])),
        body_of(2, distance=tensor("distance", "FP64", [1.0])),
        body_of(2, outputs=[{"name": "unknown"}]),
        {**body_of(2), "inputs": body_of(2)["inputs"] * 2},
        {**body_of(2), "inputs": []},
    ],
)
def test_the_same_answer_in_every_form(body: dict[str, Any]) -> None:
    around = Around().deployed(1)
    told = asyncio.run(everywhere(around, {"id": "", **body}))
    assert told == [told[0]] * 4
    records = around.logged()
    assert len(records) == (4 if isinstance(told[0], dict) else 0)
    assert all(record.features == records[0].features for record in records)


def test_the_same_answer_for_rows() -> None:
    around = Around().deployed(1)
    body = body_of(2)
    names = [each["name"] for each in body["inputs"]]
    rows = [{name: each["data"][row] for name, each in zip(names, body["inputs"], strict=True)} for row in range(2)]
    csv = "\n".join([",".join(names), *(",".join(str(value) for value in row.values()) for row in rows)]).encode()

    async def play() -> list[Any]:
        told = [await over_http(around, "/v1/models/flights:predict", json.dumps({"rows": rows, "id": "rows"}).encode())]
        told.append(await over_http(around, "/invocations", json.dumps({"dataframe_records": rows}).encode()))
        told.append(await over_http(around, "/invocations", csv, content_type="text/csv"))
        return [json.loads(each[2]) for each in told]

    people, *servers = asyncio.run(play())
    assert people["rows"] == [{"late": 0.1, "version": 1, "prediction_id": f"rows.{row}"} for row in range(2)]
    assert servers == [{"predictions": [0.1, 0.1]}] * 2
    records = around.logged()
    assert len(records) == 3
    assert all(record.features == records[0].features for record in records)
