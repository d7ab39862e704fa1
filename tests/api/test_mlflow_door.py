"""The MLflow protocol's door: every row has its right, nobody gets in without the token, every refusal has its code."""

import base64
import secrets

import pytest
from litestar.testing import TestClient
from tests.ui.filled import FilledHouse, year

from kedge.security.access import POLICY, Grant, Right, needed
from kedge.server.application import application
from kedge.server.mlflow.protocol import TABLES
from kedge.server.mlflow.router import NEVER

BASE = "http://127.0.0.1:8400"
TOKEN = "kedge_" + secrets.token_urlsafe(32)
ROWS = [row for table in TABLES for row in table]
OPEN = {"/health"}
OWN = [row for row in POLICY if row != Grant("GET", "/**", Right.READ)]


def concrete(path):
    return "/".join("x" if part.startswith("{") else part for part in path.split("/"))


@pytest.fixture(scope="module")
def locked():
    with TestClient(application(FilledHouse(year(), token=TOKEN)), base_url=BASE) as opened:
        yield opened


@pytest.fixture(scope="module")
def client():
    with TestClient(application(FilledHouse(year())), base_url=BASE) as opened:
        yield opened


def test_no_two_rows_answer_the_same():
    assert len({(row.method, row.path) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("method", "path"), [(row.method, row.path) for row in ROWS])
def test_every_row_has_a_right_of_its_own(method, path):
    right = needed(method, concrete(path))
    assert right is not None
    assert (right is Right.OPEN) == (path in OPEN)
    if method in ("PUT", "PATCH", "DELETE"):
        assert right >= Right.WRITE
    if method != "GET":
        assert needed(method, concrete(path), policy=OWN) is right


@pytest.mark.parametrize("twin", ["/api/", "/ajax-api/"])
@pytest.mark.parametrize(("method", "path"), [(row.method, row.path) for row in ROWS if row.path not in OPEN])
def test_nobody_gets_in_without_the_token(locked, method, path, twin):
    asked = concrete(path).replace("/api/", twin, 1)
    answer = locked.request(method, asked, headers={"content-type": "application/json"}, content=b"{}")
    assert answer.status_code == 401
    assert answer.json()["error_code"] == "UNAUTHENTICATED"
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/api/2.0/mlflow/nothing", "/api/2.0/anything", "/api/3.0/mlflow/jobs/1", "/graphql"])
def test_what_is_not_there_is_not_shown_to_nobody(locked, method, path):
    answer = locked.request(method, path, headers={"content-type": "application/json"}, content=b"{}")
    assert answer.status_code in (401, 415)


def test_the_token_opens_as_bearer_and_as_password(locked):
    path = "/api/3.0/mlflow/server-info"
    basic = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()
    for header in (f"Bearer {TOKEN}", f"Basic {basic}"):
        assert locked.get(path, headers={"authorization": header}).status_code == 200
    for header in ("Bearer wrong", f"Basic {base64.b64encode(b'anyone:wrong').decode()}", "Basic %"):
        assert locked.get(path, headers={"authorization": header}).status_code == 401


def test_health_and_version_answer_in_words(client, locked):
    assert locked.get("/health").text == "OK"
    assert client.get("/version").text == "3.17.2"
    assert client.get("/ajax-api/3.0/mlflow/server-info").json()["store_type"] == "SqlStore"


@pytest.mark.parametrize("path", [f"{family}/x" for family in NEVER])
def test_what_is_never_built_says_so(client, path):
    answer = client.post(path, json={})
    if path.startswith("/api/"):
        assert (answer.status_code, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")


def test_an_unknown_address_and_a_wrong_method_have_a_code(client):
    answer = client.get("/api/2.0/mlflow/nothing")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
    answer = client.post("/api/3.0/mlflow/server-info", json={})
    assert answer.status_code == 404
    assert "use GET" in answer.json()["message"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"host": "evil.example"}, 421, "PERMISSION_DENIED"),
        ({"origin": "http://evil.example"}, 403, "PERMISSION_DENIED"),
        ({"sec-fetch-site": "cross-site"}, 403, "PERMISSION_DENIED"),
        ({"content-type": "text/plain"}, 415, "BAD_REQUEST"),
        ({"content-length": "999999999999"}, 413, "BAD_REQUEST"),
    ],
)
@pytest.mark.parametrize("path", ["/api/2.0/mlflow/runs/create", "/ajax-api/2.0/mlflow/runs/create"])
def test_the_door_speaks_the_protocols_own_errors(client, path, headers, status, code):
    answer = client.post(path, headers={"content-type": "application/json", **headers}, content=b"{}")
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
