"""A real S3 endpoint for tests: the one that KEDGE_TEST_S3 names (with credentials in the environment), or moto's server."""

import os
import secrets
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

MISSING = "no S3 endpoint: set KEDGE_TEST_S3, or pip install 'moto[server]'"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Give the address of an S3 endpoint."""
    if given := os.environ.get("KEDGE_TEST_S3"):
        yield given
        return
    if find_spec("moto") is None or find_spec("flask") is None:
        pytest.skip(MISSING)
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(params=["file", "s3"])
def bucket_url(request, tmp_path, monkeypatch) -> str:
    """Give the URL of an empty bucket."""
    if request.param == "file":
        return f"file://{tmp_path / 'bucket'}"
    endpoint = request.getfixturevalue("s3_endpoint")
    for name, value in {"AWS_ACCESS_KEY_ID": "kedge", "AWS_SECRET_ACCESS_KEY": "kedge", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    name = f"kedge-{secrets.token_hex(6)}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT")).close()
    return f"s3://{name}/team/data"
