"""A real `kedge up` to attack over raw sockets: a client library would tidy the path before it is sent.

Beside the server's folder lies a secret file. Whatever is sent, it must not come back, change or get company.
"""

import json
import socket
from contextlib import contextmanager, suppress
from typing import NamedTuple

from tests.mlflow.conftest import Up

SECRET = b"the canary that no answer may hold"
TYPES = {"content-type": "application/json"}


class Told(NamedTuple):
    """An answer, taken apart."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Target:
    """A server under attack, with an experiment, a run and a logged model in it."""

    def __init__(self, up, *, headers=()):
        self.up, self.outside, self.given = up, up.folder.parent, dict(headers)
        (self.outside / "secret.txt").write_bytes(SECRET)
        self.experiment = self.post("experiments/create", {"name": "attacked"}).json["experiment_id"]
        made = self.post("runs/create", {"experiment_id": self.experiment, "start_time": 1}).json
        self.run = made["run"]["info"]["run_id"]
        self.model = self.post("logged-models", {"experiment_id": self.experiment, "name": "m"}).json["model"]["info"][
            "model_id"
        ]
        self.before = self.listing()

    def send(self, method, path, body=b"", *, host=None, **headers):
        """Send a request with the path as it is; header names with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body and "content-type" not in named:
            named |= TYPES
        named = {**self.given, "host": host or f"127.0.0.1:{self.up.port}", "connection": "close", **named}
        if body or method in ("POST", "PUT", "PATCH"):
            named.setdefault("content-length", str(len(body)))
        head = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value is not None)
        return self.raw(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)

    def raw(self, data):
        with socket.create_connection(("127.0.0.1", self.up.port), timeout=60) as line:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has all
                line.sendall(data)
            whole = b""
            with suppress(ConnectionResetError):
                while piece := line.recv(1 << 16):
                    whole += piece
        return parsed(whole)

    def post(self, path, body, **headers):
        return self.send("POST", f"/api/2.0/mlflow/{path}", json.dumps(body).encode(), **headers)

    def put(self, path, body=b"x", **headers):
        place = f"/api/2.0/mlflow-artifacts/artifacts/{self.experiment}/{self.run}/artifacts/{path}"
        return self.send("PUT", place, body, content_type="application/octet-stream", **headers)

    def files(self):
        told = self.send("GET", f"/api/2.0/mlflow/artifacts/list?run_id={self.run}")
        return {one["path"] for one in told.json.get("files", ())}

    def listing(self):
        """List what lies around the server's own store, with its content's size and time."""
        return {
            str(path.relative_to(self.outside)): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in self.outside.rglob("*")
            if path.is_file() and ".kedge" not in path.parts and path.name != "up.log"
        }

    def unharmed(self):
        """Check that the server lives, and that nothing around it was read or written."""
        assert self.send("GET", "/health").status == 200
        assert self.listing() == self.before
        assert (self.outside / "secret.txt").read_bytes() == SECRET


def parsed(whole):
    head, _, body = whole.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = unchunked(body)
    return Told(int(first.split()[1]) if first else 0, headers, body)


def unchunked(body):
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        count = int(size, 16)
        whole, body = whole + body[:count], body[count + 2 :]
        if not count:
            break
    return whole


@contextmanager
def attacked(folder, **environment):
    """Start a server in a folder of its own and give it as a target."""
    inner = folder / "project"
    inner.mkdir(parents=True)
    up = Up(inner, **environment)
    up.start()
    token = environment.get("KEDGE_TOKEN")
    try:
        yield Target(up, headers={"authorization": f"Bearer {token}"} if token else {})
    finally:
        up.stop()
