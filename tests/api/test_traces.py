"""Traced requests as a collector sees them: a real process, the real exporter, the protocol's own decoder."""

import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.unit.serving.fakes import body_of

from kedge.domain.tracing import TraceParent, read_traceparent
from kedge.serving.grpc.messages import SERVICE, message

ROOT = Path(__file__).parents[2]
OWN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Take what an exporter sends."""
    spans: list[Any] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            for each in sent.resource_spans:
                spans.extend((each.resource, span) for scope in each.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    server.shutdown()
    server.server_close()


def asked_by_grpc(folder: Path, endpoint: str, *, request: Any, headers: dict[str, str]) -> str:
    """Ask a traced data plane once over gRPC, and have it drain; give the status that it answered with."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.serving.process", str(folder), "0", f"traces={endpoint}", f"grpc_port={port}"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": ""},
    )
    assert process.stdout is not None
    process.stdout.readline()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message("ModelInferResponse").FromString,
        )
        try:
            answer = infer(request, metadata=[*headers.items()], timeout=20)
            said = answer.id
        except grpc.RpcError as error:
            said = error.code().name
    process.terminate()
    assert process.wait(20) == 0
    process.stdout.close()
    return said


def asked(folder: Path, endpoint: str, *words: str, headers: dict[str, str]) -> None:
    """Ask a traced data plane once, and have it drain, which sends what waits."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.serving.process", str(folder), "0", f"traces={endpoint}", *words],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": ""},
    )
    assert process.stdout is not None
    port = int(process.stdout.readline().strip().rpartition(":")[2])
    wire = http.client.HTTPConnection("127.0.0.1", port)
    wire.request("POST", "/v2/models/flights/infer", json.dumps(body_of(2)), {"content-type": "application/json", **headers})
    answer = wire.getresponse()
    assert (answer.status, json.loads(answer.read())["id"]) == (200, "r1")
    wire.close()
    process.terminate()
    assert process.wait(20) == 0
    process.stdout.close()


def test_a_callers_trace_goes_on_with_the_stages_as_children(tmp_path: Path) -> None:
    with collector() as (endpoint, spans):
        asked(tmp_path, endpoint, headers={"traceparent": f"00-{OWN[0]}-{OWN[1]}-01"})
    resource, root = next(each for each in spans if each[1].name.startswith("POST"))
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == OWN
    assert {each.key: each.value.string_value for each in resource.attributes}["service.name"] == "kedge"
    said = {each.key: each.value.string_value or each.value.int_value for each in root.attributes}
    assert said["http.response.status_code"] == 200
    assert (said["kedge.model"], said["kedge.version"], said["kedge.rows"]) == ("flights", "1", 2)
    children = [span for _, span in spans if span.parent_span_id == root.span_id]
    assert [span.name for span in children] == ["parse", "features", "queue", "predict", "log", "serialize"]
    assert children[0].start_time_unix_nano == root.start_time_unix_nano
    assert children[-1].end_time_unix_nano == root.end_time_unix_nano
    for before, after in pairwise(children):
        assert before.start_time_unix_nano <= before.end_time_unix_nano <= after.start_time_unix_nano + 1000


def grpc_request(rows: int) -> Any:
    """Write the request of `body_of` as a message."""
    made = message("ModelInferRequest")(model_name="flights", id="r1")
    fields = {"BYTES": "bytes_contents", "FP64": "fp64_contents", "INT64": "int64_contents", "BOOL": "bool_contents"}
    for each in body_of(rows)["inputs"]:
        into = made.inputs.add(name=each["name"], datatype=each["datatype"], shape=each["shape"])
        data = [value.encode() if isinstance(value, str) else value for value in each["data"]]
        getattr(into.contents, fields[each["datatype"]]).extend(data)
    return made


def test_a_trace_goes_on_over_grpc_and_says_how_it_ended(tmp_path: Path) -> None:
    header = {"traceparent": f"00-{OWN[0]}-{OWN[1]}-01"}
    with collector() as (endpoint, spans):
        assert asked_by_grpc(tmp_path, endpoint, request=grpc_request(2), headers=header) == "r1"
        wrong = message("ModelInferRequest")(model_name="flights")
        assert asked_by_grpc(tmp_path, endpoint, request=wrong, headers=header) == "INVALID_ARGUMENT"
    roots = [span for _, span in spans if span.name == f"{SERVICE}/ModelInfer"]
    assert {(root.trace_id.hex(), root.parent_span_id.hex()) for root in roots} == {OWN}
    said = [{each.key: each.value.string_value or each.value.int_value for each in root.attributes} for root in roots]
    assert [each["rpc.grpc.status_code"] for each in said] == [0, 3]
    assert (said[0]["kedge.model"], said[0]["kedge.version"], said[0]["kedge.rows"]) == ("flights", "1", 2)
    children = [span.name for _, span in spans if span.parent_span_id == roots[0].span_id]
    assert children == ["parse", "features", "queue", "predict", "log", "serialize"]


@pytest.mark.parametrize(("words", "told"), [(("slow", "trace_slow=0.2s"), True), (("trace_slow=60s",), False)])
def test_what_a_caller_does_not_trace_is_told_where_it_was_slow(tmp_path: Path, words: tuple[str, ...], told: bool) -> None:
    with collector() as (endpoint, spans):
        asked(tmp_path, endpoint, *words, headers={"traceparent": f"00-{OWN[0]}-{OWN[1]}-00"})
    assert bool(spans) is told


@pytest.mark.parametrize(
    "text",
    [
        *("", "00", f"00-{OWN[0]}-{OWN[1]}", f"ff-{OWN[0]}-{OWN[1]}-01", f"00-{OWN[0]}-{OWN[1]}-01-more"),
        *(f"00-{'0' * 32}-{OWN[1]}-01", f"00-{OWN[0]}-{'0' * 16}-01", f"00-{OWN[0].upper()}-{OWN[1]}-01"),
        f"00-{OWN[0]}-{OWN[1]}-1",
    ],
)
def test_what_is_no_traceparent_is_ignored(text: str) -> None:
    assert read_traceparent(text) is None


def test_a_traceparent_is_read_as_the_recommendation_says() -> None:
    wanted = TraceParent(trace_id=int(OWN[0], 16), span_id=int(OWN[1], 16), sampled=True)
    assert read_traceparent(f"00-{OWN[0]}-{OWN[1]}-01") == wanted
    assert read_traceparent(f"01-{OWN[0]}-{OWN[1]}-03-future") == wanted
