"""A real `kedge up` in an empty folder, and real MLflow clients that know nothing of Kedge."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.contract.metastore import fresh_schema, postgresql_url
from tests.mlflow.peers import PEERS, find

SCRIPTS = Path(__file__).parent / "scripts"
STARTS_WITHIN = 60.0


class Up:
    """A `kedge up` that was started."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.environment, self.port = folder, environment, free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._log = (self.folder / "up.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kedge", "up", str(self.folder), "--port", str(self.port)],
            env={**os.environ, **self.environment},
            stdout=self._log,
            stderr=self._log,
        )
        end = time.monotonic() + STARTS_WITHIN
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError((self.folder / "up.log").read_text())
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/health")[0] == 200
        except OSError:
            return False

    def ask(self, method, path, body=None, **headers):
        """Send one request; give status and body, read as JSON where it is."""
        asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            asking.request(method, path, data, {"content-type": "application/json", **headers})
            answer = asking.getresponse()
            text = answer.read()
        finally:
            asking.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text.decode(errors="replace")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._log.close()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture(scope="session")
def up(tmp_path_factory):
    server = Up(tmp_path_factory.mktemp("house"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def empty_up(tmp_path_factory):
    """A server with a store that nobody else writes to."""
    server = Up(tmp_path_factory.mktemp("empty"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=PEERS)
def peer(request):
    """An interpreter with MLflow's client; skipped, and said so, where there is none."""
    found = find(request.param)
    if found is None:
        pytest.skip(f"no MLflow client ({request.param}): python -m tests.mlflow.peers makes it")
    return found


@pytest.fixture
def postgresql_up(tmp_path_factory):
    """A server whose records are in PostgreSQL."""
    found = postgresql_url()
    if found is None:
        pytest.skip("NO POSTGRESQL: MLflow's client is not tested on it; name one with KEDGE_TEST_POSTGRESQL")
    with fresh_schema(found) as url:
        server = Up(tmp_path_factory.mktemp("postgresql"), KEDGE_STORE=url)
        server.start()
        yield server
        server.stop()


@pytest.fixture
def script(up, peer, tmp_path):
    """Run a client's script against the server; it asserts by itself what it reads back."""
    return playing(up, peer, tmp_path)


def playing(up, peer, folder):
    """Give what runs a client's script against a server."""

    def run(name, **environment):
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW"))}
        done = subprocess.run(
            [str(peer), str(SCRIPTS / f"{name}.py")],
            cwd=folder,
            env={
                **plain,
                "MLFLOW_TRACKING_URI": up.url,
                "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "OMP_NUM_THREADS": "1",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "done" in done.stdout

    return run
