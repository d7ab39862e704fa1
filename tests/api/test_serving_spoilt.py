"""Ten thousand spoilt requests over HTTP and a thousand over gRPC: never a fault of ours, nothing left in memory."""

import http.client
import random
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import msgspec
import pytest
from tests.api.test_serving_clients import Ports, begin
from tests.api.test_serving_wire import alive, memory
from tests.unit.serving.spoiling import spoilt
from tritonclient.grpc import service_pb2


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    ports = begin(tmp_path_factory.mktemp("spoilt"))
    yield ports
    ports.process.terminate()
    assert ports.process.wait(30) == 0


def test_ten_thousand_spoilt_requests_leave_no_trace(ports: Ports) -> None:
    alive(ports)
    faults: list[Any] = []
    statuses: set[int] = set()

    def ask(seed: int, count: int) -> None:
        chance = random.Random(seed)
        connection = http.client.HTTPConnection(ports.http, timeout=20)
        for _ in range(count):
            request = spoilt(chance)
            connection.request(request.method, request.path, request.body, request.headers)
            answer = connection.getresponse()
            body = answer.read()
            statuses.add(answer.status)
            refused = answer.status != 200 and request.method != "HEAD"
            if answer.status == 500 or (refused and list(msgspec.json.decode(body)) != ["error"]):
                faults.append((answer.status, body, request))
        connection.close()

    ask(1, 1000)
    before = memory(ports)
    callers = [threading.Thread(target=ask, args=(seed, 3000)) for seed in (2, 3, 4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert faults == []
    assert statuses >= {200, 400, 404, 405, 415}
    assert memory(ports) - before < 32
    alive(ports)


def test_spoilt_messages_over_grpc_are_refused(ports: Ports) -> None:
    chance = random.Random(5)
    good = service_pb2.ModelInferRequest(model_name="echo", id="g", raw_input_contents=[b"\0" * 12])
    good.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    raw, codes = good.SerializeToString(), set()
    with grpc.insecure_channel(ports.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for _ in range(1000):
            spoilt = bytearray(raw)
            for _ in range(chance.randint(1, 3)):
                spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
            try:
                call(bytes(spoilt[: chance.choice([len(raw)] * 3 + [chance.randrange(len(raw))])]))
            except grpc.RpcError as error:
                codes.add(error.code().name)  # type: ignore[attr-defined]
        assert codes <= {"INVALID_ARGUMENT", "NOT_FOUND"}
        answer = service_pb2.ModelInferResponse.FromString(call(raw))
        assert (answer.id, list(answer.outputs[0].shape)) == ("g", [1, 3])
