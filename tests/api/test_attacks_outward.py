"""Attacks that make the server act: call an address (SSRF), run a command, write a file, show a page of the attacker's."""

import json
import re
import socket
import threading

import pytest
from tests.api.attacked import attacked

from kedge.server.mlflow.router import NEVER

HOSTILE = "<script>alert('kedge')</script><img src=x onerror=alert(1)>\"'><svg/onload=alert(2)>"
COMMANDS = [
    "$(touch planted)",
    "`touch planted`",
    "; touch planted;",
    "| touch planted",
    "&& touch planted",
    "'; touch planted; '",
]
NAMES = [
    "../../planted",
    "/tmp/planted",
    "a/../../planted",
    "..\\planted",
    "C:\\planted",
    "a:b",
    "a/b",
    ".",
    "..",
    "%2e%2e%2fplanted",
]


class Listener:
    """Counts who calls."""

    def __init__(self):
        self.calls = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                line, who = self._socket.accept()
            except OSError:
                return
            self.calls.append(who)
            line.close()

    def close(self):
        self._socket.close()


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    with attacked(tmp_path_factory.mktemp("outward")) as opened:
        yield opened
        assert not list(opened.outside.rglob("planted*"))
        opened.unharmed()


@pytest.fixture(scope="module")
def listener():
    made = Listener()
    yield made
    made.close()


def test_the_server_calls_nobody(target, listener):
    """Each request that MLflow ever followed to an address, with the address of a listener in it."""
    for host in ("http://127.0.0.1", "http://[::ffff:127.0.0.1]", "//127.0.0.1"):
        address = f"{host}:{listener.port}/x"
        target.post("experiments/create", {"name": f"at {address}", "artifact_location": address})
        target.post("registered-models/create", {"name": "calling"})
        target.post("model-versions/create", {"name": "calling", "source": address})
        target.post("logged-models", {"experiment_id": target.experiment, "name": "x", "artifact_location": address})
        dataset = {"name": "d", "digest": "1", "source_type": "http", "source": json.dumps({"url": address})}
        target.post("runs/log-inputs", {"run_id": target.run, "datasets": [{"dataset": dataset, "tags": []}]})
        target.post("webhooks", {"name": "w", "url": address, "events": ["MODEL_VERSION_CREATED"]})
        target.post("gateway-proxy", {"gateway_path": address})
        target.send("GET", f"/ajax-api/2.0/mlflow/gateway-proxy?gateway_path={address}")
        target.send("GET", f"/get-artifact?run_id={target.run}&path={address}")
        target.send("GET", "/model-versions/get-artifact?name=calling&version=1&path=MLmodel")
        target.send("GET", "/api/2.0/mlflow/model-versions/get-download-uri?name=calling&version=1")
        target.send("GET", f"http://127.0.0.1:{listener.port}/x")
        target.send("POST", "/graphql", json.dumps({"query": "{a:__typename " * 50}).encode())
        target.send("GET", "/health", x_forwarded_host=f"127.0.0.1:{listener.port}", x_forwarded_for=address)
    assert listener.calls == []


@pytest.mark.parametrize("family", NEVER)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_what_is_not_built_says_so_and_does_nothing(target, method, family):
    for path in (family, f"{family}/x", f"{family}/../x"):
        told = target.send(method, path, b"{}" if method != "GET" else b"")
        assert told.status in (400, 403, 404, 415, 501), (path, told)
        assert "error_code" in told.json


@pytest.mark.parametrize("name", [*NAMES, *COMMANDS, HOSTILE])
def test_a_name_is_words_and_nothing_else(target, name):
    for path, body in (
        ("registered-models/create", {"name": name}),
        ("experiments/create", {"name": name}),
        ("runs/create", {"experiment_id": target.experiment, "start_time": 1, "run_name": name}),
        ("logged-models", {"experiment_id": target.experiment, "name": name}),
        ("runs/set-tag", {"run_id": target.run, "key": "note", "value": name}),
        ("runs/log-parameter", {"run_id": target.run, "key": f"p{len(name)}", "value": name}),
        ("registered-models/alias", {"name": "x", "alias": name, "version": "1"}),
        ("model-versions/transition-stage", {"name": name, "version": "1", "stage": name}),
    ):
        told = target.post(path, body)
        assert told.status in (200, 400, 404, 409), (path, told)
    target.send("PUT", f"/api/v1/runs/{target.run}/artifacts/x", b"x", content_type="application/x")
    assert not list(target.outside.rglob("planted*"))


def test_no_page_shows_what_a_client_logged_as_markup(target):
    run = target.post("runs/create", {"experiment_id": target.experiment, "start_time": 1, "run_name": HOSTILE}).json
    run = run["run"]["info"]["run_id"]
    labels = [{"key": "k", "value": HOSTILE}, {"key": "mlflow.note.content", "value": HOSTILE}]
    target.post("runs/log-batch", {"run_id": run, "params": labels, "tags": labels})
    target.post("runs/set-tag", {"run_id": run, "key": "mlflow.source.name", "value": "javascript:alert(1)"})
    target.post("experiments/create", {"name": HOSTILE})
    name = "%3Cscript%3Ealert('kedge')%3C%2Fscript%3E.txt"
    assert (
        target.send("PUT", f"/api/v1/runs/{run}/artifacts/{name}", HOSTILE.encode(), content_type="text/html").status == 200
    )
    seen, waiting = (
        set(),
        ["/", "/experiments", f"/experiments/{target.experiment}", f"/runs/{run}", "/runs", "/models", f"/find?q={run}"],
    )
    while waiting and len(seen) < 60:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        told = target.send("GET", path, accept="text/html")
        if "text/html" not in told.headers.get("content-type", ""):
            continue
        text = told.body.decode()
        assert "<script>alert" not in text, path
        assert "onerror=alert(1)>" not in text, path
        assert "<svg/onload" not in text, path
        assert 'href="javascript:' not in text, path
        assert "unsafe" not in told.headers["content-security-policy"], path
        waiting += [link for link in re.findall(r'href="(/[^"#]*)"', text) if not link.startswith(("/static", "//"))]
    assert len(seen) > 5
