"""A real S3 endpoint for tests: the one that KEDGE_TEST_S3 names, or moto's server from an environment of its own.

python -m tests.contract.buckets        makes that environment, .peers/s3, from s3.txt

KEDGE_TEST_S3_PYTHON names an interpreter that has moto instead. Credentials come from the environment where it has some.
"""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".peers" / "s3"
MISSING = "no S3 endpoint: python -m tests.contract.buckets makes one to run, or set KEDGE_TEST_S3"
KEYS = {"AWS_ACCESS_KEY_ID": "kedge", "AWS_SECRET_ACCESS_KEY": "kedge", "AWS_REGION": "us-east-1"}


def find() -> Path | None:
    """Find the interpreter that has moto."""
    named = os.environ.get("KEDGE_TEST_S3_PYTHON")
    path = Path(named) if named else FOLDER / "bin" / "python"
    return path if path.exists() and (named or (FOLDER / "made").exists()) else None


def make() -> Path:
    """Make the environment, unless it is there."""
    if (found := find()) is None:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
        found = FOLDER / "bin" / "python"
        subprocess.run([found, "-m", "pip", "install", "--quiet", "-r", HERE / "s3.txt"], check=True)
        (FOLDER / "made").touch()
    return found


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Give the address of an S3 endpoint."""
    if given := os.environ.get("KEDGE_TEST_S3"):
        yield given
        return
    if (python := find()) is None:
        pytest.skip(MISSING)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [python, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(params=["file", "s3"])
def bucket_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the URL of an empty bucket."""
    if request.param == "file":
        return f"file://{tmp_path / 'bucket'}"
    endpoint = request.getfixturevalue("s3_endpoint")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    name = f"kedge-{secrets.token_hex(6)}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT")).close()
    return f"s3://{name}/team/data"


def _wait(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    sys.stdout.write(f"s3: {make()}\n")
