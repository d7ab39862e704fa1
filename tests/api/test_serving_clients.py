"""Both doors in a process of their own, asked by Triton's unmodified clients: the same questions, the same answers."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tests.unit.serving.doors import ECHO, EchoHost
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from kedge.errors import PortInUse
from kedge.serving.grpc.door import GrpcDoor

ROOT = Path(__file__).parents[2]
ARRAYS = {
    "BOOL": np.array([[True, False]]),
    **{f"{sign}INT{8 << n}": np.array([[1, 100]], f"{sign.lower()}int{8 << n}") for sign in ("", "U") for n in range(4)},
    "FP16": np.array([[0.5, -2]], np.float16),
    "FP32": np.array([[0.1, -2]], np.float32),
    "FP64": np.array([[0.1, -2]]),
    "BYTES": np.array([["é".encode(), b"\xff"]], object),
}


class Ports(NamedTuple):
    process: "subprocess.Popen[str]"
    http: str
    grpc: str


def begin(folder: Path, *models: str) -> Ports:
    file = folder / "ports"
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    process = subprocess.Popen([sys.executable, "-m", "tests.unit.serving.doors", str(file), *models], env=env, text=True)
    until = time.monotonic() + 60
    while not file.exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    http, rpc = file.read_text().split()
    return Ports(process, f"127.0.0.1:{http}", f"127.0.0.1:{rpc}")


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    ports = begin(tmp_path_factory.mktemp("doors"))
    yield ports
    ports.process.terminate()
    assert ports.process.wait(30) == 0


@pytest.fixture(params=["http", "grpc"])
def kind(request: pytest.FixtureRequest, ports: Ports) -> Iterator[tuple[ModuleType, Any]]:
    module = {"http": tritonclient.http, "grpc": tritonclient.grpc}[request.param]
    client = module.InferenceServerClient(getattr(ports, request.param))
    yield module, client
    client.close()


def given(module: ModuleType, name: str, array: Any, **more: Any) -> Any:
    made = module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array, **more)
    return made


def test_a_client_learns_what_is_there(kind: tuple[ModuleType, Any]) -> None:
    module, client = kind
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flights")
    assert client.is_model_ready("flights", "2")
    as_json = {"as_json": True} if module is tritonclient.grpc else {}
    server = client.get_server_metadata(**as_json)
    assert (server["name"], server["version"], server["extensions"]) == ("kedge", "9", ["binary_tensor_data"])
    told = client.get_model_metadata("echo", "1", **as_json)
    assert (told["name"], told["versions"], told["platform"]) == ("echo", ["1"], "kedge_onnx")
    assert [int(axis) for axis in told["inputs"][0]["shape"]] == list(ECHO.inputs[0].shape)
    with pytest.raises(InferenceServerException, match="model 'other' is not served here"):
        client.get_model_metadata("other")


@pytest.mark.parametrize("datatype", ARRAYS)
def test_every_datatype_goes_in_and_out_raw(kind: tuple[ModuleType, Any], datatype: str) -> None:
    module, client = kind
    answer = client.infer("echo", [given(module, "x", ARRAYS[datatype])], request_id="r-1")
    back = answer.as_numpy("x")
    assert back.dtype == ARRAYS[datatype].dtype
    assert back.tolist() == ARRAYS[datatype].tolist()
    response = answer.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "r-1"


@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_http_in_json_and_packed(ports: Ports, packed: str | None, binary: bool) -> None:
    module = tritonclient.http
    with module.InferenceServerClient(ports.http) as client:
        inputs = [
            given(module, "distance", np.array([100.0, 250.0]), binary_data=binary),
            given(module, "carrier", np.array([b"AA", b"UA"], object), binary_data=False),
        ]
        outputs = [module.InferRequestedOutput(n, binary_data=binary) for n in ("prediction_id", "late")]
        answer = client.infer(
            "flights", inputs, outputs=outputs, request_id="p", timeout=5_000_000, request_compression_algorithm=packed,
            response_compression_algorithm=packed, parameters={"custom": "kept"},
        )  # fmt: skip
        assert answer.as_numpy("late").tolist() == [0.1, 0.25]
        ids = [each.decode() if isinstance(each, bytes) else each for each in answer.as_numpy("prediction_id")]
        assert ids == ["p.0", "p.1"]
        assert [each["name"] for each in answer.get_response()["outputs"]] == ["prediction_id", "late"]


def test_many_at_once_get_their_own_answers(ports: Ports) -> None:
    with tritonclient.http.InferenceServerClient(ports.http, concurrency=8) as client:
        arrays = [np.full((1, 3), place, np.float32) for place in range(64)]
        waiting = [client.async_infer("echo", [given(tritonclient.http, "x", each)]) for each in arrays]
        assert [each.get_result().as_numpy("x")[0, 0] for each in waiting] == list(range(64))


ERRORS = {
    "refused": "FAILED_PRECONDITION",
    "overloaded": "UNAVAILABLE",
    "nothing": "UNAVAILABLE",
    "late": "DEADLINE_EXCEEDED",
    "fault": "INTERNAL",
}


@pytest.mark.parametrize("fault", ERRORS)
def test_errors_reach_both_clients_in_the_same_words(ports: Ports, fault: str) -> None:
    words = []
    for module, url in ((tritonclient.http, ports.http), (tritonclient.grpc, ports.grpc)):
        client = module.InferenceServerClient(url)
        with pytest.raises(InferenceServerException) as error:
            client.infer("echo", [given(module, "x", np.zeros((1, 3), np.float32))], parameters={"raise": fault})
        words.append(error.value.message())
        if module is tritonclient.grpc:
            assert error.value.status() == f"StatusCode.{ERRORS[fault]}"
        client.close()
    assert words[0] == words[1] or (fault == "fault" and all("its log names it" in each for each in words))


@pytest.mark.parametrize("datatype", [name for name in ARRAYS if name != "FP16"])
def test_typed_contents_go_in_and_out(ports: Ports, datatype: str) -> None:
    fields = {"BOOL": "bool", "INT64": "int64", "UINT64": "uint64", "FP32": "fp32", "FP64": "fp64", "BYTES": "bytes"}
    field = f"{fields.get(datatype, 'uint' if datatype[0] == 'U' else 'int')}_contents"
    request = service_pb2.ModelInferRequest(model_name="echo", id="t")
    one = request.inputs.add(name="x", datatype=datatype, shape=[1, 2])
    getattr(one.contents, field).extend(ARRAYS[datatype].ravel().tolist())
    with grpc.insecure_channel(ports.grpc) as channel:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert (answer.id, answer.model_version, list(answer.outputs[0].shape)) == ("t", "1", [1, 2])
    assert list(getattr(answer.outputs[0].contents, field)) == ARRAYS[datatype].ravel().tolist()
    assert not answer.raw_output_contents


def request_of(**more: Any) -> Any:
    fields = {"name": "x", "datatype": "INT8", "shape": [2], "contents": {"int_contents": [1, 2]}, **more}
    raws = fields.pop("raws", ())
    outputs = fields.pop("outputs", ())
    top = {name: fields.pop(name) for name in ("model_name", "model_version", "id", "parameters") if name in fields}
    return service_pb2.ModelInferRequest(
        **{"model_name": "echo", **top}, inputs=[fields], raw_input_contents=raws, outputs=outputs
    )


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        (request_of(contents={"int_contents": [1, 200]}), "INVALID_ARGUMENT", "input 'x' (INT8): an element is not a whole"),
        (request_of(contents={"int_contents": [1]}), "INVALID_ARGUMENT", "shape [2] asks for 2 values, int_contents has 1"),
        (request_of(contents={"fp32_contents": [1]}), "INVALID_ARGUMENT", "has fp32_contents; expected int_contents"),
        (request_of(shape=[-1]), "INVALID_ARGUMENT", "input 'x': shape [-1]"),
        (request_of(shape=[]), "INVALID_ARGUMENT", "input 'x': shape []"),
        (request_of(shape=[2**62, 2**62]), "INVALID_ARGUMENT", "asks for 21267647932558653966460912964485513216 values"),
        (request_of(datatype="BF16"), "INVALID_ARGUMENT", "datatype 'BF16' is not one of"),
        (request_of(datatype="FP16"), "INVALID_ARGUMENT", "FP16 has no typed contents"),
        (request_of(raws=[b"ab"]), "INVALID_ARGUMENT", "has contents beside raw_input_contents"),
        (request_of(raws=[b"ab", b"c"]), "INVALID_ARGUMENT", "raw_input_contents has 2 entries for 1 inputs"),
        (request_of(contents=None, raws=[b"abc"]), "INVALID_ARGUMENT", "asks for 2 bytes, there are 3"),
        (request_of(parameters={"a": {}}), "INVALID_ARGUMENT", "parameter 'a' has no value"),
        (request_of(id="i" * 201), "INVALID_ARGUMENT", "id has more than 200 characters"),
        (request_of(outputs=[{"name": "y"}]), "INVALID_ARGUMENT", "unknown output y; there are x"),
        (request_of(model_name="other"), "NOT_FOUND", "model 'other' is not served here"),
        (request_of(model_version="9"), "NOT_FOUND", "version 9 of 'echo' is not served"),
        (request_of(model_version="x"), "NOT_FOUND", "there is no version 'x'"),
    ],
)
def test_bad_calls_are_refused_with_their_place(ports: Ports, request_: Any, code: str, said: str) -> None:
    with grpc.insecure_channel(ports.grpc) as channel, pytest.raises(grpc.RpcError) as error:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request_)
    assert error.value.code().name == code
    assert said in error.value.details()


def test_a_message_beyond_the_limit_is_refused(ports: Ports) -> None:
    with grpc.insecure_channel(ports.grpc) as channel, pytest.raises(grpc.RpcError) as error:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request_of(raws=[b" " * (17 << 20)]))
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_deadline_travels_and_a_cancelled_call_is_cancelled() -> None:
    async def play() -> None:
        host = EchoHost()
        door = GrpcDoor(host, token="t")
        port = await door.start("127.0.0.1", 0)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            assert (await stub.ServerReady(service_pb2.ServerReadyRequest())).ready
            with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
                await stub.ModelReady(service_pb2.ModelReadyRequest(name="echo"))
            metadata = (("authorization", "Bearer t"), ("kedge-variant", "challenger"), ("kedge-entity", "N1"))
            slow = request_of(parameters={"raise": {"string_param": "later"}})
            with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
                await stub.ModelInfer(slow, metadata=metadata, timeout=0.2)
            asked = host.asked[-1]
            assert (asked.variant, asked.entity) == ("challenger", "N1")
            assert asked.deadline is not None
            await asyncio.sleep(0.5)
            assert host.cancelled == 1
            host.is_ready = False
            assert not (await stub.ModelReady(service_pb2.ModelReadyRequest(name="echo"), metadata=metadata)).ready
            last = asyncio.create_task(_ask(stub, slow, metadata))
            await asyncio.sleep(0.1)
            await door.stop(5)  # what is in flight is finished
            assert (await last).outputs[0].name == "x"

    asyncio.run(play())


async def _ask(stub: Any, request: Any, metadata: Any) -> Any:
    return await stub.ModelInfer(request, metadata=metadata)


def test_a_taken_port_is_told(ports: Ports) -> None:
    async def play() -> None:
        door = GrpcDoor(EchoHost())
        with pytest.raises(PortInUse, match="choose another with --grpc-port"):
            await door.start("127.0.0.1", int(ports.http.partition(":")[2]))
        await door.stop(0)

    asyncio.run(play())


def test_sigterm_finishes_what_both_doors_have_begun(tmp_path: Path) -> None:
    ports, answers = begin(tmp_path), []

    def ask(module: ModuleType, url: str) -> None:
        client = module.InferenceServerClient(url)
        inputs = [given(module, "x", np.zeros((1, 3), np.float32))]
        answers.append(client.infer("echo", inputs, parameters={"raise": "later"}).as_numpy("x").shape)
        client.close()

    asking = [
        threading.Thread(target=ask, args=args)
        for args in ((tritonclient.http, ports.http), (tritonclient.grpc, ports.grpc))
    ]
    for each in asking:
        each.start()
    time.sleep(0.2)
    ports.process.terminate()
    for each in asking:
        each.join()
    assert answers == [(1, 3), (1, 3)]
    assert ports.process.wait(30) == 0
