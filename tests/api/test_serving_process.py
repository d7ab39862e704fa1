"""The data plane as a process, with the real client: signals, kills, a taken port, hostile wire."""

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.unit.serving.doors import EchoHost
from tests.unit.serving.process import house_of
from tritonclient.grpc import InferenceServerClient

from kedge.client.inference import InferenceClient
from kedge.domain.ids import split_prediction_id
from kedge.domain.records import decode_batch
from kedge.errors import ConfigError, KedgeError, NotFound, PortInUse, RequestInvalid
from kedge.serving.grpc import open_door
from kedge.serving.listening import require_free
from kedge.serving.server import serve
from kedge.storage.journal import FileJournal

ROOT = Path(__file__).parents[2]
Started = tuple[subprocess.Popen[str], str]
COLUMNS = {
    "tailnum": ["N1", None],
    "distance": [100.5, float("nan")],
    "hour": [3, None],
    "carrier": ["AA", "UA"],
    "night": [True, False],
    "note": ["", "x"],
    "flight_id": ["F1", "F2"],
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    processes: list[subprocess.Popen[str]] = []

    def begin(*words: str, port: int = 0) -> Started:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.serving.process", str(tmp_path), str(port), *words],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": ""},
        )
        processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        return process, line[line.index("http://") :].strip()

    yield begin
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def logged(folder: Path) -> list[str]:
    return [decode_batch(payload).request for _, payload in FileJournal(folder, "reader").scan()]


def test_the_client_asks_and_a_kill_loses_nothing_that_was_answered(start: Callable[..., Started], tmp_path: Path) -> None:
    process, url = start()
    with InferenceClient(url) as client:
        assert client.ready()
        assert client.metadata("flights")["name"] == "flights"
        assert client.refresh("flights") == 1
        answer = client.infer("flights", COLUMNS, id="r1")
        assert (answer.outputs, answer.revision, answer.logged) == ({"late": [0.1, 0.1], "version": [1, 1]}, 1, True)
        assert answer.prediction_ids() == ["r1.0", "r1.1"]
        assert split_prediction_id(answer.prediction_ids()[1]) == ("r1", 1)
        asked = ["r1", *(client.infer("flights", COLUMNS).request for _ in range(50))]
        with pytest.raises(RequestInvalid, match="missing input"):
            client.infer("flights", {"hour": [1]})
        with pytest.raises(NotFound, match="is not served here"):
            client.infer("other/one", COLUMNS)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not client.ready()
    assert logged(tmp_path) == asked


def test_a_client_outlives_the_server_it_asks(start: Callable[..., Started], tmp_path: Path) -> None:
    process, url = start()
    port = int(url.rpartition(":")[2])
    client = InferenceClient(url, pause=lambda seconds: time.sleep(10 * seconds))  # a busy machine starts slowly
    first = client.infer("flights", COLUMNS, id="r1")
    process.kill()
    process.wait()
    begun = threading.Timer(0.3, lambda: start(port=port))
    begun.start()
    assert client.infer("flights", COLUMNS, id="r1") == first
    begun.join()
    assert logged(tmp_path) == ["r1", "r1"], "its readers count the first"


@pytest.mark.parametrize("before", [[], ["first"]])  # the second request goes the short way
def test_sigterm_finishes_what_is_in_flight(start: Callable[..., Started], tmp_path: Path, before: list[str]) -> None:
    process, url = start("slow")
    client, answers = InferenceClient(url), [InferenceClient(url).infer("flights", COLUMNS, id=each) for each in before]
    asking = threading.Thread(target=lambda: answers.append(client.infer("flights", COLUMNS, id="last")))
    asking.start()
    time.sleep(0.15)
    process.send_signal(signal.SIGTERM)
    asking.join()
    assert process.wait(10) == 0
    assert process.stdout is not None
    assert process.stdout.read() == "drained\n"
    assert len(answers) == len(before) + 1
    assert logged(tmp_path) == [*before, "last"]


def test_the_grpc_door_opens_and_drains_with_the_process(start: Callable[..., Started]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process, _ = start(f"grpc_port={port}")
    with InferenceServerClient(f"127.0.0.1:{port}") as client:
        assert client.is_model_ready("flights")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_taken_grpc_port_is_told_even_where_its_holder_would_share(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match="choose another with --grpc-port"):
            require_free("127.0.0.1", port)
        with pytest.raises(PortInUse, match="choose another with --grpc-port"):
            asyncio.run(_grpc_on(port))
    require_free("127.0.0.1", port)


async def _grpc_on(port: int) -> None:
    door = open_door(EchoHost(), token=None, version="9", body_limit=1000)
    try:
        await door.start("127.0.0.1", port)
    finally:
        await door.stop(0)


def test_a_page_of_another_site_gets_no_answer_from_a_local_server(start: Callable[..., Started], tmp_path: Path) -> None:
    _, url = start()
    body = msgspec.json.encode({"rows": [{name: each[0] for name, each in COLUMNS.items()}]})
    path = "/v1/models/flights:predict"
    home = url.removeprefix("http://")
    for headers, status in (
        ({}, 200),
        ({"host": "evil.example:8500"}, 421),
        ({"host": f"localhost:{home.rpartition(':')[2]}"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": f"http://{home}"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({}, 200),
    ):
        answered = httpx.post(url + path, content=body, headers={"content-type": "application/json", **headers})
        assert (headers, answered.status_code) == (headers, status)
    assert len(logged(tmp_path)) == 4


def test_a_taken_port_and_an_open_host_are_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortInUse, match="choose another with --port"):
        serve(house_of(tmp_path), port=taken.getsockname()[1])
    for host in ("0.0.0.0", "example.org", "::"):
        with pytest.raises(ConfigError, match="with a token"):
            serve(house_of(tmp_path), host=host)
    with pytest.raises(ConfigError, match="cannot listen on 203"):
        serve(house_of(tmp_path), host="203.0.113.1", token="t")


def exchange(url: str, data: bytes, *, end: bool = True) -> bytes:
    host, _, port = url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as wire:
        wire.sendall(data)
        if end:
            wire.shutdown(socket.SHUT_WR)
        answer = b""
        while part := wire.recv(65536):
            answer += part
        return answer


def test_no_second_request_is_smuggled_and_no_long_body_read(start: Callable[..., Started]) -> None:
    _, url = start()
    head = b"POST /v2/models/flights/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    hidden = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    both = head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden
    assert b"live" not in exchange(url, both)
    assert exchange(url, head + b"Content-Length: 99999999\r\n\r\n{").startswith(b"HTTP/1.1 413")
    assert exchange(url, head + b"Content-Length: -1\r\n\r\n").startswith(b"HTTP/1.1 400")
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n"
    assert b'{"error":' in exchange(url, chunked)
    closing = hidden.replace(b"localhost\r\n", b"localhost\r\nConnection: close\r\n")
    assert exchange(url, hidden + closing, end=False).count(b'{"live":true}') == 2
    with pytest.raises(KedgeError, match="HTTP 404"):
        InferenceClient(url + "/prefix").metadata("flights")


def test_what_is_imported_before_a_fork_starts_no_thread() -> None:
    look = "import kedge.cli.serve as s; s.pin_threads(1); s._import_what_workers_need(); import os, sys;"
    look += " print(len(os.listdir('/proc/self/task')), 'polars' in sys.modules, 'sklearn' in sys.modules)"
    env = {"PYTHONPATH": str(ROOT / "src"), "PATH": ""}
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, env=env)
    assert told.stdout.split() == ["1", "False", "False"]
