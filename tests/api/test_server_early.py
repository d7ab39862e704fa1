"""The control plane's first moments: the protocol answers at once, the pages once they are built, all behind the door."""

import secrets

import pytest
from litestar.testing import TestClient
from tests.ui.filled import FilledHouse, year

from kedge.server.early import Early

BASE = "http://127.0.0.1:8400"
TOKEN = "kedge_" + secrets.token_urlsafe(32)


@pytest.fixture(scope="module")
def client():
    with TestClient(Early(FilledHouse(year())), base_url=BASE) as opened:
        yield opened


def test_protocol_pages_and_api_answer(client):
    assert client.get("/health").text == "OK"
    assert client.get("/", headers={"accept": "text/html"}).status_code == 200
    assert client.get("/api/v1/health").json()["status"] == "ok"
    assert client.get("/api/2.0/mlflow/experiments/get", params={"experiment_id": "x"}).status_code == 400
    assert client.get("/nothing").status_code == 404


@pytest.mark.parametrize("path", ["/", "/api/v1/loop", "/health", "/api/2.0/mlflow/experiments/get"])
def test_a_foreign_host_is_turned_away(client, path):
    assert client.get(path, headers={"host": "evil.example"}).status_code == 421


@pytest.mark.parametrize("path", ["/api/v1/loop", "/api/2.0/mlflow/experiments/get"])
def test_without_the_token_nothing_is_read(path):
    with TestClient(Early(FilledHouse(year(), token=TOKEN)), base_url=BASE) as locked:
        assert locked.get(path).status_code == 401
        assert locked.get(path, headers={"authorization": f"Bearer {TOKEN}"}).status_code in (200, 400)
